"""Read a projection: one ``.sql`` file with a ``create`` section and ``fold`` sections over the relation ``batch``.

A fold is run only for batches that hold an event it names; one that names none is run always. There are no migrations:
the hash of a projection covers its SQL and the state tables, and when it changes the projection is made anew.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from events import CATALOGUE
from events.machines import EXECUTION, TASK
from events.upcasts import version

FOLDER = Path(__file__).parent
AUDIT = "events"
"""The projection that holds every event; the others can be folded anew from it."""
ORDER = (
    "events", "quarantine", "decisions", "criteria", "test_results", "gates", "checkpoints", "warnings", "attempts",
    "notices", "tasks", "executions",
)  # fmt: skip
"""In which order they are created and folded: what looks at a table comes after it."""

_SECTION = re.compile(r"^-- (create|fold) --$", re.MULTILINE)
_CREATED = re.compile(r"^create (table|view) (\w+)", re.MULTILINE)
_LITERAL = re.compile(r"'([A-Z][a-z]+(?:[A-Z][a-z]+)+)'")


class BadProjection(ValueError):
    """A projection's file is not as it must be."""


@dataclass(frozen=True, slots=True)
class Fold:
    """A fold section, and the events it is for; none means all."""

    sql: str
    events: frozenset[str]

    def concerns(self, names: set[str]) -> bool:
        """Whether it has anything to do for a batch with these events."""
        return not self.events or not self.events.isdisjoint(names)


@dataclass(frozen=True, slots=True)
class Projection:
    """A projection as read from its file."""

    name: str
    create: str
    folds: tuple[Fold, ...]
    tables: tuple[str, ...]
    views: tuple[str, ...]
    hash: str


def lifecycle_rows() -> list[tuple[str, str, str, str]]:
    """The state tables as rows (life, event, source, target), for SQL to join with."""
    return [(life.name, fact.__name__, a, b) for life in (EXECUTION, TASK) for fact, a, b in life.rows]


def catalogue_shape() -> str:
    """What decides how a stored body becomes the column ``data``: the facts, their fields and their versions."""
    _, components = msgspec.json.schema_components([entry.cls for entry in CATALOGUE.values()])
    versions = {name: version(name) for name in sorted(CATALOGUE)}
    return msgspec.json.encode([_undescribed(components), versions], order="sorted").decode()


def _undescribed(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {k: _undescribed(v) for k, v in schema.items() if k != "description" or not isinstance(v, str)}
    if isinstance(schema, list):
        return [_undescribed(item) for item in schema]
    return schema


def read(path: Path) -> Projection:
    """Read a projection's file. Raises BadProjection."""
    text = path.read_text(encoding="utf-8")
    parts = _SECTION.split(text)
    sections = list(zip(parts[1::2], (p.strip() for p in parts[2::2]), strict=True))
    creates = [body for kind, body in sections if kind == "create"]
    if len(creates) != 1 or len(sections) < 2:
        raise BadProjection(f"{path.name} needs one create section and at least one fold section")
    made = _CREATED.findall(creates[0])
    material: list[Any] = [text, lifecycle_rows()]
    if path.stem == AUDIT:
        material.append(catalogue_shape())
    return Projection(
        name=path.stem,
        create=creates[0],
        folds=tuple(Fold(body, frozenset(_named(body))) for kind, body in sections if kind == "fold"),
        tables=tuple(name for kind, name in made if kind == "table"),
        views=tuple(name for kind, name in made if kind == "view"),
        hash=hashlib.sha256(msgspec.json.encode(material)).hexdigest(),
    )


def literals(sql: str) -> set[str]:
    """The event names that stand in a piece of SQL, as string literals."""
    return set(_LITERAL.findall(sql))


def _named(sql: str) -> Iterator[str]:
    yield from literals(sql)
    if re.search(r"\bleads\b", sql):
        yield from (event for life, event, _, _ in lifecycle_rows() if f"'{life}'" in sql)


def read_all(folder: Path = FOLDER) -> tuple[Projection, ...]:
    """Every projection of a folder, in the order in which they are folded."""
    found = {path.stem: read(path) for path in sorted(folder.glob("*.sql"))}
    if AUDIT not in found:
        raise BadProjection(f"{folder} has no {AUDIT}.sql")
    names = [n for n in ORDER if n in found] + [n for n in found if n not in ORDER]
    return tuple(found[name] for name in names)
