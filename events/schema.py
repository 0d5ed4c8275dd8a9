"""The catalogue as data: JSON Schemas for whoever reads or writes events without our code."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import msgspec

from events import CATALOGUE
from events.upcasts import version


def catalogue() -> list[dict[str, Any]]:
    """Every fact: name, what it happens to, who may say it, version, and its docstring."""
    return [
        {"name": name, "on": entry.on, "by": list(entry.by), "version": version(name), "doc": _doc(entry.cls)}
        for name, entry in sorted(CATALOGUE.items())
    ]


def _doc(cls: type) -> str:
    return " ".join((inspect.getdoc(cls) or "").split())


def schema_of(name: str) -> dict[str, Any]:
    """The JSON Schema (2020-12) of one fact's body. Raises KeyError."""
    entry = CATALOGUE[name]
    schema = msgspec.json.schema(entry.cls)
    inner = schema["$defs"][entry.cls.__name__]
    if entry.on == "inbox":
        inner["additionalProperties"] = False
    places = {"execution": "-", "branch": "~branch", "inbox": "~in", "lessons": "~lessons", "notices": "~notices"}
    subject = places.get(entry.on, "{task}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": name,
        "description": _doc(entry.cls),
        "x-subject": f"evt.{{tenant}}.{{execution}}.{subject}.{name}",
        "x-said-by": list(entry.by),
        "x-version": version(name),
        **schema,
    }


def write_all(folder: Path) -> list[Path]:
    """Write the schema of every fact as ``<Event>.schema.json``; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name in sorted(CATALOGUE):
        file = folder / f"{name}.schema.json"
        file.write_text(json.dumps(schema_of(name), indent=2, ensure_ascii=False) + "\n")
        files.append(file)
    return files
