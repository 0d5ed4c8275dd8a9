"""Which files a task says it touches: explicit lists, back-ticks, the end of a title."""

from __future__ import annotations

import re

from schemas.formats.markings import is_path, paths_in

_RANGE = re.compile(r":\d+(?:[-–,]\d+)*$")
_ARITY = re.compile(r"\w+[?!]?/\d+")


def without_range(path: str) -> str:
    """A path without the line numbers behind it."""
    return _RANGE.sub("", path)


def ticked_paths(text: str) -> list[str]:
    """Paths in back-ticks."""
    if "`" not in text:
        return []
    parts = text.split("`")[1::2]
    return [path for part in parts if is_path(path := without_range(part.strip())) and _inside(path)]


def file_paths(title: str) -> list[str]:
    """Paths that a title names: in back-ticks, or after "in" at its end."""
    found = dict.fromkeys([*ticked_paths(title), *paths_in(title)])
    return [path for path in found if _inside(path)]


def _inside(path: str) -> bool:
    """It may lie in the repository, and is no function with its arity (``parse/2``)."""
    return path[0] not in "/~" and not _ARITY.fullmatch(path)


def listed_paths(value: str) -> list[str]:
    """Paths of an explicit field: in back-ticks, or a list with commas."""
    ticked = ticked_paths(value)
    if ticked:
        return ticked
    parts = re.split(r"[,;]|\s{1,3}(?:and|\+)\s{1,3}", value)
    words = [part.strip().strip("`*\"'").partition(" (")[0].strip() for part in parts]
    return [path for word in words if is_path(path := without_range(word))]
