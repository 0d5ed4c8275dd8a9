"""The server: the log in memory, with messages that travel.

Guards, ids, what is in hand and what is read are those of ``MemoryLog``; only who waits for what is kept here, so that
nobody is woken in vain.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import TYPE_CHECKING, Any

from events.log import Appended, Draft, Recorded
from events.log.in_hand import SECOND
from events.log.memory import Fired, Handed, MemoryLog
from tests.simulation.faults import Faults
from tests.simulation.in_hand import DUE, InHand, Pull, TimerInHand
from tests.simulation.loop import SimulatedLoop, at_once

if TYPE_CHECKING:
    from tests.simulation.door import Door

START_NS = 1_790_000_000 * SECOND
POLL = 0.25
"""Seconds between looks for somebody who wants a message; they double while there is nobody."""
LONGEST_POLL = 4.0
OUTSIDE = Context()


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
        self.given_up: set[str] = set()
        """Ids of facts whose sender had given up before they were stored."""
        self._only = ""
        self._planned: dict[str, float] = {}
        self._polls: dict[str, float] = {}
        self._history: list[float] = []
        """When each record was stored, by the loop's clock."""

    def clock(self) -> int:
        return START_NS + int(self.loop.time() * SECOND) + self.skew_ns

    def wake(self) -> None:
        for name in (self._only,) if self._only else self.pulls:
            self.hand_out(name)

    def tell(self, name: str, action: Coroutine[Any, Any, Any]) -> None:
        """Do something that changes only what one durable has in hand."""
        self._only = name
        at_once(action)
        self._only = ""

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
                pause = self._polls.get(name, POLL)
                self._polls[name] = min(2 * pause, LONGEST_POLL)
                self._plan(name, pause)
                return
            self._polls.pop(name, None)
            given = self._take_timer(now) if name == DUE else self._take(name, now)
            if given is None:
                continue
            pull = wishes[int(self.faults.luck.random() * len(wishes))]
            pull.coming += 1
            delivery = TimerInHand(pull.door, given) if isinstance(given, Fired) else InHand(pull.door, given, name)
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
        self.tell(name, handed.ack())
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
