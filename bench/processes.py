"""W4 and W5: the whole engine as people start it. Recovery after kill -9, memory, cold start, size."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from bench.engine import chain, wide
from bench.measured import Measured
from events.log import Recorded
from events.log.connection import connect
from events.log.jetstream import JetStreamLog
from nightshift.client import Client
from nightshift.engine import read_note
from nightshift.server import EmbeddedServer, server_url

ROOT = Path(__file__).parents[1]
STEPS, MIDDLE = 50, 20
SMALL = 3
MIB = 1024 * 1024
FAN, FAN_WIDTH = 40, 5


def start(home: Path, *words: str) -> subprocess.Popen[bytes]:
    """A command of ours, in a group of its own, on a home of its own."""
    environment = {"PATH": os.environ["PATH"], "NIGHTSHIFT_HOME": str(home), "PYTHONPATH": str(ROOT)}
    home.mkdir(exist_ok=True)
    with (home.parent / "said").open("ab") as said:
        return subprocess.Popen(
            [sys.executable, "-m", "nightshift", *words], env=environment, stdout=said, stderr=said,
            start_new_session=True, cwd=home.parent,
        )  # fmt: skip


@contextmanager
def engine(home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """``nightshift up``; whatever is left of it at the end is killed."""
    process = start(home, "up")
    try:
        yield process
    finally:
        kill(process)


def kill(process: subprocess.Popen[bytes]) -> None:
    """kill -9 for the engine and everything that it started: what a crash of the machine leaves."""
    try:
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        family = []
    for each in family:
        try:
            each.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(family, timeout=10)
    process.wait(10)


async def up(home: Path, process: subprocess.Popen[bytes], wait: float = 30.0) -> None:
    """Wait until the engine says that it runs. Raises TimeoutError, RuntimeError."""
    async with asyncio.timeout(wait):
        while (note := read_note(home)) is None or note["pid"] != process.pid:
            if process.poll() is not None:
                raise RuntimeError(f"the engine ended: {(home.parent / 'said').read_text()[-500:]}")
            await asyncio.sleep(0.005)


async def history(home: Path) -> list[Recorded]:
    """Everything that the log of a running engine holds."""
    client = await connect(server_url(home, "planner"), name="bench")
    try:
        return [recorded async for recorded in JetStreamLog(client).read("evt.>")]
    finally:
        await client.close()


async def submit(home: Path, plan: dict[str, Any]) -> str:
    """Hand a plan over; gives the execution."""
    client = await Client.open(server_url(home, "operator"))
    try:
        execution, _ = await client.submit({"plan.json": json.dumps(plan)}, root="plan.json")
        return execution
    finally:
        await client.close()


async def w4(repeats: int = 5) -> list[Measured]:
    """kill -9 of engine and server in a chain of 50 steps, and the same command again."""
    seconds, again, limits = [], [], []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            home = Path(folder) / "home"
            with engine(home) as process:
                await up(home, process)
                await submit(home, chain(STEPS))
                seen = await history(home)
                while sum(r.name == "TaskVerified" for r in seen) < MIDDLE:
                    await asyncio.sleep(0.005)
                    seen = await history(home)
                if any(r.name == "ExecutionCompleted" for r in seen):
                    raise RuntimeError("the chain was over before it could be killed")
                kill(process)
            started = time.time_ns()
            with engine(home) as process:
                await up(home, process)
                found = await _over(home, 1)
            new = next(r for r in found if r.at_ns > started and r.entity not in ("-", "~in"))
            seconds.append((new.at_ns - started) / 1e9)
            starts = Counter(r.entity for r in found if r.name == "TaskStarted")
            again.append(float(sum(starts.values()) - STEPS))
            limits.append(await _server_alone(Path(folder) / "alone"))
    note = f"median {sorted(again)[len(again) // 2]:.0f} steps run again"
    return [
        Measured("W4 recovery", "s", seconds, limits, "the server alone starts", target="<= 1 on one host", note=note),
        Measured("W4.again", "steps", again),
    ]


async def _over(home: Path, count: int) -> list[Recorded]:
    """The log, once so many executions have completed. Raises TimeoutError."""
    async with asyncio.timeout(120):
        while True:
            found = await history(home)
            if sum(r.name == "ExecutionCompleted" for r in found) >= count:
                return found
            await asyncio.sleep(0.05)


async def _server_alone(home: Path) -> float:
    server = EmbeddedServer(home)
    started = time.perf_counter()
    await server.start()
    took = time.perf_counter() - started
    await server.stop()
    return took


async def w5(repeats: int = 5) -> list[Measured]:
    """Memory of all processes idle and after many plans, and from nothing to the first completed plan."""
    cold, limits, idle, busy, alone = [], [], [], [], []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            plan = Path(folder) / "plan.json"
            plan.write_text(json.dumps(chain(SMALL)))
            started = time.perf_counter()
            process = start(Path(folder) / "home", "run", str(plan))
            if await asyncio.to_thread(process.wait, 60) != 0:
                raise RuntimeError("the first plan did not complete")
            cold.append(time.perf_counter() - started)
            limits.append(await _server_alone(Path(folder) / "alone"))
    for _ in range(3):
        with tempfile.TemporaryDirectory() as folder:
            home = Path(folder) / "home"
            with engine(home) as process:
                await up(home, process)
                await asyncio.sleep(1.0)
                idle.append(memory(process.pid))
                alone.append(memory(psutil.Process(process.pid).children()[0].pid))
                await asyncio.gather(*(submit(home, wide(FAN_WIDTH)) for _ in range(FAN)))
                await _over(home, FAN)
                busy.append(memory(process.pid))
    return [
        Measured("W5 cold start", "s", cold, limits, "the server alone", target="<= 1.5"),
        Measured("W5.idle memory", "MiB", idle, alone, "nats-server alone", target="<= 150"),
        Measured("W5.busy memory", "MiB", busy, alone, "nats-server alone", note=f"after {FAN} plans at once"),
        Measured("W5.size of the code", "MiB", [size()], note="our five packages, without dependencies"),
    ]


def memory(pid: int) -> float:
    """Resident memory of a process and everything below it, in MiB; pages shared between them count twice."""
    process = psutil.Process(pid)
    total = 0
    for each in (process, *process.children(recursive=True)):
        try:
            total += each.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total / MIB


def size() -> float:
    """What the packages take on disk, in MiB."""
    folders = ("nightshift", "services", "projections", "events", "schemas")
    files = (f for name in folders for f in (ROOT / name).rglob("*") if "__pycache__" not in f.parts and f.is_file())
    return sum(f.stat().st_size for f in files) / MIB
