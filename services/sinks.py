"""Optional followers of the log by the settings; their libraries are loaded only where they are wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from events.log import LogError
from schemas.settings import Settings

if TYPE_CHECKING:
    from projections.postgres.sink import PostgresSink


class SinkMissing(LogError):
    """A follower cannot be as the settings want it."""


def sink_of(settings: Settings, url: str) -> PostgresSink:
    """The follower that keeps the founding tables in PostgreSQL. Raises SinkMissing."""
    dsn = settings.postgres_connection()
    if dsn is None:
        raise SinkMissing(
            "nothing says where PostgreSQL is: set NIGHTSHIFT_POSTGRES_DSN, or POSTGRES_HOST and the like"
        )
    try:
        from projections.postgres.sink import PostgresSink
    except ImportError as error:
        raise SinkMissing(f"{error.name} is not installed: pip install 'nightshift[postgres]'") from error
    return PostgresSink(url, dsn, schema=settings.postgres_schema, conversations=settings.postgres_conversations)
