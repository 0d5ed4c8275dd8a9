"""An engine in this process, somebody who submits to it, and a bare connection for the limits. Durable profile."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

from events.log.connection import LeanClient, connect
from nightshift.client import Client, uuid7
from nightshift.engine import Engine
from schemas.settings import Settings

WIDTH = 64
"""Tasks that run and results that are judged at a time: an empty task only waits for the disk."""
PATIENCE = 300.0
"""Seconds that a plan may take."""


class Bench:
    """One engine with everything that ``nightshift up`` runs."""

    def __init__(self, home: Path) -> None:
        settings = Settings(home=home, profile="durable", nats_url=None, slots=WIDTH, judges=WIDTH)
        self.engine = Engine(settings)
        self.client: Client
        self.raw: LeanClient
        self._numbers = 0

    async def __aenter__(self) -> Bench:
        await self.engine.start()
        self.client = await Client.open(self.engine.url("operator"))
        self.raw = await connect(self.engine.url("executor"), name="bench")
        await self.run(chain(10))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()
        await self.raw.close()
        await self.engine.stop(0)

    async def run(self, plan: dict[str, Any], *, execution: str | None = None, tenant: str = "default") -> float:
        """Seconds from the submission of a plan to its completion. Raises RuntimeError if it ends otherwise."""
        execution = execution or uuid7()
        ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def handler(subject: str, *_: object) -> None:
            name = subject.rsplit(".", 1)[1]
            if name in ("ExecutionCompleted", "ExecutionFailed", "PlanRejected") and not ended.done():
                ended.set_result(name)

        subscription = await self.client.connection.listen(f"tail.evt.{tenant}.{execution}.-.*", handler)
        await self.client.connection.flush()
        client = Client(self.client.connection, tenant)
        started = time.perf_counter()
        await client.submit({"plan.json": json.dumps(plan)}, root="plan.json", execution=execution)
        async with asyncio.timeout(PATIENCE):
            name = await ended
        took = time.perf_counter() - started
        await self.client.connection.unlisten(subscription)
        if name != "ExecutionCompleted":
            raise RuntimeError(f"{execution} ended with {name}")
        return took

    async def publishes(self, count: int, width: int) -> float:
        """Seconds for as many stored, acknowledged messages of 300 bytes; ``width`` under way at a time."""
        body = b"x" * 300
        room = asyncio.Semaphore(width)

        async def one(number: int) -> None:
            async with room:
                await self.raw.ask(f"log.bench.{self._numbers}.t{number}.1", body, {"Nats-Msg-Id": f"b{number}"})

        self._numbers += 1
        started = time.perf_counter()
        await asyncio.gather(*(one(self._numbers * 1_000_000 + n) for n in range(count)))
        return time.perf_counter() - started


def chain(count: int) -> dict[str, Any]:
    """Empty tasks, one after the other."""
    return layered(count, 1)


def wide(count: int) -> dict[str, Any]:
    """Empty tasks that need nothing."""
    return layered(count, count)


def layered(count: int, width: int) -> dict[str, Any]:
    """Empty tasks in layers; each needs the one above it."""
    tasks: list[dict[str, Any]] = [{"id": f"t{n}", "noop": True} for n in range(count)]
    for n in range(width, count):
        tasks[n]["needs"] = [f"t{n - width}"]
    return {"plan": "empty", "tasks": tasks}
