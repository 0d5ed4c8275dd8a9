"""What the kernel lets us do about a tree of processes. On systems other than Linux: process groups only."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Container
from contextlib import suppress
from math import inf
from time import monotonic

LINUX = sys.platform == "linux"
PASSES = 50
"""Rounds of stopping before killing; a tree that grows for longer is killed as far as it is known."""

_CHILDREN_FILES = LINUX and os.path.exists(f"/proc/self/task/{os.getpid()}/children")
_SET_PDEATHSIG, _SET_CHILD_SUBREAPER, _SET_NO_NEW_PRIVS = 1, 36, 38
_call = ctypes.CDLL(None).prctl if LINUX else None
if _call is not None:
    _call.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]


def _prctl(option: int, value: int) -> bool:
    return _call is not None and _call(option, value, 0, 0, 0) == 0


def adopt_orphans() -> bool:
    """Let descendants whose parent dies come to this process. False where the kernel has no such thing."""
    return _prctl(_SET_CHILD_SUBREAPER, 1)


def die_with_parent() -> None:
    """Send SIGKILL to this process when its parent dies."""
    _prctl(_SET_PDEATHSIG, signal.SIGKILL)


def die_first() -> None:
    """When memory runs out, the kernel shall end this process, and not the keeper above it or somebody else."""
    if LINUX:
        descriptor = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
        os.write(descriptor, b"500")
        os.close(descriptor)


def renounce_privileges() -> None:
    """From now on no program that this process executes gains rights from a set-user-id bit or file capabilities."""
    _prctl(_SET_NO_NEW_PRIVS, 1)


def start_ticks(pid: int) -> int:
    """Start of a process in clock ticks since boot, 0 when unknown."""
    fields = stat(pid)
    return int(fields[19]) if fields else 0


def children(pid: int) -> list[int]:
    """Direct children of a process, dead ones that nobody has waited for included. May miss some while it forks."""
    if not LINUX:
        return []
    if not _CHILDREN_FILES:
        return _children_by_scan(pid)
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            found += map(int, _read(f"/proc/{pid}/task/{thread}/children").split())
    except OSError:
        pass  # it has just gone
    return found


def _children_by_scan(pid: int) -> list[int]:
    """For kernels without CONFIG_PROC_CHILDREN."""
    wanted = str(pid).encode()
    numbers = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return [number for number in numbers if (fields := stat(number)) and fields[1] == wanted]


def descendants(root: int) -> list[int]:
    """All below a process, parents before their children."""
    found = [root]
    for pid in found:
        found += children(pid)
    return found[1:]


def terminate(root: int, group: int) -> None:
    """Send SIGTERM to all below a process, and SIGCONT, so that those who are stopped can act on it.

    `group` stands for all below where the system does not show them.
    """
    for pid in descendants(root) if LINUX else [-group]:
        _send(pid, signal.SIGTERM)
        _send(pid, signal.SIGCONT)


def get_ahead() -> None:
    """Run before all ordinary processes, where that is allowed: a thousand that fork leave little time to others."""
    with suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))


def kill(root: int, *, group: int = 0, spare: Container[int] = (), deadline: float = inf) -> set[int]:
    """Stop all below a process until no new ones appear, then send SIGKILL; returns who was alive.

    Stopping comes first, so that nobody forks or restarts another meanwhile, from the top down: the child of a stopped
    parent keeps its pid. Whole groups at a time, because a fork cannot slip through a signal to its group; no stranger
    can be in one, as the command began a session of its own. One call may miss processes which fork without end in
    ever new sessions: call again until no child is left. `spare` are children of root to leave alone with their trees.
    After `deadline` (monotonic) who was found is killed as it is. `group` stands for all below where the system does
    not show them.
    """
    if not LINUX:
        if group:
            _send(-group, signal.SIGKILL)
        return set()
    own = os.getpgid(0)
    groups: set[int] = set()
    stopped: set[int] = set()
    alive: set[int] = set()
    for _ in range(PASSES):
        before = len(stopped)
        queue = [root]
        for parent in queue:
            for pid in children(parent):
                if parent == root and pid in spare:
                    continue
                queue.append(pid)
                if pid not in stopped:
                    stopped.add(pid)
                    if _stop(pid, own, groups):
                        alive.add(pid)
        if len(stopped) == before or monotonic() > deadline:
            break
    for each in groups:
        _send(-each, signal.SIGKILL)
    for pid in stopped:
        _send(pid, signal.SIGKILL)
    return alive


def _stop(pid: int, own: int, groups: set[int]) -> bool:
    """Stop a process and its group. True unless it is dead already."""
    _send(pid, signal.SIGSTOP)
    fields = stat(pid)
    if not fields or fields[0] in (b"Z", b"X"):
        return False
    group = int(fields[2])
    if group not in groups and group > 1 and group != own:
        groups.add(group)
        _send(-group, signal.SIGSTOP)
    return True


def _send(target: int, number: int) -> None:
    with suppress(OSError):  # it has gone, or has become another user's: the next round shows
        os.kill(target, number)


def stat(pid: int) -> list[bytes]:
    """State, parent, group and what follows in /proc/<pid>/stat; empty when it has gone."""
    try:
        return _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    except OSError:
        return []


def _read(path: str) -> bytes:
    """A small file of /proc, without the layers of `open`."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        data = b""
        while chunk := os.read(descriptor, 65536):
            data += chunk
        return data
    finally:
        os.close(descriptor)
