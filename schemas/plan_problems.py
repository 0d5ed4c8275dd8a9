"""What pydantic found wrong with a native plan, in words for its author."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ValidationError

from schemas.formats.positions import Located, scalar_text
from schemas.health import HealthModel, LimitModel, ProgressModel, ShareModel, SilenceModel
from schemas.plan import (
    BackoffModel,
    MetadataModel,
    PhaseModel,
    PlanModel,
    PolicyModel,
    RepoModel,
    TaskModel,
    spellings,
)
from schemas.plan_parts import CheckModel
from schemas.reading import Diagnostic
from schemas.validate import suggest

_DURATIONS = frozenset(
    {"timeout", "first", "max", "grace", "estimate", "checkpoint_interval", "warn", "interrupt", "kill", "busy"}
)
_KINDS = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a smaller number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping of names to values",
    "model_type": "a mapping of names to values",
    "model_attributes_type": "a mapping of names to values",
}
_BOUNDS = {
    "greater_than_equal": ("ge", "at least"),
    "less_than_equal": ("le", "at most"),
    "greater_than": ("gt", "more than"),
    "less_than": ("lt", "less than"),
}


class Problems:
    """Turns validation errors into diagnostics with lines. ``base`` is where ``tasks`` stands in the data."""

    def __init__(self, located: Located, file: str, base: tuple[str | int, ...]) -> None:
        self.located = located
        self.file = file
        self.base = base

    def of(self, error: ValidationError, prefix: tuple[str | int, ...], data: object) -> list[Diagnostic]:
        """One diagnostic for each problem; ``prefix`` is the path of ``data`` in the plan."""
        return [self._one(problem, prefix, data) for problem in error.errors(include_url=False)]

    def _one(self, problem: Any, prefix: tuple[str | int, ...], data: object) -> Diagnostic:
        path = (*prefix, *problem["loc"])
        kind, given = problem["type"], problem.get("input")
        where, key = self._place(path, data)
        hint = ""
        code = "bad-value"
        of = f"{key!r} of {where}" if key else where
        if kind == "extra_forbidden":
            code, message, hint = self._unknown(path, where, str(path[-1]))
        elif kind == "missing":
            code = "missing-id" if path[-1] == "id" else "missing-key"
            message, hint = f"{where} has no {str(path[-1])!r}", f"add {path[-1]!s}: …"
            path = path[:-1]
        elif kind in _KINDS:
            code = "bad-type"
            message = f"{of} must be {_KINDS[kind]}, not {_shown(given)}"
            hint = 'put quotes around it, like "…"' if kind == "string_type" and isinstance(given, bool) else ""
        elif kind == "literal_error":
            message = f"{of} must be one of {problem['ctx']['expected']}, not {_shown(given)}"
        elif kind in _BOUNDS:
            name, words = _BOUNDS[kind]
            message = f"{of} must be {words} {problem['ctx'][name]:g}, not {_shown(given)}"
        elif kind in ("string_too_short", "too_short"):
            message = f"{of} must not be empty"
        elif kind in ("string_too_long", "too_long"):
            message = f"{of} is longer than {problem['ctx']['max_length']} characters"
        elif kind == "string_pattern_mismatch":
            message = f"{of} must begin with http:// or https://, not {_shown(given)}"
        else:
            reason = str(problem.get("ctx", {}).get("error", "the value is not allowed"))
            message, code = f"{of}: {reason}", self._code(path, key)
        return Diagnostic("error", code, message, self.file, self.line(path), hint)

    def line(self, path: tuple[str | int, ...]) -> int | None:
        """The line of a path in the plan; other spellings of its last key are tried."""
        real = (*self.base, *path[1:]) if path[:1] == ("tasks",) else path
        if real and real not in self.located.lines and isinstance(real[-1], str):
            model = _model(path[:-1])
            for names in spellings(model).values() if model else ():
                if real[-1] in names:
                    for other in names:
                        if (*real[:-1], other) in self.located.lines:
                            return self.located.lines[(*real[:-1], other)]
        return self.located.line(real)

    def _place(self, path: tuple[str | int, ...], data: object) -> tuple[str, str]:
        """Who has the problem, and with which key."""
        if path[:1] == ("tasks",) and len(path) > 1:
            name = data.get("id") if isinstance(data, dict) else None
            known = isinstance(name, str | int | float) and not isinstance(name, bool)
            where = f"task {scalar_text(name)!r}" if known else f"task number {int(path[1]) + 1}"
            rest = path[2:]
        else:
            where, rest = "the plan", path
        words = [str(part + 1) if isinstance(part, int) else part for part in rest]
        return where, " ".join(words)

    def _unknown(self, path: tuple[str | int, ...], where: str, key: str) -> tuple[str, str, str]:
        model = _model(path[:-1])
        names = [name for group in spellings(model).values() for name in group] if model else []
        inside = f" in {_inner(path)}" if _inner(path) else ""
        if key in names:
            same = next(group for group in spellings(model or PlanModel).values() if key in group)
            return (
                "repeated-key",
                f"{where} says {key!r}{inside} and {same[0]!r}, which mean the same",
                "keep one of them",
            )
        near = suggest(key, names)
        first = [group[0] for group in spellings(model).values()] if model else []
        hint = f"did you mean {near!r}?" if near else "known keys: " + ", ".join(first)
        return "unknown-key", f"{where} has the unknown key {key!r}{inside}", hint

    def _code(self, path: tuple[str | int, ...], key: str) -> str:
        last = path[-1] if path else ""
        if last in _DURATIONS:
            return "bad-duration"
        if last in ("regex", "absent"):
            return "bad-regex"
        if len(path) == 2 and path[0] == "tasks":
            return "bad-task"
        return "bad-check" if _model(path) is CheckModel else "bad-value"


def _inner(path: tuple[str | int, ...]) -> str:
    parts = path[2:-1] if path[:1] == ("tasks",) else path[:-1]
    return " ".join(str(part + 1) if isinstance(part, int) else part for part in parts)


def _model(path: tuple[str | int, ...]) -> type[BaseModel] | None:
    """The model that describes what stands at a path."""
    words = tuple(part for part in path if isinstance(part, str))
    if words and words[-1] in ("verify", "verification"):
        return CheckModel
    models: dict[tuple[str, ...], type[BaseModel]] = {
        (): PlanModel,
        ("tasks",): TaskModel,
        ("policy",): PolicyModel,
        ("policy", "backoff"): BackoffModel,
        ("policy", "health"): HealthModel,
        ("policy", "health", "duration"): LimitModel,
        **{("policy", "health", name): ShareModel for name in ("timeout", "memory", "disk")},
        ("policy", "health", "silence"): SilenceModel,
        ("policy", "health", "progress"): ProgressModel,
        ("repo",): RepoModel,
        ("metadata",): MetadataModel,
        ("phases",): PhaseModel,
    }
    return models.get(words)


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "nothing"
    text = scalar_text(value)
    text = text if len(text) <= 40 else text[:40] + "…"
    return repr(text) if isinstance(value, str) else text
