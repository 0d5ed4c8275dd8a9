"""The contract of the log, on memory and on a real server: appending, reading, following."""

from __future__ import annotations

import asyncio
import json
import unicodedata
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from events import BranchAdvanced, TaskHeld, TaskReady, TaskVerified
from events.log import Appended, Conflict, Draft, IdCollision, Recorded, guard
from events.log.bulk import Plain, fetch
from events.log.connection import nanoseconds
from events.log.jetstream import JetStreamLog
from events.log.wire import ID
from projections.rows import row
from schemas.names import BRANCH, MAX_TOKEN, encode
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

E1 = execution(1)
NAMES = ["2.3.1.4", "Größe", "two words", "*", ">", "a>b.*", "日本語", "~other", "--", "%2E", "x" * MAX_TOKEN]


@pytest.fixture(params=["memory", "server"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    kind: Kind = request.param
    async with world_of(kind, tmp_path) as found:
        yield found


@pytest.fixture
async def real(tmp_path: Path) -> AsyncIterator[ServerWorld]:
    async with server_world(tmp_path) as found:
        yield found


def landing(expected: int = 0, branch: int = 0, task: str = "1", why: str = "") -> tuple[Draft, Draft]:
    """A verdict and what it does to the branch."""
    verified = TaskVerified(attempt=1, lease="1e" * 16, tree=None, commit=None, head=None, results=())
    advanced = BranchAdvanced(task=task, base="ba5e" * 10, commit="c0d1" * 10, tree="7ee1" * 10, verified="1d" * 16)
    cause = f"executed-{task}{why}"
    return draft(verified, task, expected=expected, cause=cause), draft(advanced, BRANCH, expected=branch, cause=cause)


async def test_an_appended_fact_is_read_as_it_was(world: World) -> None:
    assert (await world.log.created(), await world.log.last_sequence()) == ("", 0)
    written = draft(TaskReady(attempt=2), "1.2", trace="00-" + "ab" * 16 + "-" + "cd" * 8 + "-01")
    [appended] = await world.log.append(written)
    [found] = await everything(world.log)
    assert appended == Appended(found.sequence, found.id) == Appended(1, written.id)
    assert found.standing == "ok"
    assert (found.fact, found.name, found.entity, found.attempt) == (TaskReady(attempt=2), "TaskReady", "1.2", 2)
    assert (found.tenant, found.execution, found.subject) == (written.tenant, written.execution, written.subject)
    assert (found.cause, found.correlation, found.actor) == (written.cause, written.correlation, written.actor)
    assert (found.version, found.trace, found.body) == (1, written.trace, b'{"attempt":2}')
    assert found.at_ns > 1_600_000_000_000_000_000
    assert await world.log.last_sequence() == 1
    assert nanoseconds(await world.log.created()) == found.at_ns


async def test_a_guard_lets_one_of_two_through(world: World) -> None:
    [first] = await world.log.append(draft(TaskReady(attempt=1), "1"))
    with pytest.raises(Conflict) as lost:
        await world.log.append(draft(TaskHeld(reason="late"), "1"))
    assert lost.value.sequence == first.sequence
    [second] = await world.log.append(draft(TaskHeld(reason="now"), "1", expected=first.sequence))
    assert [r.name for r in await everything(world.log)] == ["TaskReady", "TaskHeld"]
    assert second.sequence == first.sequence + 1


async def test_guards_of_entities_are_apart(world: World) -> None:
    for name in ("2", "2.3", "2.3.1"):
        await world.log.append(draft(TaskReady(attempt=1), name))
    await world.log.append(draft(TaskReady(attempt=1), "2", number=2))
    assert await world.log.last_sequence() == 4
    assert [r.entity for r in await everything(world.log, guard("default", E1, "2"))] == ["2"]


async def test_h03_the_same_bytes_again_are_the_same_event(world: World) -> None:
    ready = draft(TaskReady(attempt=1), "1")
    first = await world.log.append(ready)
    assert await world.log.append(ready) == first
    await world.log.append(draft(TaskHeld(reason="meanwhile"), "1", expected=1))
    assert await world.log.append(ready) == first
    assert await world.log.last_sequence() == 2


async def test_h03_a_lost_answer_is_no_lost_race(real: ServerWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = lose_answers(real.log, monkeypatch)
    assert [a.sequence for a in await real.log.append(draft(TaskReady(attempt=1), "1"))] == [1]
    verifier = real.logs["verifier"]
    lost += lose_answers(verifier, monkeypatch)
    assert [a.sequence for a in await verifier.append(*landing(expected=1))] == [2, 3]
    assert len(lost) == 1
    assert await real.log.last_sequence() == 3


def lose_answers(log: JetStreamLog, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The server stores what comes next and its answer is lost; of a batch, the answer to its end."""
    ask, lost = log.client.ask, list[str]()

    async def deaf(subject: str, body: bytes, headers: Any = None, *, timeout: float = 5.0) -> tuple[bytes, bytes]:
        answer = await ask(subject, body, headers, timeout=timeout)
        if subject.startswith("evt.") and b'"seq"' in answer[1] and not lost:
            lost.append(subject)
            raise TimeoutError
        return answer

    monkeypatch.setattr(log.client, "ask", deaf)
    return lost


async def test_h03_an_id_that_stands_elsewhere_is_an_error(world: World) -> None:
    ready = draft(TaskReady(attempt=1), "1")
    await world.raw(f"evt.default.{E1}.~in.CancelRequested", b'{"request": "r"}', {ID: ready.id})
    with pytest.raises(IdCollision):
        await world.log.append(ready)
    assert await world.log.last_sequence() == 1


async def test_h04_two_events_of_one_cause_are_both_stored(world: World) -> None:
    drafts = [draft(TaskReady(attempt=1), name) for name in ("B", "C")]
    assert drafts[0].cause == drafts[1].cause
    await asyncio.gather(*(world.log.append(each) for each in drafts))
    assert sorted(r.entity for r in await everything(world.log)) == ["B", "C"]


async def test_a_batch_is_stored_at_once_or_not_at_all(world: World) -> None:
    log = world.of("verifier")
    stored = await log.append(*landing())
    assert [a.sequence for a in stored] == [1, 2]
    with pytest.raises(Conflict) as overtaken:
        await log.append(*landing(task="2"))  # its branch has moved
    assert overtaken.value.sequence == 2, "whoever waits for it has seen what came in between"
    with pytest.raises(Conflict) as overtaken:
        await log.append(*landing(branch=2, why="-again"))  # its task has moved
    assert overtaken.value.sequence == 1
    assert await log.last_sequence() == 2
    assert await log.append(*landing()) == stored
    assert [a.sequence for a in await log.append(*landing(task="2", branch=2))] == [3, 4]


async def test_reading_goes_on_behind_a_page(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("events.log.jetstream.PAGE", 50)
    drafts = [draft(TaskReady(attempt=1), str(n), number=1 + n % 2) for n in range(240)]
    await asyncio.gather(*(world.log.append(each) for each in drafts))
    mine = await everything(world.log, f"evt.default.{E1}.>")
    assert len(mine) == 120
    assert [r.sequence for r in mine] == sorted(r.sequence for r in mine)
    assert {r.execution for r in mine} == {E1}
    behind = [r async for r in world.log.read("evt.*.*.*.TaskReady", after=200)]
    assert [r.sequence for r in behind] == list(range(201, 241))
    assert not await everything(world.log, "evt.*.*.*.TaskHeld")


async def test_the_pages_of_a_server_hold_what_reading_gives(
    real: ServerWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("events.log.bulk.PAGE", 50)
    assert [page async for page in real.log.pages("evt.>")] == []
    await real.of("verifier").append(*landing())
    await asyncio.gather(*(real.log.append(draft(TaskReady(attempt=1), str(n), number=2)) for n in range(115)))
    await real.raw(f"evt.default.{E1}.1.TaskHeld", b"garbage")
    read = await everything(real.log, "evt.>")
    found = [page async for page in real.log.pages("evt.>")]
    assert [len(page) for page in found] == [50, 50, 18]
    assert [row(each) for page in found for each in page] == [row(each) for each in read]
    assert [each.sequence for page in found for each in page if not isinstance(each, Plain)] == [118]
    assert [each.sequence for page in [p async for p in real.log.pages("evt.>", after=110)] for each in page] == [
        *range(111, 119)
    ]


async def test_a_server_that_falls_silent_ends_a_page(real: ServerWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("events.log.bulk.SILENCE", 0.2)
    with pytest.raises(TimeoutError, match="silent"):  # there is nothing of that name that a planner may ask
        await fetch(real.clients["planner"], "NOTHING", {"seq": 1})


async def test_a_tail_has_no_gaps_in_a_burst(world: World) -> None:
    await world.log.append(draft(TaskReady(attempt=1), "before"))
    seen: list[Recorded] = []
    count = 5000

    subject = f"evt.default.{E1}.~in.CancelRequested"
    async with in_background(follow(world.log, seen)):
        for n in range(count):
            body = b'{"request":"%d"}' % n
            if isinstance(world, ServerWorld):
                await world.clients["operator"].publish(subject, body)
            else:
                await world.raw(subject, body)
        await until(lambda: len(seen) > count)
    assert [r.sequence for r in seen] == list(range(1, count + 2))
    assert [r.fact.request for r in seen[1:]] == [str(n) for n in range(count)]


async def test_a_tail_begins_now_if_nothing_else_is_said(world: World) -> None:
    await world.log.append(draft(TaskReady(attempt=1), "before"))
    seen: list[Recorded] = []

    async with in_background(follow(world.log, seen, after=None)):
        number = 0
        while not seen:
            number += 1
            await world.log.append(draft(TaskReady(attempt=1), f"now-{number}"))
            await asyncio.sleep(0.01)
    assert "before" not in {r.entity for r in seen}


async def test_a_tail_outlives_the_server(real: ServerWorld) -> None:
    seen: list[Recorded] = []

    async with in_background(follow(real.log, seen)):
        for number in range(3):
            for n in range(20):
                await real.log.append(draft(TaskReady(attempt=1), f"{number}-{n}"))
            if number < 2:
                await real.server.stop()
                await real.server.start()
        await until(lambda: len(seen) >= 60)
    assert [r.sequence for r in seen] == list(range(1, 61))


async def test_those_who_share_a_feed_miss_nothing_and_hear_the_log_once(
    real: ServerWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = Counter[str]()
    for user, client in real.clients.items():

        async def listen(subject: str, handler: Any, *, user: str = user, inner: Any = client.listen) -> Any:
            heard[user] += subject.startswith("tail.")
            return await inner(subject, handler)

        monkeypatch.setattr(client, "listen", listen)
    first = JetStreamLog(real.clients["planner"])
    second = JetStreamLog(real.clients["executor"], first.feed)
    one: list[Recorded] = []
    other: list[Recorded] = []
    later: list[Recorded] = []
    await real.log.append(draft(TaskReady(attempt=1), "before"))
    async with in_background(follow(second, other)):
        async with in_background(follow(first, one)):
            for n in range(20):
                await real.log.append(draft(TaskReady(attempt=1), str(n)))
            await until(lambda: len(one) == len(other) == 21)
        async with in_background(follow(first, later, after=20)):
            await real.server.stop()
            await real.server.start()
            await real.log.append(draft(TaskReady(attempt=1), "after"))
            await until(lambda: (len(other), len(later)) == (22, 2))
    assert [r.sequence for r in one] == list(range(1, 22))
    assert [r.sequence for r in other] == list(range(1, 23))
    assert +heard == {"planner": 1}


async def test_h09_a_tail_waits_for_what_a_lagging_replica_does_not_show_yet(
    real: ServerWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = real.log
    listen, read = log.client.listen, log.read
    late = 3

    async def lossy(subject: str, handler: Any) -> Any:
        def some(subject: str, reply: str, headers: bytes, body: bytes) -> None:
            if b"Nats-Sequence: 2\r\n" not in headers:
                handler(subject, reply, headers, body)

        return await listen(subject, some if subject.startswith("tail.") else handler)

    async def lagging(filter: str, *, after: int = 0) -> AsyncIterator[Recorded]:
        nonlocal late
        if after == 1 and late:
            late -= 1
            return
        async for recorded in read(filter, after=after):
            yield recorded

    monkeypatch.setattr(log.client, "listen", lossy)
    monkeypatch.setattr(log, "read", lagging)
    seen: list[Recorded] = []

    async with in_background(follow(log, seen)):
        for name in ("1", "2", "3"):
            await real.logs["planner"].append(draft(TaskReady(attempt=1), name))
            await asyncio.sleep(0.05)
        await until(lambda: len(seen) >= 3)
    assert [r.sequence for r in seen] == [1, 2, 3]
    assert late == 0


@pytest.mark.parametrize("name", NAMES)
async def test_h13_any_name_comes_back_as_it_was(world: World, name: str) -> None:
    [ready] = await world.log.append(draft(TaskReady(attempt=1), name))
    await world.log.append(draft(TaskHeld(reason="held"), name, expected=ready.sequence))
    await world.log.append(draft(TaskReady(attempt=1), "other"))
    found = await everything(world.log, guard("default", E1, name))
    assert [(r.entity, r.standing, r.name) for r in found] == [(name, "ok", "TaskReady"), (name, "ok", "TaskHeld")]
    assert {len(r.subject.split(".")) for r in found} == {5}


async def test_h13_one_name_in_two_spellings_is_one_entity(world: World) -> None:
    composed = unicodedata.normalize("NFC", "Größe")
    spread = unicodedata.normalize("NFD", "Größe")
    assert composed != spread
    await world.log.append(draft(TaskReady(attempt=1), composed))
    with pytest.raises(Conflict):
        await world.log.append(draft(TaskHeld(reason="the same"), spread))
    with pytest.raises(ValueError, match="at most 120"):
        await world.log.append(draft(TaskReady(attempt=1), "ö" * 21))


@pytest.mark.parametrize(
    "token",
    ["a%2e", "%41", "%", "-%2D", "~else", "%C3", encode("e\u0301").replace("%C3%A9", "e%CC%81"), "x" * 121, "*", ">"],
)
async def test_h13_bad_tokens_of_a_raw_client_are_set_aside(world: World, token: str) -> None:
    await world.raw(f"evt.default.{E1}.{token}.TaskReady", b'{"attempt":1}', {"Nightshift-Actor": "x"})
    [found] = await everything(world.log)
    assert found.standing == "quarantined"
    assert found.reason
    assert found.fact is None
    assert json.loads(found.body) == {"attempt": 1}


@pytest.mark.parametrize(("tenant", "id"), [("default", "*"), ("default", E1.upper()), (">", E1), ("De", E1)])
async def test_h13_bad_executions_and_tenants_of_a_raw_client_are_set_aside(world: World, tenant: str, id: str) -> None:
    await world.raw(f"evt.{tenant}.{id}.1.TaskReady", b'{"attempt":1}')
    [found] = await everything(world.log)
    assert (found.standing, found.tenant, found.execution) == ("quarantined", tenant, id)
