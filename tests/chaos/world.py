"""What is attacked: a server with service processes, or the whole engine, in a home of its own on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

from events.log import LogUnavailable, Recorded
from events.log.connection import connect
from events.log.jetstream import JetStreamLog
from nightshift.client import Client
from nightshift.server import EmbeddedServer
from nightshift.server_home import passwords, read_state, server_url
from nightshift.server_process import HOST, lets_in, spawn
from tests.cli import ANY_DISK

ROOT = Path(__file__).parents[2]
SMALL = 256 * 1024 * 1024
READER = "projections"
"""The user that reads along."""
UNREACHABLE = 3
"""The exit code of a service that found no server."""
DOWN = 30.0
"""Seconds after a kill of all servers within which a service may give up waiting for them."""


class World:
    """Processes by name, the server, and everything that the log has shown so far."""

    def __init__(self, home: Path, *, services: tuple[str, ...], grace: float, slots: int) -> None:
        self.home = home
        self.services = services
        """Names such as ``executor-2``; or only ``engine``, which has a server of its own."""
        self.whole = services == ("engine",)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.history: list[Recorded] = []
        """As it was shown when it happened: what it holds was stored."""
        self.deaths: list[str] = []
        """Processes that ended although nobody had asked them to."""
        self.stopped: set[str] = set()
        self._settings = {"NIGHTSHIFT_GRACE": str(grace), "NIGHTSHIFT_SLOTS": str(slots), "NIGHTSHIFT_JUDGES": "4"}
        self._server: asyncio.subprocess.Process | None = None
        self._squatter: socket.socket | None = None
        self._down = 0.0

    # -- the server ----------------------------------------------------------------------------------------------

    async def prepare(self) -> None:
        """Make server and streams once, so that there is something to start again."""
        server = EmbeddedServer(self.home, "durable", max_bytes=SMALL)
        await server.start()
        await server.stop()

    async def start_server(self) -> None:
        """Start it on its port and store; of the whole engine, it is the engine that does."""
        if not self.whole:
            folder = self.home / "server"
            self._server = await spawn(folder / "nats.conf", folder / "server.log")

    async def kill_server(self) -> None:
        """kill -9."""
        if self._server is not None:
            if self._server.returncode is None:
                self._server.kill()
            await self._server.wait()
        elif self.whole:
            with contextlib.suppress(OSError, ValueError):
                pid = int(json.loads((self.home / "server" / "server.pid").read_text())["pid"])
                if str(self.home) in Path(f"/proc/{pid}/cmdline").read_text():
                    os.kill(pid, signal.SIGKILL)

    async def kill_servers(self) -> None:
        """kill -9 of all there are."""
        self._down = time.monotonic() + DOWN
        await self.kill_server()

    def server_pids(self) -> list[int]:
        """The servers that run."""
        if self.whole:
            try:
                return [int(json.loads((self.home / "server" / "server.pid").read_text())["pid"])]
            except (OSError, ValueError):
                return []
        return [self._server.pid] if self._server is not None and self._server.returncode is None else []

    async def move_server(self) -> None:
        """Start it although somebody else listens on its port by now."""
        state = read_state(self.home)
        assert state is not None
        self._squatter = squatter = socket.socket()
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            squatter.bind((HOST, state.port))
            squatter.listen()
        if not self.whole:
            await self.prepare()
            await self.start_server()

    async def serving(self, wait: float = 20.0) -> None:
        """Wait until the server lets people in. Raises TimeoutError."""
        async with asyncio.timeout(wait):
            while True:
                state = read_state(self.home)
                if state and await lets_in(state.port, READER, passwords(self.home)[READER]):
                    return
                await asyncio.sleep(0.02)

    def url(self, user: str) -> str:
        """How a user connects."""
        return server_url(self.home, user)

    # -- processes -----------------------------------------------------------------------------------------------

    def start(self, name: str) -> None:
        """Start a process; its output goes to a file in the home."""
        service = name.split("-")[0]
        mine = {k: v for k, v in os.environ.items() if not k.startswith("NIGHTSHIFT_")}
        environment = {
            **mine, **ANY_DISK, **self._settings, "NIGHTSHIFT_HOME": str(self.home), "NIGHTSHIFT_LOG_LEVEL": "INFO",
            "PYTHONPATH": str(ROOT),
        }  # fmt: skip
        words = ["nightshift", "up"] if self.whole else ["services", service]
        if not self.whole:
            environment["NIGHTSHIFT_NATS_URL"] = self.url(service)
        with (self.home / f"{name}.log").open("ab") as log:
            log.write(f"--- started at {time.time():.3f}\n".encode())
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", *words], env=environment, stdout=log, stderr=log, cwd=ROOT
            )

    async def end(self, name: str, number: signal.Signals, wait: float = 30.0) -> None:
        """Send SIGKILL or SIGTERM and wait for the end; what ends otherwise than asked is noted."""
        process = self.processes.pop(name, None)
        if process is None:
            return
        if process.poll() is not None:
            self.deaths.append(f"{name} had ended with {process.returncode}")
            return
        if name in self.stopped and number == signal.SIGTERM:
            self.stopped.discard(name)
            process.send_signal(signal.SIGCONT)
        process.send_signal(number)
        try:
            code = await asyncio.to_thread(process.wait, wait)
        except subprocess.TimeoutExpired:
            process.kill()
            code = await asyncio.to_thread(process.wait)
            self.deaths.append(f"{name} did not end within {wait:g} s of {number.name}")
            return
        if number == signal.SIGTERM and code not in (0, -signal.SIGTERM):
            self.deaths.append(f"{name} ended with {code} after SIGTERM")

    def look(self) -> None:
        """Note who has died by itself, and start it again as any supervisor would."""
        for name, process in list(self.processes.items()):
            if process.poll() is not None:
                if process.returncode != UNREACHABLE or time.monotonic() > self._down:
                    self.deaths.append(f"{name} ended by itself with {process.returncode}")
                self.start(name)

    async def close(self) -> None:
        """End everything."""
        for name, process in self.processes.items():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
            self.stopped.discard(name)
        await asyncio.gather(*(self.end(name, signal.SIGTERM) for name in list(self.processes)))
        if self._squatter is not None:
            self._squatter.close()
        if self._server is not None and self._server.returncode is None:
            self._server.terminate()
            try:
                async with asyncio.timeout(5):
                    await self._server.wait()
            except TimeoutError:
                await self.kill_server()

    # -- reading along ---------------------------------------------------------------------------------------------

    async def follow(self) -> None:
        """Keep ``history`` up to date, whatever happens to the server, and wherever it is started again."""
        while True:
            url = self.url(READER)
            reading = asyncio.create_task(self._read(url))
            try:
                while self.url(READER) == url:
                    await asyncio.wait({reading}, timeout=0.2)
                    if reading.done():
                        reading.result()
            finally:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)

    async def _read(self, url: str) -> None:
        client = await connect(url, name="chaos", wait=30.0)
        try:
            last = self.history[-1].sequence if self.history else 0
            async for recorded in JetStreamLog(client).tail(after=last):
                self.history.append(recorded)
        finally:
            await client.close()

    async def stored(self) -> list[Recorded]:
        """The whole log as it is now."""
        client = await connect(self.url(READER), name="chaos", wait=20.0)
        try:
            return [recorded async for recorded in JetStreamLog(client).read("evt.>")]
        finally:
            await client.close()

    async def ask(self, verb: str, wait: float = 20.0) -> dict[str, object]:
        """A question to the projections, repeated until they answer. Raises LogUnavailable."""
        until = time.monotonic() + wait
        while True:
            client = await Client.open(self.url("operator"), wait=20.0)
            try:
                answer: dict[str, object] = await client.ask(verb, timeout=10.0)
                return answer
            except (LogUnavailable, TimeoutError):
                if time.monotonic() > until:
                    raise
            finally:
                await client.close()
            await asyncio.sleep(0.2)


@contextlib.asynccontextmanager
async def running(world: World) -> AsyncIterator[World]:
    """The world with everything started; nothing of it is left afterwards."""
    world.home.mkdir(parents=True, exist_ok=True)
    following: asyncio.Task[None] | None = None
    try:
        await world.prepare()
        await world.start_server()
        if world.whole:
            world.start("engine")
        await world.serving()
        if not world.whole:
            for name in world.services:
                world.start(name)
        following = asyncio.create_task(world.follow())
        yield world
    finally:
        if following is not None and following.done():
            world.deaths.append(f"nobody reads along: {following.exception()}")
        if following is not None:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
        await world.close()
