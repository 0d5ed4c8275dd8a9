"""What is wrong with a plan whatever its format: ids, dependencies, cycles."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable

from schemas.graph import Containers, cycles, leaf_edges
from schemas.names import BadName, encode
from schemas.reading import Diagnostic, Reading, Severity, TaskRead

MAX_SUGGESTIONS = 50


def validate(reading: Reading) -> Reading:
    """Add what can be seen without knowing the format. Idempotent; returns the same reading."""
    found = [*_ids(reading), *_dependencies(reading), *_cycles(reading)]
    if not reading.tasks and not reading.errors:
        where = reading.files[0].path if reading.files else "the plan"
        hint = "add at least one task"
        found.append(Diagnostic("error", "empty-plan", "there are no tasks in this plan", where, None, hint))
    known = set(reading.diagnostics)
    reading.diagnostics.extend(d for d in found if d not in known)
    return reading


def _note(
    reading: Reading,
    task: TaskRead | None,
    severity: Severity,
    code: str,
    message: str,
    hint: str,
    line: int | None = None,
) -> Diagnostic:
    file = (task.file if task else "") or (reading.files[0].path if reading.files else "the plan")
    return Diagnostic(severity, code, message, file, line or (task.line if task else None), hint)


def _ids(reading: Reading) -> list[Diagnostic]:
    """Duplicates get a derived id (for the native format they are errors), collisions and bad ids are errors."""
    found = []
    taken = {task.id for task in reading.tasks}
    first: dict[str, TaskRead] = {}
    composed: dict[str, TaskRead] = {}
    for task in reading.tasks:
        if task.id in first:
            where = f"line {first[task.id].line}" if first[task.id].line else "an earlier place"
            if reading.format == "native":
                message = f"the task id {task.id!r} is already taken in {where}"
                found.append(_note(reading, task, "error", "duplicate-id", message, "give every task an id of its own"))
            else:
                old, task.id = task.id, _derived(task.id, taken)
                message = f"the task id {old!r} is already taken in {where}; this one is kept as {task.id!r}"
                found.append(
                    _note(reading, task, "warning", "duplicate-id", message, "give every task an id of its own")
                )
        first.setdefault(task.id, task)
        try:
            encode(task.id)
        except (BadName, UnicodeError) as error:
            reason = str(error) if isinstance(error, BadName) else f"the id {task.id!r} is not valid Unicode"
            found.append(_note(reading, task, "error", "bad-id", reason, "choose a shorter, plain id"))
            continue
        if any(unicodedata.category(character) in ("Cc", "Cs") for character in task.id):
            message = f"the task id {task.id!r} holds control characters"
            found.append(_note(reading, task, "error", "bad-id", message, "remove them"))
        other = composed.setdefault(unicodedata.normalize("NFC", task.id), task)
        if other is not task and other.id != task.id:
            message = f"the task ids {task.id!r} and {other.id!r} are the same text in different Unicode forms"
            found.append(_note(reading, task, "error", "id-collision", message, "rename one of them"))
    return found


def _derived(name: str, taken: set[str]) -> str:
    number = 2
    while f"{name}~{number}" in taken:
        number += 1
    taken.add(f"{name}~{number}")
    return f"{name}~{number}"


def suggest(wanted: str, names: Iterable[str]) -> str | None:
    """The name that was probably meant."""
    near = [name for name in names if abs(len(name) - len(wanted)) <= 3][:500]
    by_fold = {name.casefold(): name for name in near}
    if wanted.casefold() in by_fold:
        return by_fold[wanted.casefold()]
    close = difflib.get_close_matches(wanted, near, 1, 0.6)
    return close[0] if close else None


def _dependencies(reading: Reading) -> list[Diagnostic]:
    found = []
    names = {task.id for task in reading.tasks}
    phases = {phase.id for phase in reading.phases}
    for task in reading.tasks:
        for wanted in dict.fromkeys(task.dependencies):
            if wanted == task.id:
                message = f"task {task.id!r} waits for itself"
                found.append(_note(reading, task, "error", "self-dependency", message, "remove the dependency"))
            elif wanted not in names and wanted not in phases:
                near = suggest(wanted, names) if len(found) < MAX_SUGGESTIONS else None
                hint = f"did you mean {near!r}?" if near else "name a task of this plan, or remove the dependency"
                message = f"task {task.id!r} waits for {wanted!r}, which is no task of this plan"
                found.append(_note(reading, task, "error", "unknown-dependency", message, hint))
    for phase in reading.phases:
        for wanted in dict.fromkeys(phase.dependencies):
            if wanted == phase.id or wanted not in phases:
                what = (
                    "waits for itself"
                    if wanted == phase.id
                    else f"waits for {wanted!r}, which is no phase of this plan"
                )
                code = "self-dependency" if wanted == phase.id else "unknown-dependency"
                hint = "remove the dependency"
                message = f"phase {phase.id!r} {what}"
                found.append(Diagnostic("error", code, message, phase.file or "the plan", phase.line, hint))
    return found


def _cycles(reading: Reading) -> list[Diagnostic]:
    known = Containers(reading)
    found = []
    for name, task in known.tasks.items():
        for wanted in task.dependencies:
            if wanted in known.ancestors[name] or name in known.ancestors.get(wanted, ()):
                part, whole = (name, wanted) if wanted in known.ancestors[name] else (wanted, name)
                message = f"cycle: {whole!r} holds {part!r}, and one waits for the other: {name} → {wanted}"
                found.append(_note(reading, task, "error", "cycle", message, "remove the dependency"))
    for path in cycles({name: [o for o in b if o != name] for name, b in leaf_edges(reading).items()}):
        start = known.tasks[path[0]]
        shown = path if len(path) <= 30 else [*path[:28], "…", path[-1]]
        lines = sorted({known.tasks[name].line or 0 for name in path} - {0})
        places = f" (lines {', '.join(map(str, lines[:10]))})" if len(lines) > 1 else ""
        message = f"cycle: {' → '.join(shown)}: each waits for the next{places}"
        found.append(_note(reading, start, "error", "cycle", message, "remove one of these dependencies"))
    return found
