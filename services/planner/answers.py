"""The planner's answers to what people said: a fact, or a refusal that is a fact as well. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from events.execution import (
    ExecutionCancelling,
    ExecutionPausing,
    ExecutionReopened,
    ExecutionResumed,
    PlanRejected,
    Problem,
    StopPointSet,
)
from events.fold import ExecutionFold
from events.log import Recorded
from events.machines import EXECUTION
from events.machines.task import LIVE
from events.request import (
    ApprovalGiven,
    CancelRequested,
    PauseRequested,
    PlanSubmitted,
    ResumeRequested,
    RetryRequested,
    StopPointRequested,
)
from events.task import ApprovalRecorded
from schemas import names
from services.planner.interventions import ANSWERS
from services.planner.release import released
from services.planner.replies import refusal, standing
from services.shell import Decision


def answers(fold: ExecutionFold) -> Iterator[Decision]:
    """Answers to what people said; the first submission is read by the service, because it may need other bytes."""
    for request in list(fold.requests.values()):
        if fold.submission is not None and request.id == fold.submission.id:
            if fold.state != "submitted":
                yield refusal(request, "submit", "this execution was submitted before")
            continue
        if request.standing != "ok":
            yield _unreadable(fold, request)
            continue
        match request.fact:
            case PlanSubmitted():
                yield refusal(request, "submit", "this execution was submitted before; take a new execution id")
            case CancelRequested(reason=reason):
                yield _cancel(fold, request, reason)
            case ApprovalGiven() as answer:
                yield _approval(fold, request, answer)
            case PauseRequested(reason=reason):
                fact = ExecutionPausing(reason=reason or "somebody asked for it", requested_by=request.actor)
                yield _if_possible(fold, request, "pause", fact)
            case ResumeRequested(reason=reason):
                yield _resume(fold, request, reason)
            case RetryRequested() as wish:
                yield _retry(fold, request, wish)
            case StopPointRequested(after=after):
                yield _stop_point(fold, request, after)
            case _:
                yield ANSWERS[type(request.fact)](fold, request, request.fact)


def _unreadable(fold: ExecutionFold, request: Recorded) -> Decision:
    if request.name == "PlanSubmitted" and fold.submission is None and fold.state == "submitted":
        problem = Problem(
            code="undecodable", message=request.reason, file=request.subject,
            hint="publish a JSON object that fits schemas/events/PlanSubmitted.schema.json",
        )  # fmt: skip
        rejected = PlanRejected(problems=(problem,), requested_by=request.actor or fold.tenant)
        return Decision(entity=names.EXECUTION, fact=rejected, cause=request.id)
    return refusal(request, request.name, request.reason)


def _if_possible(fold: ExecutionFold, request: Recorded, what: str, fact: object) -> Decision:
    """The fact if the execution's table has a row for it, otherwise a refusal."""
    if EXECUTION.leads(fold.state, type(fact).__name__) is None:
        return refusal(request, what, standing(fold))
    return Decision(entity=names.EXECUTION, fact=fact, cause=request.id)


def _cancel(fold: ExecutionFold, request: Recorded, reason: str) -> Decision:
    fact = ExecutionCancelling(reason=reason or "somebody asked for it", requested_by=request.actor)
    return _if_possible(fold, request, "cancel", fact)


def _resume(fold: ExecutionFold, request: Recorded, reason: str) -> Decision:
    if fold.state not in ("pausing", "paused"):
        return refusal(request, "resume", f"{standing(fold)}, not paused")
    if fold.rollback is not None:
        return refusal(request, "resume", "the branch is going back; ask again when that is done")
    fact = ExecutionResumed(reason=reason or "somebody asked for it", requested_by=request.actor)
    return Decision(entity=names.EXECUTION, fact=fact, cause=request.id)


def _retry(fold: ExecutionFold, request: Recorded, wish: RetryRequested) -> Decision:
    again = [n for state in ("failed", "blocked") for n in fold.by_state.get(state, ()) if wish.task in (None, n)]
    if not again and not (wish.task is None and fold.gates_said.get("post_execution")):
        task = fold.tasks.get(wish.task or "")
        why = f"task {wish.task!r} is {task.state}" if task else "no task failed"
        if wish.task and task is None:
            why = f"there is no task {wish.task!r} in this execution"
        if task is None and wish.task is None and (skipped := list(fold.by_state.get("skipped", ()))):
            first = fold.tasks[skipped[0]]
            why += f"; {first.spec.id!r} was skipped ({first.reason}): fork the execution to be asked again"
        return refusal(request, "retry", why)
    fact = ExecutionReopened(
        tasks=released(fold, again), reason=wish.reason or "somebody asked for it", requested_by=request.actor
    )
    return _if_possible(fold, request, "retry", fact)


def _stop_point(fold: ExecutionFold, request: Recorded, after: str | None) -> Decision:
    if fold.plan is None or fold.state in EXECUTION.final or fold.state == "cancelling":
        return refusal(request, "set the stop point", standing(fold))
    task = fold.tasks.get(after) if after is not None else None
    if after is not None and task is None:
        return refusal(request, "set the stop point", f"there is no task {after!r} in this execution")
    if task is not None and task.state not in LIVE:
        return refusal(request, "set the stop point", f"task {after!r} is {task.state} already")
    fact = StopPointSet(after=after, requested_by=request.actor)
    return Decision(entity=names.EXECUTION, fact=fact, cause=request.id)


def _approval(fold: ExecutionFold, request: Recorded, answer: ApprovalGiven) -> Decision:
    task = fold.tasks.get(answer.task)
    what = "approve" if answer.granted else "deny"
    if task is None:
        return refusal(request, what, f"there is no task {answer.task!r} in this execution")
    if task.question is None:
        return refusal(request, what, f"task {answer.task!r} asks nothing; it is {task.state}")
    if answer.approval not in (None, task.question.id):
        return refusal(request, what, f"the question {answer.approval!r} is not open any more")
    fact = ApprovalRecorded(
        approval=task.question.id, granted=answer.granted, by=request.actor, notes=answer.notes, attempt=task.attempt
    )
    return Decision(entity=task.spec.id, fact=fact, attempt=task.attempt, cause=request.id)
