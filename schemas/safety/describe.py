"""The safety rules for people: tables made from the data, for docs/safety.md."""

from __future__ import annotations

from collections.abc import Iterable

from schemas.safety.operations import OPERATIONS
from schemas.safety.profiles import PROFILES
from schemas.safety.rules import Safety
from schemas.safety.runners import ECOSYSTEMS, GATE


def tables() -> str:
    """Operations, what they are recognised by, the rows of the profiles, and what steers a runner."""
    return "\n\n".join((_operations(), _signs(), _profiles(), _ecosystems()))


def _operations() -> str:
    rows = [f"| `{o.name}` | {o.meaning} | {o.severity} | {o.default} | {o.overnight} |" for o in OPERATIONS.values()]
    head = ["| operation | meaning | severity | default, maestro, build | overnight |", "|---|---|---|---|---|"]
    return "### Operations\n\n" + "\n".join((*head, *rows))


def _signs() -> str:
    rows = []
    for operation in OPERATIONS.values():
        signs = [
            f"{what}: {_code(values)}"
            for what, values in (
                ("paths", operation.paths), ("words", operation.words), ("added lines", operation.content),
                ("commands", operation.commands),
            )
            if values
        ]  # fmt: skip
        if signs:
            rows.append(f"| `{operation.name}` | {'<br>'.join(signs)} |")
    return "### What they are recognised by\n\n" + "\n".join(("| operation | signs |", "|---|---|", *rows))


def _profiles() -> str:
    names = ("allowed_paths", "max_lines", "min_alignment", "tests_required", "oracle", "protected_branches", "push")
    rows = [f"| `{name}` | {' | '.join(_shown(safety, name) for safety in PROFILES.values())} |" for name in names]
    head = [f"| rule | {' | '.join(PROFILES)} |", "|---" * (len(PROFILES) + 1) + "|"]
    return "### Profiles\n\n" + "\n".join((*head, *rows))


def _shown(safety: Safety, name: str) -> str:
    value = getattr(safety, name)
    if name == "allowed_paths":
        return _code(value[0]) if value else "any"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return _code(value)
    return "–" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _ecosystems() -> str:
    rows = [
        f"| {e.name} | {_code(e.programs)} | {_code((*e.loaded, *e.config))} "
        f"| {_code((*e.hooks, *e.hooks_in_code)) or '–'} |"
        for e in ECOSYSTEMS
    ]
    head = ["| ecosystem | programs | files that steer them | added lines that reach into them |", "|---|---|---|---|"]
    return f"### What steers a runner\n\nAlways: {_code(GATE)}\n\n" + "\n".join((*head, *rows))


def _code(values: Iterable[str]) -> str:
    return ", ".join(f"`{value}`".replace("|", "\\|") for value in values)
