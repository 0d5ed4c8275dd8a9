"""A long log of real executions: one is run, and then told again under as many other ids as are wanted.

Every event has the id and the headers that its new place asks for, so it is decoded and folded like any other.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from bench.engine import Bench, chain
from events.log import Draft, Recorded, of_execution
from events.log.connection import LeanClient, connect
from events.log.jetstream import JetStreamLog
from events.log.streams import bootstrap
from events.log.wire import encode
from nightshift.client import uuid7
from nightshift.server_process import end, free_port, spawn
from schemas.names import INBOX

WINDOW = 500
"""Publishes under way at a time."""


@asynccontextmanager
async def open_server(folder: Path) -> AsyncIterator[tuple[str, LeanClient]]:
    """A server of the log without accounts, so that one connection may write every event; its URL and that connection.

    It does not wait for the disk: the log is written in order to be read.
    """
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "nats.conf"
    config.write_text(
        f'host: 127.0.0.1\nport: {port}\nmax_payload: 8MB\njetstream {{ store_dir: "{folder / "store"}" }}\n'
    )
    process = await spawn(config, folder / "server.log")
    try:
        url = f"nats://127.0.0.1:{port}"
        client = await connect(url, name="bench", wait=20)
        try:
            await bootstrap(client, max_bytes=8 * 1024**3)
            yield url, client
        finally:
            await client.close()
    finally:
        await end(process)


async def example(bench: Bench, tasks: int) -> list[Recorded]:
    """The events of one execution that really ran."""
    execution = uuid7()
    await bench.run(chain(tasks), execution=execution)
    client = await connect(bench.engine.url("planner"), name="bench-example")
    try:
        return [r async for r in JetStreamLog(client).read(of_execution("default", execution))]
    finally:
        await client.close()


def told_again(events: Sequence[Recorded], execution: str) -> Iterator[tuple[str, bytes, dict[str, str]]]:
    """The same story of another execution: subject, body and headers of each event."""
    known = {events[0].execution: execution}
    for ordinal, event in enumerate(events):
        body = msgspec.json.encode(event.fact)
        for old, new in known.items():
            body = body.replace(old.encode(), new.encode())
        if event.entity == INBOX:
            yield event.subject.replace(event.execution, execution), body, {"Nats-Msg-Id": execution}
            known[event.id] = execution
            continue
        draft = Draft(
            tenant=event.tenant, execution=execution, entity=event.entity, fact=event.fact,
            cause=known.get(event.cause, event.cause), correlation=execution, actor=event.actor, expected=ordinal,
            attempt=event.attempt, trace=event.trace,
        )  # fmt: skip
        known[event.id] = draft.id
        yield draft.subject, body, encode(draft)[1]


async def write(client: LeanClient, events: Sequence[Recorded], count: int) -> int:
    """Tell an execution again until at least ``count`` events are stored; gives how many executions that takes."""
    inbox = client.new_inbox()
    room = asyncio.Semaphore(WINDOW)
    refused: list[bytes] = []

    def stored(subject: str, reply: str, headers: bytes, body: bytes) -> None:
        if b'"error"' in body:
            refused.append(body)
        room.release()

    subscription = await client.listen(inbox, stored)
    executions = -(-count // len(events))
    for _ in itertools.repeat(None, executions):
        for subject, body, headers in told_again(events, uuid7()):
            async with asyncio.timeout(30):
                await room.acquire()
            await client.publish(subject, body, reply=inbox, headers=headers)
    for _ in range(WINDOW):
        async with asyncio.timeout(30):
            await room.acquire()
    await client.unlisten(subscription)
    if refused:
        raise RuntimeError(f"the log refused {len(refused)} events: {refused[0].decode()}")
    return executions
