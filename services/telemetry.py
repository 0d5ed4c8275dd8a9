"""Telemetry by the settings; nothing of it is loaded while it is off."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from events.log import EventLog, LogError
from events.log.traced import Traced, Tracing
from schemas.metrics import Family
from schemas.settings import Settings

if TYPE_CHECKING:
    from events.log.otel import OtlpMetrics

log = logging.getLogger(__name__)


class TelemetryError(LogError):
    """Telemetry cannot be as the settings want it."""


def tracing_of(settings: Settings) -> Tracing | None:
    """What follows up appends in this process; None while traces are off. Raises TelemetryError."""
    if settings.telemetry not in ("otlp", "both"):
        return None
    try:
        from events.log.otel import OtlpSpans
    except ImportError as error:
        raise TelemetryError(missing(settings, error)) from error
    return Tracing(OtlpSpans())


def traced(inner: EventLog, service: str, tracing: Tracing | None) -> EventLog:
    """The log of a service, traced if traces are on."""
    return inner if tracing is None else Traced(inner, service, tracing)


class Metrics(Protocol):
    """What is asked for the families of now."""

    def __call__(self, *, keep: float, most: int) -> Sequence[Family]: ...


class Publisher:
    """Metrics out of this process, by the settings: to a collector, on a page for Prometheus, both, or neither."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        self._collect = functools.partial(metrics, keep=settings.metrics_keep, most=settings.metrics_plans)
        self._exporting: asyncio.Task[None] | None = None
        self._exporter: OtlpMetrics | None = None
        self._end: Callable[[], None] | None = None
        self.port: int | None = None
        """Where the page for Prometheus is."""

    async def start(self) -> None:
        """Publish from now on. Raises TelemetryError."""
        kind = self._settings.telemetry
        try:
            if kind in ("otlp", "both"):
                from events.log.otel import OtlpMetrics

                self._exporter = OtlpMetrics("projections")
                self._exporting = asyncio.create_task(self._export(self._exporter), name="metrics")
            if kind in ("prometheus", "both"):
                from services.prometheus import serve

                host, port = self._settings.metrics_host, self._settings.metrics_port
                self.port, self._end = serve(host, port, self._collect)
        except OSError as error:
            raise TelemetryError(f"metrics cannot be served: {error}; set NIGHTSHIFT_METRICS_PORT") from error
        except ImportError as error:
            raise TelemetryError(missing(self._settings, error)) from error

    async def stop(self) -> None:
        """Send what there is for the last time, and end."""
        if self._end is not None:
            await asyncio.to_thread(self._end)
        if self._exporting is not None and self._exporter is not None:
            self._exporting.cancel()
            await asyncio.gather(self._exporting, return_exceptions=True)
            await self._send(self._exporter.close)

    async def _export(self, exporter: OtlpMetrics) -> None:
        while True:
            await asyncio.sleep(exporter.every)
            await self._send(exporter.export)

    async def _send(self, how: Callable[[Sequence[Family]], bool]) -> None:
        try:
            if not await asyncio.to_thread(lambda: how(self._collect())):
                log.warning("the collector did not take the metrics")
        except Exception:
            log.exception("the metrics could not be exported")


def missing(settings: Settings, error: ImportError) -> str:
    """What to do about a library that is not there."""
    return (
        f"telemetry is {settings.telemetry!r} and {error.name} is not installed: "
        "pip install 'nightshift[telemetry]', or set NIGHTSHIFT_TELEMETRY=off"
    )
