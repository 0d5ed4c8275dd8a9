"""What an engine that died has left running, found by a variable in its environment (hazard H7)."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

from services.sandbox import SandboxError

PATIENCE = 10.0
"""Seconds of killing before something must be in the way."""
_BATCH = 32


async def kill_marked(variable: str, value: str) -> int:
    """Kill every process of this user that was started with `variable` set to exactly `value`; returns how many.

    Returns when none is left; never kills this process. What has cleared or changed its environment is not found.
    Raises SandboxError when some still live after PATIENCE seconds, ValueError for an empty or impossible variable.
    """
    if not variable or not value or "=" in variable or "\0" in variable + value:
        raise ValueError(f"{variable!r} with the value {value!r} cannot mark a process")
    marker = os.fsencode(f"{variable}={value}")
    killed: set[int] = set()
    deadline = time.monotonic() + PATIENCE
    while found := await _kill_once(marker):
        killed |= found
        if time.monotonic() > deadline:
            raise SandboxError(f"{len(found)} processes with {variable}={value} cannot be killed: {sorted(found)}")
        await asyncio.sleep(0.001)
    return len(killed)


async def _kill_once(marker: bytes) -> set[int]:
    """Kill who bears the marker now."""
    found: set[int] = set()
    numbers = [int(name) for name in _names_in_proc() if name.isdigit()]
    for position, pid in enumerate(numbers):
        if pid != os.getpid() and _kill_if(pid, marker):
            found.add(pid)
        if position % _BATCH == _BATCH - 1:
            await asyncio.sleep(0)
    return found


def _names_in_proc() -> list[str]:
    try:
        return os.listdir("/proc")
    except OSError:
        return []  # a system without it, where nothing can be found


def _kill_if(pid: int, marker: bytes) -> bool:
    """Kill a process that bears the marker. Through a descriptor opened before the look, so it hits nobody else."""
    try:
        if os.stat(f"/proc/{pid}").st_uid != os.geteuid():
            return False
        process = os.pidfd_open(pid)
        try:
            if marker not in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                return False
            signal.pidfd_send_signal(process, signal.SIGKILL)
        finally:
            os.close(process)
    except OSError:
        return False  # it has just gone, or is not ours to look at
    return True
