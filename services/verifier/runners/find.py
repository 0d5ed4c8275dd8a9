"""Which tests belong to a task: by changed files, words of the title, the plan's own path. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Sequence
from typing import Literal

from schemas.values import value

Language = Literal["python", "javascript", "go", "rust"]

_JS = r"\.[cm]?[jt]sx?$"
_PATTERNS: tuple[tuple[Language, re.Pattern[str]], ...] = (
    ("python", re.compile(r"(^|/)(test_[^/]*|[^/]*_test|tests?)\.py$")),
    ("javascript", re.compile(rf"\.(test|spec|e2e|cy){_JS}|(^|/)__tests__/(.*/)?[^/]+{_JS}")),
    ("go", re.compile(r"_test\.go$")),
    ("rust", re.compile(r"(^|/)tests/(.*/)?[^/]+\.rs$")),
)
_LANGUAGES: dict[str, Language] = {"py": "python", "go": "go", "rs": "rust"}
SKIPPED = frozenset({"node_modules", ".git", ".venv", "venv", "target", "vendor", "dist", "__pycache__", "fixtures"})
_KINDS = {"unit": "unit", "integration": "integration", "e2e": "e2e", "end-to-end": "e2e", "cypress": "e2e"}
_COMMON = frozenset(
    re.findall(
        r"\w+",
        "add adds make makes create implement update fix write with from into file files module function code support "
        "test tests testing spec specs unit integration task the and for that this new use all can has its main index "
        "run work basic part phase docs plans plan tasks planning",
    )
)
"""Words that say nothing about what a task is about."""
_PLACES = frozenset({"src", "lib", "app", "pkg", "tests", "test", "__tests__", "spec"})
"""Folders that say nothing about what is in them."""
_SAYS_TEST = re.compile(
    r"^(test|tests|spec)[_-]|[_-](test|tests|spec)$|^(tests?|conftest|__init__|index|mod|lib|main)$"
)
_WORD = re.compile(r"[A-Za-z][a-z0-9]+|[A-Z]{2,}|[a-z0-9]{3,}")


@value
class Selection:
    """The tests that are run for a task."""

    files: tuple[str, ...]
    why: str
    everything: bool = False
    """Nothing in particular belongs to it, so all tests are run."""


def language_of(path: str) -> Language | None:
    """The language of a source file by its name."""
    if re.search(_JS, path):
        return "javascript"
    return _LANGUAGES.get(path.rpartition(".")[2])


def tests_among(paths: Collection[str]) -> dict[str, Language]:
    """The test files among paths, with their languages, in the order of paths."""
    found: dict[str, Language] = {}
    for path in sorted(paths):
        if not SKIPPED.isdisjoint(path.split("/")[:-1]):
            continue
        for language, pattern in _PATTERNS:
            if pattern.search(path):
                found[path] = language
                break
    return found


def kind_of(path: str) -> str:
    """unit, integration or e2e, by the folders of a test; otherwise nothing."""
    return next((_KINDS[part] for part in path.lower().split("/")[:-1] if part in _KINDS), "")


def belonging(
    tests: Collection[str], *, title: str, plan: str | None, changed: Sequence[str], named: Sequence[str] = ()
) -> Selection:
    """The tests of a task; all of them when nothing in particular belongs to it."""
    touched = [*changed, *named]
    subjects = {_subject(path) for path in touched if language_of(path)} - {""}
    words = _words(title)
    chosen: dict[str, str] = {}
    for path in tests:
        if path in touched:
            chosen[path] = "changed or named"
        elif _subject(path) in subjects:
            chosen[path] = "changed files"
        elif plan is not None and _beside(path, plan):
            chosen[path] = "the plan's path"
        elif words & _words(_subject(path)):
            chosen[path] = "the title"
    if not chosen:
        return Selection(files=tuple(tests), why="nothing in particular belongs to the task", everything=True)
    why = "by " + ", ".join(dict.fromkeys(chosen.values()))
    return Selection(files=tuple(chosen), why=why)


def matching(tests: Collection[str], paths: Collection[str], wanted: str) -> tuple[str, ...]:
    """What an author's path or glob names: that file whatever it is called, or the tests below or matching."""
    pattern = posixpath.normpath(wanted)
    if pattern in paths:
        return (pattern,)
    below = () if pattern == "." else tuple(path for path in tests if path.startswith(pattern + "/"))
    if pattern == "." or below:
        return below or tuple(tests)
    expression = _glob(pattern)
    return tuple(sorted(path for path in paths if expression.fullmatch(path)))


def _glob(pattern: str) -> re.Pattern[str]:
    """``**`` crosses folders, ``*`` and ``?`` do not."""
    parts = pattern.split("/")
    last = parts.pop()
    made = [r"(?:.*/)?" if part == "**" else _glob_part(part) + "/" for part in parts]
    return re.compile("".join(made) + (".*" if last == "**" else _glob_part(last)))


def _glob_part(part: str) -> str:
    return re.escape(part).replace(r"\*", "[^/]*").replace(r"\?", "[^/]")


def _subject(path: str) -> str:
    """What a file is about: its name without the parts that say test, or its folder's where the name says nothing."""
    stem = _SAYS_TEST.sub("", posixpath.basename(path).split(".")[0].lower())
    folder = posixpath.basename(posixpath.dirname(path)).lower()
    return stem or ("" if folder in _PLACES else folder)


def _words(text: str) -> set[str]:
    found = {word.lower() for word in _WORD.findall(text)}
    return {word[:-1] if word.endswith("s") and len(word) > 4 else word for word in found if len(word) > 2} - _COMMON


def _beside(path: str, plan: str) -> bool:
    """The test lies below the plan's folder, or in a folder or file that is called like it."""
    folder = posixpath.dirname(plan)
    if folder and path.startswith(folder + "/") and folder not in ("docs", "plans", ".planning", "docs/plans"):
        return True
    names = {_slug(posixpath.basename(folder)), _slug(posixpath.basename(plan).split(".")[0])} - {""} - _COMMON
    return any(_slug(part) in names for part in (*path.split("/")[:-1], _subject(path)))


def _slug(name: str) -> str:
    """``001-Photo_Albums`` is photo-albums."""
    return re.sub(r"^[\d.]+[-_ ]?", "", name.lower()).replace("_", "-").strip("-.")
