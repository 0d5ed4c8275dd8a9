"""Edges of a markdown plan: what clauses refer to, and the order of the file where nothing is written.

Edges stand where they are written, also on containers and phases: `schemas.graph` knows that these mean leaves.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

from schemas.formats.draft import Clause, Draft
from schemas.formats.markings import Ids, resolve
from schemas.reading import PhaseRead, TaskRead
from schemas.values import SourceStatus

_DONE = ("completed", "skipped")
LIVE = 50
"""So many unfinished tasks are waited for, one by one, across finished ones by each of many parallel tasks."""


def link(draft: Draft, *, implied: bool = True, finished: bool = True, phases_in_order: bool = True) -> None:
    """Resolve all clauses, then add the order of the file where a level writes no dependencies.

    ``finished`` false: no implied edges from or to finished tasks. ``phases_in_order`` false: phases are only groups.
    """
    links = _Links(draft)
    for clause in draft.clauses:
        links.written(clause)
    if implied:
        _Order(draft, links, finished, phases_in_order).run()
    for task in draft.reading.tasks:
        task.dependencies = list(dict.fromkeys(task.dependencies))


def settle(draft: Draft) -> None:
    """The state of containers and phases, from the inside out, and what disagrees with it."""
    parts: dict[str, list[TaskRead]] = defaultdict(list)
    groups: dict[str, list[TaskRead]] = defaultdict(list)
    for task in draft.reading.tasks:
        parts[task.parent or ""].append(task)
        if task.phase and not task.parent:
            groups[task.phase].append(task)
    for task in reversed(draft.reading.tasks):
        children = parts.get(task.id)
        if not children:
            continue
        task.container = True
        done = sum(1 for child in children if child.status in _DONE)
        if task.box is None:
            task.status = roll_up(children)
        elif task.status == "completed" and done < len(children):
            message = f"{task.id!r} is ticked, but {len(children) - done} of its {len(children)} parts are open"
            draft.note("warning", "status-conflict", message, task.line, "the open parts will be run")
        elif task.status == "pending" and done == len(children):
            message = f"{task.id!r} is open, but all of its {len(children)} parts are finished"
            draft.note("info", "status-conflict", message, task.line, "tick it if nothing is left")
    for phase in draft.reading.phases:
        members = groups.get(phase.id) or [
            task for inner, tasks in groups.items() if inner.startswith(f"{phase.id}.") for task in tasks
        ]
        if not members:
            continue
        open_ones = sum(1 for task in members if task.status not in _DONE)
        if phase.status == "completed" and open_ones:
            message = f"phase {phase.id} is marked complete, but {open_ones} of its tasks are open"
            draft.note("warning", "status-conflict", message, phase.line, "the boxes of the tasks count")
        phase.status = roll_up(members)


def roll_up(tasks: list[TaskRead]) -> SourceStatus:
    """The state of a group from the states of its members."""
    states = {task.status for task in tasks}
    if states == {"skipped"}:
        return "skipped"
    if states <= {"completed", "skipped"}:
        return "completed"
    return "in_progress" if states & {"completed", "in_progress"} else "pending"


class _Links:
    """Resolving what is written."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        tasks, phases = draft.reading.tasks, draft.reading.phases
        groups = {task.id: task.parent or task.phase or "" for task in tasks}
        self.tasks = Ids([t.id for t in tasks], titles={t.id: t.title for t in tasks}, groups=groups)
        self.phases = Ids([p.id for p in phases], titles={p.id: p.title for p in phases})
        self.heads = {task.id.split(".")[0] for task in tasks if "." in task.id}
        self.archive = "archive" in draft.document.text.casefold()
        self.on_phases: dict[str, list[str]] = defaultdict(list)
        """Task id to phases it waits for."""
        self.owners = {id(clause.owner) for clause in draft.clauses} | draft.free

    def written(self, clause: Clause) -> None:
        """Resolve one clause into edges, or report it."""
        owner, reference = clause.owner, clause.reference
        of_phases = isinstance(owner, PhaseRead) or clause.phase
        first, second = (self.phases, self.tasks) if of_phases else (self.tasks, self.phases)
        found, among = resolve(reference, first, context=owner.id), first
        if not found:
            found, among = resolve(reference, second), second
        if not found:
            self._unresolved(clause)
            return
        if isinstance(owner, PhaseRead) and among is self.tasks:
            message = f"phase {owner.id!r} names the task {reference!r}; phases wait for phases"
            self.draft.note("warning", "phase-needs-task", message, clause.line, "name the phase instead")
        elif isinstance(owner, PhaseRead) or among is self.tasks:
            if clause.phase and not isinstance(owner, PhaseRead):
                self._unresolved(clause)
                return
            owner.dependencies.extend(name for name in found if name not in owner.dependencies[-200:])
        else:
            self.on_phases[owner.id].extend(found)

    def _unresolved(self, clause: Clause) -> None:
        reference, owner = clause.reference, clause.owner
        if not any(character.isdigit() for character in reference):
            message = f"{owner.id!r} says in words what it waits for: {reference[:80]!r}"
            hint = "name a task's id if it has to wait"
            self.draft.note("info", "dependency-in-words", message, clause.line, hint)
            return
        words = reference.casefold()
        archived = self.archive and "." in reference and reference.split(".")[0] not in self.heads
        if archived or "archive" in words or "://" in words or "/" in words:
            message = f"{owner.id!r} waits for {reference[:80]!r}, which is not in this file; taken as outside and done"
            self.draft.note("info", "external-dependency", message, clause.line, "check that it is done")
            return
        message = f"{owner.id!r} depends on {reference[:80]!r}, and nothing here has that id or title"
        self.draft.note("warning", "unknown-dependency", message, clause.line, "correct the id, or remove it")


class _Order:
    """The order of the file."""

    def __init__(self, draft: Draft, links: _Links, finished: bool, phases_in_order: bool) -> None:
        self.draft = draft
        self.links = links
        self.finished = finished
        self.phases_in_order = phases_in_order
        self.depth: dict[str, int] = {}
        self.groups: dict[tuple[str, str], list[TaskRead]] = defaultdict(list)
        for task in draft.reading.tasks:
            parent = task.parent if task.parent in self.depth else None
            self.depth[task.id] = self.depth[parent] + 1 if parent is not None else 0
            self.groups[("task", parent) if parent is not None else ("phase", task.phase or "")].append(task)
        self.written_levels = {self.depth[task.id] for task in draft.reading.tasks if id(task) in links.owners}

    def run(self) -> None:
        """Siblings first, then phases."""
        for members in self.groups.values():
            if self.depth[members[0].id] not in self.written_levels:
                self._chain(members)
        for task in self.draft.reading.tasks:
            for phase in self.links.on_phases.get(task.id, ()):
                ends = self._ends(self.groups.get(("phase", phase), []))
                task.dependencies.extend(name for name in ends if name != task.id)
        self._phases()

    def _chain(self, members: list[TaskRead]) -> None:
        """One after the other; parallel ones beside each other, between the unmarked ones before and after them.

        What stands behind a finished task also waits for the unfinished ones before it.
        """
        barrier: list[TaskRead] = []
        beside: list[TaskRead] = []
        carried: list[TaskRead] = []
        holders: dict[str, TaskRead] = {}
        for task in members:
            before = barrier if task.parallel else (beside or barrier)
            self._wait(task, before)
            if task.status not in _DONE and before and all(one.status in _DONE for one in before):
                earlier = [*carried, *barrier] if before is beside else carried
                self._wait(task, earlier[-LIVE:] if task.parallel else earlier)
            if task.parallel:
                self._same_file(task, holders)
                beside.append(task)
                continue
            if task.status in _DONE:
                carried = [one for one in (*carried, *barrier, *beside) if one.status not in _DONE]
            else:
                carried = []
            barrier, beside, holders = [task], [], {}

    def _same_file(self, task: TaskRead, holders: dict[str, TaskRead]) -> None:
        """Two parallel tasks that name the same file are not parallel."""
        for path in task.files:
            other = holders.get(path)
            if other is not None:
                self._wait(task, [other])
                message = f"{task.id!r} and {other.id!r} are marked parallel and both name {path}; they run one by one"
                self.draft.note("info", "parallel-same-file", message, task.line)
            holders[path] = task

    def _wait(self, task: TaskRead, before: list[TaskRead]) -> None:
        if not self.finished and task.status in _DONE:
            return
        known = set(task.dependencies)
        task.dependencies.extend(
            one.id for one in before if one.id not in known and (self.finished or one.status not in _DONE)
        )

    @staticmethod
    def _ends(members: list[TaskRead]) -> list[str]:
        names = {task.id for task in members}
        followed = {name for task in members for name in task.dependencies if name in names}
        return [task.id for task in members if task.id not in followed] or [task.id for task in members]

    def _phases(self) -> None:
        phases = self.draft.reading.phases
        written = any(phase.dependencies or id(phase) in self.links.owners for phase in phases)
        if written or not self.phases_in_order or 0 in self.written_levels:
            return
        for before, after in pairwise(phases):
            after.dependencies.append(before.id)
        first = next((phase for phase in phases if self.groups.get(("phase", phase.id))), None)
        loose = self.groups.get(("phase", ""), [])
        if first is not None and loose and (loose[0].line or 0) < (first.line or 0):
            ends = self._ends(loose)
            for task in self.groups[("phase", first.id)]:
                if not task.dependencies:
                    task.dependencies.extend(ends)
