"""The one door to OpenTelemetry: spans and numbers out by OTLP over HTTP, where the standard OTEL_* variables say.

Import it only where telemetry is on; the library takes a quarter of a second to load.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricExportResult,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from events.log.spans import Span
from schemas.metrics import Family

FLUSH = 2.0
"""Seconds that the last export may go on being tried while the collector is away."""

_SCOPE = InstrumentationScope("nightshift")
_UNKNOWN: Any = None
"""On the wire the extremes of a histogram may be left out."""


def resource(service: str) -> Resource:
    """Who speaks: OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME, with our name where they give none."""
    made = Resource.create()
    if str(made.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        made = made.merge(Resource({SERVICE_NAME: f"nightshift-{service}"}))
    return made


@contextlib.contextmanager
def _at_most(seconds: float, end: Callable[[], None]) -> Iterator[None]:
    """Call ``end`` in a thread if what is inside takes longer."""
    timer = threading.Timer(seconds, end)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


class OtlpSpans:
    """Exports spans in batches, from a thread of its own. A collector that is away loses them, and nobody waits."""

    def __init__(self) -> None:
        self._exporter = OTLPSpanExporter()
        self._processor = BatchSpanProcessor(self._exporter)
        self._resources: dict[str, Resource] = {}

    def emit(self, service: str, spans: Sequence[Span]) -> None:
        """Queue spans of a service for export."""
        who = self._resources.get(service) or self._resources.setdefault(service, resource(service))
        for span in _readable(spans, who):
            self._processor.on_end(span)

    def close(self) -> None:
        """Export what is queued."""
        with _at_most(FLUSH, self._exporter.shutdown):
            self._processor.shutdown()  # type: ignore[no-untyped-call]  # the library


def _readable(spans: Iterable[Span], who: Resource) -> Iterable[ReadableSpan]:
    for span in spans:
        parent = _context(span.trace, span.parent, remote=True) if span.parent else None
        code = {None: StatusCode.UNSET, True: StatusCode.ERROR, False: StatusCode.OK}[span.failed]
        yield ReadableSpan(
            name=span.name,
            context=_context(span.trace, span.id, remote=False),
            parent=parent,
            resource=who,
            attributes=span.attributes,
            kind=SpanKind.INTERNAL,
            status=Status(code, span.reason or None if span.failed else None),
            start_time=span.start_ns,
            end_time=span.end_ns,
            instrumentation_scope=_SCOPE,
        )


def _context(trace: str, span: str, *, remote: bool) -> SpanContext:
    return SpanContext(int(trace, 16), int(span, 16), is_remote=remote, trace_flags=TraceFlags(TraceFlags.SAMPLED))


class OtlpMetrics:
    """Exports metrics as they are, not through the SDK's instruments, which can never forget a series (C21)."""

    def __init__(self, service: str) -> None:
        self._exporter = OTLPMetricExporter()
        self._resource = resource(service)
        self.every = int(os.environ.get("OTEL_METRIC_EXPORT_INTERVAL", "60000")) / 1000
        """Seconds between exports."""

    def export(self, families: Sequence[Family]) -> bool:
        """Send them; says whether the collector took them. May take seconds."""
        now = time.time_ns()
        metrics = [_metric(family, now) for family in families if family.samples]
        scope = ScopeMetrics(scope=_SCOPE, metrics=metrics, schema_url="")
        data = MetricsData([ResourceMetrics(resource=self._resource, scope_metrics=[scope], schema_url="")])
        return self._exporter.export(data) is MetricExportResult.SUCCESS

    def close(self, families: Sequence[Family]) -> bool:
        """Send them for the last time, and hang up; says whether the collector took them."""
        with _at_most(FLUSH, self._exporter.shutdown):
            taken = not families or self.export(families)
        self._exporter.shutdown()
        return taken


def _metric(family: Family, now: int) -> Metric:
    data: Gauge | Sum | Histogram
    if family.kind == "histogram":
        data = Histogram(
            [
                HistogramDataPoint(
                    attributes=dict(s.labels), start_time_unix_nano=s.since_ns, time_unix_nano=now,
                    count=sum(s.buckets), sum=s.value, bucket_counts=s.buckets, explicit_bounds=family.bounds,
                    min=_UNKNOWN, max=_UNKNOWN,
                )
                for s in family.samples
            ],
            AggregationTemporality.CUMULATIVE,
        )  # fmt: skip
    else:
        points = [
            NumberDataPoint(
                attributes=dict(s.labels), start_time_unix_nano=s.since_ns, time_unix_nano=now, value=s.value
            )
            for s in family.samples
        ]
        counts = family.kind == "counter"
        data = Sum(points, AggregationTemporality.CUMULATIVE, is_monotonic=True) if counts else Gauge(points)
    unit = "s" if family.name.endswith("_seconds") else "By" if family.name.endswith("_bytes") else "1"
    return Metric(name=family.name, description=family.help, unit=unit, data=data)
