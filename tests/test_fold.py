"""Folding: the same state whichever way it is folded, and indexes that always equal a search."""

from __future__ import annotations

import copy
import dataclasses
import random
from collections.abc import Iterable
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events import (
    CATALOGUE,
    ApprovalRecorded,
    ApprovalRequested,
    BranchAdvanced,
    BranchCreated,
    BranchReverted,
    BranchRolledBack,
    CancelRequested,
    ExecutionCancelled,
    ExecutionCancelling,
    ExecutionFailed,
    ExecutionReopened,
    ExecutionStarted,
    LeaseExpired,
    RetryScheduled,
    RollbackBegun,
    TaskCancelled,
    TaskFailed,
    TaskGatesDue,
    TaskGatesJudged,
    TaskHeld,
    TaskReady,
    TaskReturned,
    TaskStarted,
    TaskTaken,
)
from events.fold import DONE, LOST, ExecutionFold, fold
from events.lineage import built_on
from events.log import Recorded
from events.machines import TASK
from schemas.names import BRANCH, EXECUTION
from schemas.values import Gate, Plan
from services.planner.decide import decide
from tests.controls import BASE, EXECUTION_ID, TENANT, Story, criterion, life, plan, started_fact, task
from tests.services.test_random_plans import Night, plans
from tests.spec import History


def naive(state: ExecutionFold) -> dict[str, Any]:
    """Every index, found by searching all tasks."""
    tasks = state.tasks
    pending = [name for name, held in tasks.items() if held.state == TASK.initial]
    free = [name for name in pending if all(tasks[need].state in DONE for need in tasks[name].spec.needs)]
    lost = {name for name, held in tasks.items() if held.state in LOST}
    denied = {name for name in free if "said no" in tasks[name].reason}
    through = {name for name in free if not tasks[name].gated or tasks[name].gates_passed}
    return {
        "unlocked": {name for name in through if tasks[name].may_start},
        "checking": {name for name in set(free) - through if tasks[name].may_start},
        "gated": {name for name in free if not tasks[name].may_start} - denied,
        "doomed": {name for name in pending if lost & set(tasks[name].spec.needs)} | denied,
        "asking": {name for name, held in tasks.items() if held.question is not None},
        "by_state": {
            where: {name for name, held in tasks.items() if held.state == where}
            for where in {held.state for held in tasks.values()}
        },
        "missing": {name: sum(tasks[n].state not in DONE for n in held.spec.needs) for name, held in tasks.items()},
    }


def check(state: ExecutionFold) -> None:
    """The indexes are what a search finds."""
    assert {
        "unlocked": set(state.unlocked),
        "gated": set(state.gated),
        "checking": set(state.checking),
        "doomed": set(state.doomed),
        "asking": set(state.asking),
        "by_state": {where: set(names) for where, names in state.by_state.items() if names},
        "missing": {name: held.missing for name, held in state.tasks.items()},
    } == naive(state)
    for name, because in state.doomed.items():
        assert because == name or (because in state.tasks[name].spec.needs and state.tasks[because].state in LOST)


class Checked(ExecutionFold):
    """A fold that is compared with a search after every message."""

    def apply(self, recorded: Recorded) -> None:
        super().apply(recorded)
        check(self)


def folded(records: Iterable[Recorded], state: ExecutionFold | None = None) -> ExecutionFold:
    state = state or ExecutionFold(TENANT, EXECUTION_ID)
    for recorded in records:
        state.apply(recorded)
    return state


@settings(max_examples=150, deadline=None)
@given(what=plans(), seed=st.integers(0, 1 << 32))
def test_indexes_equal_a_search_all_night(what: Plan, seed: int) -> None:
    night = Night(what, Random(seed))
    checked = Checked(TENANT, EXECUTION_ID)
    night.notice()
    night.pass_by()
    folded(night.history.records, checked)
    assert fold(TENANT, EXECUTION_ID, night.history.records) == night.fold


LEGAL: dict[str, Any] = {
    "TaskReady": lambda held: TaskReady(attempt=held.failures + 1),
    "TaskHeld": lambda held: TaskHeld(reason="paused"),
    "TaskStarted": lambda held: started_fact(held.attempt),
    "LeaseExpired": lambda held: LeaseExpired(attempt=held.attempt, lease=held.lease),
    "RetryScheduled": lambda held: RetryScheduled(attempt=2, delay=1.0, at="2026-09-21T15:00:00Z", reason="r"),
    "TaskFailed": lambda held: TaskFailed(attempts=held.failures, reason="r"),
    "TaskCancelled": lambda held: TaskCancelled(reason="r", attempt=held.attempt),
}


@settings(max_examples=200, deadline=None)
@given(what=plans(), seed=st.integers(0, 1 << 32))
def test_indexes_equal_a_search_on_any_legal_walk_through_the_tables(what: Plan, seed: int) -> None:
    """Also where nobody decided well: a task may be held, cancelled or asked about at any time."""
    luck = random.Random(seed)
    story = Story()
    story.submit(what)
    story.accept()
    state = folded(story.records, Checked(TENANT, EXECUTION_ID))
    facts = [name for name in sorted(TASK.facts) if CATALOGUE[name].on == "task"]
    for _ in range(40):
        name = luck.choice(sorted(state.tasks))
        held = state.tasks[name]
        if held.state != "satisfied" and luck.random() < 0.1:
            state.apply(story.say(_taken_back(state, name, luck)))
            continue
        legal = [f for f in facts if TASK.leads(held.state, f)]
        if held.state == "ready" or (held.state == TASK.initial and (held.missing or not held.may_start)):
            legal = [f for f in legal if f != "TaskReady"]
        legal += ["ApprovalRequested"] if held.question is None and name in state.gated else []
        legal += ["ApprovalRecorded"] if held.question is not None else []
        if not legal:
            continue
        fact = _fact(luck.choice(legal), held, luck)
        state.apply(story.say(fact, name, ordinal=len(story.records)))
    if luck.random() < 0.5:
        state.apply(story.say(ExecutionCancelling(reason="r", requested_by="x")))
        state.apply(story.say(ExecutionCancelled(verified=0, cancelled=0)))
        assert not [*state.unlocked, *state.gated, *state.doomed, *state.asking]
    assert state.oddities == 0
    assert fold(TENANT, EXECUTION_ID, story.records) == _plain(state)


def _taken_back(state: ExecutionFold, name: str, luck: random.Random) -> BranchRolledBack | BranchReverted:
    gone = built_on(state, [name])
    if luck.random() < 0.5:
        return BranchReverted(base=BASE, commit=f"{luck.getrandbits(160):040x}", tree="7" * 40, invalidated=gone)
    return BranchRolledBack(to=BASE, task=None, invalidated=gone, reason="r")


def _fact(name: str, held: Any, luck: random.Random) -> Any:
    from tests.examples import examples

    if name == "ApprovalRequested":
        return ApprovalRequested(kind="start", question="May it?")
    if name == "ApprovalRecorded":
        return ApprovalRecorded(approval=held.question.id, granted=luck.random() < 0.5, by="ada")
    return LEGAL[name](held) if name in LEGAL else examples()[name]


def _plain(state: ExecutionFold) -> ExecutionFold:
    plain = ExecutionFold(state.tenant, state.id)
    for field in dataclasses.fields(ExecutionFold):
        setattr(plain, field.name, getattr(state, field.name))
    return plain


# -- order, repetition, and what was set aside ----------------------------------------------------------------------


def test_folding_step_by_step_is_folding_at_once() -> None:
    records = life()
    for cut in range(len(records) + 1):
        first = fold(TENANT, EXECUTION_ID, records[:cut])
        assert folded(records[cut:], copy.deepcopy(first)) == fold(TENANT, EXECUTION_ID, records)


def test_what_was_folded_before_is_passed_over() -> None:
    records = life()
    twice = [r for pair in zip(records, records, strict=True) for r in pair]
    wanted = fold(TENANT, EXECUTION_ID, records)
    assert fold(TENANT, EXECUTION_ID, twice) == wanted
    assert fold(TENANT, EXECUTION_ID, records + records) == wanted
    assert folded(records[5:12], fold(TENANT, EXECUTION_ID, records)) == wanted


def test_a_life_ends_as_it_was_told() -> None:
    found = fold(TENANT, EXECUTION_ID, life())
    assert (found.state, found.reason, found.oddities) == ("failed", "1 task failed", 0)
    assert {name: held.state for name, held in found.tasks.items()} == {
        "1": "verified", "2": "verified", "3": "failed", "0": "satisfied",
    }  # fmt: skip
    assert (found.tasks["1"].attempt, found.tasks["1"].failures) == (3, 2)
    assert found.head == "c0d1" * 10
    assert found.sequence == len(life())
    assert found.now_ns == life()[-1].at_ns


def test_the_guard_counts_what_was_set_aside() -> None:
    """Otherwise garbage on a subject would stop its entity for ever: the server counts it too."""
    story = Story()
    story.submit(plan(task("1")))
    story.accept()
    ready = story.say(TaskReady(attempt=1), "1")
    state = folded(story.records)
    before = copy.deepcopy(state)
    garbage = story.noise(b"\xff", entity="1")
    state.apply(garbage)
    assert state.guard_of("1") == garbage.sequence > ready.sequence
    assert state.guard_of(EXECUTION) == before.guard_of(EXECUTION)
    state.apply(story.noise(b"{}", name="PlanAccepted", entity=EXECUTION))
    state.apply(story.noise(b"{}", name="BranchAdvanced", entity=BRANCH))
    assert state.guard_of(EXECUTION) == garbage.sequence + 1
    assert state.guard_of(BRANCH) == garbage.sequence + 2
    assert state.tasks["1"].state == "ready"
    assert (state.state, state.branch, state.oddities) == (before.state, before.branch, 0)


def test_the_guard_of_a_task_counts_what_came_before_its_plan() -> None:
    story = Story()
    early = story.noise(b"{}", entity="1")
    stranger = story.noise(b"{}", entity="nobody")
    story.submit(plan(task("1")))
    story.accept()
    state = folded(story.records)
    assert state.guard_of("1") == early.sequence
    assert state.guard_of("nobody") == stranger.sequence
    assert state.guard_of("never heard of") == 0
    assert "1" not in state.strangers


def test_h18_newer_events_stay_known() -> None:
    story = Story()
    story.submit(plan(task("1")))
    story.accept()
    story.say(TaskReady(attempt=1), "1", standing="newer", reason="TaskReady is of version 9")
    story.say(TaskReady(attempt=1), "1")
    assert folded(story.records).newer == "TaskReady is of version 9"


def test_a_stored_fact_without_a_row_changes_nothing_but_a_counter() -> None:
    story = Story()
    story.submit(plan(task("1")))
    story.accept()
    started = story.say(started_fact(), "1")
    assert isinstance(started.fact, TaskStarted)
    story.say(ExecutionStarted(tasks=1))
    story.say(BranchCreated(name="again", repository="r", base="b"))
    state = folded(story.records)
    assert state.oddities == 3
    assert (state.tasks["1"].state, state.tasks["1"].lease, state.head) == ("pending", "", BASE)
    assert state.guard_of("1") == started.sequence


def test_the_branch_stands_where_it_was_advanced_to() -> None:
    history = History(plan(task("1")))
    history.say(BRANCH, BranchCreated(name="n", repository="r", base=BASE))
    assert history.fold.head == BASE
    history.say(BRANCH, BranchAdvanced(task="1", base=BASE, commit="c1" * 20, tree="t", verified="v"))
    assert history.fold.head == "c1" * 20


@pytest.mark.parametrize("seconds", [5, -5])
def test_h19_the_clock_of_decisions_never_goes_back(seconds: int) -> None:
    story = Story()
    story.submit(plan(task("1")))
    last = story.accept()
    state = folded(story.records)
    moved = story.noise(b"", entity="1")
    object.__setattr__(moved, "at_ns", last.at_ns + seconds * 10**9)
    state.apply(moved)
    assert state.now_ns == last.at_ns + max(0, seconds) * 10**9


def test_a_request_is_open_until_something_answers_it() -> None:
    history = History(plan(task("1")))
    said = history.ask(CancelRequested(request="r"))
    assert list(history.fold.requests) == [said.id]
    history.settle()
    assert not history.fold.requests
    assert history.fold.cancelled_by == TENANT


GATED = plan(task("1"), task("2"), gates=(Gate(name="before", when="pre_task", criteria=(criterion(),)),))


def _asked() -> tuple[Story, Recorded]:
    """Both tasks wait for what their gates say."""
    story = Story()
    story.submit(GATED)
    story.accept()
    story.say(TaskGatesDue(attempt=1, gates=("before",), base=BASE), "1")
    return story, story.say(TaskGatesDue(attempt=1, gates=("before",), base=BASE), "2")


def test_gates_of_a_task_that_a_person_takes_are_asked_again_when_it_comes_back() -> None:
    story, asked = _asked()
    taken = story.say(TaskTaken(attempt=1, by="ada", base=BASE), "2")
    assert asked.id not in folded(story.records).owed
    story.say(TaskReturned(attempt=1, lease=taken.id, by="ada"), "2")
    story.say(TaskGatesJudged(due=asked.id, when="pre_task", attempt=1, outcomes=()), "2")
    state = folded(story.records)
    assert "2" in state.checking, "a verdict on an older question opens nothing"
    again = [d.entity for d in decide(state) if isinstance(d.fact, TaskGatesDue)]
    assert again == ["2"]


def test_gates_that_nobody_judged_before_the_end_are_asked_again_after_it() -> None:
    story, _ = _asked()
    story.say(ExecutionFailed(reason="it is over", verified=0, failed=("1",)))
    assert not folded(story.records).owed
    story.say(ExecutionReopened(tasks=(), reason="somebody asked for it", requested_by="ada"))
    state = folded(story.records)
    assert [d.entity for d in decide(state) if isinstance(d.fact, TaskGatesDue)] == ["1", "2"]


def test_gates_are_judged_anew_when_what_a_task_starts_from_is_taken_back() -> None:
    story = Story()
    story.submit(plan(task("1"), task("2", needs=("1",)), gates=GATED.gates))
    story.accept()
    first = story.say(TaskGatesDue(attempt=1, gates=("before",), base=BASE), "1")
    story.say(TaskGatesJudged(due=first.id, when="pre_task", attempt=1, outcomes=()), "1")
    story.start("1")
    story.verify("1")
    second = story.say(TaskGatesDue(attempt=1, gates=("before",), base="c0d1" * 10), "2")
    story.say(TaskGatesJudged(due=second.id, when="pre_task", attempt=1, outcomes=()), "2")
    assert "2" in folded(story.records).unlocked
    story.say(RollbackBegun(reason="no", requested_by="ada", to=None))
    story.say(BranchRolledBack(to=BASE, task=None, invalidated=("1",), reason="no", requested_by="ada"))
    state = folded(story.records)
    assert not state.tasks["2"].gates_passed
    assert "2" not in state.unlocked
