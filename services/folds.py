"""Cached folds: what the log says about each execution, kept up to date by following the log (DESIGN 2, Folding).

A service decides on a trigger only when everything up to the trigger has been applied. A fold is a cache and nothing
else: it can be dropped at any moment and is folded again when somebody asks.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
from collections import OrderedDict
from collections.abc import Callable

from events.fold import ExecutionFold
from events.log import EventLog, LogUnavailable, Recorded, of_execution
from events.machines import EXECUTION

log = logging.getLogger(__name__)

Key = tuple[str, str]
ENDED_KEPT = 256
"""Folds of ended executions that stay in memory."""
LOOK_BACK = 1_000
"""Events before the start of the following that are looked at too: a replica that lags may leave them out (H9)."""
RECENT_KEPT = 200_000
"""Events for which the newest sequence of each execution is remembered, against stale reads (hazard H9)."""


class Folds:
    """One per process, whatever services it runs."""

    def __init__(self, log: EventLog) -> None:
        self.log = log
        self.applied = 0
        """Everything up to this sequence is in the folds."""
        self._folds: dict[Key, ExecutionFold] = {}
        self._ended: OrderedDict[Key, None] = OrderedDict()
        self._loading: dict[Key, asyncio.Future[None]] = {}
        self._buffers: dict[Key, list[Recorded]] = {}
        self._recent: OrderedDict[Key, int] = OrderedDict()
        self._waiters: list[tuple[int, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()
        self._observers: dict[Key, list[Callable[[Recorded], None]]] = {}
        self.started = asyncio.Event()

    async def follow(self) -> None:
        """Follow the log for ever. Run it as a task beside the services."""
        self.applied = max(0, await self.log.last_sequence() - LOOK_BACK)
        self.started.set()
        async for recorded in self.log.tail(after=self.applied):
            self._take(recorded)

    def _take(self, recorded: Recorded) -> None:
        key = (recorded.tenant, recorded.execution)
        self._recent[key] = recorded.sequence
        self._recent.move_to_end(key)
        while self._recent and next(iter(self._recent.values())) < recorded.sequence - RECENT_KEPT:
            self._recent.popitem(last=False)
        if key in self._buffers:
            self._buffers[key].append(recorded)
        fold = self._folds.get(key)
        if fold is not None:
            fold.apply(recorded)
            if fold.state in EXECUTION.final:
                self._retire(key)
            else:
                self._ended.pop(key, None)  # somebody opened it again: it is in use
        self.applied = recorded.sequence
        while self._waiters and self._waiters[0][0] <= self.applied:
            _, _, waiter = heapq.heappop(self._waiters)
            if not waiter.done():
                waiter.set_result(None)
        for observer in self._observers.get(key, ()):
            observer(recorded)

    def _retire(self, key: Key) -> None:
        self._ended[key] = None
        self._ended.move_to_end(key)
        while len(self._ended) > ENDED_KEPT:
            old, _ = self._ended.popitem(last=False)
            if old not in self._observers:
                self._folds.pop(old, None)

    def live(self) -> list[ExecutionFold]:
        """Folds in memory of executions that have not ended."""
        return [fold for fold in self._folds.values() if fold.state not in EXECUTION.final]

    async def reached(self, sequence: int) -> None:
        """Wait until everything up to the sequence has been applied."""
        await self.started.wait()
        if self.applied >= sequence:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiters, (sequence, next(self._numbers), waiter))
        await waiter

    async def at(self, tenant: str, execution: str, sequence: int) -> ExecutionFold:
        """The fold of an execution with everything up to the sequence in it, and whatever came since."""
        await self.reached(sequence)
        key = (tenant, execution)
        while key not in self._folds:
            if key in self._loading:
                await asyncio.shield(self._loading[key])
            else:
                await self._load(key, sequence)
        return self._folds[key]

    async def _load(self, key: Key, sequence: int) -> None:
        """A cold fold. What a lagging replica left out is seen by what the tail or the trigger already showed us."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._loading[key] = done
        self._buffers[key] = []
        needed = max(sequence, self._recent.get(key, 0))
        try:
            for pause in (0.0, 0.05, 0.2, 0.5, 1.0, 2.0):
                await asyncio.sleep(pause)
                fold = ExecutionFold(*key)
                async for recorded in self.log.read(of_execution(*key)):
                    fold.apply(recorded)
                if fold.sequence >= needed:
                    break
            else:
                raise LogUnavailable(f"the log shows {key[1]} only up to {fold.sequence}, not yet {needed}")
            for recorded in self._buffers[key]:
                fold.apply(recorded)
            self._folds[key] = fold
            if fold.state in EXECUTION.final:
                self._retire(key)
        finally:
            del self._buffers[key], self._loading[key]
            done.set_result(None)

    def observe(self, tenant: str, execution: str, observer: Callable[[Recorded], None]) -> Callable[[], None]:
        """Call a function on every further event of an execution; the answer ends that."""
        observers = self._observers.setdefault((tenant, execution), [])
        observers.append(observer)

        def end() -> None:
            observers.remove(observer)
            if not observers and self._observers.get((tenant, execution)) is observers:
                del self._observers[(tenant, execution)]

        return end
