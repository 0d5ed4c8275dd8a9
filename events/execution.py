"""Facts of an execution: the entity ``-``. Only the planner says them."""

from __future__ import annotations

from dataclasses import field

from events.event import event
from schemas.values import Plan, value


@value
class Problem:
    """One thing that is wrong with a plan, where, and what to do about it."""

    code: str
    message: str
    file: str = ""
    line: int | None = None
    hint: str = ""
    severity: str = "error"


@event("execution", "planner")
class PlanAccepted:
    """The plan is sound and frozen; the execution is queued."""

    plan: Plan
    digest: str
    """SHA-256 of the accepted plan's canonical JSON."""
    requested_by: str
    warnings: tuple[Problem, ...] = ()


@event("execution", "planner")
class PlanRejected:
    """The plan cannot run; every problem is named."""

    problems: tuple[Problem, ...]
    requested_by: str = ""


@event("execution", "planner")
class ExecutionStarted:
    """The execution left the queue."""

    tasks: int
    """How many tasks are to be run."""
    satisfied: int = 0
    """How many the source said are done."""


@event("execution", "planner")
class ApprovalAwaited:
    """Nothing more can happen before a person answers."""

    tasks: tuple[str, ...]


@event("execution", "planner")
class ExecutionBlocked:
    """Nothing more can happen before a person helps the tasks named."""

    tasks: tuple[str, ...]


@event("execution", "planner")
class ExecutionResumed:
    """The execution can go on."""

    reason: str
    requested_by: str = ""


@event("execution", "planner")
class ExecutionPausing:
    """Nothing more starts: what was ready is held, what runs may finish."""

    reason: str
    requested_by: str = ""


@event("execution", "planner")
class ExecutionPaused:
    """Nothing is ready any more; the execution stays as it is until somebody resumes it."""

    reason: str


@event("execution", "planner")
class ExecutionReopened:
    """Tasks that were given up get their attempts again, and those that were skipped because of them wait again."""

    tasks: tuple[str, ...]
    """Every task that goes back to pending."""
    reason: str
    requested_by: str = ""


@event("execution", "planner")
class StopPointSet:
    """The execution will pause after a task; None: the stop point is gone."""

    after: str | None
    requested_by: str = ""


@event("execution", "planner")
class ExecutionCancelling:
    """The execution starts no more tasks, and those that run are being stopped."""

    reason: str
    requested_by: str


@event("execution", "planner")
class ExecutionCancelled:
    """Nothing runs any more; what was not finished is cancelled."""

    verified: int
    cancelled: int


@event("execution", "planner")
class ExecutionCompleted:
    """Every task is verified or was done before."""

    verified: int
    satisfied: int = 0


@event("execution", "planner")
class ExecutionFailed:
    """All that could be done is done, and it is not everything."""

    reason: str
    verified: int
    failed: tuple[str, ...]
    skipped: tuple[str, ...] = ()


@event("execution", "planner")
class RequestRefused:
    """Somebody asked for something that makes no sense now."""

    request: str
    what: str
    reason: str
    requested_by: str = ""


@event("execution", "planner", "executor", "verifier")
class DeadLettered:
    """A reaction failed again and again and was given up; ``sequence`` is the event that nobody could react to."""

    service: str
    sequence: int
    event: str
    reason: str
    deliveries: int
    task: str | None = None
    details: dict[str, str] = field(default_factory=dict)
