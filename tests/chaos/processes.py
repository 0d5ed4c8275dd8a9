"""Processes that must not be there any more, found by what stands in their environment or command line."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection
from pathlib import Path


def of_tasks(leases: Collection[str]) -> dict[int, str]:
    """Processes of tasks that still live, and the lease in their environment."""
    marks = {f"NIGHTSHIFT_LEASE={lease}".encode(): lease for lease in leases}
    found = {}
    for pid, environment in _every("environ"):
        for entry in environment.split(b"\0"):
            if entry in marks:
                found[pid] = marks[entry]
    return found


def of_home(home: Path) -> dict[int, str]:
    """Processes that live in a home: services, sandboxes, the server."""
    mark = os.fsencode(home)
    found = {pid: "environment" for pid, text in _every("environ") if mark in text}
    found |= {pid: "command line" for pid, text in _every("cmdline") if mark in text}
    found.pop(os.getpid(), None)
    return found


def gone(look: Callable[[], object], seconds: float) -> bool:
    """Wait until a look finds nothing."""
    until = time.monotonic() + seconds
    while look():
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


def _every(name: str) -> list[tuple[int, bytes]]:
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                found.append((int(entry), Path(f"/proc/{entry}/{name}").read_bytes()))
            except OSError:
                continue
    return found
