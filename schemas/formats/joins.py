"""Ids given out and references resolved, for formats whose tasks are records (JSON, YAML, JSON lines, issue files).

References are collected while reading and resolved at the end, because a task may name one that comes later. Edges
stay where they are written, also on containers and phases: :mod:`schemas.graph` knows that these mean leaves.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from schemas.formats.markings import Ids, is_none, references, resolve
from schemas.reading import Diagnostic, PhaseRead, Reading, Severity, TaskRead

_ELSEWHERE = re.compile(r"https?://|external:|[\w.-]+/[\w.-]+#\d|#\d+$|\barchived?\b|-wisp-", re.IGNORECASE)
_GUESSES = 20
"""Hints of the form "did you mean" are looked for this often; each looks at many ids."""


@dataclass(frozen=True, slots=True)
class _Pending:
    owner: TaskRead | PhaseRead
    reference: str
    line: int | None
    near: str
    """Id of the task whose children the reference means first."""
    reverse: bool


class Joins:
    """The tasks and phases of one reading by id, and what they say about each other."""

    def __init__(self, reading: Reading, *, elsewhere: Callable[[str], bool] | None = None) -> None:
        self.reading = reading
        self.tasks: dict[str, TaskRead] = {}
        self.phases: dict[str, PhaseRead] = {}
        self.written: set[int] = set()
        """Identities of tasks and phases that say what they wait for, be it nothing."""
        self._elsewhere = elsewhere
        self._pending: list[_Pending] = []
        self._copies: dict[str, int] = {}

    def report(
        self, severity: Severity, code: str, message: str, *, file: str, line: int | None, hint: str = ""
    ) -> None:
        """Add a diagnostic to the reading."""
        self.reading.diagnostics.append(Diagnostic(severity, code, message, file, line, hint))

    def add(self, task: TaskRead) -> TaskRead:
        """Take a task in. An id that is taken already is changed, and reported (FORMATS 2.9)."""
        first = self.tasks.get(task.id)
        if first is not None:
            wanted = task.id
            task.id = self._free(wanted)
            where = f"line {first.line}" if first.line else "an earlier place"
            message = f"the id {wanted!r} is already taken in {where}; this one is kept as {task.id!r}"
            hint = "give every task an id of its own; references mean the first"
            self.report("warning", "duplicate-id", message, file=task.file, line=task.line, hint=hint)
        self.tasks[task.id] = task
        self.reading.tasks.append(task)
        return task

    def _free(self, wanted: str) -> str:
        number = self._copies.get(wanted, 1)
        while True:
            number += 1
            self._copies[wanted] = number
            if f"{wanted}~{number}" not in self.tasks:
                return f"{wanted}~{number}"

    def add_phase(self, phase: PhaseRead) -> PhaseRead:
        """Take a phase in; one that is there already under that id is kept."""
        known = self.phases.setdefault(phase.id, phase)
        if known is phase:
            self.reading.phases.append(phase)
        return known

    def after(self, owner: TaskRead | PhaseRead, reference: str, line: int | None, *, near: str = "") -> None:
        """``owner`` waits for what ``reference`` names."""
        self._pending.append(_Pending(owner, reference, line or owner.line, near, False))

    def before(self, owner: TaskRead | PhaseRead, reference: str, line: int | None) -> None:
        """What ``reference`` names waits for ``owner``."""
        self._pending.append(_Pending(owner, reference, line or owner.line, "", True))

    def resolve(self) -> None:
        """Turn all references into dependencies, or into diagnostics."""
        finder = _Finder(self)
        seen: dict[int, set[str]] = {}
        guesses = 0
        for item in self._pending:
            found, unknown = finder.find(item)
            for name in found:
                other = self._named(name, item.owner)
                early, late = (item.owner, other) if item.reverse else (other, item.owner)
                if isinstance(late, PhaseRead) and isinstance(early, TaskRead):
                    self._phase_waits(late, early, item.line)
                    continue
                known = seen.setdefault(id(late), set(late.dependencies))
                if early.id not in known:
                    known.add(early.id)
                    late.dependencies.append(early.id)
            for text in unknown:
                guesses += 1
                self._unknown(item, text, guess=guesses <= _GUESSES)
        self._pending.clear()

    def _named(self, name: str, owner: TaskRead | PhaseRead) -> TaskRead | PhaseRead:
        if isinstance(owner, PhaseRead) and name in self.phases:
            return self.phases[name]
        return self.tasks[name] if name in self.tasks else self.phases[name]

    def _phase_waits(self, phase: PhaseRead, task: TaskRead, line: int | None) -> None:
        """A phase waits for phases; for a task its own tasks wait."""
        for member in self.reading.tasks:
            if member.phase == phase.id and member is not task and task.id not in member.dependencies:
                member.dependencies.append(task.id)
        message = f"{phase.id!r} waits for the task {task.id!r}; each of its tasks waits for it"
        self.report("info", "phase-needs-task", message, file=phase.file, line=line)

    def _unknown(self, item: _Pending, text: str, *, guess: bool) -> None:
        verb = "is said to block" if item.reverse else "depends on"
        shown = text if len(text) <= 120 else text[:119] + "…"
        if _ELSEWHERE.search(text[:400]) or (self._elsewhere is not None and self._elsewhere(text)):
            message = f"{item.owner.id!r} {verb} {shown!r}, which is outside this plan"
            hint = "it is taken as satisfied; check that it is done"
            self.report("info", "external-dependency", message, file=item.owner.file, line=item.line, hint=hint)
            return
        close = difflib.get_close_matches(shown, list(self.tasks)[:1000], 1) if guess else []
        hint = f"did you mean {close[0]!r}?" if close else "correct the id, or remove it"
        message = f"{item.owner.id!r} {verb} {shown!r}, and nothing here has that id or title"
        self.report("warning", "unknown-dependency", message, file=item.owner.file, line=item.line, hint=hint)


class _Finder:
    """From the text of a reference to ids of tasks or phases."""

    def __init__(self, joins: Joins) -> None:
        self.tasks, self.phases = joins.tasks, joins.phases
        tasks, phases = joins.reading.tasks, joins.reading.phases
        groups = {task.id: group for task in tasks if (group := task.parent or task.phase)}
        self.task_ids = Ids(self.tasks, titles={t.id: t.title for t in tasks}, groups=groups)
        self.phase_ids = Ids(self.phases, titles={p.id: p.title for p in phases})

    def find(self, item: _Pending) -> tuple[list[str], list[str]]:
        """Ids found, and the parts of the text that mean nothing. "T1, T2 and T4-T6" is three parts."""
        text = item.reference.strip()
        if text in self.tasks or text in self.phases:
            return self._one(text, item), []
        if is_none(text):
            return [], []
        found, unknown = [], []
        parts = references(text) or [text]
        for part in parts:
            ids = self._one(part, item)
            found.extend(ids)
            if not ids:
                unknown.append(part)
        whole = [] if found else self._one(text, item)  # a title may hold commas
        return (whole, []) if whole else (found, unknown)

    def _one(self, text: str, item: _Pending) -> list[str]:
        if item.near and f"{item.near}.{text}" in self.tasks:
            return [f"{item.near}.{text}"]
        first, second = (self.task_ids, self.phase_ids)
        if isinstance(item.owner, PhaseRead):
            first, second = second, first
        if text in first:
            return [text]
        if text in second:
            return [text]
        return resolve(text, first, context=item.owner.id) or resolve(text, second)


def adopt(reading: Reading, parents: dict[str, tuple[str, int | None]]) -> None:
    """Set the parents of tasks: child id to parent id and line. A loop of parents is broken and reported."""
    tasks = {task.id: task for task in reading.tasks}
    for child, (parent, line) in parents.items():
        if child not in tasks or parent not in tasks:
            continue
        above: str | None = parent
        for _ in range(100):
            if above is None or above == child:
                break
            above = tasks[above].parent if above in tasks else None
        if above is None:
            tasks[child].parent = parent
            tasks[parent].container = True
            continue
        message = f"{child!r} cannot be part of {parent!r}, which is part of it, or holds too many levels"
        hint = "correct one of the two parents"
        reading.diagnostics.append(Diagnostic("warning", "parent-loop", message, tasks[child].file, line, hint))


def report_parents(reading: Reading) -> None:
    """Report containers and phases that are marked done over open parts (FORMATS 2.4). The parts count."""
    parts: dict[tuple[str, str], list[bool]] = {}
    for task in reading.tasks:
        is_open = task.status not in ("completed", "skipped")
        if task.parent is not None:
            parts.setdefault(("task", task.parent), []).append(is_open)
        elif task.phase is not None:
            parts.setdefault(("phase", task.phase), []).append(is_open)
    holders: list[tuple[str, list[TaskRead] | list[PhaseRead]]] = [("task", reading.tasks), ("phase", reading.phases)]
    for kind, members in holders:
        for holder in members:
            states = parts.get((kind, holder.id), [])
            if holder.status != "completed" or not any(states):
                continue
            message = f"{kind} {holder.id!r} is marked done, but {sum(states)} of its {len(states)} parts are not"
            hint = "the parts count; correct the one or the other"
            reading.diagnostics.append(
                Diagnostic("warning", "status-conflict", message, holder.file, holder.line, hint)
            )


def in_order(joins: Joins) -> None:
    """The order of the file, on every level on which no task says what it waits for (FORMATS 2.7)."""
    tasks = joins.tasks
    depth: dict[str, int] = {}
    groups: dict[tuple[str | None, str | None], list[TaskRead]] = {}
    for task in joins.reading.tasks:
        depth[task.id] = depth.get(task.parent, 0) + 1 if task.parent in tasks else 0
        groups.setdefault((task.parent, None) if task.parent else (None, task.phase), []).append(task)
    written = {depth[task.id] for task in joins.reading.tasks if id(task) in joins.written}
    implied = False
    for members in groups.values():
        if depth[members[0].id] in written:
            continue
        implied = implied or len(members) > 1
        barrier: list[TaskRead] = []
        beside: list[TaskRead] = []
        for task in members:
            before = barrier if task.parallel else (beside or barrier)
            task.dependencies.extend(one.id for one in before if one.id not in task.dependencies)
            if task.parallel:
                beside.append(task)
            else:
                barrier, beside = [task], []
    phases = joins.reading.phases
    if 0 not in written and not any(id(phase) in joins.written for phase in phases):
        implied = implied or len(phases) > 1
        for first, second in pairwise(phases):
            if first.id not in second.dependencies:
                second.dependencies.append(first.id)
    if implied:
        file = joins.reading.tasks[0].file
        message = "no dependencies are written, so the order of the file is the order of work"
        joins.report("info", "order-of-file", message, file=file, line=None)
