"""Who is told what, and where: the section ``[notify]`` of nightshift.toml. Lengths of time are seconds."""

from __future__ import annotations

import re
import string
from datetime import time
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

Severity = Literal["info", "warning", "error", "critical"]
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "error", "critical")
Column = Literal["voice", "push", "discord", "all"]
Role = Literal["developer", "manager", "stakeholder"]
ChannelKind = Literal["voice", "ntfy", "discord", "webhook", "desktop", "email", "apprise", "log", "plugin"]
COLUMNS: dict[ChannelKind, Column] = {
    "voice": "voice", "ntfy": "push", "desktop": "push", "apprise": "push", "discord": "discord", "email": "discord",
    "webhook": "all", "log": "all", "plugin": "all",
}  # fmt: skip
"""Which column of the founding routing table a kind of channel follows unless it names another."""
FIELDS = (
    "plan",
    "execution",
    "task",
    "title",
    "reason",
    "attempts",
    "done",
    "total",
    "duration",
    "phase",
    "event",
    "tenant",
)
"""What a template may name."""
URL_KINDS = ("webhook", "email", "apprise")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"there is no time zone {name!r}; write one such as Europe/Berlin or UTC") from error
    return name


def _template(text: str) -> str:
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError as error:
        raise ValueError(f"the template {text!r} cannot be read: {error}") from error
    for _, field, spec, conversion in parts:
        if field is not None and (field not in FIELDS or spec or conversion):
            raise ValueError(f"the template names {{{field}}}; it may name {', '.join(FIELDS)}, without a format")
    return text


class Model(BaseModel):
    """Nothing unknown is let through: a misspelt setting is an error and not a silence."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Quiet(Model):
    """Hours in which only the severe is said; the end may be on the next day."""

    start: time = Field(description="Begin, such as 22:00.")
    end: time = Field(description="End, such as 07:00.")
    zone: Annotated[str, AfterValidator(_zone)] = Field(default="UTC", description="Time zone of both.")
    unless: Severity = Field(default="critical", description="From this severity on it is said all the same.")


class Condition(Model):
    """All that is named must hold."""

    duration_over: float | None = Field(default=None, ge=0, description="What it is about took longer than this.")
    attempt_from: int | None = Field(default=None, ge=1, description="It is at least this attempt.")
    severity_from: Severity | None = Field(default=None, description="It is at least so severe.")
    quiet: Quiet | None = Field(default=None, description="Not in these hours.")


class Rule(Model):
    """One thing that is to be told."""

    event: str = Field(description="A kind of notice (task_failed) or an event by its name (TaskFailed).")
    channels: tuple[str, ...] = Field(default=(), description="Channels by name.")
    columns: tuple[Column, ...] = Field(default=(), description="Every channel that follows one of these columns.")
    tenant: str | None = Field(default=None, description="Only for this customer.")
    when: Condition = Field(default_factory=Condition, description="Conditions.")
    template: Annotated[str, AfterValidator(_template)] | None = Field(
        default=None, description="What is said instead of the text of its kind."
    )


class Channel(Model):
    """A place where notices go."""

    kind: ChannelKind = Field(description="How it is spoken to.")
    enabled: bool = Field(default=True, description="Off: nothing goes there.")
    url: SecretStr | None = Field(default=None, description="Where it is.")
    topic: SecretStr | None = Field(default=None, description="ntfy: the topic.")
    token: SecretStr | None = Field(default=None, description="ntfy: an access token.")
    secret: SecretStr | None = Field(default=None, description="webhook: what its signature is made with.")
    file: str | None = Field(default=None, description="log: the file, relative to the state folder.")
    voice_id: str | None = Field(default=None, description="voice: whose voice.")
    title: str | None = Field(default=None, description="voice: the title of what is said.")
    options: dict[str, Any] = Field(default_factory=dict, description="plugin: what it is given beside the notice.")
    column: Column | None = Field(default=None, description="Which column of the routing table it follows.")
    tenant: str | None = Field(default=None, description="Only what concerns this customer goes there.")
    roles: tuple[Role, ...] = Field(default=(), description="Who reads it; empty: everybody.")
    quiet: Quiet | None = Field(default=None, description="Not in these hours.")
    attach: bool | None = Field(default=None, description="Send the report along; unless said: Discord and e-mail do.")
    gather: float = Field(default=1.0, ge=0, le=60, description="How long what happens together is gathered.")
    window: float = Field(default=60.0, ge=0, le=3600, description="At most one message about tasks in this time.")
    limit: int = Field(default=8, ge=1, le=1000, description="Messages in a minute; above it they are put together.")
    timeout: float = Field(default=20.0, gt=0, le=600, description="How long it may take to take a message.")
    tries: int = Field(default=12, ge=1, le=50, description="Tries before a message is given up.")
    stale: float = Field(
        default=300.0, gt=0, description="Age at which what is merely informative is not said any more."
    )

    @model_validator(mode="after")
    def _complete(self) -> Channel:
        missing = {
            "webhook": "url", "email": "url", "apprise": "url", "discord": "url", "ntfy": "topic",
        }.get(self.kind)  # fmt: skip
        if missing and getattr(self, missing) is None:
            raise ValueError(f"a channel of the kind {self.kind} needs {missing}")
        if self.kind == "webhook" and self.secret is None:
            raise ValueError("a webhook needs secret: what it gets is signed with it")
        return self

    def follows(self) -> Column:
        """Its column of the routing table."""
        return self.column or COLUMNS[self.kind]


class Notify(Model):
    """Everything about telling people."""

    enabled: bool = Field(default=True, description="Off: nobody is told anything.")
    table: bool = Field(default=True, description="The founding routing table holds beside the rules.")
    channels: dict[str, Channel] = Field(default_factory=dict, description="Channels by name.")
    rules: tuple[Rule, ...] = Field(default=(), description="Rules of one's own.")
    plugins: bool = Field(default=True, description="Installed plugins are channels of their names.")
    stale: float = Field(default=86400.0, gt=0, description="Age at which nothing at all is told any more.")
    progress_after: float = Field(default=300.0, ge=1, description="When a running execution first says how far it is.")
    progress_every: float = Field(default=600.0, ge=1, description="How often it says so from then on.")

    @model_validator(mode="after")
    def _names(self) -> Notify:
        for name in self.channels:
            if not _NAME.fullmatch(name):
                raise ValueError(f"the channel {name!r} must be called by 1 to 40 of a-z, 0-9, '-' and '_'")
        return self
