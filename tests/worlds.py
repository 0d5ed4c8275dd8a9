"""Two worlds with one log each, for tests that must hold in both: memory, and a real server with its credentials."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from nats.aio.client import Client

from events import CATALOGUE
from events.log import Consumer, Draft, EventLog, Recorded
from events.log.access import BOOTSTRAP, OPERATOR
from events.log.connection import LeanClient, connect
from events.log.jetstream import JetStreamLog
from events.log.memory import MemoryLog
from events.log.streams import DEFAULT_TENANT, EVENTS, consumer_config
from nightshift.server import EmbeddedServer
from tests.servers import connected, embedded

Kind = Literal["memory", "server"]
USERS = ("planner", "executor", "verifier", "notifier", "learner", "projections", OPERATOR)


def draft(fact: Any, entity: str, **more: Any) -> Draft:
    """A fact of the numbered execution (``number``), about to be appended."""
    fields: dict[str, Any] = {
        "tenant": DEFAULT_TENANT,
        "execution": execution(more.pop("number", 1)),
        "entity": entity,
        "cause": "11" * 16,
        "correlation": "conversation-111",
        "actor": "controls",
        "attempt": getattr(fact, "attempt", 0),
    } | more
    return Draft(fact=fact, **fields)


def execution(number: int) -> str:
    """The id of the numbered execution."""
    return f"0192f0c1-0000-7000-8000-{number:012d}"


class MemoryWorld:
    """Everybody uses the one log."""

    def __init__(self) -> None:
        self.log = MemoryLog()

    def of(self, user: str) -> EventLog:
        return self.log

    async def raw(self, subject: str, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        await self.log.publish_raw(subject, body, headers)

    async def quicken(self, consumer: Consumer, ack_wait: float) -> Consumer:
        return replace(consumer, ack_wait=ack_wait)

    async def in_hand(self, consumer: Consumer) -> int:
        return len(self.log._durables[consumer.name].queue)


class ServerWorld:
    """Everybody has a connection of its own, with its own rights."""

    def __init__(self, server: EmbeddedServer, admin: Client, clients: dict[str, LeanClient]) -> None:
        self.server = server
        self.admin = admin
        self.clients = clients
        self.logs = {user: JetStreamLog(client) for user, client in clients.items()}
        self.log = self.logs["planner"]

    def of(self, user: str) -> EventLog:
        """The log over the connection of a user."""
        return self.logs[user]

    async def raw(self, subject: str, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Store any bytes, in the name of whoever may publish there."""
        entry = CATALOGUE[subject.rsplit(".", 1)[1]]
        user = OPERATOR if entry.on == "inbox" else entry.by[0]
        _, data = await self.clients[user].ask(subject, body, dict(headers or {}) or None)
        assert "seq" in json.loads(data), data

    async def quicken(self, consumer: Consumer, ack_wait: float) -> Consumer:
        """Shorten the time that a worker may keep silent."""
        quick = replace(consumer, ack_wait=ack_wait)
        request = json.dumps({"stream_name": EVENTS, "config": consumer_config(quick)}).encode()
        answer = await self.admin.request(f"$JS.API.CONSUMER.CREATE.{EVENTS}.{consumer.name}", request)
        assert "error" not in json.loads(answer.data)
        return quick

    async def in_hand(self, consumer: Consumer) -> int:
        """How many messages of a durable are handed out and not acknowledged."""
        answer = await self.admin.request(f"$JS.API.CONSUMER.INFO.{EVENTS}.{consumer.name}", b"")
        return int(json.loads(answer.data)["num_ack_pending"])


World = MemoryWorld | ServerWorld


@contextlib.asynccontextmanager
async def world_of(kind: Kind, folder: Path) -> AsyncIterator[World]:
    """One of the two worlds."""
    if kind == "memory":
        yield MemoryWorld()
        return
    async with server_world(folder) as world:
        yield world


@contextlib.asynccontextmanager
async def server_world(folder: Path) -> AsyncIterator[ServerWorld]:
    """The one with a server."""
    async with embedded(folder) as server, connected(server.credentials(BOOTSTRAP)) as admin:
        clients = {user: await connect(server.credentials(user), name=f"test-{user}") for user in USERS}
        try:
            yield ServerWorld(server, admin, clients)
        finally:
            for client in clients.values():
                await client.close()


async def everything(log: EventLog, filter: str = "evt.>") -> list[Recorded]:
    """All that is stored."""
    return [recorded async for recorded in log.read(filter)]


async def until(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait until something holds. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110  # anything may hold
            await asyncio.sleep(0.005)


async def follow(log: EventLog, seen: list[Recorded], *, after: int | None = 0) -> None:
    """Put down everything that the tail shows."""
    async for recorded in log.tail(after=after):
        seen.append(recorded)  # noqa: PERF401  # it never ends


@contextlib.asynccontextmanager
async def in_background(*work: Any) -> AsyncIterator[list[asyncio.Task[Any]]]:
    """Run coroutines beside the test, and see that none of them breaks."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result
