"""Taskmaster's ``tasks.json``, legacy and with tags (FORMATS 8.1)."""

from __future__ import annotations

import re
from typing import Any

from schemas.formats.criteria import numbered, prose, report_commands
from schemas.formats.document import Document
from schemas.formats.joins import Joins, adopt, in_order, report_parents
from schemas.formats.positions import Key, Located, scalar_text
from schemas.formats.records import FAMILIES, Fields, listed, load, reference_of
from schemas.reading import Reading, TaskRead

NAME = "taskmaster"

ENTRIES = (".taskmaster/tasks/tasks.json", "tasks/tasks.json")

DEFAULT_TAG = "master"
MAX_LEVELS = 10
"""Subtasks inside subtasks; more are not read."""

_TASKS = re.compile(r"\"tasks\"\s{0,20}:\s{0,20}\[")
_OWN = re.compile(r"\"(?:testStrategy|subtasks)\"\s{0,20}:")
_PLAIN = re.compile(r"\"(?:dependencies|status)\"\s{0,20}:")
_RICHER = re.compile(r"\"(?:epics?|phases?|milestones?|stories|blocks|parent|feature|passes)\"\s{0,20}:")
"""Keys of task files that are better read as generic ones."""
_SAID_ELSEWHERE = frozenset({"testStrategy", "parentTaskId", "parentId", "updatedAt", "createdAt"})


def recognise(document: Document) -> float:
    """By its keys; the path makes it surer."""
    text = document.text
    if document.directory or text.lstrip("\ufeff \t\n")[:1] != "{" or not _TASKS.search(text):
        return 0.0
    path = document.path.replace("\\", "/").casefold()
    home = "taskmaster" in path
    if _OWN.search(text):
        return 0.97 if home else 0.93
    if home:
        return 0.9
    return 0.8 if _PLAIN.search(text) and '"title"' in text and not _RICHER.search(text) else 0.0


def read(document: Document, tag: str | None = None) -> Reading:
    """One tag of the file: the named one, else ``master``, else the only one."""
    reading = Reading(format=NAME, confidence=1.0, files=[document.source])
    located = load(document)
    reading.diagnostics.extend(located.diagnostics)
    if not located.ok:
        return reading
    chosen = _choose(document, located, reading, tag)
    if chosen is None:
        return reading
    path, tasks = chosen
    reading.title = _title(located.data, path)
    joins = Joins(reading)
    parents: dict[str, tuple[str, int | None]] = {}
    _level(tasks, path, "", _Context(document, located, joins, parents), 0)
    adopt(reading, parents)
    joins.resolve()
    in_order(joins)
    report_parents(reading)
    report_commands(reading)
    return reading


def tags(data: object) -> dict[str, list[Any]]:
    """The tags of a file and their tasks; a legacy file has none."""
    if not isinstance(data, dict):
        return {}
    return {
        name: part["tasks"]
        for name, part in data.items()
        if isinstance(part, dict) and isinstance(part.get("tasks"), list)
    }


def _choose(document: Document, located: Located, reading: Reading, tag: str | None) -> tuple[Key, list[Any]] | None:
    """Which list of tasks is meant. Each tag is a plan of its own; the others are named in a diagnostic."""
    data = located.data
    found = tags(data)
    legacy = data.get("tasks") if isinstance(data, dict) else data
    if tag is not None:
        if tag in found:
            return (tag, "tasks"), found[tag]
        hint = "tags: " + ", ".join(found) if found else "this file has no tags"
        reading.diagnostics.append(document.note("error", "unknown-tag", f"there is no tag {tag!r}", None, hint))
        return None
    if isinstance(legacy, list) and (legacy or not found):
        if found:
            line = located.line(("tasks",))
            message = f"beside its tags the file has tasks without a tag; those were read, not {', '.join(found)}"
            reading.diagnostics.append(document.note("warning", "other-tags", message, line, "move them into one tag"))
        return (("tasks",) if isinstance(data, dict) else ()), legacy
    if not found:
        message = "there is no list of tasks in this file"
        hint = 'expected {"tasks": […]} or {"master": {"tasks": […]}}'
        reading.diagnostics.append(document.note("error", "no-tasks", message, located.line(()), hint))
        return None
    filled = [name for name, tasks in found.items() if tasks] or list(found)
    name = DEFAULT_TAG if DEFAULT_TAG in filled else filled[0]
    others = [f"{other} ({len(tasks)} tasks)" for other, tasks in found.items() if other != name and tasks]
    if others:
        message = f"the tag {name} was read; the file also holds {', '.join(others[:20])}"
        severity = "info" if name == DEFAULT_TAG else "warning"
        line = located.line((name,))
        reading.diagnostics.append(
            document.note(severity, "other-tags", message, line, "each tag is a plan of its own")  # type: ignore[arg-type]
        )
    return (name, "tasks"), found[name]


def _title(data: object, path: Key) -> str:
    """What the file calls the plan; a tag's own description first."""
    places = [data.get(str(path[0])), data] if isinstance(data, dict) and path else []
    for place in places:
        meta = place.get("metadata", place.get("meta")) if isinstance(place, dict) else None
        if isinstance(meta, dict):
            for key in ("projectName", "title", "description"):
                if isinstance(meta.get(key), str) and meta[key].strip():
                    return " ".join(str(meta[key]).split())
    return ""


class _Context:
    """What every level needs."""

    def __init__(
        self, document: Document, located: Located, joins: Joins, parents: dict[str, tuple[str, int | None]]
    ) -> None:
        self.document = document
        self.located = located
        self.joins = joins
        self.parents = parents


def _level(items: list[Any], path: Key, parent: str, context: _Context, depth: int) -> None:
    """One list of tasks or subtasks, and what is below it."""
    document, joins = context.document, context.joins
    for index, item in enumerate(items):
        place = (*path, index)
        line = context.located.line(place)
        if not isinstance(item, dict):
            message = f"entry {index + 1} of this list is no task"
            hint = "a task is an object with id and title"
            joins.report("warning", "not-a-task", message, file=document.path, line=line, hint=hint)
            continue
        fields = Fields(item, document=document, path=place, located=context.located)
        task = joins.add(fields.task(_id(item, index, parent, fields)))
        if parent:
            context.parents[task.id] = (parent, line)
        below = item.get("subtasks")
        parts = below if isinstance(below, list) else []
        _checks(task, item)
        _needs(task, item, parent, fields, joins)
        fields.finish(task, subtasks=len(parts), skip=_SAID_ELSEWHERE | frozenset({"subtasks", *FAMILIES["needs"]}))
        joins.reading.diagnostics.extend(fields.diagnostics)
        if parts and depth + 1 < MAX_LEVELS:
            _level(parts, (*place, "subtasks"), task.id, context, depth + 1)
        elif parts:
            message = f"subtasks below {task.id!r} are nested too deeply and were not read"
            joins.report("warning", "too-deep", message, file=document.path, line=line, hint="flatten them")


def _id(item: dict[str, Any], index: int, parent: str, fields: Fields) -> str:
    """The author's id; for a subtask the global one, ``5.2``."""
    value = item.get("id")
    own = "" if isinstance(value, bool | list | dict) else scalar_text(value).strip()
    if not own:
        own = str(index + 1)
        where = f" in {parent!r}" if parent else ""
        fields.note("no-id", f"task {index + 1}{where} has no id; it is called {own!r}", "title", "give it an id")
    if not parent or own.startswith(f"{parent}."):
        return own
    return f"{parent}.{own}"


def _checks(task: TaskRead, item: dict[str, Any]) -> None:
    """The test strategy is prose for a person, unless it holds a command."""
    strategy = item.get("testStrategy")
    if isinstance(strategy, str | list):
        text = strategy if isinstance(strategy, str) else "\n".join(scalar_text(part) for part in strategy)
        task.criteria = numbered([*task.criteria, *prose(text)])


def _needs(task: TaskRead, item: dict[str, Any], parent: str, fields: Fields, joins: Joins) -> None:
    """A number in a subtask is a sibling, dotted text is a sibling or another task's subtask."""
    for key in FAMILIES["needs"]:
        if key not in item:
            continue
        joins.written.add(id(task))
        value = item[key]
        for index, entry in enumerate(listed(value)):
            reference = reference_of(entry)
            line = fields.line_of(key, index) if isinstance(value, list) else fields.line_of(key)
            if reference:
                joins.after(task, reference, line, near=parent)
