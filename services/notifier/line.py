"""One channel's line: what waits for it, and the one worker that delivers it. No line waits for another."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Protocol

from schemas.notify import SEVERITIES, Channel
from services.notifier.channels import Absent, ChannelError, Message, Sender, redacted
from services.notifier.decide import Item
from services.notifier.pace import Entry, Pace
from services.notifier.threads import in_thread

log = logging.getLogger(__name__)

BACKLOG = 4_000
"""Items that may wait for a channel; beyond it the oldest of the least severe are not told any more."""
REST = 0.05
SHARE = 10
"""Between two looks lie at least REST seconds, and SHARE times the processor time of the last one: many may wait."""
STUCK = 4
"""Threads of one channel that may hang beyond their limit before it is not tried again until one of them ends."""


class Outcome(Protocol):
    """Says in the log what became of items; it returns when the log has it."""

    async def sent(self, entries: Sequence[Entry], message: Message, seconds: float) -> None:
        """They were told."""
        ...

    async def failed(self, entries: Sequence[Entry], reason: str, *, given_up: bool) -> None:
        """They were not told."""
        ...

    async def suppressed(self, entries: Sequence[Entry], reason: str) -> None:
        """They are not going to be told."""
        ...


Compose = Callable[[Sequence[Item]], Awaitable[Message]]


class Line:
    """Delivers to one channel, in its pace, until cancelled."""

    def __init__(
        self, name: str, channel: Channel, sender: Sender, outcome: Outcome, compose: Compose, *,
        secrets: tuple[str, ...] = (), stale: float = 86400.0,
    ) -> None:  # fmt: skip
        self.name = name
        self.channel = channel
        self.sender = sender
        self.pace = Pace(channel)
        self._outcome = outcome
        self._compose = compose
        self._secrets = secrets
        self._stale = stale
        self._waiting: dict[tuple[str, str], Entry] = {}
        self._changed = asyncio.Event()
        self._hurried = asyncio.Event()
        self._next: float | None = None
        """When the line is looked at without being told to."""
        self._recording: set[asyncio.Task[None]] = set()
        self._stuck = 0

    def add(self, item: Item, *, maybe_again: bool = False) -> asyncio.Future[None]:
        """Put it into the line; the answer is done when the log says what became of it."""
        key = (item.execution, item.key)
        known = self._waiting.get(key)
        if known is not None:
            return known.settled
        loop = asyncio.get_running_loop()
        entry = Entry(item, loop.time(), loop.create_future(), maybe_again=maybe_again)
        self._waiting[key] = entry
        if len(self._waiting) > BACKLOG:
            self._overflow()
        if self._next is None or self.pace.due(entry) < self._next:
            self._changed.set()
        return entry.settled

    def hurry(self) -> None:
        """Gather nothing any more: the program is about to end."""
        self.pace.hurry = True
        self._hurried.set()
        self._changed.set()

    async def run(self) -> None:
        """Deliver for ever, until cancelled."""
        clock = asyncio.get_running_loop()
        try:
            while True:
                began = time.thread_time()
                self._changed.clear()
                old = self._stale_ones()
                entries, self._next = self.pace.pick(list(self._waiting.values()), clock.time())
                took = time.thread_time() - began
                if old:
                    await self._drop(old)
                elif entries:
                    await self._deliver(entries)
                else:
                    await self._rest(max(REST, SHARE * took))
        finally:
            for task in self._recording:
                task.cancel()

    async def _rest(self, seconds: float) -> None:
        """At least so long, unless there is a hurry; then until something changes or is due."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurried.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._next):
                await self._changed.wait()

    async def _deliver(self, entries: list[Entry]) -> None:
        clock = asyncio.get_running_loop()
        for entry in entries:
            entry.flying = True
            entry.tries += 1
        try:
            message = await self._compose([entry.item for entry in entries])
            await self._send(message)
        except Absent:
            self._settle(list(self._waiting.values()))  # nobody is there to hear any of it
            return
        except ChannelError as error:
            wait = self.pace.failed(clock.time(), error.after)
            await self._failed(entries, error, wait)
            return
        self.pace.succeeded(entries, clock.time())
        oldest = min(entry.item.at_ns for entry in entries)
        await self._outcome.sent(entries, message, max(0.0, time.time() - oldest / 1e9))
        self._settle(entries)

    async def _send(self, message: Message) -> None:
        """In a thread, within the channel's time. Raises ChannelError, Absent."""
        if self._stuck >= STUCK:
            raise ChannelError(f"{self._stuck} earlier tries still hang")

        def call() -> None:
            self.sender.send(message, self.channel.timeout)

        work = asyncio.ensure_future(in_thread(call, name=self.name))
        work.add_done_callback(_heard)  # also where this line is cancelled before the thread ends
        done, _ = await asyncio.wait({work}, timeout=self.channel.timeout + 1.0)
        if not done:
            self._stuck += 1
            work.add_done_callback(self._unstuck)
            raise ChannelError(f"it did not end within {self.channel.timeout:g} s")
        try:
            work.result()
        except (ChannelError, Absent):
            raise
        except Exception as error:
            log.warning("the channel %s broke: %s", self.name, type(error).__name__)
            raise ChannelError(f"{type(error).__name__}: {error}") from error

    def _unstuck(self, _: asyncio.Future[None]) -> None:
        self._stuck -= 1

    async def _failed(self, entries: list[Entry], error: ChannelError, wait: float) -> None:
        reason = self._redacted(str(error))
        over = [e for e in entries if not error.again or e.tries >= self.channel.tries]
        first = [e for e in entries if e.tries == 1 and e not in over]
        log.info("the channel %s did not take a message: %s; next try in %g s", self.name, reason, wait)
        if first:
            await self._outcome.failed(first, reason, given_up=False)
        if over:
            await self._outcome.failed(over, reason, given_up=True)
            self._settle(over)
        for entry in entries:
            entry.flying = False

    def _redacted(self, reason: str) -> str:
        return redacted(reason, self._secrets)[:300]

    def _settle(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            self._waiting.pop((entry.item.execution, entry.item.key), None)
            if not entry.settled.done():
                entry.settled.set_result(None)

    def _stale_ones(self) -> list[Entry]:
        """What is too old by now to be said: old news is no news, also after a long standstill."""
        now = time.time()
        return [
            entry for entry in self._waiting.values()
            if now - entry.item.at_ns / 1e9 > (self.channel.stale if entry.item.severity == "info" else self._stale)
        ]  # fmt: skip

    async def _drop(self, old: list[Entry]) -> None:
        await self._outcome.suppressed(old, "it was too old by the time it could be told")
        self._settle(old)

    def _overflow(self) -> None:
        """Let a quarter of the backlog go at once, so that nobody waits for a dead channel."""
        idle = [entry for entry in self._waiting.values() if not entry.flying]
        idle.sort(key=lambda entry: SEVERITIES.index(entry.item.severity))
        going = idle[: BACKLOG // 4]
        for entry in going:
            self._waiting.pop((entry.item.execution, entry.item.key), None)
        task = asyncio.create_task(self._let_go(going))
        self._recording.add(task)
        task.add_done_callback(self._recording.discard)

    async def _let_go(self, entries: list[Entry]) -> None:
        await self._outcome.suppressed(entries, "too much waited for this channel")
        self._settle(entries)


def _heard(work: asyncio.Future[None]) -> None:
    """Whatever a sender raised counts as seen."""
    if not work.cancelled():
        work.exception()
