"""The memory as the learner uses it: opened when first needed, in a thread of its own, brought up to date from the log.

Only one process at a time has it: the others stand by until the lock is free.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from events.lesson import LessonLearned, Similar
from events.log import EventLog
from schemas.names import LESSONS
from services.learner.decide import payload, point_id, similar_of, text_of
from services.learner.embedders import Embedder, EmbedderFailed
from services.learner.memory import Hit, Kept, Memory, MemoryUnavailable, NotInstalled, Position, installed

log = logging.getLogger(__name__)

EVERY_LESSON = f"evt.*.*.{LESSONS}.LessonLearned"
TOGETHER = 64
"""Lessons that are kept at once."""
STANDING_BY = 0.5
"""Seconds between two looks at whether the lock is free."""
NO_MEMORY = (NotInstalled, MemoryUnavailable, EmbedderFailed)
"""Why there may be no memory; learning goes on in the log."""
T = TypeVar("T")


class Recall:
    """Lessons in, similar ones out."""

    def __init__(self, events: EventLog, place: Path | str, embedder: Callable[[], Embedder]) -> None:
        self.place = place
        """A folder, or the URL of a server."""
        self._log = events
        self._choose = embedder
        self._embedder: Embedder | None = None
        self._memory: Memory | None = None
        self._thread = ThreadPoolExecutor(1, "memory")
        self._reading = asyncio.Lock()
        self._lock: int | None = None

    @property
    def embedder(self) -> Embedder:
        """Who makes the vectors; nothing is loaded by asking. Raises EmbedderFailed."""
        if self._embedder is None:
            self._embedder = self._choose()
        return self._embedder

    @property
    def is_open(self) -> bool:
        """Whether the library has been loaded and the collection opened."""
        return self._memory is not None

    async def alone(self) -> None:
        """Wait until no other process of this state folder has the memory. A server's needs no such lock."""
        if not isinstance(self.place, Path):
            return
        self.place.parent.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self.place.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                await asyncio.sleep(STANDING_BY)

    async def close(self) -> None:
        """Let go of the collection, then of the lock."""
        await self._in_thread(self._close)
        self._thread.shutdown(wait=False)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    # -- what it is for -----------------------------------------------------------------------------------------------

    async def something_learned(self) -> bool:
        """Whether the log holds any lesson: otherwise nothing needs to be opened."""
        async for _ in self._log.read(EVERY_LESSON):
            return True
        return False

    async def catch_up(self) -> int:
        """Keep every lesson of the log that is not kept yet; gives how many. Raises one of NO_MEMORY."""
        async with self._reading:
            return await self._catch_up()

    async def rebuild(self) -> int:
        """Forget everything and read the log again; gives how many lessons there are. Raises one of NO_MEMORY."""
        async with self._reading:
            await self._do(Memory.clear)
            return await self._catch_up()

    async def similar(self, tenant: str, texts: Sequence[str], **conditions: Any) -> list[list[Similar]]:
        """For each text the most similar lessons of one tenant. Raises one of NO_MEMORY."""
        found: list[list[Hit]] = await self._do(lambda memory: memory.similar(tenant, texts, **conditions))
        return [[similar_of(hit.payload, hit.similarity) for hit in hits] for hits in found]

    async def with_signature(self, tenant: str, signature: str) -> list[dict[str, Any]]:
        """Payloads of one tenant's lessons in which an error occurred. Raises one of NO_MEMORY."""
        return [dict(p) for p in await self._do(lambda memory: memory.with_signature(tenant, signature))]

    async def count(self, tenant: str | None) -> int:
        """How many lessons are kept. Raises one of NO_MEMORY."""
        return await self._do(lambda memory: memory.count(tenant))

    # -- inside -------------------------------------------------------------------------------------------------------

    async def _catch_up(self) -> int:
        created = await self._log.created()
        position = await self._do(Memory.position)
        if position is None or position.log != created:
            if position is not None:
                log.warning("the memory in %s is of another log; it is read again", self.place)
                await self._do(Memory.clear)
            position = Position(created)
        count = 0
        waiting: list[Kept] = []
        async for recorded in self._log.read(EVERY_LESSON, after=position.sequence):
            if recorded.standing == "newer":
                log.error("%s: update this copy; what comes after it is not kept yet", recorded.reason)
                break
            position = Position(created, recorded.sequence)
            if isinstance(recorded.fact, LessonLearned):
                waiting.append(_kept(recorded.tenant, recorded.execution, recorded.fact))
            if len(waiting) == TOGETHER:
                count += await self._keep(waiting, position)
                waiting = []
        return count + (await self._keep(waiting, position) if waiting else 0)

    async def _keep(self, lessons: list[Kept], position: Position) -> int:
        await self._do(lambda memory: memory.keep(lessons, position))
        return len(lessons)

    async def _do(self, work: Callable[[Memory], T]) -> T:
        def on_memory() -> T:
            if self._memory is None:
                self._memory = Memory.open(self.place, self.embedder)
            return work(self._memory)

        if not installed():
            raise NotInstalled
        return await self._in_thread(on_memory)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _close(self) -> None:
        if self._memory is not None:
            self._memory.close()
            self._memory = None


def _kept(tenant: str, execution: str, lesson: LessonLearned) -> Kept:
    return Kept(
        point_id(tenant, execution, lesson.task, lesson.attempt),
        text_of(lesson.title, lesson.description, lesson.outcome),
        payload(tenant, execution, lesson),
    )
