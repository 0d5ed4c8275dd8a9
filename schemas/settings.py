"""Everything that is read from the environment and from ``nightshift.toml``, in one class."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from platformdirs import user_state_path
from pydantic import AliasChoices, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from schemas.grants import Level
from schemas.notify import Notify

if TYPE_CHECKING:
    from schemas.safety.rules import Safety


def default_home() -> Path:
    """Where state lives unless ``NIGHTSHIFT_HOME`` says otherwise: the platform's state folder."""
    return user_state_path("nightshift", appauthor=False)


def _postgres(name: str, default: Any, description: str) -> Any:
    """A setting that the founding documents call POSTGRES_*."""
    names = AliasChoices(f"NIGHTSHIFT_POSTGRES_{name.upper()}", f"postgres_{name}")
    return Field(default=default, validation_alias=names, description=f"{description} Also `POSTGRES_{name.upper()}`.")


class BadSettings(ValueError):
    """A setting has a value that makes no sense; says which, and why."""


class Settings(BaseSettings):
    """How this installation runs: ``NIGHTSHIFT_<NAME>`` outranks ``./nightshift.toml``, which outranks the home's."""

    model_config = SettingsConfigDict(env_prefix="NIGHTSHIFT_", extra="ignore", populate_by_name=True)

    home: Path = Field(default_factory=default_home, description="The one folder that holds all state.")
    nats_url: str | None = Field(default=None, description="A server that is already there; otherwise one is embedded.")
    profile: Literal["durable", "fast"] = Field(
        default="durable", description="durable: every event is on disk before it is acknowledged; fast: soon after."
    )
    tenant: str = Field(default="default", description="The customer in whose name the command line speaks.")
    slots: int = Field(
        default_factory=lambda: max(4, 2 * (os.cpu_count() or 1)), ge=1, le=10_000,
        description="Tasks that one executor runs at a time.",
    )  # fmt: skip
    judges: int = Field(
        default_factory=lambda: max(4, 2 * (os.cpu_count() or 1)), ge=1, le=10_000,
        description="Results that one verifier judges at a time.",
    )  # fmt: skip
    disk_reserve: int = Field(
        default=1024**3,
        ge=0,
        description="Bytes that must be free on the disk of the home; with less, no task is started.",
    )
    disk_share: float = Field(
        default=0.05, ge=0, lt=1, description="The same as a share of the disk; the larger of the two counts."
    )
    keep_failed: float = Field(
        default=3.0, ge=0,
        description="Days that the files of failed and rejected attempts are kept, below `kept` in the home; 0: not at "
        "all. They go earlier when the disk is short.",
    )  # fmt: skip
    grace: float = Field(default=10.0, ge=0, description="Seconds that running tasks may take to finish after SIGTERM.")
    sandbox: Level | None = Field(
        default=None, description="The sandbox of tasks whose plan asks for nothing stronger: process, landlock, bwrap "
        "or docker; by default landlock where the kernel has it, otherwise process.",
    )  # fmt: skip
    docker_image: str | None = Field(
        default=None, description="The image of the sandbox docker: with a shell, and what tasks need."
    )
    docker_host: str | None = Field(
        default=None, description="The address of the Docker engine; DOCKER_HOST's, or the usual socket, by default."
    )
    pass_env: tuple[str, ...] = Field(
        default=("PATH", "LANG", "LC_ALL", "TZ"),
        description="Variables of the engine's own environment that tasks see.",
    )
    safety: dict[str, Any] | None = Field(
        default=None,
        description="A table: rules that no plan can loosen, as in a plan's policy.safety (docs/safety.md).",
    )
    tenants: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="Tables by tenant: [tenants.NAME.safety] has rules for this tenant's plans."
    )
    embedder: Literal["auto", "lexical", "minilm", "openai", "fastembed"] = Field(
        default="auto",
        description="Who turns tasks into vectors (docs/learning.md); auto: the endpoint if one is set, MiniLM if it "
        "is installed, lexical otherwise.",
    )
    embeddings_url: str | None = Field(
        default=None, description="An OpenAI-compatible endpoint for vectors, up to /v1; texts of tasks go there."
    )
    embeddings_model: str | None = Field(default=None, description="The model of that endpoint, or of fastembed.")
    embeddings_key: SecretStr = Field(default=SecretStr(""), description="The key of that endpoint.")
    qdrant_url: str | None = Field(
        default=None, validation_alias=AliasChoices("nightshift_qdrant_url", "qdrant_url"),
        description="A Qdrant server for what is learned (or QDRANT_URL); otherwise it is kept below the home.",
    )  # fmt: skip
    qdrant_host: str | None = Field(
        default=None, validation_alias=AliasChoices("nightshift_qdrant_host", "qdrant_host"),
        description="The same by host (or QDRANT_HOST).",
    )  # fmt: skip
    qdrant_port: int = Field(
        default=6333, validation_alias=AliasChoices("nightshift_qdrant_port", "qdrant_port"),
        description="The port of that host (or QDRANT_PORT).",
    )  # fmt: skip
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="WARNING", description="How much the engine says about itself."
    )
    log_format: Literal["text", "json"] = Field(
        default="text", description="json: one object a line, with execution, task and trace id where there are any."
    )
    telemetry: Literal["off", "otlp", "prometheus", "both"] = Field(
        default="off",
        description="otlp: traces and metrics go where the OTEL_EXPORTER_OTLP_* variables say; "
        "prometheus: metrics are served on metrics_port.",
    )
    metrics_host: str = Field(default="127.0.0.1", description="The address on which metrics and health are served.")
    metrics_port: int = Field(default=9464, ge=0, le=65535, description="The port for Prometheus; 0: any free one.")
    metrics_keep: float = Field(
        default=3600.0, ge=0, description="Seconds that a plan's series stay after its last execution ended."
    )
    metrics_plans: int = Field(default=500, ge=1, description="Only so many of the newest plans have series.")
    health_port: int | None = Field(
        default=None, ge=0, le=65535, description="Serve GET /health on this port; 0: any free one."
    )

    postgres: bool = Field(
        default=False, description="Keep the founding tables in PostgreSQL while `nightshift up` runs."
    )
    postgres_dsn: SecretStr | None = Field(
        default=None, description="How to connect to PostgreSQL; outranks the five settings below."
    )
    postgres_host: str | None = _postgres("host", None, "Its host; a path is the folder of its socket.")
    postgres_port: int = _postgres("port", 5432, "Its port.")
    postgres_db: str = _postgres("db", "nightshift", "The database.")
    postgres_user: str | None = _postgres("user", None, "The user.")
    postgres_password: SecretStr | None = _postgres("password", None, "The user's password.")
    postgres_schema: str = Field(
        default="public", pattern=r"^[a-z_][a-z0-9_]{0,50}$", description="The schema that holds the tables."
    )
    postgres_conversations: bool = Field(
        default=True, description="Where a table `conversations` exists, keep a foreign key to it."
    )
    voice_url: str | None = Field(
        default=None, validation_alias=AliasChoices("voice_url", "NIGHTSHIFT_VOICE_URL", "VOICE_SERVER_URL"),
        description="The voice server; unless it is named, the one on port 8888 of this machine, if one answers there.",
    )  # fmt: skip
    voice_id: str | None = Field(default=None, description="Whose voice speaks.")
    ntfy_topic: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("ntfy_topic", "NIGHTSHIFT_NTFY_TOPIC", "NTFY_TOPIC"),
        description="A topic of ntfy, or its URL: the channel `ntfy`.",
    )  # fmt: skip
    discord_webhook: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("discord_webhook", "NIGHTSHIFT_DISCORD_WEBHOOK", "DISCORD_WEBHOOK"),
        description="A webhook of Discord: the channel `discord`.",
    )  # fmt: skip
    notify: Notify = Field(
        default_factory=Notify, description="Channels and rules of notices; see [notifications.md](notifications.md)."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        home = Path(os.environ.get("NIGHTSHIFT_HOME") or default_home())
        files = [path for path in (home / "nightshift.toml", Path("nightshift.toml")) if path.is_file()]
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=files)

    def safety_rules(self) -> Callable[[str], Safety]:
        """The safety rules that plans of a tenant keep to, whatever they say themselves, by the tenant's name.

        Raises BadSettings if the rules of the installation or of any tenant cannot be read.
        """
        from schemas.safety.installation import Installation  # only who accepts plans needs it

        try:
            return Installation.model_validate({"safety": self.safety, "tenants": self.tenants}).rules_of
        except ValidationError as error:
            faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
            raise BadSettings(f"the safety rules in the settings cannot be read: {'; '.join(faults)}") from error

    @staticmethod
    def faults(error: ValidationError) -> list[str]:
        """What is wrong with settings, one sentence each, without the values, which may be secret."""
        return [f"{'.'.join(map(str, fault['loc'])) or 'settings'}: {fault['msg']}" for fault in error.errors()]

    def memory(self) -> Path | str:
        """Where what is learned is kept: a folder, or the URL of a Qdrant server."""
        if self.qdrant_url:
            return self.qdrant_url
        return f"http://{self.qdrant_host}:{self.qdrant_port}" if self.qdrant_host else self.home / "memory"

    def passed(self) -> dict[str, str]:
        """The variables that tasks see, as they are now."""
        return {name: os.environ[name] for name in self.pass_env if name in os.environ}

    def postgres_connection(self) -> str | None:
        """The connection string of PostgreSQL; None if nothing says where it is."""
        if self.postgres_dsn is not None and (dsn := self.postgres_dsn.get_secret_value()):
            return dsn
        if not self.postgres_host:
            return None
        password = self.postgres_password.get_secret_value() if self.postgres_password else None
        parts = {
            "host": self.postgres_host, "port": self.postgres_port, "dbname": self.postgres_db,
            "user": self.postgres_user, "password": password,
        }  # fmt: skip
        quoted = {k: str(v).replace("\\", "\\\\").replace("'", "\\'") for k, v in parts.items() if v is not None}
        return " ".join(f"{name}='{value}'" for name, value in quoted.items())
