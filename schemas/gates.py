"""Which gates guard a task, and when they are judged."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from schemas.values import Gate, GateMoment, Plan, Task


def gates_of(plan: Plan, when: GateMoment, task: str | None = None) -> tuple[Gate, ...]:
    """The plan's gates of one moment; for a task, those that guard it."""
    return tuple(
        gate
        for gate in plan.gates
        if gate.when == when and (task is None or not gate.tasks or any(fnmatchcase(task, p) for p in gate.tasks))
    )


def named(gates: Iterable[Gate], names: Iterable[str]) -> tuple[Gate, ...]:
    """Those of the gates that are named, in the order of the plan."""
    wanted = set(names)
    return tuple(gate for gate in gates if gate.name in wanted)


def asks_before(plan: Plan, task: Task) -> bool:
    """Whether a person's word is needed before the task starts (EX-15)."""
    asked_by_mode = plan.policy.approvals in ("checkpoints", "final") and task.milestone == "deploy"
    return task.autonomy == "needs_approval" or asked_by_mode


def asks_after(plan: Plan, task: Task) -> bool:
    """Whether a person's word is needed on the result because of the mode (EX-15)."""
    return plan.policy.approvals == "checkpoints" and task.milestone == "spec"


def asks_nobody(plan: Plan) -> bool:
    """Whether what would need a person's word is refused instead (C5)."""
    return plan.policy.approvals == "auto"
