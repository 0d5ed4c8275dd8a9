"""`policy.health` as written by hand: for each measure a limit and an action, a bare limit, or `off`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from schemas.plan_parts import DURATION_SCHEMA, Part, Seconds
from schemas.values import Health, HealthAction, Progress, Watch

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(gt=0, le=1)]


class LimitModel(Part):
    """A limit as a factor, and what is done beyond it."""

    limit: Positive | None = None
    """From which measure on; the usual one by default."""
    action: HealthAction = "warn"
    """warn; interrupt: end the attempt and try again; fail: end it for good; off: do not watch."""


class ShareModel(Part):
    """A limit as a share from 0 to 1, and what is done beyond it."""

    limit: Share | None = None
    """From which measure on; the usual one by default."""
    action: HealthAction = "warn"
    """warn; interrupt: end the attempt and try again; fail: end it for good; off: do not watch."""


class SilenceModel(Part):
    """A limit as a duration, and what is done beyond it."""

    limit: Annotated[Seconds, Field(gt=0)] | None = None
    """From which measure on; 10m by default."""
    action: HealthAction = "warn"
    """warn; interrupt: end the attempt and try again; fail: end it for good; off: do not watch."""


class ProgressModel(Part):
    """How long an attempt may show no progress: no output, no change of its files, no CPU time of its processes."""

    warn: Annotated[Seconds, Field(gt=0)] = 600.0
    """After this the engine warns."""
    interrupt: Annotated[Seconds, Field(gt=0)] = 1200.0
    """After this the attempt is asked to end."""
    kill: Seconds = 30.0
    """How much later it is killed."""
    busy: Seconds = 3600.0
    """For how long CPU time without output and without a changed file counts as progress."""
    action: HealthAction = "interrupt"
    """warn; interrupt: end the attempt and try again; fail: end it for good; off: do not watch."""

    @model_validator(mode="after")
    def _in_order(self) -> ProgressModel:
        if self.interrupt < self.warn:
            raise ValueError(f"interrupt ({self.interrupt:g} s) comes before warn ({self.warn:g} s); make it longer")
        return self


def _short(value: object) -> object:
    """A bare limit, or off (which YAML reads as false)."""
    if value is False or value == "off":
        return {"action": "off"}
    return {"limit": value} if isinstance(value, int | float | str) and value is not True else value


def _switched(value: object) -> object:
    return {"action": "off"} if value is False or value == "off" else value


@dataclass(frozen=True)
class _Or:
    """In the exported schema: the model, or one of the short forms."""

    short: tuple[dict[str, Any], ...]

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [*self.short, {"enum": ["off", False]}, handler(core)]}


_NUMBER: dict[str, Any] = {"type": "number", "exclusiveMinimum": 0}
_SHARE = {**_NUMBER, "maximum": 1}
_Factor = Annotated[LimitModel, BeforeValidator(_short), _Or((_NUMBER,))]
_Share = Annotated[ShareModel, BeforeValidator(_short), _Or((_SHARE,))]
_Silence = Annotated[SilenceModel, BeforeValidator(_short), _Or((DURATION_SCHEMA,))]
_Progress = Annotated[ProgressModel, BeforeValidator(_switched), _Or(())]


class HealthModel(Part):
    """What is watched while a task runs. Each measure is a limit, `off`, or a mapping of limit and action."""

    duration: _Factor = LimitModel()
    """How many times its estimate a task may take; 2 by default."""
    timeout: _Share = ShareModel()
    """Which share of its timeout an attempt may take; 0.8 by default."""
    memory: _Share = ShareModel()
    """Which share of its memory limit a task may take; 0.8 by default."""
    silence: _Silence = SilenceModel()
    """How long a task may print nothing; 10m by default."""
    disk: _Share = ShareModel()
    """Which share of the disk must be free; 0.1 by default."""
    progress: _Progress = ProgressModel()
    """The watchdog: how long a task may do nothing at all."""


def health_value(model: HealthModel) -> Health:
    """The watches as values, with the usual limits where none is given."""
    usual = Health()

    def watch(given: LimitModel | ShareModel | SilenceModel, default: Watch) -> Watch:
        return Watch(limit=default.limit if given.limit is None else given.limit, action=given.action)

    progress = model.progress
    return Health(
        duration=watch(model.duration, usual.duration),
        timeout=watch(model.timeout, usual.timeout),
        memory=watch(model.memory, usual.memory),
        silence=watch(model.silence, usual.silence),
        disk=watch(model.disk, usual.disk),
        progress=Progress(
            warn=progress.warn, interrupt=progress.interrupt, kill=progress.kill, busy=progress.busy,
            action=progress.action,
        ),
    )  # fmt: skip
