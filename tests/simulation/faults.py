"""What goes wrong: messages lost, late or doubled; processes that die, stop and come back; clocks that jump."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

APPEND_FATES = (
    "slow", "slow answer", "lost request", "lost answer", "stored, no answer", "stored later, no answer", "lost",
)  # fmt: skip
MAJOR = (
    "kill", "kill", "kill", "freeze", "freeze", "stop", "outage", "clock", "again",
)  # fmt: skip
"""What can happen to a process or to all of them, by how often."""


@dataclass
class Rates:
    """How bad a night it is: the likelihood of each kind, for every message of that kind."""

    append: float = 0.0
    ack: float = 0.0
    delivery: float = 0.0
    lag: float = 0.0
    replica: float = 0.0
    timer: float = 0.0
    early: float = 0.0
    repository: float = 0.0
    disk: float = 0.0
    warning: float = 0.0
    major: float = 0.0
    """Steps between two faults of the larger kind, on average; 0: none."""


def rates(luck: Random) -> Rates:
    """A night; one in eight is quiet."""
    if luck.random() < 0.125:
        return Rates()

    def some(most: float) -> float:
        return luck.random() * most if luck.random() < 0.6 else 0.0

    return Rates(
        append=some(0.15), ack=some(0.3), delivery=some(0.2), lag=some(0.3), replica=some(0.6), timer=some(0.2),
        early=some(0.5), repository=some(0.05), major=luck.choice((0.0, 60.0, 150.0, 400.0)),
        disk=some(0.3), warning=some(0.5),
    )  # fmt: skip


@dataclass
class Faults:
    """Draws the fate of everything, and counts what went wrong."""

    luck: Random
    rates: Rates
    note: Callable[[str], None]
    now: Callable[[], float]
    count: int = 0
    on: bool = True
    down_until: float = 0.0
    kinds: dict[str, int] = field(default_factory=dict)

    def happens(self, kind: str, text: str = "") -> None:
        """It has gone wrong."""
        self.count += 1
        self.kinds[kind] = self.kinds.get(kind, 0) + 1
        if text:
            self.note(f"{kind}: {text}")

    def _hit(self, rate: float) -> bool:
        return self.on and rate > 0 and self.luck.random() < rate

    def outage_left(self) -> float:
        """Seconds until the broker can be reached again."""
        return max(0.0, self.down_until - self.now()) if self.down_until else 0.0

    def fate_of_append(self, what: str) -> str:
        if self.outage_left() > 14.0:
            return "lost"
        if not self._hit(self.rates.append):
            return ""
        fate = self.luck.choice(APPEND_FATES)
        self.happens(f"append {fate}", what)
        return fate

    def fate_of_timer(self, what: str) -> str:
        if not self._hit(self.rates.timer):
            return ""
        fate = self.luck.choice(("lost request", "lost answer"))
        self.happens(f"timer {fate}", what)
        return fate

    def delay_of_word(self, kind: str) -> float | None:
        """When an ack or a nak arrives; None: never."""
        if self.outage_left():
            return None
        if not self._hit(self.rates.ack):
            return 0.0
        if self.luck.random() < 0.5:
            self.happens(f"{kind} lost")
            return None
        self.happens(f"{kind} late")
        return self.luck.expovariate(0.5)

    def delay_of_delivery(self) -> float:
        left = self.outage_left()
        if not self._hit(self.rates.delivery):
            return left
        self.happens("delivery late")
        return left + self.luck.expovariate(self.luck.choice((0.15, 1.0, 10.0)))

    def lag(self) -> float:
        """How late the tail shows an event."""
        left = self.outage_left()
        if not self._hit(self.rates.lag):
            return left
        self.happens("tail late")
        return left + self.luck.expovariate(self.luck.choice((0.3, 2.0, 20.0)))

    def replica_lag(self) -> float:
        """How far the replica that answers a read is behind."""
        if not self._hit(self.rates.replica):
            return 0.0
        self.happens("stale read")
        return self.luck.expovariate(self.luck.choice((4.0, 0.5)))

    def early(self) -> float:
        if not self._hit(self.rates.early):
            return 0.0
        self.happens("timer early")
        return self.luck.random()

    def progress_is_lost(self) -> bool:
        if self.outage_left():
            return True
        if not self._hit(self.rates.ack / 2):
            return False
        self.happens("progress lost")
        return True

    def repository_fails(self) -> bool:
        if not self._hit(self.rates.repository):
            return False
        self.happens("git failed")
        return True

    def disk_is_full(self) -> bool:
        """Below the reserve, that is."""
        if not self._hit(self.rates.disk):
            return False
        self.happens("disk full")
        return True

    def warns(self) -> float | None:
        """After how many seconds of work the watchdog says something; None: it has nothing to say."""
        if not self._hit(self.rates.warning):
            return None
        self.happens("warned")
        return self.luck.choice((0.05, 0.5, 3.0)) * self.luck.random()
