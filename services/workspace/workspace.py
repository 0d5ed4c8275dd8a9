"""A task's working folder: ordinary files and a `.git` of its own, which can spoil nothing of the engine's."""

import asyncio
import contextlib
import hashlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from services.workspace import objects
from services.workspace.removal import inside, remove_folder
from services.workspace.repository import Repository, new_folder
from services.workspace.snapshot import Look, check_patterns, snapshot
from services.workspace.untouched import untouched

_CONFIG = """\
[core]
	repositoryformatversion = 0
	filemode = true
	bare = false
	logallrefupdates = true
[user]
	name = Nightshift
	email = nightshift@localhost
[gc]
	auto = 0
"""


@dataclass(frozen=True, slots=True)
class Workspace:
    """The files of `commit` in the folder `path`, for one attempt at a task.

    Programs inside may use git as they like: commits, branches and settings stay in `path/.git`, which borrows the
    objects of the engine's repository (so they must be able to read `repository.objects_dir`). The engine itself never
    looks at `path/.git`. `root` is the folder in which the engine may create and delete; by default the one that holds
    the repository. After a restart, an existing folder is taken up by `Workspace(repository, path, commit)`.
    """

    repository: Repository
    path: Path
    commit: str
    root: Path | None = None
    _notes: Path | None = field(default=None, compare=False)
    """Where the engine keeps what it knows about the folder, out of the task's reach; None: follows from the path."""

    @classmethod
    async def create(cls, repository: Repository, path: Path, commit: str, *, root: Path | None = None) -> "Workspace":
        """Fill the new folder `path` with the files of `commit`.

        Raises `FileExistsError` if there is something at `path`, `OutsideRoot` if it is not below the root, and
        `GitFailed`. When it fails, nothing is left behind.
        """
        place = inside(root or repository.root, path)
        workspace = cls(repository, place, objects.checked_id(commit), root, _notes_of(repository, place))
        new_folder(place)
        try:
            await workspace._fill()
        except BaseException:
            await asyncio.shield(workspace.remove())
            raise
        return workspace

    def settle(self) -> None:
        """Nobody has written in the folder so far. Whoever does from now on is found by the times of the files."""
        with contextlib.suppress(FileNotFoundError):
            os.utime(self._index)

    async def snapshot(self, *, force: Sequence[str] = (), look: Look | None = None) -> str:
        """The tree of the folder as it is now, stored in the engine's repository.

        `.gitignore` files count, except for what matches `force`: paths and globs below the folder, `**` crosses
        folders. A repository that the task made inside is stored as its files. Sockets, fifos and empty folders are
        not stored. Raises `GitFailed` for what cannot be read, `Unrecordable` for what git cannot hold, and what `look`
        raises, which sees each file that is to be stored, before it is.
        """
        check_patterns(force)
        index = _notes_of(self.repository, inside(self.root or self.repository.root, self.path)) / "index"
        began = await self.repository.tree_of(self.commit)
        if index.exists():
            if await asyncio.to_thread(untouched, self.path, index):
                return began
        elif began == objects.EMPTY_TREE:
            if untouched(self.path, index):
                return began
            await asyncio.to_thread(index.parent.mkdir, exist_ok=True)
        else:  # not lost with the folder, but perhaps by somebody's tidying
            await asyncio.to_thread(index.parent.mkdir, exist_ok=True)
            await self.repository.run("read-tree", self.commit, index=index)
        return await snapshot(self.repository, self.path, index, force, look) or began

    async def remove(self, above: Path | None = None) -> None:
        """Delete the folder, or the one `above` that holds it, and what the engine kept about it; safe to repeat.

        Raises `OutsideRoot` when the path is not below the root or has become a link, `OSError` for what cannot be
        deleted.
        """
        await asyncio.to_thread(self._remove, above)

    def _remove(self, above: Path | None) -> None:
        folder = inside(self.root or self.repository.root, self.path)
        notes = _notes_of(self.repository, folder)
        remove_folder(folder if above is None else inside(self.root or self.repository.root, above))
        if notes.exists():
            shutil.rmtree(notes, ignore_errors=True)

    @property
    def _index(self) -> Path:
        """Git's notes about the files as they were checked out."""
        found = self._notes
        if found is None:
            found = _notes_of(self.repository, inside(self.root or self.repository.root, self.path))
        return found / "index"

    async def _fill(self) -> None:
        notes = self._index.parent
        await asyncio.to_thread(self._write_git_dir, notes)
        if await self.repository.tree_of(self.commit) == objects.EMPTY_TREE:
            return
        notes.mkdir()
        await self.repository.check_out(self.commit, self.path, notes / "index")
        await asyncio.to_thread(shutil.copy2, notes / "index", self.path / ".git" / "index")
        self.settle()

    def _write_git_dir(self, notes: Path) -> None:
        if notes.exists():
            shutil.rmtree(notes, ignore_errors=True)
        own = f"{self.path}/.git"
        os.mkdir(own)
        for name in ("objects", "objects/info", "refs", "info", "hooks"):  # git makes the others when it needs them
            os.mkdir(f"{own}/{name}")
        for name, data in (
            ("config", _CONFIG.encode()),
            ("objects/info/alternates", _quoted(self.repository.objects_dir) + b"\n"),
            ("HEAD", f"{self.commit}\n".encode()),
        ):
            with open(f"{own}/{name}", "xb", buffering=0) as file:
                file.write(data)
        with contextlib.suppress(FileNotFoundError):  # there is one when the source was cloned in part
            shutil.copy(self.repository.git_dir / "shallow", f"{own}/shallow")


def _notes_of(repository: Repository, folder: Path) -> Path:
    return repository.scratch / hashlib.sha256(os.fsencode(folder)).hexdigest()[:32]


def _quoted(path: Path) -> bytes:
    """A path as git's list of alternates wants it: in C quotes when a line or a `#` would be misread."""
    name = os.fsencode(path)
    if not any(byte < 0x20 or byte in b'"\\' for byte in name):
        return name
    return b'"' + b"".join(b"\\%03o" % byte if byte < 0x20 or byte in b'"\\' else bytes([byte]) for byte in name) + b'"'
