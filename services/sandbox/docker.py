"""The level `docker`: each command in a container of its own, through the Docker SDK. The one importer of `docker`.

The image must hold what commands need; only the granted folders are the host's. Calls block, so they run in threads.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import docker
import docker.errors
import docker.types
import requests
from docker.models.containers import Container

from services.sandbox import Command, Ended, OnOutput, SandboxUnavailable, StartFailed
from services.sandbox.bwrap import with_signal
from services.sandbox.landlock import inner_user
from services.sandbox.launcher import tree
from services.sandbox.launcher.isolate import SCRATCH
from services.sandbox.view import places

OWNER, PROCESS, MARK = "nightshift.owner", "nightshift.process", "nightshift.mark"
"""Labels: host and state folder of the engine, its process, and the mark that the command's environment bears."""
CALL = 60.0
"""Seconds that the engine may take for one answer."""
CHUNK = 64 * 1024
SAMPLE = 1.0
"""Seconds between two looks at what a command uses."""
MERGED = ("/bin/sh", "-c", 'exec "$0" "$@" 2>&1')
"""One pipe for both outputs, because a container engine does not keep the order between two."""
_FRAME = struct.Struct(">BxxxI")
_TROUBLE = (docker.errors.DockerException, requests.RequestException)


class DockerSandbox:
    """Runs commands in containers of one image."""

    level = "docker"

    def __init__(self, state: Path, image: str, host: str | None = None, mark: str = "NIGHTSHIFT_LEASE") -> None:
        """`image` must be there already; `host` is the engine's address, by default that of `DOCKER_HOST`.

        `mark` names the variable by which `kill_marked` finds what a dead engine has left.
        """
        self._image, self._host, self._mark = image, host, mark
        self._owner = f"{socket.gethostname()}:{state.resolve()}"
        self._process = f"{os.getpid()}:{tree.start_ticks(os.getpid())}"
        self._client: docker.DockerClient | None = None
        self._running: set[DockerRunning] = set()
        self._threads = ThreadPoolExecutor(256, "docker")
        self._closed = False

    async def start(self, command: Command, on_output: OnOutput) -> DockerRunning:
        """See `Sandbox`. A cancelled start leaves nothing behind."""
        if self._closed:
            raise SandboxUnavailable("the sandbox is closed")
        if any("\0" in text for text in command.argv):
            raise StartFailed(f"cannot execute {command.argv[0]!r}: embedded null byte")
        if not command.cwd.is_dir():
            raise StartFailed(f"cannot enter the folder {str(command.cwd)!r}: No such file or directory")
        loop = asyncio.get_running_loop()
        opening = loop.run_in_executor(self._threads, self._open, command)
        try:
            container, wire = await asyncio.shield(opening)
        except asyncio.CancelledError:
            with suppress(SandboxUnavailable, StartFailed):
                container, wire = await opening
                _hang_up(wire)
                await loop.run_in_executor(self._threads, _remove, container)
                await loop.run_in_executor(self._threads, _own, command, os.geteuid(), os.getegid())
            raise
        running = DockerRunning(container, wire, command, on_output, self._threads)
        self._running.add(running)
        running.task.add_done_callback(lambda _: self._running.discard(running))
        return running

    async def close(self) -> None:
        """See `Sandbox`."""
        self._closed = True
        running = list(self._running)
        for each in running:
            await each.kill(0)
        await asyncio.gather(*(each.task for each in running), return_exceptions=True)
        if self._client is not None:
            self._client.close()
            self._client = None
        self._threads.shutdown()

    async def reconcile(self) -> int:
        """Remove what dead processes of this engine left; returns how many containers. Raises SandboxUnavailable."""
        return await asyncio.to_thread(self._remove_all, f"{OWNER}={self._owner}", orphans=True)

    async def kill_marked(self, value: str) -> int:
        """Remove the containers whose mark has this value; returns how many. Raises SandboxUnavailable."""
        return await asyncio.to_thread(self._remove_all, f"{MARK}={value}")

    async def trial(self) -> str:
        """Why this level cannot be had, or nothing."""
        try:
            await asyncio.to_thread(lambda: self._engine().images.get(self._image))
        except docker.errors.ImageNotFound:
            return f"the image {self._image} is not there"
        except (SandboxUnavailable, *_TROUBLE) as error:
            return str(error)
        return ""

    def _engine(self) -> docker.DockerClient:
        if self._client is None:
            address = self._host or os.environ.get("DOCKER_HOST")
            try:
                client = docker.DockerClient(base_url=address, timeout=int(CALL)) if address else docker.from_env()
                client.ping()
            except _TROUBLE as error:
                raise SandboxUnavailable(f"the Docker engine does not answer: {error}") from error
            self._client = client
        return self._client

    def _remove_all(self, label: str, *, orphans: bool = False) -> int:
        engine = self._engine()
        try:
            found = engine.containers.list(all=True, filters={"label": label})
            found = [one for one in found if not orphans or not _alive(one.labels.get(PROCESS, ""))]
            for container in found:
                _remove(container)
        except _TROUBLE as error:
            raise SandboxUnavailable(f"containers cannot be removed: {error}") from error
        return len(found)

    def _open(self, command: Command) -> tuple[Container, Any]:
        """Make the container, attach to it, start it."""
        engine = self._engine()
        _own(command, *inner_user())
        try:
            container = engine.containers.create(self._image, **self._options(command))
        except docker.errors.ImageNotFound as error:
            raise StartFailed(f"the image {self._image} is not there: load it into the Docker engine") from error
        except _TROUBLE as error:
            raise StartFailed(f"the container cannot be made: {error}") from error
        try:
            wire = container.attach_socket(params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
            container.start()
            container.reload()
        except _TROUBLE as error:
            _remove(container)
            _own(command, os.geteuid(), os.getegid())
            raise StartFailed(f"cannot execute {command.argv[0]!r}: {error}") from error
        return container, wire

    def _options(self, command: Command) -> dict[str, Any]:
        limits, access = command.limits, command.access
        user, group = inner_user()
        environment = {name: text for name, text in command.env.items() if name != "PATH" or text != os.environ["PATH"]}
        write = places(access.write)
        mounts = [
            docker.types.Mount(path, real, type="bind", read_only=path not in write)
            for path, real in places((*access.read, *access.write)).items()
        ]
        bounds = [("core", 0, 0)]
        for name, value, margin in (
            ("fsize", limits.file_bytes, 0), ("cpu", limits.cpu_seconds, 1), ("nofile", limits.open_files, 0),
            ("data", limits.memory_bytes, 0),
        ):  # fmt: skip
            if value is not None:
                bounds.append((name, value, value + margin))
        memory, processes = limits.tree_memory_bytes, limits.tree_processes or limits.processes
        return {
            "command": [*MERGED, *command.argv], "entrypoint": [], "working_dir": str(command.cwd),
            "environment": environment, "stdin_open": bool(command.stdin), "mounts": mounts,
            "network_mode": "host" if access.network == "host" else "none",
            "mem_limit": memory, "memswap_limit": memory,
            "nano_cpus": None if limits.cpus is None else max(10_000_000, int(limits.cpus * 1e9)),
            "pids_limit": None if processes is None else processes + 2,
            "ulimits": [docker.types.Ulimit(name=name, soft=soft, hard=hard) for name, soft, hard in bounds],
            "read_only": True, "tmpfs": dict.fromkeys(SCRATCH[:2], "rw,exec,nosuid,nodev,mode=1777"), "init": True,
            "cap_drop": ["ALL"], "security_opt": ["no-new-privileges:true"], "user": f"{user}:{group}",
            "labels": {OWNER: self._owner, PROCESS: self._process, MARK: command.env.get(self._mark, "")},
        }  # fmt: skip


class DockerRunning:
    """A command in its container."""

    def __init__(
        self, container: Container, wire: Any, command: Command, on_output: OnOutput, threads: ThreadPoolExecutor
    ) -> None:
        self.pid: int = container.attrs["State"]["Pid"]
        """Of the container's first process, as the host sees it; 0 if it has ended already."""
        self.pgid = self.pid
        self.start_ticks = 0
        self._container, self._wire, self._command, self._threads = container, wire, command, threads
        self._socket: socket.socket = wire._sock
        self._socket.setblocking(False)
        self._started = time.monotonic()
        self._killed = self._timed_out = False
        self._kill_at: float | None = None
        self._hurry = asyncio.Event()
        self._used: dict[str, float] = {}
        self.task = asyncio.create_task(self._run(on_output))

    async def kill(self, grace: float | None = None) -> None:
        """See `Running`. Only the first process gets SIGTERM: it passes it on to the command."""
        if self.task.done():
            return
        seconds = self._command.grace_seconds if grace is None else grace
        at = time.monotonic() + seconds
        self._kill_at = at if self._kill_at is None else min(at, self._kill_at)
        first, self._killed = not self._killed, True
        self._hurry.set()
        if first and seconds > 0:
            await self._call(_signal, self._container, "SIGTERM")

    async def wait(self) -> Ended:
        """See `Running`."""
        return await asyncio.shield(self.task)

    async def _run(self, on_output: OnOutput) -> Ended:
        reading = asyncio.create_task(self._read(on_output))
        helpers = [asyncio.create_task(self._feed()), asyncio.create_task(self._sample())]
        ending = asyncio.ensure_future(self._call(_end_of, self._container))
        try:
            await self._until_end(ending, reading)
            seconds = time.monotonic() - self._started
            await reading
        finally:
            for helper in (*helpers, reading):
                helper.cancel()
            await asyncio.gather(*helpers, reading, return_exceptions=True)
            _hang_up(self._wire)
            state = await self._call(_bury, self._container)
            await ending
            await self._call(_own, self._command, os.geteuid(), os.getegid())
        return with_signal(
            Ended(
                exit_code=state.get("ExitCode"), timed_out=self._timed_out, killed=self._killed, wall_seconds=seconds,
                cpu_seconds=self._used.get("cpu", 0.0), peak_memory_bytes=int(self._used.get("memory", 0)),
                out_of_memory=bool(state.get("OOMKilled")), error=state.get("Error") or None,
            )
        )  # fmt: skip

    async def _until_end(self, ending: asyncio.Future[None], reading: asyncio.Task[None]) -> None:
        """Return when the container has ended; end it when its time is up, or when its output is refused."""
        wall = self._command.wall_seconds
        expires_at = None if wall is None else self._started + wall
        refused = False
        while not ending.done():
            now = time.monotonic()
            if expires_at is not None and now >= expires_at and not self._killed:
                self._timed_out = True
                await self.kill()
            if not refused and reading.done() and not reading.cancelled() and reading.exception():
                refused = True
                await self.kill(0)
            if self._kill_at is not None and now >= self._kill_at:
                await self._call(_signal, self._container, "SIGKILL")
                await ending
                return
            at = self._kill_at if self._kill_at is not None else expires_at
            self._hurry.clear()
            waking = asyncio.create_task(self._hurry.wait())
            others: set[asyncio.Future[Any]] = {ending, waking} if reading.done() else {ending, waking, reading}
            timeout = None if at is None else max(0.0, at - time.monotonic())
            await asyncio.wait(others, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            waking.cancel()

    async def _read(self, on_output: OnOutput) -> None:
        """Hand over what the command writes: frames with a head that says how long they are."""
        loop = asyncio.get_running_loop()
        heard = bytearray()
        left = 0
        while data := await loop.sock_recv(self._socket, CHUNK):
            heard += data
            while heard:
                if not left:
                    if len(heard) < _FRAME.size:
                        break
                    left = _FRAME.unpack_from(heard)[1]
                    del heard[: _FRAME.size]
                    continue
                part = bytes(heard[:left])
                del heard[:left]
                left -= len(part)
                await on_output(part)

    async def _feed(self) -> None:
        with suppress(OSError):  # a command that does not read is no error
            if self._command.stdin:
                await asyncio.get_running_loop().sock_sendall(self._socket, self._command.stdin)
                self._socket.shutdown(socket.SHUT_WR)

    async def _sample(self) -> None:
        """What it uses, seen now and then: a command that ends sooner has used next to nothing."""
        while True:
            await asyncio.sleep(SAMPLE)
            with suppress(*_TROUBLE, KeyError):
                seen = await self._call(_usage, self._container)
                self._used = {name: max(value, self._used.get(name, 0.0)) for name, value in seen.items()}

    async def _call(self, function: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)


def _end_of(container: Container) -> None:
    """Wait until it has ended, however long that takes, or until there is no container engine any more."""
    assert container.client is not None
    while True:
        try:
            container.wait(timeout=CALL)
        except docker.errors.DockerException:
            return
        except requests.RequestException:  # the SDK's way of saying that the time is over, among others
            try:
                container.client.ping()
            except _TROUBLE:
                return
        else:
            return


def _alive(process: str) -> bool:
    """Whether the engine process of a label still runs on this host."""
    pid, _, ticks = process.partition(":")
    return pid.isdigit() and tree.start_ticks(int(pid)) == int(ticks or -1)


def _bury(container: Container) -> dict[str, Any]:
    """Remove it; returns the state in which it ended."""
    try:
        container.reload()
        state: dict[str, Any] = container.attrs["State"]
        _remove(container)
    except _TROUBLE as error:
        state = {"Error": f"the container was lost: {error}"}
    return state


def _hang_up(wire: Any) -> None:
    """Close an attached stream, and the socket below it, which counts those who use it."""
    below = wire._sock
    wire.close()
    below.close()


def _remove(container: Container) -> None:
    try:
        container.remove(force=True, v=True)
    except docker.errors.APIError as error:
        if error.status_code not in (404, 409):  # it has gone, or somebody else is removing it
            raise


def _signal(container: Container, name: str) -> None:
    with suppress(*_TROUBLE):  # it has ended, and if not, waiting for its end tells
        container.kill(name)


def _usage(container: Container) -> dict[str, float]:
    assert container.client is not None
    seen: Any = container.client.api.stats(container.id or "", stream=False, one_shot=True)
    memory = seen["memory_stats"]
    return {
        "cpu": seen["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9,
        "memory": float(memory.get("max_usage") or memory["usage"]),
    }


def _own(command: Command, user: int, group: int) -> None:
    """Give the engine's own folders to the user inside, or take them back: only an engine that is root needs to."""
    if os.geteuid() != 0:
        return
    for path in command.access.own:
        with suppress(FileNotFoundError):
            os.chown(path, user, group, follow_symlinks=False)
        for _, folders, files, inside in os.fwalk(path, follow_symlinks=False):
            for name in (*folders, *files):
                with suppress(FileNotFoundError):
                    os.chown(name, user, group, dir_fd=inside, follow_symlinks=False)
