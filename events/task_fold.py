"""What the log says about one task, as ``events.fold`` keeps it."""

from __future__ import annotations

from dataclasses import dataclass, field

from events.health import TaskCheckpointed
from events.log import Recorded
from events.machines import TASK
from events.task import ApprovalRecorded, TaskDelivered, TaskStarted
from events.verdict import AttemptRejected, OracleTouched, TaskVerified
from schemas.values import Task

DONE = frozenset({"verified", "satisfied"})
"""States that let dependents go on."""
LOST = frozenset({"failed", "skipped", "cancelled"})
"""States after which dependents can never run."""


@dataclass(slots=True)
class TaskFold:
    """What the log says about one task."""

    spec: Task
    state: str = TASK.initial
    last: int = 0
    """The sequence of its last event, set-aside ones included: what its guard expects."""
    attempt: int = 0
    """The number of the newest attempt."""
    failures: int = 0
    """Attempts that count against the limit."""
    forgiven: int = 0
    """Failures before somebody asked for another try: they count no more against the limit."""
    interruptions: int = 0
    ready: str = ""
    """The id of the TaskReady that holds."""
    lease: str = ""
    """The id of the TaskStarted that holds; empty when nobody runs it."""
    started: TaskStarted | None = None
    executed: Recorded | None = None
    """The newest TaskExecuted."""
    verified: TaskVerified | None = None
    verified_sequence: int = 0
    """Where the TaskVerified that holds stands in the log."""
    verified_id: str = ""
    verified_at: int = 0
    """Where on the branch its head landed: dependents start from the last-landed dependency. A task without a commit
    may be judged on an older head than those that landed before its verdict; 0: on the base."""
    timer: str = ""
    """The id of the event whose timer is waited for."""
    question: Recorded | None = None
    """The open ApprovalRequested."""
    granted: ApprovalRecorded | None = None
    """The newest answer to a question about the result."""
    oracle: OracleTouched | None = None
    """The newest statement that it changed what judges it."""
    start_granted: bool = False
    """A person let it start."""
    may_start: bool = True
    """False while a person's word is needed before it starts."""
    missing: int = 0
    """How many dependencies are not done."""
    gated: bool = False
    """Whether gates are to be judged before it starts."""
    gates_passed: bool = False
    """They passed, or somebody let it pass; until it goes back to pending for another reason than being held."""
    gates_due: str = ""
    """The id of the TaskGatesDue that nobody has answered yet."""
    gate: str = ""
    """The gate that stopped it."""
    conflicts: int = 0
    """How often its result could not be joined with what landed first."""
    conflicted: bool = False
    """Its newest result could not be joined: it starts on top of the branch, and beside no other such task."""
    waived: tuple[str, ...] = ()
    """Gates that a person lets it pass."""
    taken_by: str = ""
    """Who does it by hand, or did so last."""
    requeue: bool = False
    """It is ready, and nobody may have its message any more."""
    reason: str = ""
    retryable: bool = True
    rejection: AttemptRejected | None = None
    """The newest verdict against it: context for the next attempt."""
    warned: set[tuple[str, str]] = field(default_factory=set)
    """Kinds and stages that somebody was warned of in this attempt; to wait for disk space is over when it starts."""
    checkpoint: TaskCheckpointed | None = None
    """The newest one inside this attempt."""

    @property
    def delivered(self) -> bool:
        """Whether its newest result was made by a person."""
        return self.executed is not None and isinstance(self.executed.fact, TaskDelivered)
