"""What the planner decides: pure, on a fold. An empty list means that nothing is due."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from events.execution import (
    ApprovalAwaited,
    ExecutionBlocked,
    ExecutionCancelled,
    ExecutionCancelling,
    ExecutionCompleted,
    ExecutionFailed,
    ExecutionResumed,
    ExecutionStarted,
    PlanRejected,
    Problem,
    RequestRefused,
)
from events.fold import ExecutionFold, TaskFold
from events.log import Recorded, Timer
from events.machines import EXECUTION
from events.machines.task import LIVE
from events.request import ApprovalGiven, CancelRequested, PlanSubmitted
from events.task import (
    ApprovalRecorded,
    ApprovalRequested,
    LeaseExpired,
    RetryScheduled,
    TaskBlocked,
    TaskCancelled,
    TaskFailed,
    TaskReady,
    TaskSkipped,
    TaskStarted,
)
from schemas import names
from services.shell import Decision

AT_ONCE = 200
"""Decisions of one kind in one round."""
BACKSTOP = 60.0
"""Seconds beyond a task's own limits after which a lease that nobody ended is given up."""
ACTIVE = ("ready", "running", "executed", "faulted", "waiting")


def decide(fold: ExecutionFold) -> list[Decision]:
    """Everything that is due on this fold, at most one decision an entity counts in a round."""
    decisions = list(_answers(fold))
    if decisions:
        return decisions
    if fold.plan is None or fold.state in EXECUTION.final:
        return []
    if fold.state == "queued":
        satisfied = fold.count("satisfied")
        return [_execution(ExecutionStarted(tasks=len(fold.tasks) - satisfied, satisfied=satisfied))]
    if fold.state == "cancelling":
        return list(_cancelling(fold))
    return list(_running(fold))


def due(fold: ExecutionFold, timer: Timer) -> list[Decision] | None:
    """What a timer that fired brings about; a hint that nobody waits for brings nothing. None: ask again soon."""
    task = fold.tasks.get(timer.entity)
    if task is None:
        return []
    if timer.kind == "retry" and task.state == "waiting" and task.timer == timer.event:
        if fold.state != "running":
            return [] if fold.state in ("cancelling", *EXECUTION.final) else None
        if fold.count("ready", "running") >= _width(fold):
            return None
        return [_task(task, TaskReady(attempt=task.failures + 1), attempt=task.failures + 1)]
    if timer.kind == "lease" and task.state == "running" and task.lease == timer.event:
        return [_task(task, LeaseExpired(attempt=task.attempt, lease=task.lease), attempt=task.attempt)]
    return []


def timer_of(fold: ExecutionFold, recorded: Recorded) -> Timer | None:
    """The timer that an event asks for, if it still stands."""
    task = fold.tasks.get(recorded.entity)
    place: dict[str, Any] = {
        "tenant": fold.tenant, "execution": fold.id, "entity": recorded.entity,
        "event": recorded.id, "sequence": recorded.sequence,
    }  # fmt: skip
    match recorded.fact:
        case RetryScheduled() as fact if task and task.timer == recorded.id:
            return Timer(kind="retry", at_ns=int(datetime.fromisoformat(fact.at).timestamp() * 1e9), **place)
        case TaskStarted() if task and task.lease == recorded.id and fold.plan:
            limit = (task.spec.timeout or fold.plan.policy.timeout) + fold.plan.policy.grace + BACKSTOP
            return Timer(kind="lease", at_ns=recorded.at_ns + int(limit * 1e9), **place)
        case _:
            return None


def _answers(fold: ExecutionFold) -> Iterator[Decision]:
    """Answers to what people said; the first submission is read by the service, because it may need other bytes."""
    for request in list(fold.requests.values()):
        if fold.submission is not None and request.id == fold.submission.id:
            if fold.state != "submitted":
                yield _refusal(request, "submit", "this execution was submitted before")
            continue
        if request.standing != "ok":
            yield _unreadable(fold, request)
            continue
        match request.fact:
            case PlanSubmitted():
                yield _refusal(request, "submit", "this execution was submitted before; take a new execution id")
            case CancelRequested(reason=reason):
                yield _cancel(fold, request, reason)
            case ApprovalGiven() as answer:
                yield _approval(fold, request, answer)


def _unreadable(fold: ExecutionFold, request: Recorded) -> Decision:
    if request.name == "PlanSubmitted" and fold.submission is None and fold.state == "submitted":
        problem = Problem(
            code="undecodable", message=request.reason, file=request.subject,
            hint="publish a JSON object that fits schemas/events/PlanSubmitted.schema.json",
        )  # fmt: skip
        rejected = PlanRejected(problems=(problem,), requested_by=request.actor or fold.tenant)
        return Decision(entity=names.EXECUTION, fact=rejected, cause=request.id)
    return _refusal(request, request.name, request.reason)


def _cancel(fold: ExecutionFold, request: Recorded, reason: str) -> Decision:
    if EXECUTION.leads(fold.state, "ExecutionCancelling") is None:
        known = "there is no such execution" if fold.plan is None else f"the execution is {fold.state}"
        return _refusal(request, "cancel", known)
    fact = ExecutionCancelling(reason=reason or "somebody asked for it", requested_by=request.actor)
    return Decision(entity=names.EXECUTION, fact=fact, cause=request.id)


def _approval(fold: ExecutionFold, request: Recorded, answer: ApprovalGiven) -> Decision:
    task = fold.tasks.get(answer.task)
    what = "approve" if answer.granted else "deny"
    if task is None:
        return _refusal(request, what, f"there is no task {answer.task!r} in this execution")
    if task.question is None:
        return _refusal(request, what, f"task {answer.task!r} asks nothing; it is {task.state}")
    if answer.approval not in (None, task.question.id):
        return _refusal(request, what, f"the question {answer.approval!r} is not open any more")
    fact = ApprovalRecorded(
        approval=task.question.id, granted=answer.granted, by=request.actor, notes=answer.notes, attempt=task.attempt
    )
    return Decision(entity=task.spec.id, fact=fact, attempt=task.attempt, cause=request.id)


def _refusal(request: Recorded, what: str, reason: str) -> Decision:
    identity = getattr(request.fact, "request", None) or request.id
    fact = RequestRefused(request=identity, what=what, reason=reason, requested_by=request.actor)
    return Decision(entity=names.EXECUTION, fact=fact, cause=request.id)


def _running(fold: ExecutionFold) -> Iterator[Decision]:
    assert fold.plan is not None
    for name in list(islice(fold.by_state.get("faulted", ()), AT_ONCE)):
        yield _after_failure(fold, fold.tasks[name])
    for name, because in list(islice(fold.doomed.items(), AT_ONCE)):
        task = fold.tasks[name]
        reason = task.reason if because == name else f"{because} is {fold.tasks[because].state}"
        yield _task(task, TaskSkipped(because=because, reason=reason))
    for name in fold.gated:
        task = fold.tasks[name]
        if task.question is None:
            question = f"May task {name} ({task.spec.title or 'untitled'}) start?"
            yield _task(task, ApprovalRequested(kind="start", question=question))
    room = max(0, min(_width(fold) - fold.count("ready", "running"), AT_ONCE))
    startable = list(islice(fold.unlocked, room))
    if fold.state == "running":
        for name in startable:
            attempt = fold.tasks[name].failures + 1
            yield _task(fold.tasks[name], TaskReady(attempt=attempt), attempt=attempt)
    yield from _standstill(fold, bool(startable))


def _standstill(fold: ExecutionFold, startable: bool) -> Iterator[Decision]:
    """Whether the execution goes on, waits for a person, or is over."""
    active = fold.count(*ACTIVE) - sum(1 for n in fold.asking if fold.tasks[n].state in ACTIVE)
    over = fold.count(*LIVE) == 0
    moving = startable or active > 0 or bool(fold.doomed)
    if fold.state in ("awaiting_approval", "blocked"):
        if moving or over:
            yield _execution(ExecutionResumed(reason="there is something to do again"))
        return
    if over:
        yield _end(fold)
    elif not moving:
        unasked = any(fold.tasks[n].question is None for n in fold.gated)
        if fold.asking:
            yield _execution(ApprovalAwaited(tasks=tuple(sorted(fold.asking))))
        elif not unasked and fold.count("blocked"):
            yield _execution(ExecutionBlocked(tasks=tuple(fold.by_state["blocked"])))


def _end(fold: ExecutionFold) -> Decision:
    failed, skipped = tuple(fold.by_state.get("failed", ())), tuple(fold.by_state.get("skipped", ()))
    cancelled = tuple(fold.by_state.get("cancelled", ()))
    verified, satisfied = fold.count("verified"), fold.count("satisfied")
    if not failed and not skipped and not cancelled:
        return _execution(ExecutionCompleted(verified=verified, satisfied=satisfied))
    first = failed[0] if failed else (skipped + cancelled)[0]
    reason = f"task {first}: {fold.tasks[first].reason or fold.tasks[first].state}"
    return _execution(ExecutionFailed(reason=reason, verified=verified, failed=failed, skipped=skipped))


def _after_failure(fold: ExecutionFold, task: TaskFold) -> Decision:
    assert fold.plan is not None
    policy = fold.plan.policy
    limit = task.spec.max_attempts or policy.max_attempts
    if task.retryable and task.failures < limit:
        delay = policy.backoff.delay(task.failures)
        at = datetime.fromtimestamp(fold.now_ns / 1e9 + delay, UTC).isoformat(timespec="milliseconds")
        return _task(
            task, RetryScheduled(attempt=task.failures + 1, delay=delay, at=at, reason=task.reason),
            attempt=task.failures + 1,
        )  # fmt: skip
    if policy.on_exhausted == "escalate":
        return _task(task, TaskBlocked(attempts=task.failures, reason=task.reason))
    return _task(task, TaskFailed(attempts=task.failures, reason=task.reason))


def _cancelling(fold: ExecutionFold) -> Iterator[Decision]:
    """Two phases (hazard H8): what is ready or judged is cancelled under its own guard; what runs, by its executor."""
    for state in ("ready", "executed"):
        for name in list(islice(fold.by_state.get(state, ()), AT_ONCE)):
            yield _task(fold.tasks[name], TaskCancelled(reason=fold.reason, attempt=fold.tasks[name].attempt))
    if fold.count("ready", "running", "executed") == 0:
        cancelled = fold.count(*LIVE) + fold.count("cancelled")
        yield _execution(ExecutionCancelled(verified=fold.count("verified"), cancelled=cancelled))


def _width(fold: ExecutionFold) -> int:
    assert fold.plan is not None
    return fold.plan.policy.max_parallel


def _execution(fact: object) -> Decision:
    return Decision(entity=names.EXECUTION, fact=fact)


def _task(task: TaskFold, fact: object, *, attempt: int = 0) -> Decision:
    return Decision(entity=task.spec.id, fact=fact, attempt=attempt)
