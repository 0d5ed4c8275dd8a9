"""What the planner decides: pure, on a fold. An empty list means that nothing is due."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from events.execution import (
    ApprovalAwaited,
    DeadLetterReleased,
    ExecutionBlocked,
    ExecutionCancelled,
    ExecutionCompleted,
    ExecutionFailed,
    ExecutionPausing,
    ExecutionReopened,
    ExecutionResumed,
    ExecutionStarted,
    TasksGivenUp,
)
from events.fold import ExecutionFold, TaskFold
from events.health import HealthWarned
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
    TaskRequeued,
    TaskSkipped,
    TaskStarted,
)
from schemas import names
from schemas.gates import asks_nobody
from services.planner.answers import answers
from services.planner.gates import around, before_tasks, expiry
from services.planner.going_back import going_back, gone_back, taking_over
from services.safety.answer import why_asked
from services.shell import Decision

AT_ONCE = 200
"""Decisions of one kind in one round."""
BACKSTOP = 60.0
"""Seconds beyond a task's own limits after which a lease that nobody ended is given up."""
ACTIVE = ("ready", "running", "executed", "faulted", "waiting")
TIMED = ("ApprovalRequested", "RetryScheduled", "TaskBlocked", "TaskStarted")
"""Facts of tasks that ask for a timer."""
AT_WORK = ("running", "awaiting_approval", "blocked")
"""States in which an execution goes on by itself as soon as it can."""
STUCK = ("blocked", "taken")
"""States in which only a person can help."""


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
    by_hand = list(taking_over(fold))
    if by_hand:
        return by_hand
    if fold.state in ("pausing", "paused"):
        return list(_pausing(fold))
    return list(_running(fold))


def due(fold: ExecutionFold, timer: Timer) -> list[Decision] | None:
    """What a timer that fired brings about; a hint that nobody waits for brings nothing. None: ask again soon."""
    if timer.kind == "duration":
        return _time_is_up(fold, timer)
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
    if timer.kind == "blocked" and task.state == "blocked" and task.timer == timer.event:
        if fold.rollback is not None:
            return None
        given_up = TasksGivenUp(tasks=(task.spec.id,), reason="nobody helped in time")
        return [_execution(given_up)] if fold.state != "cancelling" else []
    if timer.kind == "lease" and task.state == "running" and task.lease == timer.event:
        return [_task(task, LeaseExpired(attempt=task.attempt, lease=task.lease), attempt=task.attempt)]
    return []


def _again(fold: ExecutionFold, task: TaskFold, released: Recorded) -> Timer | None:
    """The timer that a task waits for, set once more: at once, because nobody knows how long it has been missing."""
    kinds = {"waiting": ("retry", task.timer), "blocked": ("blocked", task.timer), "running": ("lease", task.lease)}
    kind, event = kinds.get(task.state, ("", ""))
    if task.question is not None:
        kind, event = "approval", task.question.id
    if not event or (kind == "lease" and released.fact.event != "TaskStarted"):
        return None
    wait = BACKSTOP if kind in ("lease", "approval", "blocked") else 0.0
    return Timer(
        tenant=fold.tenant, execution=fold.id, entity=task.spec.id, kind=kind, event=event, sequence=released.sequence,
        at_ns=released.at_ns + int(wait * 1e9),
    )  # fmt: skip


def _time_is_up(fold: ExecutionFold, timer: Timer) -> list[Decision] | None:
    """The execution has run for as long as it may; what was verified stays (C16)."""
    limit = fold.plan.policy.max_duration if fold.plan else None
    if limit is None or fold.session != timer.event or fold.state not in (*AT_WORK, "pausing"):
        return []
    if fold.state == "pausing":
        return None  # it may go on by itself
    return [_execution(ExecutionPausing(reason=f"it has run for {limit:g} s, as long as the policy allows"))]


def timer_of(fold: ExecutionFold, recorded: Recorded) -> Timer | None:
    """The timer that an event asks for, if it still stands."""
    task = fold.tasks.get(recorded.entity)
    place: dict[str, Any] = {
        "tenant": fold.tenant, "execution": fold.id, "entity": recorded.entity,
        "event": recorded.id, "sequence": recorded.sequence,
    }  # fmt: skip
    limit = fold.plan.policy.max_duration if fold.plan else None
    match recorded.fact:
        case TaskBlocked() as fact if task and fact.expires and task.state == "blocked" and task.timer == recorded.id:
            return Timer(kind="blocked", at_ns=_moment(fact.expires), **place)
        case ExecutionStarted() | ExecutionResumed() | ExecutionReopened() if limit and fold.session == recorded.id:
            return Timer(kind="duration", at_ns=recorded.at_ns + int(limit * 1e9), **place)
        case DeadLetterReleased() as fact if fact.task in fold.tasks and fact.event in TIMED:
            return _again(fold, fold.tasks[fact.task], recorded)
        case RetryScheduled() as fact if task and task.timer == recorded.id:
            return Timer(kind="retry", at_ns=_moment(fact.at), **place)
        case ApprovalRequested() as fact if task and fact.expires and task.question and task.question.id == recorded.id:
            return Timer(kind="approval", at_ns=_moment(fact.expires), **place)
        case TaskStarted() if task and task.state == "running" and task.lease == recorded.id and fold.plan:
            limit = (task.spec.timeout or fold.plan.policy.timeout) + fold.plan.policy.grace + BACKSTOP
            return Timer(kind="lease", at_ns=recorded.at_ns + int(limit * 1e9), **place)
        case _:
            return None


def _moment(text: str) -> int:
    """Nanoseconds since 1970 of a time as events hold it."""
    return int(datetime.fromisoformat(text).timestamp() * 1e9)


def _halt(fold: ExecutionFold) -> str | None:
    """Why nothing more may start although something is left to do: a stop point, a limit, too many failures."""
    assert fold.plan is not None
    policy = fold.plan.policy
    if fold.gates_said.get("pre_execution"):
        return fold.gates_said["pre_execution"]
    if fold.count(*LIVE) == 0:
        return None
    stop = fold.tasks.get(fold.stop_after) if fold.stop_after else None
    if stop is not None and stop.state not in LIVE:
        return f"stop point after {fold.stop_after}"
    if fold.given_up >= _most_failures(fold):
        return _in_a_row(fold)
    if policy.max_tasks is not None and fold.begun >= policy.max_tasks and fold.unlocked:
        return f"{fold.begun} tasks were started, as many as the policy allows"
    return None


def _most_failures(fold: ExecutionFold) -> int:
    assert fold.plan is not None
    return 1 if fold.plan.policy.stop_on_first_failure else fold.plan.policy.halt_after


def _in_a_row(fold: ExecutionFold) -> str:
    return f"{fold.given_up} tasks in a row were given up" if fold.given_up > 1 else "a task was given up"


def _too_many_failures(fold: ExecutionFold) -> Decision | None:
    """A warning before the pause, on the task that was given up last; None if it is no matter of failures, or said."""
    limit, given_up = _most_failures(fold), list(fold.by_state.get("failed", ()))
    last = fold.tasks[given_up[-1]] if given_up and fold.given_up >= limit else None
    if last is None or ("failures", "warn") in last.warned:
        return None
    warning = HealthWarned(
        kind="failures", stage="warn", value=fold.given_up, limit=limit, message=_in_a_row(fold), attempt=last.attempt
    )
    return _task(last, warning, attempt=last.attempt)


def _pausing(fold: ExecutionFold) -> Iterator[Decision]:
    """Two phases (hazard H8): what is ready is held under its own guard; when nothing is, the execution is paused."""
    for name in list(islice(fold.by_state.get("faulted", ()), AT_ONCE)):
        yield _after_failure(fold, fold.tasks[name])
    if fold.rollback is not None and fold.state == "pausing":
        yield from going_back(fold, fold.rollback)
        return
    if fold.state == "pausing" and fold.went_back is not None and fold.went_back.resume:
        yield gone_back(fold)
        return
    for name in list(islice(fold.by_state.get("ready", ()), AT_ONCE)):  # when paused: what was interrupted since
        yield _task(fold.tasks[name], TaskHeld(reason=fold.reason))
    if fold.state == "pausing" and fold.count("ready") == 0:
        yield gone_back(fold)


def _running(fold: ExecutionFold) -> Iterator[Decision]:
    assert fold.plan is not None
    halt = _halt(fold)
    if halt is not None:
        yield _too_many_failures(fold) or _execution(ExecutionPausing(reason=halt))
        return
    for name in list(islice(fold.by_state.get("faulted", ()), AT_ONCE)):
        yield _after_failure(fold, fold.tasks[name])
    for name, because in list(islice(fold.doomed.items(), AT_ONCE)):
        task = fold.tasks[name]
        reason = task.reason if because == name else f"{because} is {fold.tasks[because].state}"
        yield _task(task, TaskSkipped(because=because, reason=reason))
    yield from _before_starts(fold)
    let_through, gates = around(fold, "pre_execution")
    if not let_through:
        yield from gates
        return
    for name in list(islice(fold.by_state.get("ready", ()), AT_ONCE)):
        if fold.tasks[name].requeue or fold.tasks[name].gate or fold.tasks[name].missing:
            yield _task(fold.tasks[name], TaskHeld(reason=fold.tasks[name].reason or "it is handed out anew"))
    room = max(0, min(_width(fold) - fold.count("ready", "running"), AT_ONCE))
    if fold.plan.policy.max_tasks is not None:
        room = min(room, max(0, fold.plan.policy.max_tasks - fold.begun - fold.count("ready")))
    startable = list(islice(_startable(fold), room))
    if fold.state == "running":
        for name in startable:
            attempt = fold.tasks[name].failures + 1
            yield _task(fold.tasks[name], TaskReady(attempt=attempt), attempt=attempt)
    yield from _standstill(fold, bool(startable))


def _startable(fold: ExecutionFold) -> Iterator[str]:
    """What may start, in order; of those that got into each other's way only one at a time."""
    beside = any(
        fold.tasks[n].conflicted for state in ("ready", "running", "executed") for n in fold.by_state.get(state, ())
    )
    for name in fold.unlocked:
        if not fold.tasks[name].conflicted:
            yield name
        elif not beside:
            beside = True
            yield name


def _standstill(fold: ExecutionFold, startable: bool) -> Iterator[Decision]:
    """Whether the execution goes on, waits for a person, or is over."""
    active = fold.count(*ACTIVE) - sum(1 for n in fold.asking if fold.tasks[n].state in ACTIVE)
    over = fold.count(*LIVE) == 0
    moving = startable or active > 0 or bool(fold.doomed) or bool(fold.checking)
    if fold.state in ("awaiting_approval", "blocked"):
        answered = fold.state == "awaiting_approval" and not fold.asking  # what is left may be blocked
        helped = fold.state == "blocked" and (bool(fold.asking) or not fold.count(*STUCK))
        if moving or over or answered or helped:
            yield _execution(ExecutionResumed(reason="there is something to do again"))
        return
    if over:
        yield from _end(fold)
    elif not moving:
        stopped = (n for n in fold.by_state.get("blocked", ()) if fold.tasks[n].gate and fold.tasks[n].granted is None)
        unasked = any(fold.tasks[n].question is None for n in (*fold.gated, *stopped))
        if fold.asking:
            yield _execution(ApprovalAwaited(tasks=tuple(sorted(fold.asking))))
        elif not unasked and fold.count(*STUCK):
            yield _execution(ExecutionBlocked(tasks=tuple(n for state in STUCK for n in fold.by_state.get(state, ()))))


def _end(fold: ExecutionFold) -> Iterator[Decision]:
    failed, skipped = tuple(fold.by_state.get("failed", ())), tuple(fold.by_state.get("skipped", ()))
    cancelled = tuple(fold.by_state.get("cancelled", ()))
    verified, satisfied = fold.count("verified"), fold.count("satisfied")
    if not failed and not skipped and not cancelled:
        let_through, gates = around(fold, "post_execution")
        yield from gates
        if let_through:
            yield _execution(ExecutionCompleted(verified=verified, satisfied=satisfied))
        elif fold.gates_said.get("post_execution"):
            reason = fold.gates_said["post_execution"]
            yield _execution(ExecutionFailed(reason=reason, verified=verified, failed=()))
        return
    first = failed[0] if failed else (skipped + cancelled)[0]
    reason = f"task {first}: {fold.tasks[first].reason or fold.tasks[first].state}"
    yield _execution(ExecutionFailed(reason=reason, verified=verified, failed=failed, skipped=skipped))


def _after_failure(fold: ExecutionFold, task: TaskFold) -> Decision:
    assert fold.plan is not None
    policy = fold.plan.policy
    limit = task.spec.max_attempts or policy.max_attempts
    counted = task.failures - task.forgiven
    if task.delivered:
        reason = f"what {task.taken_by} delivered does not hold: {task.reason}"
        return _task(task, TaskBlocked(attempts=task.failures, reason=reason, restored=fold.head))
    if task.conflicted and task.rejection is not None and not task.rejection.counts:
        return _task(task, TaskRequeued(attempt=task.attempt, conflict=task.rejection.conflict))
    if task.retryable and counted < limit:
        delay = policy.backoff.delay(counted)
        at = datetime.fromtimestamp(fold.now_ns / 1e9 + delay, UTC).isoformat(timespec="milliseconds")
        return _task(
            task, RetryScheduled(attempt=task.failures + 1, delay=delay, at=at, reason=task.reason),
            attempt=task.failures + 1,
        )  # fmt: skip
    if policy.on_exhausted == "escalate":
        expires = expiry(fold, policy.escalation_timeout)
        return _task(task, TaskBlocked(attempts=task.failures, reason=task.reason, restored=fold.head, expires=expires))
    return _task(task, TaskFailed(attempts=task.failures, reason=task.reason, restored=fold.head))


def _cancelling(fold: ExecutionFold) -> Iterator[Decision]:
    """Two phases (hazard H8): what is ready or judged is cancelled under its own guard; what runs, by its executor."""
    for state in ("ready", "executed"):
        for name in list(islice(fold.by_state.get(state, ()), AT_ONCE)):
            yield _task(fold.tasks[name], TaskCancelled(reason=fold.reason, attempt=fold.tasks[name].attempt))
    if fold.count("ready", "running", "executed") == 0:
        cancelled = fold.count(*LIVE) + fold.count("cancelled")
        yield _execution(ExecutionCancelled(verified=fold.count("verified"), cancelled=cancelled))


def _before_starts(fold: ExecutionFold) -> Iterator[Decision]:
    """A person's word and gates, for what could start otherwise."""
    assert fold.plan is not None
    for name in list(islice(fold.gated, AT_ONCE)):
        task = fold.tasks[name]
        if asks_nobody(fold.plan):
            reason = "it needs a person's word, and approvals: auto asks nobody"
            yield _task(task, TaskSkipped(because=name, reason=reason))
        elif task.question is None:
            why = tuple(concern.violation for concern in task.spec.concerns)
            question = f"May task {name} ({task.spec.title or 'untitled'}) start?{why_asked(why)}"
            expires = expiry(fold, fold.plan.policy.approval_timeout)
            yield _task(task, ApprovalRequested(kind="start", question=question, checklist=why, expires=expires))
    yield from before_tasks(fold)


def _width(fold: ExecutionFold) -> int:
    assert fold.plan is not None
    return fold.plan.policy.max_parallel


def _execution(fact: object) -> Decision:
    return Decision(entity=names.EXECUTION, fact=fact)


def _task(task: TaskFold, fact: object, *, attempt: int = 0) -> Decision:
    return Decision(entity=task.spec.id, fact=fact, attempt=attempt)
