"""A process that runs services, and the tiny projector that stands for the real one."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from services.executor.service import Executor
from services.folds import Folds
from services.planner.service import Planner
from services.shell import Context
from tests.simulation.adapters import SimulatedDisk, SimulatedRunner, SimulatedVerifier, Unconfined
from tests.simulation.door import Door
from tests.simulation.loop import Line

if TYPE_CHECKING:
    from tests.simulation.world import World

NOWHERE = Path("/nowhere")


@dataclass
class Database:
    """What a projector keeps: rows, and up to where they count."""

    rows: Counter[str]
    position: int = 0

    async def commit(self, rows: Counter[str], position: int) -> None:
        """Both in one transaction."""
        self.rows, self.position = rows, position


class Process:
    """A process that runs services; it may die and be started again."""

    def __init__(self, world: World, name: str, kinds: tuple[str, ...], host: str) -> None:
        self.world = world
        self.name = name
        self.kinds = kinds
        self.host = host
        self.starts = 0
        self.line = Line(name)
        self.pid = 0
        self.folds: Folds | None = None
        self._services: dict[str, Any] = {}
        self._tasks: list[asyncio.Task[Any]] = []

    def start(self) -> None:
        self.starts += 1
        self.pid = self.world.next_pid()
        self.line = Line(f"{self.name}/{self.starts}")
        self.world.lines[self.line] = self
        self.door = Door(self.world.broker, self.line)
        self.folds = Folds(self.door)
        self.world.loop.spawn(self.line, self._main(self.folds))

    async def _main(self, folds: Folds) -> None:
        door: Any = self.door
        self._services = {}
        self._tasks = [asyncio.create_task(folds.follow())]
        for kind in self.kinds:
            if kind == "projector":
                self._tasks.append(asyncio.create_task(self.world.project(door)))
                continue
            context = Context(kind, f"{kind}@{self.host}:{self.pid}", door, folds)
            self._services[kind] = self._build(kind, context)
            self._tasks.append(asyncio.create_task(self._services[kind].run()))
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            if not task.cancelled() and task.exception() is not None:
                self.world.violated(f"{self.line} ended with {task.exception()!r}")

    def _build(self, kind: str, context: Context) -> Any:
        sandboxes: Any = Unconfined()
        if kind == "planner":
            return Planner(context)
        if kind == "verifier":
            verifier = SimulatedVerifier(context, home=NOWHERE, sandboxes=sandboxes, passed={}, width=2)
            verifier.world = self.world
            return verifier
        slots = self.world.luck.randint(1, 3)
        disk = SimulatedDisk(self.world)
        executor = Executor(context, home=NOWHERE, slots=slots, sandboxes=sandboxes, passed={}, disk=disk)
        executor.runner = SimulatedRunner(self.world, self, executor._tell)  # type: ignore[assignment]
        return executor

    def kill(self) -> None:
        """SIGKILL; the children die with it, as PDEATHSIG has it."""
        self.world.loop.kill(self.line)
        self.door.close()
        for child in self.world.children.values():
            if child.pid == self.pid and self.world.luck.random() < 0.8:
                child.killed = True

    async def stop(self) -> None:
        """SIGTERM, as ``Host.stop`` answers it."""
        for kind in ("executor", "verifier", "planner"):
            if kind in self._services:
                await self._services[kind].stop(self.world.luck.choice((0.0, 2.0)))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.world.loop.kill(self.line)
        self.door.close()
