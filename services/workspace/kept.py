"""Workspaces of attempts that went wrong, kept for a person for some days: below `<home>/kept`, out of tasks' reach.

What is kept is plain files to look at. What would act when somebody looks (git's own files, devices, set-user-id) and
what holds a secret is taken out while the folder still lies where the attempt worked; then it is moved in one step, so
whatever is below `kept` is complete.
"""

import asyncio
import contextlib
import json
import logging
import os
import stat
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from schemas.names import decode
from services.workspace.removal import inside, remove_folder

log = logging.getLogger(__name__)

DAY = 86_400.0
NOTE = "kept.json"
FILES = "files"
MOST_FILES = 200_000
"""Files and folders of a workspace; one with more is not kept."""
MOST_SEARCHED = 256 * 1024 * 1024
"""Bytes of a workspace that are searched for secrets; files beyond them are not kept where a plan names secrets."""
EXPIRY = 3600.0
"""Seconds between two looks for folders whose days are over."""
LOOK = 10.0
"""Seconds between two looks at the disk."""


Refuse = Callable[[str, Path], str]
"""Takes the name of a file, link or folder below the workspace, and its path; says why it may not stay, or nothing."""


class TooMuch(Exception):
    """A workspace is too large to be kept."""


@dataclass(frozen=True, slots=True)
class Kept:
    """Keeps folders for ``days`` days, unless ``short`` says that the disk has no room for them."""

    home: Path
    days: float
    short: Callable[[], object] = field(default=lambda: None)
    """True while less than the reserve is free."""

    def keep(self, folder: Path, about: Mapping[str, Any], refuse: Refuse | None = None) -> Path | None:
        """Move `folder`, of which only `files` stays, to where it is kept; None: it is not kept, and lies where it was.

        `folder` is `<home>/<anything>/<tenant>/<execution>/<task>.<attempt>.<lease>`. `about` is noted beside the
        files. `refuse` is None where there are no secrets. Raises `OSError`, `TooMuch`.
        """
        if not self.wants(folder):
            return None
        target = self._target(folder)
        dropped = _plain(folder / FILES, refuse)
        for entry in list(os.scandir(folder)):
            if entry.name == FILES:
                continue
            if entry.is_dir(follow_symlinks=False):
                remove_folder(Path(entry.path))
            else:
                os.unlink(entry.path)
        (folder / NOTE).write_text(json.dumps({**about, "left_out": dropped}, indent=2))
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.home / "kept").chmod(0o700)
        folder.rename(target)
        return target / FILES

    def wants(self, folder: Path) -> bool:
        """Whether this folder would be kept now. Raises `OSError`."""
        return self.days > 0 and not self.short() and not self._target(folder).exists()

    def _target(self, folder: Path) -> Path:
        return self.home.joinpath("kept", *folder.parts[-3:])

    def over(self) -> list[Path]:
        """The folders whose days are over."""
        return kept(self.home, older=self.days * DAY)

    def make_room(self) -> None:
        """While the disk is short, remove what is kept, oldest first. Raises `OSError`."""
        for folder in sorted(kept(self.home), key=_changed):
            if not self.short():
                return
            log.warning("the disk is short: %s is not kept any longer", folder)
            self._remove(folder)

    async def tidy(self) -> None:
        """Remove what is due, for ever, until cancelled."""
        looked = -EXPIRY
        while True:
            try:
                if time.monotonic() - looked >= EXPIRY:
                    looked = time.monotonic()
                    for folder in await asyncio.to_thread(self.over):
                        await asyncio.to_thread(self._remove, folder)
                if self.short():
                    await asyncio.to_thread(self.make_room)
            except OSError as error:
                log.warning("what is kept below %s cannot be tidied: %s", self.home, error)
            await asyncio.sleep(LOOK)

    def _remove(self, folder: Path) -> None:
        try:
            remove_place(self.home, folder)
        except (OSError, ValueError) as error:
            log.warning("%s stays behind: %s", folder, error)


def kept(home: Path, *, execution: str = "*", older: float = 0.0) -> list[Path]:
    """The folders that are kept, those only that nobody has touched for ``older`` seconds."""
    found = (folder for folder in (home / "kept").glob(f"*/{execution}/*") if not folder.is_symlink())
    return sorted(folder for folder in found if folder.is_dir() and time.time() - _changed(folder) >= older)


def kept_of(home: Path, execution: str) -> list[dict[str, Any]]:
    """What is kept of an execution, for a person: task, attempt, and the folder with the files."""
    found = []
    for folder in kept(home, execution=execution):
        with contextlib.suppress(ValueError):  # somebody else's folder
            name, attempt, _ = folder.name.rsplit(".", 2)
            found.append({"task": decode(name), "attempt": int(attempt), "path": str(folder / FILES)})
    return sorted(found, key=lambda each: (each["task"], each["attempt"]))


def remove_place(home: Path, folder: Path) -> None:
    """Delete the folder of an attempt, and the folders above it that it leaves empty. Raises OSError, OutsideRoot."""
    remove_folder(inside(home, folder))
    for parent in (folder.parent, folder.parent.parent):
        try:
            parent.rmdir()
        except OSError:
            return  # somebody else's are in it


def _changed(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except FileNotFoundError:
        return time.time()


def _plain(root: Path, refuse: Refuse | None) -> list[str]:
    """Leave only files, links and folders that a person can read without starting anything; says what went, and why.

    No program of the attempt runs any more, so nothing changes meanwhile.
    """
    dropped: list[str] = []
    seen = searched = 0
    folders = [root]
    while folders:
        folder = folders.pop()
        _make_readable(folder, folder.lstat().st_mode, 0o700)
        entries = list(os.scandir(folder))
        seen += len(entries)
        if seen > MOST_FILES:
            raise TooMuch(f"there are more than {MOST_FILES} files in it")
        names = {entry.name for entry in entries}
        for entry in entries:
            path, name = Path(entry.path), os.path.relpath(entry.path, root)
            status = entry.stat(follow_symlinks=False)
            is_file = stat.S_ISREG(status.st_mode)
            if is_file and status.st_nlink == 1:  # a hard link may lead to a file of somebody else
                _make_readable(path, status.st_mode, 0o400)
            why = _unwanted(entry.name, names, status.st_mode)
            if not why and refuse is not None:
                size = status.st_size if is_file else 0
                if searched + size > MOST_SEARCHED:
                    why = f"{name}: it is too large to be searched for secrets"
                else:
                    searched += size
                    why = refuse(name, path)
            if why:
                _drop(path, status.st_mode)
                dropped.append(why)
            elif stat.S_ISDIR(status.st_mode):
                folders.append(path)
    return [why for why in dropped if why != _GIT]


_GIT = "git's own"


def _unwanted(name: str, beside: set[str], mode: int) -> str:
    """Why an entry is never kept: git would run what a task wrote into its settings, at a mere look from inside."""
    if name == ".git" or (name == "HEAD" and beside & {"objects", "commondir"}):
        return _GIT
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)):
        return f"{name}: it is neither a file, nor a link, nor a folder"
    return ""


def _make_readable(path: Path, mode: int, needed: int) -> None:
    wanted = (stat.S_IMODE(mode) | needed) & 0o1777
    if wanted != stat.S_IMODE(mode):
        path.chmod(wanted)


def _drop(path: Path, mode: int) -> None:
    remove_folder(path) if stat.S_ISDIR(mode) else path.unlink()
