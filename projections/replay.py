"""Time travel: the projections as they were at a sequence or a moment, and whether the live ones are the same."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator

from events.log import Recorded
from projections.database import MEMORY
from projections.projection import Projection
from projections.rows import Row, row
from projections.store import Store

BATCH = 10_000
SHOWN = 3
"""How many differing rows are named."""


class Until:
    """Where a replay ends, inclusively: a sequence, a moment, or whichever comes first; the end if neither is given.

    The moment is compared with when the log stored an event, to the microsecond; one without a zone is in UTC.
    """

    def __init__(self, sequence: int | None = None, at: datetime.datetime | None = None) -> None:
        self.sequence = sequence
        self.at = None if at is None else at.astimezone(datetime.UTC).replace(tzinfo=None) if at.tzinfo else at

    def covers(self, row: Row) -> bool:
        """Whether the event of a row belongs to the replay."""
        if self.sequence is not None and row[0] > self.sequence:
            return False
        return self.at is None or row[1] <= self.at


def replay(
    records: Iterable[Recorded],
    *,
    until_seq: int | None = None,
    until_time: datetime.datetime | None = None,
    stream_created: str = "",
    path: str = MEMORY,
    projections: tuple[Projection, ...] | None = None,
) -> Store:
    """A fresh store with the events up to a sequence or a moment, both inclusive. The caller closes it."""
    store = Store(path, projections=projections)
    try:
        for batch in _batches(records, Until(until_seq, until_time)):
            store.apply(stream_created, batch)
    except BaseException:
        store.close()
        raise
    return store


def _batches(records: Iterable[Recorded], until: Until) -> Iterator[list[Row]]:
    batch: list[Row] = []
    for found in map(row, records):
        if not until.covers(found):
            break
        batch.append(found)
        if len(batch) >= BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def compare(live: Store, replayed: Store) -> list[str]:
    """How two stores differ, table by table, with a few of the rows; nothing if they are the same."""
    differences = []
    if live.position.sequence != replayed.position.sequence:
        differences.append(f"position: {live.position.sequence} live, {replayed.position.sequence} replayed")
    here, there = live.hashes(), replayed.hashes()
    for table in sorted(here.keys() | there.keys()):
        if table not in here or table not in there:
            differences.append(f"{table}: only {'live' if table in here else 'replayed'}")
        elif here[table] != there[table]:
            differences.append(_difference(table, live, replayed))
    return differences


def _difference(table: str, live: Store, replayed: Store) -> str:
    """Name a few rows that only one of them has: by the hash of the row, so that no key needs to be known."""
    sql = f"select md5_number_lower(to_json(t)::varchar), count(*) from {table} t group by all"
    here, there = dict(live.rows(sql)), dict(replayed.rows(sql))
    parts = []
    for name, store, own, other in (("live", live, here, there), ("replayed", replayed, there, here)):
        odd = [row_hash for row_hash, n in own.items() if other.get(row_hash, 0) < n]
        if odd:
            shown = store.rows(
                f"select to_json(t)::varchar from {table} t "
                "where md5_number_lower(to_json(t)::varchar) in (select unnest($1::ubigint[])) order by 1 limit $2",
                [odd, SHOWN],
            )
            rows = "; ".join(text for (text,) in shown)
            parts.append(f"{len(odd)} rows only {name}, such as {rows}")
    return f"{table}: {', '.join(parts)}"
