"""The generated parts of the documents: ``python -m nightshift.documents`` writes them, a test compares them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from events.machines import BRANCH, EXECUTION, TASK
from events.schema import catalogue, schema_of, write_all
from schemas.plan import plan_schema
from schemas.safety.describe import tables
from schemas.settings import Settings


def states() -> str:
    """The state tables, drawn and as rows."""
    parts = []
    for life in (EXECUTION, TASK, BRANCH):
        rows = "\n".join(f"| {a} | {fact.__name__} | {b} |" for fact, a, b in life.rows)
        parts.append(
            f"### {life.name.capitalize()}\n\n```mermaid\n{life.drawing()}\n```\n\n"
            f"<details><summary>{len(life.rows)} rows</summary>\n\n"
            f"| from | event | to |\n|---|---|---|\n{rows}\n\n</details>"
        )
    return "\n\n".join(parts)


def events() -> str:
    """Every event: what it means, what it happens to, who says it."""
    parts = []
    for entry in catalogue():
        name = entry["name"]
        fields = schema_of(name)["$defs"][name]["properties"]
        parts.append(
            f"### {name}\n\n{entry['doc']}\n\n"
            f"On: {entry['on']} · said by: {', '.join(entry['by'])} · version {entry['version']} · "
            f"[schema](../schemas/events/{name}.schema.json)\n\n"
            f"Fields: {', '.join(f'`{field}`' for field in fields) or 'none'}"
        )
    return "\n\n".join(parts)


def settings() -> str:
    """Every setting."""
    rows = [
        f"| `{name}` | `NIGHTSHIFT_{name.upper()}` | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join(["| in nightshift.toml | in the environment | meaning |", "|---|---|---|", *rows])


def plans() -> str:
    """Every field of the native plan."""
    schema = plan_schema()
    parts = [_fields("plan", schema)]
    parts += [_fields(name, part) for name, part in schema["$defs"].items() if part.get("properties")]
    return "\n\n".join(parts)


def _fields(name: str, schema: dict[str, Any]) -> str:
    needed = set(schema.get("required", ()))
    rows = [
        f"| `{field}`{' (required)' if field in needed else ''} | {' '.join(about.get('description', '').split())} |"
        for field, about in schema["properties"].items()
    ]
    head = f"### {name}\n\n{' '.join(schema.get('description', '').split())}\n\n"
    return head + "\n".join(["| field | meaning |", "|---|---|", *(row.replace("\\|", "|") for row in rows)])


GENERATED = {
    "README.md": ("states", states),
    "docs/events.md": ("events", events),
    "docs/settings.md": ("settings", settings),
    "docs/plans.md": ("plans", plans),
    "docs/safety.md": ("safety", tables),
}


def renewed(page: str, text: str) -> str:
    """A page's text with its generated section as it should be now."""
    name, make = GENERATED[page]
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    return re.sub(f"{begin}.*{end}", lambda _: f"{begin}\n{make()}\n{end}", text, flags=re.DOTALL)


def write(root: Path) -> None:
    """Renew all generated sections and exported schemas below the project's folder."""
    for page in GENERATED:
        path = root / page
        path.write_text(renewed(page, path.read_text()))
    write_all(root / "schemas" / "events")
    schema = json.dumps(plan_schema(), indent=2, ensure_ascii=False)
    (root / "schemas" / "plan.schema.json").write_text(schema + "\n")


if __name__ == "__main__":
    write(Path(__file__).resolve().parent.parent)
