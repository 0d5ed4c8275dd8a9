"""Inline plans: ``### Task N: title`` with files, steps and run lines, and the bare forms people paste (FORMATS 10)."""

from __future__ import annotations

import re

from schemas.formats.document import Document
from schemas.formats.draft import Draft, add_criterion
from schemas.formats.inline_bare import Bare
from schemas.formats.markings import is_command, mark_status, plain_title, status_emoji, status_of
from schemas.formats.order import link, settle
from schemas.formats.outline import Row, field, rows, section_end
from schemas.reading import PhaseRead, Reading, TaskRead
from schemas.values import SourceStatus

NAME = "inline"

TASK = re.compile(
    r"(?:`?\[(?P<mark>[^\[\]`]{1,4})\]`?[ \t]*)?[^\w`\[]{0,8}task[ \t]*#?"
    r"(?P<id>[A-Z]{0,3}-?\d{1,6}(?:\.\d{1,3})*[a-z]?)"
    r"\b[ \t]*[:.)\-–—]{0,2}[ \t]*(?P<title>.*)$",
    re.IGNORECASE,
)
_GROUP = re.compile(
    r"[^\w`]{0,6}(chunk|phase|part|stage|milestone|section|batch|week|sprint)[ \t]+"
    r"(\d{1,3}(?:\.\d{1,3})*[a-z]?|[A-Z])\b"
    r"[ \t]*[:.)\-–—]{0,2}[ \t]*(.*)$",
    re.IGNORECASE,
)
_STEP = re.compile(r"(?:\*\*)?step[ \t]+\d", re.IGNORECASE)
_RUN = re.compile(r"(?:\*\*)?run\b[^`]{0,80}:(?:\*\*)?$", re.IGNORECASE)
_CHECKS = re.compile(r"verification|criteria|checklist|definition of done|acceptance|validation", re.IGNORECASE)
_SHELL = ("", "bash", "sh", "shell", "console", "zsh", "terminal", "powershell")
_FAILS = re.compile(r"\W{0,4}(?:FAIL|fails?\b|error\b)")


def recognise(document: Document) -> float:
    """Task headings with steps or files are certain; numbered lists under phases are a guess."""
    table = rows(document)
    headed = [row for row in table if row.kind == "heading" and row.level in (2, 3, 4) and TASK.match(row.text)]
    if headed:
        steps = any(row.kind in ("box", "text") and _STEP.match(row.text) for row in table)
        files = any((field(row.text) or ("",))[0] == "files" for row in table if row.kind in ("text", "bullet"))
        return 0.9 if steps or files else 0.66
    return Bare.recognise(table)


def read(document: Document) -> Reading:
    """Tasks run in order unless they name others; steps are a task's description and its state."""
    draft = Draft(document, NAME, source="INLINE")
    indexes = [
        index
        for index, row in enumerate(draft.table)
        if row.kind == "heading" and row.level in (2, 3, 4) and TASK.match(row.text)
    ]
    if not indexes:
        Bare(draft).read()
        settle(draft)
        link(draft)
        return draft.reading
    tasks = set(indexes)
    phase: PhaseRead | None = None
    for index, row in enumerate(draft.table):
        if index in tasks:
            task_at(draft, index, phase)
        elif row.kind == "heading" and (named := _GROUP.match(row.text)) and _holds(draft, index, tasks):
            title = plain_title(named.group(3)) or row.text
            phase = draft.phase(named.group(2), title, row.line, status=_heading_status(row.text))
    for index, row in enumerate(draft.table):
        over = draft.sections.over(index)
        if row.box and over and not tasks & set(over) and _CHECKS.search(draft.table[over[-1]].text):
            add_criterion(draft.reading.criteria, row.text, category="checklist")
    settle(draft)
    link(draft)
    return draft.reading


def _holds(draft: Draft, index: int, tasks: set[int]) -> bool:
    return any(position in tasks for position in range(index + 1, section_end(draft.table, index)))


def task_at(draft: Draft, index: int, phase: PhaseRead | None) -> TaskRead:
    """The task that a heading begins, with everything below it."""
    row = draft.table[index]
    found = TASK.match(row.text)
    assert found is not None
    end = section_end(draft.table, index)
    end = next((at for at in range(index + 1, end) if _is_task(draft.table[at])), end)
    title = found.group("title").strip() or row.text
    task = draft.task(found.group("id"), title.rstrip(" ✅✓"), row, phase=phase)
    draft.describe(task, index, end)
    _runs(draft, task, row.line, draft.table[end].line if end < len(draft.table) else len(draft.document.lines) + 1)
    _state(draft, task, index, end, found.group("mark"))
    return task


def _is_task(row: Row) -> bool:
    return row.kind == "heading" and row.level in (2, 3, 4) and TASK.match(row.text) is not None


def _heading_status(text: str) -> SourceStatus:
    return "completed" if status_emoji(text[-4:] + text[:3]) == "completed" else "pending"


def _state(draft: Draft, task: TaskRead, index: int, end: int, mark: str | None) -> None:
    """Boxes decide; then the mark of the heading; a Status line that disagrees is reported."""
    row = draft.table[index]
    boxes = [one for one in draft.table[index + 1 : end] if one.box]
    done = sum(1 for one in boxes if one.box and one.box.done)
    said: SourceStatus | None = heading_mark(mark) if mark is not None else None
    if said is None and _heading_status(row.text) == "completed":
        said = "completed"
    for one in draft.table[index + 1 : end]:
        if one.box:
            break
        pair = field(one.text) if one.kind in ("text", "bullet") else None
        if pair and pair[0] in ("status", "state") and said is None:
            said = status_of(pair[1])
    if mark is not None and len(mark) == 1:
        column = draft.document.line(row.line).index("[") + 1
        task.box = (row.line, column)
    if not boxes:
        task.status = said or "pending"
        return
    if len(boxes) == 1 and task.box is None:
        task.box = boxes[0].place
    moving = any(one.box and one.box.status == "in_progress" for one in boxes)
    counted: SourceStatus = "completed" if done == len(boxes) else "in_progress" if done or moving else "pending"
    task.status = counted
    if said == "completed" and counted != "completed":
        message = f"task {task.id} is marked complete, but {len(boxes) - done} of its {len(boxes)} steps are open"
        draft.note("warning", "status-conflict", message, row.line, "the steps count; tick them, or clear the mark")
    elif said in ("skipped", "blocked", "failed") and counted != "completed":
        task.status = said


def heading_mark(mark: str) -> SourceStatus:
    """The state in a heading's brackets: ``[x]``, ``[ ]``, ``[wip]``, ``[f]``."""
    bare = mark.strip().casefold()
    if bare in ("f", "fail", "!"):
        return "failed"
    if bare in ("wip", "…"):
        return "in_progress"
    return mark_status(bare) if bare else "pending"


def _runs(draft: Draft, task: TaskRead, first: int, last: int) -> None:
    """Fences that follow "Run:" are commands; what is expected to fail is a step on the way, not a check."""
    document = draft.document
    for fence in document.fences():
        if not first <= fence.start < last or fence.info.partition(" ")[0].lower() not in _SHELL or not fence.closed:
            continue
        before = fence.start - 1
        while before > first and not document.line(before).strip():
            before -= 1
        if not _RUN.match(document.line(before).strip()):
            continue
        after = fence.end + 1
        while after < last and not document.line(after).strip():
            after += 1
        expected = field(document.line(after))
        lines = [text.strip() for text in document.lines[fence.start : fence.end - 1] if text.strip()]
        lines = [text.removeprefix("$ ") for text in lines if not text.startswith("#")]
        if not lines or (expected and expected[0].startswith("expect") and _FAILS.match(expected[1])):
            continue
        if all(is_command(text) for text in lines):
            for text in lines:
                add_criterion(task.criteria, f"Run: `{text}`", category="run")
    draft.guard(task.criteria, first)
