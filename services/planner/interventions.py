"""The planner's answers to people who step in: take a task over, take results back, try a dead letter again. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from events.execution import DeadLetterReleased, ExecutionReopened, RollbackBegun
from events.fold import DONE, ExecutionFold
from events.lineage import landed_after, mixed
from events.log import Recorded
from events.machines import EXECUTION
from events.machines.task import TAKEABLE
from events.request import (
    DeadLetterRetryRequested,
    HandBackRequested,
    InvalidateRequested,
    OverrideRequested,
    RatingGiven,
    RollbackRequested,
    WorkDelivered,
)
from events.task import TaskDelivered, TaskReturned, TaskTaken
from schemas import names
from services.planner.rating import rating
from services.planner.release import released
from services.planner.replies import at_work, refusal, standing
from services.shell import Decision

NOT_ASKED = "somebody asked for it"


def override(fold: ExecutionFold, request: Recorded, wish: OverrideRequested) -> Decision:
    """A person takes a task: at once, or after what ended has been opened again."""
    what = "take the task over"
    task = fold.tasks.get(wish.task)
    if task is None:
        return refusal(request, what, f"there is no task {wish.task!r} in this execution")
    if task.state in ("failed", "blocked") and EXECUTION.leads(fold.state, "ExecutionReopened") is not None:
        opened = ExecutionReopened(
            tasks=released(fold, [wish.task]), reason=wish.reason or NOT_ASKED, requested_by=request.actor,
            taken=wish.task,
        )  # fmt: skip
        return Decision(entity=names.EXECUTION, fact=opened, cause=request.id)
    if task.state == "verified":
        return _go_back(fold, request, what, only=wish.task, take=True, resume=True, reason=wish.reason)
    if not at_work(fold):
        return refusal(request, what, standing(fold))
    if fold.rollback is not None:
        return refusal(request, what, "the branch is going back; ask again when that is done")
    if task.state not in TAKEABLE:
        return refusal(request, what, f"task {wish.task!r} is {task.state}")
    waits = [n for n in task.spec.needs if fold.tasks[n].state not in DONE]
    if waits:
        return refusal(request, what, f"task {wish.task!r} needs {', '.join(waits)} first")
    fact = TaskTaken(attempt=task.failures + 1, by=request.actor, reason=wish.reason, base=fold.head)
    return Decision(entity=wish.task, fact=fact, attempt=fact.attempt, cause=request.id)


def deliver(fold: ExecutionFold, request: Recorded, work: WorkDelivered) -> Decision:
    """A person's work on a task that a person has taken."""
    task = fold.tasks.get(work.task)
    reason = _not_taken(fold, work.task)
    if reason or task is None:
        return refusal(request, "deliver the task", reason)
    fact = TaskDelivered(
        attempt=task.attempt, lease=task.lease, by=request.actor, commit=work.commit, base=work.base,
        pack=work.pack, notes=work.notes,
    )  # fmt: skip
    return Decision(entity=work.task, fact=fact, attempt=task.attempt, cause=request.id)


def hand_back(fold: ExecutionFold, request: Recorded, wish: HandBackRequested) -> Decision:
    """A person gives a task back undone."""
    task = fold.tasks.get(wish.task)
    reason = _not_taken(fold, wish.task)
    if reason or task is None:
        return refusal(request, "hand the task back", reason)
    fact = TaskReturned(attempt=task.attempt, lease=task.lease, by=request.actor, reason=wish.reason)
    return Decision(entity=wish.task, fact=fact, attempt=task.attempt, cause=request.id)


def _not_taken(fold: ExecutionFold, name: str) -> str:
    task = fold.tasks.get(name)
    if task is None:
        return f"there is no task {name!r} in this execution"
    if task.state != "taken":
        return f"nobody has taken task {name!r} over; it is {task.state}"
    return "" if at_work(fold) else standing(fold)


def roll_back(fold: ExecutionFold, request: Recorded, wish: RollbackRequested) -> Decision:
    """Everything that landed after a task is taken back."""
    what = "roll back"
    if wish.to is not None:
        task = fold.tasks.get(wish.to)
        if task is None:
            return refusal(request, what, f"there is no task {wish.to!r} in this execution")
        if task.state != "verified":
            return refusal(request, what, f"task {wish.to!r} is {task.state}, so there is no such checkpoint")
        if mixed(fold, task.verified_sequence):
            reason = "results from before it were taken back since; name a later task, or none to take back everything"
            return refusal(request, what, reason)
    if not landed_after(fold, wish.to):
        return refusal(request, what, f"nothing was verified after {wish.to!r}" if wish.to else "nothing was verified")
    return _go_back(fold, request, what, to=wish.to, resume=wish.resume, reason=wish.reason)


def invalidate(fold: ExecutionFold, request: Recorded, wish: InvalidateRequested) -> Decision:
    """One result is taken back, and whatever was built on it."""
    what = "invalidate the result"
    task = fold.tasks.get(wish.task)
    if task is None:
        return refusal(request, what, f"there is no task {wish.task!r} in this execution")
    if task.state != "verified":
        return refusal(request, what, f"task {wish.task!r} is {task.state}; only a verified result can be taken back")
    return _go_back(fold, request, what, only=wish.task, resume=wish.resume, reason=wish.reason)


def _go_back(fold: ExecutionFold, request: Recorded, what: str, *, resume: bool, reason: str, **where: Any) -> Decision:
    if fold.rollback is not None:
        return refusal(request, what, "the branch is going back already; ask again when that is done")
    resume = resume and fold.state not in ("pausing", "paused")
    fact = RollbackBegun(reason=reason or NOT_ASKED, requested_by=request.actor, resume=resume, **where)
    if EXECUTION.leads(fold.state, "RollbackBegun") is None:
        return refusal(request, what, standing(fold))
    return Decision(entity=names.EXECUTION, fact=fact, cause=request.id)


def release(fold: ExecutionFold, request: Recorded, wish: DeadLetterRetryRequested) -> Decision:
    """A reaction that was given up is tried again."""
    letter = fold.letters.get(wish.sequence)
    if letter is None:
        return refusal(request, "retry the dead letter", f"there is no dead letter for sequence {wish.sequence}")
    fact = DeadLetterReleased(
        sequence=letter.sequence, service=letter.service, event=letter.event, task=letter.task,
        requested_by=request.actor,
    )  # fmt: skip
    return Decision(entity=names.EXECUTION, fact=fact, cause=request.id)


ANSWERS: dict[type, Callable[[ExecutionFold, Recorded, Any], Decision]] = {
    OverrideRequested: override,
    WorkDelivered: deliver,
    HandBackRequested: hand_back,
    RollbackRequested: roll_back,
    InvalidateRequested: invalidate,
    DeadLetterRetryRequested: release,
    RatingGiven: rating,
}
