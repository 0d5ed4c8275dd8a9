"""Whether a working folder is exactly as it was checked out, found out without a git process.

Only a yes is an answer: whatever is not plainly the same is left to git, which reads what it must. The index that git
wrote at the check-out says of each file when, where and how large it was. A task can set a file's time of modification
back, but not the time at which the kernel last changed its inode.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

MOST_FILES = 300
"""Files of a tree above which git, which is slow to start and fast at this, is asked at once."""
_HEAD = struct.Struct(">4sLL")
_ENTRY = struct.Struct(">10L20sH")
_LENGTH = 0x0FFF
"""The bits of an entry's flags that say how long its name is; the others mark what only git can judge."""
_TRIVIAL = (b"TREE",)
"""Extensions of an index that say nothing about files: a cache of tree ids."""

_Seen = tuple[int, ...]


class _Unclear(Exception):
    """Git has to say."""


def untouched(path: Path, index: Path) -> bool:
    """True only if the folder `path` holds what `index` says, and nothing else; without an index, nothing at all.

    A `.git` at the top does not count. False: it may have changed.
    """
    try:
        return _holds(os.fspath(path), dict(_entries(index)))
    except (OSError, _Unclear):
        return False


def _holds(path: str, wanted: dict[str, _Seen]) -> bool:
    folders = {name[:end] for name in wanted for end in _slashes(name)}
    found = 0
    waiting = [""]
    while waiting:
        above = waiting.pop()
        with os.scandir(f"{path}/{above}") as entries:
            for entry in entries:
                name = above + entry.name
                if name == ".git":
                    continue
                if name in folders and entry.is_dir(follow_symlinks=False):
                    waiting.append(f"{name}/")
                elif wanted.get(name) == _seen(entry.stat(follow_symlinks=False)):
                    found += 1
                else:
                    return False
    return found == len(wanted)


def _slashes(name: str) -> Iterator[int]:
    end = name.find("/")
    while end != -1:
        yield end
        end = name.find("/", end + 1)


def _seen(status: os.stat_result) -> _Seen:
    """What git writes down about a file, as it writes it: 32 bits each."""
    mode = status.st_mode
    if stat.S_ISREG(mode):
        kind = 0o100755 if mode & 0o100 else 0o100644
    elif stat.S_ISLNK(mode):
        kind = 0o120000
    else:
        raise _Unclear
    times = (*divmod(status.st_ctime_ns, 10**9), *divmod(status.st_mtime_ns, 10**9))
    rest = (status.st_dev, status.st_ino, kind, status.st_uid, status.st_gid, status.st_size)
    return tuple(number & 0xFFFFFFFF for number in (*times, *rest))


def _entries(index: Path) -> Iterator[tuple[str, _Seen]]:
    """What an index says of each file. Raises _Unclear for what may have changed unseen, or is not plainly a file."""
    try:
        with index.open("rb") as file:
            written = os.fstat(file.fileno()).st_mtime_ns
            data = file.read()
    except FileNotFoundError:
        return
    try:
        mark, version, count = _HEAD.unpack_from(data)
        if mark != b"DIRC" or version != 2 or count > MOST_FILES:
            raise _Unclear
        at = _HEAD.size
        for _ in range(count):
            *seen, _, flags = _ENTRY.unpack_from(data, at)
            start = at + _ENTRY.size
            if flags & ~_LENGTH or flags == _LENGTH or seen[0] * 10**9 + seen[1] >= written:
                raise _Unclear  # of a conflict, not to be looked at, or as young as the index, so perhaps younger
            yield os.fsdecode(data[start : start + flags]), tuple(seen)
            at += (_ENTRY.size + flags + 8) & ~7
        while at < len(data) - 20:  # what follows is the index's own digest
            kind, length = struct.unpack_from(">4sL", data, at)
            if kind not in _TRIVIAL:
                raise _Unclear
            at += 8 + length
    except struct.error as error:
        raise _Unclear from error
