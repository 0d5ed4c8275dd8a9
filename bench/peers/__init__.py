"""Peers, each in an environment of its own below ``bench/.peers``: made by ``python -m bench.peers``, measured here.

The programs in ``programs/`` run in those environments and import nothing of ours. ``NAME_steps.py measure FOLDER``
prints W1 to W3 as JSON on its last line; ``chain FOLDER`` runs the 50 steps of W4, each appending a line to
``FOLDER/progress``: killed and started again, it goes on with the same run.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
PLACE = HERE.parent / ".peers"
SERVER = "@restatedev/restate-server@1.7.12"
"""Restate's server as its maker publishes it on npm; a wheel of it there is none."""
MEASURE = 150.0
"""Seconds that a peer may take for W1, W2 and W3."""
RECOVER = 60.0
"""Seconds that a peer may take for one chain of W4."""
MIDDLE = 20
"""Steps of W4 after which it is killed."""


class PeerFailed(Exception):
    """A peer could not be measured."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A peer's name, which is also that of its environment and its program."""

    name: str

    @property
    def python(self) -> Path:
        """The interpreter of its environment."""
        return PLACE / self.name / "bin" / "python"

    @property
    def server(self) -> Path | None:
        """The server binary that it needs, where it is installed."""
        found = sorted((PLACE / self.name).glob("server/node_modules/@restatedev/*/bin/restate-server"))
        return found[0] if found else None

    @property
    def installed(self) -> bool:
        """Whether there is everything that it needs."""
        return self.python.exists() and (PLACE / self.name / ".installed").exists()

    def install(self) -> None:
        """Make its environment. Raises PeerFailed."""
        _run(sys.executable, "-m", "venv", str(PLACE / self.name))
        requirements = str(HERE / f"{self.name}.txt")
        _run(str(self.python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", requirements)
        if self.name == "restate":
            folder = str(PLACE / self.name / "server")
            _run("npm", "install", "--prefix", folder, "--ignore-scripts", "--no-fund", "--no-audit", SERVER)
            if self.server is None:
                raise PeerFailed("npm installed no restate-server for this platform")
        (PLACE / self.name / ".installed").touch()

    async def measure(self) -> dict[str, list[float]]:
        """Its runs of W1 to W4, by workload. Raises PeerFailed."""
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            process = self._start("measure", folder, subprocess.PIPE)
            try:
                said, _ = await asyncio.to_thread(process.communicate, timeout=MEASURE)
            except subprocess.TimeoutExpired:
                raise PeerFailed(f"{self.name} took more than {MEASURE:.0f} s") from None
            finally:
                _end(process)
            if process.returncode != 0:
                raise PeerFailed(f"{self.name} ended with {process.returncode}: {_complaint(folder)}")
            found: dict[str, list[float]] = json.loads(said.splitlines()[-1])
        recoveries = [await self._recover() for _ in range(3)]
        found["W4"] = [seconds for seconds, _ in recoveries]
        found["W4 again"] = [float(again) for _, again in recoveries]
        return found

    async def _recover(self) -> tuple[float, int]:
        """Kill it with -9 in the middle of the chain and start it again: seconds to a new step, steps run again."""
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            progress = Path(folder) / "progress"
            process = self._start("chain", folder, subprocess.DEVNULL)
            try:
                await _until(lambda: len(_steps(progress)) >= MIDDLE, process, folder)
            finally:
                _end(process)
            before = _steps(progress)
            seen = {number for number, _ in before}
            started = time.time()
            process = self._start("chain", folder, subprocess.DEVNULL)
            try:
                await _until(lambda: len({n for n, _ in _steps(progress)}) == 50, process, folder)
            finally:
                _end(process)
            steps = _steps(progress)
            first = min(at for number, at in steps[len(before) :] if number not in seen)
            return first - started, len(steps) - 50

    def _start(self, what: str, folder: str, out: int) -> subprocess.Popen[bytes]:
        """Its program, in a group of its own, which reaches nothing but this machine."""
        environment = {
            "PATH": "/usr/bin:/bin", "HOME": folder, "PREFECT_HOME": f"{folder}/prefect", "DO_NOT_TRACK": "1",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "PREFECT_LOGGING_LEVEL": "ERROR",
            "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true", "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "90",
            "RESTATE_SERVER": str(self.server or ""),
        }  # fmt: skip
        program = str(HERE / "programs" / f"{self.name}_steps.py")
        with (Path(folder) / "errors").open("ab") as errors:
            return subprocess.Popen(
                [str(self.python), program, what, folder], env=environment, stdout=out, stderr=errors,
                start_new_session=True,
            )  # fmt: skip


PEERS = (Peer("dbos"), Peer("prefect"), Peer("restate"))


def _run(*words: str) -> None:
    found = subprocess.run(words, capture_output=True, text=True, check=False, timeout=600)
    if found.returncode != 0:
        raise PeerFailed(f"{' '.join(words)}: {found.stderr.strip()[-500:]}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """kill -9 for the program and whatever it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(10)


async def _until(holds: Callable[[], bool], process: subprocess.Popen[bytes], folder: str) -> None:
    end = time.monotonic() + RECOVER
    while not holds():
        if time.monotonic() > end or process.poll() not in (None, 0):
            raise PeerFailed(f"the chain stands still: {_complaint(folder)}")
        await asyncio.sleep(0.01)


def _steps(progress: Path) -> list[tuple[int, float]]:
    if not progress.exists():
        return []
    words = [line.split() for line in progress.read_text().splitlines()]
    return [(int(number), float(at)) for number, at in words]


def _complaint(folder: str) -> str:
    return (Path(folder) / "errors").read_text(errors="replace").strip()[-500:]


async def measure_all() -> dict[str, dict[str, dict[str, object]]]:
    """Every installed peer's medians and runs, by workload and peer; what failed is said and left out."""
    found: dict[str, dict[str, dict[str, object]]] = {}
    for peer in PEERS:
        if not peer.installed:
            continue
        try:
            measured = await peer.measure()
        except PeerFailed as error:
            print(f"{peer.name} could not be measured: {error}", flush=True)
            continue
        for workload, runs in measured.items():
            found.setdefault(workload, {})[peer.name] = {"value": statistics.median(runs), "runs": runs}
    return found
