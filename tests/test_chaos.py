"""A few short runs of chaos; ``python -m tests.chaos --runs N`` makes as many as one likes."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from events import (
    AttemptFailed,
    BranchAdvanced,
    BranchCreated,
    StaleResultRefused,
    TaskExecuted,
    TaskReady,
    TaskStarted,
    TaskVerified,
    Usage,
)
from events.fold import fold
from events.lineage import start_commit
from events.log import Draft, Recorded
from schemas.names import BRANCH
from tests.chaos import checks
from tests.chaos.appends import stream
from tests.chaos.checks_of_branch import of_branch
from tests.chaos.disk import full_disk
from tests.chaos.plans import Scenario
from tests.chaos.run import CASTS, run
from tests.controls import EXECUTION_ID, TENANT, Story, plan, task

whole = pytest.mark.whole


@whole
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("seed", "cast"), [(39, CASTS[2]), (8, CASTS[-1])], ids=["services", "engine"])
async def test_nothing_is_lost_or_done_twice_whoever_is_killed(seed: int, cast: tuple[str, ...]) -> None:
    """Both on a user's repository, with gates, and with people who go back and stop."""
    report = await run(seed, tasks=10, cast=cast)
    assert not report.violations, report
    assert report.kills
    assert report.repository
    assert report.wishes


@whole
async def test_nothing_acknowledged_is_lost_when_the_server_is_killed(tmp_path: Path) -> None:
    found = await stream(tmp_path / "home", count=2000)
    assert (found.acknowledged, found.stored, found.lost, found.twice) == (2000, 2000, 0, 0)


@whole
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may mount a small disk")
async def test_h22_a_full_disk_stops_the_line_and_room_lets_it_go_on(tmp_path: Path) -> None:
    try:
        found = await full_disk(tmp_path, tasks=9, full=4.0)
    except OSError as error:
        pytest.skip(str(error))
    assert not found.violations
    assert found.refused > 0
    assert found.silent > 2


USAGE = Usage(seconds=1.0)
STARTED = TaskStarted(attempt=1, worker="w", host="h", boot_id="b", pid=1, start_ticks=1, sandbox="process")


def said(*facts: tuple[str, object]) -> list[Recorded]:
    """Facts of one task as they are read, with ids."""
    return [
        Recorded(
            sequence=n, at_ns=n, subject="", tenant="default", execution="e", entity="t", name=type(fact).__name__,
            id=name, fact=fact,
        )
        for n, (name, fact) in enumerate(facts, 1)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("facts", "found"),
    [
        ([("L", STARTED), ("M", STARTED)], "while the lease L held"),
        ([("L", STARTED), ("x", TaskExecuted(attempt=1, lease="K", usage=USAGE))], "but L holds"),
        ([("L", STARTED), ("x", StaleResultRefused(attempt=1, lease="L", what="TaskExecuted"))], "was refused"),
        ([("x", AttemptFailed(attempt=1, lease="L", reason="r"))], "no lease holds"),
        ([("L", STARTED)], "never verified"),
    ],
)
def test_the_fence_is_seen_to_be_broken(facts: list[tuple[str, object]], found: str) -> None:
    assert any(found in each for each in checks.of_task(said(*facts)))


def test_a_lease_is_one_workers_own() -> None:
    started = Draft(
        tenant="default", execution="e", entity="t", fact=STARTED, cause="c", correlation="k", actor="w", claim="w 1"
    )
    other = replace(started, actor="v", claim="v 1")
    assert started.id != other.id
    assert started.id == replace(started).id


def test_a_dependent_starts_where_all_its_dependencies_have_landed() -> None:
    story = Story()
    story.submit(plan(task("w"), task("q"), task("d", needs=("w", "q"))))
    story.accept()
    story.say(BranchCreated(name="n", repository="r", base="0"), BRANCH)
    for name, head, commit in (("w", "1", "1"), ("q", "0", None)):  # q was judged before w landed
        story.say(TaskReady(attempt=1), name)
        lease = story.say(STARTED, name).id
        story.say(TaskExecuted(attempt=1, lease=lease, usage=USAGE), name)
        story.say(TaskVerified(attempt=1, lease=lease, tree="t", commit=commit, head=head, results=()), name)
        if commit:
            story.say(landing("0", commit), BRANCH)
    state = fold(TENANT, EXECUTION_ID, story.records)
    assert {name: held.state for name, held in state.tasks.items()} == {
        "w": "verified",
        "q": "verified",
        "d": "pending",
    }
    assert start_commit(state, state.tasks["d"]) == "1"


def landing(base: str, commit: str) -> BranchAdvanced:
    return BranchAdvanced(task="t", base=base, commit=commit, tree="t", verified="v")


@pytest.mark.parametrize("broken", [lambda h: h, lambda h: h[:1] + h[2:]])
def test_a_branch_that_forks_is_seen(broken: Callable[[list[Recorded]], list[Recorded]]) -> None:
    created = BranchCreated(name="n", repository="r", base="0")
    history = said(("c", created), ("1", landing("0", "1")), ("2", landing("0", "2")))
    assert of_branch(Scenario({}, ()), broken(history))


def test_a_lost_event_is_seen() -> None:
    [event] = said(("L", STARTED))
    assert checks.of_seen([event], [event]) == []
    assert checks.of_seen([event], []) == ["TaskStarted at 1 is lost"]
    assert checks.of_seen([event], [replace(event, id="other")])
