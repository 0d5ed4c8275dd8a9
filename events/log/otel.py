"""The one door to OpenTelemetry: spans and numbers out by OTLP over HTTP, where the standard OTEL_* variables say.

Import it only where telemetry is on; the library takes a quarter of a second to load.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from events.log.spans import Span

FLUSH = 5_000
"""Milliseconds that the last export may take."""

_SCOPE = InstrumentationScope("nightshift")


def resource(service: str) -> Resource:
    """Who speaks: OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME, with our name where they give none."""
    made = Resource.create()
    if str(made.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        made = made.merge(Resource({SERVICE_NAME: f"nightshift-{service}"}))
    return made


class OtlpSpans:
    """Exports spans in batches, from a thread of its own. A collector that is away loses them, and nobody waits."""

    def __init__(self) -> None:
        self._processor = BatchSpanProcessor(OTLPSpanExporter())
        self._resources: dict[str, Resource] = {}

    def emit(self, service: str, spans: Sequence[Span]) -> None:
        """Queue spans of a service for export."""
        who = self._resources.get(service) or self._resources.setdefault(service, resource(service))
        for span in _readable(spans, who):
            self._processor.on_end(span)

    def close(self) -> None:
        """Export what is queued."""
        self._processor.force_flush(FLUSH)
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
