"""Messages that nobody was entitled to write are seen, set aside, and change no decision (hazard H1, rule c)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from events import ExecutionStarted, PlanAccepted, TaskReady, TaskVerified
from events.log import Recorded
from events.log.access import BOOTSTRAP, tenant_user
from events.log.connection import connect
from events.log.jetstream import JetStreamLog
from events.log.streams import DEFAULT_TENANT, PLANNER
from events.log.wire import ID, SERVER_MARKS, encode
from services.folds import Folds
from tests.controls import executed_fact, plan, started_fact, task
from tests.servers import connected
from tests.worlds import (
    Kind,
    ServerWorld,
    World,
    draft,
    everything,
    execution,
    follow,
    in_background,
    server_world,
    until,
    world_of,
)

E1, E2 = execution(1), execution(2)


@pytest.fixture(params=["memory", "server"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    kind: Kind = request.param
    async with world_of(kind, tmp_path) as found:
        yield found


@pytest.fixture
async def real(tmp_path: Path) -> AsyncIterator[ServerWorld]:
    async with server_world(tmp_path) as found:
        yield found


async def executed(world: World, number: int = 1) -> None:
    """An execution whose task waits for its verdict; it is what an intruder wants to verify."""
    log, seen = world.log, world.of("executor")
    accepted = PlanAccepted(plan=plan(task("1"), task("2", needs=("1",))), digest="d", requested_by="ada")
    [first] = await log.append(draft(accepted, "-", number=number))
    await log.append(draft(ExecutionStarted(tasks=2), "-", number=number, expected=first.sequence))
    [ready] = await log.append(draft(TaskReady(attempt=1), "1", number=number))
    [lease] = await seen.append(draft(started_fact(), "1", number=number, expected=ready.sequence))
    await seen.append(draft(executed_fact(lease.id), "1", number=number, expected=lease.sequence))


async def still_executed(world: World, number: int = 1) -> Recorded:
    """No verdict counts; returns the last message, which was set aside on its way into a warm fold and a cold one."""
    *_, last = await everything(world.log)
    assert last.standing == "quarantined"
    assert last.fact is None
    warm = Folds(world.log)
    async with in_background(warm.follow()):
        fold = await warm.at(DEFAULT_TENANT, execution(number), 0)
    held = fold.tasks["1"]
    assert (held.state, fold.tasks["2"].state, fold.oddities) == ("executed", "pending", 0)
    assert held.verified is None
    return last


VERDICT = TaskVerified(attempt=1, lease="1e" * 16, tree=None, commit=None, head=None, results=())


async def test_h01_an_event_without_our_headers_changes_nothing(world: World) -> None:
    await executed(world)
    await world.raw(f"evt.default.{E1}.1.TaskVerified", encode(draft(VERDICT, "1"))[0])
    last = await still_executed(world)
    assert "without Nats-Msg-Id" in last.reason


@pytest.mark.parametrize("mark", sorted(SERVER_MARKS))
async def test_h01_an_event_with_a_mark_of_the_server_changes_nothing(world: World, mark: str) -> None:
    await executed(world)
    ours = draft(VERDICT, "1", expected=5)
    body, headers = encode(ours)
    await world.raw(ours.subject, body, headers | {mark: "evt.default.x"})
    last = await still_executed(world)
    assert "headers that only the server adds" in last.reason
    assert (last.sequence, last.subject) == (6, ours.subject)


async def test_h01_a_genuine_event_appended_again_elsewhere_changes_nothing(world: World) -> None:
    await executed(world, 1)
    await executed(world, 2)
    verifier = world.of("verifier")
    genuine = draft(VERDICT, "1", number=2, expected=10)
    await verifier.append(genuine)
    body, headers = encode(genuine)
    elsewhere = replace(genuine, execution=E1)
    for identity in ("1d" * 16, elsewhere.id):
        await world.raw(elsewhere.subject, body, headers | {ID: identity, "Nightshift-Cause": "stolen"})
        last = await still_executed(world)
        assert "its id does not belong" in last.reason


@pytest.mark.parametrize(
    ("header", "value"),
    [("Nats-Sequence", "99999999"), ("Nats-Sequence", "x"), ("Nats-Time-Stamp", "never"), ("Nats-Num-Pending", "9"),
     ("Nats-Subject", f"evt.default.{E2}.1.TaskVerified"), ("Nats-Stream", "TIMERS")],
)  # fmt: skip
async def test_h01_a_tenant_cannot_stop_the_readers_with_a_header(real: ServerWorld, header: str, value: str) -> None:
    """Found by this suite: stored ``Nats-Sequence`` and ``Nats-Time-Stamp`` were believed, or broke every reader."""
    url = real.server.credentials(tenant_user(DEFAULT_TENANT))
    tenant = await connect(url, name="intruder")
    subject = f"evt.default.{E1}.~in.CancelRequested"
    seen: list[Recorded] = []
    handed: list[int] = []

    async def work() -> None:
        async for delivery in real.log.consume(PLANNER, want=lambda: 10):
            handed.append(delivery.recorded.sequence)
            await delivery.ack()

    try:
        async with in_background(follow(real.log, seen), work()):
            for name in ({}, {header: value}, {}):
                await tenant.ask(subject, b'{"request": "r"}', dict(name) or None)
            await until(lambda: len(seen) == 3 and len(handed) == 3)
    finally:
        await tenant.close()
    cold = await everything(real.log)
    expected = "ok" if header == "Nats-Num-Pending" else "quarantined"
    for records in (seen, cold):
        assert [r.sequence for r in records] == [1, 2, 3]
        assert [r.standing for r in records] == ["ok", expected, "ok"]
        assert {r.subject for r in records} == {subject}
    assert handed == [1, 2, 3]


@pytest.mark.parametrize("verb", ["DIRECT.GET.EVENTS", "STREAM.MSG.GET.EVENTS", "CONSUMER.MSG.NEXT.EVENTS.planner"])
async def test_h01_an_answer_led_into_the_log_changes_nothing(real: ServerWorld, verb: str) -> None:
    """The reply-to trick, by the one credential that stays in the engine's account, with a body of its choice."""
    await executed(real)
    await real.raw(f"evt.default.{E1}.~in.CancelRequested", encode(draft(VERDICT, "1"))[0])
    target = f"evt.default.{E1}.1.TaskVerified"
    body = b'{"batch":1}' if "NEXT" in verb else json.dumps({"seq": 6}).encode()
    async with connected(real.server.credentials(BOOTSTRAP)) as raw:
        await raw.publish(f"$JS.API.{verb}", body, reply=target)
        await raw.flush()
    seen: list[Recorded] = []
    async with in_background(follow(real.log, seen)):
        await until(lambda: len(seen) == 7)  # the server lets it pass; if it no longer did, this would show nothing
    found = await still_executed(real)
    assert found.subject == target or "NEXT" in verb  # what is handed out keeps its subject
    assert found.reason


async def test_h01_an_acknowledgement_led_into_the_log_changes_nothing(real: ServerWorld) -> None:
    """The first of all tricks: one is allowed to ask for something, and lets the answer land as an event."""
    await executed(real)
    before = await real.log.last_sequence()
    operator = real.clients["operator"]
    asked = f"evt.default.{E1}.~in.CancelRequested"
    await operator.publish(asked, b'{"request": "r"}', reply=f"evt.default.{E1}.1.TaskVerified")
    await operator.flush()
    seen: list[Recorded] = []
    async with in_background(follow(real.log, seen, after=before)):
        await until(lambda: bool(seen))
        await JetStreamLog(operator).client.ask(asked, b'{"request": "r2"}')
        await until(lambda: bool(seen) and getattr(seen[-1].fact, "request", "") == "r2")
    assert [r.name for r in seen if r.standing == "ok"] == ["CancelRequested", "CancelRequested"]
    fold = Folds(real.log)
    async with in_background(fold.follow()):
        assert (await fold.at(DEFAULT_TENANT, E1, 0)).tasks["1"].state == "executed"
