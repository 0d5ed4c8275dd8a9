"""The safety rules of a plan, as a frozen value, and the order in which one is stricter than another."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeVar

Stand = Literal["may", "ask", "never"]
"""An operation may be done; needs a person's approval; or is never done (VE-12)."""
Oracle = Literal["allow", "ask", "refuse"]
"""What happens when a task changes what judges it."""
Severity = Literal["LOW", "MEDIUM", "HIGH", "CRITICAL"]

T = TypeVar("T", bound="str | tuple[str, ...]")
STANDS: tuple[Stand, ...] = ("may", "ask", "never")
ORACLES: tuple[Oracle, ...] = ("allow", "ask", "refuse")
"""Each from the loosest to the strictest."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Concern:
    """Why a person should look at a task before it starts; their yes covers this operation."""

    operation: str
    violation: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Safety:
    """The rules for one plan, as frozen when it was accepted. Without arguments: no rule at all.

    Lists of lists are conjunctions: each of the lists has to allow it, one for each place that set one.
    """

    operations: dict[str, Stand] = field(default_factory=dict)
    """Where each operation stands (schemas/safety/operations.py); what is missing may be done."""
    allowed_paths: tuple[tuple[str, ...], ...] = ()
    """A task changes only paths that match; no list: any."""
    forbidden_paths: tuple[str, ...] = ()
    forbidden_words: tuple[str, ...] = ()
    """Not in what a task is told to do."""
    forbidden_content: tuple[str, ...] = ()
    """Regular expressions, not on a line that a task adds."""
    commands: tuple[tuple[str, ...], ...] = ()
    """Programs that tasks and checks of the plan may start; no list: any."""
    max_lines: int | None = None
    """Added and removed lines in all that a task may change outside tests and documents."""
    min_alignment: float | None = None
    """The least alignment score of a task, of 100."""
    tests_required: bool = False
    """A task has a check that needs nobody, or writes tests."""
    oracle: Oracle = "allow"
    protected_branches: tuple[str, ...] = ()
    """Globs of branches that nobody here moves."""
    push: bool = True
    """Whether the engine may push the branch of an execution. Nothing here pushes yet; tasks never do."""

    def stand(self, operation: str) -> Stand:
        """Where an operation stands."""
        return self.operations.get(operation, "may")


LOOSEST = Safety()


def stricter(a: Safety, b: Safety) -> Safety:
    """The rules that hold when both hold: field by field the stricter, so that nothing becomes looser."""
    return Safety(
        operations={
            name: max(a.stand(name), b.stand(name), key=STANDS.index) for name in sorted({*a.operations, *b.operations})
        },
        allowed_paths=_both(a.allowed_paths, b.allowed_paths),
        forbidden_paths=_both(a.forbidden_paths, b.forbidden_paths),
        forbidden_words=_both(a.forbidden_words, b.forbidden_words),
        forbidden_content=_both(a.forbidden_content, b.forbidden_content),
        commands=_both(a.commands, b.commands),
        max_lines=_least(a.max_lines, b.max_lines),
        min_alignment=_most(a.min_alignment, b.min_alignment),
        tests_required=a.tests_required or b.tests_required,
        oracle=max(a.oracle, b.oracle, key=ORACLES.index),
        protected_branches=_both(a.protected_branches, b.protected_branches),
        push=a.push and b.push,
    )


def _both(a: tuple[T, ...], b: tuple[T, ...]) -> tuple[T, ...]:
    return tuple(sorted({*a, *b}))


def _least(a: int | None, b: int | None) -> int | None:
    return b if a is None else a if b is None else min(a, b)


def _most(a: float | None, b: float | None) -> float | None:
    return b if a is None else a if b is None else max(a, b)
