"""What the planner decides."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from events import (
    ApprovalAwaited,
    ApprovalGiven,
    ApprovalRecorded,
    ApprovalRequested,
    CancelRequested,
    ExecutionBlocked,
    ExecutionCancelled,
    ExecutionCancelling,
    ExecutionCompleted,
    ExecutionFailed,
    ExecutionResumed,
    ExecutionStarted,
    LeaseExpired,
    PlanRejected,
    PlanSubmitted,
    RequestRefused,
    RetryScheduled,
    TaskBlocked,
    TaskCancelled,
    TaskFailed,
    TaskReady,
    TaskSkipped,
)
from events.log import Timer
from events.log.wire import ID
from schemas.names import INBOX, event_id
from schemas.values import Backoff, Criterion, Plan, Policy
from services.planner.decide import BACKSTOP, decide, due, timer_of
from services.shell import Decision
from tests.controls import EXECUTION_ID, SECOND, START_NS, TENANT, plan, started_fact, task
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
    given(history).when().then(("1", TaskBlocked(attempts=1, reason="exit code 2")))
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


# -- cancelling -----------------------------------------------------------------------------------------------------


def test_cancelling_has_two_phases() -> None:
    history = given(WIDE, running, ready("1"), ready("2"), started("2"), did("3"), ready("4")).history
    given(history, started("4"), executed("4"), asked(CancelRequested(request="r1", reason="enough", actor="ada")))
    cancelling = ExecutionCancelling(reason="enough", requested_by=f"{TENANT}/ada")
    given(history).when().then(("-", cancelling))
    stop = TaskCancelled(reason="enough", attempt=1)
    given(history).when().then(("1", stop), ("4", stop))
    given(history).when().then()  # task 2 runs: its executor ends it
    given(history, said("2", TaskCancelled(reason="enough", attempt=1, lease=history.lease("2"))))
    given(history).when().then(("-", ExecutionCancelled(verified=1, cancelled=4)))
    given(history).when().then()
    assert {name: t.state for name, t in history.fold.tasks.items()} == {
        "1": "cancelled", "2": "cancelled", "3": "verified", "4": "cancelled", "5": "cancelled",
    }  # fmt: skip


def test_a_question_dies_with_its_execution() -> None:
    history = asking()
    history.ask(CancelRequested(request="r1"))
    history.settle()
    assert history.fold.state == "cancelled"
    history.ask(answer(history))
    [refused] = history.settle()
    assert refused.fact == RequestRefused(
        request="r1", what="approve", reason="task '1' asks nothing; it is cancelled", requested_by=f"{TENANT}/ada"
    )
    assert not history.fold.unlocked


# -- answers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fact", "what", "reason"),
    [
        (PlanSubmitted(plan={}), "submit", "this execution was submitted before; take a new execution id"),
        (ApprovalGiven(request="r1", task="9"), "approve", "there is no task '9' in this execution"),
        (ApprovalGiven(request="r1", task="1"), "approve", "task '1' asks nothing; it is pending"),
        (ApprovalGiven(request="r1", task="1", granted=False), "deny", "task '1' asks nothing; it is pending"),
    ],
)
def test_what_makes_no_sense_is_refused(fact: Any, what: str, reason: str) -> None:
    history = given(CHAIN, running, asked(fact)).history
    [said_no] = [d.fact for d in decide(history.fold)]
    assert isinstance(said_no, RequestRefused)
    assert (said_no.what, said_no.reason, said_no.requested_by) == (what, reason, TENANT)
    history.decided(decide(history.fold)[0])
    assert not [d for d in decide(history.fold) if isinstance(d.fact, RequestRefused)]


def test_an_answer_to_another_question_is_refused() -> None:
    history = asking()
    history.ask(answer(history, approval="an-older-question"))
    [refused] = history.settle()
    assert refused.fact.reason == "the question 'an-older-question' is not open any more"


def test_cancelling_twice_and_cancelling_nothing_are_refused() -> None:
    history = given(CHAIN, running, asked(CancelRequested(request="r1"))).history
    history.settle()
    history.ask(CancelRequested(request="r2"))
    [refused] = history.settle()
    assert refused.fact.reason == "the execution is cancelled"
    nothing = given(None, asked(CancelRequested(request="r3"))).history
    [refused] = nothing.settle()
    assert refused.fact.reason == "there is no such execution"


def unreadable(name: str, body: bytes = b"{") -> Any:
    subject = f"evt.{TENANT}.{EXECUTION_ID}.{INBOX}.{name}"
    return lambda history: history.store(subject, body, {ID: f"garbage-{len(history.records)}"})


def test_a_submission_that_cannot_be_read_is_rejected() -> None:
    history = given(None, unreadable("PlanSubmitted", b'{"plan": 3}')).history
    [decision] = decide(history.fold)
    assert isinstance(decision.fact, PlanRejected)
    [problem] = decision.fact.problems
    assert problem.code == "undecodable"
    assert "plan" in problem.message
    history.settle()
    assert history.fold.state == "rejected"
    assert decide(history.fold) == []


@pytest.mark.parametrize("name", ["PlanSubmitted", "CancelRequested", "ApprovalGiven"])
def test_a_request_that_cannot_be_read_is_refused(name: str) -> None:
    history = given(CHAIN, running, unreadable(name)).history
    [decision] = decide(history.fold)
    assert isinstance(decision.fact, RequestRefused)
    assert "cannot be read" in decision.fact.reason
    assert len([r for r in history.settle() if r.name == "RequestRefused"]) == 1


def test_every_request_gets_its_own_answer() -> None:
    history = given(CHAIN, running).history
    for number in range(5):
        history.ask(ApprovalGiven(request=f"r{number}", task="9"))
    refused = [r for r in history.settle() if r.name == "RequestRefused"]
    assert [r.fact.request for r in refused] == [f"r{n}" for n in range(5)]
    assert history.settle() == []


@pytest.mark.parametrize("conversation", [" ", "a\nb", "a\r\nNats-Msg-Id: x", "\u2028", "x" * 5000, "", "Gespräch 1"])
def test_h01_no_conversation_id_spoils_the_headers_of_what_follows(conversation: str) -> None:
    history = History()
    history.ask(PlanSubmitted(plan={}, conversation_id=conversation))
    history.say("-", PlanRejected(problems=()))
    assert history.records[-1].correlation == ("Gespräch 1" if conversation == "Gespräch 1" else EXECUTION_ID)


# -- timers ---------------------------------------------------------------------------------------------------------


def timer(history: History, kind: str, event: str = "") -> Timer:
    return Timer(tenant=TENANT, execution=EXECUTION_ID, entity="1", kind=kind, at_ns=0, event=event)


def test_h12_a_retry_comes_when_its_timer_fires() -> None:
    history = given(plan(), running, ready("1"), started("1"), failed("1")).history
    [scheduled] = history.settle()
    asked_for = timer_of(history.fold, scheduled)
    assert asked_for is not None
    assert (asked_for.kind, asked_for.entity, asked_for.event) == ("retry", "1", scheduled.id)
    assert asked_for.at_ns == START_NS + (scheduled.sequence) * SECOND
    assert due(history.fold, timer(history, "retry", "another event")) == []
    assert due(history.fold, timer(history, "lease", scheduled.id)) == []
    assert due(history.fold, asked_for) == [Decision(entity="1", fact=AGAIN, attempt=2)]
    history.decided(due(history.fold, asked_for)[0])  # type: ignore[index]
    assert due(history.fold, asked_for) == []
    assert timer_of(history.fold, scheduled) is None


def test_a_retry_waits_for_room_and_for_the_execution() -> None:
    narrow = with_policy(plan(task("1"), task("2")), max_parallel=1)
    history = given(narrow, running, ready("1"), started("1"), failed("1"), ready("2")).history
    [scheduled] = [r for r in history.settle() if isinstance(r.fact, RetryScheduled)]
    asked_for = timer_of(history.fold, scheduled)
    assert asked_for is not None
    assert due(history.fold, asked_for) is None
    given(history, started("2"), asked(CancelRequested(request="r1")))
    history.settle()
    assert due(history.fold, asked_for) == []


def test_a_lease_that_nobody_ends_expires() -> None:
    what = with_policy(plan(task("1", timeout=100.0)), grace=7.0)
    history = given(what, running, ready("1")).history
    lease = history.say("1", started_fact())
    asked_for = timer_of(history.fold, lease)
    assert asked_for is not None
    assert asked_for.at_ns == lease.at_ns + int((100 + 7 + BACKSTOP) * SECOND)
    [decision] = due(history.fold, asked_for) or []
    assert decision.fact == LeaseExpired(attempt=1, lease=lease.id)
    history.decided(decision)
    assert due(history.fold, asked_for) == []
    given(history).when().then(("1", FIRST))


def test_h18_nothing_is_decided_on_what_is_newer_than_this_code() -> None:
    """``Context.settle`` asks the fold; the reactor then hands the message back (tests/test_event_log_work.py)."""
    history = given(CHAIN, running).history
    headers = {
        "Nats-Msg-Id": "", "Nightshift-Cause": "c", "Nightshift-Correlation": "c", "Nightshift-Actor": "planner-2",
        "Nightshift-Key": "0.0",
    }  # fmt: skip
    headers[ID] = event_id(cause="c", name="TaskPolished", tenant=TENANT, execution=EXECUTION_ID, entity="1")
    history.store(f"evt.{TENANT}.{EXECUTION_ID}.1.TaskPolished", msgspec.json.encode({}), headers)
    assert history.fold.newer == "this version does not know the event TaskPolished"
    assert history.fold.tasks["1"].last == history.records[-1].sequence


def test_a_policy_of_no_delay_is_possible() -> None:
    assert Policy(backoff=Backoff(first=0.0)).backoff.delay(1) == 0.0
