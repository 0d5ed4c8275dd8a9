"""Questions in SQL: what can be asked, and how it is answered."""

from __future__ import annotations

import datetime
import threading
import time
from collections.abc import Iterator

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
