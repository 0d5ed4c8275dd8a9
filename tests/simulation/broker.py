"""The server and the ways to it: the log in memory, with messages that travel.

``Broker`` is the log itself: guards, ids, what is in hand and what is read are those of ``MemoryLog``; only who waits for
what is kept here, so that nobody is woken in vain. ``Door`` is one process's connection: everything that goes through it
may be slow, lost, or stored without the sender ever hearing so.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextvars import Context
from typing import Any, TypeVar

from events.log import Appended, Consumer, Draft, DueTimer, LogUnavailable, Recorded, Timer
from events.log.in_hand import SECOND, Durable
from events.log.memory import Fired, Handed, MemoryLog
from tests.simulation.faults import Faults
from tests.simulation.loop import DEAD, Line, SimulatedLoop, at_once

T = TypeVar("T")
START_NS = 1_790_000_000 * SECOND
RETRY = 2.0
"""Seconds after which a request without an answer is sent again."""
PATIENCE = 15.0
"""Seconds after which the sender gives up."""
POLL = 0.25
"""Seconds between looks for somebody who wants a message."""
OUTSIDE = Context()
DUE = "due"


class Pull:
    """Somebody's wish for messages of one durable."""

    def __init__(self, door: Door, want: Callable[[], int]) -> None:
        self.door = door
        self.want = want
        self.waiting: deque[Any] = deque()
        self.coming = 0
        self._waiter: asyncio.Future[None] | None = None

    def room(self) -> int:
        return 0 if self.door.line.state is DEAD else self.want() - self.coming - len(self.waiting)

    def arrive(self, delivery: Any) -> None:
        self.coming -= 1
        self.waiting.append(delivery)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def next(self) -> Any:
        while not self.waiting:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self.waiting.popleft()


class Broker(MemoryLog):
    """The one log of a simulated night."""

    def __init__(self, loop: SimulatedLoop, faults: Faults, *, dedupe: int) -> None:
        super().__init__(now_ns=self.clock, dedupe=dedupe)
        self.loop = loop
        self.faults = faults
        self.skew_ns = 0
        """How far its clock is off."""
        self.doors: list[Door] = []
        self.stored: list[Callable[[Recorded], None]] = []
        """Called with everything that is stored."""
        self.dealt: Callable[[str, Any], None] | None = None
        """Called when a message or timer has been acknowledged: durable, and sequence or timer."""
        self.pulls: dict[str, list[Pull]] = {}
        self.expected: dict[str, int] = {}
        """What each appended fact expected of its entity, by id."""
        self._planned: dict[str, float] = {}
        self._history: list[float] = []
        """When each record was stored, by the loop's clock."""

    def clock(self) -> int:
        return START_NS + int(self.loop.time() * SECOND) + self.skew_ns

    def wake(self) -> None:
        for name in self.pulls:
            self.hand_out(name)

    async def append(self, *drafts: Draft) -> list[Appended]:
        for draft in drafts:
            self.expected.setdefault(draft.id, draft.expected)
        return await super().append(*drafts)

    def _store(self, subject: str, body: bytes, headers: dict[str, str]) -> int:
        self._history.append(self.loop.time())
        sequence = super()._store(subject, body, headers)
        for door in self.doors:
            self.later(self.faults.lag(), door.show, sequence)
        for each in self.stored:
            each(self.records[-1])
        return sequence

    def later(self, delay: float, action: Callable[..., object], *args: Any) -> None:
        """Do something outside of all processes."""
        if delay <= 0:
            self.loop.call_soon(action, *args, context=OUTSIDE)
        else:
            self.loop.call_later(delay, action, *args, context=OUTSIDE)

    # -- handing out ----------------------------------------------------------------------------------------------

    def add_pull(self, name: str, pull: Pull) -> None:
        self.pulls.setdefault(name, []).append(pull)
        self.hand_out(name)

    def hand_out(self, name: str) -> None:
        """Give what is due to those who want it, whoever comes first."""
        self._planned.pop(name, None)
        now = self.now_ns()
        durable = self._durables.get(name)
        while True:
            moment = self._due_moment() if name == DUE else durable.queue.next_moment() if durable else None
            more = durable is not None and durable._looked < len(self.records)
            if not more and (moment is None or moment > now):
                if moment is not None:
                    self._plan(name, (moment - now) / SECOND)
                return
            wishes = [pull for pull in self.pulls.get(name, ()) if pull.room() > 0]
            if not wishes:
                self._plan(name, POLL)
                return
            given = self._take_timer(now) if name == DUE else self._take(name, now)
            if given is None:
                continue
            pull = wishes[int(self.faults.luck.random() * len(wishes))]
            pull.coming += 1
            delivery: Any = TimerInHand(pull.door, given) if name == DUE else InHand(pull.door, given, name)
            self.later(self.faults.delay_of_delivery(), pull.arrive, delivery)

    def _take(self, name: str, now: int) -> Handed | None:
        durable = self._durables[name]
        sequence = durable.take(self.records, now)
        if sequence is None:
            return None
        return Handed(self, durable.queue, sequence, f"memory.{name}.{sequence}", self.records[sequence - 1])

    def _take_timer(self, now: int) -> Fired | None:
        for place in [place for place, timer in self._timers.items() if timer.at_ns <= now]:
            self._fire(place, now)
        fired = self._fired.take(now)
        return Fired(self, self._fired, fired) if fired is not None else None

    def _due_moment(self) -> int | None:
        moments = [timer.at_ns for timer in self._timers.values()]
        again = self._fired.next_moment()
        return min([*moments, again] if again is not None else moments, default=None)

    def _plan(self, name: str, delay: float) -> None:
        when = self.loop.time() + max(delay, 0.001)
        if self._planned.get(name, 1e18) > when:
            self._planned[name] = when
            self.loop.call_at(when, self._planned_now, name, when, context=OUTSIDE)

    def _planned_now(self, name: str, when: float) -> None:
        if self._planned.get(name) == when:
            self.hand_out(name)

    # -- what arrives -----------------------------------------------------------------------------------------------

    def acked(self, name: str, key: Any, handed: Handed | Fired) -> None:
        at_once(handed.ack())
        if self.dealt is not None:
            self.dealt(name, key)

    def holds(self, name: str, fits: Callable[[Recorded], bool]) -> bool:
        """Whether a durable still has in hand, or before it, a message like that."""
        durable = self._durables.get(name)
        if durable is None:
            return True
        if any(fits(self.records[sequence - 1]) for sequence in durable.queue._moments):
            return True
        return any(durable._fits(r.subject) and fits(r) for r in self.records[durable._looked :])

    def in_hand(self) -> int:
        """Everything that somebody still has to deal with, timers to come left out."""
        waiting = sum(len(durable.queue) for durable in self._durables.values()) + len(self._fired)
        return waiting + sum(len(self.records) - d._looked for d in self._durables.values())

    def as_shown(self, filter: str, after: int) -> list[Recorded]:
        """What a read shows; a lagging replica leaves out what is new."""
        found = self._matching(filter, after)
        lag = self.faults.replica_lag()
        if lag:
            then = self.loop.time() - lag
            found = [r for r in found if self._history[r.sequence - 1] <= then]
        return found


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
                answer._log_traceback = False  # type: ignore[attr-defined]  # its process may be dead
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


class InHand:
    """One message handed to one process."""

    def __init__(self, door: Door, handed: Handed, name: str) -> None:
        self.door = door
        self.name = name
        self.reply = handed.reply
        self.recorded = handed.recorded
        self.deliveries = handed.deliveries
        self._handed = handed

    async def ack(self) -> None:
        self.door.send("ack", self.door.broker.acked, self.name, self.recorded.sequence, self._handed)

    async def nak(self, delay: float = 0.0) -> None:
        self.door.send("nak", lambda: at_once(self._handed.nak(delay)))

    async def progress(self) -> bool:
        if self.door.faults.progress_is_lost():
            await asyncio.sleep(RETRY)
            return False
        return await self.door.ask(lambda: at_once(self._handed.progress()))


class TimerInHand:
    """A timer handed to one process."""

    def __init__(self, door: Door, fired: Fired) -> None:
        self.door = door
        self.timer = fired.timer
        self._fired = fired

    async def ack(self) -> None:
        self.door.send("ack", self.door.broker.acked, DUE, self.timer, self._fired)

    async def nak(self, delay: float = 0.0) -> None:
        self.door.send("nak", lambda: at_once(self._fired.nak(delay)))
