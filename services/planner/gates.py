"""Gates before a task and around the whole execution: asked for, and what follows when one stops something. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice

from events.execution import ExecutionGatesDue, ExecutionReopened, TasksGivenUp
from events.fold import ExecutionFold, TaskFold
from events.lineage import start_commit
from events.task import ApprovalRequested, TaskBlocked, TaskGatesDue
from schemas import names
from schemas.gates import asks_nobody, gates_of
from schemas.values import GateMoment
from services.planner.release import released
from services.shell import Decision

AT_ONCE = 200


def expiry(fold: ExecutionFold, seconds: float | None) -> str | None:
    """When something that begins now is over by itself, in UTC; None: never."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(fold.now_ns / 1e9 + seconds, UTC).isoformat(timespec="milliseconds")


def before_tasks(fold: ExecutionFold) -> Iterator[Decision]:
    """Gates of tasks that could start otherwise, and what is done about those that a gate has stopped."""
    assert fold.plan is not None
    for name in list(islice(fold.checking, AT_ONCE)):
        task = fold.tasks[name]
        if task.gate:
            fact = TaskBlocked(attempts=task.failures, reason=task.reason, restored=fold.head, gate=task.gate)
            yield Decision(entity=name, fact=fact)
        elif not task.gates_due and fold.state == "running":
            gates = tuple(gate.name for gate in gates_of(fold.plan, "pre_task", name))
            due = TaskGatesDue(attempt=task.failures + 1, gates=gates, base=start_commit(fold, task))
            yield Decision(entity=name, fact=due)
    for name in list(islice(fold.by_state.get("blocked", ()), AT_ONCE)):
        if fold.tasks[name].gate:
            yield from _stopped(fold, fold.tasks[name])


def _stopped(fold: ExecutionFold, task: TaskFold) -> Iterator[Decision]:
    """A gate stopped it: a person lets it pass, or it has failed."""
    assert fold.plan is not None
    name = task.spec.id
    if asks_nobody(fold.plan):
        yield Decision(entity=names.EXECUTION, fact=TasksGivenUp(tasks=(name,), reason="nobody is asked"))
    elif task.granted is None:
        if task.question is None:
            question = f"{task.reason}. May task {name} ({task.spec.title or 'untitled'}) go on all the same?"
            asked = ApprovalRequested(
                kind="gate", question=question, attempt=task.attempt,
                expires=expiry(fold, fold.plan.policy.approval_timeout),
            )  # fmt: skip
            yield Decision(entity=name, fact=asked, attempt=task.attempt)
    elif task.granted.granted:
        opened = ExecutionReopened(tasks=released(fold, [name]), reason=f"{task.granted.by} lets it pass {task.gate}")
        yield Decision(entity=names.EXECUTION, fact=opened)
    else:
        by = task.granted.by
        yield Decision(entity=names.EXECUTION, fact=TasksGivenUp(tasks=(name,), reason=f"{by} said no", by=by))


def around(fold: ExecutionFold, when: GateMoment) -> tuple[bool, list[Decision]]:
    """Whether the gates of the execution at this moment are open, and what is to be done about them."""
    assert fold.plan is not None
    gates = gates_of(fold.plan, when)
    if not gates or fold.gates_said.get(when) == "":
        return True, []
    if when in fold.gates_due or when in fold.gates_said:
        return False, []
    due = ExecutionGatesDue(when=when, gates=tuple(gate.name for gate in gates))
    return False, [Decision(entity=names.EXECUTION, fact=due)]
