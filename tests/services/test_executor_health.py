"""Measuring real commands from outside, and ending those that hang."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from events import HealthWarned
from schemas.values import Health, Progress, Watch
from services.executor.disk import Disk
from services.executor.health import TAIL, Watchdog, mark
from services.executor.watchdog import Monitor, Terms
from services.sandbox import Command, Running
from services.sandbox.process import ProcessRunning, ProcessSandbox
from services.sandbox.usage import Measurable, Taken, of_tree

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs /proc")
SPIN = "while :; do :; done"
QUICK = Health(progress=Progress(warn=1.0, interrupt=2.0, kill=1.0, busy=1.0))


@pytest.fixture
async def sandbox() -> AsyncIterator[ProcessSandbox]:
    sandbox = ProcessSandbox()
    yield sandbox
    await sandbox.close()


async def ignore(chunk: bytes) -> None:
    pass


async def start(sandbox: ProcessSandbox, script: str, on_output: Any = ignore, **more: Any) -> ProcessRunning:
    command = Command(argv=("/bin/sh", "-c", script), cwd=Path("/"), env={"PATH": os.defpath}, **more)
    return await sandbox.start(command, on_output)


async def cpu_beyond(running: ProcessRunning, seconds: float) -> Taken:
    """Wait until the tree has taken so much CPU time."""
    async with asyncio.timeout(30):
        while True:
            taken = of_tree(running.pid, running.start_ticks)
            assert taken is not None
            if taken.cpu_seconds >= seconds:
                return taken
            await asyncio.sleep(0.02)


# -- the process tree -----------------------------------------------------------------------------------------------


async def test_a_grandchild_works_for_its_sleeping_parent(sandbox: ProcessSandbox) -> None:
    running = await start(sandbox, f"(sh -c '{SPIN}' &) ; sleep 60")
    taken = await cpu_beyond(running, 0.2)
    assert taken.memory_bytes > 100_000
    await running.kill(0)
    await running.wait()


async def test_the_work_of_the_dead_still_counts(sandbox: ProcessSandbox) -> None:
    work = "i=0; while [ $i -lt 150000 ]; do i=$((i+1)); done"
    running = await start(sandbox, f"(sh -c '{work}; sh -c \"{work}\"' & ) ; sleep 60")
    highest = 0.0
    async with asyncio.timeout(30):
        while True:
            taken = of_tree(running.pid, running.start_ticks)
            assert taken is not None
            assert taken.cpu_seconds >= highest - 0.02, "it never falls, whoever ends and is collected"
            highest = max(highest, taken.cpu_seconds)
            children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
            if highest > 0.05 and len(children) == 1 and not _busy(running):
                break
            await asyncio.sleep(0.01)
    await running.kill(0)
    assert (await running.wait()).cpu_seconds >= highest - 0.02


def _busy(running: ProcessRunning) -> bool:
    """Whether anybody but the two that sleep is left under the keeper."""
    keeper = Path(f"/proc/{running.pid}/stat").read_text().rsplit(")", 1)[1].split()[1]
    return len(Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split()) > 1


async def test_nobody_is_measured_for_somebody_else(sandbox: ProcessSandbox) -> None:
    running = await start(sandbox, "sleep 60")
    assert of_tree(running.pid, running.start_ticks + 1) is None
    await running.kill(0)
    await running.wait()
    assert of_tree(running.pid, running.start_ticks) is None


# -- files ----------------------------------------------------------------------------------------------------------


def test_a_mark_shows_every_change_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/one").write_text("1")
    outside = tmp_path.with_name("outside")
    outside.mkdir()
    (tmp_path / "link").symlink_to(outside)
    seen = [mark(tmp_path)]

    def changed() -> bool:
        seen.append(mark(tmp_path))
        return seen[-1] != seen[-2]

    assert not changed()
    (tmp_path / "a/b/two").write_text("")
    assert changed()
    (tmp_path / "a/b/one").write_text("12")
    assert changed()
    os.utime(tmp_path / "a/b/one", ns=(1, 1))
    assert changed()
    (tmp_path / "a/b/one").unlink()
    assert changed()
    (outside / "file").write_text("x")
    assert not changed()
    assert mark(tmp_path / "nowhere") == 0


def test_a_mark_takes_a_bounded_time(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"{number}").write_text("x")
    assert mark(tmp_path, most=5) != mark(tmp_path, most=20) == mark(tmp_path, most=1000)


# -- the watchdog beside a command ----------------------------------------------------------------------------------


class Told:
    """A watchdog for one command, and what it said."""

    def __init__(self, folder: Path, health: Health = QUICK, *, memory: int | None = None, disk: Disk | None = None,
                 timeout: float = 60.0) -> None:  # fmt: skip
        self.said: list[HealthWarned] = []
        terms = Terms(health=health, timeout=timeout, memory=memory)
        self.dog = Watchdog(
            Monitor(terms), attempt=2, lease="L", execution="e", folder=folder, disk=disk, tell=self.tell
        )

    async def tell(self, fact: HealthWarned) -> None:
        self.said.append(fact)

    async def output(self, chunk: bytes) -> None:
        self.dog.take(chunk)

    async def beside(self, running: Running, seconds: float = 30.0) -> Any:
        watching = asyncio.create_task(self.dog.watch(running))
        try:
            async with asyncio.timeout(seconds):
                return await running.wait()
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            await running.kill(0)

    @property
    def stages(self) -> list[tuple[str, str]]:
        return [(fact.kind, fact.stage) for fact in self.said]


async def test_who_sleeps_is_asked_to_end(sandbox: ProcessSandbox, tmp_path: Path) -> None:
    told = Told(tmp_path)
    ended = await told.beside(await start(sandbox, "echo begin; sleep 60", told.output))
    assert (ended.killed, ended.signal) == (True, 15)
    assert told.stages == [("progress", "warn"), ("progress", "interrupt")]
    assert [(fact.attempt, fact.lease, fact.tail) for fact in told.said] == [(2, "L", "begin\n")] * 2


async def test_who_ignores_that_is_killed(sandbox: ProcessSandbox, tmp_path: Path) -> None:
    told = Told(tmp_path)
    ended = await told.beside(await start(sandbox, "trap '' TERM INT; sleep 60; sleep 60", told.output))
    assert (ended.killed, ended.signal) == (True, 9)
    assert told.stages == [("progress", "warn"), ("progress", "interrupt"), ("progress", "kill")]


async def test_who_spins_without_anything_to_show_ends_as_well(sandbox: ProcessSandbox, tmp_path: Path) -> None:
    told = Told(tmp_path)
    ended = await told.beside(await start(sandbox, SPIN))
    assert ended.killed
    assert told.dog.ending is not None
    assert "CPU time, but no output" in told.dog.ending.message


async def test_who_writes_files_works(sandbox: ProcessSandbox, tmp_path: Path) -> None:
    told = Told(tmp_path)
    script = f"cd {tmp_path}; for i in 1 2 3 4 5 6 7 8; do echo $i > f; sleep 0.5; done"
    ended = await told.beside(await start(sandbox, script))
    assert ended.exit_code == 0
    assert told.stages == []


async def test_dots_for_ever_are_for_the_timeout_to_end(sandbox: ProcessSandbox, tmp_path: Path) -> None:
    health = replace(QUICK, timeout=Watch(limit=0.5))
    told = Told(tmp_path, health, timeout=4.0)
    dots = "while :; do printf .; sleep 0.2; done"
    ended = await told.beside(await start(sandbox, dots, told.output, wall_seconds=4.0, grace_seconds=0.5))
    assert ended.timed_out
    assert told.stages == [("timeout", "warn")]
    assert set(told.said[0].tail) == {"."}


async def test_who_takes_too_much_memory_is_told_with_the_end_of_its_output(
    sandbox: ProcessSandbox, tmp_path: Path
) -> None:
    health = Health(memory=Watch(limit=0.8, action="fail"), timeout=Watch(limit=0.01))
    told = Told(tmp_path, health, memory=50 * 1024 * 1024)
    eat = "import time; eaten = bytearray(60_000_000); time.sleep(60)"
    script = f"yes line | head -c {3 * TAIL}; sleep 0.5; exec {sys.executable} -c '{eat}'"
    ended = await told.beside(await start(sandbox, script, told.output))
    assert ended.killed
    warned = next(fact for fact in told.said if fact.kind == "memory")
    assert (warned.stage, warned.value > warned.limit, len(warned.tail)) == ("fail", True, TAIL)


class Contained:
    """A command that says itself what it takes, as a container does."""

    pid = start_ticks = pgid = 0

    def __init__(self, samples: int = 1000) -> None:
        self.killed: list[float | None] = []
        self.over = asyncio.Event()
        self.samples = samples
        """It ends when it was measured so often."""

    async def measure(self) -> Taken | None:
        self.samples -= 1
        if self.samples == 0:
            self.over.set()
        return Taken(cpu_seconds=1.0, memory_bytes=95)

    async def kill(self, grace: float | None = None) -> None:
        self.killed.append(grace)
        self.over.set()

    async def wait(self) -> Any:
        await self.over.wait()


async def test_a_container_is_asked_itself(tmp_path: Path) -> None:
    contained = Contained()
    assert isinstance(contained, Measurable)
    told = Told(tmp_path, Health(memory=Watch(limit=0.8, action="interrupt")), memory=100)
    await told.beside(contained)
    assert told.stages == [("memory", "interrupt")]
    assert (told.said[0].value, told.said[0].limit) == (95, 80)
    assert contained.killed[0] == 40.0, "the sandbox kills by itself if the watchdog cannot"


# -- the disk ---------------------------------------------------------------------------------------------------------


def test_the_reserve_is_the_larger_of_bytes_and_share(tmp_path: Path) -> None:
    space = Disk(tmp_path, 0, 0.0).space()
    assert Disk(tmp_path, 0, 0.0).short() is None
    assert Disk(tmp_path, space.total, 0.0).short() is not None
    assert Disk(tmp_path, 0, 0.999).short() is not None
    assert Disk(tmp_path, 5, 0.5).needed(space) == space.total // 2
    assert Disk(tmp_path, space.total, 0.5).needed(space) == space.total


def test_an_execution_is_told_once_until_there_is_room_again(tmp_path: Path) -> None:
    disk = Disk(tmp_path, 0, 0.0)
    total = float(disk.space().total)
    assert [disk.news("a", total), disk.news("a", total), disk.news("b", total)] == [True, False, True]
    disk._told["a"] = 1.0  # far below what is free
    assert [disk.news("a", total), disk.news("b", total)] == [True, False]


async def test_two_tasks_of_an_execution_warn_once_of_their_disk(tmp_path: Path) -> None:
    health = Health(disk=Watch(limit=1.0), silence=Watch(limit=10.0))
    disk = Disk(tmp_path, 0, 0.0)
    one, two = (Told(tmp_path, health, disk=disk) for _ in range(2))
    for told in (one, two):
        await told.beside(Contained(samples=3))
    assert (one.stages, two.stages) == ([("disk", "warn")], [])
