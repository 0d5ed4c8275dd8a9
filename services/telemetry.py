"""Telemetry by the settings; nothing of it is loaded while it is off."""

from __future__ import annotations

from events.log import EventLog
from events.log.traced import Traced, Tracing
from schemas.settings import Settings


class TelemetryMissing(Exception):
    """The libraries for telemetry are not installed."""


def tracing_of(settings: Settings) -> Tracing | None:
    """What follows up appends in this process; None while traces are off. Raises TelemetryMissing."""
    if settings.telemetry not in ("otlp", "both"):
        return None
    try:
        from events.log.otel import OtlpSpans
    except ImportError as error:
        raise TelemetryMissing(missing(settings, error)) from error
    return Tracing(OtlpSpans())


def traced(inner: EventLog, service: str, tracing: Tracing | None) -> EventLog:
    """The log of a service, traced if traces are on."""
    return inner if tracing is None else Traced(inner, service, tracing)


def missing(settings: Settings, error: ImportError) -> str:
    """What to do about a library that is not there."""
    return (
        f"telemetry is {settings.telemetry!r} and {error.name} is not installed: "
        "pip install 'nightshift[telemetry]', or set NIGHTSHIFT_TELEMETRY=off"
    )
