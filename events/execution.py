"""Facts of an execution: the entity ``-``. Only the planner says them."""

from __future__ import annotations

from dataclasses import field

from events.event import event
from events.parts import GateOutcome
from schemas.values import GateMoment, Plan, value


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
    taken: str | None = None
    """The one of them that a person takes over."""


@event("execution", "planner")
class RollbackBegun:
    """Nothing more starts and what runs is interrupted, so that the branch can go back (hazard H11)."""

    reason: str
    requested_by: str
    to: str | None = None
    """The last task whose result stays; None: nothing stays."""
    only: str | None = None
    """The one result that is taken back, with what was built on it; then ``to`` means nothing."""
    take: bool = False
    """A person takes the task ``only`` over afterwards."""
    resume: bool = False
    """It goes on by itself afterwards."""


@event("execution", "planner")
class RevertDue:
    """Results are to be taken back although others landed after them: the verifier makes and judges the commit."""

    tasks: tuple[str, ...]
    """Every task that goes back to pending."""
    commits: tuple[str, ...]
    """What to take back, the newest first."""


@event("execution", "planner")
class ExecutionGatesDue:
    """Gates of the whole execution are to be judged."""

    when: GateMoment
    gates: tuple[str, ...]


@event("execution", "verifier")
class ExecutionGatesJudged:
    """Gates of the whole execution were judged on the branch as it stood."""

    due: str
    """The id of the ExecutionGatesDue."""
    when: GateMoment
    outcomes: tuple[GateOutcome, ...]
    head: str | None = None


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


@event("execution", "planner")
class RatingRecorded:
    """A person's rating counts from here on, in place of an earlier one of the same person."""

    rating: int
    """From 1 to 10, 10 is best."""
    by: str
    task: str | None = None
    """None: the execution as a whole."""
    notes: str = ""


@event("execution", "planner", "executor", "verifier", "learner", "notifier")
class DeadLettered:
    """A reaction failed again and again and was given up; ``sequence`` is the event that nobody could react to."""

    service: str
    sequence: int
    event: str
    reason: str
    deliveries: int
    task: str | None = None
    details: dict[str, str] = field(default_factory=dict)


@event("execution", "planner")
class DeadLetterReleased:
    """A reaction that was given up is tried again because somebody asked for it."""

    sequence: int
    service: str
    event: str
    task: str | None = None
    requested_by: str = ""


@event("execution", "planner")
class TasksGivenUp:
    """Blocked tasks have failed: nobody helped in time, or somebody upheld the gate that stopped them.

    What is blocked goes on, or ends, by facts of the execution only, so that of help and time exactly one comes first.
    """

    tasks: tuple[str, ...]
    reason: str
    by: str = ""
    """Who upheld the gate."""
