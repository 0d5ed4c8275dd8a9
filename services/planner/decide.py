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
    ExecutionCompleted,
    ExecutionFailed,
    ExecutionPaused,
    ExecutionPausing,
    ExecutionResumed,
    ExecutionStarted,
)
from events.fold import ExecutionFold, TaskFold
from events.log import Recorded, Timer
from events.machines import EXECUTION
from events.machines.task import LIVE
from events.task import (
    ApprovalRecorded,
    ApprovalRequested,
    LeaseExpired,
    RetryScheduled,
    TaskBlocked,
    TaskCancelled,
    TaskFailed,
    TaskHeld,
    TaskReady,
    TaskSkipped,
    TaskStarted,
)
from schemas import names
from services.planner.answers import answers
from services.shell import Decision

AT_ONCE = 200
"""Decisions of one kind in one round."""
BACKSTOP = 60.0
"""Seconds beyond a task's own limits after which a lease that nobody ended is given up."""
ACTIVE = ("ready", "running", "executed", "faulted", "waiting")


def decide(fold: ExecutionFold) -> list[Decision]:
    """Everything that is due on this fold, at most one decision an entity counts in a round."""
    decisions = list(answers(fold))
    if decisions:
        return decisions
    if fold.plan is None or fold.state in EXECUTION.final:
        return []
    if fold.state == "queued":
        satisfied = fold.count("satisfied")
        return [_execution(ExecutionStarted(tasks=len(fold.tasks) - satisfied, satisfied=satisfied))]
    if fold.state == "cancelling":
        return list(_cancelling(fold))
    if fold.state in ("pausing", "paused"):
        return list(_pausing(fold))
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
    if timer.kind == "approval" and task.question is not None and task.question.id == timer.event:
        answer = ApprovalRecorded(
            approval=timer.event, granted=False, by="timer", notes="nobody answered in time", attempt=task.attempt
        )
        return [_task(task, answer, attempt=task.attempt)]
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
        case ApprovalRequested() as fact if task and fact.expires and task.question and task.question.id == recorded.id:
            return Timer(kind="approval", at_ns=int(datetime.fromisoformat(fact.expires).timestamp() * 1e9), **place)
        case TaskStarted() if task and task.lease == recorded.id and fold.plan:
            limit = (task.spec.timeout or fold.plan.policy.timeout) + fold.plan.policy.grace + BACKSTOP
            return Timer(kind="lease", at_ns=recorded.at_ns + int(limit * 1e9), **place)
        case _:
            return None


def _halt(fold: ExecutionFold) -> str | None:
    """Why nothing more may start although something is left to do: a stop point, a limit, too many failures."""
    assert fold.plan is not None
    policy = fold.plan.policy
    if fold.count(*LIVE) == 0:
        return None
    stop = fold.tasks.get(fold.stop_after) if fold.stop_after else None
    if stop is not None and stop.state not in LIVE:
        return f"stop point after {fold.stop_after}"
    if fold.given_up >= policy.halt_after:
        return f"{fold.given_up} tasks in a row were given up"
    if policy.max_tasks is not None and fold.begun >= policy.max_tasks and fold.unlocked:
        return f"{fold.begun} tasks were started, as many as the policy allows"
    return None


def _pausing(fold: ExecutionFold) -> Iterator[Decision]:
    """Two phases (hazard H8): what is ready is held under its own guard; when nothing is, the execution is paused."""
    for name in list(islice(fold.by_state.get("faulted", ()), AT_ONCE)):
        yield _after_failure(fold, fold.tasks[name])
    for name in list(islice(fold.by_state.get("ready", ()), AT_ONCE)):  # when paused: what was interrupted since
        yield _task(fold.tasks[name], TaskHeld(reason=fold.reason))
    if fold.state == "pausing" and fold.count("ready") == 0:
        yield _execution(ExecutionPaused(reason=fold.reason))


def _running(fold: ExecutionFold) -> Iterator[Decision]:
    assert fold.plan is not None
    halt = _halt(fold)
    if halt is not None:
        yield _execution(ExecutionPausing(reason=halt))
        return
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
            yield _task(task, ApprovalRequested(kind="start", question=question, expires=expiry(fold)))
    room = max(0, min(_width(fold) - fold.count("ready", "running"), AT_ONCE))
    if fold.plan.policy.max_tasks is not None:
        room = min(room, max(0, fold.plan.policy.max_tasks - fold.begun - fold.count("ready")))
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
        answered = fold.state == "awaiting_approval" and not fold.asking  # what is left may be blocked
        if moving or over or answered:
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
    counted = task.failures - task.forgiven
    if task.retryable and counted < limit:
        delay = policy.backoff.delay(counted)
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


def expiry(fold: ExecutionFold) -> str | None:
    """When a question asked now becomes a no by itself."""
    seconds = fold.plan.policy.approval_timeout if fold.plan else None
    if seconds is None:
        return None
    return datetime.fromtimestamp(fold.now_ns / 1e9 + seconds, UTC).isoformat(timespec="milliseconds")


def _width(fold: ExecutionFold) -> int:
    assert fold.plan is not None
    return fold.plan.policy.max_parallel


def _execution(fact: object) -> Decision:
    return Decision(entity=names.EXECUTION, fact=fact)


def _task(task: TaskFold, fact: object, *, attempt: int = 0) -> Decision:
    return Decision(entity=task.spec.id, fact=fact, attempt=attempt)
