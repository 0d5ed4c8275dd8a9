"""The contract of the log, on memory and on a real server: being handed messages, timers, bytes; and the loop on it."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from events import CATALOGUE, DeadLettered, TaskReady, TaskVerified
from events.log import Consumer, Delivery, DueTimer, EventLog, Recorded, Timer
from events.log.jetstream import JetStreamLog
from events.log.memory import MemoryLog
from events.log.streams import EVIDENCE, EXECUTOR, PLANNER
from events.log.wire import VERSION, encode
from services import shell
from services.folds import Folds
from services.shell import Context, Reactor
from tests.worlds import (
    Kind,
    World,
    draft,
    everything,
    execution,
    in_background,
    until,
    world_of,
)

E1 = execution(1)
SECOND = 1_000_000_000


@pytest.fixture(params=["memory", "server"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    kind: Kind = request.param
    async with world_of(kind, tmp_path) as found:
        yield found


@dataclass
class Worker:
    """Takes messages and keeps them until the test says what to do."""

    log: EventLog
    consumer: Consumer
    slots: int = 100
    got: list[Delivery] = field(default_factory=list)

    async def work(self) -> None:
        async for delivery in self.log.consume(self.consumer, want=lambda: self.slots - len(self.got)):
            self.got.append(delivery)  # it never ends

    def handed(self) -> list[tuple[str, int]]:
        return [(d.recorded.entity, d.deliveries) for d in self.got]


async def make_ready(world: World, *names: str) -> None:
    for name in names:
        await world.log.append(draft(TaskReady(attempt=1), name))


async def test_workers_share_the_messages_of_a_durable(world: World) -> None:
    await make_ready(world, *"abcdef")
    log = world.of("executor")
    one, two = Worker(log, EXECUTOR, slots=3), Worker(log, EXECUTOR, slots=3)
    async with in_background(one.work(), two.work()):
        await until(lambda: len(one.got) == len(two.got) == 3)
        assert sorted(one.handed() + two.handed()) == [(name, 1) for name in "abcdef"]
        assert one.got[0].recorded.fact == TaskReady(attempt=1)
        assert await world.in_hand(EXECUTOR) == 6
        for delivery in one.got + two.got:
            await delivery.ack()
        await asyncio.sleep(0.05)
        assert await world.in_hand(EXECUTOR) == 0


async def test_a_durable_is_handed_what_its_filters_name_only(world: World) -> None:
    worker = Worker(world.log, PLANNER)
    await make_ready(world, "a")
    await world.raw(f"evt.default.{E1}.~in.CancelRequested", b'{"request": "r1"}')
    async with in_background(worker.work()):
        await until(lambda: bool(worker.got))
        assert worker.handed() == [("~in", 1)]
        assert worker.got[0].recorded.fact.request == "r1"


async def test_no_more_is_handed_out_than_wanted(world: World) -> None:
    await make_ready(world, *"abc")
    worker = Worker(world.of("executor"), EXECUTOR, slots=1)
    async with in_background(worker.work()):
        await until(lambda: bool(worker.got))
        await asyncio.sleep(0.1)
        assert worker.handed() == [("a", 1)]
        worker.slots = 2
        await until(lambda: len(worker.got) == 2)


async def test_what_is_handed_back_comes_again(world: World) -> None:
    await make_ready(world, "a", "b")
    worker = Worker(world.of("executor"), EXECUTOR)
    async with in_background(worker.work()):
        await until(lambda: len(worker.got) == 2)
        await worker.got[0].nak()
        await until(lambda: len(worker.got) == 3)
        assert worker.handed() == [("a", 1), ("b", 1), ("a", 2)]
        began = time.monotonic()
        await worker.got[1].nak(0.5)
        await until(lambda: len(worker.got) == 4)
        assert worker.handed()[3] == ("b", 2)
        assert 0.4 < time.monotonic() - began < 3
        await world.of("executor").hand_back(worker.got[2].reply)
        await until(lambda: len(worker.got) == 5)
        assert worker.handed()[4] == ("a", 3)


async def test_a_silent_worker_loses_its_message_and_a_busy_one_does_not(world: World) -> None:
    consumer = await world.quicken(EXECUTOR, 0.4)
    await make_ready(world, "silent", "busy")
    worker = Worker(world.of("executor"), consumer)
    async with in_background(worker.work()):
        await until(lambda: len(worker.got) == 2)
        busy = worker.got[1]
        began = time.monotonic()
        while len(worker.got) == 2:
            assert await busy.progress()
            await asyncio.sleep(0.05)
        assert worker.handed()[2:] == [("silent", 2)]
        assert 0.3 < time.monotonic() - began < 3
        await worker.got[0].ack()  # late, and counts all the same (hazard H6)
        await busy.ack()
        await asyncio.sleep(0.8)
        assert len(worker.got) == 3
        assert await world.in_hand(consumer) == 0


class Bell:
    """Puts down the timers that fire, and when."""

    def __init__(self, log: EventLog) -> None:
        self.log = log
        self.rang: list[tuple[DueTimer, int]] = []

    async def listen(self) -> None:
        async for fired in self.log.due():
            self.rang.append((fired, time.time_ns()))
            await fired.ack()

    def names(self) -> list[str]:
        return [fired.timer.event for fired, _ in self.rang]


def timer(event: str, seconds: float, entity: str = "1") -> Timer:
    at_ns = time.time_ns() + int(seconds * SECOND)
    return Timer(tenant="default", execution=E1, entity=entity, kind="retry", at_ns=at_ns, event=event)


async def test_h12_a_timer_fires_once_and_not_early(world: World) -> None:
    bell = Bell(world.log)
    wanted = timer("e1", 1.2)
    await world.log.set_timer(wanted)
    await world.log.set_timer(wanted)
    async with in_background(bell.listen()):
        await until(lambda: bool(bell.rang))
        fired, at = bell.rang[0]
        assert fired.timer == wanted
        assert wanted.at_ns - SECOND < at < wanted.at_ns + 3 * SECOND
        await asyncio.sleep(1.1)
        assert bell.names() == ["e1"]


async def test_h12_a_timer_can_be_moved_and_set_again(world: World) -> None:
    bell = Bell(world.log)
    await world.log.set_timer(timer("late", 60))
    await world.log.set_timer(timer("soon", 0.0, entity="2.3.1"))
    await world.log.set_timer(timer("moved", 0.0))
    async with in_background(bell.listen()):
        await until(lambda: len(bell.rang) == 2)
        assert sorted(bell.names()) == ["moved", "soon"]
        again = bell.rang[0][0].timer
        await world.log.set_timer(again)
        await until(lambda: len(bell.rang) == 3)
        assert bell.rang[2][0].timer == again


async def test_blobs_are_kept_by_their_digest(world: World) -> None:
    log = world.of("verifier")
    data = bytes(range(256)) * 2000
    sha256 = await log.put_blob(EVIDENCE, data)
    assert sha256 == hashlib.sha256(data).hexdigest() == await log.put_blob(EVIDENCE, data)
    assert await log.get_blob(EVIDENCE, sha256) == data
    empty = await log.put_blob(EVIDENCE, b"")
    assert await log.get_blob(EVIDENCE, empty) == b""
    with pytest.raises(KeyError):
        await log.get_blob(EVIDENCE, "00" * 32)


async def test_a_damaged_blob_is_not_given_out(world: World) -> None:
    log = world.of("verifier")
    sha256 = await log.put_blob(EVIDENCE, b"as it was")
    if isinstance(log, MemoryLog):
        log.blobs[EVIDENCE, sha256] = b"as it is!"
    else:
        blobs: Any = log
        meta = await blobs._blobs._meta(EVIDENCE, sha256)
        other = await blobs.put_blob(EVIDENCE, b"as it is!")
        foreign = await blobs._blobs._meta(EVIDENCE, other)
        blobs._blobs._meta = lambda bucket, name: _given(meta | {"nuid": foreign["nuid"]})
    with pytest.raises(ValueError, match="damaged"):
        await log.get_blob(EVIDENCE, sha256)


async def _given(value: Any) -> Any:
    return value


async def test_output_is_read_in_order(world: World) -> None:
    log, reader = world.of("executor"), cast(MemoryLog | JetStreamLog, world.of("projections"))
    for attempt, chunk in ((1, b"one\n"), (1, b"two\n"), (2, b"again\n")):
        await log.write_output("default", E1, "1.2", attempt, chunk)
    await log.write_output("default", E1, "1", 1, b"another task's\n")
    every = await reader.read_output("default", E1, "1.2", None)
    assert [(attempt, chunk) for _, attempt, chunk in every] == [(1, b"one\n"), (1, b"two\n"), (2, b"again\n")]
    assert [c for *_, c in await reader.read_output("default", E1, "1.2", 1, after=every[0][0])] == [b"two\n"]


# -- the loop on top of it ------------------------------------------------------------------------------------------


class Desk:
    """A reactor with its folds, on the planner's log."""

    def __init__(self, world: World, react: Callable[[Recorded], Awaitable[None]]) -> None:
        folds = Folds(world.log)
        self.context = Context(service="planner", actor="planner-1", log=world.log, folds=folds)

        async def handle(recorded: Recorded, delivery: Delivery) -> None:
            await react(recorded)

        self._work = (folds.follow(), Reactor(self.context, PLANNER, handle).run())

    def at_work(self) -> Any:
        return in_background(*self._work)


async def ask(world: World, number: int, request: str) -> None:
    await world.raw(f"evt.default.{execution(number)}.~in.CancelRequested", b'{"request": "%s"}' % request.encode())


async def test_h14_what_fails_for_ever_ends_as_a_dead_letter(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell, "PATIENCE", 3)
    tried: list[str] = []

    async def react(recorded: Recorded) -> None:
        tried.append(recorded.fact.request)
        if recorded.fact.request == "poison":
            raise ValueError("it cannot be done")

    await ask(world, 1, "poison")
    await ask(world, 2, "fine")
    desk = Desk(world, react)
    async with desk.at_work():
        await until(lambda: tried.count("poison") == 3)
        for _ in range(400):
            letters = await everything(world.log, "evt.*.*.-.DeadLettered")
            if letters and not await world.in_hand(PLANNER):
                break
            await asyncio.sleep(0.01)
        await ask(world, 1, "after")
        await until(lambda: "after" in tried)
    [letter] = letters
    assert letter.standing == "ok"
    assert isinstance(letter.fact, DeadLettered)
    assert (letter.fact.service, letter.fact.sequence, letter.fact.event) == ("planner", 1, "CancelRequested")
    assert letter.fact.reason == "ValueError: it cannot be done"
    assert letter.fact.deliveries == 3
    assert letter.execution == E1
    assert tried.count("poison") == 3
    assert tried.count("fine") == tried.count("after") == 1


async def test_h18_a_newer_event_is_left_to_a_newer_copy(world: World) -> None:
    reacted: list[Recorded] = []

    async def react(recorded: Recorded) -> None:
        reacted.append(recorded)
        fold = await desk.context.folds.at(recorded.tenant, recorded.execution, recorded.sequence)
        await desk.context.settle(fold, recorded.id, lambda _: [])

    verified = TaskVerified(attempt=1, lease="1e" * 16, tree=None, commit=None, head=None, results=())
    ours = draft(verified, "1")
    body, headers = encode(ours)
    await world.raw(ours.subject, body, headers | {VERSION: "99"})
    desk = Desk(world, react)
    async with desk.at_work():
        await ask(world, 2, "another execution")
        await until(lambda: len(reacted) == 1)
        await ask(world, 1, "the same execution")
        await until(lambda: len(reacted) == 2)
        for _ in range(400):
            if await world.in_hand(PLANNER) == 2:
                break
            await asyncio.sleep(0.01)
        assert await world.in_hand(PLANNER) == 2  # neither was acknowledged
        fold = await desk.context.folds.at("default", E1, 1)
        assert "newer than this code" in fold.newer
    assert [r.fact.request for r in reacted] == ["another execution", "the same execution"]
    [newer, *_] = await everything(world.log)
    assert (newer.standing, newer.version, newer.fact) == ("newer", 99, None)


async def test_h18_a_missing_version_means_the_first(world: World) -> None:
    ours = draft(TaskReady(attempt=1), "1")
    body, headers = encode(ours)
    del headers[VERSION]
    await world.raw(ours.subject, body, headers)
    [found] = await everything(world.log)
    assert (found.standing, found.version, found.fact) == ("ok", 1, TaskReady(attempt=1))


async def test_h18_an_unknown_event_of_the_engine_is_newer(monkeypatch: pytest.MonkeyPatch) -> None:
    log = MemoryLog()
    ours = draft(TaskReady(attempt=1), "1")
    entry = CATALOGUE["TaskReady"]
    await log.append(ours)
    monkeypatch.delitem(CATALOGUE, "TaskReady")
    await log.append(replace(ours, entity="2"))
    monkeypatch.setitem(CATALOGUE, "TaskReady", entry)
    assert [r.standing for r in await everything(log)] == ["ok", "newer"]
