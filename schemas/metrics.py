"""A metric as plain numbers, whoever asks for it and in whatever format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["gauge", "counter", "histogram"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One series at this moment."""

    labels: tuple[tuple[str, str], ...]
    value: float
    """Of a histogram: the sum of what was observed."""
    buckets: tuple[int, ...] = ()
    """Of a histogram: observations in each bucket, the one without an upper bound last; not cumulative."""
    since_ns: int = 0
    """Of a counter or histogram: when it was 0, in nanoseconds since 1970."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """Series of one name. A counter's name ends in ``_total``."""

    name: str
    kind: Kind
    help: str
    samples: tuple[Sample, ...]
    bounds: tuple[float, ...] = ()
    """Of a histogram: the upper bounds of its buckets, without the infinite one."""
