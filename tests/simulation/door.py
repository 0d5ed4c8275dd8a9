"""One process's connection to the broker: what goes through it may be slow, lost, or stored without an answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any, TypeVar

from events.log import Appended, Consumer, Draft, DueTimer, LogUnavailable, Recorded, Timer
from events.log.in_hand import SECOND, Durable
from tests.simulation.broker import Broker
from tests.simulation.in_hand import DUE, RETRY, InHand, Pull
from tests.simulation.loop import Line, at_once

T = TypeVar("T")
PATIENCE = 15.0
"""Seconds after which the sender gives up."""


class Door:
    """One process's way to the broker; it fits ``EventLog``."""

    def __init__(self, broker: Broker, line: Line) -> None:
        self.broker = broker
        self.loop = broker.loop
        self.faults = broker.faults
        self.line = line
        self.shown = len(broker.records)
        self.closed = False
        self._news: list[asyncio.Future[None]] = []
        broker.doors.append(self)

    def close(self) -> None:
        """The connection is gone."""
        self.closed = True
        if self in self.broker.doors:
            self.broker.doors.remove(self)
        for pulls in self.broker.pulls.values():
            pulls[:] = [pull for pull in pulls if pull.door is not self]

    # -- messages ---------------------------------------------------------------------------------------------------

    async def ask(self, action: Callable[[], T], *, delay: float = 0.0, back: float = 0.0) -> T:
        """A request and its answer; the server acts even if nobody waits for the answer any more."""
        answer: asyncio.Future[T] = self.loop.create_future()
        self.broker.later(self._way(delay), self._act, action, answer, back)
        return await answer

    def _way(self, delay: float) -> float:
        return max(delay, self.faults.outage_left())

    def _act(self, action: Callable[[], T], answer: asyncio.Future[T], back: float) -> None:
        result: T | None = None
        trouble: Exception | None = None
        try:
            result = action()
        except Exception as error:
            trouble = error

        def tell() -> None:
            if answer.done():
                return
            if trouble is not None:
                answer.set_exception(trouble)
                answer._log_traceback = False  # its process may be dead
            else:
                answer.set_result(result)  # type: ignore[arg-type]

        if back > 0:
            self.broker.later(back, tell)
        else:
            tell()

    def send(self, kind: str, action: Callable[..., object], *args: Any) -> None:
        """A message that nobody answers."""
        delay = self.faults.delay_of_word(kind)
        if delay is not None and not self.closed:
            self.broker.later(delay, action, *args)

    # -- the log ----------------------------------------------------------------------------------------------------

    async def append(self, *drafts: Draft) -> list[Appended]:
        what = f"{drafts[0].entity} {drafts[0].name}"
        fate = self.faults.fate_of_append(f"{self.line}: {what}")

        def store() -> list[Appended]:
            return at_once(self.broker.append(*drafts))

        if fate == "":
            return await self.ask(store)
        luck = self.faults.luck
        if fate == "slow":
            return await self.ask(store, delay=luck.expovariate(1.0))
        if fate == "slow answer":
            return await self.ask(store, back=luck.expovariate(1.0))
        if fate == "lost request":
            return await self.ask(store, delay=RETRY)
        if fate == "lost answer":
            self.broker.later(self._way(0.0), self._act, store, self.loop.create_future(), 0.0)
            return await self.ask(store, delay=RETRY)
        if fate in ("stored, no answer", "stored later, no answer"):
            when = 0.0 if fate == "stored, no answer" else PATIENCE + luck.expovariate(0.5)
            self.broker.later(when, self._act, store, self.loop.create_future(), 0.0)
            if when:
                self.broker.given_up.update(draft.id for draft in drafts)
        await asyncio.sleep(PATIENCE)
        raise LogUnavailable(f"{drafts[0].subject} could not be appended: no answer")

    async def read(self, filter: str, *, after: int = 0) -> AsyncIterator[Recorded]:
        for recorded in await self.ask(lambda: self.broker.as_shown(filter, after)):
            yield recorded

    def show(self, sequence: int) -> None:
        """The tail has come so far."""
        self.shown = max(self.shown, sequence)
        news, self._news = self._news, []
        for waiter in news:
            if not waiter.done():
                waiter.set_result(None)

    async def tail(self, *, after: int | None = None) -> AsyncIterator[Recorded]:
        position = await self.last_sequence() if after is None else after
        while True:
            while position < self.shown:
                position += 1
                yield self.broker.records[position - 1]
            waiter = self.loop.create_future()
            self._news.append(waiter)
            await waiter

    async def last_sequence(self) -> int:
        return await self.ask(lambda: len(self.broker.records))

    async def created(self) -> str:
        return at_once(self.broker.created())

    async def consume(
        self, consumer: Consumer, *, want: Callable[[], int], freed: asyncio.Event | None = None
    ) -> AsyncGenerator[InHand, None]:
        self.broker._durables.setdefault(consumer.name, Durable(consumer))
        pull = Pull(self, want)
        self.broker.later(0.0, self.broker.add_pull, consumer.name, pull)
        try:
            while True:
                yield await pull.next()
        finally:
            if pull in self.broker.pulls.get(consumer.name, ()):
                self.broker.pulls[consumer.name].remove(pull)
            for delivery in pull.waiting:
                await delivery.nak()

    async def hand_back(self, reply: str) -> None:
        self.send("nak", lambda: at_once(self.broker.hand_back(reply)))

    async def due(self) -> AsyncIterator[DueTimer]:
        pull = Pull(self, lambda: 100)
        self.broker.later(0.0, self.broker.add_pull, DUE, pull)
        while True:
            yield await pull.next()

    async def set_timer(self, timer: Timer) -> None:
        fate = self.faults.fate_of_timer(f"{self.line}: {timer.entity} {timer.kind}")
        if fate != "lost request":
            early = self.faults.early()
            moved = timer if not early else _earlier(timer, early)
            await self.ask(lambda: at_once(self.broker.set_timer(moved)))
        if fate:
            await asyncio.sleep(RETRY)
            raise TimeoutError

    async def write_output(self, tenant: str, execution: str, task: str, attempt: int, chunk: bytes) -> None:
        await self.ask(lambda: at_once(self.broker.write_output(tenant, execution, task, attempt, chunk)))

    async def put_blob(self, bucket: str, data: bytes) -> str:
        return await self.ask(lambda: at_once(self.broker.put_blob(bucket, data)))

    async def get_blob(self, bucket: str, sha256: str) -> bytes:
        return await self.ask(lambda: at_once(self.broker.get_blob(bucket, sha256)))


def _earlier(timer: Timer, seconds: float) -> Timer:
    """It comes up to a second early (hazard H12)."""
    places = {name: getattr(timer, name) for name in Timer.__slots__}
    return Timer(**places | {"at_ns": timer.at_ns - int(seconds * SECOND)})
