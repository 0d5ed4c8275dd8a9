"""The level `process`: own session, limits, clean environment, and a keeper above the whole tree. No other isolation.

A task may still read what the engine's user may read, and send signals to the engine: that is for the levels above.
"""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import ExitStack, suppress
from dataclasses import asdict
from typing import Any

from services.sandbox import Command, Ended, OnOutput, SandboxUnavailable, StartFailed
from services.sandbox.connection import STARTING, Control, Launcher
from services.sandbox.launcher.keeper import KILLING
from services.sandbox.pipes import feed, pump

MARGIN = 2.0
"""Seconds that a keeper may be late with its report before it is held to be lost."""
CLOSING = 10.0
"""Seconds for all commands to end, and for their output to be taken, when the sandbox is closed."""


class _NeverStarted(Exception):
    """The keeper was gone before it said a word: nothing has run."""


class ProcessSandbox:
    """Runs commands through one launcher process, started when first needed and again when it was lost."""

    level = "process"

    def __init__(self) -> None:
        self._launcher: Launcher | None = None
        self._starting = asyncio.Lock()
        self._running: set[ProcessRunning] = set()
        self._closed = False

    async def start(self, command: Command, on_output: OnOutput) -> ProcessRunning:
        """Start a command. Raises StartFailed when it cannot be executed, SandboxUnavailable when there is no launcher.

        A cancelled start leaves nothing behind.
        """
        for _ in range(2):
            launcher = await self._living_launcher()
            with suppress(_NeverStarted):
                return self._remember(await _start(launcher, command, on_output))
        raise SandboxUnavailable("two keepers in a row were lost before they were given the command")

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

    def _remember(self, running: ProcessRunning) -> ProcessRunning:
        self._running.add(running)
        running.task.add_done_callback(lambda _: self._running.discard(running))
        return running

    async def _living_launcher(self) -> Launcher:
        async with self._starting:
            if self._closed:
                raise SandboxUnavailable("the sandbox is closed")
            if self._launcher and not self._launcher.alive:
                self._launcher.kill()
                self._launcher = None
            if not self._launcher:
                self._launcher = await Launcher.start()
            return self._launcher


async def _start(launcher: Launcher, command: Command, on_output: OnOutput) -> ProcessRunning:
    """Have a command started. Raises _NeverStarted, StartFailed, SandboxUnavailable, OSError without descriptors."""
    with ExitStack() as ours:
        with ExitStack() as theirs:
            here, there = socket.socketpair()
            control = Control(here)
            ours.callback(control.close)
            theirs.callback(there.close)
            reader, output = os.pipe()
            ours.callback(os.close, reader)
            theirs.callback(os.close, output)
            os.set_blocking(reader, False)
            descriptors = [there.fileno(), output]
            writer = None
            if command.stdin:
                stdin, writer = os.pipe()
                ours.callback(os.close, writer)
                theirs.callback(os.close, stdin)
                os.set_blocking(writer, False)
                descriptors.append(stdin)
            try:
                await launcher.ask(descriptors)
            except OSError as error:
                launcher.kill()
                raise _NeverStarted from error
        keeper = 0
        try:
            async with asyncio.timeout(STARTING):
                await control.send(_order(command))
                hello = await control.receive()
                if hello is None:
                    launcher.kill()  # it would have said something otherwise
                    raise _NeverStarted
                if "lost" in hello:
                    raise _NeverStarted
                keeper = hello.get("keeper", 0)
                answer = await control.receive() if keeper else hello
        except TimeoutError as error:
            launcher.drop(keeper)
            raise SandboxUnavailable("the command was not started in time") from error
        if answer and "failed" in answer:
            raise StartFailed(answer["failed"])
        if not answer or "started" not in answer:
            raise SandboxUnavailable(f"keeper lost while it started the command: {answer or 'no word'}")
        ours.pop_all()
    return ProcessRunning(launcher, keeper, control, answer, command, on_output, reader, writer)


def _order(command: Command) -> dict[str, Any]:
    return {
        "argv": command.argv,
        "cwd": str(command.cwd),
        "env": dict(command.env),
        "limits": asdict(command.limits),
        "wall_seconds": command.wall_seconds,
        "grace_seconds": command.grace_seconds,
        "kill_leftovers": command.kill_leftovers,
    }


class ProcessRunning:
    """A command under a keeper."""

    def __init__(
        self,
        launcher: Launcher,
        keeper: int,
        control: Control,
        started: dict[str, Any],
        command: Command,
        on_output: OnOutput,
        reader: int,
        writer: int | None,
    ) -> None:
        self.pid: int = started["started"]
        self.pgid: int = started["pgid"]
        self.start_ticks: int = started["start_ticks"]
        self._launcher = launcher
        self._keeper = keeper
        self._control = control
        self._command = command
        self._alarms: list[asyncio.TimerHandle] = []
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.task = asyncio.create_task(self._run(on_output, reader, writer))
        if command.wall_seconds is not None:
            self._expect_end(command.wall_seconds + command.grace_seconds)

    async def kill(self, grace: float | None = None) -> None:
        """See `Running`. A keeper that does not obey is killed itself, and the launcher kills its tree."""
        if not self._ended.done():
            seconds = self._command.grace_seconds if grace is None else grace
            self._control.send_now({"kill": seconds})
            self._expect_end(seconds)

    async def wait(self) -> Ended:
        """See `Running`."""
        return await asyncio.shield(self.task)

    async def _run(self, on_output: OnOutput, reader: int, writer: int | None) -> Ended:
        pumping = asyncio.create_task(pump(reader, on_output, self._ended))
        pumping.add_done_callback(self._output_refused)
        feeding = asyncio.create_task(feed(writer, self._command.stdin)) if writer is not None else None
        try:
            ended = await self._report()
            self._ended.set_result(None)
            await pumping
            return ended
        finally:
            self._control.close()  # first of all: a keeper that still lives then kills its tree
            for alarm in self._alarms:
                alarm.cancel()
            others = [task for task in (pumping, feeding) if task is not None]
            for task in others:
                task.cancel()
            if not all(task.done() for task in others):
                await asyncio.gather(*others, return_exceptions=True)
            os.close(reader)

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
            self._control.send_now({"kill": 0})
            self._expect_end(0)

    def _expect_end(self, seconds: float) -> None:
        """Drop the keeper when it has not reported this much later, with the margins that it is due."""
        due = seconds + KILLING + MARGIN
        loop = asyncio.get_running_loop()
        self._alarms.append(loop.call_later(due, self._drop))

    def _drop(self) -> None:
        if not self._ended.done():
            self._launcher.drop(self._keeper)
