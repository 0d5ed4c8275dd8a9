"""Judging gates: the checks of each, on the tree that it guards. What follows is decided by the planner."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence

from events.parts import GateOutcome, Result
from schemas.values import Criterion, Gate

Judge = Callable[[Sequence[Criterion]], Awaitable[list[Result]]]
"""Runs checks in a clean checkout."""


async def outcomes(gates: Iterable[Gate], judge: Judge) -> tuple[GateOutcome, ...]:
    """What comes of these gates, one after the other."""
    return tuple([outcome(gate, await judge(gate.criteria)) for gate in gates])


def outcome(gate: Gate, results: Sequence[Result]) -> GateOutcome:
    """A gate passes when all its checks do; an evaluation stops nothing, whatever it finds."""
    failed = [r for r in results if r.result == "fail"]
    passed = sum(r.result == "pass" for r in results)
    judged = passed + len(failed)
    on_fail = "continue" if gate.when == "evaluation" else gate.on_fail
    return GateOutcome(
        gate=gate.name, when=gate.when, passed=not failed, on_fail=on_fail,
        score=round(passed / judged, 6) if judged else 1.0,
        reason=f"{failed[0].text or failed[0].kind}: {failed[0].detail}" if failed else "", results=tuple(results),
    )  # fmt: skip
