"""The control group of one command: limits for its whole tree, and what it used. Version 1 and version 2.

The engine names the parent folders by controller (`services.sandbox.cgroups`); in version 2 they are one and the same.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

PERIOD = 100_000
"""Microseconds in which the share of processors is given out."""
OWN = 2
"""Processes in the group that are not the command's: the keeper, and the first of the namespace."""


def name(keeper: int) -> str:
    """What the group of a keeper is called."""
    return f"nightshift-{keeper}"


class Group:
    """The group of this process and all its descendants."""

    def __init__(self, parents: dict[str, str]) -> None:
        """Create it and move there. Raises OSError."""
        own = name(os.getpid())
        self.folders = {controller: f"{parent}/{own}" for controller, parent in parents.items()}
        self.before = 0.0
        for folder in dict.fromkeys(self.folders.values()):
            with suppress(FileExistsError):
                os.mkdir(folder)
            # version 1 moves a single thread without stopping all forks and ends of processes for 10 to 30 ms
            _write(f"{folder}/{'tasks' if os.path.exists(f'{folder}/tasks') else 'cgroup.procs'}", "0")

    def limit(self, limits: dict[str, Any]) -> None:
        """Set the limits of the tree; None is none. Raises OSError."""
        memory, processes, cpus = limits["tree_memory_bytes"], limits["tree_processes"], limits["cpus"]
        self.before = self.cpu_seconds()
        if memory is not None and (folder := self.folders.get("memory")):
            if self._has(folder, "memory.max"):
                _write(f"{folder}/memory.max", str(memory))
                if self._has(folder, "memory.swap.max"):
                    _write(f"{folder}/memory.swap.max", "0")
            else:
                _write(f"{folder}/memory.limit_in_bytes", str(memory))
                if self._has(folder, "memory.memsw.limit_in_bytes"):
                    _write(f"{folder}/memory.memsw.limit_in_bytes", str(memory))
        if processes is not None and (folder := self.folders.get("pids")):
            _write(f"{folder}/pids.max", str(processes + OWN))
        if cpus is not None and (folder := self.folders.get("cpu")):
            quota = max(1000, int(cpus * PERIOD))
            if self._has(folder, "cpu.max"):
                _write(f"{folder}/cpu.max", f"{quota} {PERIOD}")
            else:
                _write(f"{folder}/cpu.cfs_period_us", str(PERIOD))
                _write(f"{folder}/cpu.cfs_quota_us", str(quota))

    def cpu_seconds(self) -> float:
        """User and system time of all that ever was in the group."""
        if folder := self.folders.get("cpuacct"):
            return int(_read(f"{folder}/cpuacct.usage") or 0) / 1e9
        if folder := self.folders.get("cpu"):
            return _field(f"{folder}/cpu.stat", "usage_usec") / 1e6
        return 0.0

    def report(self) -> dict[str, Any]:
        """What the tree used: processor time since `limit`, the most memory at a time, and whether it ran out of it."""
        found: dict[str, Any] = {}
        if used := self.cpu_seconds():
            found["cpu_seconds"] = max(0.0, used - self.before)
        if folder := self.folders.get("memory"):
            peak = _read(f"{folder}/memory.peak") or _read(f"{folder}/memory.max_usage_in_bytes")
            found["peak_memory_bytes"] = int(peak or 0)
            events = "memory.events" if self._has(folder, "memory.events") else "memory.oom_control"
            found["out_of_memory"] = _field(f"{folder}/{events}", "oom_kill") > 0
        return found

    def _has(self, folder: str, file: str) -> bool:
        return os.path.exists(f"{folder}/{file}")


def remove(parents: dict[str, str], keeper: int) -> bool:
    """Remove the group of a keeper that has ended. False as long as anybody is in it."""
    gone = True
    for parent in dict.fromkeys(parents.values()):
        try:
            os.rmdir(f"{parent}/{name(keeper)}")
        except FileNotFoundError:
            pass
        except OSError:
            gone = False
    return gone


def sweep(parents: dict[str, str]) -> None:
    """Remove groups that dead launchers have left behind: those that nobody is in."""
    for parent in dict.fromkeys(parents.values()):
        for found in os.listdir(parent):
            if found.startswith("nightshift-") and not os.path.exists(f"/proc/{found[11:]}"):
                with suppress(OSError):
                    os.rmdir(f"{parent}/{found}")


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror}: {text} to {path}") from None
    finally:
        os.close(descriptor)


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return ""


def _field(path: str, field: str) -> int:
    for line in _read(path).splitlines():
        if line.startswith(f"{field} "):
            return int(line.split()[1])
    return 0
