"""What the verifier decides."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from events import ApprovalRecorded, ApprovalRequested, AttemptRejected, CancelRequested
from schemas.values import Criterion, Plan, Task
from services.verifier.decide import (
    automatic,
    exit_result,
    manual,
    manual_results,
    needs_word,
    next_step,
    question,
    reason_of,
    rejection,
)
from tests.controls import executed_fact, plan, result, task
from tests.spec import History, asked, executed, given, ready, running, said, started, verified

LOOKS = Criterion(id="m", kind="manual", text="looks good")
TESTS = Criterion(id="c", kind="command", text="tests pass", command="make test")


def done(what: Task, **policy: Any) -> History:
    """Task 1 was executed."""
    whole: Plan = plan(what, task("2", needs=("1",)))
    whole = replace(whole, policy=replace(whole.policy, **policy))
    return given(whole, running, ready("1"), started("1"), executed("1")).history


def answered(granted: bool, notes: str = "") -> Any:
    return said("1", ApprovalRecorded(approval="q", granted=granted, by="acme/ada", notes=notes, attempt=1))


def step(history: History) -> str:
    return next_step(history.fold, history.fold.tasks["1"])


def test_a_result_is_judged_once() -> None:
    history = done(task("1"))
    assert step(history) == "judge"
    assert next_step(history.fold, None) == next_step(history.fold, history.fold.tasks["2"]) == "nothing"
    given(history, verified("1"))
    assert step(history) == "nothing"


@pytest.mark.parametrize("steps", [(), (ready("1"),), (ready("1"), started("1"))])
def test_there_is_nothing_to_judge_before_it_is_executed(steps: Any) -> None:
    assert step(given(plan(), running, *steps).history) == "nothing"


def test_nothing_is_judged_while_cancelling() -> None:
    history = given(plan(), running, ready("1"), started("1"), asked(CancelRequested(request="r"))).history
    history.settle()
    given(history, executed("1"))
    assert step(history) == "nothing"


@pytest.mark.parametrize(
    ("what", "asks"),
    [
        (task("1", verify=(TESTS,)), False),
        (task("1", verify=()), False),
        (task("1", verify=(LOOKS,)), True),
        (task("1", verify=(TESTS, LOOKS)), True),
        (task("1", run=None, agent="agent", verify=()), True),
        (task("1", run=None, agent="agent", verify=(TESTS,)), False),
        (task("1", run=None, verify=()), True),
        (task("1", run=None, verify=(), noop=True), False),
    ],
)
def test_who_must_be_asked(what: Task, asks: bool) -> None:
    history = done(what)
    assert needs_word(history.fold, history.fold.tasks["1"]) is asks
    assert step(history) == ("ask" if asks else "judge")
    assert step(done(what, unverified="accept")) == "judge"


def test_a_question_waits_for_its_answer() -> None:
    history = done(task("1", verify=(TESTS, LOOKS)))
    asks = question(history.fold, history.fold.tasks["1"])
    assert asks == ApprovalRequested(
        kind="result", question="Is the result of task 1 (Build part 1) good?", attempt=1, lease=history.lease("1"),
        checklist=("looks good",),
    )  # fmt: skip
    given(history, said("1", asks))
    assert step(history) == "nothing"
    yes = given(history, answered(True, "nice")).history
    assert step(yes) == "judge"
    [word] = manual_results(yes.fold.tasks["1"])
    assert (word.criterion, word.result, word.detail) == ("m", "pass", "acme/ada said yes: nice")


def test_a_no_is_a_rejection_and_the_next_attempt_asks_again() -> None:
    history = done(task("1", verify=(LOOKS,)))
    given(history, said("1", question(history.fold, history.fold.tasks["1"])), answered(False, "ugly"))
    assert step(history) == "denied"
    verdict = rejection(history.fold.tasks["1"], "acme/ada said no: ugly")
    assert verdict == AttemptRejected(attempt=1, lease=history.lease("1"), reason="acme/ada said no: ugly")
    given(history, said("1", verdict))
    history.settle()
    given(history, ready("1", 2), started("1"), executed("1"))
    assert step(history) == "ask"


def test_criteria_are_for_machines_or_for_people() -> None:
    held = done(task("1", verify=(TESTS, LOOKS))).fold.tasks["1"]
    assert automatic(held) == [TESTS]
    assert manual(held) == [LOOKS]
    [nobody] = manual_results(held)
    assert nobody.result == "skipped"


def test_the_exit_code_is_a_criterion_of_its_own() -> None:
    found = exit_result(executed_fact("L"))
    assert (found.criterion, found.result, found.exit_code, found.seconds) == ("exit", "pass", 0, 12.5)


def test_a_rejection_names_what_failed_first() -> None:
    bad, worse = replace(result(False), detail="exit code 1"), replace(result(False, "c2"), detail="exit code 2")
    assert reason_of([result(), bad]) == "make test passes: exit code 1"
    assert reason_of([bad, worse, worse]) == "make test passes: exit code 1 (and 2 more)"
