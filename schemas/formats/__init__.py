"""Plan formats: which there are, how one is recognised, and how a file or folder is read.

A format is a module here with

- ``NAME: str``
- ``recognise(document) -> float``, 0 to 1: how surely the document is of this format
- ``read(document) -> Reading``

and, for formats that live in folders, optionally

- ``ENTRIES: tuple[str, ...]``: globs, below a given folder, of the files to begin with; one that ends in ``/`` names
  a folder that is itself the document (``Document.directory``)
- ``SIBLINGS: tuple[str, ...]``: globs, below the document's folder, of files to read with it (``Document.siblings``);
  a ``*`` also stands for slashes, but a glob without a slash only means files beside the document.
"""

from __future__ import annotations

import difflib
import os
from fnmatch import fnmatchcase
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from schemas.formats.document import Document, TooLarge
from schemas.reading import Diagnostic, Reading

MODULES: tuple[str, ...] = (
    "native",
    "gsd",
    "backlog",
    "beads",
    "taskmaster",
    "ralph",
    "yaml_tasks",
    "isc",
    "project_plan",
    "prp",
    "speckit",
    "kiro",
    "openspec",
    "tasks_list",
    "free_form",
    "prd",
    "inline",
    "checklist",
)
"""Module names, the most particular first: of two that are equally sure the first is taken."""

MAX_SIBLINGS = 2000
MAX_SIBLING_BYTES = 64 * 1024 * 1024
UNSURE = 0.05
"""Below this a document is of no known format."""

_SKIPPED = frozenset({".git", "node_modules", ".venv", "__pycache__"})
_PLAN_NAMES = (
    "nightshift.y*ml", "plan.y*ml", "plan.json", "tasks.y*ml", "tasks.json", "prd.json", "tasks_list.md",
    "task_list.md", "PROJECT_PLAN.md", "docs/notes/PROJECT_PLAN.md", "tasks.md", "TASKS.md", "PLAN.md", "plan.md",
    "PRD.md", "TODO.md",
)  # fmt: skip


class Format(Protocol):
    """What a format module offers."""

    NAME: str

    def recognise(self, document: Document) -> float:
        """How surely this is one, 0 to 1."""

    def read(self, document: Document) -> Reading:
        """Everything it says."""


@cache
def formats() -> dict[str, Format]:
    """All formats by name, in order."""
    modules = [cast(Format, import_module(f"schemas.formats.{name}")) for name in MODULES]
    return {module.NAME: module for module in modules}


def __getattr__(name: str) -> dict[str, Format]:
    if name == "FORMATS":
        return formats()
    raise AttributeError(name)


def read_text(name: str, text: str | bytes, format: str | None = None) -> Reading:
    """Read a plan from text. ``name`` stands for the file in messages and helps detection."""
    try:
        document = Document.of(name, text)
    except TooLarge as error:
        return _failed(format, name, "too-large", str(error), "split the plan")
    return _read(document, format, None)


def read_path(path: Path, *, format: str | None = None) -> Reading:
    """Read a plan file, or a folder that holds one. Bad content gives diagnostics, never an exception."""
    try:
        if path.is_dir():
            return _read_folder(path, format)
        return _read(Document.load(path), format, path.parent)
    except TooLarge as error:
        return _failed(format, str(path), "too-large", str(error), "split the plan")
    except FileNotFoundError:
        return _failed(format, str(path), "no-file", f"there is no file {path}", "check the path")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return _failed(format, str(path), "unreadable", f"{path} cannot be read: {reason}", "check its permissions")


def detect(document: Document) -> tuple[str | None, float]:
    """The most likely format and how sure that is."""
    best: tuple[str | None, float] = (None, 0.0)
    for name, module in formats().items():
        confidence = module.recognise(document)
        if confidence > best[1]:
            best = (name, confidence)
    return best


def _read(document: Document, format: str | None, folder: Path | None) -> Reading:
    try:
        return _read_as(document, format, folder)
    except Exception as error:  # a reader's own mistake must not take down what else is being read
        message = f"the reader failed on this file ({type(error).__name__}: {str(error)[:200]}); this is our mistake"
        return _failed(format, document.path, "reader-failed", message, "report it, or force another format")


def _read_as(document: Document, format: str | None, folder: Path | None) -> Reading:
    name, confidence = (format, 1.0) if format is not None else detect(document)
    if name is None or (format is None and confidence < UNSURE):
        message = "no known plan format: found neither tasks in YAML or JSON, nor phases, nor check boxes"
        hint = "formats: " + ", ".join(formats()) + "; force one if you know it"
        return _failed(format, document.path, "unknown-format", message, hint, document.diagnostics)
    if name not in formats():
        close = difflib.get_close_matches(name, list(formats()), 1)
        hint = f"did you mean {close[0]!r}?" if close else "formats: " + ", ".join(formats())
        return _failed(format, document.path, "unknown-format", f"there is no plan format {name!r}", hint)
    module = formats()[name]
    globs: tuple[str, ...] = getattr(module, "SIBLINGS", ())
    if globs and folder is not None and not document.siblings:
        document.siblings = _load_siblings(folder, globs, document.name)
    reading = module.read(document)
    reading.confidence = confidence
    if not any(source.path == document.path for source in reading.files) and not document.directory:
        reading.files.insert(0, document.source)
    known = set(reading.diagnostics)
    reading.diagnostics[:0] = [d for d in document.diagnostics if d not in known]
    return reading


def _read_folder(path: Path, format: str | None) -> Reading:
    """By the formats' own entries first, then by usual names."""
    for name, module in formats().items():
        if format not in (None, name):
            continue
        for pattern in getattr(module, "ENTRIES", ()):
            for found in sorted(path.glob(pattern.rstrip("/"))):
                if pattern.endswith("/") and found.is_dir():
                    siblings = _load_siblings(found, getattr(module, "SIBLINGS", ("*",)), "")
                    document = Document.folder(str(found), siblings)
                elif found.is_file():
                    document = Document.load(found)
                else:
                    continue
                if format is not None or module.recognise(document) >= UNSURE:
                    return _read(document, name, found.parent)
    documents = []
    for pattern in _PLAN_NAMES:
        documents += [Document.load(found) for found in sorted(path.glob(pattern)) if found.is_file()]
    ranked = sorted(documents, key=lambda document: -detect(document)[1])
    if not ranked or (format is None and detect(ranked[0])[1] < UNSURE):
        return _failed(format, str(path), "no-plan", f"no plan was found in the folder {path}", "name the plan file")
    reading = _read(ranked[0], format, Path(ranked[0].path).parent)
    others = [document.name for document in ranked[1:] if document.sha256 != ranked[0].sha256]
    if others:
        message = f"the folder also holds {', '.join(sorted(set(others)))}; {ranked[0].name} was read"
        reading.diagnostics.append(ranked[0].note("info", "other-plans", message, hint="name the file to read another"))
    return reading


def _load_siblings(folder: Path, globs: tuple[str, ...], own: str) -> dict[str, Document]:
    """Files below the folder that match. Links are not followed; what cannot be read is left out."""
    found: dict[str, Document] = {}
    total = 0
    tops = {pattern.partition("/")[0] for pattern in globs if "/" in pattern}
    for directory, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED)
        if Path(directory) == folder:
            folders[:] = [name for name in folders if any(fnmatchcase(name, top) for top in tops)]
        for file in sorted(files):
            path = Path(directory, file)
            relative = path.relative_to(folder).as_posix()
            if relative == own or path.is_symlink() or not _matches(relative, globs):
                continue
            try:
                document = Document.load(path)
            except (OSError, TooLarge):
                continue
            total += len(document.raw)
            if len(found) >= MAX_SIBLINGS or total > MAX_SIBLING_BYTES:
                return found
            found[relative] = document
    return found


def _matches(relative: str, globs: tuple[str, ...]) -> bool:
    return any(fnmatchcase(relative, pattern) and ("/" in pattern) >= ("/" in relative) for pattern in globs)


def _failed(
    format: str | None, path: str, code: str, message: str, hint: str = "", others: list[Diagnostic] | None = None
) -> Reading:
    diagnostic = Diagnostic("error", code, message, path, None, hint)
    return Reading(format=format or "unknown", confidence=0.0, diagnostics=[*(others or []), diagnostic])
