"""One recognisable example of each fact."""

from __future__ import annotations

from typing import Any

from events import (
    ApprovalAwaited,
    ApprovalGiven,
    ApprovalRecorded,
    ApprovalRequested,
    AttemptTimedOut,
    BlobRef,
    BranchAdvanced,
    BranchCreated,
    BranchReverted,
    BranchRolledBack,
    CancelRequested,
    DeadLettered,
    DeadLetterReleased,
    DeadLetterRetryRequested,
    ExecutionBlocked,
    ExecutionCancelled,
    ExecutionCancelling,
    ExecutionCompleted,
    ExecutionFailed,
    ExecutionGatesDue,
    ExecutionGatesJudged,
    ExecutionPaused,
    ExecutionPausing,
    ExecutionReopened,
    ExecutionResumed,
    ExecutionStarted,
    FileOperation,
    GateOutcome,
    HandBackRequested,
    HealthWarned,
    InvalidateRequested,
    LeaseExpired,
    LessonLearned,
    NoticeFailed,
    NoticeSent,
    NoticeSuppressed,
    OracleFile,
    OracleTouched,
    OverrideRequested,
    PauseRequested,
    PlanAccepted,
    PlanRejected,
    PlanSubmitted,
    Problem,
    ProgressMarked,
    RatingGiven,
    RatingRecorded,
    RecommendationMade,
    Recommended,
    RequestRefused,
    Resolution,
    ResumeRequested,
    RetryRequested,
    RetryScheduled,
    RevertDue,
    RevertRefused,
    RollbackBegun,
    RollbackRequested,
    Similar,
    StaleResultRefused,
    StopPointRequested,
    StopPointSet,
    TaskBlocked,
    TaskCancelled,
    TaskCheckpointed,
    TaskDelivered,
    TaskFailed,
    TaskGatesDue,
    TaskGatesJudged,
    TaskHeld,
    TaskInterrupted,
    TaskReady,
    TaskRequeued,
    TaskReturned,
    TasksGivenUp,
    TaskSkipped,
    TaskTaken,
    TaskVerified,
    Told,
    Trouble,
    Try,
    Usage,
    WorkDelivered,
)
from tests.controls import (
    BASE,
    BRANCH_NAME,
    CONVERSATION,
    EXECUTION_ID,
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
    outcome = GateOutcome(
        gate="disk", when="pre_task", passed=False, on_fail="halt", score=0.5, reason="full", results=results
    )
    problem = Problem(code="cycle", message="1 waits for 1", file="plan.json", line=11, hint="take one away")
    about = (Told(key=verified, kind="task_failed", task="1"), Told(key="phase:2", kind="phase_completed"))
    trouble = Trouble(
        signature="0a1b2c3d4e5f6071", text="curl: (<n>) Failed to connect", excerpt="curl: (7) Failed to connect"
    )
    change = FileOperation(path="deploy/minio.yaml", status="A", added=11, removed=0)
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
        OracleTouched(attempt=2, lease=lease, files=(OracleFile(path="tests/test_1.py", why="a criterion runs it"),)),
        PauseRequested(request="r-114", reason="lunch", actor="ada"),
        ResumeRequested(request="r-115", reason="back", actor="ada"),
        RatingGiven(request="r-118", rating=8, task="1", notes="neat", actor="ada"),
        RatingRecorded(rating=8, by="acme/ada", task="1", notes="neat"),
        RetryRequested(request="r-116", task="1", reason="the disk is back", actor="ada"),
        StopPointRequested(request="r-117", after="2.3.1", actor="ada"),
        StopPointSet(after="2.3.1", requested_by="acme/ada"),
        BranchRolledBack(
            to=BASE, task="1", invalidated=("2", "2.3.1"), reason="wrong way", requested_by="acme/ada",
            not_undone=("2 had network access",),
        ),
        BranchReverted(
            base=BASE, commit="c0d2" * 10, tree="7ee2" * 10, invalidated=("2",), results=results, evidence=OUTPUT,
            not_undone=("2 had network access",),
        ),
        RevertRefused(base=BASE, tasks=("2",), reason="what landed later builds on it"),
        TasksGivenUp(tasks=("1", "2.3.1"), reason="nobody helped in time", by="acme/ada"),
        RollbackBegun(
            reason="wrong way", requested_by="acme/ada", to="1", only="2", take=True, resume=True,
        ),
        RevertDue(tasks=("2",), commits=("c0d1" * 10,)),
        ExecutionGatesDue(when="pre_execution", gates=("prerequisites",)),
        ExecutionGatesJudged(due=verified, when="pre_execution", outcomes=(outcome,), head=BASE),
        DeadLetterReleased(
            sequence=111, service="verifier", event="TaskExecuted", task="1", requested_by="acme/ada"
        ),
        RollbackRequested(request="r-113", to="1", reason="wrong way", resume=True, actor="ada"),
        InvalidateRequested(request="r-114", task="1", reason="doubtful", resume=False, actor="ada"),
        OverrideRequested(request="r-115", task="1", reason="I know how", actor="ada"),
        WorkDelivered(
            request="r-116", task="1", commit="c0d3" * 10, base=BASE, notes="done", actor="ada",
            pack=BlobRef(bucket="artifacts-acme", sha256="0b" * 32, size=111),
        ),
        HandBackRequested(request="r-117", task="1", reason="no time", actor="ada"),
        DeadLetterRetryRequested(request="r-118", sequence=111, reason="mended", actor="ada"),
        TaskGatesDue(attempt=2, gates=("disk",), base=BASE),
        TaskGatesJudged(due=verified, when="pre_task", attempt=2, outcomes=(outcome,), lease=lease),
        TaskTaken(attempt=2, by="acme/ada", reason="I know how", base=BASE),
        TaskRequeued(attempt=2, conflict=("shared.txt",)),
        TaskReturned(attempt=2, lease=lease, by="acme/ada", reason="no time"),
        TaskDelivered(
            attempt=2, lease=lease, by="acme/ada", commit="c0d3" * 10, base=BASE, notes="done",
            pack=BlobRef(bucket="artifacts-acme", sha256="0b" * 32, size=111),
        ),
        HealthWarned(
            kind="memory", stage="warn", value=9.5e8, limit=8e8, message="it uses 950 MB of 1 GB", attempt=2,
            lease=lease, tail="still at it\n",
        ),
        LeaseExpired(attempt=2, lease=lease),
        LessonLearned(
            task="1", attempt=2, end=verified, ended_at="2026-09-21T15:00:00.000+00:00", title="Deploy MinIO container",
            description="With a bucket.", task_type="agent", tool="night-agent", success=True, outcome="verified",
            duration_seconds=12.5, total_seconds=16.5, conversation_id=CONVERSATION,
            tries=(
                Try(attempt=1, outcome="failed", reason="exit code 2", seconds=4.0, errors=(trouble,)),
                Try(attempt=2, outcome="verified", seconds=12.5),
            ),
            commands=("docker run minio/minio",), warnings=("DeprecationWarning: old",), file_operations=(change,),
            files_changed=1, api_calls=("GET localhost:9000/minio/health/live",),
            resolutions=(
                Resolution(
                    signature=trouble.signature, text=trouble.text, failed=1, solved=2, kind="changed", files=(change,),
                    commands=("docker pull minio/minio",),
                ),
            ),
        ),
        RecommendationMade(
            embedder="lexical-1", semantic=False, left_out=1,
            tasks=(
                Recommended(
                    task="1", estimate=12.5,
                    similar=(
                        Similar(
                            execution_id=EXECUTION_ID, task="2.3.1", attempt=2, similarity=0.8125,
                            task_title="Deploy MinIO container", success=True, duration=12.5,
                            commands=("docker run minio/minio",), errors=(trouble.text,),
                            timestamp="2026-09-21T15:00:00.000+00:00",
                        ),
                    ),
                ),
            ),
        ),
        PlanAccepted(plan=plan(task(), task("2.3.1", needs=("1",))), digest="d1" * 32, requested_by="acme/ada"),
        PlanRejected(problems=(problem,), requested_by="acme/ada"),
        PlanSubmitted(plan={"title": "Ship the thing"}, conversation_id=CONVERSATION, request="r-113", actor="ada"),
        NoticeFailed(channel="phone", about=about, reason="the server answers 503", tries=3, given_up=False),
        NoticeSent(
            channel="phone", about=about, severity="error", title="Ship the thing", text="Task 1 failed.", tries=2,
            seconds=1.5, report="0a" * 32,
        ),
        NoticeSuppressed(channel="voice", about=about, reason="it is 11 minutes old"),
        ProgressMarked(number=1, done=11, total=111),
        RequestRefused(request="r-111", what="approve", reason="it asks nothing", requested_by="acme/ada"),
        RetryScheduled(attempt=3, delay=1.5, at="2026-09-21T15:00:00.000+00:00", reason="exit code 2"),
        StaleResultRefused(attempt=1, lease=lease, what="TaskExecuted", current=verified),
        TaskBlocked(attempts=3, reason="exit code 2"),
        TaskCancelled(reason="enough", attempt=2, lease=lease, usage=usage, output=OUTPUT),
        executed_fact(lease, 2),
        TaskCheckpointed(
            attempt=2, lease=lease, base=BASE, commit="c0de" * 10, tree="7ee1" * 10, seconds=300.5
        ),
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
