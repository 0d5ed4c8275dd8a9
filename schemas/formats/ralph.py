"""Ralph's ``prd.json`` and its relatives, and feature lists (FORMATS 8.2)."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

from schemas.formats.criteria import report_commands
from schemas.formats.document import Document
from schemas.formats.joins import Joins, in_order
from schemas.formats.positions import Key, Located, scalar_text
from schemas.formats.records import FAMILIES, Fields, listed, load, one_line, reference_of, text_of
from schemas.reading import Reading, TaskRead
from schemas.values import Criterion

NAME = "ralph"

ENTRIES = ("scripts/ralph/prd.json", "feature_list.json")

_STORIES = re.compile(r"\"(?:userStories|user_stories)\"\s{0,20}:\s{0,20}\[")
_FEATURES = re.compile(r"\"features\"\s{0,20}:\s{0,20}\[")
_PASSES = re.compile(r"\"passes\"\s{0,20}:")
_LISTS = ("userStories", "user_stories", "stories", "features", "tasks", "items")
_WORDS = {"critical": 0.0, "highest": 0.0, "high": 1.0, "medium": 2.0, "normal": 2.0, "low": 3.0, "lowest": 4.0}
_SAID_ELSEWHERE = frozenset({"priority", *FAMILIES["needs"]})


def recognise(document: Document) -> float:
    """By ``userStories``, or by ``passes`` in a list."""
    text = document.text
    start = text.lstrip("\ufeff \t\n")[:1]
    if document.directory or start not in ("{", "["):
        return 0.0
    if start == "{" and _STORIES.search(text):
        return 0.96 if _PASSES.search(text) or document.name in ("prd.json", "prd.json.example") else 0.85
    if _PASSES.search(text) and (start == "[" or _FEATURES.search(text) or '"tasks"' in text):
        return 0.9
    return 0.75 if document.name == "feature_list.json" and (start == "[" or _FEATURES.search(text)) else 0.0


def read(document: Document) -> Reading:
    """Stories in the order of their priority, the lowest number first, or as their dependencies say."""
    reading = Reading(format=NAME, confidence=1.0, source="SPEC", files=[document.source])
    located = load(document)
    reading.diagnostics.extend(located.diagnostics)
    if not located.ok:
        return reading
    found = _stories(located)
    if found is None:
        message = "there is no list of stories or features in this file"
        hint = 'expected {"userStories": […]} or a list'
        reading.diagnostics.append(document.note("error", "no-tasks", message, located.line(()), hint))
        return reading
    path, items = found
    reading.title = _title(located.data)
    joins = Joins(reading)
    ranks: dict[int, float] = {}
    for index, item in enumerate(items):
        _story(document, located, joins, (*path, index), index, item, ranks)
    joins.resolve()
    report_commands(reading)
    if joins.written:
        return reading
    _chain(joins, ranks)
    return reading


def _stories(located: Located) -> tuple[Key, list[Any]] | None:
    data = located.data
    if isinstance(data, list):
        return (), data
    if not isinstance(data, dict):
        return None
    for key in _LISTS:
        if isinstance(data.get(key), list):
            return (key,), data[key]
    for outer, inner in data.items():
        if isinstance(inner, dict):
            for key in _LISTS[:4]:
                if isinstance(inner.get(key), list):
                    return (outer, key), inner[key]
    return None


def _title(data: object) -> str:
    if isinstance(data, dict):
        for key in ("project", "productName", "title", "name", "feature"):
            value = data.get(key)
            if isinstance(value, str) and value.strip():
                return one_line(value)
            if isinstance(value, dict) and isinstance(value.get("name"), str):
                return one_line(value["name"])
    return ""


def _story(
    document: Document,
    located: Located,
    joins: Joins,
    path: Key,
    index: int,
    item: object,
    ranks: dict[int, float],
) -> None:
    line = located.line(path)
    if isinstance(item, str) and item.strip():
        item = {"title": item}
    if not isinstance(item, dict):
        message = f"entry {index + 1} of the list is no story"
        joins.report("warning", "not-a-task", message, file=document.path, line=line, hint="a story is an object")
        return
    fields = Fields(item, document=document, path=path, located=located)
    value = item.get("id", item.get("key"))
    own = "" if isinstance(value, bool | list | dict) else scalar_text(value).strip()
    if not own:
        own = str(index + 1)
        if not joins.reading.tasks or not any(d.code == "no-id" for d in joins.reading.diagnostics):
            message = f"stories without an id are numbered; the first is called {own!r}"
            joins.report("info", "no-id", message, file=document.path, line=line, hint="give every story an id")
    task = joins.add(fields.task(own))
    for key in FAMILIES["needs"]:
        if key in item:
            joins.written.add(id(task))
            for number, entry in enumerate(listed(item[key])):
                if reference := reference_of(entry):
                    joins.after(task, reference, fields.line_of(key, number))
    if "steps" in item and not task.criteria:
        task.criteria = _steps(item["steps"])
    ranks[id(task)] = _rank(item.get("priority"), fields)
    fields.finish(task, skip=_SAID_ELSEWHERE)
    joins.reading.diagnostics.extend(fields.diagnostics)


def _steps(value: object) -> list[Criterion]:
    """The steps of a feature are one walk through it, to be done by a person or a browser: one check."""
    steps = [text for step in listed(value) if (text := " ".join(text_of(step).split()))]
    return [Criterion(id="c1", kind="manual", text="; ".join(steps))] if steps else []


def _rank(value: object, fields: Fields) -> float:
    """The priority as a number; stories without one come last."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, str):
        word = value.strip().casefold()
        if word in _WORDS:
            return _WORDS[word]
        digits = re.fullmatch(r"p?(\d{1,6})", word)
        if digits:
            return float(digits.group(1))
    if value is not None:
        message = f"the priority {str(value)[:40]!r} is neither a number nor high, medium or low; it comes last"
        fields.note("bad-priority", message, "priority", "use numbers, 1 first")
    return float("inf")


def _chain(joins: Joins, ranks: dict[int, float]) -> None:
    """One story after the other: by priority where there is one, else as they stand in the file."""
    if all(rank == float("inf") for rank in ranks.values()):
        in_order(joins)
        return
    ordered: list[TaskRead] = sorted(joins.reading.tasks, key=lambda task: ranks[id(task)])
    for before, after in pairwise(ordered):
        after.dependencies.append(before.id)
