"""A full disk while a plan runs (hazard H22): appends are refused, nothing acknowledged is lost, and it goes on."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from random import Random

from nightshift.client import Client
from nightshift.server import EmbeddedServer
from tests.chaos import checks
from tests.chaos.checks_of_branch import of_git
from tests.chaos.faults import ENDS
from tests.chaos.plans import generate, said
from tests.chaos.world import World, running

SIZE = 80


@dataclass(slots=True)
class Filled:
    """What came of it."""

    refused: int
    """Lines in which the server or a service says that it could not store."""
    silent: float
    """The longest time without an event while the disk was full."""
    recovered: float
    """Seconds from the moment when there was room again to the next event."""
    violations: list[str]


class OnSmallDisk(World):
    """Its server's store is small, and so is the log that the server may write."""

    async def prepare(self) -> None:
        server = EmbeddedServer(self.home, "durable", max_bytes=64 * 1024 * 1024)
        await server.start()
        await server.stop()


@contextlib.contextmanager
def small_disk(place: Path, megabytes: int = SIZE) -> Iterator[Path]:
    """A tmpfs, unmounted in any case. Raises OSError where one may not mount."""
    place.mkdir(parents=True)
    options = ["-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(place)]
    done = subprocess.run(["mount", *options], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"no tmpfs can be mounted here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        if subprocess.run(["umount", str(place)], check=False).returncode:
            subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(place: Path) -> Path:
    """Take all the room there is."""
    filler = place / "filler"
    with filler.open("wb", buffering=0) as sink:
        for size in (1 << 20, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while sink.write(b"x" * size):
                    pass
    return filler


async def full_disk(place: Path, *, seed: int = 1, tasks: int = 20, full: float = 6.0) -> Filled:
    """Run a plan, fill the disk of the server's store meanwhile, and make room again."""
    home, disk = place / "home", place / "disk"
    scenario = generate(Random(seed), place / "runs", tasks=tasks)
    world = OnSmallDisk(home, services=("engine",), grace=1.0, slots=4)
    with small_disk(disk):
        (disk / "store").mkdir()
        (home / "server").mkdir(parents=True)
        os.symlink(disk / "store", home / "server" / "store")
        async with running(world):
            client = await Client.open(world.url("operator"))
            execution, _ = await client.submit({"p.json": json.dumps(scenario.plan)}, root="p.json", actor="chaos")
            await client.close()
            await _until(lambda: sum(r.name == "TaskVerified" for r in world.history) >= 3, 30)
            filler = fill(disk)
            began = time.time_ns()
            await asyncio.sleep(full)
            filler.unlink()
            ended = time.time_ns()
            over = await _until(lambda: any(r.name in ENDS for r in world.history), 60)
            await asyncio.sleep(0.5)
            history = await world.stored()
            wrong = [] if over else ["not over a minute after there was room again"]
            wrong += checks.of_log(scenario, execution, history) + checks.of_seen(world.history, history)
            wrong += checks.of_runs(scenario, history, said(place / "runs"))
            wrong += of_git(scenario, home, history)
            answer = await world.ask("check")
            wrong += [str(answer["differences"])] if answer["differences"] else []
    moments = [began, *(r.at_ns for r in history if began < r.at_ns < ended), ended]
    later = [r.at_ns for r in history if r.at_ns > ended]
    refused = sum(_complaints(path) for path in (*home.glob("*.log"), home / "server" / "server.log"))
    silent = max(b - a for a, b in pairwise(moments)) / 1e9
    return Filled(refused, silent, (min(later) - ended) / 1e9 if later else -1.0, wrong + world.deaths)


async def _until(holds: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if holds():
            return True
        await asyncio.sleep(0.02)
    return False


def _complaints(path: Path) -> int:
    words = ("no space left", "insufficient", "waits for the log", "waits for the object store", "resource")
    return sum(any(word in line.lower() for word in words) for line in path.read_text(errors="replace").splitlines())
