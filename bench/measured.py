"""What a workload came to: its runs, the limit measured in the same run, and the form it is written in."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


def p99(values: Sequence[float]) -> float:
    """The 99th percentile, by nearest rank."""
    return sorted(values)[math.ceil(0.99 * len(values)) - 1]


@dataclass(slots=True)
class Measured:
    """One figure, and what could not be beaten in the same run."""

    name: str
    """As in the table; its first word is the workload, with a dot where that has several figures (``W2.p99``)."""
    unit: str
    runs: list[float]
    limits: list[float] = field(default_factory=list)
    limit_is: str = ""
    more_is_better: bool = False
    target: str = ""
    note: str = ""

    @property
    def key(self) -> str:
        """Under what it is written."""
        return self.name.split()[0]

    @property
    def value(self) -> float:
        """The median."""
        return statistics.median(self.runs)

    @property
    def limit(self) -> float | None:
        """The median of the limit; None where there is none."""
        return statistics.median(self.limits) if self.limits else None

    @property
    def ratio(self) -> float | None:
        """How many times better the limit is than the value; 1 is perfect."""
        limit = self.limit
        if not limit or not self.value:
            return None
        return limit / self.value if self.more_is_better else self.value / limit

    def written(self, peers: dict[str, dict[str, object]]) -> dict[str, Any]:
        """As it stands in the results."""
        return {
            "name": self.name, "value": self.value, "unit": self.unit, "limit": self.limit, "limit_is": self.limit_is,
            "ratio": self.ratio, "peers": peers, "runs": self.runs, "target": self.target, "note": self.note,
        }  # fmt: skip

    def row(self, peers: dict[str, dict[str, object]]) -> str:
        """One line of the table."""
        said = [f"{self.name:<20} {self.value:>9.4g} {self.unit:<9}"]
        if len(self.runs) > 1:
            said.append(f"{min(self.runs):.3g} to {max(self.runs):.3g}, {len(self.runs)} runs")
        if self.limit is not None and self.ratio is not None:
            said.append(f"limit {self.limit:.4g} ({self.limit_is}), {self.ratio:.2f} x off")
        said += [f"{peer} {found['value']:.4g}" for peer, found in sorted(peers.items())]
        if self.target:
            said.append(f"target {self.target}")
        if self.note:
            said.append(self.note)
        return "   ".join(said)
