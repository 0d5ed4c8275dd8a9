"""The life of a task, as rows.

``satisfied`` is the other beginning: the source said that the task was done, so it never runs and its dependents
need not wait. ``faulted`` is between a failed attempt and the planner's answer to it (docs/adr/0001).
"""

from events.branch import BranchReverted, BranchRolledBack
from events.execution import ExecutionCancelled, ExecutionReopened, TasksGivenUp
from events.machines.lifecycle import Lifecycle
from events.task import (
    AttemptFailed,
    AttemptTimedOut,
    LeaseExpired,
    RetryScheduled,
    TaskBlocked,
    TaskCancelled,
    TaskDelivered,
    TaskExecuted,
    TaskFailed,
    TaskHeld,
    TaskInterrupted,
    TaskReady,
    TaskRequeued,
    TaskReturned,
    TaskSkipped,
    TaskStarted,
    TaskTaken,
)
from events.verdict import AttemptRejected, TaskVerified

LIVE = ("pending", "ready", "running", "executed", "faulted", "waiting", "blocked", "taken")
"""States from which something can still happen."""
TAKEABLE = ("pending", "ready", "running", "executed", "faulted", "waiting")
"""States in which a person can take a task over at once; what ended or is blocked must be opened again first."""

TASK = Lifecycle(
    "task",
    initial="pending",
    also=("satisfied",),
    final=("verified", "failed", "skipped", "cancelled", "satisfied"),
    rows=[
        (TaskReady, "pending", "ready"),
        (TaskReady, "waiting", "ready"),
        (TaskHeld, "ready", "pending"),
        (TaskHeld, "executed", "pending"),
        (TaskStarted, "ready", "running"),
        (TaskInterrupted, "running", "ready"),
        (LeaseExpired, "running", "pending"),
        (TaskExecuted, "running", "executed"),
        (AttemptFailed, "running", "faulted"),
        (AttemptTimedOut, "running", "faulted"),
        (AttemptRejected, "executed", "faulted"),
        (TaskVerified, "executed", "verified"),
        (RetryScheduled, "faulted", "waiting"),
        (TaskRequeued, "faulted", "pending"),
        (TaskFailed, "faulted", "failed"),
        (TaskBlocked, "faulted", "blocked"),
        (TaskBlocked, "pending", "blocked"),
        (TasksGivenUp, "blocked", "failed"),
        (TaskSkipped, "pending", "skipped"),
        *((TaskTaken, state, "taken") for state in TAKEABLE),
        (TaskReturned, "taken", "pending"),
        (TaskDelivered, "taken", "executed"),
        *(
            (fact, state, "pending")
            for fact in (BranchRolledBack, BranchReverted)
            for state in (*LIVE, "verified", "failed", "skipped")
        ),
        *((ExecutionReopened, state, "pending") for state in ("failed", "blocked", "skipped")),
        *((TaskCancelled, state, "cancelled") for state in LIVE),
        *((ExecutionCancelled, state, "cancelled") for state in LIVE),
    ],
)
