"""W1 to W3: what a step costs, alone and many at once, and what one costs that runs a process."""

from __future__ import annotations

import asyncio
import time

from bench.engine import Bench, chain, wide
from bench.measured import Measured, p99

REPEATS = 5
CHAIN = 100
PLANS, WIDTH = 200, 5
PROCESSES, AT_ONCE = 40, 4
EVENTS_A_TASK = 4
"""Ready, started, executed, verified."""
LOOK = 0.02
"""Seconds between two looks at the projections."""


async def w1(bench: Bench) -> list[Measured]:
    """One plan of empty tasks in sequence, against four awaited publishes a task."""
    runs, limits = [], []
    for _ in range(REPEATS):
        runs.append(await bench.run(chain(CHAIN)) / CHAIN * 1000)
        limits.append(await bench.publishes(EVENTS_A_TASK * CHAIN, 1) / CHAIN * 1000)
    return [Measured("W1 chain", "ms/step", runs, limits, "4 awaited publishes", target="below DBOS, <= 1.5 x Restate")]


async def w2(bench: Bench) -> list[Measured]:
    """Many small plans at once, against pipelined publishes of as many events; and how far the projections lag."""
    rates, limits, tails, middles, lags = [], [], [], [], []
    for _ in range(REPEATS):
        watching = asyncio.create_task(_lag(bench))
        started = time.perf_counter()
        took = await asyncio.gather(*(bench.run(wide(WIDTH)) for _ in range(PLANS)))
        rates.append(PLANS * WIDTH / (time.perf_counter() - started))
        await asyncio.sleep(1.0)
        watching.cancel()
        lags.append(p99((await asyncio.gather(watching))[0]) * 1000)
        tails.append(p99(took) * 1000)
        middles.append(sorted(took)[len(took) // 2] * 1000)
        events = PLANS * (WIDTH * EVENTS_A_TASK + 4)
        limits.append(PLANS * WIDTH / await bench.publishes(events, 64))
    pipelined = "pipelined publishes of the same events"
    return [
        Measured("W2 fan-out", "steps/s", rates, limits, pipelined, more_is_better=True, target=">= 1.5 x Restate"),
        Measured("W2.p50 of a plan", "ms", middles),
        Measured("W2.p99 of a plan", "ms", tails, target="<= Restate"),
        Measured("W6.lag p99 under W2", "ms", lags, note="until an event is in DuckDB"),
    ]


async def _lag(bench: Bench) -> list[float]:
    """Until it is cancelled: for each look, how long until the projections held what the log held then, in seconds."""
    looks: list[tuple[float, int, int]] = []
    try:
        while True:
            health = await bench.engine.health()
            looks.append((time.perf_counter(), health["last"], health["applied"]))
            await asyncio.sleep(LOOK)
    except asyncio.CancelledError:
        lags, behind = [], 0
        for at, last, _ in looks:
            while behind < len(looks) and (looks[behind][2] < last or looks[behind][0] < at):
                behind += 1
            if behind < len(looks):
                lags.append(looks[behind][0] - at)
        return lags or [0.0]


async def w3(bench: Bench) -> list[Measured]:
    """Tasks that run /bin/true in a workspace of their own, over a bare loop of as many processes at once."""
    tasks = [{"id": f"t{i}", "run": "/bin/true"} for i in range(PROCESSES)]
    plan = {"plan": "true", "policy": {"max_parallel": AT_ONCE}, "tasks": tasks}
    over, bare = [], []
    for _ in range(REPEATS):
        took = await bench.run(plan)
        bare.append(await processes(PROCESSES, AT_ONCE) / PROCESSES * 1000)
        over.append(took / PROCESSES * 1000)
    note = "with worktree, sandbox, criteria and landing; a peer's step has none of them"
    return [Measured("W3 process", "ms/task", over, bare, "a bare subprocess loop", target="<= Restate", note=note)]


async def processes(count: int, width: int) -> float:
    """Seconds for a loop that only starts processes."""
    room = asyncio.Semaphore(width)

    async def one() -> None:
        async with room:
            process = await asyncio.create_subprocess_exec("/bin/true")
            await process.wait()

    started = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(count)))
    return time.perf_counter() - started
