"""Deleting a folder that a task has filled: however deep, whatever the permissions, and nothing outside of it."""

import contextlib
import errno
import os
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path

_ROUNDS = 20
"""How often to start again when somebody else deletes, or writes, in the folder at the same time."""


class OutsideRoot(ValueError):
    """A path that is not below the folder in which the engine may delete."""


def inside(root: Path, path: Path) -> Path:
    """`path` with its parents resolved, if it is below `root` and not a link itself; raises `OutsideRoot` otherwise."""
    resolved = Path(os.path.realpath(path.parent), path.name)
    top = Path(os.path.realpath(root))
    if path.name in ("", "..") or not resolved.is_relative_to(top) or resolved == top or resolved.is_symlink():
        raise OutsideRoot(f"{path} is not a folder below {top}: the engine does not touch it")
    return resolved


def remove_folder(path: Path) -> None:
    """Delete a folder and all it holds; what is gone already, or vanishes meanwhile, is fine.

    Each folder found inside is first moved to the top, so the work needs neither recursion nor long paths, and it is
    only ever reached through its parent's descriptor, so no link is followed. Raises `OSError` for what cannot be
    deleted, and when something goes on filling the folder.
    """
    for _ in range(_ROUNDS):
        with contextlib.suppress(FileNotFoundError):
            _empty_all(path)
        with contextlib.suppress(FileNotFoundError), _unless_filled_again():
            path.rmdir()
        if not path.exists():
            return
    raise OSError(errno.ENOTEMPTY, "somebody goes on filling the folder", str(path))


def _empty_all(path: Path) -> None:
    top = _opened(str(path), None)
    try:
        waiting = _emptied(top)
        while waiting:
            name = waiting.pop()
            with contextlib.suppress(FileNotFoundError):
                folder = _opened(name, top)
                try:
                    waiting += [moved for inner in _emptied(folder) if (moved := _moved(inner, folder, top))]
                finally:
                    os.close(folder)
                with _unless_filled_again():
                    os.rmdir(name, dir_fd=top)
    finally:
        os.close(top)


def _emptied(folder: int) -> list[str]:
    """Delete what is no folder, and empty folders, in a folder; returns the names of the other folders in it."""
    with os.scandir(folder) as entries:
        found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    return [name for name, is_folder in found if not _unlinked(name, folder, is_folder)]


def _unlinked(name: str, parent: int, is_folder: bool) -> bool:
    try:
        if is_folder:
            os.rmdir(name, dir_fd=parent)
        else:
            os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        return True
    except OSError as error:
        if not is_folder or error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        return False
    return True


def _moved(name: str, folder: int, top: int) -> str | None:
    """The name at the top of a folder moved there, or None when it has vanished."""
    new_name = f".removing-{uuid.uuid4().hex}"
    try:
        os.close(_opened(name, folder))  # moving a folder takes the right to write in it
        os.rename(name, new_name, src_dir_fd=folder, dst_dir_fd=top)
    except FileNotFoundError:
        return None
    return new_name


@contextlib.contextmanager
def _unless_filled_again() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:
            raise


def _opened(name: str, parent: int | None) -> int:
    """A descriptor of a folder (not of a link to one), after giving ourselves all rights to it."""
    with contextlib.suppress(PermissionError):
        opened = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        if stat.S_IMODE(os.fstat(opened).st_mode) & 0o700 == 0o700:
            return opened
        os.close(opened)
    handle = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        if stat.S_IMODE(os.fstat(handle).st_mode) & 0o700 != 0o700:
            os.chmod(f"/proc/self/fd/{handle}", 0o700)
        return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=handle)
    finally:
        os.close(handle)
