"""The answer of a check: what a task does, or wants to do, against the rules."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.safety.operations import OPERATIONS
from schemas.safety.rules import Concern, Safety, Severity, Stand


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that the rules do not simply allow."""

    operation: str
    severity: Severity
    violation: str
    stand: Stand
    """ask: a person may allow it; never: nobody may."""

    @property
    def blocked(self) -> bool:
        """Nobody can allow it."""
        return self.stand == "never"


@dataclass(frozen=True, slots=True)
class Answer:
    """All violations of a task, the worst first."""

    violations: tuple[Violation, ...] = ()

    @property
    def safe_for_autonomous(self) -> bool:
        """It may run and land with nobody there."""
        return not self.violations

    @property
    def can_proceed(self) -> bool:
        """It may run and land, with a person's yes where it is not safe for autonomous execution."""
        return not any(violation.blocked for violation in self.violations)

    @property
    def refusals(self) -> tuple[Violation, ...]:
        """What nobody can allow."""
        return tuple(violation for violation in self.violations if violation.blocked)

    @property
    def concerns(self) -> tuple[Concern, ...]:
        """What a person may allow."""
        return tuple(Concern(operation=v.operation, violation=v.violation) for v in self.violations if not v.blocked)

    def as_json(self) -> dict[str, Any]:
        """The answer in the words of the founding document (VE-9)."""
        return {
            "safe_for_autonomous": self.safe_for_autonomous,
            "violations": [
                {"severity": v.severity, "violation": v.violation, "blocked": v.blocked} for v in self.violations
            ],
            "can_proceed": self.can_proceed,
        }


def why_asked(concerns: Sequence[str]) -> str:
    """A sentence to put behind a question; empty if the rules want nothing."""
    if not concerns:
        return ""
    more = f" (and {len(concerns) - 1} more)" if len(concerns) > 1 else ""
    return f" The safety policy wants a person's yes: {concerns[0]}{more}"


_WORST = {"CRITICAL": 0, "HIGH": 1, "MEDIUM": 2, "LOW": 3}


class Findings:
    """Collects what the rules do not simply allow."""

    def __init__(self, safety: Safety, waived: Iterable[str] = ()) -> None:
        self.safety = safety
        self.waived = frozenset(waived)
        """Operations that a person said yes to; what nobody can allow stays forbidden."""
        self._found: dict[tuple[str, str], Violation] = {}

    def add(self, operation: str, violation: str, *, severity: Severity | None = None, mild: bool = False) -> None:
        """Note a violation, if the rules do not allow it. ``mild``: it is a sign only, so a person may allow it."""
        stand = self.safety.stand(operation)
        if mild and stand == "never":
            stand = "ask"
        if stand == "may" or (stand == "ask" and operation in self.waived):
            return
        worth = severity or OPERATIONS[operation].severity
        self._found.setdefault((operation, violation), Violation(operation, worth, violation, stand))

    def answer(self) -> Answer:
        """All of it, the worst first."""
        order = sorted(
            self._found.values(), key=lambda v: (not v.blocked, _WORST[v.severity], v.operation, v.violation)
        )
        return Answer(tuple(order))
