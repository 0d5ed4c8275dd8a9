"""Questions in SQL: whatever is asked, nothing is written, no file is read, and nobody sees another's rows."""

from __future__ import annotations

import datetime
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from projections.question import Refused, TooSlow
from projections.store import Store
from tests.controls import OTHER_TENANT, STREAM, TENANT, Story, execution_id, life


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp("questions")
    (folder / "secret.csv").write_text("a,b\n1,secret\n")
    with Store(folder / "p.duckdb") as store:
        story = Story()
        life(story)
        life(story.another(OTHER_TENANT, execution_id(2)))
        store.apply(STREAM, story.records)
        yield store


WRITES = [
    "insert into tasks select * from tasks",
    "update tasks set state = 'verified'",
    "delete from events",
    "drop table events",
    "truncate events",
    "create table x as select 1",
    "create temp table x as select 1",
    "create or replace view executions as select 1",
    "create macro f(a) as a",
    "alter table tasks add column x int",
    "with x as (delete from tasks returning *) select * from x",
    "with x as (update tasks set state = 'x' returning *) select * from x",
    "with x as (insert into runs select * from runs returning *) select * from x",
    "select * from (delete from tasks returning *)",
    "merge into tasks using tasks t on true when matched then delete",
    "select 1; delete from tasks",
    "explain analyze delete from tasks",
    "begin transaction",
    "commit",
    "checkpoint",
    "vacuum",
    "select nextval('s')",
    "select write_log('x')",
    "prepare p as delete from tasks",
    "execute p",
    "from query('delete from tasks')",
    "from query_table('tasks')",
    "select * from json_execute_serialized_sql(json_serialize_sql('select 1'))",
    "call duckdb_tables()",
]
FILES = [
    "select * from read_csv('{folder}/secret.csv')",
    "select * from read_csv_auto('{folder}/secret.csv')",
    "select * from read_text('/etc/passwd')",
    "select * from read_blob('{path}')",
    "select * from read_json('/etc/passwd')",
    "select * from read_parquet('/x')",
    "select * from parquet_scan('/x')",
    "select * from sniff_csv('{folder}/secret.csv')",
    "select * from '{folder}/secret.csv'",
    'select * from "{folder}/secret.csv"',
    'with "{folder}/secret.csv" as (select 1) select * from "{folder}/secret.csv"',
    "select * from glob('/*')",
    "copy tasks to '{folder}/out.csv'",
    "copy (select 1) to '{folder}/out.csv'",
    "copy tasks from '{folder}/secret.csv'",
    "export database '{folder}/out'",
    "import database '{folder}/out'",
    "attach '{folder}/other.duckdb'",
    "attach '{path}.staging/x.duckdb'",
    "attach ':memory:' as m",
    "detach p",
    "use memory",
    "install httpfs",
    "load httpfs",
    "load '/tmp/evil.so'",
    "select * from 'https://example.com/x.parquet'",
]
SETTINGS = [
    "set enable_external_access = true",
    "set memory_limit = '99GB'",
    "set global threads = 1",
    "reset lock_configuration",
    "set variable x = 1",
    "pragma enable_profiling",
    "pragma database_list",
    "pragma version",
    "select current_setting('allowed_directories')",
    "select getvariable('x')",
    "from duckdb_settings()",
    "from duckdb_secrets()",
    "from duckdb_databases()",
    "from duckdb_tables()",
    "from pragma_database_list()",
    "from information_schema.tables",
    "from pg_catalog.pg_tables",
    "from sqlite_master",
    "with sqlite_master as (select 1) select (select count(*) from sqlite_master)",
    "show all tables",
    "show databases",
    "describe position",
    "describe select * from position",
    "summarize events",
    "select pg_get_viewdef(1)",
    "select sleep_ms(100000)",
    "select pg_sleep(100000)",
]


@pytest.mark.parametrize("tenant", [None, TENANT])
@pytest.mark.parametrize("attack", WRITES + FILES + SETTINGS)
def test_everything_but_reading_is_refused(store: Store, attack: str, tenant: str | None) -> None:
    before = store.hashes() if attack in WRITES else {}
    folder = Path(store.path).parent
    sql = attack.replace("{folder}", str(folder)).replace("{path}", store.path)
    with pytest.raises((Refused, duckdb.Error)):
        store.query(sql, tenant=tenant)
    if before:
        assert store.hashes() == before
    assert not (folder / "out.csv").exists()
    assert not (folder / "out").exists()


def test_each_wall_stands_without_the_others(store: Store) -> None:
    """Without the syntax check: the database is locked down, and the transaction only reads."""
    for sql in ("select * from read_csv('/etc/passwd')", "attach '/tmp/x.duckdb'", "copy tasks to '/tmp/x.csv'"):
        with pytest.raises(duckdb.PermissionException):
            store.rows(sql)
    with pytest.raises(duckdb.InvalidInputException, match="locked"):
        store.rows("set enable_external_access = true")
    cursor = store._database.cursor()
    cursor.execute("begin transaction read only")
    with pytest.raises(duckdb.TransactionException, match="read-only"):
        cursor.execute("with x as (delete from tasks returning *) from x")
    cursor.close()


SCOPED = [
    "select distinct tenant from {0}",
    "from (select distinct tenant from {0})",
    "with a as (select * from {0}) select distinct tenant from a",
    "with {0} as (select * from {0}) select distinct tenant from {0}",
    "select distinct b.tenant from {0} a, {0} b",
    "select distinct tenant from (select * from {0} union all select * from {0})",
    "select distinct (select max(tenant) from {0}) as tenant from {0}",
    "select distinct t.tenant from (with {0} as (select 1) select * from {0}) a, {0} t",
]
ESCAPES = [
    "select * from main.events",
    "select * from p.main.events",
    'select * from "main"."events"',
    "select * from p.events",
    "select * from temp.batch",
    "select * from batch",
    "select * from position",
    "select * from lifecycle",
    "select * from leads",
    "select * from projection_hashes",
    "select 1) select * from main.events --",
    "select 1) as x, main.events as y --",
    "select * from tasks) union all (select * from main.tasks",
    "with position as (select 1) select * from (select * from position)",
    "with leads as (select 1) select 1",
    "select * from tasks at (version => 1)",
]


@pytest.mark.parametrize("question", SCOPED)
def test_a_tenant_sees_only_its_own_rows(store: Store, question: str) -> None:
    for relation in store.relations:
        column = "tenant"
        assert store.query(question.replace("{0}", relation), tenant=TENANT).rows in ([[TENANT]], []), relation
        everybody = store.query(f"select distinct {column} from {relation} order by 1").rows
        assert everybody == [[TENANT], [OTHER_TENANT]], relation


def test_every_relation_has_a_tenant(store: Store) -> None:
    for relation in store.relations:
        assert "tenant" in store.query(f"from {relation}", limit=0).columns


@pytest.mark.parametrize("question", ESCAPES)
def test_a_tenant_cannot_reach_around(store: Store, question: str) -> None:
    with pytest.raises((Refused, duckdb.Error)):
        store.query(question, tenant=TENANT)


def test_a_tenant_with_a_quote_in_its_name_is_just_another_tenant(store: Store) -> None:
    assert store.query("from tasks", tenant="x' or '1'='1").rows == []


GOOD = [
    "select state, count(*) filter (attempt > 1) as n from tasks group by all having n >= 0 order by all",
    "select * exclude (tenant) replace (upper(title) as title) from tasks where state in ('failed') limit 2",
    "select t.task, a.outcome from tasks t left join attempts a using (execution, task) qualify rank() over () < 9",
    "select case when data ->> '$.attempt' > '1' then 'again' else 'first' end, count(*) from events group by 1",
    "with recursive r as (select 1 as n union all select n + 1 from r where n < 5) select max(n) from r",
    "values (1), (2)",
    "from range(3) r(n) select n, [x * 2 for x in range(n)], {'a': n}, list_transform([n], lambda x: x + 1)",
    "select unnest(needs) from tasks",
    "select avg(seconds), quantile_cont(seconds, 0.9), stddev(seconds) from attempts where outcome <> 'running'",
    "select date_trunc('hour', stored_at), count(*) from events group by 1",
    "select * from tasks where exists (from attempts a where a.task = tasks.task) union select * from tasks",
    "select key, value from json_each('{\"a\": 1}')",
    "select * from tasks limit 50%",
    "select now() > stored_at, current_date > '2020-01-01' from events limit 1",
    "select distinct on (task) task, seq from attempts order by task, seq desc;  -- the newest",
    "-- €\nselect ';--ü' as x /* ; */ ; /* ü */ ; -- é;",
]


@pytest.mark.parametrize("question", GOOD)
def test_ordinary_questions_are_answered(store: Store, question: str) -> None:
    assert store.query(question).rows
    assert store.query(question, tenant=TENANT).rows


def test_the_relations_and_their_columns_can_be_listed(store: Store) -> None:
    assert store.query("show tables;", tenant=TENANT).rows == [[name] for name in store.relations]
    assert ["state", "VARCHAR"] in store.query("DESCRIBE tasks", tenant=TENANT).rows


def test_the_order_of_a_tenants_answer_is_the_one_asked_for(store: Store) -> None:
    rows = store.query("select seq from events order by seq desc", tenant=TENANT).rows
    assert rows == sorted(rows, reverse=True)


def test_parameters_limits_and_values(store: Store) -> None:
    answer = store.query("select seq, event from events where seq > ? order by seq", [2], limit=3, tenant=TENANT)
    assert answer.columns == ["seq", "event"]
    assert [row[0] for row in answer.rows] == [3, 4, 5]
    assert answer.truncated
    assert not store.query("select 1", limit=1).truncated
    assert store.query("select seq from events where event = $e", {"e": "PlanAccepted"}, tenant=TENANT).rows == [[2]]
    (row,) = store.query(
        "select timestamp '2026-01-02 03:04:05.000006', timestamptz '2026-01-02 03:04:05+02', date '2026-01-02', "
        "1.5::decimal(5,2), 'x'::blob, [1, null], {'a': timestamp '2026-01-01'}, 'nan'::double, 2::hugeint, "
        "[timestamptz '2026-01-02 03:04:05+00'], interval 90 second, '{\"a\": [1]}'::json, "
        "uuid '0192f0c1-0000-7000-8000-000000000001'"
    ).rows
    assert row[:9] == [
        "2026-01-02T03:04:05.000006Z", "2026-01-02T01:04:05.000000Z", "2026-01-02", 1.5, "eA==", [1, None],
        {"a": "2026-01-01T00:00:00.000000Z"}, None, 2,
    ]  # fmt: skip
    assert row[10:] == [90.0, {"a": [1]}, "0192f0c1-0000-7000-8000-000000000001"]


def test_a_slow_question_is_stopped_and_the_store_goes_on(store: Store) -> None:
    start = time.monotonic()
    with pytest.raises(TooSlow, match=r"longer than 0\.3 s"):
        store.query("select count(*) from range(1000000) a, range(1000000) b where a.range + b.range = 7", timeout=0.3)
    assert time.monotonic() - start < 10
    assert store.query("select 1").rows == [[1]]


def test_long_and_deep_questions_are_refused(store: Store) -> None:
    for sql in ("select 1 -- " + "x" * 100_001, "select " + "(" * 3000 + "1" + ")" * 3000, "", ";", "not sql"):
        with pytest.raises((Refused, duckdb.Error)):
            store.query(sql)


def test_many_threads_ask_while_events_arrive() -> None:
    story = Story()
    for i in range(10):
        life(story.another(TENANT, execution_id(i + 1)))
    errors: list[BaseException] = []
    with Store() as store:
        store.apply(STREAM, story.records[:30])
        ended = threading.Event()

        def ask() -> None:
            try:
                while not ended.is_set():
                    rows, position = store.query("select count(*), max(seq) from events", tenant=TENANT).rows[0]
                    assert rows == position
                    store.hashes()
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        for start in range(30, 300, 30):
            store.apply(STREAM, story.records[start : start + 30])
        ended.set()
        for thread in threads:
            thread.join()
    assert errors == []


def test_times_are_kept_in_utc_without_a_zone(store: Store) -> None:
    ((at,),) = store.rows("select min(stored_at) from events")
    assert isinstance(at, datetime.datetime)
    assert at == datetime.datetime(2026, 9, 21, 14, 13, 21)
