"""``python -m bench.parallel [--tasks N] [--work S]``: tasks side by side against the same one after the other.

Each works ``S`` seconds (asleep: what an agent that waits for its model costs this machine) and adds a line: all to one
file, where whoever lands later does it again on top, or each to its own. Printed: seconds, and repeated attempts.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
from pathlib import Path
from typing import Any

from bench.engine import Bench
from nightshift.client import uuid7

AT_ONCE = 8


def plan_of(tasks: int, work: float, *, same: bool, at_once: int) -> dict[str, Any]:
    """Tasks that need nothing of each other."""
    file = "shared.txt" if same else "$NIGHTSHIFT_TASK.txt"
    line = f"sleep {work:g}; echo $NIGHTSHIFT_TASK >> {file}"
    return {
        "plan": "Side by side", "policy": {"max_parallel": at_once},
        "tasks": [{"id": f"t{number}", "run": line} for number in range(tasks)],
    }  # fmt: skip


async def measure(tasks: int, work: float) -> None:
    """Run and print. Raises RuntimeError if a plan does not complete, which would be a bug."""
    print(f"{tasks} tasks of {work:g} s; load {os.getloadavg()[0]:.1f}")
    for same in (True, False):
        took: dict[int, float] = {}
        again: dict[int, int] = {}
        for at_once in (1, AT_ONCE):
            with tempfile.TemporaryDirectory() as home:
                async with Bench(Path(home)) as bench:
                    execution = uuid7()
                    plan = plan_of(tasks, work, same=same, at_once=at_once)
                    took[at_once] = await bench.run(plan, execution=execution)
                    history = await bench.client.ask("history", execution=execution, limit=100_000)
                    again[at_once] = sum(row["event"] == "TaskRequeued" for row in history)
        print(
            f"{'one file' if same else 'many files':<11} serial {took[1]:6.1f} s ({again[1]} attempts repeated)   "
            f"{AT_ONCE} at a time {took[AT_ONCE]:6.1f} s ({again[AT_ONCE]} repeated)   {took[1] / took[AT_ONCE]:.2f} x",
            flush=True,
        )
    print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.parallel", description="Tasks side by side, and in a row.")
    parser.add_argument("--tasks", type=int, default=50, help="how many (%(default)s)")
    parser.add_argument("--work", type=float, default=0.0, help="seconds that each sleeps (%(default)s)")
    given = parser.parse_args()
    asyncio.run(measure(given.tasks, given.work))
