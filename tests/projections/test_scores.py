"""Scores, trends, times and measures: what they say, and that they say the same however the log is cut."""

from __future__ import annotations

import dataclasses

import pytest

from events import (
    ApprovalRecorded,
    ApprovalRequested,
    ExecutionPaused,
    ExecutionReopened,
    RatingRecorded,
    StopPointSet,
    TaskBlocked,
    Usage,
)
from projections.replay import compare, replay
from projections.store import Store
from tests.controls import (
    OTHER_TENANT,
    STREAM,
    TENANT,
    Story,
    counted,
    executed_fact,
    execution_id,
    life,
    plan,
    rejected_fact,
    task,
    verified_fact,
)


def rated() -> Story:
    """A life with words about it."""
    story = Story()
    life(story)
    story.say(RatingRecorded(rating=4, by=f"{TENANT}/ada", task="1"))
    story.say(RatingRecorded(rating=9, by=f"{TENANT}/bob", task="1"))
    story.say(RatingRecorded(rating=6, by=f"{TENANT}/ada", task="1", notes="on reflection"))
    story.say(RatingRecorded(rating=7, by=f"{TENANT}/ada"))
    return story


def scores(store: Store, name: str = "1") -> dict[str, float]:
    rows = store.rows("select score, value from scores where task = $1 and score <> 'rating'", [name])
    return dict(rows)


def test_a_task_that_held_at_the_third_attempt() -> None:
    with replay(rated().records, stream_created=STREAM) as store:
        assert scores(store) == {
            "duration": pytest.approx(store.rows("select sum(seconds) from attempts where task = '1'")[0][0]),
            "success_ratio": pytest.approx(1 / 3),
            "test_pass_rate": pytest.approx(2 / 3),
        }
        assert scores(store, "3")["success_ratio"] == 0
        found = store.rows("select task, person, value from scores where score = 'rating' order by seq")
        assert found == [("1", "acme/bob", 9), ("1", "acme/ada", 6), (None, "acme/ada", 7)]


def test_tokens_are_scored_where_an_agent_said_how_many() -> None:
    story = Story()
    story.submit()
    story.accept()
    story.start()
    usage = Usage(seconds=2.0, tokens=31_000)
    story.say(dataclasses.replace(executed_fact(story.lease["1"]), usage=usage), "1")
    story.say(verified_fact(story.lease["1"]), "1")
    with replay(story.records, stream_created=STREAM) as store:
        assert scores(store)["context_tokens"] == 31_000


def test_tests_are_counted_one_by_one_where_a_criterion_has_counts() -> None:
    story = Story()
    story.submit()
    story.accept()
    story.start()
    story.say(executed_fact(story.lease["1"]), "1")
    story.say(counted(rejected_fact(story.lease["1"]), passed=6, failed=4, skipped=3), "1")
    story.start(attempt=2)
    story.say(executed_fact(story.lease["1"], 2), "1")
    story.say(counted(verified_fact(story.lease["1"], 2), passed=10, failed=0), "1")
    with replay(story.records, stream_created=STREAM) as store:
        assert scores(store)["test_pass_rate"] == 0.8


def test_the_newest_end_of_a_task_counts() -> None:
    story = rated()
    story.say(ExecutionReopened(tasks=("3",), reason="again", requested_by=f"{TENANT}/ada"))
    story.start("3", 2)
    story.verify("3", 2)
    with replay(story.records, stream_created=STREAM) as store:
        assert scores(store, "3")["success_ratio"] == 0.5
        assert store.rows("select count(*) from scores where task = '3' and score = 'success_ratio'") == [(1,)]


def test_trends_are_by_day_and_tenant() -> None:
    story = rated()
    other = story.another(OTHER_TENANT, execution_id(9))
    other.submit()
    other.accept()
    other.say(RatingRecorded(rating=1, by="globex/eve"))
    with replay(story.records, stream_created=STREAM) as store:
        found = store.query("select day, score, mean, samples from trends where score = 'rating'", tenant=TENANT)
        assert found.rows == [["2026-09-21", "rating", pytest.approx(22 / 3), 3]]


def test_times_say_how_long_and_to_what_end() -> None:
    with replay(life(), stream_created=STREAM) as store:
        found = store.rows("select task, outcome, attempts, seconds from times")
    assert found[0] == ("1", "verified", 3, pytest.approx(found[0][3]))
    assert [(t, o, n) for t, o, n, _ in found] == [
        ("1", "verified", 3), ("2", "verified", 1), ("3", "failed", 1), ("0", "satisfied", 0),
    ]  # fmt: skip
    assert found[0][3] > 12.5
    assert found[3][3] == 0


def measures(story: Story) -> dict[str, tuple[float, int]]:
    with replay(story.records, stream_created=STREAM) as store:
        return {m: (v, n) for m, v, n in store.rows("select measure, value, cases from measures")}


def test_measures_of_a_life_without_people() -> None:
    found = measures(Story(records=life()))
    assert found["tasks_without_a_person"] == (pytest.approx(2 / 3), 3)
    assert found["executions_completed"] == (0, 1)
    assert found["autonomy"][0] == 1
    assert found["errors_resolved"] == (0.5, 2)
    assert found["failures_recovered"] == (pytest.approx(2 / 3), 3)
    assert found["criteria_at_first_attempt"] == (0.5, 2)
    assert found["task_seconds"][1] == 2
    assert found["resolution_seconds"][1] == 1
    assert "rating" not in found


def test_measures_see_people() -> None:
    story = Story()
    story.submit(plan(task("1", estimate=100.0), task("2"), task("3")))
    story.accept()
    story.say(StopPointSet(after="1", requested_by=f"{TENANT}/ada"))
    asked = story.say(ApprovalRequested(kind="start", question="May it?"), "1")
    story.say(ApprovalRecorded(approval=asked.id, granted=True, by=f"{TENANT}/ada"), "1")
    story.start("1")
    story.verify("1", seconds=25.0)
    story.say(ExecutionPaused(reason="stop point"))
    for name in ("2", "3"):
        story.start(name)
        story.fail(name, again=True)
        story.say(TaskBlocked(attempts=1, reason="no idea"), name)
    before = measures(story)
    story.say(ExecutionReopened(tasks=("2",), reason="fixed it", requested_by=f"{TENANT}/ada"))
    story.say(RatingRecorded(rating=9, by=f"{TENANT}/ada"))
    found = measures(story)
    assert before["escalations_that_needed_a_person"] == (0, 2)
    assert found["escalations_that_needed_a_person"] == (1, 2)
    assert found["tasks_without_a_person"][0] == 0
    assert found["stop_points_used"] == (1, 1)
    assert found["time_saved"] == (0.75, 1)
    assert found["rating"] == (9, 1)
    assert found["autonomy"][0] < 1
    with replay(story.records, stream_created=STREAM) as store:
        assert store.rows("select met from measures where measure = 'rating'") == [(True,)]
        assert store.query("select count(*) from measures", tenant=OTHER_TENANT).rows == [[0]]


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_they_are_the_same_however_the_log_is_cut(size: int) -> None:
    story = rated()
    story.say(ExecutionReopened(tasks=("3",), reason="again"))
    story.start("3", 2)
    story.fail("3", 2, again=False)
    story.say(RatingRecorded(rating=1, by=f"{TENANT}/bob", task="1"))
    with Store() as store, replay(story.records, stream_created=STREAM) as whole:
        for start in range(0, len(story.records), size):
            store.apply(STREAM, story.records[start : start + size])
        assert compare(store, whole) == []
