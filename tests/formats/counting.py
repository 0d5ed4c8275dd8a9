"""Counting what a reader got out of the corpus, to be compared with EXPECTED.json. For the tests of every format."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from schemas.formats import read_path
from schemas.formats.document import Document
from schemas.reading import PhaseRead, Reading, TaskRead
from schemas.validate import validate

CORPUS = Path(__file__).parent.parent / "corpus"
EXPECTED: dict[str, dict[str, Any]] = json.loads((CORPUS / "EXPECTED.json").read_text("utf-8"))


def cases(*folders: str) -> list[str]:
    """The names of EXPECTED.json in these folders."""
    return [name for name in EXPECTED if name.partition("/")[0] in folders]


def reading(name: str, *, format: str | None = None) -> Reading:
    """A corpus file, read as a user would have it read, and checked."""
    found = validate(read_path(CORPUS / name, format=format))
    assert "reader-failed" not in [problem.code for problem in found.diagnostics], found.diagnostics
    return found


def document(name: str) -> Document:
    """A corpus file as a document."""
    return Document.load(CORPUS / name)


def leaves(found: Reading) -> list[TaskRead]:
    """Tasks that are no containers."""
    return [task for task in found.tasks if not task.container]


def done(found: Reading) -> int:
    """How many leaves the source says are done."""
    return sum(task.status == "completed" for task in leaves(found))


def statuses(found: Reading) -> Counter[str]:
    """How often each state occurs."""
    return Counter(task.status for task in leaves(found))


def edges(found: list[TaskRead] | list[PhaseRead]) -> list[list[str]]:
    """Pairs of later and earlier, in order."""
    return [[part.id, wanted] for part in found for wanted in part.dependencies]


def categories(tasks: list[TaskRead]) -> Counter[str]:
    """How many criteria of each category."""
    return Counter(criterion.category or "" for task in tasks for criterion in task.criteria)


def problems(found: Reading, *allowed: str) -> list[str]:
    """Errors, except those with an allowed code."""
    return [str(problem) for problem in found.errors if problem.code not in allowed]
