"""The disk that attempts work on: how much room there is, and how much must stay free (hazard H22, docs/adr/0010)."""

from __future__ import annotations

import shutil
from pathlib import Path

from services.executor.watchdog import BACK, Space


class Disk:
    """The disk of a folder, and its reserve: at least so many bytes, and at least this share of it."""

    def __init__(self, folder: Path, reserve: int, share: float) -> None:
        self.folder = folder
        self.reserve = reserve
        self.share = share
        self._told: dict[str, float] = {}

    def space(self) -> Space:
        """What there is now. Raises OSError."""
        usage = shutil.disk_usage(self.folder)
        return Space(usage.free, usage.total)

    def needed(self, space: Space) -> int:
        """Bytes that must stay free."""
        return max(self.reserve, int(space.total * self.share))

    def short(self) -> Space | None:
        """What there is, if that is less than the reserve."""
        space = self.space()
        return space if space.free < self.needed(space) else None

    def news(self, execution: str, limit: float) -> bool:
        """Whether an execution has not been told yet that less than ``limit`` is free. Room in between: told anew."""
        free = self.space().free
        self._told = {name: below for name, below in self._told.items() if free * BACK < below}
        if execution in self._told:
            return False
        self._told[execution] = limit
        return True
