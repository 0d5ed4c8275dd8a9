"""The native plan's scalars and checks: what a text, a duration or a check may look like when written by hand."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)

from schemas.formats.markings import duration, status_of
from schemas.formats.markings import estimate as read_estimate
from schemas.formats.positions import scalar_text
from schemas.names import SECRET_NAME
from schemas.targets import read_target

DURATION_SCHEMA = {
    "anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": r"^(\d+(\.\d+)?(ms|s|m|h|d))+$"}],
    "examples": ["30s", "5m", "1h30m", 90],
}
TEXT_SCHEMA = {"type": ["string", "number"]}


def _text(value: object) -> object:
    """Numbers are taken as they were written; true, false, null, lists and mappings are no text."""
    return scalar_text(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _value(value: object) -> object:
    return scalar_text(value) if isinstance(value, int | float | bool) else value


def _listed(value: object) -> object:
    return [value] if isinstance(value, str | int | float | dict) and not isinstance(value, bool) else value


def _estimate(value: object) -> object:
    try:
        return duration(value)
    except ValueError:
        found = read_estimate(value) if isinstance(value, str) else None
        if found is None:
            raise ValueError(f"{value!r} is no estimate; write it like 30m, 2h or '4-6 hours'") from None
        return found.minutes * 60


def _granted(value: object) -> object:
    """Names, or mappings of a name to its variable, one or several, become one mapping."""
    found: dict[str, str] = {}
    for one in value if isinstance(value, list) else [value]:
        if not isinstance(one, str | dict):
            raise ValueError(f"{one!r} is neither the name of a secret nor a mapping of a name to a variable")
        for name, variable in ({one: one} if isinstance(one, str) else one).items():
            for word in (name, variable):
                if not isinstance(word, str) or not re.fullmatch(SECRET_NAME, word):
                    raise ValueError(f"{word!r} is no name: letters, digits and _, not first a digit, up to 100")
            if variable.startswith("NIGHTSHIFT_"):
                raise ValueError(f"the variable {variable} is the engine's own; give it another: {{{name}: VARIABLE}}")
            if name in found:
                raise ValueError(f"the secret {name} is named twice")
            if variable in found.values():
                raise ValueError(f"two secrets have the variable {variable}")
            found[name] = variable
    return found


def _pattern(value: object) -> object:
    if isinstance(value, str):
        if len(value) > 1000:
            raise ValueError("a regular expression of more than 1000 characters is refused")
        try:
            re.compile(value)
        except (re.error, RecursionError, OverflowError) as error:
            raise ValueError(f"{value[:60]!r} is no regular expression: {error}") from None
    return value


def read_priority(value: object) -> object:
    return {"low": 2, "normal": 5, "high": 8}.get(value, value) if isinstance(value, str) else value


def read_status(value: object) -> object:
    found = status_of(value)
    return value if found is None else found


Text = Annotated[str, BeforeValidator(_text), WithJsonSchema(TEXT_SCHEMA)]
Name = Annotated[str, BeforeValidator(_text), Field(min_length=1, max_length=400), WithJsonSchema(TEXT_SCHEMA)]
Value = Annotated[str, BeforeValidator(_value), WithJsonSchema({"type": ["string", "number", "boolean"]})]
Seconds = Annotated[float, BeforeValidator(duration), WithJsonSchema(DURATION_SCHEMA)]
Expected = Annotated[float, BeforeValidator(_estimate), WithJsonSchema(DURATION_SCHEMA)]
Pattern = Annotated[str, BeforeValidator(_pattern)]
_NAME_SCHEMA = {"type": "string", "pattern": f"^{SECRET_NAME}$"}
_GRANT_SCHEMA = [_NAME_SCHEMA, {"type": "object", "additionalProperties": _NAME_SCHEMA}]
Granted = Annotated[
    dict[str, str],
    BeforeValidator(_granted),
    WithJsonSchema({"anyOf": [*_GRANT_SCHEMA, {"type": "array", "items": {"anyOf": _GRANT_SCHEMA}}]}),
]
Texts = Annotated[
    list[Text],
    BeforeValidator(_listed),
    WithJsonSchema({"anyOf": [TEXT_SCHEMA, {"type": "array", "items": TEXT_SCHEMA}]}),
]


class Part(BaseModel):
    """Unknown keys are errors, so that a typing mistake is not silently a default."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, use_attribute_docstrings=True)

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """Itself, for nobody changes it: pydantic copies a default part for each task of a plan otherwise."""
        return self


KINDS = ("command", "file", "regex", "http", "tests", "quality", "manual")
RUNNERS = ("pytest", "unittest", "node", "vitest", "jest", "cargo", "go")
GATES = (
    "ruff", "mypy", "pyright", "eslint", "prettier", "secrets", "audit", "documentation", "coverage", "gate",
)  # fmt: skip


def _gate(value: object) -> object:
    if value not in ("auto", *GATES):
        raise ValueError(f"{value!r} is no quality gate; there are auto, {', '.join(GATES)}")
    return value


def _policy_gates(value: object) -> object:
    """`off` is written without quotes, and is then false in YAML."""
    return [] if value in ("off", False, None) else _listed(value)


def _switch(value: object) -> object:
    return "off" if value is False else value


Gate = Annotated[str, BeforeValidator(_gate), WithJsonSchema({"enum": ["auto", *GATES]})]
_GATES_SCHEMA = {"type": "array", "items": {"enum": ["auto", *GATES]}}
Gates = Annotated[
    list[Gate], BeforeValidator(_listed), WithJsonSchema({"anyOf": [{"enum": ["auto", *GATES]}, _GATES_SCHEMA]})
]
PolicyGates = Annotated[
    list[Gate],
    BeforeValidator(_policy_gates),
    WithJsonSchema({"anyOf": [{"enum": ["auto", "off", False, *GATES]}, _GATES_SCHEMA]}),
]
PolicyTests = Annotated[
    Literal["auto", "off"], BeforeValidator(_switch), WithJsonSchema({"enum": ["auto", "off", False]})
]
Runner = Annotated[Literal["pytest", "unittest", "node", "vitest", "jest", "cargo", "go"], BeforeValidator(_text)]


class CheckModel(Part):
    """A check that must pass before a task counts as done: command, file, regex, http, tests, quality or manual."""

    command: Text | None = None
    """A shell command, run in a clean checkout of the result; passes on exit code 0 unless `exit_code` says another."""
    file: Text | None = None
    """A path that must exist, and satisfy `contains`, `absent` and `min_lines` where given."""
    regex: Pattern | None = None
    """A regular expression that must be found in what `in` names."""
    http: Annotated[str, Field(pattern=r"^https?://")] | None = None
    """An address that must answer a GET request with `status`, and hold `contains`; the task needs network for it."""
    tests: Text | None = Field(default=None, min_length=1)
    """Tests that must be run and pass: `auto` (those that belong to the task), or a path or glob in the repository."""
    quality: Gates | None = Field(default=None, min_length=1)
    """Quality gates that may find nothing new: `auto` (those the project uses), or names such as `[ruff, mypy]`."""
    manual: Text | None = None
    """What a person has to confirm."""
    runner: Runner | None = None
    """For tests: the program that runs them; found out from the project by default."""
    measure: Pattern | None = None
    """For command with `target`: a regular expression for what it prints that ends with the measured value."""
    exit_code: Annotated[int, Field(ge=0, le=255)] | None = None
    """For command: the exit code that passes."""
    expect: Text | None = None
    """For command: what the last line of its output must be."""
    secrets: Granted | None = None
    """For command: the secrets that it may see, as variables; those of its task are not passed on."""
    contains: Text | None = None
    """For file and http: literal text that must occur."""
    absent: Pattern | None = None
    """For file: a regular expression that must not match anywhere."""
    min_lines: Annotated[int, Field(ge=0)] | None = None
    """For file: at least so many lines."""
    source: Text | None = Field(default=None, alias="in")
    """For regex: `output` (what the task printed; the default) or the path of a file."""
    status: Annotated[int, Field(ge=100, le=599)] | None = None
    """For http: the status code that passes; 200 by default."""
    id: Name | None = None
    """A name for the check, unique in its task; c1, c2 … by default."""
    text: Text | None = Field(default=None, validation_alias=AliasChoices("text", "criterion"))
    """What is checked, in words."""
    category: Text | None = Field(default=None, validation_alias=AliasChoices("category", "type"))
    """A heading for reports, such as performance, test, security, documentation."""
    timeout: Seconds | None = None
    """How long it may take; 5m by default."""
    negate: bool = False
    """It passes when the check fails: something that must not be so."""
    target: Text | None = None
    """A threshold such as `p95<200ms`: for command what it prints last (`p95=180ms`), for tests what was counted."""
    test: Literal["auto", "manual"] | None = None
    """With `criterion`: whether a person (manual) or the engine (auto) decides."""

    @model_validator(mode="after")
    def _one_kind(self) -> CheckModel:
        kinds = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(kinds) > 1:
            raise ValueError(f"a check is one thing, but this one names {' and '.join(kinds)}")
        if not kinds and not self.text:
            raise ValueError(f"a check needs one of {', '.join(KINDS[:-1])} or {KINDS[-1]}")
        kind = kinds[0] if kinds else "manual"
        for name, allowed in _BELONGS.items():
            if getattr(self, name) is not None and kind not in allowed:
                shown = "in" if name == "source" else name
                raise ValueError(f"{shown!r} belongs to a check of kind {' or '.join(allowed)}, not {kind}")
        if self.target is not None and kind in ("command", "tests") and not read_target(self.target).name:
            raise ValueError(f"the target {self.target!r} does not say what is measured; write it like p95<200ms")
        return self


_BELONGS: dict[str, tuple[str, ...]] = {
    "exit_code": ("command",),
    "expect": ("command",),
    "secrets": ("command",),
    "contains": ("file", "http"),
    "absent": ("file",),
    "min_lines": ("file",),
    "source": ("regex",),
    "status": ("http",),
    "runner": ("tests",),
    "measure": ("command",),
}


def _check(value: object) -> object:
    """A bare text is a check in words; objects in the form of older documents are brought into ours."""
    if isinstance(value, str):
        return {"text": value}
    if not isinstance(value, dict) or "checkType" not in value:
        return value
    given = dict(value)
    kind, arguments = given.pop("checkType"), given.pop("args", None) or []
    given.pop("status", None)
    given.pop("result", None)
    if "key" in given:
        given["id"] = given.pop("key")
    if kind not in ("command", "regex", "file", "http") or not isinstance(arguments, list):
        raise ValueError(f"checkType {kind!r} is none of command, regex, file, http")
    words = [str(argument) for argument in arguments]
    if not words:
        raise ValueError(f"checkType {kind} needs args")
    given[str(kind)] = " ".join(words) if kind == "command" else words[0]
    if kind == "file" and len(words) > 1:
        given["contains"] = words[1]
    if kind == "regex" and len(words) > 1:
        given["in"] = words[1]
    return given


Check = Annotated[CheckModel, BeforeValidator(_check)]
Checks = Annotated[list[Check], BeforeValidator(_listed)]
