"""Warnings as people see them: what still looks unwell, and what ever did."""

from __future__ import annotations

from typing import Any

import pytest

from events import HealthWarned, TaskInterrupted
from events.health import Kind, Stage
from projections.answers import Answers
from projections.replay import replay
from projections.store import Store
from tests.controls import EXECUTION_ID, STREAM, TENANT, Story, in_batches, plan, task


def warned(
    kind: Kind, stage: Stage = "warn", attempt: int = 1, lease: str | None = None, message: str = "oh"
) -> HealthWarned:
    return HealthWarned(
        kind=kind, stage=stage, value=2.0, limit=1.0, message=message, attempt=attempt, lease=lease, tail="…"
    )


@pytest.fixture
def story() -> Story:
    story = Story()
    story.submit(plan(task("1"), task("2")))
    story.accept()
    story.start("1")
    return story


def status(story: Story) -> dict[str, Any]:
    return Answers(replay(story.records)).status(TENANT, EXECUTION_ID)


def unwell(story: Story) -> list[tuple[str, str, str]]:
    return [(w["task"], w["kind"], w["stage"]) for w in status(story)["warnings"]]


def test_a_running_attempt_shows_the_newest_stage_of_each_kind(story: Story) -> None:
    for fact in (warned("silence"), warned("progress"), warned("progress", "interrupt")):
        story.say(fact, "1")
    assert unwell(story) == [("1", "silence", "warn"), ("1", "progress", "interrupt")]
    assert status(story)["warnings"][0]["at"]
    assert status(story)["reason"] == ""


def test_what_is_over_is_no_warning_any_more(story: Story) -> None:
    story.say(warned("silence"), "1")
    story.fail("1")
    assert unwell(story) == []
    story.start("1", 2)
    assert unwell(story) == [], "the next attempt is another patient"
    with replay(story.records) as store:
        assert store.rows('select task, attempt, kind, stage, value, "limit", message, tail from warnings') == [
            ("1", 1, "silence", "warn", 2.0, 1.0, "oh", "…")
        ]


def test_who_waits_for_the_disk_says_so_until_it_starts(story: Story) -> None:
    story.say(TaskInterrupted(attempt=1, lease=story.lease["1"], reason="x"), "1")
    story.say(warned("disk", "wait", message="no room"), "1")
    assert unwell(story) == [("1", "disk", "wait")]
    assert status(story)["reason"] == "disk: no room"
    story.start("1", 1)
    assert (unwell(story), status(story)["reason"]) == ([], "")
    story.say(TaskInterrupted(attempt=1, lease=story.lease["1"], reason="x"), "1")
    assert unwell(story) == [], "it waited once, and has been started since"


@pytest.mark.parametrize("size", [1, 2, 7])
def test_warnings_are_the_same_however_the_log_is_cut(story: Story, size: int) -> None:
    story.say(warned("silence"), "1")
    story.say(warned("silence"), "1", standing="quarantined", reason="forged")
    story.say(warned("disk", "wait", attempt=0), "2")
    with Store() as whole, Store() as cut:
        whole.apply(STREAM, story.records)
        for batch in in_batches(story.records, size):
            cut.apply(STREAM, batch)
        assert whole.hashes() == cut.hashes()
        assert whole.rows("select task from warnings order by seq") == [("1",), ("2",)]
