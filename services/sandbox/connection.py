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
from services.sandbox.launcher import DROP, FORK, KEEPER, MESSAGE, READY, receive
from services.sandbox.pipes import wait_for_call

STARTING = 30.0
"""Seconds for the launcher to come to life, and for a keeper to start its command."""
STOPPING = 5.0
"""Seconds for the launcher to end when the engine closes it."""
_BOOT = "import sys; sys.path.insert(0, sys.argv[1]); from launcher.serve import main; main()"


class LauncherLost(SandboxUnavailable):
    """The launcher has died; another can be started."""


class Control:
    """A keeper of the launcher, and the socket to it: lines of JSON both ways."""

    def __init__(self, keeper: int, end: socket.socket) -> None:
        end.setblocking(False)
        self.keeper = keeper
        self._end = end
        self._heard = b""

    @property
    def usable(self) -> bool:
        """Whether nothing was said yet: a keeper that waits for its command is silent, and so is one that lives."""
        try:
            self._end.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    async def order(self, command: dict[str, Any], descriptors: Sequence[int]) -> None:
        """Send a command of any size, and what belongs to it. To nobody, when the keeper is gone."""
        data = json.dumps(command).encode() + b"\n"
        with suppress(OSError):
            sent = socket.send_fds(self._end, [data], list(descriptors))
            if sent < len(data):
                await asyncio.get_running_loop().sock_sendall(self._end, data[sent:])

    def send(self, message: dict[str, Any]) -> None:
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
        self.refusal = 0
        """The errno for which it cannot isolate; 0 if it can, or need not."""
        self._process = process
        self._end = end
        self._taking = asyncio.Lock()
        self._ahead = 0

    @classmethod
    async def start(cls, setup: dict[str, Any]) -> Launcher:
        """Start a launcher, whose keepers prepare themselves as `setup` says. Raises SandboxUnavailable."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        argv = [sys.executable, "-S", "-I", "-X", "utf8", "-c", _BOOT, str(Path(__file__).parent)]
        argv += [str(os.getpid()), str(theirs.fileno()), json.dumps(setup)]
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
                answer = await asyncio.get_running_loop().sock_recv(ours, MESSAGE.size)
        except (OSError, TimeoutError):
            pass
        finally:
            ready = answer[:1] == READY and len(answer) == MESSAGE.size
            if not ready:
                launcher.kill()
        if not ready:
            raise SandboxUnavailable("the launcher does not start: see its messages on stderr")
        launcher.refusal = MESSAGE.unpack(answer)[1]
        launcher.prepare()
        return launcher

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    async def take(self) -> Control:
        """A keeper that waits for its command. Raises LauncherLost, or SandboxUnavailable when none can be forked."""
        while True:
            async with self._taking:
                control = await self._next()
            if control.usable:
                return control
            control.close()

    def prepare(self) -> None:
        """Have one keeper forked ahead: that costs more than all the rest of a start."""
        if not self._ahead:
            with suppress(LauncherLost):
                self._say(FORK, 0)
                self._ahead += 1

    def drop(self, keeper: int) -> None:
        """Have a keeper killed that does not answer; the launcher then kills its tree."""
        with suppress(LauncherLost):
            self._process.send_signal(signal.SIGCONT)
            self._say(DROP, keeper)

    def kill(self) -> None:
        """End the launcher at once; keepers that still live kill all they have."""
        self._process.kill()
        self._process.wait()
        if not self._taking.locked():  # else whoever waits for a keeper wakes up, and comes here
            self._end.close()

    async def close(self) -> None:
        """End the launcher when its keepers have ended, or at once after STOPPING seconds."""
        try:
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(STOPPING):
                    self._end.shutdown(socket.SHUT_WR)
                    while await asyncio.get_running_loop().sock_recv(self._end, 4096):
                        pass  # a keeper forked ahead: dropping its socket ends it
        finally:
            self.kill()

    def _say(self, word: bytes, keeper: int) -> None:
        try:
            self._end.send(MESSAGE.pack(word, keeper))
        except OSError as error:
            raise LauncherLost(f"the launcher takes no requests: {error}") from error

    async def _next(self) -> Control:
        """The keeper that was forked ahead, or a new one."""
        if not self._ahead:
            self._say(FORK, 0)
            self._ahead += 1
        loop = asyncio.get_running_loop()
        data, descriptors = b"", list[int]()
        while not data:
            try:
                data, descriptors = receive(self._end, MESSAGE.size)
            except BlockingIOError:
                await wait_for_call(
                    lambda wake: loop.add_reader(self._end, wake),
                    lambda _: loop.remove_reader(self._end),
                )
            except OSError as error:
                raise LauncherLost(f"the launcher was lost: {error}") from error
            else:
                if len(data) < MESSAGE.size:
                    raise LauncherLost("the launcher was lost")
        self._ahead -= 1
        word, number = MESSAGE.unpack(data)
        if word != KEEPER:
            raise SandboxUnavailable(f"no keeper can be forked: {os.strerror(number)}")
        return Control(number, socket.socket(fileno=descriptors[0]))
