"""What every peer does alike: the amounts, the clock, and the line that a step of W4 leaves behind."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

REPEATS = 5
CHAIN = 100
WIDTH = 5
PROCESSES = 40
AT_ONCE = 4
RECOVERY = 50
PAUSE = 0.02
"""Seconds that a step of W4 takes, so that there is a middle to be killed in."""


def note(folder: str, number: int) -> None:
    """A step of W4 was run; kept so that it survives the process."""
    with (Path(folder) / "progress").open("a") as file:
        file.write(f"{number} {time.time():.6f}\n")


def p99(values: list[float]) -> float:
    """The 99th percentile, by nearest rank."""
    return sorted(values)[math.ceil(0.99 * len(values)) - 1]


async def true() -> None:
    """A process that does nothing."""
    process = await asyncio.create_subprocess_exec("/bin/true")
    await process.wait()


async def measure(
    chain: Callable[[int], Awaitable[object]], spawn: Callable[[int], Awaitable[object]], *, plans: int,
    steps: int = CHAIN, repeats: int = REPEATS,
) -> None:  # fmt: skip
    """Run W1, W2 and W3 and print them. ``chain(n)``: n empty steps in sequence; ``spawn(n)``: n steps of a process."""
    await chain(3)
    found: dict[str, list[float]] = {"W1": [], "W2": [], "W2 p99": [], "W3": []}
    for _ in range(repeats):
        started = time.perf_counter()
        await chain(steps)
        found["W1"].append((time.perf_counter() - started) / steps * 1000)
    for _ in range(repeats):
        took: list[float] = []

        async def one(took: list[float] = took) -> None:
            begun = time.perf_counter()
            await chain(WIDTH)
            took.append((time.perf_counter() - begun) * 1000)

        started = time.perf_counter()
        await asyncio.gather(*(one() for _ in range(plans)))
        found["W2"].append(plans * WIDTH / (time.perf_counter() - started))
        found["W2 p99"].append(p99(took))
    for _ in range(repeats):
        started = time.perf_counter()
        await asyncio.gather(*(spawn(PROCESSES // AT_ONCE) for _ in range(AT_ONCE)))
        found["W3"].append((time.perf_counter() - started) / PROCESSES * 1000)
    print(json.dumps(found), flush=True)
