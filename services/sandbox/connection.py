"""The engine's side of the launcher: start it, ask it for keepers, and talk with each over its control socket."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from services.sandbox import SandboxUnavailable
from services.sandbox.launcher import DROP, READY, REQUEST, START

STARTING = 30.0
"""Seconds for the launcher to come to life, and for a keeper to start its command."""
STOPPING = 5.0
"""Seconds for the launcher to end when the engine closes it."""
_BOOT = "import sys; sys.path.insert(0, sys.argv[1]); from launcher.serve import main; main()"


class Control:
    """A socket of one command: lines of JSON both ways."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._end = end
        self._heard = b""

    async def send(self, message: dict[str, Any]) -> None:
        """Send a message of any size. To nobody, when the keeper is gone."""
        with suppress(OSError):
            await asyncio.get_running_loop().sock_sendall(self._end, json.dumps(message).encode() + b"\n")

    def send_now(self, message: dict[str, Any]) -> None:
        """Send a small message. To nobody, when the keeper is gone or the socket is closed."""
        with suppress(OSError):
            self._end.send(json.dumps(message).encode() + b"\n")

    async def receive(self) -> dict[str, Any] | None:
        """The next message; None when there will be no more."""
        while b"\n" not in self._heard:
            try:
                data = await asyncio.get_running_loop().sock_recv(self._end, 65536)
            except OSError:
                return None
            if not data:
                return None
            self._heard += data
        line, _, self._heard = self._heard.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message

    def close(self) -> None:
        """Close it; a keeper that still lives kills all it has."""
        self._end.close()


class Launcher:
    """The launcher process of this engine."""

    def __init__(self, process: subprocess.Popen[bytes], end: socket.socket) -> None:
        self._process = process
        self._end = end
        self._sending = asyncio.Lock()

    @classmethod
    async def start(cls) -> Launcher:
        """Start a launcher. Raises SandboxUnavailable."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        argv = [sys.executable, "-S", "-I", "-X", "utf8", "-c", _BOOT, str(Path(__file__).parent)]
        argv += [str(os.getpid()), str(theirs.fileno())]
        with theirs:
            try:
                process = subprocess.Popen(  # noqa: ASYNC220 - asyncio would keep a thread for it
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    env={name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ},
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                )
            except OSError as error:
                ours.close()
                raise SandboxUnavailable(f"the launcher does not start: {error}") from error
        launcher = cls(process, ours)
        answer = b""
        try:
            async with asyncio.timeout(STARTING):
                answer = await asyncio.get_running_loop().sock_recv(ours, 1)
        except (OSError, TimeoutError):
            pass
        finally:
            if answer != READY:
                launcher.kill()
        if answer != READY:
            raise SandboxUnavailable("the launcher does not start: see its messages on stderr")
        return launcher

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    async def ask(self, descriptors: Sequence[int]) -> None:
        """Ask for a keeper with these descriptors. Raises OSError when the launcher is gone."""
        async with self._sending:
            while True:
                try:
                    socket.send_fds(self._end, [REQUEST.pack(START, 0)], list(descriptors))
                    return
                except BlockingIOError:
                    await asyncio.sleep(0.001)  # far behind, which is rare

    def drop(self, keeper: int) -> None:
        """Have a keeper killed that does not answer; the launcher then kills its tree."""
        with suppress(OSError):
            self._process.send_signal(signal.SIGCONT)
            self._end.send(REQUEST.pack(DROP, keeper))

    def kill(self) -> None:
        """End the launcher at once; keepers that still live kill all they have."""
        self._end.close()
        self._process.kill()
        self._process.wait()

    async def close(self) -> None:
        """End the launcher when its keepers have ended, or at once after STOPPING seconds."""
        try:
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(STOPPING):
                    self._end.shutdown(socket.SHUT_WR)
                    while await asyncio.get_running_loop().sock_recv(self._end, 1):
                        pass
        finally:
            self.kill()
