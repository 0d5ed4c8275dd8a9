"""The safety rules as people write them: in a plan, in nightshift.toml, for a tenant. What is left out says nothing."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from schemas.safety.operations import OPERATIONS
from schemas.safety.profiles import DEFAULT
from schemas.safety.rules import LOOSEST, STANDS, Safety, Stand, stricter

_LISTED = {
    "allowed_paths": "outside", "forbidden_paths": "forbidden", "forbidden_words": "words",
    "forbidden_content": "content", "commands": "command", "max_lines": "size", "min_alignment": "alignment",
    "tests_required": "tests",
}  # fmt: skip
"""The operation that a list or a limit is about."""


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


Texts = Annotated[
    list[str],
    BeforeValidator(_listed),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]
"""A text, or several. Not those of schemas/plan_parts.py: settings are read by every command, and those are slow."""


def _known(operations: dict[str, Stand]) -> dict[str, Stand]:
    for name in operations:
        if name not in OPERATIONS:
            raise ValueError(f"there is no operation {name!r}; known are {', '.join(OPERATIONS)}")
    return operations


def _expressions(texts: list[str]) -> list[str]:
    for text in texts:
        try:
            re.compile(text)
        except re.error as error:
            raise ValueError(f"{text[:60]!r} is no regular expression: {error}") from None
    return texts


class SafetyModel(BaseModel):
    """What tasks may do. Each field is optional; where several places set one, the stricter wins."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True, use_attribute_docstrings=True, frozen=True)

    operations: Annotated[dict[str, Literal["may", "ask", "never"]], AfterValidator(_known)] = Field(
        default_factory=dict
    )
    """For each operation whether it may be done, needs a person's approval (ask), or is never done: docs/safety.md."""
    allowed_paths: Texts | None = None
    """The only paths that a task may change, as globs: `src/`, `/docs/`, `*.md`."""
    forbidden_paths: Texts = Field(default_factory=list)
    """Paths that no task may change, as globs."""
    forbidden_words: Texts = Field(default_factory=list)
    """Words that need a person when a task is told them."""
    forbidden_content: Annotated[Texts, AfterValidator(_expressions)] = Field(default_factory=list)
    """Regular expressions that need a person when they match a line that a task adds."""
    commands: Texts | None = None
    """The only programs that tasks and checks may start: `pytest`, `python -m build`, `./scripts/*`."""
    max_lines: Annotated[int, Field(ge=0)] | None = None
    """How many lines a task may add and remove in all, outside tests and documents."""
    min_alignment: Annotated[float, Field(ge=0, le=100)] | None = None
    """The least alignment score of a task, of 100."""
    tests_required: bool | None = None
    """Whether a task needs a check that the engine makes by itself, or has to write tests."""
    oracle: Literal["allow", "ask", "refuse"] | None = None
    """What happens when a task changes what judges it: a person is asked, it is refused, or it is allowed."""
    protected_branches: Texts = Field(default_factory=list)
    """Branches, as globs, that nobody here moves, beside the usual ones: a plan whose own branch is one is rejected."""
    push: bool | None = None
    """Whether the engine may push the branch of an execution. Nothing here pushes yet; tasks never do."""


def chosen(model: SafetyModel | None, profile: Safety) -> Safety:
    """What a plan chooses: its own words where it has some, else the profile's. Lists that forbid are added.

    A profile that is stricter than `default` holds: the plan can only be stricter still.
    """
    own = _filled(model, DEFAULT) if model is not None else DEFAULT
    return own if profile == DEFAULT else stricter(own, profile)


def bound(model: SafetyModel | None) -> Safety:
    """What an installation or a tenant insists on; what it leaves out, it leaves open.

    A list or a limit comes with the stand of its operation, so that no plan can keep the list and ignore it.
    """
    if model is None:
        return LOOSEST
    implied = {op: DEFAULT.stand(op) for name, op in _LISTED.items() if getattr(model, name)}
    named = {op: max(implied.get(op, "may"), stand, key=STANDS.index) for op, stand in model.operations.items()}
    filled = _filled(model, LOOSEST)
    return Safety(**{**_fields(filled), "operations": {**implied, **named}})


def _filled(model: SafetyModel, base: Safety) -> Safety:
    fields: dict[str, Any] = _fields(base)
    fields["operations"] = {**base.operations, **model.operations}
    for name in ("allowed_paths", "commands"):
        if (given := getattr(model, name)) is not None:
            fields[name] = (tuple(given),)
    for name in ("forbidden_paths", "forbidden_words", "forbidden_content", "protected_branches"):
        fields[name] = tuple(sorted({*getattr(base, name), *getattr(model, name)}))
    for name in ("max_lines", "min_alignment", "tests_required", "oracle", "push"):
        if (given := getattr(model, name)) is not None:
            fields[name] = given
    return Safety(**fields)


def as_written(safety: Safety) -> dict[str, Any]:
    """The rules as a plan would write them, where they differ from the profile `default`.

    A plan can write one list of what is allowed; where several hold together, only what each of them names is kept.
    """
    found: dict[str, Any] = {}
    stands = {op: safety.stand(op) for op in OPERATIONS if safety.stand(op) != DEFAULT.stand(op)}
    if stands:
        found["operations"] = stands
    for name in ("allowed_paths", "commands"):
        lists = getattr(safety, name)
        if lists:
            found[name] = [entry for entry in lists[0] if all(entry in other for other in lists)]
    for name in ("forbidden_paths", "forbidden_words", "forbidden_content", "protected_branches"):
        more = [entry for entry in getattr(safety, name) if entry not in getattr(DEFAULT, name)]
        if more:
            found[name] = more
    for name in ("max_lines", "min_alignment", "tests_required", "oracle", "push"):
        if (value := getattr(safety, name)) != getattr(DEFAULT, name):
            found[name] = value
    return found


def _fields(safety: Safety) -> dict[str, Any]:
    return {name: getattr(safety, name) for name in Safety.__slots__}
