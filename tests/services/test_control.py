"""People at the controls: pause, resume, retry, stop points, limits, questions that expire."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from events import (
    ApprovalRecorded,
    ApprovalRequested,
    ExecutionBlocked,
    ExecutionCompleted,
    ExecutionPaused,
    ExecutionPausing,
    ExecutionReopened,
    ExecutionResumed,
    ExecutionStarted,
    PauseRequested,
    RequestRefused,
    ResumeRequested,
    RetryRequested,
    RollbackBegun,
    StopPointRequested,
    StopPointSet,
    TaskHeld,
    TaskReady,
)
from events.log import Timer
from schemas.values import Plan
from services.planner.decide import decide, due, timer_of
from tests.controls import plan, task
from tests.spec import History, asked, executed, failed, given, ready, running, said, started, verified

CHAIN = plan(task("1"), task("2", needs=("1",)), task("3", needs=("2",)))
WIDE = plan(*(task(str(n)) for n in range(1, 7)))
WHO = "0191b2c3-0000-7000-8000-000000000001"


def with_policy(what: Plan, **changes: Any) -> Plan:
    return replace(what, policy=replace(what.policy, **changes))


def run(name: str, *ends: Any) -> Any:
    """A step: the task gets from wherever it is to running, and then on."""

    def step(history: History) -> None:
        if history.fold.tasks[name].state == "pending":
            ready(name, history.fold.tasks[name].failures + 1)(history)
        if history.fold.tasks[name].state == "ready":
            started(name)(history)
        for end in ends:
            end(name)(history)

    return step


def did(name: str) -> Any:
    """A step: the task is verified."""
    return run(name, executed, verified)


def gave_up(name: str) -> Any:
    """A step: an attempt failed."""
    return run(name, failed)


def facts(history: History) -> list[object]:
    return [d.fact for d in decide(history.fold)]


def settled(what: Plan | None, *steps: Any) -> History:
    """A history, and all that the planner decides on it."""
    history = given(what, *steps).history
    history.settle()
    return history


def test_pausing_holds_what_is_ready_and_lets_run_what_runs() -> None:
    history = settled(WIDE, running, run("1"), ready("2"), asked(PauseRequested(request=WHO, reason="lunch")))
    states = {name: t.state for name, t in history.fold.tasks.items()}
    assert history.fold.state == "paused"
    assert states == {"1": "running", **dict.fromkeys("23456", "pending")}
    names = [r.name for r in history.records]
    assert names.index("ExecutionPausing") < names.index("TaskHeld") < names.index("ExecutionPaused")
    assert facts(history) == []


def test_nothing_starts_while_paused_and_everything_goes_on_after_it() -> None:
    history = settled(CHAIN, running, run("1"), asked(PauseRequested(request=WHO)))
    did("1")(history)
    history.settle()
    assert history.fold.tasks["2"].state == "pending"
    history.ask(ResumeRequested(request=WHO.replace("1", "2")))
    history.settle()
    assert history.fold.state == "running"
    assert history.fold.tasks["2"].state == "ready"
    assert history.fold.tasks["1"].attempt == 1


def test_requests_that_make_no_sense_are_refused_and_recorded() -> None:
    for request, known in (
        (ResumeRequested(request=WHO), "not paused"),
        (RetryRequested(request=WHO), "no task failed"),
        (RetryRequested(request=WHO, task="9"), "there is no task '9'"),
        (StopPointRequested(request=WHO, after="9"), "there is no task '9'"),
    ):
        history = settled(CHAIN, running, asked(request))
        refused = [r.fact for r in history.records if isinstance(r.fact, RequestRefused)]
        assert len(refused) == 1
        assert known in refused[0].reason
    twice = settled(CHAIN, running, asked(PauseRequested(request=WHO)), asked(PauseRequested(request=WHO[:-1] + "2")))
    assert [r.name for r in twice.records].count("ExecutionPausing") == 1
    assert any(isinstance(r.fact, RequestRefused) for r in twice.records)


def test_a_stop_point_stops_exactly_there() -> None:
    fan = plan(task("a"), task("b"), task("c", needs=("a",)), task("d", needs=("b",)))
    history = settled(fan, running, run("a"), run("b"), asked(StopPointRequested(request=WHO, after="a")))
    assert isinstance(next(r.fact for r in history.records if r.name == "StopPointSet"), StopPointSet)
    did("a")(history)
    history.settle()
    assert history.fold.state == "paused"
    assert history.fold.reason == "stop point after a"
    did("b")(history)
    history.settle()
    assert [history.fold.tasks[n].state for n in "abcd"] == ["verified", "verified", "pending", "pending"]
    history.ask(ResumeRequested(request=WHO))
    history.settle()
    assert history.fold.stop_after is None
    assert [history.fold.tasks[n].state for n in "cd"] == ["ready", "ready"]


def test_a_stop_point_behind_the_last_task_stops_nothing() -> None:
    only = plan(task("a"))
    history = settled(only, running, asked(StopPointRequested(request=WHO, after="a")), did("a"))
    assert isinstance(history.records[-1].fact, ExecutionCompleted)


def test_a_stop_point_is_moved_and_cleared() -> None:
    history = settled(CHAIN, running, asked(StopPointRequested(request=WHO, after="1")))
    history.ask(StopPointRequested(request=WHO, after=None))
    history.settle()
    did("1")(history)
    history.settle()
    assert history.fold.state == "running"
    history.ask(StopPointRequested(request=WHO, after="1"))
    history.settle()
    assert "is verified already" in history.records[-1].fact.reason


def test_a_retry_opens_a_failed_execution_with_all_that_was_skipped() -> None:
    once = with_policy(CHAIN, max_attempts=1)
    history = settled(once, running, gave_up("1"))
    assert history.fold.state == "failed"
    assert [history.fold.tasks[n].state for n in "123"] == ["failed", "skipped", "skipped"]
    history.ask(RetryRequested(request=WHO))
    history.settle()
    opened = next(r.fact for r in history.records if isinstance(r.fact, ExecutionReopened))
    assert opened.tasks == ("1", "2", "3")
    assert history.fold.state == "running"
    assert [history.fold.tasks[n].state for n in "123"] == ["ready", "pending", "pending"]
    assert history.fold.tasks["1"].attempt == 2, "counters never fall"
    for name in "123":
        did(name)(history)
        history.settle()
    assert history.fold.state == "completed"


def test_a_retried_task_has_its_attempts_again_and_no_more() -> None:
    twice = with_policy(plan(task("1")), max_attempts=2, on_exhausted="escalate")
    history = settled(twice, running, gave_up("1"))
    timer = next(r for r in history.records if r.name == "RetryScheduled")
    assert history.fold.tasks["1"].state == "waiting"
    fired = due(history.fold, Timer(tenant="t", execution="e", entity="1", kind="retry", at_ns=0, event=timer.id))
    assert [d.fact for d in fired or []] == [TaskReady(attempt=2)]


def test_too_many_tasks_given_up_in_a_row_pause_the_execution() -> None:
    careful = with_policy(WIDE, max_attempts=1, max_parallel=1, halt_after=2)
    history = settled(careful, running, gave_up("1"))
    assert history.fold.state == "running"
    gave_up("2")(history)
    history.settle()
    assert history.fold.state == "paused"
    assert history.fold.reason == "2 tasks in a row were given up"
    warned = [(r.entity, r.fact.kind, r.fact.value) for r in history.records if r.name == "HealthWarned"]
    assert warned == [("2", "failures", 2)], "on the task that was given up last"
    history.ask(ResumeRequested(request=WHO))
    history.settle()
    assert (history.fold.state, history.fold.count("ready")) == ("running", 1)


def test_a_session_limit_counts_tasks_that_were_started() -> None:
    limited = with_policy(WIDE, max_tasks=2)
    history = settled(limited, running)
    assert history.fold.count("ready") == 2
    for name in "12":
        did(name)(history)
        history.settle()
    assert history.fold.state == "paused"
    assert history.fold.count("pending") == 4
    history.ask(ResumeRequested(request=WHO))
    history.settle()
    assert history.fold.count("ready") == 2


def test_a_question_that_nobody_answers_becomes_a_no() -> None:
    gated = with_policy(plan(task("1", autonomy="needs_approval")), approval_timeout=60.0)
    history = settled(gated, running)
    asked_for = next(r for r in history.records if isinstance(r.fact, ApprovalRequested))
    assert asked_for.fact.expires is not None
    timer = timer_of(history.fold, asked_for)
    assert timer is not None
    assert timer.kind == "approval"
    answer = (due(history.fold, timer) or [])[0].fact
    assert isinstance(answer, ApprovalRecorded)
    assert (answer.granted, answer.by) == (False, "timer")
    said("1", answer)(history)
    history.settle()
    assert history.fold.state == "failed"
    assert due(history.fold, timer) == [], "a timer that nobody waits for brings nothing"


def test_rows_lead_in_and_out_of_a_pause() -> None:
    history = settled(CHAIN, running, ready("1"), asked(PauseRequested(request=WHO)))
    kinds = [type(r.fact) for r in history.records]
    assert kinds.count(ExecutionPausing) == kinds.count(ExecutionPaused) == 1
    assert TaskHeld in kinds
    history.ask(ResumeRequested(request=WHO))
    history.settle()
    assert type(history.records[-2].fact) is ExecutionResumed or history.fold.state == "running"
    assert history.fold.tasks["1"].state == "ready"
    assert history.fold.oddities == 0


def test_whoever_takes_results_back_after_the_end_gives_the_execution_its_time_again() -> None:
    """The limit's timer of the first run may have come while nothing ran, and comes no second time."""
    history = settled(with_policy(plan(task("1")), max_duration=60.0), running, did("1"))
    assert history.fold.state == "completed"
    first = next(r for r in history.records if isinstance(r.fact, ExecutionStarted))
    history.say("-", RollbackBegun(reason="wrong", requested_by="acme", only="1", resume=True))
    resumed = history.say("-", ExecutionResumed(reason="the branch went back: wrong"))
    old, new = timer_of(history.fold, first), timer_of(history.fold, resumed)
    assert old is None
    assert new is not None
    assert new.kind == "duration"
    assert [type(d.fact) for d in due(history.fold, new) or []] == [ExecutionPausing]


def test_a_resumption_by_itself_leaves_the_time_as_it_is() -> None:
    history = given(with_policy(plan(task("1")), max_duration=60.0), running).history
    started_at = history.fold.session
    history.say("-", ExecutionBlocked(tasks=("1",)))
    history.say("-", ExecutionResumed(reason="there is something to do again"))
    assert history.fold.session == started_at


def test_a_start_wants_a_timer_only_while_it_runs() -> None:
    history = given(plan(task("1")), running, ready("1"), started("1")).history
    start = history.records[-1]
    timer = timer_of(history.fold, start)
    assert timer is not None
    assert timer.kind == "lease"
    executed("1")(history)
    assert timer_of(history.fold, start) is None


def test_a_pause_ends_the_session_whoever_leads_out_of_it() -> None:
    history = given(with_policy(plan(task("1")), max_duration=60.0), running).history
    first = history.records[-1]
    history.say("-", ExecutionPausing(reason="it has run for 60 s, as long as the policy allows"))
    history.say("-", ExecutionPaused(reason=""))
    assert timer_of(history.fold, first) is None
    history.say("-", RollbackBegun(reason="wrong", requested_by="acme", resume=True))
    resumed = history.say("-", ExecutionResumed(reason="the branch went back: wrong"))
    timer = timer_of(history.fold, resumed)
    assert timer is not None
    assert timer.kind == "duration"


def test_a_no_is_final_and_the_refusal_of_a_retry_says_so() -> None:
    gated = plan(task("1", autonomy="needs_approval"))
    history = settled(gated, running)
    question = next(r for r in history.records if isinstance(r.fact, ApprovalRequested))
    said("1", ApprovalRecorded(approval=question.id, granted=False, by="acme", notes="not this", attempt=0))(history)
    history.settle()
    assert history.fold.state in ("failed", "completed")
    history.ask(RetryRequested(request=WHO))
    history.settle()
    refused = [r.fact.reason for r in history.records if isinstance(r.fact, RequestRefused)]
    assert len(refused) == 1
    assert refused[0].startswith("no task failed; '1' was skipped (")
    assert "not this" in refused[0]
    assert "fork the execution" in refused[0]
