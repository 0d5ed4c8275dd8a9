"""Runs of tests as rows: counts and coverage of every verdict, and a query that finds them."""

from __future__ import annotations

from dataclasses import replace

from events import TaskReady
from events.parts import CountedTests
from projections.replay import replay
from tests.controls import STREAM, Story, executed_fact, plan, rejected_fact, result, started_fact, task, verified_fact

BAD = CountedTests(runner="pytest", total=5, passed=3, failed=1, skipped=1, seconds=1.5)
GOOD = CountedTests(runner="pytest+vitest", total=5, passed=4, failed=0, skipped=1, seconds=2.5, coverage=81.5)


def test_counts_and_coverage_of_every_verdict_are_rows() -> None:
    story = Story()
    story.submit(plan(task("1")))
    story.accept()
    for attempt, numbers in ((1, BAD), (2, GOOD)):
        ready = story.say(TaskReady(attempt=attempt), "1")
        story.say(started_fact(attempt), "1", cause=ready)
        lease = story.lease["1"]
        story.say(executed_fact(lease, attempt), "1")
        other, tests = result(), replace(result(numbers is GOOD, "c2"), kind="tests", tests=numbers)
        if numbers is GOOD:
            story.say(replace(verified_fact(lease, attempt), results=(other, tests)), "1")
        else:
            story.say(replace(rejected_fact(lease, attempt), results=(other, tests)), "1")
    with replay(story.records, stream_created=STREAM) as store:
        assert store.query(
            "select task, attempt, verdict, criterion, result, runner, total, passed, failed, skipped, seconds, "
            "coverage from test_results order by seq"
        ).rows == [
            ["1", 1, "rejected", "c2", "fail", "pytest", 5, 3, 1, 1, 1.5, None],
            ["1", 2, "verified", "c2", "pass", "pytest+vitest", 5, 4, 0, 1, 2.5, 81.5],
        ]  # fmt: skip
        assert store.query("select count(*) from criteria").rows == [[4]]
