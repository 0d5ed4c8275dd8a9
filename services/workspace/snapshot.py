"""What a working folder holds now, as a tree of the engine's repository.

Two of git's own commands do the work: `ls-files` names what changed, `update-index` stores it. Not `git add`: it would
run `git status` inside an embedded repository, with the configuration that the task wrote there.
"""

import asyncio
import contextlib
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from services.workspace.git import GitFailed
from services.workspace.repository import Repository

_GITLINK = "160000"

Look = Callable[[str, Path], None]
"""Takes the name of a file or link below the working folder, and its path; raises what speaks against storing it."""


class Unrecordable(Exception):
    """A path in a working folder has no honest form in a tree; names the path and the reason."""

    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"{path}: {reason}")


@dataclass(slots=True)
class _Listing:
    """The answer of `ls-files`, by path below the working folder."""

    tracked: dict[str, str] = field(default_factory=dict)
    """The mode of each path in the index."""
    changed: dict[str, None] = field(default_factory=dict)
    """Tracked paths that differ or are gone, in order."""
    new: list[str] = field(default_factory=list)
    """Untracked files and links."""
    embedded: list[str] = field(default_factory=list)
    """Untracked folders that hold a repository of their own."""


def check_patterns(force: Sequence[str]) -> None:
    """Raises ValueError for a pattern that is not a path or a glob below the working folder."""
    for pattern in force:
        if not pattern or os.path.isabs(pattern) or ".." in PurePosixPath(pattern).parts or "\0" in pattern:
            raise ValueError(f"{pattern!r} must be a path or a glob below the working folder")


async def snapshot(
    repository: Repository, path: Path, index: Path, force: Sequence[str], look: Look | None = None
) -> str | None:
    """The tree of the folder `path`, or None when it is what `index` says. `index` is read, never written.

    `force` has been checked.
    """
    with tempfile.TemporaryDirectory(prefix="snapshot-", dir=index.parent) as folder:
        own = Path(folder) / "index"
        with contextlib.suppress(FileNotFoundError):  # nothing was checked out
            shutil.copy2(index, own)  # with its time: git compares it with those of the files
        listing = await _list(repository, path, own)
        if force:
            await _list_forced(repository, path, own, force, listing)
        if listing.embedded:
            listing.new += await _embedded_files(repository, path, own, listing)
        drop, update = await asyncio.to_thread(_plan, path, listing)
        if not drop and not update:
            return None
        if look is not None:
            await asyncio.to_thread(_look, path, update, look)
        if drop:
            await repository.run(
                "update-index", "--force-remove", "-z", "--stdin", work_tree=path, index=own, stdin=_joined(drop)
            )
        if update:
            options = ("--add", "--remove", "--replace", "-z", "--stdin")
            output = await repository.run("update-index", *options, work_tree=path, index=own, stdin=_joined(update))
            if refused := re.search(r"^Ignoring path (.*)", output.stderr, re.MULTILINE):
                raise Unrecordable(refused[1], "git refuses this path, because some systems take it for its own")
        return (await repository.run("write-tree", index=own)).line


async def _list(repository: Repository, path: Path, index: Path) -> _Listing:
    options = ("-z", "-t", "--stage", "--cached", "--modified", "--deleted", "--others", "--exclude-standard")
    listing = _Listing()
    for line in await _ls_files(repository, path, index, *options):
        tag, rest = line[0], line[2:]
        if tag == "?":
            (listing.embedded if rest.endswith("/") else listing.new).append(rest)
            continue
        about, name = rest.split("\t", 1)
        listing.tracked[name] = about.split(" ", 1)[0]
        if tag in "CR":
            listing.changed[name] = None
    return listing


async def _list_forced(
    repository: Repository, path: Path, index: Path, force: Sequence[str], listing: _Listing
) -> None:
    """Add the files that match one of the patterns, whatever `.gitignore` says about them."""
    pathspecs = [f":({magic}){pattern}" for pattern in force for magic in ("glob", "literal")]
    seen = {*listing.new, *listing.embedded}
    for name in await _ls_files(repository, path, index, "-z", "--others", "--", *pathspecs):
        if name not in seen:
            (listing.embedded if name.endswith("/") else listing.new).append(name)


async def _ls_files(repository: Repository, path: Path, index: Path, *options: str) -> list[str]:
    output = await repository.run("ls-files", *options, work_tree=path, index=index)
    if "could not open directory" in output.stderr:  # only a warning for git, but a hole in the tree for us
        raise GitFailed(["git", "ls-files"], output.code, output.stderr)
    return output.fields


async def _embedded_files(repository: Repository, path: Path, index: Path, listing: _Listing) -> list[str]:
    """The files in repositories that the task made inside its folder: as ordinary files, without their `.git`."""
    names = await asyncio.to_thread(lambda: [name for top in listing.embedded for name in _walk(path, top.rstrip("/"))])
    if not names:
        return []
    output = await repository.run(
        "check-ignore", "-z", "--stdin", work_tree=path, index=index, stdin=_joined(names), accept=(0, 1)
    )
    ignored = set(output.fields)
    return [name for name in names if name not in ignored]


def _walk(path: Path, top: str) -> Iterator[str]:
    """All files and links below `top`, except what is called `.git`."""
    folders = [top]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(path / folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            raise Unrecordable(folder, f"cannot be read: {error.strerror}") from error
        for entry in entries:
            name = f"{folder}/{entry.name}"
            if entry.name == ".git":
                continue
            if entry.is_dir(follow_symlinks=False):
                folders.append(name)
            elif entry.is_symlink() or entry.is_file(follow_symlinks=False):
                yield name


def _plan(path: Path, listing: _Listing) -> tuple[list[str], list[str]]:
    """The paths to drop from the index without looking, and those to store or drop as the folder says."""
    linked = _linked_folders(path, listing.tracked)
    drop = [name for name in listing.tracked if linked and any(parent in linked for parent in _parents(name))]
    dropped = set(drop)
    update = []
    for name in listing.changed:
        if name in dropped or listing.tracked[name] == _GITLINK:
            continue
        mode = _mode(path / name)
        if mode is None or stat.S_ISREG(mode) or stat.S_ISLNK(mode):
            update.append(name)
        else:  # now a folder, whose files are listed by themselves; or a socket, a fifo, a device
            drop.append(name)
    submodules = [name for name, mode in listing.tracked.items() if mode == _GITLINK and name not in dropped]
    drop += [name for name in submodules if _submodule_gone(path, name, changed=name in listing.changed)]
    return drop, update + listing.new


def _look(path: Path, names: Iterable[str], look: Look) -> None:
    for name in names:
        if _mode(path / name) is not None:
            look(name, path / name)


def _submodule_gone(path: Path, name: str, *, changed: bool) -> bool:
    """Whether a submodule of the source was removed. Raises `Unrecordable` for work inside it, which would be lost."""
    folder = path / name
    mode = _mode(folder)
    if mode is None or not stat.S_ISDIR(mode):
        return True
    own = _mode(folder / ".git") is not None
    if changed and own:
        raise Unrecordable(name, "this submodule has commits of its own, which the engine cannot record")
    if not own and any(folder.iterdir()):
        raise Unrecordable(name, "there are files in the folder of a submodule, which the engine cannot record")
    return False


def _linked_folders(path: Path, names: Iterable[str]) -> set[str]:
    """The folders of the index that are links now: git must not follow them out of the workspace."""
    folders = {parent for name in names for parent in _parents(name)}
    return {folder for folder in folders if (mode := _mode(path / folder)) is not None and stat.S_ISLNK(mode)}


def _parents(name: str) -> Iterator[str]:
    end = name.find("/")
    while end != -1:
        yield name[:end]
        end = name.find("/", end + 1)


def _mode(path: Path) -> int | None:
    try:
        return path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None


def _joined(names: Sequence[str]) -> bytes:
    return b"".join(os.fsencode(name) + b"\0" for name in names)
