"""``python -m bench [--peers] [--events N] [--tasks N] [W1 …]``: run the workloads and print a table.

Writes ``bench/results/<time>.json`` and an SVG beside it. What each figure means: docs/performance.md.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import chart, peers, processes, reading, scale, steps
from bench.engine import Bench
from bench.measured import Measured

EVENTS = 100_000
"""Events of the log that W6 replays; a million with ``--events 1000000``, which takes some minutes more."""
TASKS = 5_000
"""Tasks of the largest plan of W8; ten thousand with ``--tasks 10000``."""
RESULTS = Path(__file__).parent / "results"
ALL = ("W1", "W2", "W3", "W4", "W5", "W6", "W7", "W8", "W9")


class Run:
    """What has been measured so far."""

    def __init__(self) -> None:
        self.peers: dict[str, dict[str, dict[str, object]]] = {}
        self.found: list[Measured] = []
        self.began = time.monotonic()
        self.load = os.getloadavg()

    async def take(self, work: Awaitable[list[Measured]]) -> None:
        """Wait for a workload and print what it came to."""
        for measured in await work:
            self.found.append(measured)
            print(measured.row(self.beside(measured)), flush=True)

    def beside(self, measured: Measured) -> dict[str, dict[str, object]]:
        """What the peers took for the same."""
        return self.peers.get(measured.key.replace(".", " "), {})

    def written(self) -> dict[str, Any]:
        """The results, with the circumstances that they depend on."""
        return {
            "machine": {
                "cpus": os.cpu_count(), "python": platform.python_version(), "system": platform.platform(),
                "load_before": self.load, "load_after": os.getloadavg(), "seconds": time.monotonic() - self.began,
            },
            "workloads": {m.key: m.written(self.beside(m)) for m in self.found},
        }  # fmt: skip

    def write(self) -> Path:
        """Keep the results and draw them; gives the path of the results."""
        RESULTS.mkdir(exist_ok=True)
        target = RESULTS / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
        written = self.written()
        target.write_text(json.dumps(written, indent=2) + "\n")
        target.with_suffix(".svg").write_text(chart.svg(written["workloads"]))
        return target


async def main(wanted: tuple[str, ...], *, with_peers: bool, events: int, tasks: int) -> None:
    """Run what is wanted, the peers first."""
    run = Run()
    if with_peers:
        run.peers = await peers.measure_all()
    inside: list[tuple[tuple[str, ...], Callable[[Bench], Awaitable[list[Measured]]]]] = [
        (("W1",), steps.w1),
        (("W2",), steps.w2),
        (("W3",), steps.w3),
        (("W6", "W7"), lambda bench: reading.w6_w7(bench, events)),
        (("W7",), reading.audit),
        (("W8",), lambda bench: scale.w8(bench, tasks)),
    ]
    try:
        for names, work in inside:
            if not set(names).isdisjoint(wanted):
                # each on a log of its own, or the later ones would have more to read
                with tempfile.TemporaryDirectory() as home:
                    async with Bench(Path(home)) as bench:
                        await run.take(work(bench))
        for name, alone in (("W4", processes.w4), ("W5", processes.w5), ("W9", scale.w9)):
            if name in wanted:
                await run.take(alone())
    finally:
        target = run.write()
    print(f"\n{time.monotonic() - run.began:.0f} s, load {run.load[0]:.1f} before and {os.getloadavg()[0]:.1f} after")
    print(f"written to {os.path.relpath(target)} and {os.path.relpath(target.with_suffix('.svg'))}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure, against limits in the same run.")
    parser.add_argument("workloads", nargs="*", choices=[*ALL, []], help="which ones; all without any")
    parser.add_argument("--peers", action="store_true", help="measure the peers that are installed too")
    parser.add_argument("--events", type=int, default=EVENTS, help="events that W6 replays (%(default)s)")
    parser.add_argument("--tasks", type=int, default=TASKS, help="tasks of the largest plan of W8 (%(default)s)")
    given = parser.parse_args()
    chosen = tuple(given.workloads) or ALL
    asyncio.run(main(chosen, with_peers=given.peers, events=given.events, tasks=given.tasks))
