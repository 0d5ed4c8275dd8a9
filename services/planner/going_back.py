"""Taking results back, in phases (hazards H8, H11): nothing runs, then the branch goes back by one event. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from events.branch import BranchRolledBack
from events.execution import ExecutionPaused, ExecutionResumed, RevertDue, RollbackBegun
from events.fold import ExecutionFold
from events.lineage import built_on, head_after, head_at, landed_after, not_undone
from events.task import TaskHeld, TaskReturned, TaskTaken
from schemas import names
from services.shell import Decision

AT_ONCE = 200


def going_back(fold: ExecutionFold, begun: RollbackBegun) -> Iterator[Decision]:
    """What is ready or waits for a verdict is held under its own guard; what runs, its executor interrupts."""
    for state in ("ready", "executed"):
        for name in list(islice(fold.by_state.get(state, ()), AT_ONCE)):
            yield Decision(entity=name, fact=TaskHeld(reason=f"the branch goes back: {begun.reason}"))
    if fold.count("ready", "running", "executed", "faulted") or fold.reverting is not None:
        return
    if begun.only is None:
        yield _roll_back(fold, begun, begun.to, landed_after(fold, begun.to))
    else:
        yield _take_back(fold, begun, begun.only)


def _roll_back(fold: ExecutionFold, begun: RollbackBegun, to: str | None, results: tuple[str, ...]) -> Decision:
    invalidated = built_on(fold, results)
    fact = BranchRolledBack(
        to=head_after(fold, to) or "", task=to, invalidated=invalidated, reason=begun.reason,
        requested_by=begun.requested_by, not_undone=not_undone(fold, invalidated),
    )  # fmt: skip
    return Decision(entity=names.BRANCH, fact=fact)


def _take_back(fold: ExecutionFold, begun: RollbackBegun, name: str) -> Decision:
    """One result: by going back if nothing else landed since, otherwise by a commit that the verifier judges."""
    invalidated = built_on(fold, [name])
    commits = [
        fold.tasks[n].verified
        for n in landed_after(fold, None)
        if n in invalidated
    ]  # fmt: skip
    landed = [v.commit for v in commits if v is not None and v.commit is not None]
    before = head_at(fold, fold.landings[landed[0]] - 1) if landed else fold.head
    kept = set(fold.landings) - set(landed)
    if not landed or all(fold.landings[c] < fold.landings[landed[0]] for c in kept):
        fact = BranchRolledBack(
            to=before or "", task=None, invalidated=invalidated, reason=begun.reason, requested_by=begun.requested_by,
            not_undone=not_undone(fold, invalidated),
        )  # fmt: skip
        return Decision(entity=names.BRANCH, fact=fact)
    return Decision(entity=names.EXECUTION, fact=RevertDue(tasks=invalidated, commits=tuple(reversed(landed))))


def gone_back(fold: ExecutionFold) -> Decision:
    """The branch has gone back, or stays: the execution goes on, or is paused."""
    back = fold.went_back
    if back is not None and back.resume:
        return Decision(entity=names.EXECUTION, fact=ExecutionResumed(reason=f"the branch went back: {back.reason}"))
    if back is None:
        return Decision(entity=names.EXECUTION, fact=ExecutionPaused(reason=fold.reason))
    where = f"result of {back.only}" if back.only else f"everything after {back.to}" if back.to else "everything"
    return Decision(entity=names.EXECUTION, fact=ExecutionPaused(reason=f"taken back: {where}"))


def taking_over(fold: ExecutionFold) -> Iterator[Decision]:
    """Tasks that were opened again for a person; and tasks that a person has, and whose base was taken back."""
    for name, (by, reason) in fold.to_take.items():
        task = fold.tasks[name]
        fact = TaskTaken(attempt=task.failures + 1, by=by, reason=reason, base=fold.head)
        yield Decision(entity=name, fact=fact, attempt=fact.attempt)
    for name in fold.by_state.get("taken", ()):
        task = fold.tasks[name]
        if task.missing:
            back = TaskReturned(
                attempt=task.attempt, lease=task.lease, by="planner", reason="what it needs was taken back"
            )
            yield Decision(entity=name, fact=back, attempt=task.attempt)
