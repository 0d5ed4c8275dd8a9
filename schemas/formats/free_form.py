"""Free forms: ``### TASK-003: title`` under status headings, and boxes with bold TEST: or IMPLEMENT: titles (6.5)."""

from __future__ import annotations

import re

from schemas.formats.checklist import read_boxes
from schemas.formats.document import Document
from schemas.formats.draft import Draft, add_criterion
from schemas.formats.edge_table import edge_table
from schemas.formats.markings import status_of
from schemas.formats.order import link, settle
from schemas.formats.outline import Row, field, rows, section_end
from schemas.reading import Reading, TaskRead
from schemas.values import SourceStatus

NAME = "free_form"

_HEADED = re.compile(
    r"[^\w`\[]{0,8}(?:\[([^\[\]])\][ \t]*)?\[?([A-Z][A-Z0-9]{1,9}-\d{1,5}[a-z]?)\]?"
    r"(?:[ \t]*[:.)–—|]|[ \t]-)?[ \t]+(.*)$"
)
_BOLD = re.compile(
    r"(?:\*\*|__)(?:TEST|IMPLEMENT|REFACTOR|FIX|VERIFY|DOCUMENT|CREATE|ADD|UPDATE|REMOVE|REVIEW|CONSIDER|CLARIFY|SPIKE|"
    r"TIDY|RUN|WRITE|CHORE|DOCS?|BUILD|GREEN|RED|BEHAVIOU?R)(?:[ \t]*\+[ \t]*[A-Z]+)*:",
    re.IGNORECASE,
)
_NOT_TASKS = (
    "ADR-",
    "US-",
    "PHASE-",
    "AC-",
    "FR-",
    "NFR-",
    "SC-",
    "ISC-",
    "REQ-",
    "RFC-",
    "ISO-",
    "UTF-",
    "CVE-",
    "PR-",
    "SHA-",
)
_STATES = re.compile(
    r"active|in[ -]?progress|current|upcoming|planned|backlog|to-?do|pending|completed?|done|blocked|deferred|cancel|"
    r"future|next",
    re.IGNORECASE,
)


def _task(row: Row) -> re.Match[str] | None:
    if row.kind != "heading" or row.level < 2:
        return None
    found = _HEADED.match(row.text)
    return found if found and not found.group(2).startswith(_NOT_TASKS) else None


def recognise(document: Document) -> float:
    """By headings with prefixed numbers, or by the share of bold verbs among the boxes."""
    table = rows(document)
    headed = sum(1 for row in table if _task(row))
    if headed >= 2:
        return 0.86
    boxes = [row for row in table if row.box]
    bold = sum(1 for row in boxes if _BOLD.match(row.text))
    if bold >= 3 and bold * 2 >= len(boxes):
        return 0.8
    return 0.5 if headed else 0.0


def read(document: Document) -> Reading:
    """Headings are tasks and their boxes deliverables; else every box is a task."""
    draft = Draft(document, NAME)
    indexes = [index for index, row in enumerate(draft.table) if _task(row)]
    if indexes:
        for index in indexes:
            _headed(draft, index)
    else:
        read_boxes(draft)
    edge_table(draft)
    settle(draft)
    _same_titles(draft)
    link(draft, phases_in_order=not indexes)
    return draft.reading


def _headed(draft: Draft, index: int) -> None:
    table = draft.table
    row = table[index]
    found = _task(row)
    assert found is not None
    end = section_end(table, index)
    end = next((at for at in range(index + 1, end) if _task(table[at])), end)
    task = draft.task(found.group(2), found.group(3).strip().rstrip(" ✅✓✔\ufe0f"), row)
    draft.describe(task, index, end)
    deliverables = [one for one in table[index + 1 : end] if one.box]
    for one in deliverables:
        add_criterion(task.criteria, one.text, category="deliverable")
    _state(draft, task, index, end, deliverables)


def _state(draft: Draft, task: TaskRead, index: int, end: int, boxes: list[Row]) -> None:
    """The Status line; then the heading's mark and the section it stands in; disagreements are reported."""
    row = draft.table[index]
    over = draft.sections.over(index)[:-1]
    section: SourceStatus | None = None
    if over and _STATES.search(draft.table[over[-1]].text):
        section = status_of(
            re.sub(r"\btasks?\b|\bitems?\b", "", draft.table[over[-1]].text, flags=re.IGNORECASE).strip()
        )
    said: SourceStatus | None = None
    for one in draft.table[index + 1 : end]:
        pair = field(one.text) if one.kind in ("text", "bullet") else None
        if pair and pair[0] in ("status", "state"):
            said = status_of(pair[1].partition("|")[0])
            break
    marked: SourceStatus | None = "completed" if row.text.rstrip("\ufe0f ").endswith(("✅", "✓", "✔")) else None
    if "[" in row.text[:12] and (box := _task(row)) and box.group(1):
        task.box = (row.line, draft.document.line(row.line).index("[") + 1)
        marked = "completed" if box.group(1) in "xX" else marked
    task.status = said or marked or section or "pending"
    for other, where in ((marked, "the mark in its heading"), (section, "its section")):
        if said is not None and other == "completed" and said != "completed":
            message = f"{task.id!r} is {said} by its Status line, but {other} by {where}"
            draft.note("warning", "status-conflict", message, row.line, "the Status line counts")
            return
    open_boxes = sum(1 for one in boxes if one.box and not one.box.done)
    if task.status == "completed" and open_boxes:
        message = f"{task.id!r} is completed, but {open_boxes} of its {len(boxes)} boxes are open"
        draft.note("warning", "status-conflict", message, row.line, "the Status line counts; tick the boxes")


def _same_titles(draft: Draft) -> None:
    """Titles that repeat are told apart by their ids only."""
    seen: dict[str, TaskRead] = {}
    repeated = 0
    for task in draft.reading.tasks:
        repeated += task.title in seen
        seen.setdefault(task.title, task)
    if repeated:
        message = f"{repeated} titles repeat earlier ones; the ids tell them apart"
        draft.note("info", "repeated-titles", message, 1)
