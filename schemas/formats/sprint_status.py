"""BMAD's sprint status: one map from key to state, in which the names tell epics, stories and retrospectives apart.

Part of the format ``yaml-tasks`` (FORMATS 8.3).
"""

from __future__ import annotations

import re
from typing import Any

from schemas.formats.document import Document
from schemas.formats.joins import Joins
from schemas.formats.markings import infer_tier
from schemas.formats.positions import Key, Located
from schemas.formats.records import Fields, text_of
from schemas.reading import PhaseRead, TaskRead

_EPIC = re.compile(r"epic-([\w.]+(?:-[\w.]+)*)")
_RETROSPECTIVE = re.compile(r"(?:epic-)?[\w.-]*-?retro(?:spective)?")
_STORY = re.compile(r"(\d+[a-z]?(?:[.-]\d+[a-z]?)+)-([\w.-]+)", re.IGNORECASE)
_HEADING = re.compile(r"\s*#\s*Epic\s+([\w.]+)\s*[:–—-]\s*(\S.*)", re.IGNORECASE)


def statuses(data: object) -> tuple[Key, dict[str, Any]] | None:
    """Where the map stands, if the data is a sprint status."""
    if not isinstance(data, dict):
        return None
    inner = data.get("development_status")
    if isinstance(inner, dict):
        return ("development_status",), inner
    names = [key for key, value in data.items() if isinstance(value, str)]
    epics = sum(_EPIC.fullmatch(name) is not None for name in names)
    stories = sum(_STORY.fullmatch(name) is not None for name in names)
    return ((), data) if stories and epics and (epics + stories) * 2 >= len(names) else None


def read_statuses(document: Document, located: Located, joins: Joins, path: Key, entries: dict[str, Any]) -> None:
    """Epics become phases, stories tasks; retrospectives are meetings and stay out."""
    titles = {
        found.group(1): found.group(2).strip() for line in document.lines if (found := _HEADING.match(line)) is not None
    }
    current: PhaseRead | None = None
    left_out: list[str] = []
    for key, value in entries.items():
        name = str(key)
        line = located.line((*path, name))
        if _RETROSPECTIVE.fullmatch(name):
            left_out.append(name)
            continue
        data = value if isinstance(value, dict) else {"status": value}
        fields = Fields(data, document=document, path=(*path, name), located=located)
        epic = _EPIC.fullmatch(name)
        if path == () and not epic and not _STORY.fullmatch(name):
            continue
        if epic:
            title = titles.get(epic.group(1), "")
            current = joins.add_phase(PhaseRead(id=name, title=title, file=document.path, line=line))
            current.status = fields.status()
        else:
            _story(document, joins, name, line, fields, _epic_of(name, joins, current))
        joins.reading.diagnostics.extend(fields.diagnostics)
    if left_out:
        message = f"{len(left_out)} retrospectives are meetings, not work for the engine: {', '.join(left_out[:5])}"
        joins.report(
            "info", "not-a-task", message, file=document.path, line=located.line((*path, left_out[0])),
        )  # fmt: skip


def _story(
    document: Document, joins: Joins, name: str, line: int | None, fields: Fields, epic: PhaseRead | None
) -> TaskRead:
    found = _STORY.fullmatch(name)
    title = (found.group(2) if found else name).replace("-", " ").replace("_", " ").strip() or name
    task = TaskRead(id=name, title=title, file=document.path, line=line, status=fields.status())
    task.phase = epic.id if epic else None
    task.description = "\n".join(
        f"{key}: {text_of(value)}" for key, value in fields.data.items() if key not in fields.used and value
    )
    task.context_tier = infer_tier(characters=len(title))
    return joins.add(task)


def _epic_of(name: str, joins: Joins, current: PhaseRead | None) -> PhaseRead | None:
    """The epic of the story's own number, else the one above it in the file."""
    found = _STORY.fullmatch(name)
    if found:
        number = found.group(1)
        while True:
            if f"epic-{number}" in joins.phases:
                return joins.phases[f"epic-{number}"]
            shorter = re.match(r"(.+)[.-]", number)
            if shorter is None:
                break
            number = shorter.group(1)
    return current
