"""Reading the whole log by the thousand, for whoever keeps columns and not objects.

An ordinary event of the engine, with headers exactly as ``encode`` and the server write them, is read by one
expression. Anything else goes through ``decode``, which alone knows why something is set aside. So the short way may
only ever accept what the long one accepts as well (tests/test_bulk.py).
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from datetime import datetime
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec
from nats.aio.subscription import Subscription

from events import CATALOGUE
from events.log import LogUnavailable, Recorded
from events.log.connection import LeanClient, parse_headers, status_of, stored
from events.log.wire import decoder_of, place_of
from events.upcasts import UPCASTS
from schemas.names import BadName, entity_of

PAGE = 2000
"""Messages that are asked for, and decoded without a pause, at a time."""
EVERYTHING = "evt.>"
"""Every subject of the stream of events."""
SILENCE = 10.0
"""Seconds in which a server must send something of what was asked."""

_WORD = r"[!-~](?:[ -~]{0,198}[!-~])?"
_ORDINARY = re.compile(
    r"NATS/1\.0\r\n"
    r"Nats-Msg-Id: ([0-9a-f]{32})\r\n"
    r"Nightshift-Version: 1\r\n"
    rf"Nightshift-Cause: ({_WORD})\r\n"
    rf"Nightshift-Correlation: ({_WORD})\r\n"
    rf"Nightshift-Actor: ({_WORD})\r\n"
    r"Nightshift-Key: (0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,18})\r\n"
    rf"(?:traceparent: {_WORD}\r\n)?"
    r"(?:Nats-(?:Expected-Last-Subject-Sequence(?:-Subject)?|Batch-(?:Id|Sequence|Commit)): [!-~]+\r\n)*"
    r"Nats-Stream: [!-~]+\r\n"
    r"Nats-Subject: evt\.([a-z0-9][a-z0-9_-]{0,39})"
    r"\.([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})\.([^.\r\n ]{1,120})\.([A-Za-z]{1,100})\r\n"
    r"Nats-Sequence: ([1-9][0-9]{0,18})\r\n"
    r"Nats-Time-Stamp: ([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?)Z\r\n"
    r"(?:Nats-Num-Pending: [0-9]+\r\nNats-Last-Sequence: [0-9]+\r\n)?"
    r"\r\n"
)


class Plain(NamedTuple):
    """An event of the engine that can be read, in the order of the columns that are kept of it."""

    sequence: int
    at: datetime
    """When the log stored it: UTC, without a zone, to the microsecond."""
    tenant: str
    execution: str
    entity: str
    name: str
    id: str
    cause: str
    correlation: str
    actor: str
    attempt: int
    fact: Any


def plain(raw: bytes, body: bytes) -> Plain | None:
    """Read an ordinary event as direct get gives it, or None: then ``decode`` says what it is."""
    try:
        found = _ORDINARY.fullmatch(raw.decode("ascii"))
        if found is None:
            return None
        id, cause, correlation, actor, attempt, ordinal, tenant, execution, token, name, sequence, at = found.groups()
        entity = entity_of(token)
        entry = CATALOGUE.get(name)
        if entry is None or name in UPCASTS or entry.on == "inbox" or entry.on != place_of(entity):
            return None
        if id != _id(cause, name, tenant, execution, entity, attempt, ordinal):
            return None
        fact = decoder_of(entry.cls).decode(body)
        moment = datetime.fromisoformat(at)
    except (BadName, msgspec.MsgspecError, ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return None
    return Plain(
        int(sequence), moment, tenant, execution, entity, name, id, cause, correlation, actor, int(attempt), fact
    )  # fmt: skip


def _id(cause: str, name: str, tenant: str, execution: str, entity: str, attempt: str, ordinal: str) -> str:
    """The same as ``event_id`` for what the expression lets through: parts of at most 255 bytes, numbers as written."""
    if not entity.isascii():
        return ""
    packed = (
        f"\0\0\0{chr(len(cause))}{cause}\0\0\0{chr(len(name))}{name}\0\0\0{chr(len(tenant))}{tenant}"
        f"\0\0\0{chr(len(execution))}{execution}\0\0\0{chr(len(entity))}{entity}"
        f"\0\0\0{chr(len(attempt))}{attempt}\0\0\0{chr(len(ordinal))}{ordinal}"
    )
    return sha256(packed.encode("latin-1")).hexdigest()[:32]


def read_message(raw: bytes, body: bytes) -> Plain | Recorded:
    """A message as direct get gives it, the short way if it can be."""
    short = plain(raw, body)
    if short is not None:
        return short
    found, twice = parse_headers(raw)
    return stored(found, body, twice)


def widest(filter: str) -> str:
    """The same filter for a stream that holds events alone; the server need not look at subjects then, which halves
    its costs."""
    return ">" if filter == EVERYTHING else filter


async def pages(
    client: LeanClient, stream: str, filter: str, *, after: int = 0
) -> AsyncIterator[list[Plain | Recorded]]:
    """Everything stored that matches, from the sequence behind ``after`` to the present end, page by page.

    While one page is decoded the server looks for the next. Raises TimeoutError if the server falls silent,
    LogUnavailable if it does not answer.
    """

    def request(first: int) -> dict[str, Any]:
        return {"seq": first, "next_by_subj": widest(filter), "batch": PAGE, "max_bytes": 16 * 1024 * 1024}

    coming = await _Coming.ask(client, stream, request(after + 1))
    try:
        while True:
            messages = await coming.whole()
            await coming.end()
            if not messages:
                return
            found = parse_headers(messages[-1][0])[0]
            more = found.get("Nats-Num-Pending", "0") != "0"
            if more:
                coming = await _Coming.ask(client, stream, request(int(found["Nats-Sequence"]) + 1))
            yield [read_message(raw, body) for raw, body in messages]
            if not more:
                return
    finally:
        await coming.end()


async def fetch(client: LeanClient, stream: str, request: dict[str, Any]) -> list[tuple[bytes, bytes]]:
    """One batched direct get, whole: raw headers and bodies. Raises TimeoutError, LogUnavailable."""
    coming = await _Coming.ask(client, stream, request)
    try:
        return await coming.whole()
    finally:
        await coming.end()


class _Coming:
    """What was asked for and is on its way."""

    def __init__(self, client: LeanClient, stream: str) -> None:
        self._client = client
        self._stream = stream
        self._messages: list[tuple[bytes, bytes]] = []
        self._ended: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._subscription: Subscription | None = None

    @classmethod
    async def ask(cls, client: LeanClient, stream: str, request: dict[str, Any]) -> _Coming:
        """Have the server look; returns when the question has been sent."""
        coming = cls(client, stream)
        inbox = client.new_inbox()
        coming._subscription = await client.listen(inbox, coming._take)
        await client.send(f"$JS.API.DIRECT.GET.{stream}", json.dumps(request).encode(), inbox)
        return coming

    def _take(self, subject: str, reply: str, headers: bytes, body: bytes) -> None:
        if not status_of(headers):
            self._messages.append((headers, body))
        elif not self._ended.done():
            self._ended.set_result(headers)

    async def whole(self) -> list[tuple[bytes, bytes]]:
        """Everything there is of it. Raises TimeoutError, LogUnavailable."""
        count = -1
        while not self._ended.done():
            if len(self._messages) == count:
                raise TimeoutError(f"reading {self._stream}: the server has been silent for {SILENCE:g} s")
            count = len(self._messages)
            await asyncio.wait({self._ended}, timeout=SILENCE)
        said = self._ended.result()
        if status_of(said) not in (204, 404):
            what = said[9:80].decode(errors="replace")
            raise LogUnavailable(f"reading {self._stream}: the server answers {what}")
        return self._messages

    async def end(self) -> None:
        """Whatever still comes is not wanted. Harmless to repeat."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            await self._client.unlisten(subscription)
