"""The life of an execution, as rows. Final states have one way out: a person reopens what failed."""

from events.execution import (
    ApprovalAwaited,
    ExecutionBlocked,
    ExecutionCancelled,
    ExecutionCancelling,
    ExecutionCompleted,
    ExecutionFailed,
    ExecutionPaused,
    ExecutionPausing,
    ExecutionReopened,
    ExecutionResumed,
    ExecutionStarted,
    PlanAccepted,
    PlanRejected,
    RollbackBegun,
)
from events.machines.lifecycle import Lifecycle

EXECUTION = Lifecycle(
    "execution",
    initial="submitted",
    final=("rejected", "completed", "failed", "cancelled"),
    rows=[
        (PlanAccepted, "submitted", "queued"),
        (PlanRejected, "submitted", "rejected"),
        (ExecutionStarted, "queued", "running"),
        (ApprovalAwaited, "running", "awaiting_approval"),
        (ExecutionResumed, "awaiting_approval", "running"),
        (ExecutionBlocked, "running", "blocked"),
        (ExecutionResumed, "blocked", "running"),
        (ExecutionPausing, "running", "pausing"),
        (ExecutionPausing, "awaiting_approval", "pausing"),
        (ExecutionPausing, "blocked", "pausing"),
        (ExecutionPaused, "pausing", "paused"),
        (ExecutionResumed, "pausing", "running"),
        (ExecutionResumed, "paused", "running"),
        (ExecutionReopened, "running", "running"),
        (ExecutionReopened, "awaiting_approval", "running"),
        (ExecutionReopened, "blocked", "running"),
        (ExecutionReopened, "failed", "running"),
        *(
            (RollbackBegun, state, "pausing")
            for state in ("running", "awaiting_approval", "blocked", "pausing", "paused", "completed", "failed")
        ),
        (ExecutionCancelling, "pausing", "cancelling"),
        (ExecutionCancelling, "paused", "cancelling"),
        (ExecutionCancelling, "queued", "cancelling"),
        (ExecutionCancelling, "running", "cancelling"),
        (ExecutionCancelling, "awaiting_approval", "cancelling"),
        (ExecutionCancelling, "blocked", "cancelling"),
        (ExecutionCancelled, "cancelling", "cancelled"),
        (ExecutionCompleted, "running", "completed"),
        (ExecutionFailed, "running", "failed"),
    ],
)
