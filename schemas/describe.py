"""A reading as text for people, at 80 columns, and as plain data for programs (``nightshift plan check``)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from schemas.graph import Analysis, analyse
from schemas.reading import Diagnostic, Reading, Severity, TaskRead
from schemas.values import Criterion, SourceStatus
from schemas.wrapping import plain, span, wrap

MARKS: dict[SourceStatus, str] = {
    "pending": "[ ]",
    "in_progress": "[~]",
    "completed": "[x]",
    "failed": "[!]",
    "skipped": "[-]",
    "blocked": "[=]",
}
LONGEST_LIST = 30
"""Waves and diagnostics beyond this are counted, not shown."""

_OVER: tuple[SourceStatus, ...] = ("completed", "skipped")
_SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")


def as_text(reading: Reading, *, tasks: bool = True) -> str:
    """Everything a person wants to know before a plan runs. ``tasks`` false: without the tree."""
    found = analyse(reading)
    parts = [_head(reading, found)]
    if tasks and reading.tasks:
        parts.append("\n".join(["Tasks", *_tree(reading)]))
    if found.edges:
        parts.append("\n".join(["Order", *_waves(found), *_critical(found)]))
    if found.edges:
        parts.append("\n".join(["Context", *_context(reading, found)]))
    if reading.diagnostics:
        parts.append("\n".join([_counted(reading.diagnostics), *_diagnostics(reading.diagnostics)]))
    return "\n\n".join(parts) + "\n"


def as_json(reading: Reading) -> dict[str, Any]:
    """The same as data that ``json.dumps`` can write."""
    own = list(dict.fromkeys((task.id, wanted) for task in reading.tasks for wanted in task.dependencies))
    return {
        "format": reading.format,
        "confidence": reading.confidence,
        "title": reading.title,
        "phases": [
            {
                "id": phase.id,
                "title": phase.title,
                "goal": phase.goal,
                "line": phase.line,
                "status": phase.status,
                "dependencies": list(phase.dependencies),
                "criteria": [_check(one) for one in phase.criteria],
            }
            for phase in reading.phases
        ],
        "tasks": [_task(task) for task in reading.tasks],
        "edges": [{"from": early, "to": late} for late, early in own],
        "diagnostics": [
            {
                "severity": one.severity,
                "code": one.code,
                "message": one.message,
                "file": one.file,
                "line": one.line,
                "hint": one.hint,
            }
            for one in reading.diagnostics
        ],
        "totals": _totals(reading, len(own)),
    }


def _task(task: TaskRead) -> dict[str, Any]:
    return {
        "id": task.id,
        "title": task.title,
        "line": task.line,
        "phase": task.phase,
        "parent": task.parent,
        "status": task.status,
        "dependencies": list(task.dependencies),
        "criteria": [_check(one) for one in task.criteria],
        "files": list(task.files),
        "estimate": task.estimate_minutes,
        "context_tier": task.context_tier,
        "autonomy": task.autonomy,
    }


def _check(one: Criterion) -> dict[str, Any]:
    return {
        "id": one.id,
        "text": one.text,
        "test": "manual" if one.kind == "manual" else "auto",
        "kind": one.kind,
        "command": one.command,
    }


def _totals(reading: Reading, edges: int) -> dict[str, int]:
    """Over all tasks, containers too; done are the completed ones, open those that are neither done nor skipped."""
    return {
        "tasks": len(reading.tasks),
        "done": sum(task.status == "completed" for task in reading.tasks),
        "open": sum(task.status not in _OVER for task in reading.tasks),
        "phases": len(reading.phases),
        "criteria": len(_criteria(reading)),
        "edges": edges,
    }


def _criteria(reading: Reading) -> list[Criterion]:
    found = list(reading.criteria)
    for phase in reading.phases:
        found += phase.criteria
    for task in reading.tasks:
        found += task.criteria
    return found


def _leaves(reading: Reading) -> list[TaskRead]:
    parents = {task.parent for task in reading.tasks}
    return [task for task in reading.tasks if not task.container and task.id not in parents]


# --- the parts of the text -----------------------------------------------------------------------------------------


def _head(reading: Reading, found: Analysis) -> str:
    criteria = _criteria(reading)
    manual = sum(one.kind == "manual" for one in criteria)
    leaves = _leaves(reading)
    states = Counter(task.status for task in leaves)
    left = len(leaves) - states["completed"] - states["skipped"]
    plan = [f"{_many(len(leaves), 'task')}: {states['completed']} done, {left} open"]
    plan[0] += f", {states['skipped']} skipped" if states["skipped"] else ""
    plan += [_many(len(reading.tasks) - len(leaves), "container")] if len(leaves) < len(reading.tasks) else []
    plan += [_many(len(reading.phases), "phase")] if reading.phases else []
    plan.append(_many(sum(len(before) for before in found.edges.values()), "dependency", "dependencies"))
    sure = f"{reading.format} ({reading.confidence:.0%} sure)"
    named = reading.title or (reading.files[0].path.replace("\\", "/").rpartition("/")[2] if reading.files else "plan")
    lines = [_field("Plan", named), _field("Format", sure)]
    lines += [_field("File", source.path) for source in reading.files[:5]]
    if len(reading.files) > 5:
        lines.append(_field("", f"and {len(reading.files) - 5} more files"))
    lines.append(_field("Totals", "; ".join(plan)))
    checks = f"{len(criteria)}: {len(criteria) - manual} automatic, {manual} by a person" if criteria else "none"
    lines.append(_field("Checks", checks))
    waiting = Counter(task.autonomy for task in leaves if task.status not in _OVER)
    if waiting["needs_approval"] or waiting["human"]:
        people = f"{_many(waiting['needs_approval'], 'task')} to approve, {waiting['human']} for a person to do"
        lines.append(_field("People", people))
    return "\n".join(lines)


def _field(name: str, text: str) -> str:
    return "\n".join(wrap(text, first=f"{name + ':' if name else '':<9}", rest=" " * 9))


def _many(count: int, one: str, more: str = "") -> str:
    return f"{count} {one if count == 1 else more or one + 's'}"


def _tree(reading: Reading) -> list[str]:
    """Phases, in them tasks, in them their parts, in the order of the file."""
    known = {task.id for task in reading.tasks}
    phases = {phase.id for phase in reading.phases}
    below: dict[tuple[str, str], list[TaskRead]] = {}
    for task in reading.tasks:
        inner = task.parent is not None and task.parent in known and task.parent != task.id
        place = ("task", task.parent or "") if inner else ("phase", task.phase if task.phase in phases else "")
        below.setdefault((place[0], place[1] or ""), []).append(task)
    lines: list[str] = []
    seen: set[str] = set()
    _branch(below.get(("phase", ""), []), below, 1, lines, seen)
    for phase in reading.phases:
        title = f"{phase.id}: {phase.title}" if phase.title and phase.title != phase.id else phase.id
        lines += wrap(title, first=f"  {MARKS[phase.status]} ", rest=" " * 6)
        _branch(below.get(("phase", phase.id), []), below, 2, lines, seen)
    _branch([task for task in reading.tasks if task.id not in seen], {}, 1, lines, seen)
    return lines


def _branch(
    tasks: list[TaskRead], below: dict[tuple[str, str], list[TaskRead]], depth: int, lines: list[str], seen: set[str]
) -> None:
    stack = [(task, depth) for task in reversed(tasks)]
    while stack:
        task, level = stack.pop()
        if task.id in seen:
            continue
        seen.add(task.id)
        title = f"{task.id}: {task.title}" if task.title and task.title != task.id else task.id
        notes = [task.autonomy.replace("_", " ")] if task.autonomy != "auto" else []
        notes += [task.estimate_text or f"{task.estimate_minutes:g} min"] if task.estimate_minutes else []
        indent = "  " * min(level, 12)
        text = title + (f" ({', '.join(notes)})" if notes else "")
        lines += wrap(text, first=f"{indent}{MARKS[task.status]} ", rest=indent + " " * 6)
        stack += [(part, level + 1) for part in reversed(below.get(("task", task.id), []))]


def _waves(found: Analysis) -> list[str]:
    lines = []
    for number, wave in enumerate(found.waves[:LONGEST_LIST], 1):
        shown = ", ".join(wave[:40]) + (f" and {len(wave) - 40} more" if len(wave) > 40 else "")
        lines += wrap(shown, first=f"  Wave {number}: ", rest=" " * 10)
    if len(found.waves) > LONGEST_LIST:
        lines.append(f"  … and {len(found.waves) - LONGEST_LIST} more waves")
    for cycle in found.cycles[:LONGEST_LIST]:
        lines += wrap(" → ".join(cycle[:40]), first="  Cycle: ", rest=" " * 10)
    return lines


def _critical(found: Analysis) -> list[str]:
    path = found.critical_path
    shown = path if len(path) <= 40 else [*path[:38], f"… {len(path) - 39} more …", path[-1]]
    if not path:
        return []
    lines = wrap(" → ".join(shown), first="  Critical path: ", rest=" " * 10)
    times = f"{span(found.minutes)} at least, {span(found.total_minutes)} one after the other"
    return [*lines, *wrap(times, first="  Duration: ", rest=" " * 10)]


def _context(reading: Reading, found: Analysis) -> list[str]:
    leaves = [task for task in reading.tasks if task.id in found.edges]
    lines = []
    for tier in sorted({task.context_tier for task in leaves}):
        members = [task for task in leaves if task.context_tier == tier]
        guessed = sum(task.tier_inferred for task in members)
        note = " (all inferred)" if guessed == len(members) else f" ({guessed} inferred)" if guessed else ""
        lines.append(f"  {tier:>4}K: {_many(len(members), 'task')}, {tier * len(members):,}K tokens{note}")
    lines.append(f"  Total: {found.context_budget:,} tokens")
    return lines


def _counted(diagnostics: list[Diagnostic]) -> str:
    counts = Counter(one.severity for one in diagnostics)
    named = [_many(counts[word], word, "infos" if word == "info" else "") for word in _SEVERITIES if counts[word]]
    return "Findings: " + ", ".join(named)


def _diagnostics(diagnostics: list[Diagnostic]) -> Iterable[str]:
    ordered = sorted(diagnostics, key=lambda one: _SEVERITIES.index(one.severity))
    for index, one in enumerate(ordered):
        if index >= LONGEST_LIST and one.severity != "error":
            yield f"  … and {len(ordered) - index} more"
            return
        place = f"{one.file}:{one.line}" if one.line else one.file
        yield f"  {plain(place)}"
        yield from wrap(f"{one.severity}: {one.message} [{one.code}]", first="    ", rest="      ")
        if one.hint:
            yield from wrap(one.hint, first="    → ", rest="      ")
