"""Ways in which a program may print a secret, by the standard library: what the engine's own expressions must find."""

from __future__ import annotations

import base64
import binascii
import html
import json
import quopri
import shlex
import textwrap
from collections.abc import Callable
from urllib.parse import quote, quote_plus

Spell = Callable[[str], bytes]


def _base64(neighbour: bytes, *, urlsafe: bool = False, wrapped: bool = False) -> Spell:
    def spell(secret: str) -> bytes:
        data = neighbour + secret.encode() + b"\x17\x17"
        if wrapped:
            return base64.encodebytes(data)
        return base64.urlsafe_b64encode(data) if urlsafe else base64.b64encode(data)

    return spell


def _some(secret: str) -> bytes:
    """Every other byte as in a URL."""
    return b"".join(b"%%%02x" % byte if place % 2 else bytes([byte]) for place, byte in enumerate(secret.encode()))


def _units(secret: str) -> list[int]:
    """As UTF-16."""
    data = secret.encode("utf-16-be")
    return [int.from_bytes(data[place : place + 2], "big") for place in range(0, len(data), 2)]


def _ansi_c(secret: str) -> bytes:
    return b"$'" + b"".join(b"\\x%02x" % byte for byte in secret.encode()) + b"'"


SPELLINGS: dict[str, Spell] = {
    "raw": str.encode,
    "lower case": lambda s: s.lower().encode(),
    "upper case": lambda s: s.upper().encode(),
    "swapped case": lambda s: s.swapcase().encode(),
    "reversed": lambda s: s[::-1].encode(),
    "folded": lambda s: "\n".join(textwrap.wrap(s, 3, drop_whitespace=False, break_on_hyphens=False)).encode(),
    "base64": _base64(b""),
    "base64, one off": _base64(b"a"),
    "base64, two off": _base64(b"ab"),
    "base64 for URLs": _base64(b"", urlsafe=True),
    "base64 for URLs, one off": _base64(b":", urlsafe=True),
    "base64 for URLs, two off": _base64(b"u:", urlsafe=True),
    "base64, wrapped": _base64(b"x" * 50, wrapped=True),
    "base64, wrapped, one off": _base64(b"x" * 52, wrapped=True),
    "base64, wrapped, two off": _base64(b"x" * 53, wrapped=True),
    "base64, wrapped, in JSON": lambda s: json.dumps(_base64(b"x" * 50, wrapped=True)(s).decode()).encode(),
    "base64 in a URL": lambda s: quote(base64.b64encode(s.encode()), safe="").encode(),
    "base64 of UTF-16": lambda s: base64.b64encode(s.encode("utf-16-le")),
    "base64, reversed": lambda s: base64.b64encode(s[::-1].encode()),
    "base64, upper case": lambda s: base64.b64encode(s.upper().encode()),
    "URL": lambda s: quote(s, safe="").encode(),
    "URL with lower hex": lambda s: "".join(f"%{byte:02x}" for byte in s.encode()).encode(),
    "URL with upper hex": lambda s: "".join(f"%{byte:02X}" for byte in s.encode()).encode(),
    "URL, partly": _some,
    "URL, form": lambda s: quote_plus(s).encode() if " " not in s else quote(s).encode(),
    "URL, twice": lambda s: quote(quote(s, safe=""), safe="").encode(),
    "URL, all of it twice": lambda s: "".join(f"%25{byte:02X}" for byte in s.encode()).encode(),
    "hex": lambda s: s.encode().hex().encode(),
    "HEX": lambda s: s.encode().hex().upper().encode(),
    "hex, wrapped": lambda s: "\n".join(textwrap.wrap(s.encode().hex(), 10)).encode(),
    "hex with colons": lambda s: binascii.hexlify(s.encode(), ":"),
    "hex as a C array": lambda s: ", ".join(f"0x{byte:02x}" for byte in s.encode()).encode(),
    "JSON": lambda s: json.dumps(s).encode(),
    "JSON in JSON": lambda s: json.dumps(json.dumps(s)).encode(),
    "JSON, all escaped": lambda s: "".join(f"\\u{unit:04x}" for unit in _units(s)).encode(),
    "HTML": lambda s: html.escape(s).encode(),
    "HTML, decimal": lambda s: "".join(f"&#{ord(c)};" for c in s).encode(),
    "HTML, hex": lambda s: "".join(f"&#x{ord(c):X};" for c in s).encode(),
    "HTML in HTML": lambda s: html.escape("".join(f"&#{ord(c)};" for c in s)).encode(),
    "shell": lambda s: shlex.quote(s).encode(),
    "shell, $''": _ansi_c,
    "shell, octal": lambda s: b"".join(b"\\%03o" % byte for byte in s.encode()),
    "Python": lambda s: repr(s).encode(),
    "Python, bytes": lambda s: repr(s.encode()).encode(),
    "UTF-16": lambda s: s.encode("utf-16-le"),
    "UTF-16, big": lambda s: s.encode("utf-16-be"),
    "quoted-printable": lambda s: quopri.encodestring(s.encode(), quotetabs=True),
}  # fmt: skip
"""By name."""
