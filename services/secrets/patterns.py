"""Building blocks of regular expressions that know how long a match can be and how one can begin.

A unit is a choice between sequences of byte classes, of bounded repetition, and of other units. So every match is
bounded, and a second expression can say whether bytes at the end of the data may become a match when more come.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

DEPTH = 6
"""Units of a form after which its beginning is held back; chance rarely gets that far."""


def any_of(members: Iterable[int]) -> bytes:
    """One byte out of several."""
    found = sorted(set(members))
    if len(found) == 1:
        return re.escape(bytes(found))
    return b"[" + b"".join(b"%c" % member if chr(member).isalnum() else b"\\x%02x" % member for member in found) + b"]"


@dataclass(frozen=True, slots=True)
class Atom:
    """One byte out of ``members``, ``low`` to ``high`` times."""

    members: bytes
    low: int = 1
    high: int = 1

    @property
    def whole(self) -> bytes:
        """The expression."""
        one = any_of(self.members)
        if (self.low, self.high) == (1, 1):
            return one
        return one + (b"?" if (self.low, self.high) == (0, 1) else b"{%d,%d}" % (self.low, self.high))


@dataclass(frozen=True)
class Unit:
    """A choice between sequences; the first that matches is taken. No sequence begins with what may be missing."""

    choices: tuple[Sequence, ...]
    optional: bool = False
    atomic: bool = False
    """What it has matched once is not read in another way."""

    @cached_property
    def width(self) -> int:
        """The most bytes that it takes."""
        return max(
            (sum(p.high if isinstance(p, Atom) else p.width for p in choice) for choice in self.choices), default=0
        )

    @cached_property
    def whole(self) -> bytes:
        """The expression for all of it."""
        if not self.choices:
            return b""
        choices = b"|".join(b"".join(part.whole for part in choice) for choice in self.choices)
        if len(self.choices) == 1 and not self.optional and not self.atomic:
            return choices
        return (b"(?>" if self.atomic else b"(?:") + choices + b")" + (b"?" if self.optional else b"")

    @cached_property
    def first(self) -> frozenset[int]:
        """The bytes it may begin with."""
        heads = [choice[0] for choice in self.choices]
        return frozenset(b for head in heads for b in (head.members if isinstance(head, Atom) else head.first))

    @cached_property
    def members(self) -> frozenset[int]:
        """All bytes that occur in it."""
        return frozenset(byte for choice in self.choices for part in choice for byte in part.members)

    @cached_property
    def cut(self) -> bytes:
        """An expression for, at least, every beginning of it at the end of the data."""
        rest = any_of(self.members) + b"{0,%d}" % (self.width - 1) if self.width > 1 else b""
        return any_of(self.first) + rest + b"\\Z"


Sequence = tuple[Atom | Unit, ...]


def literal(data: bytes) -> Sequence:
    """Exactly these bytes."""
    return tuple(Atom(data[place : place + 1]) for place in range(len(data)))


@dataclass(frozen=True)
class Form:
    """One way in which a secret may be written."""

    units: tuple[Unit, ...]
    gap: Unit
    """What may stand between two units."""
    view: str
    """The view (see ``services.secrets.views``) in which ``anchor`` is found wherever this form is."""
    anchor: bytes
    """Empty: no view helps."""

    @cached_property
    def width(self) -> int:
        """The most bytes that a match takes."""
        return sum(unit.width for unit in self.units) + self.gap.width * (len(self.units) - 1)

    @cached_property
    def expression(self) -> re.Pattern[bytes]:
        """Finds it: group 1 is the match."""
        return self._from_first(self.gap.whole.join(unit.whole for unit in self.units))

    @cached_property
    def opening(self) -> re.Pattern[bytes]:
        """Finds what is, or may become with more bytes behind it, the beginning of a match. Finds too much at times."""
        found = b""
        for unit in reversed(self.units[:DEPTH]):
            gap = self.gap.whole + found + b"|" + self.gap.cut if self.gap.choices else found
            after = b"(?:\\Z|" + gap + b")" if found else b""
            found = b"(?:" + unit.whole + after + b"|" + unit.cut + b")"
        return self._from_first(found)

    def _from_first(self, expression: bytes) -> re.Pattern[bytes]:
        """The same expression, but beginning with a class of bytes, for which `re` looks much faster."""
        first = any_of(self.units[0].first)
        return re.compile(b"%s(?<=(?=(%s))%s)" % (first, expression, first))
