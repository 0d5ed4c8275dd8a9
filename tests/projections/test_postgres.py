"""The founding tables in a real PostgreSQL: what they say, exactly once, the same as a rebuild gives (C20, LE-5)."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any, cast

import psycopg
import pytest

from events import (
    BranchRolledBack,
    ExecutionCancelled,
    ExecutionCancelling,
    ExecutionReopened,
    RatingRecorded,
    RollbackBegun,
    TaskBlocked,
    TasksGivenUp,
    TaskTaken,
    Usage,
)
from events.log import EventLog, Recorded
from events.machines import EXECUTION, TASK
from projections.postgres.rows import Rows, as_uuid, needs
from projections.postgres.sink import PostgresSink
from projections.postgres.store import Overtaken, PostgresStore, SinkError
from projections.replay import replay
from projections.store import Store
from schemas import words
from schemas.settings import Settings
from tests.controls import (
    CONVERSATION,
    EXECUTION_ID,
    OTHER_TENANT,
    PLAN_ID,
    STREAM,
    TENANT,
    Story,
    counted,
    executed_fact,
    execution_id,
    failed_fact,
    in_batches,
    life,
    plan,
    task,
    verified_fact,
)
from tests.postgres import Server, needs_postgres, postgres
from tests.projections.test_projector import Told

TABLES = ("executions", "execution_tasks", "execution_metrics", "metric_trends", "conversation_executions")


def eventful() -> list[Recorded]:
    """Several executions of two tenants, with everything in it that changes a row."""
    story = Story()
    life(story)
    story.say(ExecutionReopened(tasks=("3",), reason="again", requested_by=f"{TENANT}/ada"))
    story.say(RatingRecorded(rating=4, by=f"{TENANT}/ada", task="1"))
    story.say(RatingRecorded(rating=8, by=f"{TENANT}/ada", task="1"))
    story.say(RatingRecorded(rating=7, by=f"{TENANT}/bob"))
    story.start("3", 2)
    story.say(executed_fact(story.lease["3"], 2), "3")
    story.say(counted(verified_fact(story.lease["3"], 2), passed=7, failed=1), "3")
    story.complete()
    other = story.another(OTHER_TENANT, execution_id(5))
    other.submit(plan(task("a"), task("b"), task("c", needs=("a",)), id="not a uuid", conversation_id="chat 7"))
    other.accept()
    other.start("a")
    usage = Usage(seconds=2.0000005, tokens=1200)
    other.say(verified_of(other, "a", usage), "a")
    other.say(verified_fact(other.lease["a"]), "a")
    other.start("b")
    other.say(ExecutionCancelling(reason="enough", requested_by="globex/eve"))
    other.say(ExecutionCancelled(verified=1, cancelled=2))
    return story.records


def verified_of(story: Story, name: str, usage: Usage) -> Any:
    fact = executed_fact(story.lease[name])
    return type(fact)(**{n: getattr(fact, n) for n in fact.__slots__} | {"usage": usage})


def in_memory(records: list[Recorded]) -> Rows:
    rows = Rows()
    for record in records:
        rows.apply(record)
    return rows


# -- what the rows say ----------------------------------------------------------------------------------------------


def test_the_rows_of_a_life() -> None:
    (execution,), tasks, _ = in_memory(life()).changed
    assert (str(execution.id), str(execution.conversation_id), str(execution.plan_id)) == (
        EXECUTION_ID, CONVERSATION, PLAN_ID,
    )  # fmt: skip
    assert (execution.status, execution.total_tasks, execution.completed_tasks, execution.failed_tasks) == (
        "failed", 4, 3, 1,
    )  # fmt: skip
    assert execution.started_at is not None
    assert execution.completed_at is not None
    assert {t.task_id: t.status for t in tasks} == {"0": "completed", "1": "completed", "2": "completed", "3": "failed"}
    one, three = (next(t for t in tasks if t.task_id == name) for name in "13")
    assert (one.error_message, one.completed_at is not None) == (None, True)
    assert [r["result"] for r in one.verification_results or []] == ["pass"]
    assert one.checkpoint_data["commit"]
    assert three.error_message == "exit code 2"


def test_the_scores_are_those_of_the_projections() -> None:
    records = eventful()
    _, _, metrics = in_memory(records).changed
    ours = sorted((str(m.execution_id), m.task_id or "", m.metric_name, round(m.metric_value, 6)) for m in metrics)
    with replay(records, stream_created=STREAM) as store:
        theirs = store.rows("select execution, coalesce(task, ''), score, round(value, 6) from scores order by all")
    assert ours == theirs
    assert {name for _, _, name, _ in ours} == {
        "duration", "test_pass_rate", "success_ratio", "context_tokens", "rating",
    }  # fmt: skip


def test_counts_are_those_of_the_projections_at_every_moment() -> None:
    rows, records = Rows(), eventful()
    with Store() as store:
        for record in records:
            rows.apply(record)
            store.apply(STREAM, [record])
            ours = {
                (str(r.id), r.completed_tasks, r.failed_tasks, r.metadata["state"]) for r in rows.executions.values()
            }
            theirs = store.rows(
                "select execution, verified + satisfied, failed + blocked, state from executions "
                "where accepted_at is not null"
            )
            assert ours == set(theirs)


def test_another_tenant_with_the_same_id_gets_rows_of_its_own() -> None:
    story = Story()
    story.submit()
    story.accept()
    other = story.another(OTHER_TENANT, EXECUTION_ID)
    other.submit(plan(task("1"), title="Stolen"))
    other.accept()
    other.start("1")
    other.verify("1")
    executions, tasks, _ = in_memory(story.records).changed
    assert {(r.metadata["tenant"], r.metadata["title"], r.completed_tasks) for r in executions} == {
        (TENANT, "Ship the thing", 0), (OTHER_TENANT, "Stolen", 1),
    }  # fmt: skip
    assert len({t.id for t in tasks}) == 2


def test_what_is_rolled_back_is_to_be_made_again() -> None:
    story = Story()
    story.submit(plan(task("1"), task("2", needs=("1",)), task("3")))
    story.accept()
    for name in "12":
        story.start(name)
        story.verify(name)
    story.say(TaskTaken(attempt=1, by=f"{TENANT}/ada"), "3")
    story.say(RollbackBegun(reason="wrong", requested_by=f"{TENANT}/ada", to="1"))
    story.say(BranchRolledBack(to="c0d1" * 10, task="1", invalidated=("2",), reason="wrong"))
    (execution,), tasks, _ = in_memory(story.records).changed
    assert {t.task_id: (t.status, t.completed_at is not None) for t in tasks} == {
        "1": ("completed", True), "2": ("pending", False), "3": ("in_progress", False),
    }  # fmt: skip
    assert (execution.completed_tasks, execution.status, execution.metadata["state"]) == (1, "running", "pausing")


def test_what_is_given_up_together_has_failed() -> None:
    story = Story()
    story.submit(plan(task("1"), task("2")))
    story.accept()
    for name in "12":
        story.start(name)
        story.fail(name)
        story.start(name, 2)
        story.say(failed_fact(story.lease[name], 2), name)
        story.say(TaskBlocked(attempts=2, reason="no idea"), name)
    story.say(TasksGivenUp(tasks=("1", "2"), reason="nobody came"))
    (execution,), tasks, _ = in_memory(story.records).changed
    assert [(t.status, t.checkpoint_data["state"], t.error_message) for t in tasks] == [
        ("failed", "failed", "no idea")
    ] * 2
    assert execution.failed_tasks == 2


def test_every_state_has_a_founding_word() -> None:
    assert words.TASK.keys() == set(TASK.states)
    assert words.EXECUTION.keys() == set(EXECUTION.states)
    assert set(words.TASK.values()) == set(words.TASK_WORDS)
    assert set(words.EXECUTION.values()) == set(words.EXECUTION_WORDS)


def test_ids_that_are_none_are_derived() -> None:
    assert as_uuid(PLAN_ID) == uuid.UUID(PLAN_ID)
    assert as_uuid("chat 7") == as_uuid("chat 7") != as_uuid("chat 8")


def test_what_a_batch_needs_is_all_that_it_reads() -> None:
    """Fold event by event with nothing but the rows that ``needs`` names: the same comes out."""
    stored = Rows()
    records = eventful()
    for record in records:
        wanted = needs([record])
        part = Rows(
            [r for id, r in stored.executions.items() if id in wanted.executions],
            [t for id, t in stored.tasks.items() if id in wanted.tasks or t.execution_id in wanted.whole],
        )
        part.apply(record)
        executions, tasks, metrics = part.changed
        stored.executions |= {r.id: r for r in executions}
        stored.tasks |= {t.id: t for t in tasks}
        stored.metrics |= {m.id: m for m in metrics}
    whole = in_memory(records)
    assert (stored.executions, stored.tasks, stored.metrics) == (whole.executions, whole.tasks, whole.metrics)


def test_the_founding_variables_are_aliases(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().postgres_connection() is None
    for name, value in {"HOST": "db", "PORT": "6000", "DB": "founding", "USER": "me", "PASSWORD": "it's \\"}.items():
        monkeypatch.setenv(f"POSTGRES_{name}", value)
    assert Settings().postgres_connection() == (
        r"host='db' port='6000' dbname='founding' user='me' password='it\'s \\'"
    )
    assert "it's" not in repr(Settings())
    monkeypatch.setenv("NIGHTSHIFT_POSTGRES_HOST", "other")
    assert Settings().postgres_host == "other"
    monkeypatch.setenv("NIGHTSHIFT_POSTGRES_DSN", "host=third")
    assert Settings().postgres_connection() == "host=third"


# -- a real server --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgres() as found:
        yield found


@pytest.fixture
def dsn(server: Server) -> str:
    return server.database(f"d{uuid.uuid4().hex}")


def rows_of(dsn: str) -> dict[str, list[Any]]:
    """Everything in the tables; the trend view brought up to date first."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("refresh materialized view metric_trends")
        return {table: connection.execute(f"select * from {table} order by 1, 2").fetchall() for table in TABLES}


@contextlib.asynccontextmanager
async def opened(dsn: str, **how: Any) -> AsyncIterator[PostgresStore]:
    store = await PostgresStore.open(dsn, **how)
    try:
        yield store
    finally:
        await store.close()


async def built(dsn: str, records: list[Recorded], size: int = 1000) -> dict[str, list[Any]]:
    async with opened(dsn) as store:
        for batch in in_batches(records, size):
            await store.apply(STREAM, batch)
    return await asyncio.to_thread(rows_of, dsn)


@needs_postgres
async def test_the_tables_are_the_same_however_the_log_is_cut(server: Server) -> None:
    records = eventful()
    found = [await built(server.database(f"cut{size}"), records, size) for size in (1, 3, 1000)]
    assert found[0] == found[1] == found[2]
    assert all(found[0][table] for table in TABLES)
    assert len(found[0]["executions"]) == 2


@needs_postgres
async def test_names_types_and_indexes_are_the_founding_ones(dsn: str) -> None:
    await built(dsn, eventful())
    with psycopg.connect(dsn) as connection:

        def all_of(query: str) -> set[Any]:
            return {row if len(row) > 1 else row[0] for row in connection.execute(query).fetchall()}

        assert all_of("select column_name from information_schema.columns where table_name = 'execution_tasks'") == {
            "id", "execution_id", "task_id", "title", "status", "started_at", "completed_at", "duration_seconds",
            "verification_results", "error_message", "checkpoint_data",
        }  # fmt: skip
        assert all_of("select indexname from pg_indexes where schemaname = 'public'") >= {
            "idx_executions_conversation",
            "idx_execution_tasks_execution",
            "idx_execution_tasks_status",
        }
        found = connection.execute(
            "select e.status, t.status, t.duration_seconds from conversation_executions e "
            "join execution_tasks t on t.execution_id = e.id where e.conversation_id = %s and t.task_id = '1'",
            (CONVERSATION,),
        ).fetchone()
        assert found is not None
        assert found[:2] == ("completed", "completed")
        trend = connection.execute(
            "select avg_value, sample_count from metric_trends where metric_name = 'rating'"
        ).fetchall()
        assert trend == [(7.5, 2)]


@needs_postgres
async def test_what_was_applied_is_not_applied_again_and_nothing_may_be_missing(dsn: str) -> None:
    records = eventful()
    async with opened(dsn) as store:
        await store.apply(STREAM, records[:10])
        await store.apply(STREAM, records[:12])
        with pytest.raises(SinkError, match="sequence 13 is missing"):
            await store.apply(STREAM, records[13:])
    async with opened(dsn) as again:
        assert again.position.sequence == 12
        await again.apply(STREAM, records)
    assert await asyncio.to_thread(rows_of, dsn) == await built(dsn, records)


@needs_postgres
async def test_two_sinks_do_not_count_twice(dsn: str, server: Server) -> None:
    records = eventful()
    async with opened(dsn) as one, opened(dsn) as two:
        await one.apply(STREAM, records[:20])
        with pytest.raises(Overtaken):
            await two.apply(STREAM, records[:20])
    async with opened(dsn) as late:
        await late.apply(STREAM, records)
    fresh = server.database(f"d{uuid.uuid4().hex}")
    assert await asyncio.to_thread(rows_of, dsn) == await built(fresh, records)


@needs_postgres
async def test_text_that_postgres_cannot_hold_is_stored_all_the_same(dsn: str) -> None:
    story = Story()
    story.submit(plan(task("1", title="nul \0 here"), title="\0"))
    story.accept()
    story.start("1")
    story.say(failed_fact(story.lease["1"], reason="\0\ud7ff"), "1")
    rows = await built(dsn, story.records)
    assert rows["execution_tasks"][0][3] == "nul \ufffd here"


@needs_postgres
async def test_a_table_of_somebody_else_is_left_alone(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("create table executions (mine int); insert into executions values (7)")
    with pytest.raises(SinkError, match="NIGHTSHIFT_POSTGRES_SCHEMA"):
        await PostgresStore.open(dsn)
    async with opened(dsn, schema="nightshift") as store:
        await store.apply(STREAM, eventful())
    with psycopg.connect(dsn) as connection:
        assert connection.execute("select mine from public.executions").fetchall() == [(7,)]
        assert connection.execute("select count(*) from nightshift.executions").fetchall() == [(2,)]


@needs_postgres
async def test_a_table_of_conversations_is_honoured(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("create table conversations (id uuid primary key, title text)")
        connection.execute("insert into conversations values (%s, 'known')", (CONVERSATION,))
    await built(dsn, eventful())
    with psycopg.connect(dsn) as connection:
        rows = connection.execute("select title from conversations order by title nulls last").fetchall()
        assert rows == [("known",), (None,)]
        keys = connection.execute("select count(*) from pg_constraint where conname = 'executions_conversation'")
        assert keys.fetchall() == [(1,)]


@needs_postgres
async def test_conversations_that_want_more_are_named_with_a_remedy(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("create table conversations (id uuid primary key, title text not null)")
    async with opened(dsn) as store:
        with pytest.raises(SinkError, match="NIGHTSHIFT_POSTGRES_CONVERSATIONS"):
            await store.apply(STREAM, eventful())
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("drop schema public cascade; create schema public")
        connection.execute("create table conversations (id uuid primary key, title text not null)")
    async with opened(dsn, conversations=False) as store:
        await store.apply(STREAM, eventful())


@needs_postgres
async def test_tables_of_another_version_are_made_anew(dsn: str) -> None:
    records = eventful()
    before = await built(dsn, records)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("update nightshift_position set version = 'older'")
        connection.execute("update execution_tasks set title = 'damaged'")
    async with opened(dsn) as store:
        assert store.position.sequence == 0
    assert await built(dsn, records) == before


# -- following ------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def following(told: Told, dsn: str) -> AsyncIterator[PostgresSink]:
    sink = PostgresSink("", dsn)
    running = asyncio.create_task(sink.run(cast(EventLog, told)))
    try:
        yield sink
    finally:
        running.cancel()
        (ended,) = await asyncio.gather(running, return_exceptions=True)
        assert isinstance(ended, asyncio.CancelledError), ended


async def reached(sink: PostgresSink, sequence: int) -> None:
    async with asyncio.timeout(30):
        while sink.position != sequence or sink.trouble:  # noqa: ASYNC110  # another task moves it
            await asyncio.sleep(0.01)


@needs_postgres
async def test_it_follows_and_goes_on_where_it_was(dsn: str, server: Server) -> None:
    records = eventful()
    told = Told(records[:15])
    async with following(told, dsn) as sink:
        await reached(sink, 15)
        told.tell(*records[15:25])
        await reached(sink, 25)
    told.tell(*records[25:])
    async with following(told, dsn) as sink:
        await reached(sink, len(records))
    fresh = server.database(f"d{uuid.uuid4().hex}")
    assert await asyncio.to_thread(rows_of, dsn) == await built(fresh, records)


@needs_postgres
async def test_h20_another_log_means_a_rebuild(dsn: str, server: Server) -> None:
    records = eventful()
    await built(dsn, records)
    story = Story()
    life(story)
    async with following(Told(story.records, created="2026-10-01T00:00:00Z"), dsn) as sink:
        await reached(sink, len(story.records))
    fresh = server.database(f"d{uuid.uuid4().hex}")
    found = await built(fresh, story.records)
    assert await asyncio.to_thread(rows_of, dsn) == found
    assert len(found["executions"]) == 1


@needs_postgres
async def test_a_server_that_goes_away_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("projections.postgres.sink.RETRY", (0.1,))
    records = eventful()
    with postgres() as server:
        dsn = server.database("away")
        told = Told(records[:15])
        async with following(told, dsn) as sink:
            await reached(sink, 15)
            await asyncio.to_thread(server.stop, "immediate")
            told.tell(*records[15:])
            async with asyncio.timeout(30):
                while not sink.trouble:  # noqa: ASYNC110  # another task notices
                    await asyncio.sleep(0.01)
            with pytest.raises(RuntimeError, match="do not follow"):
                await sink.health()
            await asyncio.to_thread(server.start)
            await reached(sink, len(records))
        assert await asyncio.to_thread(rows_of, dsn) == await built(server.database("fresh"), records)
