"""What a task did to a tree, file by file: modes, renames and the text before and after, for those who judge it.

Line counts and texts do not obey the `.gitattributes` of the tree: a task could write there that its files are binary.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from services.workspace import objects
from services.workspace.repository import Repository

MAX_TEXT = 4 * 1024 * 1024
"""Bytes of a file that are read; a larger one counts as unreadable."""
MAX_TEXTS = 64 * 1024 * 1024
"""Bytes that are read in all."""
LINK, SUBMODULE, EXECUTABLE = "120000", "160000", "100755"
_NOTHING = "0" * 40

Status = Literal["A", "D", "M", "T", "R"]


@dataclass(frozen=True, slots=True)
class FileChange:
    """A file that differs between two trees. `status` is git's letter; R: it was called `old` before.

    `before` and `after` are its text, a link's target included; None where there is none, or none that can be read.
    """

    path: str
    status: Status
    old: str | None = None
    old_mode: str = "000000"
    new_mode: str = "000000"
    added: int = 0
    removed: int = 0
    before: str | None = None
    after: str | None = None
    unreadable: bool = False
    """It is binary, or too large."""

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths that are touched."""
        return (self.path,) if self.old is None else (self.old, self.path)

    @property
    def existing(self) -> tuple[str, ...]:
        """Those of them where something was before."""
        return () if self.status == "A" else (self.old or self.path,)

    def added_lines(self) -> list[str]:
        """The lines that are there more often than before."""
        if self.after is None:
            return []
        return list((Counter(self.after.splitlines()) - Counter((self.before or "").splitlines())).elements())

    def place_of(self, pattern: str) -> str | None:
        """Path and number of the first added line that has a regular expression; None if none has."""
        line = next((line for line in self.added_lines() if re.search(pattern, line)), None)
        return None if line is None else f"{self.path}:{(self.after or '').splitlines().index(line) + 1}"


async def read_difference(repository: Repository, a: str, b: str) -> list[FileChange]:
    """What changed from tree `a` to tree `b`, in the order of paths. Raises `GitFailed`."""
    options = ("-r", "-z", "-M", "--raw", "--numstat", "--text", "--no-ext-diff", "--no-textconv", "--no-abbrev")
    fields = (await repository.run("diff-tree", *options, a, b)).fields
    if not fields:
        return []
    raw, counts = _read(fields)
    wanted = {
        oid: None
        for old_mode, new_mode, old, new, *_ in raw
        for mode, oid in ((old_mode, old), (new_mode, new))
        if oid != _NOTHING and mode != SUBMODULE
    }
    texts = await _texts(repository, list(wanted))
    changes = []
    for old_mode, new_mode, old, new, status, path, before in raw:
        added, removed = counts.get(path, (0, 0))
        readable = all(texts.get(oid) is not None for oid in (old, new) if oid in wanted)
        changes.append(
            FileChange(
                path=path, status=status, old=before, old_mode=old_mode, new_mode=new_mode, added=added,
                removed=removed, before=texts.get(old), after=texts.get(new), unreadable=not readable,
            )
        )  # fmt: skip
    return changes


async def read_paths(repository: Repository, tree: str) -> list[str]:
    """The paths of all files in a tree. Raises `GitFailed`."""
    return (await repository.run("ls-tree", "-r", "-z", "--name-only", tree)).fields


_Raw = tuple[str, str, str, str, Status, str, str | None]


def _read(fields: list[str]) -> tuple[list[_Raw], dict[str, tuple[int, int]]]:
    """The entries in the output of `diff-tree -r -z -M --raw --numstat --text`, and lines added and removed by path."""
    raw: list[_Raw] = []
    counts: dict[str, tuple[int, int]] = {}
    rest = iter(fields)
    for field in rest:
        if field.startswith(":"):
            old_mode, new_mode, old, new, letter = field[1:].split(" ")
            before = next(rest) if letter[0] == "R" else None
            status: Status = letter[0]  # type: ignore[assignment]  # git gives no other letter without -C and -B
            raw.append((old_mode, new_mode, old, new, status, next(rest), before))
        else:
            added, removed, path = field.split("\t", 2)
            if not path:
                next(rest)
                path = next(rest)
            counts[path] = (_count(added), _count(removed))
    return raw, counts


def _count(text: str) -> int:
    return 0 if text == "-" else int(text)


async def _texts(repository: Repository, oids: list[str]) -> dict[str, str | None]:
    """The texts of blobs; None for what is no text or too large. Git is asked only about what lies in packs."""
    bodies = await asyncio.to_thread(_loose, repository, oids)
    total = sum(map(len, bodies.values()))
    packed = [oid for oid in oids if oid not in bodies]
    if packed:
        listing = (await repository.run("cat-file", "--batch-check", stdin=_lines(packed))).stdout.decode("ascii")
        small = []
        for line in listing.splitlines():
            oid, _, size = line.split(" ")
            if int(size) <= MAX_TEXT and total + int(size) <= MAX_TEXTS:
                small.append(oid)
                total += int(size)
        bodies |= dict(_contents((await repository.run("cat-file", "--batch", stdin=_lines(small))).stdout))
    texts = {oid: content.decode("utf-8", "replace") for oid, content in bodies.items() if b"\0" not in content}
    return {oid: texts.get(oid) for oid in oids}


def _loose(repository: Repository, oids: list[str]) -> dict[str, bytes]:
    bodies: dict[str, bytes] = {}
    total = 0
    for oid in oids:
        body = objects.read_small(repository.objects_dir, oid, min(MAX_TEXT, MAX_TEXTS - total))
        if body is not None:
            bodies[oid] = body
            total += len(body)
    return bodies


def _lines(oids: Iterable[str]) -> bytes:
    return "".join(f"{oid}\n" for oid in oids).encode("ascii")


def _contents(stdout: bytes) -> Iterator[tuple[str, bytes]]:
    """The objects in the output of `cat-file --batch`."""
    at = 0
    while at < len(stdout):
        end = stdout.index(b"\n", at)
        oid, _, size = stdout[at:end].decode("ascii").split(" ")
        yield oid, stdout[end + 1 : end + 1 + int(size)]
        at = end + 1 + int(size) + 1
