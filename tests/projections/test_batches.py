"""However the log is cut into batches: the same rows, and the states that decisions are made on."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from events import (
    CATALOGUE,
    ApprovalAwaited,
    ApprovalRecorded,
    ApprovalRequested,
    AttemptTimedOut,
    CancelRequested,
    ExecutionCancelled,
    ExecutionCancelling,
    LeaseExpired,
    RetryScheduled,
    StaleResultRefused,
    TaskBlocked,
    TaskCancelled,
    TaskHeld,
    TaskInterrupted,
    TaskReady,
    TaskSkipped,
    Usage,
)  # fmt: skip
from events.fold import fold
from events.log import Recorded
from projections.replay import replay
from projections.store import Store
from tests.controls import (
    EXECUTION_ID,
    OTHER_TENANT,
    STREAM,
    TENANT,
    Story,
    executed_fact,
    execution_id,
    failed_fact,
    plan,
    rejected_fact,
    started_fact,
    task,
    verified_fact,
)  # fmt: skip

TASKS = ("1", "2", "3")


@st.composite
def histories(draw: st.DrawFn) -> list[Recorded]:
    """Two executions in one log; what happens to their tasks need not make sense."""
    first = Story()
    stories = [first, first.another(OTHER_TENANT, execution_id(7))]
    for story in stories:
        story.submit(plan(task("1"), task("2", needs=("1",)), task("3", status="completed")))
    accepted = [False, False]
    for _ in range(draw(st.integers(0, 40))):
        which = draw(st.integers(0, 1))
        story, name = stories[which], draw(st.sampled_from(TASKS))
        lease, attempt = story.lease.get(name, "none"), draw(st.integers(1, 3))
        choice = draw(st.integers(0, 21))
        if choice == 0 or (not accepted[which] and choice > 9):
            story.accept()
            accepted[which] = True
            continue
        facts = [
            CancelRequested(request="r"), ApprovalAwaited(tasks=(name,)),
            ExecutionCancelling(reason="x", requested_by="y"),
            TaskReady(attempt=attempt), TaskReady(attempt=attempt), started_fact(attempt), started_fact(attempt),
            executed_fact(lease, attempt, seconds=draw(st.floats(0, 1000))), executed_fact(lease, attempt),
            verified_fact(lease, attempt), rejected_fact(lease, attempt), failed_fact(lease, attempt),
            AttemptTimedOut(attempt=attempt, lease=lease, limit=1.5, usage=Usage(seconds=1.5)),
            TaskInterrupted(attempt=attempt, lease=lease, reason="drain"), LeaseExpired(attempt=attempt, lease=lease),
            RetryScheduled(attempt=attempt, delay=1.0, at="2026-09-21T15:00:00.5Z", reason="again"),
            StaleResultRefused(attempt=attempt, lease=lease, what="late"),
            TaskBlocked(attempts=attempt, reason="stuck"),
            TaskSkipped(because="9", reason="no"), TaskHeld(reason="pausing"),
            ApprovalRequested(kind="start", question="?"), ApprovalRecorded(approval="a", granted=False, by="b"),
        ]  # fmt: skip
        fact = facts[choice]
        entity = name if CATALOGUE[type(fact).__name__].on == "task" else None
        story.say(fact, entity, standing=draw(st.sampled_from(["ok"] * 9 + ["quarantined"])))
        if draw(st.integers(0, 15)) == 0:
            story.noise(draw(st.binary(max_size=20)), entity=name)
        if draw(st.integers(0, 25)) == 0:
            story.say(ExecutionCancelled(verified=0, cancelled=0))
        if draw(st.integers(0, 10)) == 0:
            story.say(TaskCancelled(reason="stop", attempt=attempt, lease=lease), name)
    return first.records


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(histories(), st.lists(st.integers(1, 12), max_size=30))
def test_batch_boundaries_do_not_matter(records: list[Recorded], sizes: list[int]) -> None:
    with replay(records, stream_created=STREAM) as whole, Store() as cut:
        rest = records
        for size in sizes:
            cut.apply(STREAM, rest[:size])
            rest = rest[size:]
        cut.apply(STREAM, rest)
        assert whole.hashes() == cut.hashes()


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(histories())
def test_sql_and_the_fold_that_decides_agree(records: list[Recorded]) -> None:
    with replay(records, stream_created=STREAM) as store:
        for tenant, execution in ((TENANT, EXECUTION_ID), (OTHER_TENANT, execution_id(7))):
            mine = [r for r in records if r.execution == execution]
            state = fold(tenant, execution, mine)
            cancelled_early = any(
                r.name == "ExecutionCancelled" and fold(tenant, execution, mine[:n]).state != "cancelling"
                for n, r in enumerate(mine)
            )
            (run,) = store.named("from executions where execution = $1", [execution])
            assert run["state"] == state.state
            assert run["reason"] == state.reason
            assert run["head"] == state.head
            rows = {r["task"]: r for r in store.named("from tasks where execution = $1", [execution])}
            assert rows.keys() == state.tasks.keys()
            if cancelled_early:  # a fact the planner never says; only the fold looks at the execution's state then
                continue
            for name, folded_task in state.tasks.items():
                row = rows[name]
                assert (row["state"], row["attempt"], row["failures"], row["interruptions"]) == (
                    folded_task.state, folded_task.attempt, folded_task.failures, folded_task.interruptions,
                )  # fmt: skip
            counts = store.named("from progress where execution = $1", [execution])
            if counts:
                assert {s: n for s, n in counts[0].items() if isinstance(n, int) and s != "tasks" and n} == {
                    s: len(ids) for s, ids in state.by_state.items() if ids
                }


def test_a_verdict_before_the_end_and_an_end_before_the_start_count_nowhere() -> None:
    """Facts in an order that no guard lets through; one batch must say the same as one event at a time."""
    story = Story()
    story.submit(plan(task("1"), task("2")))
    story.say(TaskReady(attempt=1), "2")
    story.accept()
    story.start("1")
    lease = story.lease["1"]
    story.say(verified_fact(lease), "1")
    story.say(executed_fact(lease), "1")
    story.say(failed_fact(lease), "1")
    story.say(rejected_fact(lease), "1")
    story.say(verified_fact(lease), "1")
    with replay(story.records, stream_created=STREAM) as whole, Store() as single:
        for message in story.records:
            single.apply(STREAM, [message])
        assert whole.hashes() == single.hashes()
        assert whole.rows("select outcome, ended_at < judged_at from attempts") == [("rejected", True)]
        assert whole.rows("select task, state from tasks order by task") == [("1", "faulted"), ("2", "pending")]
