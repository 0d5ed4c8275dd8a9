"""What the planner decides about tasks, their failures and a person's word."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from events import (
    ApprovalAwaited,
    ApprovalGiven,
    ApprovalRecorded,
    ApprovalRequested,
    ExecutionBlocked,
    ExecutionCompleted,
    ExecutionFailed,
    ExecutionResumed,
    ExecutionStarted,
    PlanSubmitted,
    TaskBlocked,
    TaskFailed,
    TaskReady,
    TaskSkipped,
)
from schemas.values import Backoff, Criterion, Plan
from tests.controls import SECOND, START_NS, TENANT, plan, task
from tests.spec import (
    History,
    asked,
    did,
    executed,
    failed,
    given,
    interrupted,
    ready,
    rejected,
    running,
    said,
    started,
    timed_out,
    verified,
)

FIRST, AGAIN = TaskReady(attempt=1), TaskReady(attempt=2)
CHAIN = plan(task("1"), task("2", needs=("1",)), task("3", needs=("2",)))
WIDE = plan(*(task(str(n)) for n in range(1, 6)))


def with_policy(what: Plan, **changes: Any) -> Plan:
    return replace(what, policy=replace(what.policy, **changes))


def test_a_queued_execution_starts() -> None:
    given(CHAIN).when().then(("-", ExecutionStarted(tasks=3, satisfied=0)))
    done = plan(task("0", status="completed"), task("1", needs=("0",)))
    given(done).when().then(("-", ExecutionStarted(tasks=1, satisfied=1)))


def test_nothing_is_decided_without_a_plan() -> None:
    given(None).when().then()
    given(None, asked(PlanSubmitted(plan={"title": "not read yet"}))).when().then()


def test_what_needs_nothing_is_ready_first() -> None:
    given(CHAIN, running).when().then(("1", FIRST))
    diamond = plan(task("a"), task("b", needs=("a",)), task("c", needs=("a",)), task("d", needs=("b", "c")))
    given(diamond, running, did("a")).when().then(("b", FIRST), ("c", FIRST))
    given(diamond, running, did("a"), did("b")).when().then(("c", FIRST))
    given(diamond, running, did("a"), did("b"), did("c")).when().then(("d", FIRST))


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_only_verified_unlocks(steps: int) -> None:
    given(CHAIN, running, *[ready("1"), started("1"), executed("1")][:steps]).when().then()


def test_done_at_the_source_unlocks_too() -> None:
    what = plan(task("0", status="completed"), task("1", status="skipped"), task("2", needs=("0", "1")))
    given(what, running).when().then(("2", FIRST))


def test_no_more_are_ready_than_fit() -> None:
    narrow = with_policy(WIDE, max_parallel=2)
    history = given(narrow, running).when().then(("1", FIRST), ("2", FIRST))
    given(history, started("1")).when().then()
    given(history, executed("1")).when().then(("3", FIRST))
    given(history, verified("1")).when().then()
    given(history, started("2"), interrupted("2")).when().then()


def test_a_failed_attempt_is_tried_again_later_and_later() -> None:
    what = with_policy(plan(task("1")), max_attempts=3, backoff=Backoff(first=2.0, factor=10.0, max=15.0))
    history = given(what, running, ready("1"), started("1"), failed("1")).history
    for attempt, delay in ((2, 2.0), (3, 15.0)):
        [(entity, fact)] = given(history).when().decisions
        assert (entity, fact.attempt, fact.delay, fact.reason) == ("1", attempt, delay, "exit code 2")
        at = (START_NS + len(history.records) * SECOND) / 1e9 + delay
        assert fact.at == f"2026-09-21T14:13:{20 + at - START_NS / 1e9:06.3f}+00:00"
        given(history).when().then((entity, fact))
        given(history).when().then()
        given(history, ready("1", attempt), started("1"), failed("1"))
    given(history).when().then(("1", TaskFailed(attempts=3, reason="exit code 2")))


@pytest.mark.parametrize("end", [timed_out("1"), failed("1"), rejected("1")])
def test_every_way_to_fail_counts(end: Any) -> None:
    once = with_policy(plan(task("1")), max_attempts=1)
    history = given(once, running, ready("1"), started("1")).history
    if end.__qualname__.startswith("rejected"):
        executed("1")(history)
    [(entity, fact)] = given(history, end).when().decisions
    assert (entity, type(fact), fact.attempts) == ("1", TaskFailed, 1)


def test_a_task_may_have_a_limit_of_its_own_and_some_failures_are_final() -> None:
    own = plan(task("1", max_attempts=1))
    given(own, running, ready("1"), started("1"), failed("1")).when().then(
        ("1", TaskFailed(attempts=1, reason="exit code 2"))
    )
    given(plan(), running, ready("1"), started("1"), failed("1", retryable=False)).when().then(
        ("1", TaskFailed(attempts=1, reason="exit code 2"))
    )


def test_an_interruption_does_not_count() -> None:
    once = with_policy(plan(task("1")), max_attempts=1)
    history = given(once, running, ready("1"), started("1"), interrupted("1")).history
    assert history.fold.tasks["1"].state == "ready"
    given(history, started("1"), failed("1")).when().then(("1", TaskFailed(attempts=1, reason="exit code 2")))


def test_what_cannot_run_any_more_is_skipped_one_after_the_other() -> None:
    what = with_policy(replace(CHAIN, tasks=(*CHAIN.tasks, task("4"))), max_attempts=1)
    history = given(what, running, ready("1"), started("1"), failed("1"), ready("4")).history
    history = given(history).when().then(("1", TaskFailed(attempts=1, reason="exit code 2")))
    history = given(history).when().then(("2", TaskSkipped(because="1", reason="1 is failed")))
    history = given(history).when().then(("3", TaskSkipped(because="2", reason="2 is skipped")))
    history = given(history, started("4"), executed("4"), verified("4")).history
    reason = "task 1: exit code 2"
    given(history).when().then(
        ("-", ExecutionFailed(reason=reason, verified=1, failed=("1",), skipped=("2", "3")))
    )  # fmt: skip
    given(history).when().then()


def test_exhausted_may_mean_blocked() -> None:
    what = with_policy(CHAIN, max_attempts=1, on_exhausted="escalate")
    history = given(what, running, ready("1"), started("1"), failed("1")).history
    at = datetime.fromtimestamp(history.fold.now_ns / 1e9 + 86_400, UTC).isoformat(timespec="milliseconds")
    given(history).when().then(("1", TaskBlocked(attempts=1, reason="exit code 2", expires=at)))
    given(history).when().then(("-", ExecutionBlocked(tasks=("1",))))
    given(history).when().then()
    assert history.fold.state == "blocked"


def test_all_verified_is_completed() -> None:
    history = given(CHAIN, running, did("1"), did("2"), did("3")).history
    given(history).when().then(("-", ExecutionCompleted(verified=3)))
    given(history).when().then()
    done = plan(task("0", status="completed"))
    given(done, running).when().then(("-", ExecutionCompleted(verified=0, satisfied=1)))


# -- a person's word ------------------------------------------------------------------------------------------------

GATED = plan(task("1", autonomy="needs_approval"), task("2", needs=("1",)))


def asking() -> History:
    history = given(GATED, running).history
    question = ApprovalRequested(kind="start", question="May task 1 (Build part 1) start?")
    history = given(history).when().then(("1", question))
    history = given(history).when().then(("-", ApprovalAwaited(tasks=("1",))))
    return given(history).when().then()


def answer(history: History, **more: Any) -> ApprovalGiven:
    return ApprovalGiven(**{"request": "r1", "task": "1", "actor": "ada"} | more)


def test_a_task_may_need_a_word_before_it_starts() -> None:
    history = asking()
    question = history.fold.tasks["1"].question
    assert question is not None
    history = given(history, asked(answer(history, approval=question.id, notes="go"))).history
    yes = ApprovalRecorded(approval=question.id, granted=True, by=f"{TENANT}/ada", notes="go")
    given(history).when().then(("1", yes))
    [resumed] = [fact for entity, fact in given(history).when().decisions if entity == "-"]
    assert isinstance(resumed, ExecutionResumed)
    assert [r.name for r in history.settle()] == ["ExecutionResumed", "TaskReady"]


def test_a_no_skips_the_task_and_what_needs_it() -> None:
    history = asking()
    history.ask(answer(history, granted=False, notes="not tonight"))
    names = [(r.entity, r.name) for r in history.settle()]
    assert names == [
        ("1", "ApprovalRecorded"), ("1", "TaskSkipped"), ("-", "ExecutionResumed"), ("2", "TaskSkipped"),
        ("-", "ExecutionFailed"),
    ]  # fmt: skip
    assert history.fold.tasks["1"].reason == f"{TENANT}/ada said no: not tonight"


def test_a_result_may_need_a_word() -> None:
    manual = plan(task("1", verify=(Criterion(id="c", kind="manual", text="looks good"),)))
    question = ApprovalRequested(kind="result", question="good?", attempt=1)
    history = given(manual, running, ready("1"), started("1"), executed("1"), said("1", question)).history
    given(history).when().then(("-", ApprovalAwaited(tasks=("1",))))
    given(history).when().then()
    history.ask(answer(history))
    assert [r.name for r in history.settle()] == ["ApprovalRecorded", "ExecutionResumed"]
    assert history.fold.tasks["1"].granted is not None
