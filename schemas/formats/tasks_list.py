"""Hierarchical task lists: numbered boxes (FORMATS 6.2, ai-dev-tasks), and the Clarity dialect (6.1)."""

from __future__ import annotations

from schemas.formats import clarity
from schemas.formats.document import Document
from schemas.formats.draft import Draft
from schemas.formats.numbered import Numbered, number_of
from schemas.formats.order import link, settle
from schemas.formats.outline import rows
from schemas.reading import Reading, TaskRead

NAME = "tasks_list"

_NAMES = ("tasks_list.md", "task_list.md", "tasks-list.md", "task-list.md")


def recognise(document: Document) -> float:
    """By the share of boxes that carry a number, and how deep the numbers go."""
    named = 0.05 if document.name.lower() in _NAMES else 0.0
    own = clarity.recognise(document)
    if own >= 0.5:
        return min(0.97, own + named)
    table = rows(document)
    boxes = [row for row in table if row.box]
    numbers = [found[0] for row in boxes if (found := number_of(row))]
    if not numbers:
        return max(0.0, own)
    deep = sum(1 for id in numbers if id.count(".") >= 2)
    if deep * 2 >= len(numbers):
        return min(0.95, 0.9 + named)
    headings = {row.text.strip().casefold() for row in table if row.kind == "heading"}
    if "relevant files" in headings or any(id.endswith(".0") for id in numbers):
        return 0.88
    share = len(numbers) / len(boxes)
    return min(0.95, 0.35 + 0.35 * share + (0.1 if deep else 0.0) + named)


def read(document: Document) -> Reading:
    """Leaves are the work; parents are containers; sections are phases."""
    if clarity.recognise(document) >= 0.5:
        return clarity.read(document, NAME)
    draft = Draft(document, NAME)
    Numbered(draft, prose=True).read()
    settle(draft)
    _own_work(draft)
    link(draft, finished=False)
    return draft.reading


def _own_work(draft: Draft) -> None:
    """A container with work of its own: its first open part gets its text too, so that it is not lost."""
    first: dict[str, TaskRead] = {}
    for task in draft.reading.tasks:
        if task.parent and task.status not in ("completed", "skipped"):
            first.setdefault(task.parent, task)
    for task in draft.reading.tasks:
        part = first.get(task.id)
        if not task.container or task.status == "completed" or part is None or not task.box:
            continue
        own = [line for line in task.description.splitlines() if line.strip()]
        if not any(line.lstrip()[:2] in ("- ", "* ") for line in own):
            continue
        part.description = "\n\n".join(text for text in (task.description, part.description) if text)
        message = (
            f"{task.id!r} has parts and a text of its own; its first open part, {part.id!r}, is given the text too"
        )
        draft.note("info", "container-with-work", message, task.line)
