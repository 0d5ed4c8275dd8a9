"""The tables of the projections: created, folded into, dropped when their SQL changed. Not a transaction of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import duckdb

from projections.projection import Projection, lifecycle_rows

_OWN = """
create table if not exists position (stream_created varchar, sequence ubigint, id varchar, stored_at timestamp);
create table if not exists projection_hashes (name varchar, hash varchar, tables varchar[], views varchar[]);
create table if not exists lifecycle (life varchar, event varchar, source varchar, target varchar);
create or replace view leads as
    select life, map(list(source || ' ' || event), list(target)) as leads from lifecycle group by life;
"""


class Tables:
    """What the writer's connection does to the database, step by step."""

    def __init__(self, writer: duckdb.DuckDBPyConnection, projections: Sequence[Projection]) -> None:
        self._writer = writer
        self._projections = projections

    def own(self) -> dict[str, str]:
        """Create the store's own tables, fill in the state tables; returns the hashes of the projections held."""
        self._writer.execute(_OWN)
        self._writer.execute("delete from lifecycle")
        self._writer.executemany("insert into lifecycle values ($1, $2, $3, $4)", lifecycle_rows())
        return dict(self.fetch("select name, hash from projection_hashes"))

    def begin(self) -> None:
        """Drop and create everything, at position 0."""
        self.drop({name for (name,) in self.fetch("select name from projection_hashes")})
        self._writer.execute("delete from position; insert into position values ('', 0, '', null)")
        self.create(self._projections)
        self.batch()

    def create(self, projections: Sequence[Projection], *, unfinished: bool = False) -> None:
        """Create the tables and views; unfinished ones have no valid hash before ``finish``."""
        for p in projections:
            self._writer.execute(p.create)
            self._writer.execute(
                "insert into projection_hashes values ($1, $2, $3, $4)",
                [p.name, "" if unfinished else p.hash, list(p.tables), list(p.views)],
            )

    def finish(self, projections: Sequence[Projection]) -> None:
        """From here on they count as folded."""
        for p in projections:
            self._writer.execute("update projection_hashes set hash = $1 where name = $2", [p.hash, p.name])

    def drop(self, names: set[str]) -> None:
        """Drop projections by name, also such as have no file any more."""
        for name, tables, views in self.fetch("select name, tables, views from projection_hashes"):
            if name in names:
                for kind, relation in [*(("view", v) for v in views), *(("table", t) for t in tables)]:
                    self._writer.execute(f"drop {kind} if exists {relation}")
                self._writer.execute("delete from projection_hashes where name = $1", [name])

    def batch(self) -> None:
        """Create the relation that folds read. Its JSON is text: it is checked once, on its way into ``events``."""
        self._writer.execute(
            "create or replace temp table batch as select * replace (data::varchar as data) from events limit 0"
        )

    def load(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Fill the batch."""
        self._writer.execute("delete from batch")
        with self._writer.appender("batch") as appender:
            appender.append_rows(rows)

    def reload(self, after: int, until: int) -> set[str]:
        """Fill the batch with events that were applied before; returns their names."""
        self._writer.execute("delete from batch")
        self._writer.execute(
            "insert into batch select * from events where seq > $1 and seq <= $2 order by seq", [after, until]
        )
        return {name for (name,) in self.fetch("select distinct event from batch")}

    def fold(self, projections: Sequence[Projection], names: set[str]) -> None:
        """Fold the batch, which holds events of these names."""
        for projection in projections:
            for fold in projection.folds:
                if fold.concerns(names):
                    self._writer.execute(fold.sql)

    def move(self, stream_created: str, sequence: int, id: str, at: Any) -> None:
        """Write the position."""
        self._writer.execute(
            "update position set stream_created = $1, sequence = $2, id = $3, stored_at = $4",
            [stream_created, sequence, id, at],
        )

    def fetch(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of the writer's own connection."""
        return self._writer.execute(sql).fetchall()
