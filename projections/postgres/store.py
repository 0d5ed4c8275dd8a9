"""The one door to psycopg: the founding tables, and our position in the log in the same transaction (DESIGN 7)."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import psycopg
from psycopg import AsyncConnection, AsyncCursor, sql
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from events.log import Recorded
from projections.postgres.rows import VERSION, ExecutionRow, MetricRow, Rows, TaskRow, needs

SCHEMA = (Path(__file__).parent / "schema.sql").read_text(encoding="utf-8")
HASH = hashlib.sha256(f"{VERSION}\n{SCHEMA}".encode()).hexdigest()[:16]
"""When it changes the tables are made anew."""
_OURS = ("execution_metrics", "execution_tasks", "executions")
_REFUSED = (
    "the schema {0!r} of this database holds {1}, which is not ours: "
    "name another one with NIGHTSHIFT_POSTGRES_SCHEMA, or move that away"
)

Error = psycopg.Error
"""What the database says."""
Unreachable = (psycopg.OperationalError, psycopg.InterfaceError)
"""It may be there again later."""
log = logging.getLogger(__name__)


class SinkError(Exception):
    """The tables cannot be kept as they are."""


class Overtaken(SinkError):
    """Another sink moved on in the meantime: look again where the tables stand."""


@dataclasses.dataclass(frozen=True, slots=True)
class Position:
    """How far the log was applied, and how to know that log again (hazard H20)."""

    stream_created: str = ""
    sequence: int = 0
    event_id: str = ""


class PostgresStore:
    """One connection to the founding tables."""

    def __init__(self, connection: AsyncConnection[Any], schema: str, *, conversations: bool) -> None:
        self._connection = connection
        self._schema = schema
        self._conversations = conversations
        """Whether the key to ``conversations`` is kept where that table exists."""
        self._linked = False
        self.position = Position()

    @classmethod
    async def open(cls, dsn: str, *, schema: str = "public", conversations: bool = True) -> PostgresStore:
        """Connect; make the tables if they are not there or are of another version. Raises SinkError, Error."""
        connection = await AsyncConnection.connect(dsn, autocommit=True, application_name="nightshift")
        store = cls(connection, schema, conversations=conversations)
        try:
            async with connection.transaction():
                await store._prepare()
        except BaseException:
            await connection.close()
            raise
        return store

    async def close(self) -> None:
        """Hang up."""
        await self._connection.close()

    # -- writing --------------------------------------------------------------------------------------------------

    async def apply(self, stream_created: str, records: Sequence[Recorded]) -> int:
        """Apply a batch in one transaction; what was applied before is skipped. Returns how many scores changed.

        Raises SinkError if events are missing, Overtaken if another sink has moved on; then nothing is applied.
        """
        fresh = [r for r in records if r.sequence > self.position.sequence]
        if not fresh:
            return 0
        for expected, recorded in enumerate(fresh, self.position.sequence + 1):
            if recorded.sequence != expected:
                raise SinkError(f"the log's sequence {expected} is missing; {recorded.sequence} came instead")
        reached = Position(stream_created, fresh[-1].sequence, fresh[-1].id)
        async with self._connection.transaction(), self._connection.cursor() as cursor:
            await self._move(cursor, reached)
            rows = await self._load(fresh)
            for recorded in fresh:
                rows.apply(recorded)
            executions, tasks, metrics = rows.changed
            if self._linked:
                await self._name_conversations(cursor, executions)
            for table, found in (
                ("executions", executions),
                ("execution_tasks", tasks),
                ("execution_metrics", metrics),
            ):
                await self._upsert(cursor, table, found)
        self.position = reached
        return len(metrics)

    async def reset(self, why: str) -> None:
        """Forget everything; the log is to be applied from its beginning."""
        log.warning("the PostgreSQL tables are made anew: %s", why)
        async with self._connection.transaction():
            await self._drop()
            await self._create()

    async def refresh(self) -> None:
        """Bring the trend view up to date."""
        await self._connection.execute("refresh materialized view concurrently metric_trends")

    # -- inside ---------------------------------------------------------------------------------------------------

    async def _prepare(self) -> None:
        schema = sql.Identifier(self._schema)
        if not await self._one("select to_regnamespace(%s)", self._schema):
            await self._connection.execute(sql.SQL("create schema {}").format(schema))
        await self._connection.execute(sql.SQL("set search_path to {}").format(schema))
        await self._connection.execute("set time zone 'UTC'")
        await self._connection.execute("select pg_advisory_xact_lock(hashtext('nightshift schema'))")
        if await self._one("select to_regclass('nightshift_position')"):
            version = await self._one("select version from nightshift_position")
            if version == HASH:
                await self._look()
                return
            log.warning("the PostgreSQL tables are made anew: they are of another version")
            await self._drop()
        await self._refuse_strangers()
        await self._create()

    async def _look(self) -> None:
        """Read where the tables stand."""
        cursor = await self._connection.execute("select stream_created, sequence, event_id from nightshift_position")
        row = await cursor.fetchone()
        assert row is not None
        self.position = Position(*row)
        self._linked = bool(await self._one("select 1 from pg_constraint where conname = 'executions_conversation'"))

    async def _refuse_strangers(self) -> None:
        for kind, names in (
            ("to_regclass", (*_OURS, "metric_trends")),
            ("to_regtype", ("execution_status", "task_status")),
        ):
            for name in names:
                if await self._one(f"select {kind}(%s)", f"{self._schema}.{name}"):
                    raise SinkError(_REFUSED.format(self._schema, name))

    async def _create(self) -> None:
        await self._connection.execute(SCHEMA)
        await self._connection.execute("insert into nightshift_position values (true, %s, '', 0, '')", (HASH,))
        self._linked = self._conversations and bool(await self._one("select to_regclass('conversations')"))
        if self._linked:
            await self._connection.execute(
                "alter table executions add constraint executions_conversation "
                "foreign key (conversation_id) references conversations (id)"
            )
        self.position = Position()

    async def _drop(self) -> None:
        await self._connection.execute("drop materialized view if exists metric_trends")
        await self._connection.execute("drop view if exists conversation_executions")
        for table in (*_OURS, "nightshift_position"):
            await self._connection.execute(sql.SQL("drop table if exists {}").format(sql.Identifier(table)))
        await self._connection.execute("drop type if exists execution_status, task_status")

    async def _one(self, query: str, *values: Any) -> Any:
        cursor = await self._connection.execute(query, values)
        row = await cursor.fetchone()
        return row[0] if row else None

    async def _move(self, cursor: AsyncCursor[Any], reached: Position) -> None:
        """Write the position, if it is still where we left it."""
        await cursor.execute(
            "update nightshift_position set stream_created = %s, sequence = %s, event_id = %s "
            "where sequence = %s and event_id = %s and version = %s",
            (*dataclasses.astuple(reached), self.position.sequence, self.position.event_id, HASH),
        )
        if cursor.rowcount != 1:
            raise Overtaken(f"the tables are not at {self.position.sequence} any more")

    async def _load(self, records: Sequence[Recorded]) -> Rows:
        wanted = needs(records)
        async with self._connection.cursor(row_factory=class_row(ExecutionRow)) as cursor:
            await cursor.execute("select * from executions where id = any(%s)", (list(wanted.executions),))
            executions = await cursor.fetchall()
        async with self._connection.cursor(row_factory=class_row(TaskRow)) as cursor:
            await cursor.execute(
                "select * from execution_tasks where id = any(%s) or execution_id = any(%s)",
                (list(wanted.tasks), list(wanted.whole)),
            )
            return Rows(executions, await cursor.fetchall())

    async def _name_conversations(self, cursor: AsyncCursor[Any], executions: Iterable[ExecutionRow]) -> None:
        """Enter unknown conversations by their id alone. Raises SinkError where their table wants more."""
        ids = [(id,) for id in sorted({row.conversation_id for row in executions})]
        try:
            await cursor.executemany("insert into conversations (id) values (%s) on conflict do nothing", ids)
        except psycopg.errors.IntegrityError as error:
            raise SinkError(
                f"an unknown conversation cannot be entered: {str(error).splitlines()[0]}; "
                "set NIGHTSHIFT_POSTGRES_CONVERSATIONS=false to leave the key out, and drop our tables once"
            ) from error

    async def _upsert(
        self, cursor: AsyncCursor[Any], table: str, rows: Sequence[ExecutionRow | TaskRow | MetricRow]
    ) -> None:
        if not rows:
            return
        names = [f.name for f in dataclasses.fields(rows[0])]
        columns = sql.SQL(", ").join(map(sql.Identifier, names))
        values = sql.SQL(", ").join([sql.Placeholder()] * len(names))
        changes = sql.SQL(", ").join(
            sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in names if name != "id"
        )
        query = sql.SQL("insert into {} ({}) values ({}) on conflict (id) do update set {}").format(
            sql.Identifier(table), columns, values, changes
        )
        await cursor.executemany(query, [[_value(getattr(row, name)) for name in names] for row in rows])


def _value(value: Any) -> Any:
    """A value as PostgreSQL can hold it: no NUL in any text, JSON where it is no scalar."""
    if isinstance(value, dict | list | tuple):
        return Jsonb(_plain(value))
    return _plain(value)


def _plain(value: Any) -> Any:
    match value:
        case str():
            return value.replace("\0", "\ufffd")
        case dict():
            return {_plain(k): _plain(v) for k, v in value.items()}
        case list() | tuple():
            return [_plain(v) for v in value]
        case _:
            return value
