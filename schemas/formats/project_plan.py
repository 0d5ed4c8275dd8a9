"""``PROJECT_PLAN.md`` with an autonomous queue: Ready, Pending Approval, Not Ready, and a log below (FORMATS 7)."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

from schemas.formats.document import Document
from schemas.formats.draft import Draft, add_criterion
from schemas.formats.markings import is_path, status_of
from schemas.formats.order import link
from schemas.formats.outline import Row, rows, verbatim
from schemas.formats.outline import field as field_of
from schemas.reading import PhaseRead, Reading, TaskRead
from schemas.safety.profiles import OVERNIGHT
from schemas.values import Criterion, Policy, SourceStatus

NAME = "project_plan"
ENTRIES = ("docs/notes/PROJECT_PLAN.md", "PROJECT_PLAN.md")

LEAST_SCORE = 80
MOST_LINES = 30

_GARBLED = {
    "‚Üí": "→", "‚úÖ": "✅", "‚ùå": "❌", "‚è≥": "⏳", "‚Äì": "–", "‚â§": "≤",
    "â†’": "→", "âœ…": "✅", "â\u009dŒ": "❌", "âŒ": "❌", "â³": "⏳",
}  # fmt: skip
"""UTF-8 read as Mac Roman or Windows-1252."""
_TASK = re.compile(r"(?:(?:→|->|=>|➡\ufe0f?|➜)[ \t]*)?\*\*\[([^\[\]\n]{1,120})\]\*\*:?[ \t]*(.*)$")
_READY = re.compile(r"\bready\b|autonomous", re.IGNORECASE)
_NOT_READY = re.compile(r"\bnot[ \t]+ready\b|\bblocked\b|\bcannot\b", re.IGNORECASE)
_PENDING = re.compile(r"\bpending\b|\bapproval\b|\bawaiting\b|\breview\b", re.IGNORECASE)
_LOG = re.compile(r"\bcompleted?\b|\bdone\b|\bsession\b|\blog\b|\bhistory\b|\barchive", re.IGNORECASE)
_NUMBER = re.compile(r"[^\w]{0,4}(\d{1,5}(?:\.\d{1,3})?)(?:[ \t]*/[ \t]*(\d{1,4}))?(?:[ \t]*[-–][ \t]*(\d{1,5}))?")
_TEST = re.compile(r"(?<![\w./-])((?:[\w-]{1,60}/){1,12}[\w-]{1,80}\.py)(?![\w/])")


@dataclass(slots=True)
class _Entry:
    """A task's line and the fields below it."""

    id: str
    title: str
    row: Row
    section: str
    heading: Row | None
    fields: dict[str, str] = field(default_factory=dict)
    last: int = 0


def recognise(document: Document) -> float:
    """By its queue heading and the ids in bold brackets."""
    if "**[" not in document.text:
        return 0.0
    table = rows(document)
    tasks = any(_TASK.match(clean(row.text)) for row in table)
    queue = any(row.kind == "heading" and "ready for autonomous" in row.text.casefold() for row in table)
    if queue:
        return 0.97 if tasks else 0.6
    return 0.75 if tasks and "project_plan" in document.name.lower() else 0.0


def read(document: Document) -> Reading:
    """Ready tasks that meet every rule run by themselves; all others need approval; the log is history."""
    draft = Draft(document, NAME)
    draft.reading.policy = Policy(safety=OVERNIGHT)
    entries = _entries(draft)
    queued: dict[str, TaskRead] = {}
    phases: dict[str, PhaseRead] = {}
    for entry in entries:
        if entry.section != "log":
            _queued(draft, entry, queued, phases)
    for entry in entries:
        if entry.section == "log":
            _logged(draft, entry, queued, phases)
    if not any(id(task) in draft.free or task.dependencies for task in draft.reading.tasks) or not draft.clauses:
        _in_order(draft)
    link(draft, implied=False)
    return draft.reading


def clean(text: str) -> str:
    """The text with the signs of this format put right where its encoding was garbled."""
    if "‚" in text or "â" in text:
        for bad, good in _GARBLED.items():
            text = text.replace(bad, good)
    return text


def _entries(draft: Draft) -> list[_Entry]:
    found: list[_Entry] = []
    current: _Entry | None = None
    for index, row in enumerate(draft.table):
        text = clean(row.text)
        match = _TASK.match(text) if row.kind != "heading" else None
        if match:
            over = [draft.table[one] for one in draft.sections.over(index)]
            heading = over[-1] if over else None
            section = _section([clean(one.text) for one in over])
            current = _Entry(match.group(1).strip(), match.group(2).strip(), row, section, heading, last=row.line)
            found.append(current)
        elif row.kind == "heading" or (row.kind == "text" and row.after_blank and not row.indent):
            current = None
        elif current is not None:
            pair = field_of(text)
            if pair:
                current.fields.setdefault(pair[0], pair[1])
            current.last = row.line
    return found


def _section(headings: list[str]) -> str:
    """Which part of the plan a task stands in; the innermost heading that says so, but a log holds only log."""
    if any(_LOG.search(text) and not _READY.search(text) for text in headings):
        return "log"
    for text in reversed(headings):
        if _NOT_READY.search(text):
            return "not-ready"
        if _PENDING.search(text):
            return "pending"
        if _READY.search(text):
            return "ready"
    return "other"


def _queued(draft: Draft, entry: _Entry, queued: dict[str, TaskRead], phases: dict[str, PhaseRead]) -> None:
    if entry.id in queued:
        first = queued[entry.id]
        message = f"{entry.id!r} stands twice in the queue (first in line {first.line}); it needs approval"
        draft.note("warning", "duplicate-id", message, entry.row.line, "keep one of them")
        first.autonomy = "needs_approval"
        return
    task = _task(draft, entry, phases)
    queued[entry.id] = task
    status = entry.fields.get("status", "")
    task.status = (status_of(status) or "pending") if status else "pending"
    if task.status == "failed":
        task.status = "blocked"
    why = obstacles(entry.section, entry.fields)
    task.autonomy = "needs_approval" if why else "auto"
    if why and entry.section == "ready" and task.status == "pending":
        message = f"{entry.id!r} stands in the ready section but needs approval: {'; '.join(why)}"
        draft.note("info", "needs-approval", message, entry.row.line)
    task.alignment = _score(entry.fields)
    lines = _lines(entry.fields)
    task.estimated_lines = None if lines is None else math.ceil(lines)
    if lines is not None:
        task.estimate_text = f"{entry.fields['estimated lines'].strip(' ✅❌⏳')} lines"
    _criteria(draft, task, entry.fields.get("tests defined", ""))
    for key in ("dependencies", "depends on", "blocked by", "requires"):
        if key in entry.fields and any(character.isdigit() for character in entry.fields[key]):
            draft.depends(task, entry.fields[key].strip(" ✅"), entry.row.line)


def _logged(draft: Draft, entry: _Entry, queued: dict[str, TaskRead], phases: dict[str, PhaseRead]) -> None:
    """History: it tells the state of a task that is in no queue; a queue outranks it."""
    undone = any(key.startswith(("rollback", "rolled back")) for key in entry.fields)
    status: SourceStatus = "failed" if undone else "completed"
    known = queued.get(entry.id)
    if known is None:
        task = _task(draft, entry, phases)
        task.status = status
        task.autonomy = "needs_approval" if undone else "auto"
        queued[entry.id] = task
    elif known.phase == "log":
        known.status = status
        known.autonomy = "needs_approval" if undone else "auto"
    elif known.status != status:
        message = f"{entry.id!r} is {status} in the log but {known.status} in the queue (line {known.line})"
        draft.note(
            "warning", "status-conflict", message, entry.row.line, "the queue counts; remove it there if it is done"
        )


def _task(draft: Draft, entry: _Entry, phases: dict[str, PhaseRead]) -> TaskRead:
    if entry.section not in phases:
        heading = entry.heading
        title = clean(heading.text) if heading and entry.section != "log" else entry.section.replace("-", " ").title()
        phases[entry.section] = draft.phase(entry.section, title, heading.line if heading else entry.row.line)
    task = draft.task(entry.id, entry.title or entry.id, entry.row, phase=phases[entry.section])
    task.description = verbatim(draft.document, entry.row.line + 1, entry.last)
    return task


def obstacles(section: str, fields: dict[str, str]) -> list[str]:
    """Why a task may not run without approval; empty if every rule is met."""
    found = [] if section == "ready" else [f"it stands under {section.replace('-', ' ')}"]
    status = fields.get("status", "READY").strip(" *_`.!✅")
    if status.casefold() != "ready":
        found.append(f"its status is {status or 'empty'}")
    score = _score(fields)
    if score is None:
        found.append("it has no alignment score")
    elif score < LEAST_SCORE:
        found.append(f"its alignment score {score:g} is below {LEAST_SCORE}")
    lines = _lines(fields)
    if lines is None:
        found.append("its lines are not estimated")
    elif lines > MOST_LINES:
        found.append(f"{lines:g} estimated lines are more than {MOST_LINES}")
    if not _defined(fields.get("tests defined", fields.get("tests", ""))):
        found.append("no tests are defined")
    if any(sign in fields.get("safety check", fields.get("safety", "")) for sign in "❌⏳"):
        found.append("its safety check is not passed")
    return found


def _score(fields: dict[str, str]) -> float | None:
    return _number(fields.get("alignment score", fields.get("score", "")))


def _lines(fields: dict[str, str]) -> float | None:
    return _number(fields.get("estimated lines", ""), upper=True)


def _number(text: str, *, upper: bool = False) -> float | None:
    """A number at the start; of "9/10" ninety; "Not calculated" is none. ``upper``: of a range the upper end."""
    found = _NUMBER.match(text.strip().lstrip("~≈<≤✅❌⏳ "))
    if found is None:
        return None
    value = float(found.group(1))
    if found.group(2) and float(found.group(2)) not in (0.0, 100.0):
        return value * 100 / float(found.group(2))
    return float(found.group(3)) if upper and found.group(3) else value


def _defined(text: str) -> bool:
    if any(sign in text for sign in "❌⏳"):
        return False
    return "✅" in text or text.strip().casefold().startswith(("yes", "defined"))


def _criteria(draft: Draft, task: TaskRead, text: str) -> None:
    """A test file in Python is run with pytest, and that is said; other words need a person."""
    bare = text.strip(" ✅❌⏳")
    if not bare or bare.casefold() in ("no", "yes", "none") or bare.casefold().startswith("n/a"):
        return
    found = _TEST.search(bare)
    if found and is_path(found.group(1)) and "test" in found.group(1).rpartition("/")[2]:
        command = f"python -m pytest -q {found.group(1)}"
        task.criteria.append(Criterion(id="c1", kind="command", text=bare, category="tests", command=command))
        message = f"{task.id!r} names its test file only; it is checked with: {command}"
        draft.note("info", "inferred-check", message, task.line)
        return
    add_criterion(task.criteria, bare, category="tests")


def _in_order(draft: Draft) -> None:
    """The order of the file; what runs by itself does not wait for what needs approval."""
    waiting = [task for task in draft.reading.tasks if task.status not in ("completed", "skipped", "failed")]
    before: TaskRead | None = None
    for task in [*(t for t in waiting if t.autonomy == "auto"), *(t for t in waiting if t.autonomy != "auto")]:
        if before is not None:
            task.dependencies.append(before.id)
        before = task
