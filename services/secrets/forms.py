"""The ways in which a secret may be written, as expressions: spelled out with escapes, in hex, in base64.

Spelled: each character raw in either case, or as any escape of URLs, JSON, C, shells, HTML or quoted-printable, mixed
at will, with line breaks or NULs (UTF-16) in between. Hex and base64 (RFC 4648) are of the bytes, hence of variants:
as it is, upper and lower case, reversed, UTF-16. Base64 has three alignments, of which the characters that mix in
neighbouring bytes are classes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from html.entities import html5

from services.secrets.patterns import Atom, Form, Sequence, Unit, literal
from services.secrets.views import BASE64, HEX, spelled_anchor

SHORTEST = 4
"""Characters below which a text is no secret: it would be found everywhere."""
PIECE = 80
"""Characters; what is longer is looked for in pieces."""
_ARMOUR = re.compile(r"-----(BEGIN|END) [A-Z0-9 ]+-----")
_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

_WRAP: Sequence = (Unit((literal(b"\r\n"), literal(b"\n"))), Atom(b" \t", 0, 4))
_ZEROS: Sequence = (Atom(b"\0", 1, 3),)
_GAP = Unit((_WRAP, _ZEROS, literal(b"\r"), (Atom(b"=\\"), *_WRAP[:1])), optional=True)
_GAP_HEX = Unit(
    ((Atom(b" :,-\t\r\n", 1, 3), *literal(b"0x")), literal(b"0x"), (Atom(b" :,-\t\r\n", 1, 3),)), optional=True
)
_GAP_BASE64 = Unit(
    (
        _WRAP,
        _ZEROS,
        (Atom(b"\\", 1, 2), Unit(((Atom(b"r"), Atom(b"\\", 1, 2)),), optional=True), Atom(b"n")),
        (Unit(((*literal(b"%0"), Atom(b"dD"), *literal(b"%0")), literal(b"%0"))), Atom(b"aA")),
    ),
    optional=True,
)

_PERCENT = Unit((literal(b"%2525"), literal(b"%25"), literal(b"%")))
_BACKSLASHES = Atom(b"\\", 1, 8)
_BACKSLASH = Unit(((_BACKSLASHES,), (_PERCENT, Atom(b"5"), Atom(b"cC"))))
_AMPERSAND = Unit((literal(b"&amp;"), literal(b"&")))
_END = Atom(b";", 0, 1)
_ZERO = Atom(b"0", 0, 6)


def pieces(secret: str) -> list[str]:
    """What to look for: the secret, or its lines, or parts of long ones. Lines that only say what a key is are not."""
    lines = [line.strip() for line in secret.splitlines()]
    worth = 2 * SHORTEST if len(lines) > 1 else SHORTEST
    found = [line for line in lines if len(line) >= worth and not _ARMOUR.fullmatch(line)] or [secret.strip()]
    return list(dict.fromkeys(part for line in found for part in _parts(line)))


def _parts(line: str) -> Iterator[str]:
    count = -(-len(line) // PIECE)
    size = -(-len(line) // count)
    yield from (line[place : place + size] for place in range(0, len(line), size))


def forms(piece: str) -> Iterator[Form]:
    """Every form of a piece."""
    longer = [text for text in (piece.upper(), piece.lower(), piece.swapcase()) if len(text) != len(piece)]
    for text in dict.fromkeys((piece, piece[::-1], *longer)):  # the capital of "ß" is two letters
        yield Form(tuple(_spelled(text)), _GAP, *spelled_anchor(text))
    cases = dict.fromkeys((piece, piece.lower(), piece.upper(), piece[::-1]))
    variants = [text.encode() for text in cases] + [piece.encode("utf-16-le"), piece.encode("utf-16-be")]
    for data in dict.fromkeys(variants):
        yield Form(tuple(map(_hex, data)), _GAP_HEX, HEX, data.hex()[:-1].encode())
        for skip in range(3):
            yield _base64(data, skip)


# -- spelled ------------------------------------------------------------------------------------------------------


def _spelled(text: str) -> Iterator[Unit]:
    """A unit for each character; a run of backslashes is one with what follows, which may be escaped by more."""
    place = 0
    while place < len(text):
        run = len(text) - place - len(text[place:].lstrip("\\"))
        if not run:
            yield character(text[place])
            place += 1
            continue
        unit = _backslashes(run)
        place += run
        if place < len(text):
            unit = Unit(((unit, _GAP, character(text[place])),), atomic=True)
            place += 1
        yield unit


@lru_cache(maxsize=1024)
def character(char: str) -> Unit:
    """One character in all its spellings, either case."""
    cases = [c for c in dict.fromkeys((char, char.lower(), char.upper())) if len(c) == 1]
    raw: list[Sequence] = []
    plain = "".join(case for case in cases if case.isascii()).encode()
    if plain:
        raw = [(Atom(plain),)]
        if not char.isalnum():
            raw.append((Atom(b"\\", 1, 8), Atom(char.encode())))
        if char == "'":
            raw = [literal(b"'\\''"), literal(b"'\"'\"'"), *raw]  # the longer first
    if char.isascii():
        escaped = list(_escaped_ascii("".join(case for case in cases if case.isascii())))
    else:
        escaped = [choice for case in cases for choice in _escaped(case)]
    # what begins escapes is one where it can be
    return Unit(tuple(escaped + raw if char in "%&=" else raw + escaped))


def _backslashes(run: int) -> Unit:
    """So many or more of them; or each by itself, raw or escaped."""
    single = Unit((*_escaped_ascii("\\"), literal(b"\\")))
    apart: list[Atom | Unit] = [single]
    for _ in range(run - 1):
        apart += [_GAP, single]
    return Unit(((Atom(b"\\", run, 8 * run),), tuple(apart)))


def _escaped_ascii(cases: str) -> Iterator[Sequence]:
    """A character in every way but raw, by what the escape begins with. Cases differ in one hex digit at most."""
    pair = tuple(
        Atom("".join(dict.fromkeys(digit + digit.upper() for digit in digits)).encode())
        for digits in zip(*(f"{ord(case):02x}" for case in cases), strict=True)
    )
    backslash, ampersand = _behind_backslash(cases), _behind_ampersand(cases)
    percent: list[Sequence] = [
        pair,
        (*literal(b"u00"), *pair),
        (Atom(b"5"), Atom(b"cC"), backslash),
        (*literal(b"26"), ampersand, _END),
    ]
    yield (_PERCENT, Unit(tuple(percent)))
    yield (_BACKSLASHES, backslash)
    yield (_AMPERSAND, ampersand, _END)
    yield from (literal(b"=%02X" % ord(case)) for case in cases)


@lru_cache(maxsize=256)
def _behind_backslash(cases: str) -> Unit:
    found: list[Sequence] = []
    for point in map(ord, cases):
        pair = _digits(f"{point:02x}")
        octal = literal(b"%03o" % point)
        found += [
            (Atom(b"x"), *pair),
            (*literal(b"u00"), *pair),
            octal,
            (Atom(b"0"), *octal),
            (Atom(b"ux"), Atom(b"{"), _ZERO, *pair, Atom(b"}")),
            (*literal(b"U000000"), *pair),
        ]
    return Unit((*found, (*literal(b"u0026"), _behind_ampersand(cases), _END)))


@lru_cache(maxsize=256)
def _behind_ampersand(cases: str) -> Unit:
    found: list[Sequence] = []
    for char in cases:
        point = ord(char)
        found += [
            (Atom(b"#"), _ZERO, *literal(b"%d" % point)),
            (Atom(b"#"), Atom(b"xX"), _ZERO, *_digits(f"{point:x}")),
            *(literal(name) for name in _entities().get(char, ())),
        ]
    return Unit(tuple(found))


def _escaped(char: str) -> Iterator[Sequence]:
    """A character outside ASCII, in every way."""
    wide = char.encode("utf-16-be")
    encodings = dict.fromkeys([char.encode(), char.encode("latin-1", "ignore"), char.encode("utf-16-le"), wide])
    for data in filter(None, encodings):
        yield tuple(map(_byte, data))
    words = [wide[place : place + 2].hex() for place in range(0, len(wide), 2)]
    yield tuple(part for word in words for part in (_BACKSLASH, Atom(b"u"), *_digits(word)))
    yield tuple(part for word in words for part in (*literal(b"%u"), *_digits(word)))
    long = (Atom(b"U"), *_digits(f"{ord(char):08x}"))
    yield (_BACKSLASH, Unit(((Atom(b"ux"), Atom(b"{"), _ZERO, *_digits(f"{ord(char):x}"), Atom(b"}")), long)))
    yield (_AMPERSAND, _behind_ampersand(char), _END)


@lru_cache(maxsize=256)
def _byte(byte: int) -> Unit:
    """One byte of a character, raw or escaped."""
    pair, octal = _digits(f"{byte:02x}"), literal(b"%03o" % byte)
    behind = Unit(((Atom(b"x"), *pair), octal, (Atom(b"0"), *octal)))
    return Unit(((Atom(bytes((byte,))),), (_PERCENT, *pair), (_BACKSLASH, behind), literal(b"=%02X" % byte)))


def _digits(value: str) -> Sequence:
    """Hex digits in either case."""
    return tuple(Atom(b"".join(dict.fromkeys((d.lower().encode(), d.upper().encode())))) for d in value)


@lru_cache(maxsize=1)
def _entities() -> dict[str, list[bytes]]:
    """The names of characters in HTML, longer ones first."""
    found: dict[str, set[bytes]] = {}
    for name, text in html5.items():
        found.setdefault(text, set()).add(name.rstrip(";").encode())
    return {text: sorted(names, key=lambda name: (-len(name), name)) for text, names in found.items()}


# -- hex, base64 --------------------------------------------------------------------------------------------------


def _hex(byte: int) -> Unit:
    return Unit((_digits(f"{byte:02x}"),))


def _base64(data: bytes, skip: int) -> Form:
    """The characters that hold at least one bit of the data when it begins ``skip`` bytes into a group of three."""
    bits = "".join(f"{byte:08b}" for byte in data)
    lead = (8 * skip) % 6
    padded = "?" * lead + bits
    padded += "?" * (-len(padded) % 6)
    units, anchor = [], b""
    for place in range(0, len(padded), 6):
        members = _matching(padded[place : place + 6])
        units.append(_sextet(members))
        if len(members) == 1:
            anchor += _ALPHABET[members[0] : members[0] + 1]
    return Form(tuple(units), _GAP_BASE64, BASE64, anchor[min(4, len(anchor) - 3) :])


@lru_cache(maxsize=1024)
def _matching(bits: str) -> tuple[int, ...]:
    """The numbers that have these bits, of which some are open."""
    return tuple(n for n in range(64) if all(w in ("?", b) for w, b in zip(bits, f"{n:06b}", strict=True)))


@lru_cache(maxsize=256)
def _sextet(members: tuple[int, ...]) -> Unit:
    """One of these characters, in either alphabet; those that URLs and JSON escape also escaped."""
    plain = {_ALPHABET[member] for member in members}
    found: list[Sequence] = []
    if ord("+") in plain:
        plain.add(ord("-"))
        found.append((_PERCENT, Atom(b"2"), Atom(b"bB")))
    if ord("/") in plain:
        plain.add(ord("_"))
        found += [(_PERCENT, Atom(b"2"), Atom(b"fF")), (Atom(b"\\", 1, 2), Atom(b"/"))]
    return Unit(((Atom(bytes(sorted(plain))),), *found))
