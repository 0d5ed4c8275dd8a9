"""Two trees side by side: what changed, and what could not be merged."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Change:
    """A path that differs between two trees.

    `status` is git's letter: A added, D deleted, M modified, T another type. `added` and `removed` count lines, and are
    None for a binary file. A renamed file is a deletion and an addition.
    """

    path: str
    status: str
    added: int | None
    removed: int | None


@dataclass(frozen=True, slots=True)
class Conflict:
    """Why two trees could not be merged: the files a person must look at, and what git says about each."""

    files: tuple[str, ...]
    messages: tuple[str, ...]


def read_changes(fields: list[str]) -> list[Change]:
    """The changes in the output of `diff-tree -r -z --raw --numstat --no-renames`, in git's order of paths."""
    statuses: dict[str, str] = {}
    counts: dict[str, tuple[int | None, int | None]] = {}
    rest = iter(fields)
    for field in rest:
        if field.startswith(":"):
            statuses[next(rest)] = field[-1]
        else:
            added, removed, path = field.split("\t", 2)
            counts[path] = (_count(added), _count(removed))
    return [Change(path, status, *counts.get(path, (None, None))) for path, status in statuses.items()]


def read_conflict(fields: list[str]) -> Conflict:
    """The conflict in the output of `merge-tree --write-tree -z --name-only --messages`, which begins with the tree."""
    gap = fields.index("")
    rest = iter(fields[gap + 1 :])
    messages = tuple(text for kind, text in _messages(rest) if kind != "Auto-merging")
    return Conflict(files=tuple(dict.fromkeys(fields[1:gap])), messages=messages)


def _messages(fields: Iterator[str]) -> Iterator[tuple[str, str]]:
    for count in fields:
        for _ in range(int(count)):
            next(fields)
        yield next(fields), next(fields).strip()


def _count(text: str) -> int | None:
    return None if text == "-" else int(text)
