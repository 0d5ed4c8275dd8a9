"""Everything that is read from the environment and from ``nightshift.toml``, in one class."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from platformdirs import user_state_path
from pydantic import Field
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource


def default_home() -> Path:
    """Where state lives unless ``NIGHTSHIFT_HOME`` says otherwise: the platform's state folder."""
    return user_state_path("nightshift", appauthor=False)


class Settings(BaseSettings):
    """How this installation runs: ``NIGHTSHIFT_<NAME>`` outranks ``./nightshift.toml``, which outranks the home's."""

    model_config = SettingsConfigDict(env_prefix="NIGHTSHIFT_", extra="ignore")

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
    grace: float = Field(default=10.0, ge=0, description="Seconds that running tasks may take to finish after SIGTERM.")
    pass_env: tuple[str, ...] = Field(
        default=("PATH", "LANG", "LC_ALL", "TZ"),
        description="Variables of the engine's own environment that tasks see.",
    )
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

    def passed(self) -> dict[str, str]:
        """The variables that tasks see, as they are now."""
        return {name: os.environ[name] for name in self.pass_env if name in os.environ}
