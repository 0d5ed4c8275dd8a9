"""``python -m bench``: run the workloads, print a table, write ``bench/results/<time>.json``."""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from events.log.connection import LeanClient, connect
from nightshift.client import Client, uuid7
from nightshift.engine import Engine
from nightshift.server import EmbeddedServer
from schemas.settings import Settings

REPEATS = 5
CHAIN = 100
PLANS, WIDTH = 40, 5
PROCESSES = 100


@dataclass(slots=True)
class Workload:
    """What was measured, and what could not be beaten in the same run."""

    name: str
    unit: str
    runs: list[float]
    limits: list[float]
    limit_is: str

    @property
    def value(self) -> float:
        """The median."""
        return statistics.median(self.runs)

    @property
    def limit(self) -> float:
        """The median of the limit."""
        return statistics.median(self.limits)


class Bench:
    """One engine, durable profile, in this process."""

    def __init__(self, home: Path) -> None:
        self.engine = Engine(Settings(home=home, profile="durable", nats_url=None))
        self.client: Client
        self.raw: LeanClient
        self.numbers = 0

    async def __aenter__(self) -> Bench:
        await self.engine.start()
        self.client = await Client.open(self.engine.url("operator"))
        self.raw = await connect(self.engine.url("executor"), name="bench")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()
        await self.raw.close()
        await self.engine.stop(0)

    async def run(self, plan: dict[str, Any]) -> float:
        """Seconds from the submission of a plan to its completion."""
        execution = uuid7()
        done = asyncio.Event()
        subject = f"tail.evt.default.{execution}.-.ExecutionCompleted"
        subscription = await self.client.connection.listen(subject, lambda *_: done.set())
        await self.client.connection.flush()
        started = time.perf_counter()
        await self.client.submit({"plan.json": json.dumps(plan)}, root="plan.json", execution=execution)
        async with asyncio.timeout(120):
            await done.wait()
        took = time.perf_counter() - started
        await self.client.connection.unlisten(subscription)
        return took

    async def publishes(self, count: int, width: int) -> float:
        """Seconds for as many raw, stored, acknowledged messages of 300 bytes; ``width`` under way at a time."""
        body = b"x" * 300
        room = asyncio.Semaphore(width)

        async def one(number: int) -> None:
            async with room:
                await self.raw.ask(f"log.bench.{self.numbers}.t{number}.1", body, {"Nats-Msg-Id": f"b{number}"})

        self.numbers += 1
        started = time.perf_counter()
        await asyncio.gather(*(one(self.numbers * 1_000_000 + n) for n in range(count)))
        return time.perf_counter() - started


def chain(count: int) -> dict[str, Any]:
    """No-op tasks, one after the other."""
    return {
        "plan": "chain",
        "tasks": [{"id": f"t{i}", "noop": True, **({"needs": [f"t{i - 1}"]} if i else {})} for i in range(count)],
    }


async def w1(bench: Bench) -> Workload:
    """One plan of no-op tasks in sequence, against four awaited publishes a task."""
    runs, limits = [], []
    for _ in range(REPEATS):
        runs.append(await bench.run(chain(CHAIN)) / CHAIN * 1000)
        limits.append(await bench.publishes(4 * CHAIN, 1) / CHAIN * 1000)
    return Workload("W1 chain", "ms/step", runs, limits, "4 awaited publishes")


async def w2(bench: Bench) -> Workload:
    """Many small plans at once, against pipelined publishes of as many events."""
    plan = {"plan": "fan", "tasks": [{"id": f"t{i}", "noop": True} for i in range(WIDTH)]}
    runs, limits = [], []
    for _ in range(REPEATS):
        started = time.perf_counter()
        await asyncio.gather(*(bench.run(plan) for _ in range(PLANS)))
        runs.append(PLANS * WIDTH / (time.perf_counter() - started))
        events = PLANS * (WIDTH * 4 + 4)
        limits.append(PLANS * WIDTH / await bench.publishes(events, 64))
    return Workload("W2 fan-out", "steps/s", runs, limits, "pipelined publishes of the same events")


async def w3(bench: Bench) -> Workload:
    """Tasks that run /bin/true, against a bare subprocess loop of the same width."""
    policy = {"max_parallel": 4}
    plan = {"plan": "true", "policy": policy, "tasks": [{"id": f"t{i}", "run": "true"} for i in range(PROCESSES)]}
    runs, limits = [], []
    for _ in range(REPEATS):
        runs.append(await bench.run(plan) / PROCESSES * 1000)
        limits.append(await bare(PROCESSES, 4) / PROCESSES * 1000)
    return Workload("W3 process", "ms/task", runs, limits, "a bare subprocess loop")


async def bare(count: int, width: int) -> float:
    """Seconds for a loop that only starts processes."""
    room = asyncio.Semaphore(width)

    async def one() -> None:
        async with room:
            process = await asyncio.create_subprocess_exec("/bin/true")
            await process.wait()

    started = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(count)))
    return time.perf_counter() - started


async def w5(_: Bench) -> Workload:
    """From nothing to the first completed plan, with the command line, against the start of the server alone."""
    runs, limits = [], []
    for _ in range(REPEATS):
        with tempfile.TemporaryDirectory() as folder:
            plan = Path(folder) / "plan.json"
            plan.write_text(json.dumps(chain(3)))
            command = [sys.executable, "-m", "nightshift", "run", str(plan)]
            started = time.perf_counter()
            done = await asyncio.create_subprocess_exec(
                *command, env={"PATH": "/usr/bin:/bin", "NIGHTSHIFT_HOME": f"{folder}/home"}, stdout=subprocess.DEVNULL
            )
            assert await done.wait() == 0
            runs.append(time.perf_counter() - started)
            server = EmbeddedServer(Path(folder) / "alone")
            started = time.perf_counter()
            await server.start()
            limits.append(time.perf_counter() - started)
            await server.stop()
    return Workload("W5 cold start", "s", runs, limits, "the server alone")


WORKLOADS: tuple[Callable[[Bench], Awaitable[Workload]], ...] = (w1, w2, w3, w5)


async def main() -> None:
    """Run everything."""
    measured: list[Workload] = []
    with tempfile.TemporaryDirectory() as home:
        async with Bench(Path(home)) as bench:
            await bench.run(chain(10))
            for workload in WORKLOADS:
                measured.append(await workload(bench))
                print(_row(measured[-1]), flush=True)
    results = {
        w.name.split()[0]: {
            "value": w.value, "unit": w.unit, "limit": w.limit, "ratio": w.value / w.limit, "peers": {}, "runs": w.runs,
        }
        for w in measured
    }  # fmt: skip
    target = Path(__file__).parent / "results" / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps({"workloads": results}, indent=2) + "\n")
    print(f"\nwritten to {target.relative_to(Path.cwd()) if target.is_relative_to(Path.cwd()) else target}")


def _row(w: Workload) -> str:
    spread = f"{min(w.runs):.3g} to {max(w.runs):.3g}"
    return (
        f"{w.name:<14} {w.value:>8.3g} {w.unit:<8} ({spread}; median of {len(w.runs)})   "
        f"limit {w.limit:.3g} ({w.limit_is})   ratio {w.value / w.limit:.2f}"
    )


if __name__ == "__main__":
    asyncio.run(main())
