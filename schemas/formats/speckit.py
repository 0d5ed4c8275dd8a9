"""spec-kit ``tasks.md``: ``- [ ] T012 [P] [US1] Create the model in src/models/user.py`` (FORMATS 6.3)."""

from __future__ import annotations

import re
from itertools import pairwise

from schemas.formats.document import Document
from schemas.formats.draft import Draft, add_criterion
from schemas.formats.markings import is_path
from schemas.formats.order import link, settle
from schemas.formats.outline import Row, block_end, field, marked_done, rows, section_end
from schemas.formats.speckit_edges import Edges
from schemas.reading import PhaseRead, Reading, TaskRead

NAME = "speckit"

_TASK = re.compile(r"(?:\*\*|`)?(T\d{3,6}[a-z]?)(?:\*\*|`)?[:.]?(?:\*\*)?(?=[ \t]|$)")
_LABEL = re.compile(r"[ \t]*(?:\*\*|`)?\[([A-Za-z][^\[\]]{0,20})\](?:\*\*|`)?(?!\()")
_PHASE = re.compile(
    r"\W{0,6}phase[ \t]+(\d{1,3}(?:\.\d{1,3})*[a-z]?|[A-Z])\b[ \t]*[:.\-–—]{0,2}[ \t]*(.*)$", re.IGNORECASE
)
_EDGES = re.compile(r"dependenc", re.IGNORECASE)
_GOALS = ("goal", "purpose")
_CHECKS = ("independent test", "checkpoint", "acceptance criteria", "acceptance", "success criteria")


def recognise(document: Document) -> float:
    """By its boxes with T and three digits; the share of such boxes decides."""
    boxes = [row for row in rows(document) if row.box]
    own = sum(1 for row in boxes if _TASK.match(row.text))
    if not own:
        return 0.0
    named = document.name.lower() in ("tasks.md", "tasks-template.md")
    return min(0.97, 0.55 + 0.35 * own / len(boxes) + (0.05 if own > 2 else 0.0) + (0.02 if named else 0.0))


def read(document: Document) -> Reading:
    """Tasks by phase; edges from the list near the end, else by order; ``[P]`` runs beside its neighbours."""
    draft = Draft(document, NAME)
    stories: dict[str, list[TaskRead]] = {}
    phases = _phases(draft)
    holder: TaskRead | None = None
    current: PhaseRead | None = None
    unnumbered = False
    indent = index = 0
    while index < len(draft.table):
        row = draft.table[index]
        if row.kind == "heading":
            holder = None
            current = phases.get(index, current) if row.level > 1 else current
        found = _TASK.match(row.text) if row.box else None
        if found and row.box:
            end = _task_end(draft.table, index)
            holder = _task(draft, index, end, found, current, stories)
            indent = row.indent
            index = end
            continue
        if row.box and holder is not None and row.indent > indent:
            add_criterion(holder.criteria, row.text, category="part")
        elif row.box and not _edges_over(draft, index):
            place = current.criteria if current else draft.reading.criteria
            add_criterion(place, row.text, category="checklist")
            if not unnumbered:
                message = "boxes without a task id are read as checks of their phase"
                draft.note("info", "box-without-id", message, row.line, "give it an id such as T099 if it is work")
            unnumbered = True
        elif current is not None and row.kind in ("text", "bullet"):
            _about(current, row)
        index += 1
    link(draft, phases_in_order=False)
    Edges(draft, stories, {phase.id: phase.title for phase in draft.reading.phases}).apply(_edge_rows(draft))
    _phase_order(draft)
    settle(draft)
    return draft.reading


def _task_end(table: list[Row], index: int) -> int:
    """Where a task's rows end; deeper boxes with an id of their own are tasks too."""
    stop = block_end(table, index)
    for position in range(index + 1, stop):
        if table[position].box and (_TASK.match(table[position].text) or table[position].indent > table[index].indent):
            return position
    return stop


def _task(
    draft: Draft,
    index: int,
    end: int,
    found: re.Match[str],
    phase: PhaseRead | None,
    stories: dict[str, list[TaskRead]],
) -> TaskRead:
    row = draft.table[index]
    rest = row.text[found.end() :]
    labels = []
    while label := _LABEL.match(rest):
        labels.append(label.group(1).strip())
        rest = rest[label.end() :]
    task = draft.task(found.group(1), rest.strip(" \t:–—-*"), row, phase=phase)
    task.parallel = any(name.upper() == "P" for name in labels)
    draft.describe(task, index, end)
    if not task.files or task.files_inferred:
        words = [word.strip("`,;:()").rstrip(".") for word in task.title.split()]
        task.files = list(dict.fromkeys([*task.files, *(w for w in words if "/" in w and "." in w and is_path(w))]))
        task.files_inferred = bool(task.files)
    for name in labels:
        if re.fullmatch(r"US\d{1,3}", name, re.IGNORECASE):
            stories.setdefault(name.upper(), []).append(task)
    return task


def _phases(draft: Draft) -> dict[int, PhaseRead]:
    """The phase that begins at a heading, by row. A second heading of a phase counts only if tasks stand below it."""
    table = draft.table
    found: dict[int, PhaseRead] = {}
    seen: set[str] = set()
    numbered = any(row.kind == "heading" and row.level > 1 and _PHASE.match(row.text) for row in table)
    for index, row in enumerate(table):
        if row.kind != "heading":
            continue
        match = _PHASE.match(row.text)
        if match is None:
            if row.level == 2 and (_direct_tasks(table, index) or (not numbered and _holds_tasks(table, index))):
                found[index] = draft.phase(_slug(row.text), row.text, row.line)
            continue
        if (row.level == 1 and numbered) or (match.group(1) in seen and not _holds_tasks(table, index)):
            continue
        seen.add(match.group(1))
        found[index] = draft.phase(match.group(1), match.group(2) or row.text, row.line)
        if marked_done(row.text):
            found[index].status = "completed"
    return found


def _holds_tasks(table: list[Row], index: int) -> bool:
    return any(row.box and _TASK.match(row.text) for row in table[index + 1 : section_end(table, index)])


def _direct_tasks(table: list[Row], index: int) -> bool:
    """Tasks stand below this heading before any other phase heading."""
    for row in table[index + 1 : section_end(table, index)]:
        if row.kind == "heading" and _PHASE.match(row.text):
            return False
        if row.box and _TASK.match(row.text):
            return True
    return False


def _slug(text: str) -> str:
    return "-".join(re.findall(r"\w+", text.casefold())[:6]) or "phase"


def _about(phase: PhaseRead, row: Row) -> None:
    found = field(row.text)
    if found is None:
        return
    key, value = found
    if key in _GOALS and not phase.goal:
        phase.goal = value
    elif key in _CHECKS and value:
        add_criterion(phase.criteria, value, category=key)


def _edges_over(draft: Draft, index: int) -> bool:
    return any(_EDGES.search(draft.table[over].text) for over in draft.sections.over(index))


def _edge_rows(draft: Draft) -> list[Row]:
    """The list items and text below headings that speak of dependencies."""
    return [
        row
        for index, row in enumerate(draft.table)
        if row.kind in ("bullet", "number", "text") and _edges_over(draft, index)
    ]


def _phase_order(draft: Draft) -> None:
    """A phase that the list does not mention waits for the one before it."""
    for before, after in pairwise(draft.reading.phases):
        if not after.dependencies and id(after) not in draft.free:
            after.dependencies.append(before.id)
