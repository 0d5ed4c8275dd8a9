"""The level `bwrap`: bubblewrap builds the namespaces and the root, under the same launcher and keeper as `process`.

Bubblewrap gives the code 128 + n for a death by signal n, which is turned back; so a program that exits with such a
code itself is taken for one that was killed. It ends what outlives the program, whatever `kill_leftovers` says.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from services.sandbox import Command, Ended, OnOutput, StartFailed
from services.sandbox.landlock import inner_user
from services.sandbox.launcher.isolate import SCRATCH
from services.sandbox.process import ProcessRunning, ProcessSandbox
from services.sandbox.view import View, hidden, places, system

PROGRAM = "bwrap"
TRIAL = 10.0
"""Seconds that the trial run may take."""


class BwrapRunning:
    """A command under bubblewrap."""

    def __init__(self, running: ProcessRunning) -> None:
        self._running = running
        self.pid, self.pgid, self.start_ticks = running.pid, running.pgid, running.start_ticks

    async def kill(self, grace: float | None = None) -> None:
        """See `Running`."""
        await self._running.kill(grace)

    async def wait(self) -> Ended:
        """See `Running`."""
        return with_signal(await self._running.wait())


class BwrapSandbox:
    """Runs commands in bubblewrap. Raises FileNotFoundError when it is not installed."""

    level = "bwrap"

    def __init__(self, state: Path, search: str, cgroups: Mapping[str, str] | None = None) -> None:
        """`state` is the engine's state folder, `search` the PATH whose tools commands may run."""
        program = shutil.which(PROGRAM)
        if program is None:
            raise FileNotFoundError("bubblewrap is not installed")
        self._program = program
        self._view = system(search, hidden(state))
        self._inner = ProcessSandbox(cgroups)

    async def start(self, command: Command, on_output: OnOutput) -> BwrapRunning:
        """See `Sandbox`."""
        program = command.argv[0]
        if not command.cwd.is_dir():
            raise StartFailed(f"cannot enter the folder {str(command.cwd)!r}: No such file or directory")
        found = shutil.which(program if "/" not in program else command.cwd / program, path=command.env.get("PATH"))
        if any("\0" in text for text in command.argv):
            raise StartFailed(f"cannot execute {program!r}: embedded null byte")
        if found is None:
            raise StartFailed(f"cannot execute {program!r}: no such program, or not executable")
        argv = (self._program, *options(self._view, command), "--", *command.argv)
        return BwrapRunning(await self._inner.start(replace(command, argv=argv, cwd=Path("/")), on_output))

    async def close(self) -> None:
        """See `Sandbox`."""
        await self._inner.close()


def options(view: View, command: Command) -> list[str]:
    """The command line of bubblewrap for what a command may reach."""
    user, group = inner_user()
    access = command.access
    found = ["--unshare-all", "--die-with-parent", "--new-session", "--uid", str(user), "--gid", str(group)]
    found += ["--cap-drop", "ALL"]
    if access.network == "host":
        found.append("--share-net")
    for link, text in view.links.items():
        found += ["--symlink", text, link]
    found += ["--proc", "/proc", "--dev", "/dev"]
    for path in SCRATCH:  # before what is shown, which may lie in one of them
        found += ["--tmpfs", path]
    for path in view.show:
        found += ["--ro-bind", path, path]
    write = places(access.write)
    for path, real in places((*access.read, *access.write)).items():
        found += ["--bind" if path in write else "--ro-bind", real, path]
    # root could write to /proc/sys by being its owner, without any capability
    return [*found, "--remount-ro", "/proc", "--remount-ro", "/", "--chdir", str(command.cwd)]


def with_signal(ended: Ended) -> Ended:
    """An end in which a code above 128 is a death by signal, as shells and container engines put it."""
    code = ended.exit_code
    if code is not None and code > 128 and code - 128 in set(signal.valid_signals()):
        return replace(ended, exit_code=None, signal=code - 128)
    return ended


async def trial(sandbox: BwrapSandbox) -> str:
    """Run `true` in it; why that does not work, or nothing. Raises SandboxError."""
    said = bytearray()

    async def take(chunk: bytes) -> None:
        said.extend(chunk)

    command = Command(argv=("true",), cwd=Path("/"), env={"PATH": os.defpath}, wall_seconds=TRIAL)
    ended = await (await sandbox.start(command, take)).wait()
    return "" if ended.exit_code == 0 else bytes(said).decode(errors="replace").strip() or f"it ended with {ended}"
