"""The log in memory: the twin of ``jetstream`` for tests, trying things, and running a system on a clock of one's own.

What it keeps are the bytes and headers of the wire, so ids, versions and what is set aside are the same. Nothing runs
by itself: redeliveries and timers are looked at when somebody waits for them. The clock is an argument, and so is the
way to wait; with both replaced a whole night passes in no time, and the same way each time.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Generic, TypeVar

from events.log import Appended, Conflict, Consumer, Delivery, Draft, DueTimer, IdCollision, Recorded, Timer, guard
from events.log.in_hand import SECOND, Durable, Queue, pattern
from events.log.wire import ID, SERVER_MARKS, decode, encode
from schemas.names import entity_token

Wait = Callable[[asyncio.Event, float | None], Awaitable[None]]
"""Waits until the event is set, at most so many seconds of the log's clock."""
K = TypeVar("K")

DEDUPE = 100_000
"""Ids that are remembered; the server's window is two minutes."""
DUE_WAIT = 30.0
"""Seconds after which a fired timer comes again."""
RECHECK = 0.02
"""Seconds between looks at ``want`` while nothing is wanted."""


async def wait_in_real_time(event: asyncio.Event, seconds: float | None) -> None:
    """Wait as everybody does."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


class MemoryLog:
    """The log of one process."""

    def __init__(
        self, *, now_ns: Callable[[], int] = time.time_ns, wait: Wait = wait_in_real_time, dedupe: int = DEDUPE
    ) -> None:
        self.now_ns = now_ns
        self.records: list[Recorded] = []
        """Everything stored; the sequence of the first is 1."""
        self.blobs: dict[tuple[str, str], bytes] = {}
        self.output: list[tuple[str, bytes]] = []
        """Subject and bytes of each chunk."""
        self._wait_hook = wait
        self._dedupe = dedupe
        self._ids: OrderedDict[str, int] = OrderedDict()
        self._places: dict[tuple[str, ...], list[int]] = {}
        """Sequences by the first three tokens of a subject (an execution) and by the first four (an entity)."""
        self._durables: dict[str, Durable] = {}
        self._timers: dict[str, Timer] = {}
        self._fired: Queue[Timer] = Queue(int(DUE_WAIT * SECOND))
        self._fired_notices: Queue[Timer] = Queue(int(DUE_WAIT * SECOND))
        self._newest: dict[str, Timer] = {}
        self._waiting: set[asyncio.Event] = set()

    # -- writing ------------------------------------------------------------------------------------------------

    async def append(self, *drafts: Draft) -> list[Appended]:
        """Append one fact, or several at once or not at all. Raises Conflict, IdCollision."""
        messages = [(draft, guard(draft.tenant, draft.execution, draft.entity), *encode(draft)) for draft in drafts]
        await asyncio.sleep(0)
        if any(self._last(place) != draft.expected for draft, place, _, _ in messages):
            return self._read_back(drafts)
        if len({place for _, place, _, _ in messages}) < len(messages):
            raise Conflict(drafts[0].subject, drafts[0].expected)
        known = next((draft for draft in drafts if draft.id in self._ids), None)
        if known:
            raise IdCollision(f"{known.subject}: the id {known.id} is known, but it stands elsewhere")
        return [Appended(self._store(draft.subject, body, headers), draft.id) for draft, _, body, headers in messages]

    def _read_back(self, drafts: Iterable[Draft]) -> list[Appended]:
        """What stands where the drafts should: mine, or somebody else's. Raises Conflict."""
        found = []
        missing = None
        for draft in drafts:
            place = guard(draft.tenant, draft.execution, draft.entity)
            behind = self._matching(place, draft.expected)
            mine = next((r for r in behind if r.id == draft.id and r.standing == "ok"), None)
            if mine is not None:
                found.append(Appended(mine.sequence, mine.id))
            elif behind:
                raise Conflict(draft.subject, behind[-1].sequence)
            else:
                missing = draft
        if missing is not None:
            raise Conflict(missing.subject, missing.expected)
        return found

    async def publish_raw(self, subject: str, body: bytes, headers: Mapping[str, str] | None = None) -> int:
        """Store any bytes, as a raw client could; returns the sequence, of the first one if the id is known.

        Raises ValueError for a subject that the stream does not take.
        """
        if not re.fullmatch(r"evt(\.[^.\s]+){4}", subject):
            raise ValueError(f"{subject!r} is no subject of the log")
        await asyncio.sleep(0)
        known = self._ids.get((headers or {}).get(ID, ""))
        return known or self._store(subject, body, dict(headers or {}))

    def _store(self, subject: str, body: bytes, headers: dict[str, str]) -> int:
        sequence = len(self.records) + 1
        smuggled = not SERVER_MARKS.isdisjoint(headers)
        self.records.append(
            decode(
                sequence=sequence, at_ns=self.now_ns(), subject=subject, headers=headers, body=body, smuggled=smuggled
            )
        )
        if ID in headers:
            self._ids[headers[ID]] = sequence
            if len(self._ids) > self._dedupe:
                self._ids.popitem(last=False)
        tokens = tuple(subject.split("."))
        for place in (tokens[:3], tokens[:4]):
            self._places.setdefault(place, []).append(sequence)
        self.wake()
        return sequence

    def _last(self, filter: str) -> int:
        stored = self._places.get(tuple(filter.split(".")[:4]))
        return stored[-1] if stored else 0

    # -- reading ------------------------------------------------------------------------------------------------

    def _matching(self, filter: str, after: int) -> list[Recorded]:
        tokens = filter.split(".")
        literal = tokens[: next((n for n, token in enumerate(tokens) if token in ("*", ">")), len(tokens))]
        fits = pattern([filter]).fullmatch
        if len(literal) < 3:
            return [r for r in self.records[after:] if fits(r.subject)]
        stored = self._places.get(tuple(literal[:4]), [])
        found = (self.records[sequence - 1] for sequence in stored[bisect_right(stored, after) :])
        return [r for r in found if fits(r.subject)]

    async def read(self, filter: str, *, after: int = 0) -> AsyncIterator[Recorded]:
        """Everything stored that matches, in order, from the sequence behind ``after`` to the present end."""
        await asyncio.sleep(0)
        for recorded in self._matching(filter, after):
            yield recorded

    async def tail(self, *, after: int | None = None) -> AsyncIterator[Recorded]:
        """Everything from now on (or behind ``after``), in order and without gaps, for ever."""
        position = len(self.records) if after is None else after
        while True:
            while position < len(self.records):
                position += 1
                yield self.records[position - 1]
            await self._wait()

    async def last_sequence(self) -> int:
        """The newest sequence stored."""
        return len(self.records)

    async def created(self) -> str:
        """When its first event was stored; empty for an empty log."""
        if not self.records:
            return ""
        seconds, rest = divmod(self.records[0].at_ns, SECOND)
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"

    # -- being handed messages ------------------------------------------------------------------------------------

    async def consume(
        self, consumer: Consumer, *, want: Callable[[], int], freed: asyncio.Event | None = None
    ) -> AsyncGenerator[Delivery, None]:
        """Messages for a durable consumer, at most ``want()`` more at any moment, looked at every RECHECK."""
        durable = self._durables.setdefault(consumer.name, Durable(consumer))
        while True:
            wanted = want() > 0
            sequence = durable.take(self.records, self.now_ns()) if wanted else None
            if sequence is not None:
                reply = f"memory.{consumer.name}.{sequence}"
                yield Handed(self, durable.queue, sequence, reply, self.records[sequence - 1])
                await asyncio.sleep(0)
            elif wanted:
                await self._wait(durable.queue.next_moment())
            else:
                await self._wait(self.now_ns() + int(RECHECK * SECOND))

    async def hand_back(self, reply: str) -> None:
        """Have a delivery that a dead worker held handed out again at once."""
        _, _, rest = reply.partition("memory.")
        name, _, sequence = rest.rpartition(".")
        if name in self._durables:
            self._durables[name].queue.put_back(int(sequence), self.now_ns())
            self.wake()

    async def due(self, durable: str = "due") -> AsyncIterator[DueTimer]:
        """Timers that fired, of one durable."""
        queue = self._queue(durable)
        while True:
            now = self.now_ns()
            for place in [place for place, timer in self._timers.items() if timer.at_ns <= now]:
                self._fire(place, now)
            fired = queue.take(now)
            if fired is not None:
                yield Fired(self, queue, fired)
                continue
            moments = [*(timer.at_ns for timer in self._timers.values()), queue.next_moment()]
            await self._wait(min((moment for moment in moments if moment is not None), default=None))

    def _fire(self, place: str, now: int) -> None:
        """A fired timer takes the place of one that fired there before and was not dealt with."""
        timer = self._timers.pop(place)
        queue = self._queue(timer.durable)
        if place in self._newest:
            queue.remove(self._newest[place])
        self._newest[place] = timer
        queue.put(timer, now)

    def _queue(self, durable: str) -> Queue[Timer]:
        return self._fired if durable == "due" else self._fired_notices

    async def set_timer(self, timer: Timer) -> None:
        """Set or move a timer. Idempotent."""
        self._timers[timer.subject("set")] = timer
        self.wake()

    # -- bytes beside the log ---------------------------------------------------------------------------------------

    async def write_output(self, tenant: str, execution: str, task: str, attempt: int, chunk: bytes) -> None:
        """Append a chunk of a task's output to the tail that people watch."""
        self.output.append((f"log.{tenant}.{execution}.{entity_token(task)}.{attempt}", chunk))

    async def read_output(
        self, tenant: str, execution: str, task: str, attempt: int | None, *, after: int = 0, limit: int = 1000
    ) -> list[tuple[int, int, bytes]]:
        """Chunks of output behind a sequence, as (sequence, attempt, bytes); of every attempt if none is named."""
        filter = f"log.{tenant}.{execution}.{entity_token(task)}.{attempt if attempt is not None else '*'}"
        fits = pattern([filter]).fullmatch
        numbered = enumerate(self.output[after:], after + 1)
        return [(n, int(s.rsplit(".", 1)[1]), chunk) for n, (s, chunk) in numbered if fits(s)][:limit]

    async def put_blob(self, bucket: str, data: bytes) -> str:
        """Keep bytes; returns their SHA-256. Idempotent."""
        sha256 = hashlib.sha256(data).hexdigest()
        self.blobs.setdefault((bucket, sha256), data)
        return sha256

    async def get_blob(self, bucket: str, sha256: str) -> bytes:
        """Read bytes back, hashed again. Raises KeyError if they are not there, ValueError if they are damaged."""
        data = self.blobs[bucket, sha256]
        if hashlib.sha256(data).hexdigest() != sha256:
            raise ValueError(f"{bucket}/{sha256} is damaged: its bytes have another digest")
        return data

    # -- waiting ----------------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Have everybody who waits look again; for a clock that was moved by hand."""
        for event in self._waiting:
            event.set()

    async def _wait(self, moment: int | None = None) -> None:
        event = asyncio.Event()
        self._waiting.add(event)
        try:
            await self._wait_hook(event, None if moment is None else max(0.0, (moment - self.now_ns()) / SECOND))
        finally:
            self._waiting.discard(event)


class _InHand(Generic[K]):
    """Something handed to a worker. As on the server, nothing tells a late worker's word from the newest one's."""

    def __init__(self, log: MemoryLog, queue: Queue[K], key: K) -> None:
        self._log = log
        self._queue = queue
        self._key = key
        self.deliveries = queue.deliveries[key]

    async def ack(self) -> None:
        """It is dealt with."""
        self._queue.remove(self._key)
        self._log.wake()

    async def nak(self, delay: float = 0.0) -> None:
        """Hand it out again, after a delay in seconds."""
        self._queue.put_back(self._key, self._log.now_ns() + int(delay * SECOND))
        self._log.wake()

    async def progress(self) -> bool:
        """Still working on it; heard even where it was dealt with, as on the server (hazard H6)."""
        self._queue.put_back(self._key, self._log.now_ns() + self._queue.ack_wait_ns)
        return True


class Handed(_InHand[int]):
    """One message handed to one worker."""

    def __init__(self, log: MemoryLog, queue: Queue[int], sequence: int, reply: str, recorded: Recorded) -> None:
        super().__init__(log, queue, sequence)
        self.reply = reply
        self.recorded = recorded


class Fired(_InHand[Timer]):
    """A timer that fired."""

    @property
    def timer(self) -> Timer:
        """What it carries."""
        return self._key
