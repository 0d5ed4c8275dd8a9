"""Writing to a repository that other processes write to as well, and that killed ones left their `.lock` files in.

Git's lock files do not say who made them. So every git of ours that changes refs holds a shared flock, and hands it
down to its children: the kernel drops it when the last of them is gone, however they died. Whoever gets that flock
exclusively knows that no git of the engine runs, and so that a lock file which is still there belongs to nobody.
"""

import asyncio
import contextlib
import fcntl
import os
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from services.workspace.git import GitFailed

T = TypeVar("T")

STALE_AFTER = 2.0
"""Seconds a lock file must have been seen unchanged: a person's git in the engine's repository holds no flock."""

PATIENCE = 30.0
"""Seconds to go on trying before the lock is reported."""

_CONTENDED = re.compile(r"\.lock': File exists|but expected|reference already exists|shallow file has changed")
_LOCK_FILE = re.compile(r"Unable to create '(.+?\.lock)': File exists", re.DOTALL)


async def write_patiently(guard: Path, write: Callable[[int], Awaitable[T]]) -> T:
    """Run `write(descriptor of the flock)` until no other writer is in its way; removes lock files proven stale.

    `guard` is the file to flock, in the folder of the engine's repository. Raises the last `GitFailed`.
    """
    deadline = time.monotonic() + PATIENCE
    seen: dict[Path, tuple[tuple[int, int], float]] = {}
    while True:
        try:
            async with _flock(guard, fcntl.LOCK_SH, PATIENCE) as descriptor:
                return await write(descriptor)
        except GitFailed as failed:
            if not _CONTENDED.search(failed.stderr) or time.monotonic() > deadline:
                raise
            named = _LOCK_FILE.search(failed.stderr)
        if named is not None:
            await _remove_if_stale(Path(named[1]), guard, seen)
        await asyncio.sleep(0.02)


async def _remove_if_stale(lock: Path, guard: Path, seen: dict[Path, tuple[tuple[int, int], float]]) -> None:
    identity = _identity(lock)
    if identity is None or not lock.is_relative_to(guard.parent.parent):
        return
    first_identity, since = seen.setdefault(lock, (identity, time.monotonic()))
    if first_identity != identity:
        del seen[lock]
    elif time.monotonic() - since >= STALE_AFTER:
        with contextlib.suppress(TimeoutError):
            async with _flock(guard, fcntl.LOCK_EX, 1.0):
                _unlink_same(lock, identity)


def _unlink_same(lock: Path, identity: tuple[int, int]) -> None:
    if _identity(lock) == identity:
        lock.unlink(missing_ok=True)


def _identity(lock: Path) -> tuple[int, int] | None:
    try:
        status = lock.lstat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


@contextlib.asynccontextmanager
async def _flock(path: Path, operation: int, patience: float) -> AsyncIterator[int]:
    """Hold a flock; raises `TimeoutError` after `patience` seconds."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{path} stayed locked for {patience:g} seconds") from None
                await asyncio.sleep(0.01)
        yield descriptor
    finally:
        os.close(descriptor)
