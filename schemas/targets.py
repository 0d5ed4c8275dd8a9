"""Thresholds such as ``p95<200ms``, ``coverage>=80%`` or ``p95<=baseline+10%``, and what was measured against them.

Units: ns, us, ms, s, m (or min), h; B, KB, MB, GB, TB and KiB, MiB, GiB, TiB; %. A measured number without a unit is in
the unit of the target.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from typing import Literal

from schemas.values import value

_TIME = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_SIZE = {"b": 1.0} | {
    f"{letter}{infix}b": base ** (power + 1)
    for power, letter in enumerate("kmgt")
    for infix, base in (("", 1000.0), ("i", 1024.0))
}
_NUMBER = r"[-+]?\d+(?:[.,]\d+)*(?:[eE][-+]?\d{1,3})?"
_UNIT = r"(?:%|[A-Za-zµ]{1,3})"
_TARGET = re.compile(
    r"\s*(?P<name>[A-Za-z_][\w.:/ -]{0,79}?)?\s*(?P<op><=|>=|==|=|<|>|≤|≥)\s*"
    rf"(?:(?P<number>{_NUMBER})\s*(?P<unit>{_UNIT})?|(?P<baseline>baseline)\s*(?:(?P<sign>[-+])\s*(?P<slack>{_NUMBER})\s*%)?)\s*"
)
_MEASURED = re.compile(rf"({_NUMBER})\s*({_UNIT})?(?![\w.])")
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq,
}  # fmt: skip


class BadTarget(ValueError):
    """A threshold cannot be read, or not be compared with what was measured."""


@value
class Measured:
    """A number with the unit as written; an empty unit is the target's."""

    number: float
    unit: str = ""

    def __str__(self) -> str:
        return f"{self.number:g}{self.unit}"


@value
class Target:
    """What a measured value has to be."""

    name: str
    """What is measured; empty where the text names nothing."""
    op: Literal["<", "<=", ">", ">=", "=="]
    limit: Measured | None
    """None: the value measured before the task, changed by ``slack``."""
    slack: float = 0.0
    """A part of the value before the task: 0.1 is ten per cent more."""

    def holds(self, measured: Measured, before: Measured | None = None) -> bool:
        """Whether the value is good. ``before`` is the value without the task. Raises BadTarget for other units."""
        if self.limit is not None:
            limit = self.limit
        elif before is not None:
            limit = Measured(number=before.number + abs(before.number) * self.slack, unit=before.unit)
        else:
            raise BadTarget("there is no value from before the task to compare with")
        number, wanted = _comparable(measured, limit)
        return _COMPARE[self.op](number, wanted)


def read_target(text: str) -> Target:
    """A threshold as written. Raises BadTarget."""
    found = _TARGET.fullmatch(text) if len(text) <= 200 else None
    if found is None:
        raise BadTarget(f"{text[:60]!r} is no target; write it like p95<200ms, coverage>=80% or p95<=baseline+10%")
    given = found["op"].replace("≤", "<=").replace("≥", ">=")
    op: Literal["<", "<=", ">", ">=", "=="] = given if given in ("<", "<=", ">", ">=") else "=="  # type: ignore[assignment]
    limit = None
    if found["number"] is not None:
        limit = Measured(number=_number(found["number"]), unit=found["unit"] or "")
    slack = _number((found["sign"] or "") + found["slack"]) / 100 if found["slack"] else 0.0
    return Target(name=(found["name"] or "").strip(), op=op, limit=limit, slack=slack)


def read_measured(text: str) -> Measured | None:
    """The last number with its unit in a text; None if there is none."""
    numbers = list(_MEASURED.finditer(text[-10_000:]))
    if not numbers:
        return None
    return Measured(number=_number(numbers[-1][1]), unit=numbers[-1][2] or "")


def _number(text: str) -> float:
    """``1,234.5`` and ``1.5e3``; a lone comma before one or two digits is a decimal comma."""
    if re.fullmatch(r"[-+]?\d+,\d{1,2}", text):
        text = text.replace(",", ".")
    number = float(text.replace(",", "")) if text.count(".") <= 1 else math.nan
    if not math.isfinite(number):
        raise BadTarget(f"{text!r} is no number")
    return number


def _comparable(measured: Measured, limit: Measured) -> tuple[float, float]:
    if not measured.unit or not limit.unit or measured.unit.lower() == limit.unit.lower():
        return measured.number, limit.number
    for scale in (_TIME, _SIZE):
        ours, theirs = scale.get(measured.unit.lower()), scale.get(limit.unit.lower())
        if ours is not None and theirs is not None:
            return measured.number * ours, limit.number * theirs
    raise BadTarget(f"{measured} cannot be compared with {limit}: the units are of different kinds")
