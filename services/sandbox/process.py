"""The level `process`: own session, limits, clean environment, and a keeper above the whole tree. No other isolation.

A task may still read what the engine's user may read, and send signals to the engine: that is for the levels above.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict
from io import FileIO
from typing import Any

from services.sandbox import Command, Ended, OnOutput, SandboxUnavailable, StartFailed
from services.sandbox.connection import STARTING, Control, Launcher, LauncherLost
from services.sandbox.launcher.keeper import KILLING
from services.sandbox.pipes import feed, pump

MARGIN = 2.0
"""Seconds that a keeper may be late with its report before it is held to be lost."""
CLOSING = 10.0
"""Seconds for all commands to end, and for their output to be taken, when the sandbox is closed."""


class _NotRun(Exception):
    """The keeper was gone before it took the command: nothing has run."""


class ProcessSandbox:
    """Runs commands through one launcher process, started when first needed and again when it was lost."""

    level = "process"

    def __init__(self, cgroups: Mapping[str, str] | None = None, view: Mapping[str, Any] | None = None) -> None:
        """`cgroups` are parent folders by controller (`services.sandbox.cgroups`), `view` is for stricter levels."""
        self._cgroups = dict(cgroups or {})
        self._setup = {"cgroups": self._cgroups, "view": view}
        self._launcher: Launcher | None = None
        self._starting = asyncio.Lock()
        self._running: set[ProcessRunning] = set()
        self._closed = False

    async def start(
        self, command: Command, on_output: OnOutput, confined: Mapping[str, Any] | None = None
    ) -> ProcessRunning:
        """Start a command. Raises StartFailed when it cannot be executed, SandboxUnavailable when there is no launcher.

        A cancelled start leaves nothing behind. `confined` is what stricter levels have the launcher do before it.
        """
        order = _order(command, self._cgroups, confined)
        for _ in range(2):
            launcher = await self._living_launcher()
            try:
                running = await _start(launcher, command, order, on_output)
            except _NotRun:
                continue
            except OSError as error:
                raise SandboxUnavailable(f"the command cannot be started: {error}") from error
            self._running.add(running)
            running.task.add_done_callback(self._forget)
            if self._closed:
                await running.kill(0)
            return running
        raise SandboxUnavailable("two launchers in a row were lost")

    async def refusal(self) -> int:
        """The errno for which there are no namespaces here; 0 if there are. Raises SandboxUnavailable."""
        return (await self._living_launcher()).refusal

    async def close(self) -> None:
        """Kill all that runs, end the launcher. Output that nobody takes within CLOSING seconds is lost."""
        self._closed = True
        running = list(self._running)
        for each in running:
            await each.kill(0)
        if running:
            _, late = await asyncio.wait([each.task for each in running], timeout=CLOSING)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        async with self._starting:
            if self._launcher:
                await self._launcher.close()
                self._launcher = None

    def _forget(self, task: asyncio.Task[Ended]) -> None:
        self._running = {running for running in self._running if running.task is not task}

    async def _living_launcher(self) -> Launcher:
        async with self._starting:
            if self._closed:
                raise SandboxUnavailable("the sandbox is closed")
            if self._launcher and not self._launcher.alive:
                self._launcher.kill()
                self._launcher = None
            if not self._launcher:
                self._launcher = await Launcher.start(self._setup)
            return self._launcher


async def _start(launcher: Launcher, command: Command, order: dict[str, Any], on_output: OnOutput) -> ProcessRunning:
    """Have a command started. Raises _NotRun, StartFailed, SandboxUnavailable; OSError when descriptors run out."""
    try:
        async with asyncio.timeout(STARTING):
            control = await launcher.take()
    except (LauncherLost, TimeoutError) as error:
        launcher.kill()
        raise _NotRun from error
    with ExitStack() as ours:
        ours.callback(control.close)
        writer = None
        with ExitStack() as theirs:
            reader, output = _pipe(ours, theirs)
            os.set_blocking(reader.fileno(), False)
            descriptors = [output.fileno()]
            if command.stdin:
                stdin, writer = _pipe(theirs, ours)
                os.set_blocking(writer.fileno(), False)
                descriptors.append(stdin.fileno())
            try:
                async with asyncio.timeout(STARTING):
                    await control.order(order, descriptors)
                    theirs.close()
                    answer = await control.receive()
            except TimeoutError as error:
                launcher.drop(control.keeper)
                raise SandboxUnavailable("the command was not started in time") from error
        launcher.prepare()
        if answer and "failed" in answer:
            raise StartFailed(answer["failed"])
        if answer and "refused" in answer:
            launcher.kill()
            raise _NotRun
        if not answer or "started" not in answer:
            raise SandboxUnavailable(f"the keeper was lost, perhaps after it started the command: {answer}")
        ours.pop_all()
    return ProcessRunning(launcher, control, answer, command, on_output, reader, writer)


def _pipe(of_reader: ExitStack, of_writer: ExitStack) -> tuple[FileIO, FileIO]:
    """A pipe whose ends are closed with these."""
    reader, writer = os.pipe()
    return of_reader.enter_context(FileIO(reader, "r")), of_writer.enter_context(FileIO(writer, "w"))


def _order(command: Command, cgroups: Mapping[str, str], confined: Mapping[str, Any] | None) -> dict[str, Any]:
    limits = asdict(command.limits)
    limits["data_bytes"] = None if "memory" in cgroups else command.limits.tree_memory_bytes
    if "pids" not in cgroups and confined and confined["base"]:  # counted for that namespace alone
        limits["processes"] = command.limits.tree_processes
    return {
        "argv": command.argv,
        "cwd": str(command.cwd),
        "env": dict(command.env),
        "limits": limits,
        "confined": confined,
        "wall_seconds": command.wall_seconds,
        "grace_seconds": command.grace_seconds,
        "kill_leftovers": command.kill_leftovers,
    }


class ProcessRunning:
    """A command under a keeper."""

    def __init__(
        self,
        launcher: Launcher,
        control: Control,
        started: dict[str, Any],
        command: Command,
        on_output: OnOutput,
        reader: FileIO,
        writer: FileIO | None,
    ) -> None:
        self.pid: int = started["started"]
        self.pgid: int = started["pgid"]
        self.start_ticks: int = started["start_ticks"]
        self._launcher = launcher
        self._control = control
        self._command = command
        self._alarms: list[asyncio.TimerHandle] = []
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._reader, self._writer = reader, writer
        self.task = asyncio.create_task(self._run(on_output))
        self.task.add_done_callback(self._release)
        if command.wall_seconds is not None:
            self._expect_end(command.wall_seconds + command.grace_seconds)

    async def kill(self, grace: float | None = None) -> None:
        """See `Running`. A keeper that does not obey is killed itself, and the launcher kills its tree."""
        if not self._ended.done():
            seconds = self._command.grace_seconds if grace is None else grace
            self._control.send({"kill": seconds})
            self._expect_end(seconds)

    async def wait(self) -> Ended:
        """See `Running`."""
        return await asyncio.shield(self.task)

    async def _run(self, on_output: OnOutput) -> Ended:
        pumping = asyncio.create_task(pump(self._reader.fileno(), on_output, self._ended))
        pumping.add_done_callback(self._output_refused)
        feeding = asyncio.create_task(feed(self._writer, self._command.stdin)) if self._writer else None
        try:
            ended = await self._report()
            self._ended.set_result(None)
            await pumping
            return ended
        finally:
            self._control.close()  # first of all: a keeper that still lives then kills its tree
            others = [task for task in (pumping, feeding) if task is not None]
            for task in others:
                task.cancel()
            if not all(task.done() for task in others):
                await asyncio.gather(*others, return_exceptions=True)

    def _release(self, _: object) -> None:
        """Close everything. Also when the task was cancelled before it began."""
        self._control.close()
        self._reader.close()
        if self._writer:
            self._writer.close()
        for alarm in self._alarms:
            alarm.cancel()

    async def _report(self) -> Ended:
        """What the keeper says in the end, or the launcher in its place."""
        error = ""
        while message := await self._control.receive():
            if "exit_code" in message:
                return Ended(**message)
            error = message.get("broken", "") or error
            if "lost" in message:
                break
        return Ended(killed=True, error=f"keeper lost: {error}" if error else "keeper lost")

    def _output_refused(self, pumping: asyncio.Task[None]) -> None:
        if not pumping.cancelled() and pumping.exception() and not self._ended.done():
            self._control.send({"kill": 0})
            self._expect_end(0)

    def _expect_end(self, seconds: float) -> None:
        """Drop the keeper when it has not reported this much later, with the margins that it is due."""
        due = seconds + KILLING + MARGIN
        loop = asyncio.get_running_loop()
        self._alarms.append(loop.call_later(due, self._drop))

    def _drop(self) -> None:
        if not self._ended.done():
            self._launcher.drop(self._control.keeper)
