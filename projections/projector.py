"""Follow the log: batches from the stored position on are applied in a thread, one at a time, and the loop goes on.

A log that cannot be reached is tried again. Whatever else goes wrong ends ``run`` with the exception, and everybody
who waits for a sequence gets it too.
"""

from __future__ import annotations

import asyncio
import datetime
import itertools
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

from events.log import EventLog, LogUnavailable, Recorded
from events.log.bulk import Plain
from projections.database import MEMORY
from projections.replay import Until, compare
from projections.rows import Row, row
from projections.store import Store

EVERYTHING = "evt.>"
CATCH_UP = 50_000
"""Events per batch of the past: to plan its SQL costs as much for one event as for all, and so does some of writing."""
FOLLOW = 10_000
"""Most events per batch while following."""
GATHER = 0.02
"""Seconds to gather what else arrives after the first event of a batch."""
REST = 4.0
"""While nobody waits for an answer, a pause is so many times as long as the last batch took: whatever its size, a batch
costs the same, and the services need the processor."""
LONGEST_REST = 2.0
"""Seconds: on a machine that is busy with other things a batch takes long, and would be rested for as long."""
RETRY = 0.5
"""Seconds until a log that could not be reached is tried again."""

logger = logging.getLogger(__name__)
T = TypeVar("T")


class Projector:
    """Keeps one store up to date with one log."""

    def __init__(self, log: EventLog, store: Store) -> None:
        self._log = log
        self._store = store
        self._writing = asyncio.Lock()
        self._waiting: set[tuple[int, asyncio.Future[None]]] = set()
        self._failure: BaseException | None = None
        self._verified = False
        """Whether what is stored is known to come from this log."""
        self.caught_up = False
        """Whether everything that the log held at the start, or since it was made anew, has been applied."""

    @property
    def position(self) -> int:
        """The newest sequence that answers take into account."""
        return self._store.position.sequence

    async def run(self) -> None:
        """Catch up and follow, for ever. Raises whatever went wrong; a cancellation waits for the batch at hand."""
        self._failure = None
        try:
            while True:
                try:
                    await self._keep_up()
                except (LogUnavailable, TimeoutError) as error:
                    logger.warning("the log cannot be read and is tried again: %s", error)
                    await asyncio.sleep(RETRY)
        except BaseException as error:
            self._failure = error
            self._wake()
            raise

    async def _keep_up(self) -> None:
        self.caught_up = False
        created = await self._created()
        await self._verify(created)
        self._verified = True
        self._wake()
        await self._catch_up(created)
        self.caught_up = True
        await self._follow(created)

    async def wait_for(self, sequence: int, timeout: float = 10.0) -> None:
        """Return once the sequence is taken into account. Raises TimeoutError, or what ended the projector."""
        if self._verified and self.position >= sequence:
            return
        if self._failure is not None:
            raise RuntimeError("the projections have ended") from self._failure
        waiter = (sequence, asyncio.get_running_loop().create_future())
        self._waiting.add(waiter)
        try:
            async with asyncio.timeout(timeout):
                await waiter[1]
        except TimeoutError:
            raise TimeoutError(f"the projections are at {self.position} and not at {sequence} yet") from None
        finally:
            self._waiting.discard(waiter)

    async def rebuild(self, why: str = "somebody asked for it") -> None:
        """Forget everything and apply the whole log again. Returns when that is done; ``run`` may go on meanwhile."""
        created = await self._created()
        async with self._writing:
            self.caught_up = False
            await _in_thread(lambda: self._store.reset(why))
            self._verified = True
            await self._apply_all(created, self._store, Until())
            self.caught_up = True
        self._wake()

    async def replay(
        self,
        until_seq: int | None = None,
        until_time: datetime.datetime | None = None,
        *,
        path: str = MEMORY,
    ) -> Store:
        """The projections as they were at a sequence or a moment, inclusively. The caller closes the store."""
        created = await self._created()
        store = await _in_thread(lambda: Store(path, projections=self._store.projections))
        try:
            await self._apply_all(created, store, Until(until_seq, until_time))
        except BaseException:
            store.close()
            raise
        return store

    async def check(self, *, path: str = MEMORY) -> list[str]:
        """Replay the log up to the live position and compare: an empty list says that both are the same.

        The long part goes on beside the projector, which then pauses for the comparison. A copy in memory takes about
        as much of it as the file takes on disk; name a ``path`` for a large one.
        """
        created = await self._created()
        copy = await self.replay(until_seq=self.position, path=path)
        try:
            async with self._writing:
                await self._apply_all(created, copy, Until(self.position))
                return await _in_thread(lambda: compare(self._store, copy))
        finally:
            await _in_thread(copy.close)

    # -- inside ---------------------------------------------------------------------------------------------------

    async def _created(self) -> str:
        created: Callable[[], Awaitable[str]] | None = getattr(self._log, "created", None)
        return await created() if created else ""

    async def _verify(self, created: str) -> None:
        """Is this the log that was applied before? (hazard H20)"""
        position = self.position
        if position:
            found: str | None = None
            async for recorded in self._log.read(EVERYTHING, after=position - 1):
                found = recorded.id if recorded.sequence == position else None
                break
            await _in_thread(lambda: self._store.check(created, found))

    async def _catch_up(self, created: str) -> None:
        before, start = self.position, time.monotonic()
        async with self._writing:
            await self._apply_all(created, self._store, Until())
        self._wake()
        if self.position - before >= CATCH_UP:
            logger.info("caught up with %d events in %.1f s", self.position - before, time.monotonic() - start)

    async def _apply_all(self, created: str, store: Store, until: Until) -> None:
        """Apply the past; while one batch is applied the next is read."""
        applying: asyncio.Future[int] | None = None
        try:
            async for batch in self._past(store.position.sequence, until):
                if applying is not None:
                    await applying
                    self._wake()
                created = created or await self._created()
                applying = asyncio.ensure_future(_in_thread(partial(store.apply, created, batch)))
        finally:
            if applying is not None:
                await applying

    async def _past(self, after: int, until: Until) -> AsyncIterator[list[Row]]:
        batch: list[Row] = []
        async for page in self._pages(after):
            rows = [row(recorded) for recorded in page]
            covered = list(itertools.takewhile(until.covers, rows))
            batch += covered
            if len(batch) >= CATCH_UP:
                yield batch
                batch = []
            if len(covered) < len(rows):
                break
        if batch:
            yield batch

    async def _pages(self, after: int) -> AsyncIterator[Sequence[Plain | Recorded]]:
        """A log on a server gives many at once; any other gives one after the other."""
        pages: Callable[..., AsyncIterator[list[Plain | Recorded]]] | None = getattr(self._log, "pages", None)
        if pages is None:
            async for recorded in self._log.read(EVERYTHING, after=after):
                yield (recorded,)
            return
        async for page in pages(EVERYTHING, after=after):
            yield page

    async def _follow(self, created: str) -> None:
        arrived: asyncio.Queue[Recorded] = asyncio.Queue(maxsize=4 * FOLLOW)

        async def listen() -> None:
            async for recorded in self._log.tail(after=self.position):
                await arrived.put(recorded)
            raise RuntimeError("the log stopped telling what happens")

        listening = asyncio.create_task(listen(), name="projections-tail")
        took = 0.0
        try:
            while True:
                batch = await self._gather(arrived, listening, max(GATHER, min(REST * took, LONGEST_REST)))
                created = created or await self._created()  # an empty log does not know its beginning yet
                async with self._writing:
                    begun = time.monotonic()
                    await _in_thread(partial(self._store.apply, created, batch))
                    took = time.monotonic() - begun
                self._wake()
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    async def _gather(
        self, arrived: asyncio.Queue[Recorded], listening: asyncio.Task[None], pause: float
    ) -> list[Recorded]:
        """The next event and what else comes within a pause, shorter when somebody waits. Raises what ended it."""
        first = asyncio.ensure_future(arrived.get())
        try:
            await asyncio.wait({first, listening}, return_when=asyncio.FIRST_COMPLETED)
            if not first.done():
                listening.result()
            batch = [await first]
        finally:
            first.cancel()
        begun = time.monotonic()
        while len(batch) < FOLLOW:
            if arrived.empty():
                left = begun + (GATHER if self._waiting else pause) - time.monotonic()
                if left <= 0:
                    break
                await asyncio.sleep(min(left, GATHER / 4))
                continue
            batch.append(arrived.get_nowait())
        return batch

    def _wake(self) -> None:
        for sequence, future in list(self._waiting):
            if future.done():
                continue
            if self._verified and sequence <= self.position:
                future.set_result(None)
            elif self._failure is not None:
                error = RuntimeError("the projections have ended")
                error.__cause__ = self._failure
                future.set_exception(error)


async def _in_thread(work: Callable[[], T]) -> T:
    """Run in a thread. A cancellation is passed on when the work is done: half a batch is never left to itself."""
    running = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait({running})
        if not running.cancelled() and (error := running.exception()) is not None:
            logger.warning("while ending: %s", error)
        raise
