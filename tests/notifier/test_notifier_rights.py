"""The notifier's own entity, timers and rights: nobody else's, and it has nobody else's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from events import CATALOGUE, ExecutionFailed, NoticeFailed, ProgressMarked
from events.log import Conflict, LogUnavailable, Timer
from events.log.access import SERVICES, service_permissions
from events.log.jetstream import JetStreamLog
from schemas.names import EXECUTION, NOTICES
from tests.test_access import may
from tests.worlds import ServerWorld, World, draft, everything, execution, in_background, until, world_of

FACTS = [name for name, entry in CATALOGUE.items() if entry.on == "notices"]
FAILED = NoticeFailed(channel="phone", about=(), reason="x", tries=1, given_up=True)


@pytest.fixture(params=["memory", "server"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    """Both twins of the log."""
    async with world_of(request.param, tmp_path) as found:
        yield found


def timer(entity: str, kind: str, number: int = 1) -> Timer:
    """One that has fired already."""
    return Timer(
        tenant="default", execution=execution(number), entity=entity, kind=kind, at_ns=time.time_ns(), event="e1"
    )


async def test_h12_timers_of_notices_have_a_line_of_their_own(world: World) -> None:
    rang: dict[str, list[Timer]] = {"due": [], "notices-due": []}

    async def listen(user: str, durable: str) -> None:
        async for fired in world.of(user).due(durable):
            rang[durable].append(fired.timer)
            await fired.ack()

    async with in_background(listen("planner", "due"), listen("notifier", "notices-due")):
        mine, other = timer(NOTICES, "progress"), timer("1", "retry")
        await world.of("notifier").set_timer(mine)
        await world.of("planner").set_timer(other)
        await until(lambda: all(rang.values()))
        await asyncio.sleep(0.05)
    assert rang == {"due": [other], "notices-due": [mine]}


async def test_h2_notices_have_one_guard_of_their_own(world: World) -> None:
    log = world.of("notifier")
    first = (await log.append(draft(FAILED, NOTICES)))[0]
    with pytest.raises(Conflict):
        await log.append(draft(ProgressMarked(number=1, done=0, total=1), NOTICES, cause="22" * 16))
    await log.append(
        draft(ProgressMarked(number=1, done=0, total=1), NOTICES, cause="22" * 16, expected=first.sequence)
    )
    await world.of("planner").append(draft(ExecutionFailed(reason="x", verified=0, failed=()), EXECUTION))
    assert [r.entity for r in await everything(log)] == [NOTICES, NOTICES, EXECUTION]


def test_h1_only_the_notifier_says_what_was_told() -> None:
    for name in FACTS:
        subject = f"evt.a.{execution(1)}.{NOTICES}.{name}"
        assert [s for s in SERVICES if may(service_permissions(s, ("a",)), subject)] == ["notifier"]
        for entity in (EXECUTION, "~branch", "~in", "t1"):
            assert not may(service_permissions("notifier", ("a",)), f"evt.a.{execution(1)}.{entity}.{name}")


def test_h1_the_notifier_says_nothing_else() -> None:
    rights = service_permissions("notifier", ("a",))
    for name, entry in CATALOGUE.items():
        for entity in (EXECUTION, "~branch", "~in", NOTICES, "t1"):
            allowed = (entry.on == "notices" and entity == NOTICES) or (name == "DeadLettered" and entity == EXECUTION)
            assert may(rights, f"evt.a.{execution(1)}.{entity}.{name}") == allowed, (entity, name)
    assert not may(rights, "timer.set.a.e.t1.retry")
    assert not may(rights, "$O.evidence.C.x")
    assert not may(service_permissions("planner", ("a",)), "timer.notices.set.a.e.~notices.progress")


async def test_h1_the_server_holds_it_to_that(tmp_path: Path) -> None:
    async with world_of("server", tmp_path) as world:
        assert isinstance(world, ServerWorld)
        quick = JetStreamLog(world.clients["notifier"])
        with pytest.raises((TimeoutError, LogUnavailable)):
            await quick.set_timer(timer("1", "retry"))
        with pytest.raises((TimeoutError, LogUnavailable)):
            await JetStreamLog(world.clients["planner"]).set_timer(timer(NOTICES, "progress"))
