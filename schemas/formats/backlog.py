"""Backlog.md: one markdown file a task, alone or a folder of them (FORMATS 9.2)."""

from __future__ import annotations

import re
from typing import Any

from schemas.formats.criteria import check, numbered, report_commands
from schemas.formats.document import Document
from schemas.formats.front_matter import FrontMatter, read_front_matter
from schemas.formats.joins import Joins, adopt, report_parents
from schemas.formats.markings import box, infer_tier, is_none, paths_in, status_of
from schemas.formats.positions import scalar_text
from schemas.formats.records import FAMILIES, listed, one_line, reference_of
from schemas.reading import Reading, TaskRead
from schemas.values import Criterion, SourceStatus

NAME = "backlog"

ENTRIES = ("backlog/", ".backlog/", "tasks/")
SIBLINGS = ("*.md", "tasks/*.md", "completed/*.md", "drafts/*.md", "archive/*.md")
SURE = 0.5
"""How sure it must be that a file of a folder is a task."""

_FILE_NAME = re.compile(r"([A-Za-z][\w]*-\d[\w.]*) - (.+)\.md")
_HEADING = re.compile(r" {0,3}#{1,6}[ \t]+(\S.*)")
_NUMBER = re.compile(r"#\d{1,4}[ \t]+")
_SECTION = re.compile(r"<!--[ \t]*([A-Z_]+(?::[A-Z_]+)*):(BEGIN|END)[ \t]*-->")
_CRITERIA = frozenset({"AC", "DOD", "SECTION:AC", "SECTION:DOD"})
_HEADED = re.compile(r"(?:acceptance criteria|definition of done)\b", re.IGNORECASE)
_OTHER = re.compile(r"(?:task|back|[A-Za-z]+)-\d", re.IGNORECASE)


def recognise(document: Document) -> float:
    """By front matter with id, title and status, and what else Backlog.md writes."""
    if document.directory:
        found = [recognise(one) for path, one in document.siblings.items() if not path.startswith("archive/")]
        return max(found, default=0.0)
    if not document.front_matter_end:
        return 0.0
    keys = {line.partition(":")[0].strip() for line in document.lines[1 : document.front_matter_end]}
    if not {"id", "title", "status"} <= keys:
        return 0.0
    own = len(keys & {"assignee", "created_date", "updated_date", "labels", "dependencies", "parent_task_id"})
    named = _FILE_NAME.fullmatch(document.name) is not None
    marked = "<!-- AC:BEGIN -->" in document.text or "<!-- SECTION:" in document.text
    if own >= 3 and (named or marked or "created_date" in keys):
        return 0.96
    return 0.85 if named or marked else (0.5 if own >= 3 else 0.0)


def read(document: Document) -> Reading:
    """One task, or all tasks of a folder. Archived ones are no work, but may be waited for."""
    reading = Reading(format=NAME, confidence=1.0)
    alone = not document.directory
    documents = [("", document)] if alone else list(document.siblings.items())
    partial = alone or not any("/" in path for path, _ in documents)
    archived: set[str] = set()
    joins = Joins(
        reading, elsewhere=lambda text: _number(text) in archived or (partial and _OTHER.match(text) is not None)
    )
    parents: dict[str, tuple[str, int | None]] = {}
    for path, one in documents:
        if not alone and recognise(one) < SURE:
            continue
        if path.startswith("archive/"):
            archived.add(_number(_id(one, read_front_matter(one))))
            continue
        reading.files.append(one.source)
        if not alone:
            reading.diagnostics.extend(one.diagnostics)
        _task(path, one, joins, parents)
    if not alone:
        reading.title = document.name
    _adopt(joins, parents, alone)
    joins.resolve()
    report_parents(reading)
    report_commands(reading)
    if alone and reading.tasks:
        reading.title = reading.tasks[0].title
    if not reading.tasks:
        message = "there is no Backlog.md task here"
        hint = "a task file begins with front matter that has id, title and status"
        reading.diagnostics.append(document.note("error", "no-tasks", message, None, hint))
    return reading


def _task(path: str, document: Document, joins: Joins, parents: dict[str, tuple[str, int | None]]) -> None:
    front = read_front_matter(document)
    joins.reading.diagnostics.extend(front.diagnostics)
    data = front.data
    name = _id(document, front)
    if not name:
        message = "this file has no id, neither in its front matter nor in its name"
        joins.report("warning", "no-id", message, file=document.path, line=1, hint="add id: to the front matter")
        return
    task = TaskRead(id=name, file=document.path, line=front.lines.get("id") or 1)
    task.title = one_line(data.get("title") or "") or _file_title(document) or name
    task.status = _status(data.get("status"), document, front, joins)
    if path.startswith("drafts/") or scalar_text(data.get("status") or "").casefold() == "draft":
        task.autonomy = "needs_approval"
    _body(document, front, task)
    joins.add(task)
    for key in FAMILIES["needs"]:
        for index, item in enumerate(listed(data.get(key))):
            reference = reference_of(item)
            if reference and not is_none(reference):
                line = front.paths.get((key, index)) or front.lines.get(key)
                joins.written.add(id(task))
                joins.after(task, reference, line)
    parent = reference_of(data.get("parent_task_id", data.get("parent"))).strip()
    if parent:
        parents[task.id] = (parent, front.lines.get("parent_task_id"))


def _id(document: Document, front: FrontMatter) -> str:
    value = reference_of(front.data.get("id")).strip()
    named = _FILE_NAME.fullmatch(document.name)
    return value or (named.group(1) if named else "")


def _file_title(document: Document) -> str:
    named = _FILE_NAME.fullmatch(document.name)
    return one_line(named.group(2).replace("-", " ")) if named else ""


def _status(value: Any, document: Document, front: FrontMatter, joins: Joins) -> SourceStatus:
    text = scalar_text(value) if isinstance(value, str | int | float | bool) else ""
    state = status_of(text)
    if state is None and text:
        message = f"the status {text[:40]!r} is no known state; taken as pending"
        hint = "use To Do, In Progress or Done"
        joins.report(
            "warning", "unknown-status", message, file=document.path, line=front.lines.get("status"), hint=hint
        )
    return state or "pending"


def _body(document: Document, front: FrontMatter, task: TaskRead) -> None:
    """Criteria from their sections; everything else is the description."""
    inside = headed = False
    marked = any(f"<!-- {name}:BEGIN -->" in document.text for name in _CRITERIA)
    mask = document.outside_fences()
    checks: list[Criterion] = []
    kept: list[str] = []
    for number in range(front.body, len(document.lines) + 1):
        text = document.lines[number - 1]
        mark = _SECTION.search(text)
        if mark:
            if mark.group(1) in _CRITERIA:
                inside = mark.group(2) == "BEGIN"
            continue
        heading = _HEADING.match(text) if mask[number - 1] else None
        if heading:
            inside = False
            headed = _HEADED.match(heading.group(1)) is not None
        found = box(text, number) if mask[number - 1] and (inside or (headed and not marked)) else None
        if found is not None:
            made = check(_NUMBER.sub("", found.text, count=1) if _NUMBER.match(found.text) else found.text)
            checks.extend([made] if made else [])
        elif not (heading and headed):
            kept.append(text)
    task.criteria = numbered(checks)
    task.description = re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip("\n")
    task.files = [path for path in paths_in(f"{task.title}\n{task.description[:20_000]}") if path[0] not in "~/"]
    task.files_inferred = bool(task.files)
    task.context_tier = infer_tier(files=len(task.files), characters=len(task.description) + len(task.title))


def _adopt(joins: Joins, parents: dict[str, tuple[str, int | None]], alone: bool) -> None:
    """Parents by id or, when the prefix was renamed since, by number."""
    by_number: dict[str, str] = {}
    for name in joins.tasks:
        by_number.setdefault(_number(name), name)
    known: dict[str, tuple[str, int | None]] = {}
    for child, (parent, line) in parents.items():
        found = parent if parent in joins.tasks else by_number.get(_number(parent))
        if found is not None and found != child:
            known[child] = (found, line)
            continue
        task = joins.tasks[child]
        task.parent = parent if alone else None
        message = f"{child!r} is part of {parent!r}, which is not among the files that were read"
        hint = "read the whole backlog folder" if alone else "it stands alone"
        joins.report("info", "unknown-parent", message, file=task.file, line=line, hint=hint)
    adopt(joins.reading, known)


def _number(name: str) -> str:
    """The id without its prefix and without leading zeros."""
    bare = re.sub(r"^[A-Za-z_]+-?", "", name.strip())
    return ".".join(part.lstrip("0") or "0" for part in bare.split(".")).casefold()
