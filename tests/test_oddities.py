"""Which facts without a row in the state tables are excused: decided on before the task was moved, and no others."""

from __future__ import annotations

from events import BranchRolledBack, ExecutionCancelled, TaskHeld, TaskReady
from tests.controls import BASE, Story, plan, task
from tests.oddities import unexcused

WENT_BACK = BranchRolledBack(to=BASE, task=None, invalidated=("1",), reason="no", requested_by="ada")


def story() -> Story:
    told = Story()
    told.submit(plan(task("1"), task("2")))
    told.accept()
    told.say(TaskReady(attempt=1), "1")
    told.say(TaskReady(attempt=1), "2")
    return told


def test_a_decision_from_before_the_branch_went_back_is_excused_once() -> None:
    told = story()
    told.say(WENT_BACK)
    held = told.say(TaskHeld(reason="late"), "1")
    again = told.say(TaskHeld(reason="later still"), "1")
    assert unexcused(told.records, [held.sequence, again.sequence]) == [again.sequence]


def test_the_branch_excuses_nothing_about_a_task_that_stays() -> None:
    told = story()
    told.say(WENT_BACK)
    held = told.say(TaskHeld(reason="late"), "2")
    assert unexcused(told.records, [held.sequence]) == [held.sequence]


def test_a_cancellation_moves_every_task() -> None:
    told = story()
    told.say(ExecutionCancelled(verified=0, cancelled=2))
    held = told.say(TaskHeld(reason="late"), "2")
    assert not unexcused(told.records, [held.sequence])
