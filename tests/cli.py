"""The command line as a user has it: real processes, a state folder of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

COMMAND = [sys.executable, "-m", "nightshift"]
ANY_DISK = {"NIGHTSHIFT_DISK_RESERVE": "0", "NIGHTSHIFT_DISK_SHARE": "0"}
"""Tests run however full the disk of the machine is."""


class Nightshift:
    """One home, and commands on it."""

    def __init__(self, home: Path) -> None:
        self.home = home

    @property
    def environment(self) -> dict[str, str]:
        """What every command is started with."""
        mine = {k: v for k, v in os.environ.items() if not k.startswith("NIGHTSHIFT_")}
        return {**mine, **ANY_DISK, "NIGHTSHIFT_HOME": str(self.home)}

    def __call__(
        self, *words: str | Path, code: int | None = 0, timeout: float = 90
    ) -> subprocess.CompletedProcess[str]:
        """Run a command; ``code`` is the exit code that it must have."""
        done = subprocess.run(
            [*COMMAND, *map(str, words)], env=self.environment, capture_output=True, text=True, timeout=timeout,
            check=False,
        )  # fmt: skip
        assert code is None or done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def json(self, *words: str | Path, code: int | None = 0) -> Any:
        """Run a reading command with --json and read what it prints."""
        return json.loads(self(*words, "--json", code=code).stdout)

    def history(self, execution: str, *task: str) -> list[dict[str, Any]]:
        """The audit of an execution."""
        return [json.loads(line) for line in self("history", execution, *task, "--json").stdout.splitlines()]

    def pid(self) -> int:
        """The engine's process."""
        return int(json.loads((self.home / "engine.json").read_text())["pid"])

    def kill_everything(self) -> None:
        """kill -9 of the engine and, with it, of the server and of whatever runs."""
        pid = self.pid()
        server = int(json.loads((self.home / "server" / "server.pid").read_text())["pid"])
        for each in (pid, server):
            try:
                os.kill(each, signal.SIGKILL)
            except ProcessLookupError:
                continue

    @contextmanager
    def up(self) -> Iterator[None]:
        """An engine in the background."""
        self("up", "--detach")
        try:
            yield
        finally:
            self("down", code=None)


def until(condition: Callable[[], Any], seconds: float = 30.0, every: float = 0.05) -> Any:
    """Poll until a condition holds; gives its value."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(every)
    raise AssertionError(f"it did not come true in {seconds:g} s")
