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
from projections.projection import AUDIT, Projection, lifecycle_rows, read_all
from projections.question import Answer, ask
from projections.rows import row

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


_OWN = """
create table if not exists position (stream_created varchar, sequence ubigint, id varchar, stored_at timestamp);
create table if not exists projection_hashes (name varchar, hash varchar, tables varchar[], views varchar[]);
create table if not exists lifecycle (life varchar, event varchar, source varchar, target varchar);
create or replace view leads as
    select life, map(list(source || ' ' || event), list(target)) as leads from lifecycle group by life;
"""


class Store:
    """The DuckDB file of one installation. One writer at a time; every reader has a cursor of its own."""

    def __init__(
        self, path: str | Path = MEMORY, *, projections: Sequence[Projection] | None = None, memory: str = "1GB"
    ) -> None:
        self.projections = tuple(projections) if projections is not None else read_all()
        self.notices: list[str] = []
        """What was made anew, and why."""
        self._database = Database(path, memory=memory)
        self._writing = threading.Lock()
        try:
            self._writer = self._database.cursor()
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

    def apply(self, stream_created: str, records: Sequence[Recorded]) -> int:
        """Apply a batch in one transaction; what was applied before is skipped. Returns how many were new.

        Raises Gap, StreamChanged, or duckdb.Error; then nothing of the batch is applied.
        """
        with self._writing:
            position = self._position
            fresh = [r for r in records if r.sequence > position.sequence]
            if not fresh:
                return 0
            if position.sequence and position.stream_created != stream_created:
                raise StreamChanged(f"the log was created {stream_created}, the one before {position.stream_created}")
            for expected, recorded in enumerate(fresh, position.sequence + 1):
                if recorded.sequence != expected:
                    raise Gap(f"the log's sequence {expected} is missing; {recorded.sequence} came instead")
            last = fresh[-1]
            rows = [row(r) for r in fresh]
            at = max(filter(None, (position.at, *(r[1] for r in rows))))
            reached = Position(stream_created, last.sequence, last.id, at)

            def work() -> None:
                self._load(rows)
                self._fold(self.projections, {r.name for r in fresh})
                self._writer.execute(
                    "update position set stream_created = $1, sequence = $2, id = $3, stored_at = $4",
                    [reached.stream_created, reached.sequence, reached.id, reached.at],
                )

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
            self._transaction(lambda: self._begin(f"all projections are made anew: {why}"))
            self._position = Position()

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

    def _load(self, rows: list[tuple[Any, ...]]) -> None:
        self._writer.execute("delete from batch")
        with self._writer.appender("batch") as appender:
            appender.append_rows(rows)

    def _fold(self, projections: Sequence[Projection], names: set[str]) -> None:
        for projection in projections:
            for fold in projection.folds:
                if fold.concerns(names):
                    self._writer.execute(fold.sql)

    def _prepare(self) -> list[Projection]:
        """Compare what is held with the projections as they are now. Returns those to be folded anew."""
        self._writer.execute(_OWN)
        self._writer.execute("delete from lifecycle")
        self._writer.executemany("insert into lifecycle values ($1, $2, $3, $4)", lifecycle_rows())
        known: dict[str, str] = dict(self._fetch("select name, hash from projection_hashes"))
        changed = {p.name for p in self.projections if known.get(p.name) != p.hash} | (
            set(known) - {p.name for p in self.projections}
        )
        if AUDIT in changed:
            self._begin("all projections are made anew: what is kept of an event has changed" if known else "")
            return []
        ((created, sequence, id, at),) = self._fetch("select stream_created, sequence, id, stored_at from position")
        self._position = Position(created, sequence, id, at)
        self._batch()
        if not changed:
            return []
        again = [p for p in self.projections if p.name in changed or p.views]  # a view goes with what it looks at
        self._drop(changed | {p.name for p in again})
        self._create(again, unfinished=True)
        self._say(f"made anew from the events because their SQL changed: {', '.join(sorted(changed))}")
        return again

    def _refold(self, projections: Sequence[Projection]) -> None:
        """Fold what is in ``events``, in many transactions; until the last one the projections have no valid hash."""

        def work(after: int) -> None:
            self._writer.execute("delete from batch")
            self._writer.execute(
                "insert into batch select * from events where seq > $1 and seq <= $2 order by seq",
                [after, after + REFOLD],
            )
            self._fold(projections, {name for (name,) in self._fetch("select distinct event from batch")})

        for after in range(0, self._position.sequence, REFOLD):
            self._transaction(functools.partial(work, after))
        for p in projections:
            self._writer.execute("update projection_hashes set hash = $1 where name = $2", [p.hash, p.name])

    def _begin(self, why: str) -> None:
        """Drop and create everything, at position 0."""
        self._drop({name for (name,) in self._fetch("select name from projection_hashes")})
        self._writer.execute("delete from position; insert into position values ('', 0, '', null)")
        self._create(self.projections)
        self._batch()
        if why:
            self._say(why)

    def _drop(self, names: set[str]) -> None:
        for name, tables, views in self._fetch("select name, tables, views from projection_hashes"):
            if name in names:
                for kind, relation in [*(("view", v) for v in views), *(("table", t) for t in tables)]:
                    self._writer.execute(f"drop {kind} if exists {relation}")
                self._writer.execute("delete from projection_hashes where name = $1", [name])

    def _create(self, projections: Sequence[Projection], *, unfinished: bool = False) -> None:
        for p in projections:
            self._writer.execute(p.create)
            self._writer.execute(
                "insert into projection_hashes values ($1, $2, $3, $4)",
                [p.name, "" if unfinished else p.hash, list(p.tables), list(p.views)],
            )

    def _batch(self) -> None:
        self._writer.execute("create or replace temp table batch as select * from events limit 0")

    def _fetch(self, sql: str) -> list[tuple[Any, ...]]:
        return self._writer.execute(sql).fetchall()

    def _say(self, notice: str) -> None:
        self.notices.append(notice)
        logger.warning(notice)

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
