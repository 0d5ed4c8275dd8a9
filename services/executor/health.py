"""The watchdog of one attempt: measures beside the running command, tells what it finds, and ends what hangs."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from events.health import HealthWarned
from services.executor.disk import Disk
from services.executor.watchdog import Finding, Monitor, Sample
from services.sandbox import Running
from services.sandbox.usage import Measurable, Taken, of_tree

TAIL = 2000
"""Bytes of the output's end that go with a warning."""
MOST_FILES = 20_000
"""Files and folders that one look takes in; what changes beyond them is not seen."""
REST = 200
"""A look at the files that took so long is followed by a rest this many times as long."""
BEYOND = 10.0
"""Seconds after which the sandbox kills by itself what the watchdog should have killed."""

Tell = Callable[[HealthWarned], Awaitable[None]]


class Watchdog:
    """Watches one command. Feed it all output through ``take``; run ``watch`` while the command runs."""

    def __init__(self, monitor: Monitor, *, attempt: int, lease: str, execution: str, folder: Path, disk: Disk | None,
                 tell: Tell) -> None:  # fmt: skip
        self.monitor = monitor
        self.attempt = attempt
        self.lease = lease
        self.execution = execution
        self.folder = folder
        """What counts as the attempt's files."""
        self.disk = disk
        self.tell = tell
        self._output = 0
        self._tail = bytearray()
        self._look_at = 0.0
        self._looked_after = 0

    @property
    def ending(self) -> Finding | None:
        """Why it asked the command to end, if it did."""
        return self.monitor.ending

    def take(self, chunk: bytes) -> None:
        """A chunk of output, as it may be shown to people."""
        self._output += len(chunk)
        self._tail += chunk
        del self._tail[:-TAIL]

    async def watch(self, running: Running) -> None:
        """Look again and again, until cancelled. What ends soon costs no look."""
        self.monitor.take(Sample(at=time.monotonic(), output=self._output))
        while True:
            await asyncio.sleep(self.monitor.terms.interval)
            for finding in self.monitor.take(await self._sample(running)):
                await self._act(finding, running)

    async def _act(self, finding: Finding, running: Running) -> None:
        """Say it, then do it: the command may be gone right afterwards, and this task with it."""
        alert = finding.kind == "disk" and finding.stage == "warn"
        if alert and self.disk is not None and not self.disk.news(self.execution, finding.limit):
            return  # another task of this execution has said it
        warned = HealthWarned(
            kind=finding.kind, stage=finding.stage, value=round(finding.value, 3), limit=round(finding.limit, 3),
            message=finding.message, attempt=self.attempt, lease=self.lease,
            tail="" if finding.kind == "disk" else self._tail.decode("utf-8", "replace"),
        )  # fmt: skip
        await self.tell(warned)
        if finding.stage in ("interrupt", "fail"):
            await running.kill(self.monitor.terms.health.progress.kill + BEYOND)
        elif finding.stage == "kill":
            await running.kill(0)

    async def _sample(self, running: Running) -> Sample:
        taken = await self._taken(running)
        return Sample(
            at=time.monotonic(),
            output=self._output,
            files=await self._files(),
            cpu_seconds=taken.cpu_seconds if taken else None,
            memory=taken.memory_bytes if taken else None,
            disk=self.disk.space() if self.disk else None,
        )

    async def _taken(self, running: Running) -> Taken | None:
        if isinstance(running, Measurable):
            return await running.measure()
        return of_tree(running.pid, running.start_ticks)

    async def _files(self) -> int | None:
        """A mark of the files; not while there is output, which shows as much, and only a small part of the time."""
        printed, self._looked_after = self._output > self._looked_after, self._output
        began = time.monotonic()
        if printed or began < self._look_at:
            return None
        found = await asyncio.to_thread(mark, self.folder)
        ended = time.monotonic()
        self._look_at = ended + min(REST * (ended - began), self.monitor.terms.health.progress.warn / 4)
        return found


def mark(folder: Path, most: int = MOST_FILES) -> int:
    """A number that changes when a file below a folder is made, removed, written or touched; links are not followed."""
    total, left, folders = 0, most, [str(folder)]
    while folders and left > 0:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    try:
                        status = entry.stat(follow_symlinks=False)
                        if entry.is_dir(follow_symlinks=False):
                            folders.append(entry.path)
                    except OSError:
                        continue  # it has just gone, which the next look shows
                    total += hash((status.st_ino, status.st_size, status.st_mtime_ns))
                    left -= 1
                    if left <= 0:
                        break
        except OSError:
            continue  # gone, or closed to us: then nothing in it counts
    return total
