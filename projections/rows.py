"""A message of the log as a row of the relation ``batch``."""

from __future__ import annotations

import datetime
from typing import Any

import msgspec

from events.log import Recorded
from events.log.bulk import Plain

_EPOCH = datetime.datetime(1970, 1, 1)
_ENCODER = msgspec.json.Encoder()
_LARGEST = 2**31 - 1

Row = tuple[Any, ...]
"""Its first is the sequence, its second when it was stored; EVENT and ID say where those are."""
EVENT = 5
ID = 6


def moment(at_ns: int) -> datetime.datetime:
    """Nanoseconds since 1970 as the database keeps times: UTC, without a zone, to the microsecond."""
    return _EPOCH + datetime.timedelta(microseconds=at_ns // 1000)


def text(at: datetime.datetime | None) -> str | None:
    """A time of the database as people read it: RFC 3339, UTC, microseconds."""
    return at.isoformat(timespec="microseconds") + "Z" if at else None


def body(recorded: Recorded) -> str | None:
    """The body as JSON in its newest version. One that is no JSON is kept as a JSON string; nothing is thrown away."""
    if recorded.fact is not None:
        return _ENCODER.encode(recorded.fact).decode()
    if not recorded.body:
        return None
    try:
        return _ENCODER.encode(msgspec.json.decode(recorded.body)).decode()
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _ENCODER.encode(recorded.body.decode("utf-8", "replace")).decode()


def row(recorded: Recorded | Plain) -> Row:
    """The row, in the order of the columns of ``events``."""
    if isinstance(recorded, Plain):
        *place, attempt, fact = recorded
        return (*place, attempt, 1, "ok", "", _ENCODER.encode(fact).decode())
    return (
        recorded.sequence,
        moment(recorded.at_ns),
        recorded.tenant,
        recorded.execution,
        recorded.entity,
        recorded.name,
        recorded.id,
        recorded.cause,
        recorded.correlation,
        recorded.actor,
        min(recorded.attempt, _LARGEST),
        min(recorded.version, _LARGEST),
        recorded.standing,
        recorded.reason,
        body(recorded),
    )
