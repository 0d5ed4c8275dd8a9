"""The life of an execution, as rows."""

from events.execution import (
    ApprovalAwaited,
    ExecutionBlocked,
    ExecutionCancelled,
    ExecutionCancelling,
    ExecutionCompleted,
    ExecutionFailed,
    ExecutionResumed,
    ExecutionStarted,
    PlanAccepted,
    PlanRejected,
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
        (ExecutionCancelling, "queued", "cancelling"),
        (ExecutionCancelling, "running", "cancelling"),
        (ExecutionCancelling, "awaiting_approval", "cancelling"),
        (ExecutionCancelling, "blocked", "cancelling"),
        (ExecutionCancelled, "cancelling", "cancelled"),
        (ExecutionCompleted, "running", "completed"),
        (ExecutionFailed, "running", "failed"),
    ],
)
