"""Kiro ``tasks.md``: ``- [ ] 1.1 Leaf`` with detail bullets and ``_Requirements: 1.2_`` (FORMATS 6.4)."""

from __future__ import annotations

import re

from schemas.formats.document import Document
from schemas.formats.draft import Draft, add_criterion
from schemas.formats.numbered import Numbered, number_of
from schemas.formats.order import link
from schemas.formats.outline import Row, rows
from schemas.reading import Reading, TaskRead

NAME = "kiro"

_NOTE = re.compile(r"[-*+]?[ \t]*[_*]([^\W\d_][\w ]{1,30})[:：][ \t]*([^_*].*?)[_*][ \t.]*$")
_PARALLEL = re.compile(r"[ \t]*\(P\)[ \t]*|[ \t]*\[P\][ \t]*")
_DEPENDS = ("depends", "depends on", "dependencies", "blocked by", "requires")


def recognise(document: Document) -> float:
    """By its place, or by numbered boxes with italic notes about requirements."""
    table = rows(document)
    numbered = sum(1 for row in table if number_of(row))
    path = document.path.replace("\\", "/").lower()
    if ".kiro/specs/" in path and document.name.lower() == "tasks.md" and any(row.box for row in table):
        return 0.97
    if not numbered:
        return 0.0
    notes = sum(1 for row in table if _is_requirement(row))
    if notes:
        return 0.92 if notes * 4 >= numbered else 0.7
    shallow = all(found[0].count(".") <= 1 for row in table if (found := number_of(row)))
    titled = any(row.level == 1 and row.text.strip().lower() == "implementation plan" for row in table[:5])
    return 0.72 if shallow and titled else 0.0


def read(document: Document) -> Reading:
    """Parents are containers, leaves the work; ``[ ]*`` and ``7.9*`` are optional and left out unless ticked."""
    draft = Draft(document, NAME)
    numbered = Numbered(draft, _marks)
    numbered.read()
    lines = {task.line: task for task in draft.reading.tasks}
    current: TaskRead | None = None
    for row in draft.table:
        if row.kind == "heading":
            current = None
        elif row.box:
            current = lines.get(row.line, current)
        elif current is not None:
            _note(draft, current, row)
    for task in draft.reading.tasks:
        if task.id.count(".") > 1:
            message = f"{task.id!r} stands three levels deep; Kiro itself knows two"
            draft.note("info", "deep-task", message, task.line)
            break
    link(draft)
    return draft.reading


def _is_requirement(row: Row) -> bool:
    """An italic note whose value holds ids: ``_Requirements: 1.2, 3.1_`` in any language."""
    found = _NOTE.match(row.text) if not row.box else None
    if found is None:
        return False
    key = found.group(1).strip().casefold()
    return key.startswith("requirement") or (not key.isascii() and any(c.isdigit() for c in found.group(2)))


def _note(draft: Draft, task: TaskRead, row: Row) -> None:
    found = _NOTE.match(row.text)
    if found is None:
        return
    if _is_requirement(row):
        add_criterion(task.criteria, f"{found.group(1)}: {found.group(2).strip()}", category="requirements")
    elif found.group(1).strip().casefold() in _DEPENDS and not any(c.owner is task for c in draft.clauses[-50:]):
        draft.depends(task, found.group(2), row.line)


def _marks(task: TaskRead, title: str, row: Row) -> str:
    """``(P)``: may run beside its neighbours; ``*`` at the end of the title: optional."""
    task.parallel = bool(_PARALLEL.search(title))
    bare = _PARALLEL.sub(" ", title).strip()
    if bare.endswith("*") and not bare.endswith("**"):
        bare = bare[:-1].rstrip()
        task.status = "completed" if task.status == "completed" else "skipped"
    return bare
