"""The tables: every state can be reached, every row is one fact of the catalogue, and an end is an end."""

from __future__ import annotations

import pytest

from events import CATALOGUE, TaskHeld, TaskReady, TaskVerified
from events.machines import BRANCH, EXECUTION, TASK, IllegalTransition, Lifecycle
from events.machines.task import LIVE

TABLES = [EXECUTION, TASK, BRANCH]
tables = pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
OTHER_BEGINNINGS = {"task": {"satisfied"}}
"""A task that the source says is done begins, and ends, there."""
FROM_ELSEWHERE = {"ExecutionCancelled", "ExecutionReopened", "BranchRolledBack", "BranchReverted", "TasksGivenUp"}
"""What ends or reopens an execution, or takes its results back, does so to its tasks."""
UNFINISHES = {"ExecutionReopened", "RollbackBegun", "BranchRolledBack", "BranchReverted"}


@tables
def test_every_state_can_be_reached(table: Lifecycle) -> None:
    reached = {table.initial} | OTHER_BEGINNINGS.get(table.name, set())
    while more := {to for _, source, to in table.rows if source in reached} - reached:
        reached |= more
    assert reached == set(table.states)


@tables
def test_from_every_state_there_is_a_way_to_an_end(table: Lifecycle) -> None:
    ends = set(table.final) or {"open"}
    while more := {source for _, source, to in table.rows if to in ends} - ends:
        ends |= more
    assert ends == set(table.states)


@tables
def test_an_end_is_an_end(table: Lifecycle) -> None:
    """Only a person's word, answered on the execution, leads out of a final state again."""
    going_on = [row for row in table.rows if row[0].__name__ not in UNFINISHES]
    assert [row for row in going_on if row[1] in table.final] == []
    assert set(table.final) <= set(table.states)
    assert set(table.states) - {source for _, source, _ in going_on} == set(table.final)
    assert not {source for _, source, _ in table.rows} & {"satisfied", "cancelled", "rejected"}
    taken_back = {fact.__name__ for fact, source, _ in table.rows if source in ("verified", "completed")}
    assert taken_back <= {"RollbackBegun", "BranchRolledBack", "BranchReverted"}


@tables
def test_rows_are_unique_and_in_the_catalogue(table: Lifecycle) -> None:
    assert len({(fact, source) for fact, source, _ in table.rows}) == len(table.rows)
    for fact, _, _ in table.rows:
        entry = CATALOGUE[fact.__name__]
        assert entry.cls is fact
        assert entry.on == table.name or fact.__name__ in FROM_ELSEWHERE
    assert table.facts == {fact.__name__ for fact, _, _ in table.rows}


@tables
def test_transitions_reads_the_same_rows(table: Lifecycle) -> None:
    machine = table.machine()
    found = {
        (trigger, transition.source, transition.dest)
        for trigger, event in machine.events.items()
        for transitions in event.transitions.values()
        for transition in transitions
    }
    assert found == {(fact.__name__, source, to) for fact, source, to in table.rows}
    assert set(machine.states) == set(table.states)
    assert machine.initial == table.initial
    drawn = table.drawing()
    assert all(f"{source} --> {to}" in drawn for _, source, to in table.rows)


@tables
def test_asking_and_evolving_agree(table: Lifecycle) -> None:
    rows = {(fact.__name__, source): to for fact, source, to in table.rows}
    for state in table.states:
        for name in CATALOGUE:
            wanted = rows.get((name, state))
            assert table.leads(state, name) == wanted
            if wanted is None:
                with pytest.raises(IllegalTransition, match=f"{name} cannot happen to a {table.name} that is {state}"):
                    table.evolve(state, name)
            else:
                assert table.evolve(state, name) == wanted


def test_a_fact_itself_can_be_asked_for() -> None:
    assert TASK.evolve("pending", TaskReady(attempt=1)) == "ready"
    assert TASK.evolve("ready", TaskHeld(reason="paused")) == "pending"
    with pytest.raises(IllegalTransition):
        TASK.evolve("verified", TaskReady(attempt=2))


def test_only_the_verifiers_word_leads_to_verified() -> None:
    assert {(fact, source) for fact, source, to in TASK.rows if to == "verified"} == {(TaskVerified, "executed")}


def test_whatever_lives_can_be_cancelled() -> None:
    assert set(LIVE) == set(TASK.states) - set(TASK.final)
    for state in LIVE:
        assert TASK.leads(state, "TaskCancelled") == TASK.leads(state, "ExecutionCancelled") == "cancelled"
    running = set(EXECUTION.states) - set(EXECUTION.final) - {"submitted", "cancelling"}
    for state in running:
        assert EXECUTION.leads(state, "ExecutionCancelling") == "cancelling"


def test_a_row_cannot_stand_there_twice() -> None:
    with pytest.raises(ValueError, match="a row twice"):
        Lifecycle("thing", initial="a", final=(), rows=[(TaskReady, "a", "b"), (TaskReady, "a", "c")])
