"""Product requirement documents: plain (FORMATS 5.2), and with front matter that names beads issues (5.4)."""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any

from schemas.formats.document import Document
from schemas.formats.draft import Draft
from schemas.formats.front_matter import read_front_matter
from schemas.formats.markings import machine_path, status_of
from schemas.formats.order import link
from schemas.formats.outline import block_end, rows, section_end
from schemas.formats.requirements import Requirements
from schemas.reading import PhaseRead, Reading
from schemas.values import SourceStatus

NAME = "prd"
SIBLINGS = (".beads/issues.jsonl", "issues.jsonl")

_PHASE = re.compile(
    r"\W{0,6}phase[ \t]+(\d{1,3}(?:\.\d{1,3})?[a-z]?)\b[ \t]*[:.)\-–—：]{0,2}[ \t]*(.*)$", re.IGNORECASE
)
_HAN = re.compile(r"第([一二三四五六七八九十\d]{1,3})(?:阶段|階段|期|章)[ \t]*[:：.]?[ \t]*(.*)$")
_PLAN = re.compile(
    r"(?:implementation|development|delivery|rollout|release|execution)[ \t]+(?:phases?|plan|milestones?|roadmap)|"
    r"^\W*(?:[\d.]+\s+)?(?:milestones|phases|roadmap|phasing|phased (?:delivery|rollout))\W*$",
    re.IGNORECASE,
)
_EMOJI = re.compile(r"([\u2600-\u27bf\U0001f300-\U0001faff])\ufe0f?")
_TITLE = re.compile(r"\bPRD\b|product requirements?|requirements document", re.IGNORECASE)


def recognise(document: Document) -> float:
    """By front matter with ``prd:`` as a map and ``beads:``, else by title, name and requirement ids."""
    if document.front_matter_end:
        data = read_front_matter(document).data
        if isinstance(data.get("prd"), dict):
            return 0.95 if "beads" in data or "priorities" in data else 0.8
    table = rows(document)
    if not any(row.kind == "heading" for row in table):
        return 0.0
    name = document.name.lower()
    named = re.search(r"(?:^|[-_.])prd(?:[-_.]|$)", name) is not None
    titled = any(_TITLE.search(row.text) for row in table[:5] if row.kind == "heading" and row.level <= 2)
    required = sum(1 for row in table if re.match(r"\W{0,6}(?:N?FR|AC)-?\d", row.text))
    if named or titled:
        return 0.8
    return 0.55 if required >= 3 else 0.0


def read(document: Document) -> Reading:
    """Requirements verify the plan; listed phases become drafts that need approval; issues come from beads."""
    draft = Draft(document, NAME, source="SPEC")
    data = draft.front.data
    priorities = data.get("priorities")
    stated = priorities.get("requirements") if isinstance(priorities, dict) else None
    Requirements(draft).read(stated if isinstance(stated, list) else [])
    beads = data.get("beads")
    _machine_paths(draft, data)
    if isinstance(beads, dict):
        _phases(draft, drafts=False)
        _issues(draft, beads)
        return draft.reading
    _phases(draft, drafts=True)
    link(draft)
    if not draft.reading.tasks:
        message = "no tasks in this document: it states requirements, not work"
        draft.note(
            "error", "no-tasks", message, 1, "write a task list for it, or list work under 'Implementation Phases'"
        )
    return draft.reading


def _phases(draft: Draft, *, drafts: bool) -> None:
    """Phase headings, each once whatever languages they stand in; bullets below a plan heading become drafts."""
    legend = _legend(draft)
    table = draft.table
    found: dict[str, PhaseRead] = {}
    english = any(row.kind == "heading" and _PHASE.match(row.text) for row in table)
    for index, row in enumerate(table):
        named = (_PHASE if english else _HAN).match(row.text) if row.kind == "heading" else None
        if named is None:
            continue
        planned = any(_PLAN.search(table[one].text) for one in draft.sections.over(index)[:-1])
        if named.group(1) in found:
            if planned:
                first = found[named.group(1)].line
                message = f"phase {named.group(1)} stands twice; its first telling in line {first} counts"
                draft.note("info", "told-twice", message, row.line)
            continue
        phase = draft.phase(named.group(1), named.group(2) or row.text, row.line)
        found[named.group(1)] = phase
        if drafts and planned:
            _drafts(draft, index, phase, legend)
    if not found and drafts:
        for index, row in enumerate(table):
            if row.kind == "heading" and _PLAN.search(row.text):
                _drafts(draft, index, draft.phase(str(len(found) + 1), row.text, row.line), legend)
                found[str(len(found) + 1)] = draft.reading.phases[-1]


def _drafts(draft: Draft, index: int, phase: PhaseRead, legend: dict[str, SourceStatus]) -> None:
    """The outer items of a phase: what might be done, once somebody approves."""
    table = draft.table
    end = section_end(table, index)
    count = 0
    position = index + 1
    while position < end:
        row = table[position]
        if not row.item:
            position += 1
            continue
        stop = min(block_end(table, position), end)
        count += 1
        sign = _EMOJI.match(row.text.lstrip("* "))
        status = legend.get(sign.group(1)) if sign else None
        text = row.text[sign.end() :].lstrip() if sign and row.text.startswith(sign.group()) else row.text
        task = draft.task(f"{phase.id}.{count}", text, row, phase=phase, status=status or None)
        task.autonomy = "needs_approval"
        draft.describe(task, position, stop)
        position = stop
    if count:
        message = f"the {count} items of phase {phase.id} are read as drafts and need approval"
        draft.note("info", "draft-tasks", message, table[index].line, "write a task list to run them unattended")


def _legend(draft: Draft) -> dict[str, SourceStatus]:
    """What the emoji of this document stand for, from its legend; the usual meaning where there is none."""
    found: dict[str, SourceStatus] = {}
    for row in draft.table:
        signs = list(_EMOJI.finditer(row.text))
        legend = "legend" in row.text.casefold() or "status:" in row.text.casefold().replace("*", "")
        if len(signs) < 2 or not legend:
            continue
        ends = [*(one.start() for one in signs[1:]), len(row.text)]
        for sign, end in zip(signs, ends, strict=True):
            status = status_of(row.text[sign.end() : end].strip(" =:|,·-–—*()\ufe0f").partition("/")[0])
            if status is not None:
                found.setdefault(sign.group(1), status)
    if not found:
        for sign_text in "✅🚧⏳❌":
            status = status_of(sign_text)
            if status is not None:
                found[sign_text] = status if sign_text != "❌" else "pending"
    return found


def _machine_paths(draft: Draft, data: dict[str, Any]) -> None:
    """Paths of the author's computer are reported and not used."""
    for key, value in data.items():
        text = str(value)
        place = machine_path(text[:5000])
        if place:
            message = f"{key!r} in the front matter names a place on the author's machine ({place}); it is not used"
            draft.note("info", "machine-path", message, draft.front.lines.get(key))


def _issues(draft: Draft, beads: dict[str, Any]) -> None:
    """The tasks are the issues named here, joined by id with the export of beads."""
    named = [str(one) for key in ("related_epics", "related_issues") for one in _listed(beads.get(key))]
    line = draft.front.lines.get("beads", 1)
    if not named:
        draft.note("error", "no-tasks", "no tasks in this document: its list of beads issues is empty", line)
        return
    export = next((one for path, one in draft.document.siblings.items() if path.endswith("issues.jsonl")), None)
    if export is None:
        message = f"the tasks of this document are {len(named)} beads issues, and their file is not beside it"
        hint = "read .beads/issues.jsonl as the plan, or give it together with this file"
        draft.note("warning", "missing-issue", message, line, hint)
        draft.note("error", "no-tasks", "no tasks in this document itself", line, hint)
        return
    issues: Reading = import_module("schemas.formats.beads").read(export)
    wanted = set(named)
    known = {task.id for task in issues.tasks}
    draft.reading.tasks.extend(task for task in issues.tasks if task.id in wanted)
    draft.reading.phases.extend(phase for phase in issues.phases if phase.id in wanted)
    draft.reading.files.append(export.source)
    for name in named:
        if name not in known and not any(phase.id == name for phase in issues.phases):
            draft.note("warning", "missing-issue", f"the issue {name!r} is not in {export.path}", line)
    for task in draft.reading.tasks:
        outside = [name for name in task.dependencies if name not in wanted]
        task.dependencies = [name for name in task.dependencies if name in wanted]
        if outside:
            message = f"{task.id!r} waits for {', '.join(outside)[:100]}, outside this document; taken as external"
            draft.note("info", "external-dependency", message, line)
        if task.parent not in wanted:
            task.parent = None


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value] if isinstance(value, str) and value else []
