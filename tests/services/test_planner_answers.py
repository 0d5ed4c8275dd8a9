"""What the planner decides about requests, cancelling and timers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from events import (
    ApprovalAwaited,
    ApprovalGiven,
    ApprovalRequested,
    CancelRequested,
    ExecutionCancelled,
    ExecutionCancelling,
    LeaseExpired,
    PlanRejected,
    PlanSubmitted,
    RequestRefused,
    RetryScheduled,
    TaskCancelled,
    TaskReady,
)
from events.log import Timer
from events.log.wire import ID
from schemas.names import INBOX, event_id
from schemas.values import Backoff, Plan, Policy
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
    ready,
    running,
    said,
    started,
)

FIRST, AGAIN = TaskReady(attempt=1), TaskReady(attempt=2)
CHAIN = plan(task("1"), task("2", needs=("1",)), task("3", needs=("2",)))
WIDE = plan(*(task(str(n)) for n in range(1, 6)))


def with_policy(what: Plan, **changes: Any) -> Plan:
    return replace(what, policy=replace(what.policy, **changes))


GATED = plan(task("1", autonomy="needs_approval"), task("2", needs=("1",)))


def asking() -> History:
    history = given(GATED, running).history
    question = ApprovalRequested(kind="start", question="May task 1 (Build part 1) start?")
    history = given(history).when().then(("1", question))
    history = given(history).when().then(("-", ApprovalAwaited(tasks=("1",))))
    return given(history).when().then()


def answer(history: History, **more: Any) -> ApprovalGiven:
    return ApprovalGiven(**{"request": "r1", "task": "1", "actor": "ada"} | more)


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
