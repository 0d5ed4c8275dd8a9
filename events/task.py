"""Facts of a task. The planner makes ready and gives up, the executor runs."""

from __future__ import annotations

from dataclasses import field
from typing import Literal

from events.event import event
from events.parts import Artifact as Artifact
from events.parts import BlobRef
from schemas.values import value


@value
class Usage:
    """What an attempt took, measured by the executor's monotonic clock and the kernel."""

    seconds: float
    cpu_seconds: float = 0.0
    max_rss: int = 0
    """Bytes of the largest single process."""
    peak_memory: int = 0
    """Bytes of all processes together at their highest, file cache included; 0 where nobody counts it."""
    tokens: int | None = None
    """Context tokens that an agent said it used; None if it did not say."""


@event("task", "planner")
class TaskReady:
    """The task may be started."""

    attempt: int


@event("task", "executor")
class TaskStarted:
    """An executor took the task; the id of this event is the lease that every later event of the attempt carries."""

    attempt: int
    worker: str
    host: str
    boot_id: str
    pid: int
    start_ticks: int
    """With ``pid`` and ``boot_id``: the executor process, beyond re-use of its number."""
    sandbox: str
    delivery: int = 1
    """How often the TaskReady had been handed out: who holds an earlier delivery of it is stale (hazard H6)."""


@event("task", "executor")
class TaskExecuted:
    """The command or agent ended well. That is a claim, not a success: the verifier judges."""

    attempt: int
    lease: str
    usage: Usage
    exit_code: int = 0
    base: str | None = None
    """The commit it started from."""
    commit: str | None = None
    """The checkpoint of what it left behind; None if it changed nothing."""
    tree: str | None = None
    output: Artifact | None = None
    tail: str = ""
    """The last lines it printed."""


@event("task", "executor")
class AttemptFailed:
    """The attempt did not get to its end: exit code, signal, or no way to start it."""

    attempt: int
    lease: str
    reason: str
    exit_code: int | None = None
    signal: int | None = None
    usage: Usage | None = None
    output: Artifact | None = None
    tail: str = ""
    retryable: bool = True


@event("task", "executor")
class AttemptTimedOut:
    """The attempt took longer than it may and was killed, with all its children."""

    attempt: int
    lease: str
    limit: float
    usage: Usage | None = None
    output: Artifact | None = None
    tail: str = ""


@event("task", "executor")
class TaskInterrupted:
    """The engine, not the task, ended the attempt; it does not count and the task is ready again."""

    attempt: int
    lease: str
    reason: str
    commit: str | None = None
    """A checkpoint of what it had done so far, if there was time to make one."""


@event("task", "executor")
class StaleResultRefused:
    """A worker came back after its lease had ended; what it brought is not used."""

    attempt: int
    lease: str
    what: str
    current: str | None = None
    """The lease that holds now, if any."""


@event("task", "planner")
class LeaseExpired:
    """No executor has been heard of for longer than the task may run; it goes back to pending."""

    attempt: int
    lease: str


@event("task", "planner")
class RetryScheduled:
    """There will be another attempt; the id of this event is the timer's."""

    attempt: int
    """The number of the attempt to come."""
    delay: float
    at: str
    """When, in UTC (RFC 3339)."""
    reason: str


@event("task", "planner")
class TaskFailed:
    """The task is given up; nothing that it did is on the branch."""

    attempts: int
    reason: str
    restored: str | None = None
    """The commit at which the branch stands: the last checkpoint."""


@event("task", "planner")
class TaskBlocked:
    """The task used all its attempts, or a gate stopped it; a person has to look at it."""

    attempts: int
    reason: str
    restored: str | None = None
    """The commit at which the branch stands: the last checkpoint."""
    gate: str = ""
    """The gate that stopped it, if one did."""
    expires: str | None = None
    """When it has failed by itself, in UTC (RFC 3339); None: it waits for ever."""


@event("task", "planner")
class TaskRequeued:
    """The result could not be joined with what landed first; the task is done again on top of that."""

    attempt: int
    conflict: tuple[str, ...]
    """Files that could not be merged."""


@event("task", "planner")
class TaskGatesDue:
    """Gates before the task are to be judged."""

    attempt: int
    gates: tuple[str, ...]
    base: str | None = None
    """The commit that the attempt would start from; None: the execution's base, wherever that will be."""


@event("task", "planner")
class TaskTaken:
    """A person does the task by hand; the id of this event is the lease. An attempt that runs has lost its own."""

    attempt: int
    by: str
    reason: str = ""
    base: str | None = None
    """Where the branch stands."""


@event("task", "planner")
class TaskReturned:
    """The person gave the task back undone."""

    attempt: int
    lease: str
    by: str
    reason: str = ""


@event("task", "planner")
class TaskDelivered:
    """A person did the task by hand. That is a claim, not a success: the verifier judges."""

    attempt: int
    lease: str
    by: str
    commit: str | None = None
    base: str | None = None
    pack: BlobRef | None = None
    notes: str = ""


@event("task", "planner")
class TaskSkipped:
    """The task cannot run because of another one."""

    because: str
    reason: str


@event("task", "planner")
class TaskHeld:
    """The task was ready and is not any more."""

    reason: str


@event("task", "planner", "executor")
class TaskCancelled:
    """The task was stopped, or never started, because its execution was cancelled."""

    reason: str
    attempt: int = 0
    lease: str | None = None
    usage: Usage | None = None
    output: Artifact | None = None


@event("task", "planner", "verifier")
class ApprovalRequested:
    """A person has to say yes or no; the id of this event names the question."""

    kind: Literal["start", "result", "gate"]
    question: str
    attempt: int = 0
    lease: str | None = None
    checklist: tuple[str, ...] = field(default_factory=tuple)
    expires: str | None = None
    """When the answer becomes no by itself, in UTC (RFC 3339); None: it waits for ever."""


@event("task", "planner")
class ApprovalRecorded:
    """A person's answer counts from here on."""

    approval: str
    granted: bool
    by: str
    notes: str = ""
    attempt: int = 0
