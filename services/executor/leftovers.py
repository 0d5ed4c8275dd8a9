"""Folders of attempts and judgements that nobody works in any more: what a kill -9 left behind."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from services.executor.journal import Journal

JUDGED = 24 * 3600.0
"""Seconds after which a folder of a judgement is nobody's: no check may take so long."""


def leftovers(home: Path, *, older: float = 0.0) -> list[Path]:
    """Folders below the home's ``work`` and ``judge`` whose attempt has ended or whose executor is gone.

    ``older``: only those that nobody has touched for so many seconds. An attempt that runs is never among them: its
    lease stands in the journal, with a process that lives.
    """
    running = {lease[:8] for lease in Journal(home / "leases").held()}
    found = [folder for folder in _places(home / "work") if folder.name.rpartition(".")[2] not in running]
    found += [folder for folder in _places(home / "judge") if _age(folder) > JUDGED]
    return sorted(folder for folder in found if _age(folder) >= older)


def _places(root: Path) -> Iterator[Path]:
    yield from (folder for folder in root.glob("*/*/*") if folder.is_dir() and not folder.is_symlink())


def _age(folder: Path) -> float:
    try:
        return time.time() - folder.stat().st_mtime
    except FileNotFoundError:
        return 0.0
