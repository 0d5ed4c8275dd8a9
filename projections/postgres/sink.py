"""Follow the log and keep the founding tables up to date: exactly once, gap-free, and in nobody's way.

A database that is away is tried again for ever, more and more seldom; the log waits, and the engine does not notice.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from events.log import EventLog, LogUnavailable, Recorded
from events.log.connection import LeanClient, connect
from events.log.jetstream import JetStreamLog
from projections.postgres.store import Error, Overtaken, PostgresStore, SinkError

BATCH = 1_000
"""Most events of one transaction."""
GATHER = 0.1
"""Seconds to gather what else arrives after the first event of a batch."""
REFRESH = 5.0
"""Seconds between refreshes of the trend view, while scores change."""
RETRY = (0.5, 1.0, 2.0, 5.0, 15.0, 30.0)
"""Seconds until the next try; the last one again and again."""

log = logging.getLogger(__name__)


class PostgresSink:
    """One per database; a second one waits behind the first without doing harm."""

    def __init__(self, url: str, dsn: str, *, schema: str = "public", conversations: bool = True) -> None:
        self._url = url
        self._dsn = dsn
        self._schema = schema
        self._conversations = conversations
        self._client: LeanClient | None = None
        self._following: asyncio.Task[None] | None = None
        self.trouble = "it has not begun yet"
        """Why the tables do not follow just now; empty if they do."""
        self.position = 0

    async def start(self) -> None:
        """Follow from now on, in the background. Raises LogUnavailable."""
        self._client = await connect(self._url, name="nightshift-postgres")
        self._following = asyncio.create_task(self.run(JetStreamLog(self._client)), name="postgres")

    async def failed(self) -> None:
        """Returns never; raises what made it end."""
        assert self._following is not None
        await asyncio.wait({self._following})
        self._following.result()
        raise RuntimeError("the PostgreSQL sink ended by itself")

    async def health(self) -> dict[str, Any]:
        """How it is. Raises RuntimeError if the tables do not follow, LogUnavailable if the log does not answer."""
        if self._following is None or self._following.done() or self.trouble or self._client is None:
            raise RuntimeError(f"the PostgreSQL tables do not follow: {self.trouble or 'the sink has ended'}")
        last = await JetStreamLog(self._client).last_sequence()
        return {"services": ["postgres"], "applied": self.position, "last": last}

    async def stop(self) -> None:
        """Finish the batch at hand, and hang up."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
        if self._client is not None:
            await self._client.close()

    async def run(self, source: EventLog) -> None:
        """Follow for ever; whatever the database or the log says against it is tried again."""
        tries = 0
        while True:
            before = self.position
            try:
                await self._follow(source)
            except Overtaken as error:
                self.trouble = str(error)
                log.info("another sink is at work: %s", error)
            except (Error, SinkError, LogUnavailable, TimeoutError) as error:
                self.trouble = str(error).strip() or type(error).__name__
                log.warning("the PostgreSQL tables do not follow and are tried again: %s", self.trouble)
            except Exception as error:
                self.trouble = f"{type(error).__name__}: {error}"
                log.exception("the PostgreSQL tables do not follow and are tried again")
            tries = 0 if self.position != before else tries + 1
            await asyncio.sleep(RETRY[min(tries, len(RETRY) - 1)])

    async def _follow(self, source: EventLog) -> None:
        store = await PostgresStore.open(self._dsn, schema=self._schema, conversations=self._conversations)
        try:
            created = await source.created()
            await self._verify(source, store, created)
            self.position, self.trouble = store.position.sequence, ""
            await self._apply(source, store, created)
        finally:
            await store.close()

    async def _verify(self, source: EventLog, store: PostgresStore, created: str) -> None:
        """Is this the log that was applied before? (hazard H20)"""
        held = store.position
        if not held.sequence:
            return
        async for recorded in source.read("evt.>", after=held.sequence - 1):
            if recorded.sequence == held.sequence and (recorded.id, created) == (held.event_id, held.stream_created):
                return
            break
        await store.reset(f"the log is not the one that was applied up to {held.sequence}")

    async def _apply(self, source: EventLog, store: PostgresStore, created: str) -> None:
        arrived: asyncio.Queue[Recorded] = asyncio.Queue(maxsize=2 * BATCH)

        async def listen() -> None:
            async for recorded in source.tail(after=store.position.sequence):
                await arrived.put(recorded)

        listening = asyncio.create_task(listen(), name="postgres-tail")
        stale, refreshed = True, 0.0
        try:
            while True:
                batch = await _gather(arrived, listening, REFRESH if stale else None)
                if batch:
                    created = created or await source.created()
                    stale = await _whole(store.apply(created, batch)) > 0 or stale
                    self.position = store.position.sequence
                if stale and time.monotonic() - refreshed > REFRESH:
                    await store.refresh()
                    stale, refreshed = False, time.monotonic()
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)


async def _gather(
    arrived: asyncio.Queue[Recorded], listening: asyncio.Task[None], wait: float | None
) -> list[Recorded]:
    """The next event and what comes soon after it; nothing if none comes within ``wait`` seconds."""
    first = asyncio.ensure_future(arrived.get())
    await asyncio.wait({first, listening}, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
    if not first.done():
        first.cancel()
        if listening.done():
            listening.result()
            raise RuntimeError("the log stopped telling what happens")
        return []
    batch = [first.result()]
    end = time.monotonic() + GATHER
    while len(batch) < BATCH:
        if not arrived.empty():
            batch.append(arrived.get_nowait())
        elif time.monotonic() < end and not listening.done():
            await asyncio.sleep(GATHER / 10)
        else:
            break
    return batch


async def _whole(work: Any) -> int:
    """Run to its end; a cancellation is passed on afterwards, so that no transaction is left to itself."""
    running = asyncio.ensure_future(work)
    try:
        return int(await asyncio.shield(running))
    except asyncio.CancelledError:
        await asyncio.wait({running})
        raise
