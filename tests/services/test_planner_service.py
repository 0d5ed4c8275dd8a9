"""The planner's wiring, on the log in memory."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from events import PlanAccepted, PlanRejected, TaskReady
from events.log import Recorded, Timer, of_execution
from events.log.memory import MemoryLog
from services.folds import Folds
from services.planner.service import Planner
from services.shell import Context
from tests.controls import failed_fact, started_fact
from tests.worlds import draft, everything, execution, in_background, until

E1, E2 = execution(1), execution(2)
PLAN = {"title": "t", "tasks": [{"id": "1", "run": "true"}], "policy": {"backoff": {"first": 0.3}}}


@contextlib.asynccontextmanager
async def planner(log: MemoryLog) -> AsyncIterator[Folds]:
    """One copy at work, which knows nothing yet."""
    folds = Folds(log)
    async with in_background(
        folds.follow(), Planner(Context(service="planner", actor="planner-1", log=log, folds=folds)).run()
    ):
        await folds.started.wait()
        yield folds


async def submit(log: MemoryLog, number: int, body: Any) -> None:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    await log.publish_raw(f"evt.default.{execution(number)}.~in.PlanSubmitted", raw)


def names(log: MemoryLog, number: int = 1) -> list[str]:
    return [r.name for r in log.records if r.execution == execution(number)]


async def failing(log: MemoryLog, number: int = 1) -> Recorded:
    """Submit a plan and fail its first attempt; returns what the planner says to that."""
    await submit(log, number, {"plan": PLAN})
    await until(lambda: "TaskReady" in names(log, number))
    [ready] = await everything(log, f"evt.default.{execution(number)}.1.>")
    [lease] = await log.append(draft(started_fact(), "1", number=number, expected=ready.sequence))
    await log.append(draft(failed_fact(lease.id), "1", number=number, expected=lease.sequence))
    await until(lambda: "RetryScheduled" in names(log, number))
    return next(r for r in log.records if r.name == "RetryScheduled" and r.execution == execution(number))


async def timer_of(log: MemoryLog) -> Timer:
    """The retry's timer, once it is set and nobody has anything in hand."""
    await until(lambda: any(t.kind == "retry" for t in log._timers.values()))
    await until(lambda: not any(len(durable.queue) for durable in log._durables.values()))
    return next(t for t in log._timers.values() if t.kind == "retry")


async def test_a_submitted_plan_is_accepted_and_its_tasks_are_ready() -> None:
    log = MemoryLog()
    async with planner(log):
        await submit(log, 1, {"plan": PLAN, "request": E1, "actor": "ada"})
        await until(lambda: "TaskReady" in names(log))
    assert names(log) == ["PlanSubmitted", "PlanAccepted", "ExecutionStarted", "TaskReady"]
    accepted = log.records[1]
    assert isinstance(accepted.fact, PlanAccepted)
    assert accepted.fact.requested_by == "default/ada"
    assert {r.cause for r in log.records[1:]} == {log.records[0].id}


async def test_two_copies_say_everything_once() -> None:
    log = MemoryLog()
    async with planner(log), planner(log):
        for number in range(1, 20):
            await submit(log, number, {"plan": PLAN})
        await until(lambda: all("TaskReady" in names(log, n) for n in range(1, 20)))
    for number in range(1, 20):
        assert names(log, number) == ["PlanSubmitted", "PlanAccepted", "ExecutionStarted", "TaskReady"]


async def test_what_no_trigger_brings_is_done_all_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Should a trigger ever get lost, an execution goes on late, and says so, instead of never."""
    caplog.set_level("INFO", "services.planner.sweep")
    monkeypatch.setattr("services.planner.sweep.EVERY", 0.05)
    react = Planner.react

    async def forgetful(self: Planner, trigger: Recorded, delivery: Any) -> None:
        if trigger.name != "AttemptFailed":
            await react(self, trigger, delivery)

    monkeypatch.setattr(Planner, "react", forgetful)
    log = MemoryLog()
    async with planner(log), planner(log):
        scheduled = await failing(log)
        await until(lambda: names(log).count("TaskReady") == 2)
    failed = next(r for r in log.records if r.name == "AttemptFailed")
    assert scheduled.cause == f"quiet:{failed.sequence}"
    assert names(log).count("RetryScheduled") == 1
    assert f"since sequence {failed.sequence}" in caplog.text


async def test_an_execution_that_waits_as_it_should_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.planner.sweep.EVERY", 0.01)
    log = MemoryLog()
    async with planner(log):
        await submit(log, 1, {"plan": PLAN})
        await until(lambda: "TaskReady" in names(log))
        await asyncio.sleep(0.2)
    assert names(log) == ["PlanSubmitted", "PlanAccepted", "ExecutionStarted", "TaskReady"]


async def test_a_look_that_fails_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("services.planner.sweep.EVERY", 0.01)

    def broken(fold: Any) -> Any:
        raise ArithmeticError(fold.id)

    log = MemoryLog()
    async with planner(log):
        await submit(log, 1, {"plan": PLAN})
        await until(lambda: "TaskReady" in names(log))
        monkeypatch.setattr("services.planner.sweep.decide", broken)
        await until(lambda: "cannot be done" in caplog.text)
        await submit(log, 2, {"plan": PLAN})
        await until(lambda: "TaskReady" in names(log, 2))


PROTECTED = {"plan": {**PLAN, "policy": {"safety": {"protected_branches": ["nightshift/*"]}}}}


@pytest.mark.parametrize("body", [b"{", b'{"plan": 3}', b'{"plan": {}, "admin": true}', {"plan": {}}, {}, PROTECTED])
async def test_what_cannot_run_is_rejected_with_its_problems(body: Any) -> None:
    log = MemoryLog()
    async with planner(log):
        await submit(log, 1, body)
        await until(lambda: len(log.records) == 2)
    fact = log.records[1].fact
    assert isinstance(fact, PlanRejected)
    assert all(problem.message for problem in fact.problems)
    assert fact.problems


@pytest.mark.parametrize("task", ["Gro\u0308\u00dfe", "2.3.1.4", "*", "two words", "~other"])
async def test_h13_a_task_of_any_name_becomes_ready(task: str) -> None:
    """A name in another spelling came back as a stranger, and the planner said TaskReady ten thousand times."""
    log = MemoryLog()
    async with planner(log):
        await submit(log, 1, {"plan": {"title": "t", "tasks": [{"id": task, "run": "true"}]}})
        await until(lambda: len(log.records) >= 4)
    assert names(log) == ["PlanSubmitted", "PlanAccepted", "ExecutionStarted", "TaskReady"]


@pytest.mark.parametrize("task", ["-", "~in", "~branch"])
async def test_h13_a_task_cannot_be_called_as_we_call_the_execution(task: str) -> None:
    log = MemoryLog()
    async with planner(log):
        await submit(log, 1, {"plan": {"title": "t", "tasks": [{"id": task, "run": "true"}]}})
        await until(lambda: len(log.records) >= 2)
    assert names(log) == ["PlanSubmitted", "PlanRejected"]


async def test_h12_a_retry_comes_although_the_planner_was_away_and_others_went_on() -> None:
    """A planner that had just started waited, for a fold of one execution, for the newest event of all of them."""
    log = MemoryLog()
    async with planner(log):
        scheduled = await failing(log)
        asked_for = await timer_of(log)
        assert (asked_for.event, asked_for.sequence) == (scheduled.id, scheduled.sequence)
    await submit(log, 2, {"plan": PLAN})
    async with planner(log):
        await until(lambda: names(log).count("TaskReady") == 2, 3.0)
    [*_, again] = await everything(log, of_execution("default", E1))
    assert again.fact == TaskReady(attempt=2)
    assert again.cause == scheduled.id


async def test_h12_a_timer_of_another_event_brings_nothing() -> None:
    log = MemoryLog()
    async with planner(log):
        scheduled = await failing(log)
        asked_for = await timer_of(log)
        await until(lambda: names(log).count("TaskReady") == 2)
        await log.set_timer(asked_for)
        await until(lambda: not [t for t in log._timers.values() if t.kind == "retry"] and not len(log._fired))
    assert names(log).count("TaskReady") == 2
    assert scheduled.fact.attempt == 2
