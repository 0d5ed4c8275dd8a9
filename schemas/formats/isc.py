"""PAI documents with ideal state criteria: tables, ``- [ ] ISC-C1: …`` and ``- [ ] ISC-1: …`` (FORMATS 5.3)."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

from schemas.formats.document import Document
from schemas.formats.draft import Draft
from schemas.formats.front_matter import read_front_matter
from schemas.formats.markings import criterion, is_path
from schemas.formats.order import link
from schemas.formats.outline import Row, block_end, joined, rows, section_end, tables, verbatim
from schemas.reading import Reading
from schemas.values import Criterion

NAME = "isc"

_ID = re.compile(r"(?:\*\*|`)?(ISC-(?:[A-Z]{1,8}-?)?\d{1,4}(?:\.\d{1,3}){0,3})(?:\*\*|`)?[ \t]*:?(?:\*\*)?[ \t]*(.*)$")
_ANTI = re.compile(r"ISC-A-?\d")
_VERIFY = re.compile(r"[ \t]*\|[ \t]*(?:\*\*)?verify(?:\*\*)?[ \t]*:(?:\*\*)?[ \t]*", re.IGNORECASE)
_METHOD = re.compile(r"(\w+)[ \t]*(?:\([^()]*\)[ \t]*)?:[ \t]*(.*)$")
_GREP = re.compile(
    r"`([^`\n]{1,200})`[ \t]+(?:(?:exists?|present|found|defined|appears)[ \t]+)?(?:in|at)[ \t]+"
    r"`?([\w./@\-]+)`?[ \t.]*$"
)
_PHASE = re.compile(r"\W{0,6}phase[ \t]+(\d{1,3}[a-z]?)\b[ \t]*[:.)\-–—]{0,2}[ \t]*(.*)$", re.IGNORECASE)
_PLAN = re.compile(r"\bplan\b|implementation phases|implementation strategy", re.IGNORECASE)
_COUNT = re.compile(r"(\d{1,5})\s*/\s*(\d{1,5})")
_FLOORS = {"standard": 8, "extended": 16, "advanced": 24, "deep": 40, "comprehensive": 64}


def recognise(document: Document) -> float:
    """By boxes and tables of criteria, or by front matter."""
    if document.name.endswith(".json"):
        return (
            0.9
            if '"rows"' in document.text and re.search(r"\b(?:EXPLICIT|INFERRED|IMPLICIT)\b", document.text)
            else 0.0
        )
    if "ISC-" in document.text and any(row.box and _ID.match(row.text) for row in rows(document)):
        return 0.96
    if document.front_matter_end:
        data = read_front_matter(document).data
        if data.get("prd") is True or {"task", "slug", "effort"} <= data.keys():
            return 0.93
    return 0.9 if re.search(r"^\|.*what ideal looks like", document.text, re.IGNORECASE | re.MULTILINE) else 0.0


def read(document: Document) -> Reading:
    """The criteria verify one task for each phase of the plan, or one in all."""
    draft = Draft(document, NAME, source="SPEC")
    criteria, done = _json_rows(draft) if document.name.endswith(".json") else _boxes(draft)
    if not criteria:
        criteria, done = _table_rows(draft)
    _state(draft, len(criteria), done)
    _tasks(draft, criteria, done)
    link(draft)
    return draft.reading


# --- criteria --------------------------------------------------------------------------------------------------------


def _boxes(draft: Draft) -> tuple[list[Criterion], int]:
    found: list[Criterion] = []
    taken: dict[str, int] = {}
    done = 0
    table = draft.table
    for index, row in enumerate(table):
        match = _ID.match(row.text) if row.box else None
        if match is None or row.box is None:
            continue
        text = joined(table, index, block_end(table, index))[match.start(2) :].strip()
        id = match.group(1)
        taken[id] = taken.get(id, 0) + 1
        if taken[id] > 1:
            message = f"the criterion {id!r} stands twice; this one is called {id}~{taken[id]}"
            draft.note("warning", "duplicate-id", message, row.line, "give every criterion an id of its own")
            id = f"{id}~{taken[id]}"
        over = draft.sections.over(index)
        group = table[over[-1]].text if over else ""
        found.append(check(id, text, group))
        done += row.box.done
    return found, done


def check(id: str, text: str, group: str = "") -> Criterion:
    """One criterion; an anti-criterion keeps its polarity: it passes when its check fails."""
    anti = _ANTI.match(id) is not None or text.casefold().startswith("anti:")
    parts = _VERIFY.split(text, maxsplit=1)
    category = group.strip(" :") or None
    made = Criterion(id=id, kind="manual", text=text, category=category, negate=anti)
    if len(parts) < 2:
        return made
    method = _METHOD.match(parts[1])
    if method is None or method.group(1).casefold() not in ("grep", "test", "cli", "read"):
        return made
    detail = method.group(2).strip()
    if method.group(1).casefold() == "grep" and (grep := _GREP.match(detail)) and is_path(grep.group(2)):
        return replace(made, kind="regex", pattern=re.escape(grep.group(1)), source=grep.group(2))
    auto = criterion(detail, id=id)
    if auto.kind == "manual":
        return replace(made, command=auto.command)
    return replace(auto, id=id, text=text, category=category, negate=anti != auto.negate)


def _table_rows(draft: Draft) -> tuple[list[Criterion], int]:
    """The first generation: ``| # | What Ideal Looks Like | Source | Status |``."""
    found: list[Criterion] = []
    done = 0
    for head, body in tables(draft.table):
        column = next(
            (n for n, cell in enumerate(head) if "ideal" in cell or cell in ("criterion", "description")), None
        )
        state = next((n for n, cell in enumerate(head) if cell == "status"), None)
        if column is None or state is None or (len(head) > 0 and "source" not in head):
            continue
        for _, parts in body:
            if len(parts) <= column or not parts[column]:
                continue
            label = parts[0] if parts[0] and column else str(len(found) + 1)
            found.append(check(label, parts[column], "ideal state"))
            done += len(parts) > state and parts[state].strip("*` ").upper().startswith("DONE")
    return found, done


def _json_rows(draft: Draft) -> tuple[list[Criterion], int]:
    """The same as JSON."""
    try:
        data: Any = json.loads(draft.document.text)
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", 1)
        draft.note("error", "bad-json", f"this is not JSON: {error}", line, "write valid JSON")
        return [], 0
    entries = data.get("rows") if isinstance(data, dict) else None
    found: list[Criterion] = []
    done = 0
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict) and isinstance(entry.get("description"), str):
            found.append(check(str(entry.get("id", len(found) + 1)), entry["description"], "ideal state"))
            done += str(entry.get("status", "")).upper() == "DONE"
    if isinstance(data, dict):
        draft.reading.title = str(data.get("request") or data.get("title") or draft.document.name)
    return found, done


# --- tasks -----------------------------------------------------------------------------------------------------------


def _state(draft: Draft, total: int, done: int) -> None:
    """Summaries in the front matter are often stale: the boxes are counted."""
    data = draft.front.data
    if not total:
        draft.note("warning", "no-criteria", "no ideal state criteria were found", 1, "write them as - [ ] ISC-1: text")
        return
    for key in ("verification_summary", "progress"):
        said = _COUNT.search(str(data.get(key, "")))
        if said and (int(said.group(1)), int(said.group(2))) != (done, total):
            message = f"{key} says {said.group()}, but {done} of {total} criteria are ticked; the boxes count"
            draft.note("info", "stale-summary", message, draft.front.lines.get(key))
    floor = _FLOORS.get(str(data.get("effort") or data.get("effort_level") or "").casefold())
    if floor and total < floor:
        message = f"{total} criteria are fewer than the {floor} that this effort asks for"
        line = draft.front.lines.get("effort") or draft.front.lines.get("effort_level")
        draft.note("info", "few-criteria", message, line)


def _tasks(draft: Draft, criteria: list[Criterion], done: int) -> None:
    table = draft.table
    complete = bool(criteria) and done == len(criteria)
    for index, row in enumerate(table):
        named = _PHASE.match(row.text) if row.kind == "heading" else None
        if named is None or not any(_PLAN.search(table[one].text) for one in draft.sections.over(index)[:-1]):
            continue
        title = named.group(2) or row.text
        phase = draft.phase(named.group(1), title, row.line)
        task = draft.task(f"phase-{named.group(1)}", title, row, phase=phase)
        draft.describe(task, index, section_end(table, index))
        task.status = phase.status = "completed" if complete else "pending"
    if draft.reading.tasks:
        draft.reading.criteria = criteria
        _graphs(draft)
        return
    if not criteria:
        return
    row = next((one for one in table if one.kind == "heading"), Row(1, 0, "text", draft.document.name))
    data = draft.front.data
    task = draft.task(str(data.get("slug") or data.get("id") or "1"), str(data.get("task") or draft.reading.title), row)
    task.description = verbatim(draft.document, draft.document.front_matter_end + 1, len(draft.document.lines))
    task.criteria = criteria
    task.status = "completed" if complete else "in_progress" if done else "pending"
    draft.tier(task, task.title, row.line)


def _graphs(draft: Draft) -> None:
    """Drawings of dependencies are not read, and that is said."""
    for fence in draft.document.fences():
        inside = draft.document.lines[fence.start : fence.end - 1]
        if sum(1 for text in inside if "──" in text and "phase" in text.casefold()) >= 2:
            message = "a drawing of dependencies is not read; the phases run in the order of the file"
            draft.note("info", "drawn-graph", message, fence.start, "write what each phase depends on")
            return
