"""One recognisable example of each fact."""

from __future__ import annotations

from typing import Any

from events import (
    ApprovalAwaited,
    ApprovalGiven,
    ApprovalRecorded,
    ApprovalRequested,
    AttemptTimedOut,
    BranchAdvanced,
    BranchCreated,
    CancelRequested,
    DeadLettered,
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
    LeaseExpired,
    PauseRequested,
    PlanAccepted,
    PlanRejected,
    PlanSubmitted,
    Problem,
    RequestRefused,
    ResumeRequested,
    RetryRequested,
    RetryScheduled,
    StaleResultRefused,
    StopPointRequested,
    StopPointSet,
    TaskBlocked,
    TaskCancelled,
    TaskFailed,
    TaskHeld,
    TaskInterrupted,
    TaskReady,
    TaskSkipped,
    TaskVerified,
    Usage,
)
from tests.controls import (
    BASE,
    BRANCH_NAME,
    CONVERSATION,
    OUTPUT,
    REPOSITORY,
    executed_fact,
    failed_fact,
    plan,
    rejected_fact,
    result,
    started_fact,
    task,
)


def examples() -> dict[str, Any]:
    """One of each fact, every field filled in, by name."""
    lease, verified, approval = "1ea5e" * 6 + "11", "7e51f1ed" * 4, "a5ced" * 6 + "11"
    usage, results = Usage(seconds=12.5, cpu_seconds=3.25, max_rss=1 << 20), (result(), result(False, "c2"))
    problem = Problem(code="cycle", message="1 waits for 1", file="plan.json", line=11, hint="take one away")
    facts = [
        ApprovalAwaited(tasks=("1", "2.3.1")),
        ApprovalGiven(
            request="r-111", task="1", granted=False, approval=approval, notes="not tonight", actor="ada"
        ),
        ApprovalRecorded(approval=approval, granted=False, by="acme/ada", notes="not tonight", attempt=2),
        ApprovalRequested(kind="result", question="Is it good?", attempt=2, lease=lease, checklist=("looks good",)),
        failed_fact(lease, 2),
        rejected_fact(lease, 2),
        AttemptTimedOut(attempt=2, lease=lease, limit=111.0, usage=usage, output=OUTPUT, tail="still at it\n"),
        BranchAdvanced(task="1", base=BASE, commit="c0d1" * 10, tree="7ee1" * 10, verified=verified),
        BranchCreated(name=BRANCH_NAME, repository=REPOSITORY, base=BASE, source="/home/ada/project"),
        CancelRequested(request="r-112", reason="enough", actor="ada"),
        DeadLettered(
            service="planner", sequence=111, event="TaskVerified", reason="ValueError: no", deliveries=25, task="1",
            details={"why": "poison"},
        ),
        ExecutionBlocked(tasks=("1",)),
        ExecutionCancelled(verified=11, cancelled=1),
        ExecutionCancelling(reason="enough", requested_by="acme/ada"),
        ExecutionCompleted(verified=11, satisfied=1),
        ExecutionFailed(reason="task 1: exit code 2", verified=11, failed=("1",), skipped=("2",)),
        ExecutionResumed(reason="there is something to do again"),
        ExecutionStarted(tasks=11, satisfied=1),
        ExecutionPausing(reason="lunch", requested_by="acme/ada"),
        ExecutionPaused(reason="lunch"),
        ExecutionReopened(tasks=("1", "2"), reason="the disk is back", requested_by="acme/ada"),
        PauseRequested(request="r-114", reason="lunch", actor="ada"),
        ResumeRequested(request="r-115", reason="back", actor="ada"),
        RetryRequested(request="r-116", task="1", reason="the disk is back", actor="ada"),
        StopPointRequested(request="r-117", after="2.3.1", actor="ada"),
        StopPointSet(after="2.3.1", requested_by="acme/ada"),
        LeaseExpired(attempt=2, lease=lease),
        PlanAccepted(plan=plan(task(), task("2.3.1", needs=("1",))), digest="d1" * 32, requested_by="acme/ada"),
        PlanRejected(problems=(problem,), requested_by="acme/ada"),
        PlanSubmitted(plan={"title": "Ship the thing"}, conversation_id=CONVERSATION, request="r-113", actor="ada"),
        RequestRefused(request="r-111", what="approve", reason="it asks nothing", requested_by="acme/ada"),
        RetryScheduled(attempt=3, delay=1.5, at="2026-09-21T15:00:00.000+00:00", reason="exit code 2"),
        StaleResultRefused(attempt=1, lease=lease, what="TaskExecuted", current=verified),
        TaskBlocked(attempts=3, reason="exit code 2"),
        TaskCancelled(reason="enough", attempt=2, lease=lease, usage=usage, output=OUTPUT),
        executed_fact(lease, 2),
        TaskFailed(attempts=3, reason="exit code 2"),
        TaskHeld(reason="paused"),
        TaskInterrupted(attempt=2, lease=lease, reason="executor-1 shut down", commit="c0de" * 10),
        TaskReady(attempt=2),
        TaskSkipped(because="1", reason="1 is failed"),
        started_fact(2),
        TaskVerified(
            attempt=2, lease=lease, tree="7ee1" * 10, commit="c0d1" * 10, head="c0d1" * 10, results=results,
            evidence=OUTPUT, seconds=1.5,
        ),
    ]  # fmt: skip
    return {type(fact).__name__: fact for fact in facts}
