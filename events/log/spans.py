"""What a trace shows of an execution, computed from its history alone. Pure.

Ids follow from the execution and its events, so that processes which share nothing agree on one tree: the execution
is the root (or hangs below the span of whoever submitted it), below it tasks and notices, below a task its attempts and
their verification. Times are the log's. Format of ``traceparent``: W3C Trace Context, level 1.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from events.log import Recorded
from schemas.names import EXECUTION, INBOX

TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
EXECUTION_ENDS = frozenset({"ExecutionCompleted", "ExecutionFailed", "ExecutionCancelled", "PlanRejected"})
ATTEMPT_ENDS = frozenset(
    {
        "TaskExecuted", "AttemptFailed", "AttemptTimedOut", "TaskInterrupted", "LeaseExpired", "TaskCancelled",
        "TaskDelivered", "TaskReturned",
    }
)  # fmt: skip
VERDICTS = frozenset({"TaskVerified", "AttemptRejected"})
TASK_ENDS = frozenset({"TaskVerified", "TaskFailed", "TaskBlocked", "TaskSkipped", "TaskCancelled"})
NOTICES = frozenset({"NoticeSent", "NoticeFailed"})
ENDS = EXECUTION_ENDS | ATTEMPT_ENDS | VERDICTS | TASK_ENDS | NOTICES | {"TaskTaken"}
"""Events with which a span ends."""
_GOOD = frozenset({"TaskExecuted", "TaskDelivered", "TaskVerified", "ExecutionCompleted", "NoticeSent"})
_BAD = frozenset(
    {
        "AttemptFailed", "AttemptTimedOut", "AttemptRejected", "TaskFailed", "TaskBlocked", "ExecutionFailed",
        "PlanRejected", "LeaseExpired", "NoticeFailed",
    }
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """The trace that an execution belongs to: its own span is ``root``, below the submitter's, if there is one."""

    trace: str
    root: str
    parent: str = ""
    sampled: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """One stretch of time of a trace. Ids are hexadecimal; ``parent`` is empty for the root."""

    name: str
    trace: str
    id: str
    parent: str
    start_ns: int
    end_ns: int
    failed: bool | None
    """None where an end is neither good nor bad, such as cancelled."""
    reason: str = ""
    attributes: dict[str, str | int | float] = field(default_factory=dict)


def context_of(tenant: str, execution: str, traceparent: str = "") -> Context:
    """The trace of an execution: the submitter's if the submission named one, otherwise one derived from its id."""
    root = _hash("execution", f"{tenant} {execution}", 16)
    given = TRACEPARENT.fullmatch(traceparent)
    if given is None:
        return Context(trace=_hash("trace", f"{tenant} {execution}", 32), root=root)
    return Context(trace=given[1], root=root, parent=given[2], sampled=bool(int(given[3], 16) & 1))


def traceparent_of(context: Context) -> str:
    """The header that events of an execution carry: its trace, and its own span as the parent."""
    return f"00-{context.trace}-{context.root}-{'01' if context.sampled else '00'}"


def ended(history: Iterable[Recorded], sequence: int, context: Context) -> list[Span]:
    """The spans that ended with the event at a sequence.

    ``history``: for a task's event everything of that task, for the end of an execution everything of the execution.
    """
    return [span for at, span in _spans(history, context) if at == sequence]


def all_of(history: Iterable[Recorded], context: Context) -> list[Span]:
    """Every span of an execution that has ended, from its whole history."""
    return [span for _, span in _spans(history, context)]


@dataclass(slots=True)
class _Open:
    """What of a task has begun and not ended, by the event that began it."""

    life: Recorded | None = None
    attempts: dict[str, Recorded] = field(default_factory=dict)
    verification: Recorded | None = None


def _spans(history: Iterable[Recorded], context: Context) -> Iterator[tuple[int, Span]]:
    tasks: dict[str, _Open] = {}
    begun: Recorded | None = None
    again = False
    for event in history:
        if event.standing != "ok":
            continue
        if event.name in NOTICES:
            yield event.sequence, _notice(event, context)
        elif event.entity == INBOX:
            if event.name == "PlanSubmitted" and begun is None:
                begun = event
        elif event.entity == EXECUTION:
            if event.name in ("ExecutionReopened", "RollbackBegun") and begun is None:
                begun, again = event, True
            if event.name in EXECUTION_ENDS:
                for task in tasks.values():
                    yield from _closed(task, event, context)
                yield event.sequence, _execution(begun or event, event, context, again=again)
                begun = None
        else:
            yield from _task(tasks.setdefault(event.entity, _Open()), event, context)


def _task(task: _Open, event: Recorded, context: Context) -> Iterator[tuple[int, Span]]:
    if event.name in ("TaskReady", "TaskTaken") and task.life is None:
        task.life = event
    if event.name == "TaskTaken":  # whoever ran it has lost the lease
        for started in task.attempts.values():
            yield event.sequence, _attempt(started, event, task.life, context)
        task.attempts = {event.id: event}
        task.verification = None
    elif event.name == "TaskStarted":
        task.attempts[event.id] = event
    if event.name in ATTEMPT_ENDS:
        begun = task.attempts.pop(getattr(event.fact, "lease", None) or "", None)
        if begun is not None:
            yield event.sequence, _attempt(begun, event, task.life, context)
            if event.name in ("TaskExecuted", "TaskDelivered"):
                task.verification = event
    if event.name in VERDICTS and task.verification is not None:
        yield event.sequence, _verification(task.verification, event, task.life, context)
        task.verification = None
    if event.name in TASK_ENDS and task.life is not None:
        yield event.sequence, _life(task.life, event, context)
        task.life = None


def _closed(task: _Open, end: Recorded, context: Context) -> Iterator[tuple[int, Span]]:
    """What the end of the execution ends."""
    for started in task.attempts.values():
        yield end.sequence, _attempt(started, end, task.life, context)
    if task.verification is not None:
        yield end.sequence, _verification(task.verification, end, task.life, context)
    if task.life is not None:
        yield end.sequence, _life(task.life, end, context)
    task.attempts, task.verification, task.life = {}, None, None


def _execution(begun: Recorded, end: Recorded, context: Context, *, again: bool) -> Span:
    if again:
        id = _hash("again", begun.id, 16)
        return _span("execution, opened again", begun, end, context, id=id, parent=context.root)
    return _span("execution", begun, end, context, id=context.root, parent=context.parent)


def _life(ready: Recorded, end: Recorded, context: Context) -> Span:
    return _span(f"task {ready.entity}", ready, end, context, id=_life_id(ready), parent=context.root)


def _attempt(started: Recorded, end: Recorded, life: Recorded | None, context: Context) -> Span:
    more = {
        key: getattr(started.fact, key) for key in ("worker", "host", "sandbox", "by") if hasattr(started.fact, key)
    }
    parent = _life_id(life) if life else context.root
    name = "attempt by hand" if started.name == "TaskTaken" else "attempt"
    return _span(name, started, end, context, id=_hash("attempt", started.id, 16), parent=parent, **more)


def _verification(executed: Recorded, end: Recorded, life: Recorded | None, context: Context) -> Span:
    parent = _life_id(life) if life else context.root
    return _span("verification", executed, end, context, id=_hash("verification", executed.id, 16), parent=parent)


def _notice(event: Recorded, context: Context) -> Span:
    took = int(1e9 * float(getattr(event.fact, "seconds", 0.0) or 0.0))
    span = _span("notice", event, event, context, id=_hash("notice", event.id, 16), parent=context.root)
    return replace(span, start_ns=event.at_ns - took)


def _life_id(ready: Recorded) -> str:
    return _hash("task", ready.id, 16)


def _span(
    name: str, begun: Recorded, end: Recorded, context: Context, *, id: str, parent: str, **more: str | int | float
) -> Span:
    attributes: dict[str, str | int | float] = {
        "nightshift.tenant": begun.tenant, "nightshift.execution": begun.execution, "nightshift.end": end.name,
    }  # fmt: skip
    if begun.entity not in (EXECUTION, INBOX):
        attributes["nightshift.task"] = begun.entity
    if begun.attempt:
        attributes["nightshift.attempt"] = begun.attempt
    for key in ("exit_code", "signal"):
        if (value := getattr(end.fact, key, None)) is not None:
            attributes[f"nightshift.{key}"] = value
    attributes |= {f"nightshift.{key}": value for key, value in more.items()}
    failed = False if end.name in _GOOD else True if end.name in _BAD else None
    return Span(
        name=name, trace=context.trace, id=id, parent=parent, start_ns=begun.at_ns,
        end_ns=max(begun.at_ns, end.at_ns), failed=failed, reason=_reason(end.fact), attributes=attributes,
    )  # fmt: skip


def _reason(fact: Any) -> str:
    return str(getattr(fact, "reason", "") or "")[:500]


def _hash(kind: str, what: str, digits: int) -> str:
    return hashlib.sha256(f"nightshift {kind} {what}".encode()).hexdigest()[:digits]
