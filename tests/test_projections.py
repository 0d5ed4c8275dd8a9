"""The projections: what they say, that they say the same however the log is cut, and that they survive everything."""

from __future__ import annotations

from pathlib import Path

import pytest

from events import (
    ApprovalAwaited,
    ApprovalRecorded,
    ApprovalRequested,
    CancelRequested,
    ExecutionCancelled,
    ExecutionCancelling,
    LeaseExpired,
    PlanRejected,
    PlanSubmitted,
    Problem,
    StaleResultRefused,
)
from events.log import Recorded
from projections.projection import FOLDER, read_all
from projections.rows import body
from projections.store import Gap, Store, StreamChanged
from tests.controls import (
    STREAM,
    TENANT,
    Story,
    executed_fact,
    in_batches,
    life,
    plan,
    task,
    verified_fact,
)


def folded(records: list[Recorded], size: int | None = None) -> Store:
    """A store in memory that has these messages."""
    store = Store()
    for batch in in_batches(records, size or max(1, len(records))):
        store.apply(STREAM, batch)
    return store


def tasks_of(store: Store) -> dict[str, dict[str, object]]:
    return {row["task"]: row for row in store.named("from tasks")}


# -- what they say ------------------------------------------------------------------------------------------------


def test_the_life_of_a_plan_with_retries() -> None:
    with folded(life()) as store:
        (run,) = store.named("from executions")
        assert (run["state"], run["reason"], run["tasks"], run["satisfied"]) == ("failed", "1 task failed", 4, 1)
        assert (run["verified"], run["failed"], run["running"]) == (2, 1, 0)
        assert run["submitted_by"] == f"{TENANT}/ada"
        tasks = tasks_of(store)
        assert {name: t["state"] for name, t in tasks.items()} == {
            "0": "satisfied", "1": "verified", "2": "verified", "3": "failed",
        }  # fmt: skip
        assert (tasks["1"]["attempt"], tasks["1"]["failures"], tasks["1"]["error"]) == (3, 2, None)
        assert tasks["3"]["error"] == "exit code 2"
        outcomes = store.rows("select task, attempt, outcome from attempts order by task, attempt")
        assert outcomes == [
            ("1", 1, "failed"), ("1", 2, "rejected"), ("1", 3, "verified"), ("2", 1, "verified"), ("3", 1, "failed"),
        ]  # fmt: skip
        assert store.rows("select task, attempt, verdict, result from criteria order by seq") == [
            ("1", 2, "rejected", "fail"), ("1", 3, "verified", "pass"), ("2", 1, "verified", "pass"),
        ]  # fmt: skip
        assert [r["decision"] for r in store.named("from decisions order by seq")] == [
            "PlanAccepted", "RetryScheduled", "RetryScheduled", "TaskFailed", "ExecutionFailed",
        ]  # fmt: skip
        assert store.rows("select count(*) from quarantine") == [(2,)]
        assert store.rows("select count(*) from events") == [(len(life()),)]


def test_the_view_of_the_founding_document() -> None:
    with folded(life()) as store:
        (row,) = store.named("from conversation_executions")
        assert (row["status"], row["total_tasks"], row["completed_tasks"], row["failed_tasks"]) == ("failed", 4, 3, 1)


def test_a_second_submission_resets_nothing() -> None:
    story = Story()
    story.submit()
    story.accept()
    story.start()
    before = folded(list(story.records))
    story.say(PlanSubmitted(plan={"title": "Another"}, request="second"), actor="mallory")
    with before, folded(story.records) as after:
        keep = "select * exclude (last_seq, last_at) from runs"
        assert before.rows(keep) == after.rows(keep)
        assert tasks_of(before) == tasks_of(after)


def test_a_word_about_an_unknown_execution_makes_no_execution() -> None:
    story = Story()
    story.say(CancelRequested(request="r1"))
    with folded(story.records) as store:
        assert store.rows("select count(*) from executions") == [(0,)]
        assert store.rows("select state from runs") == [(None,)]


def test_a_rejected_plan_counts_its_problems() -> None:
    story = Story()
    story.submit()
    story.say(PlanRejected(problems=(Problem(code="x", message="bad"), Problem(code="y", message="worse"))))
    with folded(story.records) as store:
        assert store.rows("select state, reason from executions") == [("rejected", "2 problems in the plan")]
        assert store.rows("select reason from decisions") == [("bad; worse",)]


def test_what_is_set_aside_changes_nothing_but_the_audit() -> None:
    story = Story()
    story.submit()
    story.accept()
    story.start()
    before = folded(list(story.records))
    lease = story.lease["1"]
    story.say(executed_fact(lease), "1", standing="quarantined", reason="forged")
    story.say(verified_fact(lease), "1", standing="newer", reason="version 2")
    with before, folded(story.records) as after:
        assert tasks_of(before) == tasks_of(after)
        assert before.rows("from attempts") == after.rows("from attempts")
        assert after.rows("select standing, reason from quarantine order by seq") == [
            ("quarantined", "forged"), ("newer", "version 2"),
        ]  # fmt: skip


@pytest.mark.parametrize("kind", ["start", "result"])
def test_an_open_question_does_not_change_the_state(kind: str) -> None:
    story = Story()
    story.submit()
    story.accept()
    expected = "pending"
    if kind == "result":
        story.start()
        story.say(executed_fact(story.lease["1"]), "1")
        expected = "executed"
    asked = story.say(ApprovalRequested(kind=kind, question="May it?"), "1")  # type: ignore[arg-type]
    story.say(ApprovalAwaited(tasks=("1",)))
    with folded(story.records) as store:
        row = tasks_of(store)["1"]
        assert (row["state"], row["approval"], row["question"], row["approval_kind"]) == (
            expected, asked.id, "May it?", kind,
        )  # fmt: skip
    story.say(ApprovalRecorded(approval=asked.id, granted=False, by="acme/ada", notes="too risky"), "1")
    with folded(story.records) as store:
        row = tasks_of(store)["1"]
        assert (row["state"], row["approval"], row["question"]) == (expected, None, None)
        assert row["error"] == "acme/ada said no: too risky"


def test_a_cancelled_execution_takes_its_live_tasks_along_and_no_others() -> None:
    story = Story()
    story.submit(plan(task("1"), task("2"), task("3"), task("4", status="skipped")))
    story.accept()
    story.start("1")
    story.verify("1")
    story.start("2")
    story.say(ExecutionCancelling(reason="enough", requested_by="acme/ada"))
    story.say(ExecutionCancelled(verified=1, cancelled=2))
    with folded(story.records) as store:
        assert {n: t["state"] for n, t in tasks_of(store).items()} == {
            "1": "verified", "2": "cancelled", "3": "cancelled", "4": "satisfied",
        }  # fmt: skip
        (run,) = store.named("from executions")
        assert (run["state"], run["reason"], run["cancelled"]) == ("cancelled", "enough", 2)
        assert store.rows("select outcome from attempts where task = '2'") == [("cancelled",)]


def test_interruptions_are_counted_apart_and_late_results_are_shown() -> None:
    story = Story()
    story.submit()
    story.accept()
    story.start()
    lost = story.lease["1"]
    story.say(LeaseExpired(attempt=1, lease=lost), "1")
    story.start("1", 1)
    story.say(StaleResultRefused(attempt=1, lease=lost, what="TaskExecuted", current=story.lease["1"]), "1")
    with folded(story.records) as store:
        row = tasks_of(store)["1"]
        assert (row["state"], row["interruptions"], row["failures"]) == ("running", 1, 0)
        assert store.rows("select outcome, refused from attempts order by seq") == [
            ("expired", "TaskExecuted"), ("running", None),
        ]  # fmt: skip


# -- applying -----------------------------------------------------------------------------------------------------


def test_what_was_applied_is_skipped() -> None:
    records = life()
    with folded(records[:20]) as store:
        assert store.apply(STREAM, records[:20]) == 0
        assert store.apply(STREAM, records[10:]) == len(records) - 20
        with folded(records) as other:
            assert store.hashes() == other.hashes()


@pytest.mark.parametrize("missing", [0, 5, 25])
def test_a_gap_is_refused_and_nothing_applied(missing: int) -> None:
    records = life()
    with Store() as store:
        store.apply(STREAM, records[:missing])
        before = store.hashes()
        with pytest.raises(Gap, match=f"sequence {missing + 1} is missing"):
            store.apply(STREAM, records[missing + 1 :])
        assert store.hashes() == before
        assert store.position.sequence == missing


def test_another_stream_is_refused() -> None:
    records = life()
    with folded(records[:10]) as store, pytest.raises(StreamChanged):
        store.apply("2030-01-01T00:00:00Z", records[10:])


def test_an_error_in_sql_surfaces_and_leaves_all_as_it_was(tmp_path: Path) -> None:
    for path in FOLDER.glob("*.sql"):
        (tmp_path / path.name).write_text(path.read_text())
    broken = tmp_path / "criteria.sql"
    broken.write_text(
        broken.read_text() + "\n-- fold --\nselect error('broken') from batch where event = 'TaskVerified';\n"
    )
    records = life()
    with Store(projections=read_all(tmp_path)) as store:
        good = next(i for i, r in enumerate(records) if r.name == "TaskVerified")
        store.apply(STREAM, records[:good])
        before = store.hashes()
        with pytest.raises(Exception, match="broken"):
            store.apply(STREAM, records[good:])
        assert (store.hashes(), store.position.sequence) == (before, good)


@pytest.mark.parametrize(
    "garbage",
    [
        b"", b"\x00", b"\xff\xfe", b'{"a": "\\u0000"}', b'{"a": "\\ud800"}', b'"', b"[" * 5000, b"1e999", b"NaN",
        b'{"a": 123456789012345678901234567890}', b"null", b'{"lease": {"deep": [1, 2]}}', b'{"plan": {"tasks": 7}}',
        b"[" * 800 + b"]" * 800,
    ],
    ids=lambda b: repr(b[:16]),
)  # fmt: skip
def test_no_garbage_stops_the_line(garbage: bytes) -> None:
    story = Story()
    story.submit()
    story.noise(garbage)
    story.noise(garbage, name="PlanSubmitted", entity="~in")
    story.accept()
    with folded(story.records) as store:
        assert store.rows("select state from executions") == [("running",)]
        store.hashes()
        kept = body(story.records[1])
        assert (kept is None) == (garbage == b"")
        assert store.query("select data from quarantine").rows


def test_odd_texts_of_people_are_kept_as_they_are() -> None:
    story = Story()
    odd = "a\x00b'; drop table tasks; --\U0001f600\u202e\n"
    story.submit(plan(task("ü.1 '", title=odd), title=odd), actor=f"acme/{odd}")
    story.accept()
    with folded(story.records) as store:
        assert store.rows("select title, submitted_by from executions") == [(odd, f"acme/{odd}")]
        assert store.rows("select task, title from tasks") == [("ü.1 '", odd)]
