"""Questions in SQL: whatever is asked, nothing is written, no file is read, and nobody sees another's rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from projections.question import Refused
from projections.store import Store
from tests.controls import OTHER_TENANT, STREAM, TENANT, Story, execution_id, life
from tests.examples import examples


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp("questions")
    (folder / "secret.csv").write_text("a,b\n1,secret\n")
    with Store(folder / "p.duckdb") as store:
        story = Story()
        for told in (story, story.another(OTHER_TENANT, execution_id(2))):
            life(told)
            told.say(examples()["TaskGatesJudged"], "1")
            told.say(examples()["HealthWarned"], "3")
            told.say(examples()["NoticeFailed"])
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


def test_a_question_that_slips_through_the_syntax_check_still_only_reads(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projections.question._checked", lambda cursor, sql, visible: sql)
    before = store.hashes()
    for sql in ("with x as (delete from tasks returning *) from x", "select 1; delete from tasks"):
        with pytest.raises(duckdb.Error):
            store.query(sql)
    assert store.hashes() == before
    with pytest.raises(duckdb.PermissionException):
        store.query("from read_text('/etc/passwd')")


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
