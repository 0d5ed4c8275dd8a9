"""What warnings and checkpoints mean to those who decide: no state changes, nothing is said twice, no lease is lost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from events import AttemptFailed, HealthWarned, LeaseExpired, TaskCheckpointed, Usage
from events.health import Kind, Stage
from schemas.values import Policy
from services.executor.decide import Outcome, checkpoint_of, conclude
from tests.controls import BASE, plan, task
from tests.spec import History, Step, executed, failed, given, interrupted, ready, running, started

PLAN = plan(task("1"), task("2"))


def warned(kind: Kind = "silence", stage: Stage = "warn") -> Step:
    def step(history: History) -> object:
        held = history.fold.tasks["1"]
        fact = HealthWarned(
            kind=kind, stage=stage, value=2.0, limit=1.0, message="oh", attempt=held.attempt, lease=held.lease or None
        )
        return history.say("1", fact)

    return step


def checkpointed(base: str = BASE) -> Step:
    def step(history: History) -> object:
        held = history.fold.tasks["1"]
        fact = TaskCheckpointed(
            attempt=held.attempt, lease=held.lease, base=base, commit="c0de" * 10, tree="7ee1" * 10, seconds=1.0
        )
        return history.say("1", fact)

    return step


def retried(history: History) -> None:
    """The attempt fails and the next one starts."""
    given(history, failed("1"))
    history.settle()
    given(history, ready("1", 2), started("1"))


@pytest.mark.parametrize("step", [warned(), warned("disk", "wait"), checkpointed()])
def test_they_change_no_state_and_no_lease(step: Step) -> None:
    history = given(PLAN, running, ready("1"), started("1")).history
    held = history.fold.tasks["1"]
    before = (held.state, held.lease, held.attempt, held.failures)
    step(history)
    assert (held.state, held.lease, held.attempt, held.failures) == before
    assert held.last == history.records[-1].sequence, "its guard moves on"
    assert history.fold.oddities == 0
    given(history, executed("1"))
    assert held.state == "executed"


def test_the_planner_has_nothing_to_do_about_a_warning() -> None:
    history = given(PLAN, running, ready("1"), ready("2"), started("1")).history
    assert history.settle() == []
    warned()(history)
    assert history.settle() == []


def expired(history: History) -> object:
    held = history.fold.tasks["1"]
    return history.say("1", LeaseExpired(attempt=held.attempt, lease=held.lease))


@pytest.mark.parametrize(
    ("steps", "known"),
    [
        ([warned()], {("silence", "warn")}),
        ([warned(), warned("memory")], {("silence", "warn"), ("memory", "warn")}),
        ([warned(), interrupted("1")], {("silence", "warn")}),
        ([warned(), interrupted("1"), started("1")], {("silence", "warn")}),
        ([warned(), expired, ready("1"), started("1")], {("silence", "warn")}),
        ([warned(), retried], set()),
        ([interrupted("1"), warned("disk", "wait")], {("disk", "wait")}),
        ([interrupted("1"), warned("disk", "wait"), started("1")], set()),
    ],
    ids=["one", "two", "interrupted", "again", "lease expired", "next attempt", "waits", "waits no more"],
)
def test_what_was_said_is_known_for_the_attempt(steps: list[Step], known: set[tuple[str, str]]) -> None:
    history = given(PLAN, running, ready("1"), started("1"), *steps).history
    assert history.fold.tasks["1"].warned == known


@pytest.mark.parametrize(
    ("resume", "steps", "found"),
    [
        ("checkpoint", [checkpointed(), interrupted("1"), started("1")], True),
        ("base", [checkpointed(), interrupted("1"), started("1")], False),
        ("checkpoint", [interrupted("1"), started("1")], False),
        ("checkpoint", [checkpointed(), retried], False),
        ("checkpoint", [checkpointed(), retried, checkpointed(), interrupted("1"), started("1")], True),
        ("checkpoint", [checkpointed("0" * 40), interrupted("1"), started("1")], False),
    ],
    ids=["interrupted", "not wanted", "none", "failed", "second attempt", "another base"],
)
def test_where_an_attempt_begins(resume: Any, steps: list[Step], found: bool) -> None:
    wanted = replace(PLAN, policy=Policy(resume=resume))
    history = given(wanted, running, ready("1"), started("1"), *steps).history
    begin = checkpoint_of(history.fold, history.fold.tasks["1"], BASE)
    assert begin == ("c0de" * 10 if found else None)


def test_an_attempt_that_was_ended_for_its_health_is_retried_unless_it_is_over_for_good() -> None:
    usage = Usage(seconds=1.0)
    ended = Outcome(error="no progress for 20 min", signal=15, usage=usage)
    expected = AttemptFailed(attempt=1, lease="L", reason="no progress for 20 min", signal=15, usage=usage)
    assert conclude(1, "L", 5.0, ended) == expected
    assert conclude(1, "L", 5.0, replace(ended, retryable=False)) == replace(expected, retryable=False)
