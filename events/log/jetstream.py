"""The log in a JetStream stream (DESIGN 2; hazards H2, H3, H9, H12).

Following the log needs no consumer: the stream republishes what it has stored below ``tail.``, with sequence and time,
and whatever a subscription missed is filled by batched direct gets.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

from events.log import (
    Appended,
    Conflict,
    Consumer,
    Delivery,
    Draft,
    DueTimer,
    IdCollision,
    LogError,
    LogUnavailable,
    Recorded,
    Timer,
    guard,
)
from events.log.alarm import Alarm
from events.log.blobs import Blobs
from events.log.bulk import EVERYTHING, Plain, pages, widest
from events.log.connection import LeanClient, parse_headers, status_of, stored
from events.log.feed import STREAM, Feed
from events.log.pull import Fired, Pulled, PullLoop
from events.log.wire import SERVER_MARKS, decode, encode
from schemas.names import entity_token

log = logging.getLogger(__name__)

TIMERS = "TIMERS"
EXPECTED = "Nats-Expected-Last-Subject-Sequence"
EXPECTED_SUBJECT = "Nats-Expected-Last-Subject-Sequence-Subject"
LOST_RACE = frozenset({10071, 10164, 10201})
"""A wrong last sequence, a race in flight, a repeated batch: read back before believing any of them."""
PUBLISH_TIMEOUT = 2.0
"""Seconds. Short, because a publish whose answer was lost waits all of it."""
PATIENCE = 15.0
"""Seconds of repeating an append before it is given up; a leader change took 5.5."""
PAGE = 1000
TAIL_CHECK = 2.0
"""Seconds after which a silent tail looks for what it may have missed."""
TAIL_RETRY = 0.05
"""Seconds between looks for what is known to be missing."""


class JetStreamLog:
    """The log on a server. One instance a connection; those of one process may share what one of them hears."""

    def __init__(self, client: LeanClient, feed: Feed | None = None) -> None:
        self.client = client
        self.feed = feed or Feed(client)
        self._blobs = Blobs(client)

    # -- writing ------------------------------------------------------------------------------------------------

    async def append(self, *drafts: Draft) -> list[Appended]:
        """Append one fact, or several at once or not at all. Raises Conflict, LogUnavailable, IdCollision."""
        messages = [(d, *self._message(d)) for d in drafts]
        clock = asyncio.get_running_loop()
        started = clock.time()
        pause = 0.02
        while True:
            try:
                return await self._try(messages)
            except (TimeoutError, LogUnavailable, _Raced) as error:
                doubt: Exception = error
            try:
                found = await self._read_back(drafts)
            except (TimeoutError, LogUnavailable) as error:
                found, doubt = None, error
            if found is not None:
                return found
            waited = clock.time() - started
            if isinstance(doubt, _Known) and waited > 1.0:
                raise IdCollision(f"{drafts[0].subject}: {doubt}, but it stands elsewhere") from doubt
            if waited > PATIENCE:
                if isinstance(doubt, _Raced):
                    raise Conflict(drafts[0].subject, drafts[0].expected) from doubt
                raise LogUnavailable(f"{drafts[0].subject} could not be appended: {doubt}") from doubt
            await asyncio.sleep(pause)
            pause = min(pause * 2, 0.5)

    async def _try(self, messages: list[tuple[Draft, bytes, dict[str, str]]]) -> list[Appended]:
        if len(messages) == 1:
            return [await self._publish(*messages[0])]
        return await self._publish_batch(messages)

    def _message(self, draft: Draft) -> tuple[bytes, dict[str, str]]:
        body, headers = encode(draft)
        headers[EXPECTED] = str(draft.expected)
        headers[EXPECTED_SUBJECT] = guard(draft.tenant, draft.execution, draft.entity)
        return body, headers

    async def _publish(self, draft: Draft, body: bytes, headers: dict[str, str]) -> Appended:
        _, data = await self.client.ask(draft.subject, body, dict(headers), timeout=PUBLISH_TIMEOUT)
        answer = _answer(data)
        if answer.get("duplicate"):
            raise _Known(f"the id {draft.id} is known")
        return Appended(int(answer["seq"]), draft.id)

    async def _publish_batch(self, messages: list[tuple[Draft, bytes, dict[str, str]]]) -> list[Appended]:
        """All or nothing: the first and the last message are requests, the last one commits (ADR-50 of NATS)."""
        batch = secrets.token_hex(16)
        answer: dict[str, Any] = {}
        for number, (draft, body, headers) in enumerate(messages, 1):
            marked = headers | {"Nats-Batch-Id": batch, "Nats-Batch-Sequence": str(number)}
            if number == len(messages):
                marked["Nats-Batch-Commit"] = "1"
            elif number > 1:
                await self.client.publish(draft.subject, body, headers=marked)
                continue
            _, data = await self.client.ask(draft.subject, body, marked, timeout=PUBLISH_TIMEOUT)
            answer = _answer(data) if data else {}
        last = int(answer["seq"])
        return [Appended(last - len(messages) + n, m[0].id) for n, m in enumerate(messages, 1)]

    async def _read_back(self, drafts: tuple[Draft, ...]) -> list[Appended] | None:
        """What stands where the drafts should: mine → where; somebody else's → Conflict; nothing → None."""
        found: list[Appended] = []
        for draft in drafts:
            mine: Recorded | None = None
            other: Recorded | None = None
            async for recorded in self.read(guard(draft.tenant, draft.execution, draft.entity), after=draft.expected):
                if recorded.id == draft.id and recorded.standing == "ok":
                    mine = recorded
                    break
                other = recorded
            if mine is not None:
                found.append(Appended(mine.sequence, mine.id))
            elif other is not None:
                raise Conflict(draft.subject, other.sequence)
        if found and len(found) < len(drafts):
            raise LogError(f"half a batch of {drafts[0].subject} stands in the log")
        return found or None

    # -- reading ------------------------------------------------------------------------------------------------

    async def read(self, filter: str, *, after: int = 0) -> AsyncIterator[Recorded]:
        """Everything stored that matches, from the sequence behind ``after`` to the present end, page by page."""
        position = after
        while True:
            page, more = await self._page(filter, position + 1)
            for recorded in page:
                position = recorded.sequence
                yield recorded
            if not more:
                return

    async def _page(self, filter: str, first: int, size: int = PAGE) -> tuple[list[Recorded], bool]:
        page: list[Recorded] = []
        more = False
        async for headers, body in self.client_batch(
            STREAM, {"seq": first, "next_by_subj": widest(filter), "batch": size, "max_bytes": 16 * 1024 * 1024}
        ):
            found, twice = parse_headers(headers)
            page.append(stored(found, body, twice))
            more = found.get("Nats-Num-Pending", "0") != "0"
        return page, more

    def pages(self, filter: str, *, after: int = 0) -> AsyncIterator[list[Plain | Recorded]]:
        """The same by the page, ordinary events as columns: for the projector, which reads everything there is."""
        return pages(self.client, STREAM, filter, after=after)

    async def client_batch(self, stream: str, request: dict[str, Any]) -> AsyncIterator[tuple[bytes, bytes]]:
        """One batched direct get: raw headers and bodies until the server says that this was all."""
        async for message in self._blobs.batch(stream, request):
            yield message

    async def tail(self, *, after: int | None = None) -> AsyncIterator[Recorded]:
        """Everything from now on (or behind ``after``), in order and without gaps, for ever."""
        waiting: deque[Recorded] = deque()
        arrived = asyncio.Event()

        def handler(recorded: Recorded) -> None:
            waiting.append(recorded)
            arrived.set()

        look = Alarm(arrived.set)
        async with self.feed.heard(handler, arrived.set, self.client), contextlib.AsyncExitStack() as ending:
            ending.callback(look.cancel)
            position = await self.last_sequence() if after is None else after
            async for recorded in self._catch_up(position):
                position = recorded.sequence
                yield recorded
            while True:
                if not waiting:
                    arrived.clear()
                    look.within(TAIL_CHECK)
                    await arrived.wait()
                    if not waiting:
                        async for recorded in self._catch_up(position):
                            position = recorded.sequence
                            yield recorded
                        continue
                recorded = waiting.popleft()
                if recorded.sequence <= position:
                    continue
                if recorded.sequence > position + 1:
                    async for missed in self._between(position, recorded.sequence):
                        yield missed
                position = recorded.sequence
                yield recorded

    async def _between(self, position: int, end: int) -> AsyncIterator[Recorded]:
        """What was missed before ``end``; asked again until a replica answers that holds ``end`` too (hazard H9)."""
        while True:
            async with contextlib.aclosing(self._catch_up(position)) as missed:
                async for recorded in missed:
                    if recorded.sequence >= end:
                        return
                    position = recorded.sequence
                    yield recorded
            await asyncio.sleep(TAIL_RETRY)

    async def _catch_up(self, position: int) -> AsyncGenerator[Recorded, None]:
        """Read what a subscription may have missed; an unreachable server is no news."""
        try:
            async for recorded in self.read(EVERYTHING, after=position):
                yield recorded
        except (TimeoutError, LogUnavailable) as error:
            log.debug("the tail cannot catch up yet: %s", error)

    async def last_sequence(self) -> int:
        """The newest sequence stored; on a cluster as far as the replica that answers has it."""
        # with "evt.>" the server would look at every subject that there is
        found = await self._look({"last_by_subj": widest(EVERYTHING)})
        return int(found["Nats-Sequence"]) if found else 0

    async def created(self) -> str:
        """When the first event was stored, which tells one log from another (hazard H20); empty for an empty log."""
        found = await self._look({"seq": 1, "next_by_subj": widest(EVERYTHING)})
        return found["Nats-Time-Stamp"] if found else ""

    async def _look(self, request: dict[str, Any]) -> dict[str, str] | None:
        """The headers of one stored message; None if there is none like that. Raises LogUnavailable."""
        question = json.dumps(request).encode()
        for left in (2, 1, 0):
            try:
                raw, _ = await self.client.ask(f"$JS.API.DIRECT.GET.{STREAM}", question, timeout=PUBLISH_TIMEOUT)
                break
            except TimeoutError as error:  # a server that dies takes the question with it
                if not left:
                    raise LogUnavailable("the server does not answer questions about the log") from error
        if status_of(raw) == 404:
            return None
        if status_of(raw):
            raise LogUnavailable(f"reading the log: the server answers {raw[9:80].decode(errors='replace')}")
        return parse_headers(raw)[0]

    # -- being handed messages ------------------------------------------------------------------------------------

    async def consume(
        self, consumer: Consumer, *, want: Callable[[], int], freed: asyncio.Event | None = None
    ) -> AsyncGenerator[Delivery, None]:
        """Messages for a durable consumer, at most ``want()`` more at any moment; set ``freed`` for a new look."""
        loop = PullLoop(self.client, STREAM, consumer.name, want, freed)
        async with contextlib.aclosing(loop.messages()) as messages:
            async for subject, reply, headers, body in messages:
                meta = reply.split(".")
                found, _ = parse_headers(headers)
                recorded = decode(
                    sequence=int(meta[-4]), at_ns=int(meta[-2]), subject=subject, headers=found, body=body,
                    smuggled=not SERVER_MARKS.isdisjoint(found),
                )  # fmt: skip
                yield Pulled(self.client, reply, recorded, int(meta[-5]))

    async def hand_back(self, reply: str) -> None:
        """Have a delivery that a dead worker held handed out again at once."""
        if reply.startswith("$JS.ACK."):
            await self.client.publish(reply, b"-NAK")

    async def due(self, durable: str = "due") -> AsyncIterator[DueTimer]:
        """Timers that fired, of one durable."""
        loop = PullLoop(self.client, TIMERS, durable, lambda: 100)
        async with contextlib.aclosing(loop.messages()) as messages:
            async for subject, reply, _, body in messages:
                try:
                    timer = Timer(**json.loads(body))
                except (ValueError, TypeError) as error:
                    log.error("a timer on %s cannot be read and is dropped: %s", subject, error)
                    await self.client.publish(reply, b"+TERM")
                    continue
                yield Fired(self.client, reply, timer)

    async def set_timer(self, timer: Timer) -> None:
        """Set a timer, or set it anew: one schedule a subject, and no message id, so nothing is deduplicated."""
        whole = -(-timer.at_ns // 1_000_000_000)  # the server knows whole seconds: rather late than early
        at = datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        body = json.dumps({f: getattr(timer, f) for f in Timer.__slots__}).encode()
        headers = {"Nats-Schedule": f"@at {at}", "Nats-Schedule-Target": timer.subject("due")}
        _, data = await self.client.ask(timer.subject("set"), body, headers, timeout=PUBLISH_TIMEOUT)
        _answer(data)

    # -- bytes beside the log ---------------------------------------------------------------------------------------

    async def write_output(self, tenant: str, execution: str, task: str, attempt: int, chunk: bytes) -> None:
        """Append a chunk of a task's output to the tail that people watch."""
        subject = f"log.{tenant}.{execution}.{entity_token(task)}.{attempt}"
        _, data = await self.client.ask(subject, chunk, timeout=PUBLISH_TIMEOUT)
        _answer(data)

    async def read_output(
        self, tenant: str, execution: str, task: str, attempt: int | None, *, after: int = 0, limit: int = 1000
    ) -> list[tuple[int, int, bytes]]:
        """Chunks of output behind a sequence, as (sequence, attempt, bytes); of every attempt if none is named."""
        filter = f"log.{tenant}.{execution}.{entity_token(task)}.{attempt if attempt is not None else '*'}"
        chunks = []
        async for headers, body in self.client_batch(
            "LOGS", {"seq": after + 1, "next_by_subj": filter, "batch": limit, "max_bytes": 4 * 1024 * 1024}
        ):
            found, _ = parse_headers(headers)
            chunks.append((int(found["Nats-Sequence"]), int(found["Nats-Subject"].rsplit(".", 1)[1]), body))
        return chunks

    async def put_blob(self, bucket: str, data: bytes) -> str:
        """Keep bytes; returns their SHA-256. Idempotent."""
        return await self._blobs.put(bucket, data)

    async def get_blob(self, bucket: str, sha256: str) -> bytes:
        """Read bytes back, hashed again. Raises KeyError if they are not there, ValueError if they are damaged."""
        return await self._blobs.get(bucket, sha256)


class _Raced(LogError):
    """The server says that something is there already; it may be ours."""


class _Known(_Raced):
    """The server has this id already."""


def _answer(data: bytes) -> dict[str, Any]:
    """Read a JetStream answer. Raises _Raced, IdCollision or LogUnavailable for what it refuses."""
    answer: dict[str, Any] = json.loads(data)
    error = answer.get("error")
    if error:
        code = int(error.get("err_code", 0))
        if code in LOST_RACE:
            raise _Raced(str(error.get("description", code)))
        raise LogUnavailable(f"the server refuses ({code}: {error.get('description', '')})")
    return answer
