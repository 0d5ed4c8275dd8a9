"""Pulling messages of a durable consumer, a few at a time and without a pause between them."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress

import nats
from nats.aio.subscription import Subscription

from events.log import LogUnavailable, Recorded, Timer
from events.log.alarm import Alarm
from events.log.connection import LeanClient, parse_headers, status_of

log = logging.getLogger(__name__)

EXPIRES = 20.0
"""Seconds a pull request stays open at the server."""
CHECK = 1.0
"""Seconds between looks while a request is open."""
RECHECK = 0.05
"""Seconds between looks at ``want`` while nothing is wanted."""


class PullLoop:
    """Keeps pull requests open for as many messages as are wanted."""

    def __init__(
        self,
        client: LeanClient,
        stream: str,
        durable: str,
        want: Callable[[], int],
        freed: asyncio.Event | None = None,
    ) -> None:
        self.client = client
        self.subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}"
        self.want = want
        self._waiting: deque[tuple[str, str, bytes, bytes]] = deque()
        self._arrived = freed or asyncio.Event()
        """Set when a message arrives, and by whoever wants more."""
        self._open = 0
        self._until = 0.0

    def _handle(self, subject: str, reply: str, headers: bytes, body: bytes) -> None:
        status = status_of(headers)
        if status:
            if status == 100:
                return
            pending, _ = parse_headers(headers)
            self._open = max(0, self._open - int(pending.get("Nats-Pending-Messages", self._open)))
            if status not in (404, 408, 409):
                log.warning("pull from %s: %s", self.subject, headers[:120])
        else:
            self._open = max(0, self._open - 1)
            self._waiting.append((subject, reply, headers, body))
        self._arrived.set()

    def _reset(self) -> None:
        self._open = 0
        self._arrived.set()

    async def messages(self) -> AsyncGenerator[tuple[str, str, bytes, bytes], None]:
        """Subject, ack subject, raw headers and body of each message, for ever."""
        inbox = self.client.new_inbox()
        subscription = await self.client.listen(inbox, self._handle)
        self.client.on_reconnect.append(self._reset)
        loop = asyncio.get_running_loop()
        look = Alarm(self._arrived.set)
        try:
            while True:
                if loop.time() > self._until:
                    self._open = 0
                wanted = self.want() - self._open - len(self._waiting)
                if wanted > 0 and (self._open == 0 or wanted > self._open):
                    await self._pull(inbox, wanted)
                    self._until = loop.time() + EXPIRES + 1
                if self._waiting:
                    yield self._waiting.popleft()
                    continue
                self._arrived.clear()
                look.within(CHECK if self._open else RECHECK)
                await self._arrived.wait()
        finally:
            look.cancel()
            self.client.on_reconnect.remove(self._reset)
            await self._hand_back(subscription)

    async def _hand_back(self, subscription: Subscription) -> None:
        """Take no more, and let others have at once what nobody here has looked at."""
        if self.client.is_closed:
            return
        await subscription.unsubscribe()
        with suppress(nats.errors.Error):
            await self.client.flush(1)  # what the server had sent before it heard of the end has arrived by now
        while self._waiting:
            _, reply, _, _ = self._waiting.popleft()
            await self.client.publish(reply, b"-NAK")
        await self.client.unlisten(subscription)

    async def _pull(self, inbox: str, count: int) -> None:
        request = b'{"batch":%d,"expires":%d}' % (count, int(EXPIRES * 1e9))
        await self.client.publish(self.subject, request, reply=inbox)
        self._open += count


class Pulled:
    """One message handed to this worker."""

    def __init__(self, client: LeanClient, reply: str, recorded: Recorded, deliveries: int) -> None:
        self._client = client
        self.reply = reply
        self.recorded = recorded
        self.deliveries = deliveries

    async def ack(self) -> None:
        """It is dealt with. Lost in the next SOON seconds with its process, it would be handed out again (H6)."""
        self._client.soon(self.reply, b"+ACK")

    async def nak(self, delay: float = 0.0) -> None:
        """Hand it out again, after a delay in seconds."""
        await self._client.publish(self.reply, b'-NAK {"delay": %d}' % int(delay * 1e9) if delay else b"-NAK")

    async def progress(self) -> bool:
        """Still working on it. True if the server confirmed that it heard so."""
        try:
            await self._client.ask(self.reply, b"+WPI", timeout=2.0)
        except (TimeoutError, LogUnavailable):
            return False
        return True


class Fired:
    """A timer that fired."""

    def __init__(self, client: LeanClient, reply: str, timer: Timer) -> None:
        self._client = client
        self.reply = reply
        self.timer = timer

    async def ack(self) -> None:
        """It is dealt with."""
        await self._client.publish(self.reply, b"+ACK")

    async def nak(self, delay: float = 0.0) -> None:
        """Hand it out again, after a delay in seconds."""
        await self._client.publish(self.reply, b'-NAK {"delay": %d}' % int(delay * 1e9) if delay else b"-NAK")
