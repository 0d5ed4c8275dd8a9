"""One channel's line: how often it looks at what waits, and what is left of it when it is cancelled."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from schemas.notify import Channel
from services.notifier.channels import Absent, Message
from services.notifier.decide import Item
from services.notifier.line import REST, Line
from services.notifier.pace import Entry, Pace
from tests.notifier.test_words import item
from tests.worlds import in_background, until


class Silent:
    """Nothing is said in any log."""

    async def sent(self, entries: Sequence[Entry], message: Message, seconds: float) -> None: ...
    async def failed(self, entries: Sequence[Entry], reason: str, *, given_up: bool) -> None: ...
    async def suppressed(self, entries: Sequence[Entry], reason: str) -> None: ...


class Told:
    """A sender that counts; ``begun`` and ``may_end`` are set from outside."""

    def __init__(self) -> None:
        self.messages = 0
        self.begun, self.may_end = threading.Event(), threading.Event()
        self.absent = False

    def send(self, message: Message, timeout: float) -> None:
        self.messages += 1
        self.begun.set()
        if self.absent:
            self.may_end.wait(20)
            raise Absent


class Counting(Pace):
    """A pace that knows how often it was asked."""

    looks = 0

    def pick(self, entries: list[Entry], now: float) -> tuple[list[Entry], float | None]:
        Counting.looks += 1
        return super().pick(entries, now)


async def compose(told: Sequence[Item]) -> Message:
    return Message(id="m", tenant="acme", severity="info", title="t", text="t", speech="s", at="", notices=())


def line(sender: Told, **settings: Any) -> Line:
    channel = Channel.model_validate({"kind": "log", **settings})
    made = Line("log", channel, sender, Silent(), compose)
    made.pace = Counting(channel)
    Counting.looks = 0
    return made


def fresh(kind: str, number: int) -> Item:
    """Something that has just happened."""
    return replace(item(kind, number), at_ns=time.time_ns())


async def test_what_is_gathered_is_not_looked_at_for_each_that_comes() -> None:
    sender = Told()
    found = line(sender, gather=30)
    async with in_background(found.run()):
        for number in range(300):
            found.add(fresh("task_failed", number))
            await asyncio.sleep(0)
        assert Counting.looks <= 3
        found.hurry()
        await until(lambda: sender.messages == 1)


async def test_between_two_looks_lies_a_rest_unless_there_is_a_hurry() -> None:
    sender = Told()
    found = line(sender, gather=0, window=3600, limit=1)
    async with in_background(found.run()):
        await found.add(fresh("task_failed", 0))
        began, before = time.monotonic(), Counting.looks
        for number in range(1, 200):  # the limit is reached: each of these is due and cannot go
            found.add(fresh("execution_failed", number))
            await asyncio.sleep(0.001)
        assert Counting.looks - before <= (time.monotonic() - began) / REST + 3


async def test_when_nobody_is_there_to_hear_it_nothing_waits() -> None:
    sender = Told()
    sender.absent = True
    sender.may_end.set()
    found = line(sender, gather=0.05)
    async with in_background(found.run()):
        await asyncio.gather(*(found.add(fresh("execution_failed", number)) for number in range(50)))
    assert sender.messages <= 2


async def test_a_sender_that_fails_after_its_line_was_cancelled_is_no_surprise() -> None:
    unheard: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, about: unheard.append(about))
    sender = Told()
    sender.absent = True
    found = line(sender, gather=0)
    async with in_background(found.run()):
        found.add(fresh("task_failed", 1))
        await until(sender.begun.is_set)
    sender.may_end.set()
    await until(lambda: not any(t.name == "notify-log" for t in threading.enumerate()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    gc.collect()
    assert not unheard
