"""The loop that all services share: keeping hold of what takes long."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from events.log.memory import MemoryLog
from events.log.streams import PLANNER
from services.folds import Folds
from services.shell import Context, Reactor
from tests.worlds import in_background, until


class Held:
    """A delivery whose signal is heard only when those of all three have been sent."""

    def __init__(self, all_sent: asyncio.Barrier) -> None:
        self.all_sent = all_sent
        self.heard = False

    async def progress(self) -> bool:
        await self.all_sent.wait()
        self.heard = True
        return True


async def test_a_signal_that_is_not_heard_delays_no_other() -> None:
    async def never(*_: Any) -> None: ...

    log = MemoryLog()
    context = Context("planner", "planner@test", log, Folds(log))
    reactor = Reactor(context, replace(PLANNER, ack_wait=0.2), never)
    all_sent = asyncio.Barrier(3)
    held = [Held(all_sent) for _ in range(3)]
    reactor._busy.update(dict.fromkeys(held, 0.0))  # type: ignore[arg-type]
    async with in_background(reactor._pulse()):
        await until(lambda: all(one.heard for one in held))
