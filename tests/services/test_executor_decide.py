"""What the executor decides."""

from __future__ import annotations

from typing import Any

import pytest

from events import (
    AttemptFailed,
    AttemptTimedOut,
    BranchAdvanced,
    BranchCreated,
    CancelRequested,
    TaskExecuted,
    TaskVerified,
    Usage,
)
from events.lineage import start_commit
from schemas.values import Criterion
from services.executor.decide import (
    Outcome,
    conclude,
    context,
    needs_workspace,
    next_move,
    program,
    prompt,
)
from tests.controls import BASE, BRANCH_NAME, REPOSITORY, executed_fact, plan, task
from tests.spec import History, asked, did, executed, failed, given, interrupted, ready, running, said, started

USAGE = Usage(seconds=11.0)
TWO = plan(task("1"), task("2"))


def move(history: History, *, mine: bool = False, number: int = -1) -> str:
    """What a worker does that is handed the TaskReady of task 1."""
    message = [r for r in history.records if r.name == "TaskReady" and r.entity == "1"][number]
    held = history.fold.tasks["1"]
    return next_move(history.fold, held, message, mine=frozenset({held.lease} if mine else ()))


def test_a_ready_task_is_started_by_whoever_is_handed_it() -> None:
    assert move(given(TWO, running, ready("1")).history) == "start"


def test_a_running_task_is_mine_or_taken_over() -> None:
    history = given(TWO, running, ready("1"), started("1")).history
    assert move(history, mine=True) == "mine"
    assert move(history) == "take over"
    given(history, interrupted("1"))
    assert move(history) == "start"


def test_what_is_over_is_left() -> None:
    history = given(TWO, running, ready("1"), started("1"), executed("1")).history
    assert move(history) == "leave"
    history = given(TWO, running, ready("1"), started("1"), failed("1")).history
    assert move(history) == "leave"
    history.settle()
    given(history, ready("1", 2))
    assert move(history, number=0) == "leave"
    assert move(history, number=1) == "start"
    assert next_move(history.fold, None, history.records[-1], mine=frozenset()) == "leave"


def test_nothing_is_started_while_cancelling() -> None:
    history = given(TWO, running, ready("1"), ready("2"), started("2"), asked(CancelRequested(request="r"))).history
    history.decided(next(iter(_planner(history))))
    assert history.fold.state == "cancelling"
    assert move(history) == "wait"


def test_a_result_that_nobody_will_judge_is_cancelled() -> None:
    history = given(TWO, running, ready("1"), started("1"), asked(CancelRequested(request="r"))).history
    history.settle()
    given(history, executed("1"))
    assert move(history) == "cancel"


def _planner(history: History) -> Any:
    from services.planner.decide import decide

    return decide(history.fold)


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (
            Outcome(exit_code=0, usage=USAGE, base="b", commit="c", tree="t"),
            TaskExecuted(attempt=1, lease="L", usage=USAGE, base="b", commit="c", tree="t"),
        ),
        (
            Outcome(exit_code=3, usage=USAGE, tail="no"),
            AttemptFailed(attempt=1, lease="L", reason="exit code 3", exit_code=3, usage=USAGE, tail="no"),
        ),
        (
            Outcome(signal=9, usage=USAGE),
            AttemptFailed(attempt=1, lease="L", reason="killed by signal 9", signal=9, usage=USAGE),
        ),
        (
            Outcome(error="no such program", usage=USAGE),
            AttemptFailed(attempt=1, lease="L", reason="no such program", usage=USAGE),
        ),
        (
            Outcome(error="there is no such secret", usage=USAGE, retryable=False),
            AttemptFailed(attempt=1, lease="L", reason="there is no such secret", usage=USAGE, retryable=False),
        ),
        (Outcome(timed_out=True, signal=9, usage=USAGE), AttemptTimedOut(attempt=1, lease="L", limit=5.0, usage=USAGE)),
        (Outcome(usage=USAGE), AttemptFailed(attempt=1, lease="L", reason="exit code None", usage=USAGE)),
    ],
)
def test_an_outcome_is_a_fact(outcome: Outcome, expected: object) -> None:
    assert conclude(1, "L", 5.0, outcome) == expected


def landed(name: str, head: str) -> Any:
    def step(history: History) -> None:
        for one in (ready(name), started(name), executed(name)):
            one(history)
        lease = history.lease(name)
        said(name, TaskVerified(attempt=1, lease=lease, tree="t", commit=head, head=head, results=()))(history)
        said("~branch", BranchAdvanced(task=name, base=BASE, commit=head, tree="t", verified="v"))(history)

    return step


BRANCH = said("~branch", BranchCreated(name=BRANCH_NAME, repository=REPOSITORY, base=BASE))


def test_an_attempt_starts_from_the_dependency_that_landed_last() -> None:
    what = plan(task("a"), task("b"), task("c"), task("d", needs=("a", "b")), task("e"))
    history = given(
        what, running, BRANCH, landed("b", "b1" * 20), landed("a", "a1" * 20), landed("c", "c1" * 20)
    ).history
    tasks = history.fold.tasks
    assert start_commit(history.fold, tasks["d"]) == "a1" * 20
    assert start_commit(history.fold, tasks["e"]) == BASE
    assert start_commit(given(what, running).history.fold, tasks["e"]) is None


def test_what_touches_files_needs_a_workspace() -> None:
    assert needs_workspace(task())
    assert needs_workspace(task(run=None, agent="agent", verify=()))
    assert needs_workspace(task(run=None))
    assert not needs_workspace(task(run=None, verify=(), noop=True))


def test_a_task_is_told_about_its_surroundings() -> None:
    what = plan(task("1"), task("2", needs=("1",), files=("a.py",)), shared={"db": "postgres://"})
    history = given(what, running, did("1"), ready("2"), started("2")).history
    told = context(history.fold, history.fold.tasks["2"], "L")
    assert (told["task"]["id"], told["task"]["files"], told["attempt"], told["lease"]) == ("2", ["a.py"], 1, "L")
    assert told["shared"] == {"db": "postgres://"}
    assert told["dependencies"] == [
        {"id": "1", "title": "Build part 1", "state": "verified", "done": True, "commit": None, "output": "ok\n"}
    ]
    assert told["previous_failure"] is None


def test_an_agent_is_told_what_was_learned_about_tasks_like_its_own_and_no_other() -> None:
    told = {"lessons/1": "  0.81  Parse it: failed", "lessons/2": "nothing of this", "db": "postgres://"}
    history = given(plan(task("1", prompt="Write the parser."), shared=told), running, ready("1")).history
    said = prompt(history.fold, history.fold.tasks["1"])
    assert "none of it was run here:\n  0.81  Parse it: failed" in said
    assert "nothing of this" not in said
    assert context(history.fold, history.fold.tasks["1"], "L")["shared"] == told


def test_an_agent_is_told_why_the_attempt_before_failed() -> None:
    from tests.spec import rejected

    checks = (Criterion(id="c1", kind="command", text="make test passes", command="make test"),)
    what = plan(task("1", prompt="Write the parser.", verify=checks, files=("parser.py",)))
    history = given(what, running, ready("1"), started("1")).history
    first = prompt(history.fold, history.fold.tasks["1"])
    assert "Write the parser." in first
    assert "- parser.py" in first
    assert "- make test passes" in first
    assert "failed" not in first
    given(history, executed("1"), rejected("1"))
    assert "The attempt before this one failed: make test failed" in prompt(history.fold, history.fold.tasks["1"])
    failure = context(history.fold, history.fold.tasks["1"], "L")["previous_failure"]
    assert (failure["reason"], failure["failures"]) == ("make test failed", 1)
    assert failure["criteria"] == [{"text": "make test passes", "detail": ""}]


@pytest.mark.parametrize(
    ("command", "path"),
    [
        ("./agent.sh --fast", "./agent.sh"),
        ("agent", None),
        ("/usr/bin/agent", None),
        ("'a b/c' x", "a b/c"),
        ("'", None),
    ],
)
def test_a_program_may_be_a_relative_path(command: str, path: str | None) -> None:
    assert program(command) == path


def test_a_lease_is_a_new_one_after_an_interruption() -> None:
    history = given(TWO, running, ready("1"), started("1")).history
    first = history.lease("1")
    given(history, interrupted("1"), started("1"))
    assert history.lease("1") not in ("", first)
    assert history.fold.tasks["1"].attempt == 1
    assert executed_fact(first).lease != history.lease("1")
