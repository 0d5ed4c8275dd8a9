"""The store of the projections: applies batches of the log, exactly once and without gaps, and answers questions.

Rows and position are written in one transaction, so after a crash they agree. A projection whose SQL changed is folded
anew from the table ``events``; if that one changed, or the log is another one (hazard H20), everything is made anew.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import duckdb

from events.log import Recorded
from projections.database import MEMORY, Database, StoreError
from projections.projection import AUDIT, Projection, read_all
from projections.question import Answer, ask
from projections.rows import EVENT, ID, Row, row
from projections.tables import Tables

REFOLD = 20_000
"""Events per step when a projection is folded anew."""

logger = logging.getLogger(__name__)
T = TypeVar("T")


class Gap(StoreError):
    """Events are missing between the position and what was handed over."""


class StreamChanged(StoreError):
    """The events come from another log than those before."""


@dataclass(frozen=True, slots=True)
class Position:
    """How far the log was applied, and how to know that log again."""

    stream_created: str = ""
    sequence: int = 0
    id: str = ""
    at: datetime.datetime | None = None
    """When the newest event applied was stored: the "now" of all answers (UTC, without a zone)."""


class Store:
    """The DuckDB file of one installation. One writer at a time; every reader has a cursor of its own."""

    def __init__(
        self, path: str | Path = MEMORY, *, projections: Sequence[Projection] | None = None, memory: str = "512MB"
    ) -> None:
        self.projections = tuple(projections) if projections is not None else read_all()
        self.notices: list[str] = []
        """What was made anew, and why."""
        self._database = Database(path, memory=memory)
        self._writing = threading.Lock()
        try:
            self._writer = self._database.cursor()
            self._tables = Tables(self._writer, self.projections)
            self._position = Position()
            with self._writing:
                self._refold(self._transaction(self._prepare))
        except BaseException:
            self._database.close()
            raise

    @property
    def path(self) -> str:
        """The file, or ``:memory:``."""
        return self._database.path

    @property
    def position(self) -> Position:
        """How far the log was applied."""
        return self._position

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables that projections hold."""
        return tuple(table for p in self.projections for table in p.tables)

    @property
    def relations(self) -> tuple[str, ...]:
        """Everything people may ask: tables and views."""
        return tuple(name for p in self.projections for name in (*p.tables, *p.views))

    # -- writing --------------------------------------------------------------------------------------------------

    def apply(self, stream_created: str, records: Sequence[Recorded | Row]) -> int:
        """Apply a batch, of messages or of their rows, in one transaction; what was applied before is skipped.

        Returns how many were new.

        Raises Gap, StreamChanged, or duckdb.Error; then nothing of the batch is applied.
        """
        with self._writing:
            position = self._position
            rows = [r if isinstance(r, tuple) else row(r) for r in records]
            fresh = [r for r in rows if r[0] > position.sequence]
            if not fresh:
                return 0
            if position.sequence and position.stream_created != stream_created:
                raise StreamChanged(f"the log was created {stream_created}, the one before {position.stream_created}")
            for expected, found in enumerate(fresh, position.sequence + 1):
                if found[0] != expected:
                    raise Gap(f"the log's sequence {expected} is missing; {found[0]} came instead")
            sequence, id = fresh[-1][0], fresh[-1][ID]
            at = max(filter(None, (position.at, *(r[1] for r in fresh))))
            reached = Position(stream_created, sequence, id, at)

            def work() -> None:
                self._tables.load(fresh)
                self._tables.fold(self.projections, {r[EVENT] for r in fresh})
                self._tables.move(stream_created, sequence, id, at)

            self._transaction(work)
            self._position = reached
            return len(fresh)

    def check(self, stream_created: str, id_at_position: str | None) -> bool:
        """Compare the log with the one applied before; if it is another one, forget everything and say so.

        ``id_at_position`` is the id the log has at the position's sequence, None if it has none there.
        """
        held = self._position
        if not held.sequence or (held.stream_created == stream_created and held.id == id_at_position):
            return True
        if held.stream_created != stream_created:
            why = f"the log was created {stream_created}, the one applied before {held.stream_created}"
        elif id_at_position is None:
            why = f"the log ends before sequence {held.sequence}, which was applied before"
        else:
            why = f"the log has {id_at_position} at sequence {held.sequence}, and {held.id} was applied before"
        self.reset(why)
        return False

    def reset(self, why: str) -> None:
        """Forget everything; the log is to be applied from its beginning."""
        with self._writing:
            self._transaction(self._tables.begin)
            self._position = Position()
            self._say(f"all projections are made anew: {why}")

    def snapshot(self, path: str | Path) -> None:
        """Write a consistent copy for other processes to open."""
        with self._writing:
            self._database.snapshot(path)

    def close(self) -> None:
        """Close the file, which others may open then."""
        with self._writing:
            self._database.close()

    # -- asking ---------------------------------------------------------------------------------------------------

    def rows(self, sql: str, params: Sequence[Any] | Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """The rows of one of our own questions. Never hand it text that somebody else wrote: see ``query``."""
        cursor = self._database.cursor()
        try:
            return cursor.execute(sql, params).fetchall()
        finally:
            cursor.close()

    def named(self, sql: str, params: Sequence[Any] | Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """The same with the names of the columns."""
        cursor = self._database.cursor()
        try:
            found = cursor.execute(sql, params)
            names = [str(column[0]) for column in found.description]
            return [dict(zip(names, row, strict=True)) for row in found.fetchall()]
        finally:
            cursor.close()

    def query(
        self,
        sql: str,
        params: Sequence[Any] | Mapping[str, Any] | None = None,
        limit: int = 1000,
        *,
        tenant: str | None = None,
        timeout: float = 10.0,
    ) -> Answer:
        """Answer a question in SQL, reading only. A ``tenant`` sees its own rows; None is the operator.

        Raises Refused, TooSlow, or duckdb.Error for a wrong question.
        """
        cursor = self._database.cursor()
        try:
            return ask(cursor, sql, params, visible=self.relations, tenant=tenant, limit=max(0, limit), timeout=timeout)
        finally:
            cursor.close()

    def hashes(self) -> dict[str, str]:
        """A hash of every table's rows, whatever their order; equal content gives equal hashes."""
        sums = "select count(*), coalesce(sum(md5_number_lower(to_json(t)::varchar)), 0) from {} t"
        return {table: "{}:{}".format(*self.rows(sums.format(table))[0]) for table in self.tables}

    # -- inside ---------------------------------------------------------------------------------------------------

    def _transaction(self, work: Callable[[], T]) -> T:
        self._writer.execute("begin transaction")
        try:
            result = work()
            self._writer.execute("commit")
        except BaseException:
            with contextlib.suppress(duckdb.Error):  # it may be over already
                self._writer.execute("rollback")
            raise
        return result

    def _prepare(self) -> list[Projection]:
        """Compare what is held with the projections as they are now. Returns those to be folded anew."""
        known = self._tables.own()
        now = {p.name: p.hash for p in self.projections}
        changed = {name for name in known.keys() | now.keys() if known.get(name) != now.get(name)}
        if AUDIT in changed:
            self._tables.begin()
            if known:
                self._say("all projections are made anew: what is kept of an event has changed")
            return []
        ((created, sequence, id, at),) = self._tables.fetch(
            "select stream_created, sequence, id, stored_at from position"
        )
        self._position = Position(created, sequence, id, at)
        self._tables.batch()
        if not changed:
            return []
        again = [p for p in self.projections if p.name in changed or p.views]  # a view goes with what it looks at
        self._tables.drop(changed | {p.name for p in again})
        self._tables.create(again, unfinished=True)
        self._say(f"made anew from the events because their SQL changed: {', '.join(sorted(changed))}")
        return again

    def _refold(self, projections: list[Projection]) -> None:
        """Fold what is in ``events``, in many transactions; until the last one the projections have no valid hash."""

        def work(after: int) -> None:
            names = self._tables.reload(after, after + REFOLD)
            self._tables.fold(projections, names)

        for after in range(0, self._position.sequence if projections else 0, REFOLD):
            self._transaction(functools.partial(work, after))
        self._tables.finish(projections)

    def _say(self, notice: str) -> None:
        self.notices.append(notice)
        logger.warning(notice)

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
