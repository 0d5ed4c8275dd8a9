"""What a durable of the memory log has in hand: handed out, to be handed out again, dealt with."""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable
from functools import lru_cache
from itertools import count
from typing import Generic, TypeVar

from events.log import Consumer, Recorded

K = TypeVar("K")

SECOND = 1_000_000_000


class Queue(Generic[K]):
    """What one durable has in hand: each key with the moment at which it is handed out, or handed out again."""

    def __init__(self, ack_wait_ns: int) -> None:
        self.ack_wait_ns = ack_wait_ns
        self.deliveries: dict[K, int] = {}
        self._moments: dict[K, int] = {}
        self._order: list[tuple[int, int, K]] = []
        self._numbers = count()

    def __len__(self) -> int:
        return len(self._moments)

    def put(self, key: K, moment: int) -> None:
        self._moments[key] = moment
        heapq.heappush(self._order, (moment, next(self._numbers), key))

    def put_back(self, key: K, moment: int) -> None:
        """Move it to another moment, unless it was dealt with."""
        if key in self._moments:
            self.put(key, moment)

    def remove(self, key: K) -> None:
        self._moments.pop(key, None)
        self.deliveries.pop(key, None)

    def next_moment(self) -> int | None:
        while self._order and self._moments.get(self._order[0][2]) != self._order[0][0]:
            heapq.heappop(self._order)
        return self._order[0][0] if self._order else None

    def take(self, now: int) -> K | None:
        moment = self.next_moment()
        if moment is None or moment > now:
            return None
        _, _, key = heapq.heappop(self._order)
        self.deliveries[key] = self.deliveries.get(key, 0) + 1
        self.put(key, now + self.ack_wait_ns)
        return key


class Durable:
    """A durable consumer: how far it has looked, and what is in hand."""

    def __init__(self, consumer: Consumer) -> None:
        self.queue: Queue[int] = Queue(int(consumer.ack_wait * SECOND))
        self._limit = consumer.max_ack_pending
        self._fits = pattern(consumer.filters).fullmatch
        self._looked = 0

    def take(self, records: list[Recorded], now: int) -> int | None:
        """What is to be handed out now: what comes again first, then what is new."""
        again = self.queue.take(now)
        if again is not None:
            return again
        while self._looked < len(records) and len(self.queue) < self._limit:
            self._looked += 1
            if self._fits(records[self._looked - 1].subject):
                self.queue.put(self._looked, now)
                return self.queue.take(now)
        return None


def pattern(filters: Iterable[str]) -> re.Pattern[str]:
    """NATS filters as one regular expression."""
    return _pattern(tuple(filters))


@lru_cache(maxsize=1024)
def _pattern(filters: tuple[str, ...]) -> re.Pattern[str]:
    tokens = {"*": r"[^.]+", ">": r".+"}
    return re.compile("|".join(r"\.".join(tokens.get(t, re.escape(t)) for t in f.split(".")) for f in filters))
