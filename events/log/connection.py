"""A lean connection: nats-py's client with a shorter way in for the messages that we read by the million.

A subscription made with ``listen`` hands each message to a plain function as it comes off the socket: raw headers, no
queue, no message object. ``ask`` is a request over one such subscription. ``soon`` leaves bytes to the next send. This
is the only place that reaches past nats-py's public surface (pinned by version; tests/test_connection.py and
tests/test_costs.py see a change).
"""

from __future__ import annotations

import asyncio
import calendar
import itertools
import logging
from collections.abc import Callable, Mapping
from functools import lru_cache
from urllib.parse import urlsplit

import nats
from nats.aio.client import Client
from nats.aio.subscription import Subscription

from events.log import LogUnavailable, Recorded
from events.log.wire import SERVER_MARKS, decode

_COUNTS = frozenset({"Nats-Num-Pending", "Nats-Last-Sequence"})
"""What the server adds to some answers only."""

log = logging.getLogger(__name__)

SOON = 0.05
"""Seconds that an acknowledgement waits at most for something to be sent with."""
SMALL = 64 * 1024
"""Bytes up to which a question is written to the socket without asking whether there is room."""

Handler = Callable[[str, str, bytes, bytes], None]
"""Gets subject, reply subject, raw headers and body."""


class LeanClient(Client):
    """nats-py's client with direct handlers."""

    def __init__(self) -> None:
        super().__init__()
        self._direct: dict[int, Handler] = {}
        self._asked: dict[str, asyncio.Future[tuple[bytes, bytes]]] = {}
        self._ask_prefix = ""
        self._ask_lock = asyncio.Lock()
        self._ask_numbers = itertools.count(1)
        self._soon: asyncio.TimerHandle | None = None
        self._writing = False
        self._deadlines: dict[str, float] = {}
        """By when each question wants its answer, by its number."""
        self._sweep: asyncio.TimerHandle | None = None
        self.on_reconnect: list[Callable[[], None]] = []

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        handler = self._direct.get(sid)
        if handler is None:
            await super()._process_msg(sid, subject, reply, data, headers)
            return
        handler(subject.decode(), reply.decode(), headers or b"", data)

    async def listen(self, subject: str, handler: Handler) -> Subscription:
        """Subscribe with a plain function. It must be quick and must not raise."""
        subscription = await self.subscribe(subject)
        self._direct[subscription._id] = handler
        return subscription

    async def unlisten(self, subscription: Subscription) -> None:
        """End a subscription made by ``listen``."""
        self._direct.pop(subscription._id, None)
        if not self.is_closed and not subscription._closed:
            await subscription.unsubscribe()

    async def ask(
        self, subject: str, body: bytes, headers: dict[str, str] | None = None, *, timeout: float = 5.0
    ) -> tuple[bytes, bytes]:
        """Send a request and wait for one answer: its raw headers and body.

        Raises TimeoutError, or LogUnavailable if nobody listens there or the connection is closed.
        """
        if not self._ask_prefix:
            async with self._ask_lock:
                if not self._ask_prefix:
                    prefix = self.new_inbox()
                    await self.listen(f"{prefix}.*", self._answered)
                    self._ask_prefix = prefix
        number = str(next(self._ask_numbers))
        loop = asyncio.get_running_loop()
        future: asyncio.Future[tuple[bytes, bytes]] = loop.create_future()
        self._asked[number] = future
        self._deadlines[number] = deadline = loop.time() + timeout
        if self._sweep is None:
            self._sweep = loop.call_at(deadline, self._swept)
        elif self._sweep.when() > deadline:
            self._sweep.cancel()
            self._sweep = loop.call_at(deadline, self._swept)
        try:
            reply = f"{self._ask_prefix}.{number}"
            if not self._write(subject, reply, body, headers):
                try:
                    await self.publish(subject, body, reply=reply, headers=headers)
                except nats.errors.Error as error:
                    raise LogUnavailable(f"the server cannot be reached: {error}") from error
            raw, data = await future
        finally:
            self._deadlines.pop(number, None)
            self._asked.pop(number, None)
        if raw.startswith(b"NATS/1.0 503"):
            raise LogUnavailable(f"nobody listens on {subject}")
        return raw, data

    async def send(self, subject: str, body: bytes, reply: str) -> None:
        """Publish, and return when it has been handed to the socket. Raises nats.errors.Error."""
        if self._write(subject, reply, body, None):
            await asyncio.sleep(0)
        else:
            await self.publish(subject, body, reply=reply)

    def _write(self, subject: str, reply: str, body: bytes, headers: dict[str, str] | None) -> bool:
        """Put a message on the way with everything else of this turn of the loop; False: nats-py has to do it.

        That is so where it may have to wait, refuse or rewrite something: not connected, large, or with odd characters.
        """
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()]) if headers else ""
        odd = not subject.isprintable() or " " in subject or not subject
        if odd or len(body) > SMALL or len(lines) > SMALL or not self.is_connected or self.is_draining_pubs:
            return False
        if lines:
            if not lines.isascii() or len(lines.splitlines()) != len(headers or ()):
                return False
            head = b"NATS/1.0\r\n%b\r\n" % lines.encode()
            sizes = f"{len(head)} {len(head) + len(body)}"
            command = b"HPUB %b\r\n%b%b\r\n" % (f"{subject} {reply} {sizes}".encode(), head, body)
        else:
            command = b"PUB %b\r\n%b\r\n" % (f"{subject} {reply} {len(body)}".encode(), body)
        self._pending.append(command)
        self._pending_data_size += len(command)
        if not self._writing:
            self._writing = True
            asyncio.get_running_loop().call_soon(self._write_now)
        return True

    def _write_now(self) -> None:
        self._writing = False
        if self._pending and self.is_connected and self._transport is not None:
            commands, self._pending, self._pending_data_size = self._pending, [], 0
            self._transport.writelines(commands)

    def soon(self, subject: str, body: bytes) -> None:
        """Send together with whatever is sent next, at the latest after SOON seconds or when the connection is closed.

        For what nobody waits for: a send of its own costs more than all the rest of it. Raises LogUnavailable if the
        connection is closed.
        """
        if self.is_closed:
            raise LogUnavailable("the connection is closed")
        command = b"PUB %b %d\r\n%b\r\n" % (subject.encode(), len(body), body)
        self._pending.append(command)
        self._pending_data_size += len(command)
        if self._soon is None:
            self._soon = asyncio.get_running_loop().call_later(SOON, self._send_now)

    def _send_now(self) -> None:
        self._soon = None
        self._write_now()

    def _swept(self) -> None:
        """Whoever has waited long enough hears so. One timer for all: most are answered long before."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        for number, deadline in self._deadlines.items():
            future = self._asked[number]
            if deadline <= now and not future.done():
                future.set_exception(TimeoutError())
        left = [deadline for deadline in self._deadlines.values() if deadline > now]
        self._sweep = loop.call_at(min(left), self._swept) if left else None

    def _answered(self, subject: str, reply: str, headers: bytes, data: bytes) -> None:
        future = self._asked.get(subject.rsplit(".", 1)[1])
        if future and not future.done():
            future.set_result((headers, data))


def parse_headers(raw: bytes) -> tuple[dict[str, str], bool]:
    """Read raw headers. The first of equal names wins; of the server's marks the last, for it adds them at the end.

    The flag says that a mark of SERVER_MARKS stood there twice: once as it was stored, by whoever published it.
    """
    found: dict[str, str] = {}
    twice = False
    for line in raw.decode("utf-8", "replace").split("\r\n")[1:]:
        name, colon, value = line.partition(":")
        if not colon:
            continue
        if name not in found:
            found[name] = value.strip()
        elif name in SERVER_MARKS:
            twice = True
            found[name] = value.strip()
        elif name in _COUNTS:
            found[name] = value.strip()
    return found, twice


def status_of(raw: bytes) -> int:
    """The status of a message from the server, such as 404; 0 if it is an ordinary message."""
    return int(raw[9:12]) if raw.startswith(b"NATS/1.0 ") and raw[9:12].isdigit() else 0


@lru_cache(maxsize=4096)
def _minute(text: str) -> int:
    year, month, day, hour, minute = int(text[:4]), int(text[5:7]), int(text[8:10]), int(text[11:13]), int(text[14:16])
    return calendar.timegm((year, month, day, hour, minute, 0)) * 1_000_000_000


def nanoseconds(text: str) -> int:
    """An RFC 3339 time in UTC, as the server writes it, in nanoseconds since 1970."""
    whole, _, fraction = text[17:].rstrip("Z").partition(".")
    return _minute(text[:16]) + int(whole) * 1_000_000_000 + int((fraction + "000000000")[:9])


def stored(found: Mapping[str, str], body: bytes, twice: bool) -> Recorded:
    """A message as direct get and republish give it: with the server's marks among its headers."""
    return decode(
        sequence=int(found["Nats-Sequence"]), at_ns=nanoseconds(found["Nats-Time-Stamp"]),
        subject=found["Nats-Subject"], headers=found, body=body, smuggled=twice,
    )  # fmt: skip


async def connect(url: str, *, name: str, wait: float = 5.0) -> LeanClient:
    """Connect for as long as the process lives: reconnects for ever. Raises LogUnavailable after ``wait`` seconds.

    A user named ``tenant-…`` gets the ordinary inbox prefix, every other user one of its own (hazard H1). A refusal is
    tried again meanwhile: a server that reads its configuration again lets nobody in for a moment.
    """
    clock = asyncio.get_running_loop()
    end = clock.time() + wait
    while True:
        client = LeanClient()
        try:
            async with asyncio.timeout_at(end):
                await _open(client, url, name)
            return client
        except (TimeoutError, OSError, nats.errors.Error) as error:
            if not client.is_closed:
                await client.close()
            if clock.time() + 0.1 > end:
                raise LogUnavailable(f"no NATS server answers there ({type(error).__name__}: {error})") from error
        await asyncio.sleep(0.1)


async def _open(client: LeanClient, url: str, name: str) -> None:
    user = urlsplit(url).username or ""

    async def failed(error: Exception) -> None:
        level = logging.WARNING if "permissions" in str(error).lower() else logging.DEBUG
        log.log(level, "connection %s: %s", name, error)

    async def reconnected() -> None:
        log.info("connection %s is back", name)
        for callback in client.on_reconnect:
            callback()

    await client.connect(
        servers=url.split(","),
        name=name,
        error_cb=failed,
        reconnected_cb=reconnected,
        max_reconnect_attempts=-1,
        reconnect_time_wait=0.1,  # type: ignore[arg-type]  # seconds; a fraction works
        connect_timeout=2,
        inbox_prefix=f"_INBOX_{user}" if user and not user.startswith("tenant-") else "_INBOX",
        pending_size=64 * 1024 * 1024,
    )
