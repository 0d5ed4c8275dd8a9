"""The one door to prometheus_client: metrics on an HTTP page of this process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from schemas.metrics import Family

Collect = Callable[[], Sequence[Family]]


class _Pages(Collector):
    def __init__(self, collect: Collect) -> None:
        self._collect = collect

    def collect(self) -> Iterable[Metric]:
        return [_metric(family) for family in self._collect()]

    def describe(self) -> Iterable[Metric]:
        return []


def serve(host: str, port: int, collect: Collect) -> tuple[int, Callable[[], None]]:
    """Serve what ``collect`` gives, asked for in a thread for each scrape. Returns the port, and what ends it.

    Raises OSError if the port is taken.
    """
    registry = CollectorRegistry()
    registry.register(_Pages(collect))
    server, thread = start_http_server(port, addr=host, registry=registry)

    def end() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return server.server_port, end


def _metric(family: Family) -> Metric:
    name = family.name.removesuffix("_total") if family.kind == "counter" else family.name
    metric = Metric(name, family.help, family.kind)
    for sample in family.samples:
        labels = dict(sample.labels)
        if family.kind == "histogram":
            for bound, count in _cumulated(family.bounds, sample.buckets):
                metric.add_sample(f"{name}_bucket", {**labels, "le": bound}, count)
            metric.add_sample(f"{name}_count", labels, sum(sample.buckets))
            metric.add_sample(f"{name}_sum", labels, sample.value)
        else:
            metric.add_sample(family.name, labels, sample.value)
    return metric


def _cumulated(bounds: Sequence[float], counts: Sequence[int]) -> Iterator[tuple[str, int]]:
    yield from zip((*map(str, bounds), "+Inf"), accumulate(counts), strict=True)
