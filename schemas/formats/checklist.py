"""Any check boxes at all: the last resort, and it says so (FORMATS 3)."""

from __future__ import annotations

import re

from schemas.formats.document import Document
from schemas.formats.draft import Draft, add_criterion
from schemas.formats.edge_table import edge_table
from schemas.formats.order import link, settle
from schemas.formats.outline import block_end, joined, marked_done, rows
from schemas.reading import PhaseRead, Reading, TaskRead
from schemas.values import SourceStatus

NAME = "checklist"

_CHECKS = re.compile(
    r"success criteria|acceptance|definition of (?:done|ready)|review(?:er)?(?:'s)? checklist|pr checklist|"
    r"quality gates?|verification|validation|checklist before|sign-?off|legend|milestones?|exit criteria|"
    r"completion criteria|"
    r"test(?:ing)? checklist|done when|patterns?$",
    re.IGNORECASE,
)
_PHASE = re.compile(
    r"\W{0,6}(?:phase|stage|milestone|step|part|week|sprint|epic|day)[ \t]+(\d{1,3}(?:\.\d{1,3})*[a-z]?|[A-Z])\b"
    r"[ \t]*[:.)\-–—]{0,2}[ \t]*(.*)$",
    re.IGNORECASE,
)
_PREFIXED = re.compile(
    r"(?:\*\*)?([A-Z][A-Z0-9]{0,9}-\d{1,5}[a-z]?|#\d{1,5}|[A-Z]\d{1,3}(?:\.\d{1,3})?)(?:\*\*)?[:.)]?[ \t]+(.*)$"
)
_SAYING = re.compile(r"[ \t]*\[(?:depends?|needs|after)[ \t:]+([^\[\]]+)\][ \t]*$", re.IGNORECASE)


def recognise(document: Document) -> float:
    """Low, whatever it holds: no other format claims it."""
    count = sum(1 for row in rows(document) if row.box)
    return 0.2 if count >= 3 else 0.15 if count else 0.0


def read(document: Document) -> Reading:
    """Every box outside lists of criteria is a task; deeper boxes are its parts."""
    draft = Draft(document, NAME)
    message = "no particular plan format was recognised; every check box is read as a task, in the order of the file"
    draft.note("warning", "generic-checklist", message, 1, "force a format if you know it")
    read_boxes(draft)
    edge_table(draft)
    settle(draft)
    link(draft)
    return draft.reading


def read_boxes(draft: Draft) -> None:
    """All boxes of a document as tasks; ids are taken from their text, else made from phase and position."""
    table = draft.table
    phase: PhaseRead | None = None
    counts: dict[str, int] = {}
    stack: list[tuple[int, TaskRead]] = []
    made: int | None = None
    label = ""
    index = 0
    while index < len(table):
        row = table[index]
        if row.kind == "heading":
            phase, stack, label = _group(draft, index, phase), [], ""
        elif row.kind == "text" and row.text.rstrip("* ").endswith(":"):
            label, stack = row.text, []
        if row.box is None:
            index += 1
            continue
        end = block_end(table, index)
        end = next((at for at in range(index + 1, end) if table[at].box), end)
        over = [table[one].text for one in draft.sections.over(index)][-1:]
        if _CHECKS.search(label) or any(_CHECKS.search(text) and not _PHASE.match(text) for text in over):
            place = phase.criteria if phase else draft.reading.criteria
            add_criterion(place, joined(table, index, end), category="checklist")
            index = end
            continue
        while stack and stack[-1][0] >= row.indent:
            stack.pop()
        own = _PREFIXED.match(row.text)
        if own:
            id, title = own.group(1), own.group(2)
        else:
            group = stack[-1][1].id if stack else phase.id if phase else ""
            counts[group] = counts.get(group, 0) + 1
            id, title = f"{group}/{counts[group]}" if group else str(counts[group]), row.text
            made = made or row.line
        said = _SAYING.search(title)
        task = draft.task(id, title[: said.start()] if said else title, row, phase=phase)
        task.parent = stack[-1][1].id if stack else None
        draft.describe(task, index, end)
        if said:
            draft.depends(task, said.group(1), row.line)
        stack.append((row.indent, task))
        index = end
    if made:
        message = "boxes without ids are called by phase and position, so an inserted box renames those after it"
        draft.note("info", "made-ids", message, made, "give the boxes ids to keep them")


def _group(draft: Draft, index: int, before: PhaseRead | None) -> PhaseRead | None:
    """The phase that begins at a heading, if boxes stand below it before the next heading."""
    table = draft.table
    row = table[index]
    own = False
    for below in table[index + 1 :]:
        if below.kind == "heading":
            break
        if below.box:
            own = True
            break
    named = _PHASE.match(row.text)
    if named and own:
        status: SourceStatus = "completed" if marked_done(row.text) else "pending"
        return draft.phase(named.group(1), named.group(2) or row.text, row.line, status=status)
    if not own:
        return draft.phase(named.group(1), named.group(2) or row.text, row.line) if named and row.level > 1 else before
    if before is not None and any(_PHASE.match(table[one].text) for one in draft.sections.over(index)[:-1]):
        return before
    if row.level == 1 or _CHECKS.search(row.text):
        return None if row.level <= 2 else before
    words = "-".join(re.findall(r"\w+", row.text.casefold())[:5])
    return draft.phase(words or f"section-{row.line}", row.text, row.line)
