"""The founding metrics: counted from the projections, and four queries answered by a real Prometheus (contract C21)."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import json
import re
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nightshift.server_process import free_port
from projections.metrics import BOUNDS, families
from projections.replay import replay
from projections.store import Store
from schemas.metrics import Family
from schemas.settings import Settings
from services.prometheus import serve
from services.telemetry import Publisher
from tests.controls import PLAN_ID, STREAM, Story, execution_id, life, plan, task
from tests.otlp import receiving

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
NOW = datetime.datetime(2026, 9, 21, 15, 0)
FOUR = (
    'sum by (status) (execution_tasks_total{{plan_id="{plan}"}})',
    'rate(execution_task_duration_seconds_sum{{plan_id="{plan}"}}[5m])',
    'sum(rate(execution_errors_total{{plan_id="{plan}"}}[5m]))',
    '(execution_tasks_completed{{plan_id="{plan}"}} / execution_tasks_total{{plan_id="{plan}"}}) * 100',
)
"""The four queries of the founding document."""
needs_prometheus = pytest.mark.skipif(
    not (shutil.which("prometheus") and shutil.which("promtool")), reason="prometheus is not installed"
)


def collected(store: Store, *, now: datetime.datetime = NOW, keep: float = 3600, most: int = 100) -> dict[str, Family]:
    return {f.name: f for f in families(store, now=now, keep=keep, most=most)}


def values(family: Family) -> dict[tuple[str, ...], float]:
    """Values by the labels behind plan_id."""
    return {tuple(v for k, v in s.labels if k != "plan_id"): s.value for s in family.samples}


def test_they_say_what_happened() -> None:
    with replay(life(), stream_created=STREAM) as store:
        found = collected(store)
    assert values(found["execution_tasks_total"]) == {
        ("pending",): 0, ("in_progress",): 0, ("completed",): 3, ("failed",): 1, ("skipped",): 0, (): 4,
    }  # fmt: skip
    assert values(found["execution_tasks_completed"]) == {(): 3}
    assert values(found["execution_errors_total"]) == {
        ("failed",): 2, ("timed_out",): 0, ("rejected",): 1, ("expired",): 0
    }  # fmt: skip
    (duration,) = found["execution_task_duration_seconds"].samples
    attempts = [a for (a,) in store_seconds(life())]
    assert (duration.value, sum(duration.buckets)) == (pytest.approx(sum(attempts)), len(attempts))
    assert len(duration.buckets) == len(BOUNDS) + 1
    assert values(found["nightshift_executions"]) == {("failed",): 1}
    assert values(found["nightshift_quarantined"]) == {(): 2}


def store_seconds(records: list[Any]) -> list[tuple[float]]:
    """Every duration that an executor measured, from the facts themselves."""
    usages = [getattr(r.fact, "usage", None) for r in records if r.standing == "ok"]
    return [(u.seconds,) for u in usages if u is not None]


def test_counters_are_there_at_zero_when_the_plan_is_accepted() -> None:
    story = Story()
    story.submit()
    with replay(story.records, stream_created=STREAM) as store:
        assert collected(store)["execution_errors_total"].samples == ()
        story.accept()
        store.apply(STREAM, story.records)
        found = collected(store)
    assert set(values(found["execution_errors_total"]).values()) == {0}
    assert [sum(s.buckets) for s in found["execution_task_duration_seconds"].samples] == [0]


def test_no_counter_falls_however_the_log_is_cut_up_or_started_again() -> None:
    records = life()
    before: dict[tuple[str, ...], float] = {}
    with Store() as store:
        for record in records:
            store.apply(STREAM, [record])
            found = collected(store)
            now = {
                (f.name, *map(str, s.labels)): v
                for f in found.values() if f.kind != "gauge"
                for s in f.samples for v in (s.value, sum(s.buckets))
            }  # fmt: skip
            assert all(now[key] >= value for key, value in before.items())
            before = now
    with replay(records, stream_created=STREAM) as again:
        assert collected(again) == found


def test_plans_that_ended_long_ago_have_no_series_and_the_newest_count() -> None:
    story = Story()
    for number in range(5):
        story = story.another("acme", execution_id(number))
        story.submit(plan(task("1"), id=f"plan-{number}"))
        story.accept()
        story.start("1")
        story.verify("1")
        if number < 3:
            story.complete()
    ended = datetime.datetime.fromtimestamp(story.records[-1].at_ns / 1e9, datetime.UTC).replace(tzinfo=None)
    with replay(story.records, stream_created=STREAM) as store:

        def plans(**how: Any) -> list[str]:
            return [dict(s.labels)["plan_id"] for s in collected(store, **how)["execution_tasks_completed"].samples]

        assert len(plans(now=ended)) == 5
        assert plans(now=ended + datetime.timedelta(hours=2)) == ["plan-4", "plan-3"]
        assert plans(now=ended, most=2) == ["plan-4", "plan-3"]


def test_a_plan_that_is_run_again_shows_the_new_run_and_keeps_counting() -> None:
    story = Story()
    for number in range(2):
        story = story.another("acme", execution_id(number))
        story.submit(plan(task("1"), task("2")))
        story.accept()
        story.start("1")
        story.fail("1", again=number == 1)
    with replay(story.records, stream_created=STREAM) as store:
        found = collected(store)
    assert values(found["execution_tasks_total"])[()] == 2
    assert values(found["execution_tasks_total"])[("failed",)] == 0
    assert values(found["execution_errors_total"])[("failed",)] == 2


async def test_a_collector_gets_them_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as receiver, replay(life(), stream_created=STREAM) as store:
        for name, value in receiver.environment.items():
            monkeypatch.setenv(name, value)

        def metrics(*, keep: float, most: int) -> list[Family]:
            return families(store, now=NOW, keep=keep, most=most)

        publisher = Publisher(Settings(telemetry="otlp"), metrics)
        await publisher.start()
        async with asyncio.timeout(10):
            while not receiver.metrics:  # noqa: ASYNC110  # another thread
                await asyncio.sleep(0.02)
        await publisher.stop()
    (scope,) = receiver.metrics[0].resource_metrics[0].scope_metrics
    found = {m.name: m for m in scope.metrics}
    errors = found["execution_errors_total"].sum
    assert errors.is_monotonic
    assert sum(p.as_double or p.as_int for p in errors.data_points) == 3
    (duration,) = found["execution_task_duration_seconds"].histogram.data_points
    assert not duration.HasField("min")
    assert (duration.count, duration.sum) == (5, pytest.approx(sum(s for (s,) in store_seconds(life()))))
    assert all(p.start_time_unix_nano for p in errors.data_points)


# -- a real Prometheus ----------------------------------------------------------------------------------------------


class Prometheus:
    """A server that scrapes one page ten times a second."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(self, query: str) -> list[dict[str, Any]]:
        """The instant vector."""
        url = f"http://127.0.0.1:{self.port}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        with urllib.request.urlopen(url, timeout=5) as answer:
            return list(json.load(answer)["data"]["result"])

    def until(self, query: str, wanted: float, seconds: float = 20.0) -> None:
        """Wait until a query has one value. Raises AssertionError."""
        end = time.monotonic() + seconds
        found: list[dict[str, Any]] = []
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                found = self.ask(query)
                if [float(row["value"][1]) for row in found] == [wanted]:
                    return
            time.sleep(0.05)
        raise AssertionError(f"{query} is {found}, not {wanted}")


@contextlib.contextmanager
def scraping(folder: Path, page: int) -> Iterator[Prometheus]:
    port = free_port()
    text = (DEPLOY / "prometheus" / "prometheus.yml").read_text()
    text = text.replace("15s", "100ms").replace("127.0.0.1:9464", f"127.0.0.1:{page}")
    (folder / "prometheus.yml").write_text(text)
    shutil.copy(DEPLOY / "prometheus" / "alerts.yml", folder)
    command = [
        "prometheus", f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]  # fmt: skip
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            yield Prometheus(port)
        finally:
            process.terminate()


@needs_prometheus
def test_the_four_founding_queries_are_answered(tmp_path: Path) -> None:
    story = Story()
    story.submit(plan(*(task(str(n)) for n in range(10))))
    story.accept()
    with Store() as store:
        store.apply(STREAM, story.records)
        page, end = serve("127.0.0.1", 0, lambda: list(collected(store).values()))
        try:
            with scraping(tmp_path, page) as prometheus:
                prometheus.until(f'execution_tasks_total{{plan_id="{PLAN_ID}",status=""}}', 10)
                for n in "123":
                    story.start(n)
                    story.verify(n)
                story.start("4")
                story.fail("4")
                store.apply(STREAM, story.records)
                prometheus.until(FOUR[3].format(plan=PLAN_ID), 30)
                one, two, three, four = (prometheus.ask(query.format(plan=PLAN_ID)) for query in FOUR)
                board = {query: prometheus.ask(query) for query in board_queries(PLAN_ID)}
        finally:
            end()
    by_status = {row["metric"].get("status", ""): float(row["value"][1]) for row in one}
    assert by_status == {"": 10, "pending": 6, "in_progress": 1, "completed": 3, "failed": 0, "skipped": 0}
    (rate,) = two
    assert float(rate["value"][1]) > 0
    (errors,) = three
    assert float(errors["value"][1]) > 0
    assert [float(row["value"][1]) for row in four] == [30]
    assert len(board) >= 10
    assert [query for query, rows in board.items() if not rows] == []
    assert [q for q, rows in board.items() if any(row["value"][1] == "NaN" for row in rows)] == []


def board_queries(plan_id: str) -> list[str]:
    """Every query of the board, with its variables filled in as Grafana does."""
    board = json.loads((DEPLOY / "grafana" / "nightshift.json").read_text())
    queries = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    name = re.escape(plan_id).replace("\\", "\\\\")
    filled = [q.replace("$plan", name).replace("$__rate_interval", "1m") for q in queries]
    assert not [q for q in filled if "$" in q]
    return filled


@needs_prometheus
@pytest.mark.parametrize(
    "words",
    [
        ["check", "config", "prometheus.yml"],
        ["check", "rules", "alerts.yml"],
        ["test", "rules", "alerts.test.yml"],
    ],
    ids=" ".join,
)
def test_promtool_takes_what_we_ship(words: list[str]) -> None:
    done = subprocess.run(
        ["promtool", *words], cwd=DEPLOY / "prometheus", capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@needs_prometheus
def test_promtool_finds_nothing_wrong_with_the_page() -> None:
    """Beyond the names that the founding documents fix: a gauge that is called ``_total``."""
    with replay(life(), stream_created=STREAM) as store:
        page, end = serve("127.0.0.1", 0, lambda: list(collected(store).values()))
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{page}/metrics", timeout=5) as answer:
                text = answer.read().decode()
        finally:
            end()
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=60, check=False
    )
    complaints = [line for line in (done.stdout + done.stderr).splitlines() if line]
    assert complaints == ['execution_tasks_total non-counter metrics should not have "_total" suffix']
