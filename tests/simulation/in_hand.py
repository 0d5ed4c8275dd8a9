"""What the broker hands to a process: messages and timers, and the wish for them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from events.log.memory import Fired, Handed
from tests.simulation.loop import DEAD, at_once

if TYPE_CHECKING:
    from tests.simulation.door import Door

DUE = "due"
"""The name under which timers are acknowledged."""
RETRY = 2.0
"""Seconds after which a request without an answer is sent again."""


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
        self.door.send("nak", lambda: self.door.broker.tell(self.name, self._handed.nak(delay)))

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
        self.door.send("nak", lambda: self.door.broker.tell(DUE, self._fired.nak(delay)))
