"""W8 and W9: what a task costs in large plans, many executions at once, several executors, and many tenants."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

from bench.engine import WIDTH, Bench, chain, layered, wide
from bench.measured import Measured
from bench.processes import ROOT
from events.log.connection import connect
from events.log.jetstream import JetStreamLog
from nightshift.client import Client
from nightshift.server import EmbeddedServer
from schemas.settings import Settings
from services.hosting import Host

SIZES = {10: 5, 100: 5, 1_000: 2}
"""Tasks of a plan, and how often it is run; the largest is run once."""
TALL = 5
"""How many times smaller the layered and the deep plan are, so that all of it stays below ten minutes."""
AT_ONCE = 500
SLOTS, SLEEP, ROUNDS = 4, 1.0, 6
TENANTS, TENANT_TASKS = 500, 8


async def w8(bench: Bench, largest: int) -> list[Measured]:
    """The cost of a task by the size of its plan, and of its shape."""
    found: list[Measured] = []
    small: list[float] = []
    for size, repeats in SIZES.items():
        runs = [await bench.run(wide(size)) / size * 1000 for _ in range(repeats)]
        small = small or runs
        found.append(Measured(f"W8.wide-{size}", "ms/task", runs))
    tall = largest // TALL
    shapes = {"wide": wide(largest), "layered": layered(tall, 100), "deep": chain(tall)}
    big = {}
    for shape, plan in shapes.items():
        count = len(plan["tasks"])
        big[shape] = await bench.run(plan) / count * 1000
        found.append(Measured(f"W8.{shape}-{count}", "ms/task", [big[shape]]))
    growth = big["wide"] / Measured("", "", small).value
    found.append(Measured(f"W8 growth 10-{largest}", "x", [growth], target="< 1.3"))
    started = time.perf_counter()
    await asyncio.gather(*(bench.run(wide(1)) for _ in range(AT_ONCE)))
    rate = AT_ONCE / (time.perf_counter() - started)
    found.append(Measured("W8.at-once", "plans/s", [rate], note=f"{AT_ONCE} executions of one task"))
    return found


async def w9() -> list[Measured]:
    """1, 2 and 4 executors in processes of their own with tasks that wait; and how fairly many tenants are served."""
    rates: dict[int, float] = {}
    for copies in (1, 2, 4):
        rates[copies] = await _executors(copies)
    note = ", ".join(f"{copies}: {rate:.2f} tasks/s" for copies, rate in rates.items())
    fair = await _fairness()
    return [
        Measured("W9 4 executors", "x one", [rates[4] / rates[1]], [4.0], "four times one", more_is_better=True,
                 target=">= 3.5", note=note),
        Measured("W9.jain", "index", [fair], target=">= 0.95", note=f"{TENANTS} tenants, at half of all tasks"),
    ]  # fmt: skip


@asynccontextmanager
async def _some(home: Path, *services: str) -> AsyncIterator[tuple[EmbeddedServer, Client]]:
    """A server with some of the services in this process, durable profile, and the operator."""
    home.mkdir()
    server = EmbeddedServer(home)
    await server.start()
    host = Host(Settings(home=home, nats_url=None, slots=WIDTH, judges=WIDTH), server.credentials)
    try:
        await host.start(services)
        client = await Client.open(server.credentials("operator"))
        try:
            yield server, client
        finally:
            await client.close()
    finally:
        await host.stop(0)
        await server.stop()


async def _executors(copies: int) -> float:
    """Tasks a second of so many executors with SLOTS slots each, whose tasks wait for SLEEP seconds."""
    count = copies * SLOTS * ROUNDS // 2
    tasks = [{"id": f"t{n}", "run": f"sleep {SLEEP:g}"} for n in range(count)]
    plan = {"plan": "waiting", "policy": {"max_parallel": copies * SLOTS}, "tasks": tasks}
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        async with _some(home, "planner", "verifier") as (server, client):
            environment = {
                "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "NIGHTSHIFT_HOME": str(home),
                "NIGHTSHIFT_SLOTS": str(SLOTS), "NIGHTSHIFT_NATS_URL": server.credentials("executor"),
            }  # fmt: skip
            with (Path(folder) / "said").open("ab") as said:
                workers = [_executor(environment, said) for _ in range(copies)]
            try:
                watcher = Watcher(client)
                await watcher.run(wide(copies))
                await asyncio.sleep(3.0)  # they are all there when the clock starts
                return count / await watcher.run(plan)
            finally:
                for worker in workers:
                    worker.terminate()
                for worker in workers:
                    worker.wait(20)


def _executor(environment: dict[str, str], said: IO[bytes]) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "services", "executor"]
    return subprocess.Popen(words, env=environment, stdout=said, stderr=said)


class Watcher(Bench):
    """Submits to services that somebody else started."""

    def __init__(self, client: Client) -> None:
        self.client = client


async def _fairness() -> float:
    """Jain's index over what each tenant has got when half of all tasks are verified: 1 is perfectly fair.

    Source: R. Jain, D. Chiu, W. Hawe, "A Quantitative Measure of Fairness", DEC-TR-301, 1984.
    """
    names = [f"t{n:03}" for n in range(TENANTS)]
    with tempfile.TemporaryDirectory() as folder:
        async with _some(Path(folder) / "home", "planner", "executor", "verifier") as (server, client):
            watcher = Watcher(client)
            await asyncio.gather(*(watcher.run(chain(TENANT_TASKS), tenant=name) for name in names))
            reader = await connect(server.credentials("planner"), name="bench-fair")
            try:
                history = [r async for r in JetStreamLog(reader).read("evt.>")]
            finally:
                await reader.close()
    verified = [r.tenant for r in history if r.name == "TaskVerified"]
    shares = Counter(verified[: len(verified) // 2])
    got = [shares[name] for name in names]
    return sum(got) ** 2 / (len(got) * sum(x * x for x in got))
