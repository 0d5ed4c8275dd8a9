"""A quick look at data, so that the expressions, which are slow, run only where there may be something to find.

A view is the data with everything taken out that a form may have between or around its characters. Wherever a form's
expression matches, the form's anchor is in its view. An anchor lacks what neighbours of the match may spoil: the last
digit of hex before an x, the first characters behind a % or a backslash.
"""

from __future__ import annotations

import re
from functools import lru_cache
from html.entities import html5

SPELLED = "spelled"
"""Escapes read."""
PLAIN = "plain"
"""As it is; of no help where there are escapes."""
HEX = "hex"
BASE64 = "base64"

_SPOILT = 12
"""Characters at the start of a match that an escape which begins before it may swallow."""
_ROUNDS = 6
"""Escapes of escapes of …: more than any form has."""
_BLANK = b"\r\n\x00 \t"
_SIGNS = _BLANK + b"\\\"'="
"""What may stand before or between characters that are spelled out."""
_LOWER = bytes(range(256)).lower()
_ONE_ALPHABET = bytes.maketrans(b"-_", b"+/")
_ESCAPES = re.compile(rb"""\\|%[0-9A-Fa-fu]|&[#A-Za-z]|=(?:[0-9A-F]{2}|[\r\n])|'"'"'""")
_SOFT_BREAK = re.compile(rb"[=\\]\r?\n")


def spelled_anchor(text: str) -> tuple[str, bytes]:
    """The view for a text that may be spelled with escapes, and what must be in it; nothing for characters like ä."""
    if not text.isascii():
        return PLAIN, b""
    anchor = text.encode().translate(_LOWER, _SIGNS)
    if len(anchor) < _SPOILT + 4 or re.search(r"[\\%&]|=.", text):
        return PLAIN, anchor
    return SPELLED, anchor[_SPOILT:]


def views(data: bytes) -> dict[str, bytes | None]:
    """All views of the data; None: it is of no help."""
    plain = data.translate(_LOWER, _SIGNS)
    escapes = _ESCAPES.search(data) is not None
    return {
        PLAIN: None if escapes else plain,
        SPELLED: _unescaped(data) if escapes else plain,
        HEX: data.translate(_LOWER, _BLANK + b":,-").replace(b"0x", b""),
        BASE64: _base64(data),
    }


def _unescaped(data: bytes) -> bytes:
    low = _SOFT_BREAK.sub(b"", data).translate(_LOWER, _BLANK)
    tokens = _tokens()
    for _ in range(_ROUNDS):
        low, count = tokens.subn(_read, low)
        if not count:
            break
    return low.translate(None, _SIGNS)


@lru_cache(maxsize=1)
def _names() -> dict[bytes, bytes]:
    """HTML's names of ASCII characters, in lower case."""
    return {
        name.rstrip(";").lower().encode(): text.encode()
        for name, text in html5.items()
        if len(text) == 1 and text.isascii()
    }


@lru_cache(maxsize=1)
def _tokens() -> re.Pattern[bytes]:
    longest_first: list[bytes] = sorted(_names(), key=len, reverse=True)
    names = b"|".join(longest_first)
    return re.compile(
        rb"[%=\\&](?:(?<=[%=])(?:u00)?([0-9a-f]{2})"
        rb"|(?<=\\)\\{0,7}(?:(?:x|u00|u000000|[ux]\{0{0,6})([0-9a-f]{2})\}?|0?([0-3][0-7]{2}))"
        rb"|(?<=&)(?:#0{0,6}([0-9]{2,3})|#x0{0,6}([0-9a-f]{2})|(" + names + rb"));?)"
    )


def _read(match: re.Match[bytes]) -> bytes:
    percent, backslash, octal, decimal, hexed, name = match.groups()
    if name is not None:
        return _names()[name]
    digits = percent or backslash or hexed
    number = int(digits, 16) if digits else int(octal, 8) if octal else int(decimal)
    return bytes((number,)).lower() if number < 128 else b"?"


def _base64(data: bytes) -> bytes:
    single = data.translate(_ONE_ALPHABET, _BLANK)
    if b"\\" in single:
        single = single.replace(b"\\\\", b"\\").replace(b"\\r", b"").replace(b"\\n", b"").replace(b"\\/", b"/")
    if b"%" in single:
        single = single.replace(b"%25", b"%").replace(b"%25", b"%")
        for name, char in ((b"%2B", b"+"), (b"%2b", b"+"), (b"%2F", b"/"), (b"%2f", b"/")):
            single = single.replace(name, char)
        for name in (b"%0D", b"%0d", b"%0A", b"%0a"):
            single = single.replace(name, b"")
    return single
