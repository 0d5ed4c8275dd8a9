"""Ten thousand guarded appends, side by side over several entities, while the server is killed in the middle."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random

from events import TaskHeld
from events.log import Appended, Conflict, Draft, LogUnavailable
from events.log.connection import connect
from events.log.jetstream import JetStreamLog
from nightshift.client import uuid7
from tests.chaos.world import World

ENTITIES = 32


@dataclass(frozen=True, slots=True)
class Stream:
    """What came of a stream of appends."""

    acknowledged: int
    lost: int
    twice: int
    stored: int
    kills: int
    seconds: float
    longest: float
    """Seconds that the slowest append took: the outage, as a writer sees it."""


async def stream(home: Path, *, count: int = 10_000, kills: int = 2, seed: int = 1) -> Stream:
    """Append, kill -9 the server at random moments, and look whether everything acknowledged stands in the log."""
    rng = Random(seed)
    world = World(home, services=(), grace=1.0, slots=1)
    home.mkdir(parents=True)
    await world.prepare()
    await world.start_server()
    try:
        await world.serving()
        client = await connect(world.url("planner"), name="chaos-appends")
        log = JetStreamLog(client)
        execution = uuid7()
        acknowledged: list[Appended] = []
        slowest = 0.0
        each = count // ENTITIES

        async def write(entity: int, amount: int) -> None:
            nonlocal slowest
            expected = 0
            for number in range(amount):
                draft = Draft(
                    tenant="default", execution=execution, entity=f"t{entity}", fact=TaskHeld(reason=f"{number}"),
                    cause="c" * 32, correlation=execution, actor="chaos", expected=expected,
                )  # fmt: skip
                began = time.monotonic()
                while True:
                    try:
                        [appended] = await log.append(draft)
                        break
                    except LogUnavailable:
                        continue
                    except Conflict as conflict:
                        raise AssertionError(f"nobody else writes to t{entity}: {conflict}") from conflict
                slowest = max(slowest, time.monotonic() - began)
                acknowledged.append(appended)
                expected = appended.sequence

        async def kill() -> None:
            for number in range(1, kills + 1):
                while len(acknowledged) < count * number / (kills + 1):  # noqa: ASYNC110  # writers fill it
                    await asyncio.sleep(0.001)
                await asyncio.sleep(rng.uniform(0, 0.02))
                await world.kill_server()
                await asyncio.sleep(rng.uniform(0, 0.5))
                await world.start_server()

        began = time.monotonic()
        amounts = [each + (1 if n < count - each * ENTITIES else 0) for n in range(ENTITIES)]
        async with asyncio.TaskGroup() as group:
            group.create_task(kill())
            for entity, amount in enumerate(amounts):
                group.create_task(write(entity, amount))
        seconds = time.monotonic() - began
        await client.close()
        stored = await world.stored()
        there = {r.sequence: r.id for r in stored}
        lost = sum(there.get(a.sequence) != a.id for a in acknowledged)
        twice = len(stored) - len({r.id for r in stored})
        return Stream(len(acknowledged), lost, twice, len(stored), kills, seconds, slowest)
    finally:
        await world.close()
