"""When a channel gets its next message, and what is in it: gathering, windows, the limit. Pure."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

from schemas.notify import Channel
from services.notifier.decide import Item
from services.notifier.kinds import ENDS, KINDS, is_small_talk

MINUTE = 60.0
SLOWEST = 300.0
"""Seconds between tries, at most."""


@dataclass(eq=False, slots=True)
class Entry:
    """An item that waits for its channel."""

    item: Item
    since: float
    settled: asyncio.Future[None]
    maybe_again: bool = False
    tries: int = 0
    flying: bool = False
    """It is in a message that is being delivered."""


@dataclass(slots=True)
class Pace:
    """What one channel may be sent now. Moments are seconds of one monotonic clock."""

    channel: Channel
    sent: deque[float] = field(default_factory=deque)
    """When the messages of the last minute were sent."""
    told: dict[tuple[str, str], float] = field(default_factory=dict)
    """When a message about many of one kind was last sent, by tenant and kind."""
    not_before: float = 0.0
    failures: int = 0
    hurry: bool = False
    """The program is about to end: nothing is gathered any more."""

    def pick(self, entries: list[Entry], now: float) -> tuple[list[Entry], float | None]:
        """The entries of the next message if one is due, all of one tenant; otherwise when to look again.

        What comes by the hundred is put together; the rest gets a message each while half of the limit is free, and
        the end of an execution takes its small talk with it.
        """
        if not entries:
            return [], None
        while self.sent and self.sent[0] <= now - MINUTE:
            self.sent.popleft()
        opens = self.not_before
        if len(self.sent) >= self.channel.limit:
            opens = max(opens, self.sent[0] + MINUTE)
        if now < opens:
            return [], opens
        moments = [(self.due(entry), entry) for entry in entries]
        due = [entry for moment, entry in moments if moment <= now]
        if not due:
            return [], min(moment for moment, _ in moments)
        tenant = due[0].item.tenant
        due = [entry for entry in due if entry.item.tenant == tenant]
        alone = next((entry for entry in due if not KINDS[entry.item.kind].many), None)
        if alone is not None and len(self.sent) * 2 < self.channel.limit:
            covered = [e for e in entries if alone.item.kind in ENDS and _is_covered(e.item, alone.item)]
            return [alone, *covered], None
        kinds = {entry.item.kind for entry in due}
        return [e for e in entries if e.item.tenant == tenant and e.item.kind in kinds], None

    def due(self, entry: Entry) -> float:
        """When an entry may be told, the limit and failures aside."""
        if self.hurry:
            return entry.since
        moment = entry.since + self.channel.gather
        if KINDS[entry.item.kind].many:
            last = self.told.get((entry.item.tenant, entry.item.kind))
            if last is not None:
                moment = max(moment, last + self.channel.window)
        return moment

    def succeeded(self, entries: list[Entry], now: float) -> None:
        """A message was taken."""
        self.failures = 0
        self.not_before = 0.0
        self.sent.append(now)
        for entry in entries:
            if KINDS[entry.item.kind].many:
                self.told[entry.item.tenant, entry.item.kind] = now

    def failed(self, now: float, after: float | None) -> float:
        """A message was not taken; gives the seconds until the next try: 1, 2, 4, … or what the server asks for."""
        self.sent.append(now)
        self.failures += 1
        wait = min(SLOWEST, max(after or 0.0, 2.0 ** min(self.failures - 1, 10)))
        self.not_before = now + wait
        return wait


def _is_covered(item: Item, end: Item) -> bool:
    return item.execution == end.execution and is_small_talk(item.kind)
