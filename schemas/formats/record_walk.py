"""From nested lists and mappings to tasks and phases: the shapes in which people write task files (FORMATS 8.3)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from schemas.formats.document import Document
from schemas.formats.joins import Joins, adopt
from schemas.formats.markings import Ids, status_of
from schemas.formats.positions import Key, Located, scalar_text
from schemas.formats.records import FAMILIES, Fields, listed, one_line, reference_of, text_of, value_of
from schemas.reading import PhaseRead, TaskRead
from schemas.values import SourceStatus

GROUPS = ("phases", "epics", "milestones", "stages", "sprints", "iterations", "workstreams", "features", "sections")
TASKS = (
    "tasks", "stories", "user_stories", "userStories", "todos", "todo", "items", "issues", "tickets", "work_items",
    "workItems", "steps", "backlog", "subtasks",
)  # fmt: skip
MAX_LEVELS = 12
_LISTS = (*GROUPS, *TASKS)
_ALWAYS_TASKS = ("tasks", "stories", "user_stories", "userStories", "todos", "todo", "work_items", "workItems")
"""Lists that hold tasks even where their entries are bare texts."""
_BESIDE = ("backlog", "todo", "todos")
"""Lists that are read beside another list of tasks."""
_NAMED_GROUPS = ("epic", "phase", "milestone", "sprint", "stage")
_MEMBER_OF = (*_NAMED_GROUPS, "feature", "section", "workstream", "story", "group")
_PARENTS = ("parent", "parent_id", "parentId", "parent_task", "parent_task_id")
_JOINED = frozenset({*FAMILIES["needs"], *FAMILIES["blocks"], *_PARENTS, *_MEMBER_OF})  # not in descriptions
_WEAK = frozenset({"soft", "optional", "related", "relates_to", "nice_to_have"})
_REVERSE = frozenset({"blocks", "enables", "required_by", "blocking"})


def plan_title(data: object) -> str:
    """What the file calls its plan."""
    for key in ("title", "project", "plan", "name", "epic", "feature", "project_name", "projectName"):
        value = data.get(key) if isinstance(data, dict) else None
        for part in (value.get("title"), value.get("name")) if isinstance(value, dict) else (value,):
            if isinstance(part, str) and part.strip():
                return one_line(part)
    return ""


class Walk:
    """Reads one file's data into the tasks and phases of ``joins``."""

    def __init__(self, document: Document, located: Located, joins: Joins) -> None:
        self.document = document
        self.located = located
        self.joins = joins
        self.title = plan_title(located.data)
        self.defaults: dict[str, Any] = {}
        self.parents: dict[str, tuple[str, int | None]] = {}
        self.members: list[tuple[TaskRead, str, str, int | None]] = []
        self.waits: dict[str, list[tuple[str, int | None]]] = {}
        self.unnamed = 0

    def run(self) -> None:
        """Read everything, then join what names what."""
        data, path = self._unwrapped()
        if isinstance(data, list):
            if self._holds_lists(data):
                self.groups(data, path, None, 0)
            else:
                self.tasks(data, path, None, None)
        elif isinstance(data, dict):
            if isinstance(data.get("defaults"), dict):
                known = {*FAMILIES["status"], *FAMILIES["estimate"], "context_tier", "contextTier"}
                self.defaults = {key: value for key, value in data["defaults"].items() if key in known}
            self.level(data, path, None, 0)
        self._memberships()
        adopt(self.joins.reading, self.parents)
        if self.unnamed:
            message = f"{self.unnamed} tasks have no id; they are named by their place in the file"
            first = next((task.line for task in self.joins.reading.tasks), None)
            self.joins.report("info", "no-id", message, file=self.document.path, line=first, hint="give them ids")

    def _unwrapped(self) -> tuple[Any, Key]:
        """The part of the data that holds the lists: ``{plan: {tasks: […]}}``."""
        data, path = self.located.data, Key()
        for _ in range(3):
            if not isinstance(data, dict) or any(isinstance(data.get(name), list | dict) for name in _LISTS):
                break
            for key, value in data.items():
                if isinstance(value, dict) and any(isinstance(value.get(name), list | dict) for name in _LISTS):
                    data, path = value, (*path, key)
                    self.title = self.title or plan_title(value)
                    break
            else:
                break
        return data, path

    def level(self, data: Mapping[str, Any], path: Key, phase: PhaseRead | None, depth: int) -> None:
        """The lists that a mapping holds."""
        keys = [key for key in _LISTS if isinstance(data.get(key), list | dict) and data[key]]
        plain = [key for key in keys if key in TASKS]
        if not plain and "features" in keys and len(keys) > 1:
            plain = ["features"]
        for key in keys:
            entries, place = data[key], (*path, key)
            states = _by_state(entries)
            grouped = key not in plain and (bool(plain) or self._holds_lists(entries))
            if states:
                for word, status in states.items():
                    if key in GROUPS and self._holds_lists(entries[word]):
                        self.groups(entries[word], (*place, word), phase, depth)
                    else:
                        self.tasks(entries[word], (*place, word), phase, None, status=status, prefix=word)
            elif grouped or (isinstance(entries, dict) and _all_lists(entries)):
                self.groups(entries, place, phase, depth)
            elif key not in plain or key == plain[0] or key in _BESIDE:
                self.tasks(entries, place, phase, None)

    @staticmethod
    def _holds_lists(entries: object) -> bool:
        """Some entry is a group: it holds a list of tasks."""
        for item in _values(entries):
            for key in _LISTS if isinstance(item, dict) else ():
                inner = item.get(key)
                if key == "subtasks" or not inner or not isinstance(inner, list | dict):
                    continue
                if key in _ALWAYS_TASKS or any(isinstance(one, dict) for one in _values(inner)):
                    return True
        return False

    def groups(self, entries: object, path: Key, above: PhaseRead | None, depth: int) -> None:
        """Phases, epics, milestones, with or without tasks inside."""
        if depth > MAX_LEVELS:
            return
        pairs = list(entries.items()) if isinstance(entries, dict) else list(enumerate(listed(entries)))
        for key, item in pairs:
            place: Key = (*path, key)
            if isinstance(item, list):
                self.tasks(item, place, self._phase({}, place, key, above), None)
            elif isinstance(item, dict):
                self.level(item, place, self._phase(item, place, key, above), depth + 1)
            elif not isinstance(item, bool):
                self._phase({"title": scalar_text(item)}, place, key, above)

    def _phase(self, item: Mapping[str, Any], path: Key, key: str | int, above: PhaseRead | None) -> PhaseRead:
        fields = Fields(item, document=self.document, path=path, located=self.located)
        value = item.get("id", item.get("key"))
        own = scalar_text(value).strip() if isinstance(value, str | int | float) and value is not True else ""
        title = one_line(fields.get("title") or "")
        place = f"{path[-2] if len(path) > 1 else 'group'}-{key + 1}" if isinstance(key, int) else key
        name = base = own or (key if isinstance(key, str) else "") or _slug(title) or place
        number = 1
        while name in self.joins.phases:
            number += 1
            name = f"{base}~{number}"
        phase = PhaseRead(id=name, title=title or name, file=self.document.path, line=fields.line)
        phase.goal = text_of(item.get("goal") or item.get("objective") or fields.get("description") or "").strip()
        phase.status = fields.status()
        phase.criteria = fields.criteria()
        self.joins.add_phase(phase)
        self._needs(phase, fields)
        if above is not None and id(phase) not in self.joins.written:
            for reference, line in self.waits.get(above.id, []):
                self.joins.after(phase, reference, line)
        self.joins.reading.diagnostics.extend(fields.diagnostics)
        return phase

    def tasks(
        self,
        entries: object,
        path: Key,
        phase: PhaseRead | None,
        parent: TaskRead | None,
        *,
        status: SourceStatus | None = None,
        prefix: str = "",
    ) -> None:
        """One list of tasks, or a mapping from id to task."""
        names = list(entries) if isinstance(entries, dict) else []
        for index, item in enumerate(_values(entries)):
            name = str(names[index]) if names else ""
            if isinstance(item, list) or item is None or (isinstance(item, bool) and not name):
                continue
            if not isinstance(item, dict):
                item = {"title": name, "status": item} if names else {"title": scalar_text(item)}
            place: Key = (*path, name if names else index)
            fields = Fields({**self.defaults, **item}, document=self.document, path=place, located=self.located)
            task = fields.task(self._id(item, name, index, phase, parent, prefix))
            if status is not None and value_of(item, "status") is None:
                task.status = status
            task.phase = phase.id if phase else None
            self.joins.add(task)
            self._task(task, item, fields, phase, parent)

    def _task(
        self, task: TaskRead, item: dict[str, Any], fields: Fields, phase: PhaseRead | None, parent: TaskRead | None
    ) -> None:
        """Its place among the others, and what is below it."""
        if parent is not None:
            self.parents[task.id] = (parent.id, task.line)
        self._needs(task, fields, near=parent.id if parent else "")
        self._belongs(task, item, fields)
        below = [part for part in listed(item.get("subtasks")) if isinstance(part, dict)]
        skip = _JOINED | {"subtasks"} if below else _JOINED
        fields.finish(task, subtasks=len(below), skip=skip)
        self.joins.reading.diagnostics.extend(fields.diagnostics)
        if below and len(fields.path) < 2 * MAX_LEVELS:
            self.tasks(item["subtasks"], (*fields.path, "subtasks"), phase, task)

    def _id(
        self,
        item: Mapping[str, Any],
        name: str,
        index: int,
        phase: PhaseRead | None,
        parent: TaskRead | None,
        prefix: str,
    ) -> str:
        """The author's id; without one the place in the file, below the phase or parent."""
        found = value_of(item, "id")
        own = name
        if found is not None and isinstance(found[1], str | int | float) and not isinstance(found[1], bool):
            text = scalar_text(found[1]).strip()
            own = text if text and (found[0] != "name" or _plain(text)) else own
        above = parent.id if parent else prefix or (phase.id if phase else "")
        if not own:
            self.unnamed += 1
            return f"{above}.{index + 1}" if above else str(index + 1)
        if parent is not None and own.isdigit() and not own.startswith(f"{parent.id}."):
            return f"{parent.id}.{own}"
        return own

    def _needs(self, owner: TaskRead | PhaseRead, fields: Fields, *, near: str = "") -> None:
        """What it waits for, and what waits for it."""
        for key in (*FAMILIES["needs"], *FAMILIES["blocks"]):
            if key not in fields.data or isinstance(fields.data[key], bool):
                continue
            value = fields.data[key]
            reverse = key in FAMILIES["blocks"]
            if not reverse or value:
                self.joins.written.add(id(owner))
            parts = value if isinstance(value, dict) and not reference_of(value) else {"": value}
            for kind, entries in parts.items():
                if kind in _WEAK:
                    continue
                for index, entry in enumerate(listed(entries)):
                    reference = reference_of(entry)
                    line = fields.line_of(key, *([kind] if kind else []), index)
                    if reference and (reverse or kind in _REVERSE):
                        self.joins.before(owner, reference, line)
                    elif reference:
                        self.joins.after(owner, reference, line, near=near)
                        if isinstance(owner, PhaseRead):
                            self.waits.setdefault(owner.id, []).append((reference, line))

    def _belongs(self, task: TaskRead, item: Mapping[str, Any], fields: Fields) -> None:
        """The container or phase that a task names."""
        for key in (*_PARENTS, *_MEMBER_OF):
            name = reference_of(item.get(key)).strip()
            if name and len(name) <= 120:
                self.members.append((task, key, name, fields.line_of(key)))

    def _memberships(self) -> None:
        """Join tasks to the phases and containers that they name; a phase that only tasks name is made."""
        tasks, known = self.joins.tasks, self.joins.phases
        phases = Ids(known, titles={phase.id: phase.title for phase in known.values()})
        for task, key, name, line in self.members:
            found = phases.find(name)
            if key in _PARENTS and name in tasks and name != task.id:
                self.parents.setdefault(task.id, (name, line))
            elif task.phase is None and found is not None:
                task.phase = found
            elif task.phase is None and key in _NAMED_GROUPS:
                phase = PhaseRead(id=name, title=one_line(name), file=self.document.path, line=line)
                task.phase = self.joins.add_phase(phase).id


def _by_state(entries: object) -> dict[str, SourceStatus]:
    """Lists by state, ``{completed: […], planned: […]}``: each key's state; empty when it is something else."""
    if not isinstance(entries, dict):
        return {}
    states = {
        word: status_of(str(word).replace("_", " ")) for word, value in entries.items() if isinstance(value, list)
    }
    return {word: status for word, status in states.items() if status} if states and all(states.values()) else {}


def _all_lists(entries: Mapping[str, Any]) -> bool:
    return bool(entries) and all(isinstance(value, list) for value in entries.values())


def _values(entries: object) -> list[Any]:
    return list(entries.values()) if isinstance(entries, dict) else entries if isinstance(entries, list) else []


def _plain(text: str) -> bool:
    """A name that can be an id."""
    return len(text) <= 64 and not re.search(r"\s", text)


def _slug(title: str) -> str:
    return re.sub(r"\W+", "-", title.casefold()).strip("-")[:60]
