"""beads' ``.beads/issues.jsonl``: one issue a line (FORMATS 9.1)."""

from __future__ import annotations

import json
from typing import Any

from schemas.formats.criteria import checks_of, numbered, report_commands
from schemas.formats.document import Document
from schemas.formats.joins import Joins, adopt, report_parents
from schemas.formats.positions import Located, scalar_text
from schemas.formats.records import FAMILIES, Fields, listed, one_line, reference_of, text_of
from schemas.reading import Reading, Severity, TaskRead

NAME = "beads"

ENTRIES = (".beads/issues.jsonl", ".beads/beads.jsonl")

HOLDING = frozenset({"blocks", "blocked-by", "blocked_by", "conditional-blocks", "waits-for", "depends-on", ""})
"""Edge types that hold work back; parent-child gives the parent, all others are information."""
PARENT = frozenset({"parent-child", "parent", "child-of"})
WORK = frozenset(
    {"task", "bug", "feature", "chore", "epic", "decision", "spike", "story", "milestone", "docs", "enhancement", ""}
)
MACHINERY = frozenset({
    "message", "gate", "molecule", "agent", "convoy", "rig", "role", "event", "slot", "wisp", "merge-request", "queue",
    "hook", "formula", "mail",
})  # fmt: skip
_BOOKKEEPING = frozenset({
    "created_at", "created_by", "updated_at", "closed_at", "dependencies", "comments", "owner",
    "assignee", "content_hash", "source_repo", "compaction_level", "original_size", "deleted_at", "deleted_by",
    "delete_reason", "original_type", "ephemeral", "pinned", "issue_type", "acceptance_criteria", "parent", "parent_id",
    "external_ref", "source_system", "closed_by_session", "dependency_count", "dependent_count", "comment_count",
    "type", "_type", "started_at", "close_reason",
})  # fmt: skip


def recognise(document: Document) -> float:
    """The first lines are objects with id, title and status."""
    if document.directory or not document.text.lstrip("\ufeff \t\n").startswith("{"):
        return 0.0
    seen = good = 0
    for line in document.lines[:30]:
        if line.strip():
            seen += 1
            good += _is_issue(line)
    named = document.name.endswith((".jsonl", ".ndjson"))
    if document.name.endswith(".json") and seen < 2:
        return 0.0
    home = ".beads" in document.path.replace("\\", "/").split("/")
    if not good or (good == 1 and seen > 3 and not named):
        return 0.3 if home and named else 0.0
    if home:
        return 0.97
    return 0.95 if named and good * 2 >= seen else (0.8 if good * 4 >= seen * 3 else 0.0)


def _is_issue(line: str) -> bool:
    """A line that is an object with id, title and status of its own."""
    if not line.lstrip("\ufeff \t").startswith("{") or not all(f'"{key}"' in line for key in ("id", "title", "status")):
        return False
    try:
        record = json.loads(line.strip("\ufeff\0 \t"))
    except (ValueError, RecursionError):
        return False
    return isinstance(record, dict) and {"id", "title", "status"} <= record.keys()


def read(document: Document) -> Reading:
    """All issues that are work, with the edges that hold work back."""
    reading = Reading(format=NAME, confidence=1.0, files=[document.source])
    records = _newest(_records(document, reading), document, reading)
    prefixes = {_prefix(name) for name in records}
    joins = Joins(reading, elsewhere=lambda text: _prefix(text) not in prefixes and "-" in text)
    machinery: dict[str, str] = {}
    for name, (line, record) in records.items():
        kind = text_of(record.get("issue_type", record.get("type"))).strip().casefold()
        if kind in MACHINERY:
            machinery[name] = kind
            continue
        _issue(document, joins, name, line, record, kind)
    if machinery:
        names = ", ".join(f"{name} ({kind})" for name, kind in list(machinery.items())[:5])
        first = records[next(iter(machinery))][0]
        message = f"{len(machinery)} records are machinery, not work, and were left out: {names}"
        reading.diagnostics.append(document.note("info", "not-a-task", message, first))
    parents: dict[str, tuple[str, int | None]] = {}
    for name, (line, record) in records.items():
        _edges(joins, name, line, record, machinery, parents, document)
    if not parents:
        _parents_by_name(joins, parents)
    adopt(reading, parents)
    joins.resolve()
    _empty_epics(joins, records)
    report_parents(reading)
    report_commands(reading)
    if not reading.tasks and not reading.errors:
        message = "there are no issues in this file"
        reading.diagnostics.append(document.note("error", "no-tasks", message, None, "one JSON object a line"))
    return reading


def _records(document: Document, reading: Reading) -> list[tuple[int, dict[str, Any]]]:
    """Each line that holds an issue. A bad line is reported, and the next one read."""
    found = []
    for number, text in enumerate(document.lines, 1):
        if not text.strip("\0 \t\ufeff"):
            continue
        try:
            record = json.loads(text.strip("\0 \t\ufeff"))
        except (ValueError, RecursionError) as error:
            reason = getattr(error, "msg", None) or "it cannot be read"
            column = f" (column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
            hint = "a merge conflict?" if text.startswith(("<<<<<<<", "=======", ">>>>>>>")) else "correct this line"
            message = f"line {number} is not JSON: {reason}{column}; the other lines were read"
            reading.diagnostics.append(document.note("warning", "bad-line", message, number, hint))
            continue
        if not isinstance(record, dict) or not reference_of(record.get("id")).strip():
            message = "this record has no id, so it is no issue"
        elif record.get("_type", "issue") != "issue":
            message = f"this record is of the kind {text_of(record['_type'])[:40]!r}, so it is no issue"
        elif not isinstance(record.get("title"), str) or not record["title"].strip():
            message = "this record has no title, so it is no issue"
        else:
            found.append((number, record))
            continue
        reading.diagnostics.append(document.note("info", "not-an-issue", message, number, "it was passed over"))
    return found


def _newest(
    records: list[tuple[int, dict[str, Any]]], document: Document, reading: Reading
) -> dict[str, tuple[int, dict[str, Any]]]:
    """Of lines with one id the newest counts, by ``updated_at`` where both have it, else the later line."""
    kept: dict[str, tuple[int, dict[str, Any]]] = {}
    for number, record in records:
        name = reference_of(record["id"]).strip()
        if name in kept:
            before = kept[name]
            old, new = text_of(before[1].get("updated_at")), text_of(record.get("updated_at"))
            newer = not old or not new or new >= old
            used, other = (number, before[0]) if newer else (before[0], number)
            message = f"the id {name!r} stands in line {before[0]} and line {number}; line {used} is newer and counts"
            hint = f"remove line {other}"
            reading.diagnostics.append(document.note("warning", "duplicate-id", message, number, hint))
            if not newer:
                continue
        kept[name] = (number, record)
    return kept


def _issue(document: Document, joins: Joins, name: str, line: int, record: dict[str, Any], kind: str) -> None:
    """One task."""
    fields = Fields(record, document=document, path=(line,), located=Located(None, {(line,): line, (): line}))
    task = fields.task(name)
    task.line = line
    task.title = one_line(record["title"])
    criteria = record.get("acceptance_criteria")
    task.criteria = numbered(check for item in listed(criteria) for check in checks_of(item))
    task.container = kind == "epic"
    if record.get("pinned") is True and task.status == "pending":
        task.status = "blocked"
    if kind == "decision" and task.autonomy == "auto":
        task.autonomy = "needs_approval"
    if kind not in WORK:
        message = f"the issue type {kind[:40]!r} of {name!r} is not known; taken as a task"
        joins.report("info", "unknown-type", message, file=document.path, line=line)
    fields.finish(task, skip=_BOOKKEEPING | frozenset({*FAMILIES["needs"], "blocks"}))
    joins.reading.diagnostics.extend(fields.diagnostics)
    joins.add(task)


def _edges(
    joins: Joins,
    name: str,
    line: int,
    record: dict[str, Any],
    machinery: dict[str, str],
    parents: dict[str, tuple[str, int | None]],
    document: Document,
) -> None:
    """``issue_id`` waits for ``depends_on_id``; parent-child makes ``issue_id`` the child."""
    found = [(name, reference_of(record.get(key)), "parent") for key in ("parent", "parent_id")]
    for item in listed(record.get("dependencies")):
        if isinstance(item, dict):
            kind = text_of(item.get("type", item.get("dep_type"))).strip().casefold()
            found.append((reference_of(item.get("issue_id")) or name, reference_of(item), kind))
        else:
            found.append((name, reference_of(item), ""))
    for key in FAMILIES["needs"][1:]:
        found.extend((name, reference_of(item), "") for item in listed(record.get(key)))
    for late, early, kind in found:
        if not early or late in machinery or late not in joins.tasks:
            continue
        if kind in PARENT:
            _parent(joins, parents, late, early, line, document)
        elif kind in HOLDING and early in machinery:
            message = f"{late!r} waits for {early!r}, which is a {machinery[early]} and no task"
            hint = "it is taken as satisfied; check that it is"
            joins.report("info", "external-dependency", message, file=document.path, line=line, hint=hint)
        elif kind in HOLDING:
            joins.after(joins.tasks[late], early, line)
    for item in listed(record.get("blocks")):
        if name in joins.tasks and reference_of(item):
            joins.before(joins.tasks[name], reference_of(item), line)


def _parent(
    joins: Joins,
    parents: dict[str, tuple[str, int | None]],
    child: str,
    parent: str,
    line: int,
    document: Document,
) -> None:
    severity: Severity = "warning"
    if parent not in joins.tasks:
        message = f"{child!r} is part of {parent!r}, which is not in this file"
        joins.report(severity, "unknown-parent", message, file=document.path, line=line, hint="it stands alone")
    elif parents.setdefault(child, (parent, line))[0] != parent:
        message = f"{child!r} is part of both {parents[child][0]!r} and {parent!r}; the first counts"
        joins.report(severity, "two-parents", message, file=document.path, line=line, hint="keep one parent")


def _parents_by_name(joins: Joins, parents: dict[str, tuple[str, int | None]]) -> None:
    """Writers that keep no parents: ``x.1`` is part of ``x``."""
    for name, task in joins.tasks.items():
        above, found, last = name.rpartition(".")
        if found and above in joins.tasks and last.isdigit():
            parents[name] = (above, task.line)


def _empty_epics(joins: Joins, records: dict[str, tuple[int, dict[str, Any]]]) -> None:
    """An open epic without issues of its own is done by nobody: a person has to agree that it is."""
    holders = {task.parent for task in joins.reading.tasks if task.parent}
    for task in joins.reading.tasks:
        if _is_open_epic(task) and task.id not in holders:
            task.autonomy = "needs_approval"
            message = f"the epic {task.id!r} is open and has no issues of its own: nothing is run for it"
            hint = "give it issues, or make it a task"
            joins.report("info", "empty-epic", message, file=task.file, line=records[task.id][0], hint=hint)


def _is_open_epic(task: TaskRead) -> bool:
    return task.container and task.status not in ("completed", "skipped")


def _prefix(name: str) -> str:
    """The project's name in an id: ``dotfiles`` of ``dotfiles-p6s.1``."""
    return scalar_text(name).rpartition("-")[0].casefold()
