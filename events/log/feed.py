"""What the stream republishes, heard once for everybody in a process who follows the log."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable

from nats.aio.subscription import Subscription

from events.log import LogUnavailable, Recorded
from events.log.connection import LeanClient, parse_headers, stored

log = logging.getLogger(__name__)

STREAM = "EVENTS"
FLUSH = 2.0
"""Seconds for a server to take a subscription; one that is away gets it when it is back, and the tail catches up."""


class Feed:
    """What the stream republishes: heard once, on one connection, for all that follow the log in this process."""

    def __init__(self, client: LeanClient) -> None:
        self.client = client
        self._handlers: list[Callable[[Recorded], None]] = []
        self._subscription: Subscription | None = None
        self._lock = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def heard(
        self, handler: Callable[[Recorded], None], again: Callable[[], None], client: LeanClient
    ) -> AsyncGenerator[None, None]:
        """Call ``handler`` with all that is stored from now on, and ``again`` when something may have been missed.

        What is asked over ``client`` after that shows everything stored before.
        """
        self._handlers.append(handler)
        self.client.on_reconnect.append(again)
        try:
            async with self._lock:
                if self._subscription is None:
                    self._subscription = await self.client.listen("tail.evt.>", self._handle)
            if client is not self.client:
                await self._taken()
            yield
        finally:
            self._handlers.remove(handler)
            self.client.on_reconnect.remove(again)
            if not self._handlers and self._subscription is not None:
                subscription, self._subscription = self._subscription, None
                await self.client.unlisten(subscription)

    async def _taken(self) -> None:
        """The server has taken the subscription when it answers what was asked behind it, on the same connection."""
        try:
            await self.client.ask(f"$JS.API.DIRECT.GET.{STREAM}", b'{"last_by_subj":">"}', timeout=FLUSH)
        except (TimeoutError, LogUnavailable) as error:
            log.debug("the tail begins on a connection that is away: %s", error)

    def _handle(self, subject: str, reply: str, headers: bytes, body: bytes) -> None:
        found, twice = parse_headers(headers)
        if found.get("Nats-Stream") != STREAM or subject != f"tail.{found.get('Nats-Subject')}":
            log.warning("somebody speaks on %s; it is not from the log and is ignored", subject)
            return
        recorded = stored(found, body, twice)
        for handler in self._handlers:
            handler(recorded)
