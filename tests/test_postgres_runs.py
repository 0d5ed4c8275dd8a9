"""The PostgreSQL sink in real runs, killed at random and beside chaos: no row is lost or counted twice."""

from __future__ import annotations

import asyncio
import json
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from random import Random

import psycopg
import pytest

from events.log import Recorded
from events.log.connection import connect
from events.log.jetstream import JetStreamLog
from nightshift.server_process import free_port
from projections.postgres.store import PostgresStore
from tests.chaos.faults import Fault
from tests.chaos.run import run
from tests.cli import Nightshift
from tests.postgres import Server, needs_postgres, postgres
from tests.projections.test_postgres import rows_of
from tests.test_processes import submit, world

pytestmark = [pytest.mark.whole, needs_postgres]
SEED = 1428
FAULTS = (
    Fault("kill", "postgres-1", after=1, moment="", wait=0.2, lasts=0.5),
    Fault("everything", "everything", after=3, moment="TaskVerified", wait=0.05, lasts=0.3),
    Fault("kill", "postgres-2", after=5, moment="TaskStarted", wait=0.0, lasts=0.8),
)
"""Each copy of the sink is killed, and everybody together with the server."""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgres() as found:
        yield found


@pytest.fixture
def dsn(server: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database that services find by the founding variables."""
    name = f"d{uuid.uuid4().hex}"
    found = server.database(name)
    for key, value in {"HOST": "127.0.0.1", "PORT": str(server.port), "DB": name, "USER": "tester"}.items():
        monkeypatch.setenv(f"POSTGRES_{key}", value)
    return found


async def rebuilt(server: Server, history: list[Recorded], created: str) -> dict[str, list[object]]:
    """What a fresh build of the tables from the log gives."""
    dsn = server.database(f"d{uuid.uuid4().hex}")
    store = await PostgresStore.open(dsn)
    try:
        await store.apply(created, history)
    finally:
        await store.close()
    return await asyncio.to_thread(rows_of, dsn)


async def stands_at(dsn: str, sequence: int, seconds: float = 60.0) -> None:
    """Wait until the tables have everything up to a sequence."""

    def position() -> int:
        with psycopg.connect(dsn) as connection:
            if connection.execute("select to_regclass('nightshift_position')").fetchall() == [(None,)]:
                return 0
            return int(connection.execute("select sequence from nightshift_position").fetchall()[0][0])

    async with asyncio.timeout(seconds):
        while await asyncio.to_thread(position) < sequence:  # noqa: ASYNC110  # another process moves it
            await asyncio.sleep(0.05)


async def test_killed_at_random_moments_it_gives_what_a_rebuild_gives(tmp_path: Path, server: Server, dsn: str) -> None:
    rng = Random(7)
    tasks = [
        {"id": f"t{n}", "run": f'test "$NIGHTSHIFT_ATTEMPT" != {n % 3}', "needs": [f"t{n - 4}"] if n >= 4 else []}
        for n in range(40)
    ]
    deaths = 0
    async with world(tmp_path / "home", "planner", "executor", "verifier", "postgres") as (here, client):
        await submit(
            client, {"plan": "Killed", "policy": {"backoff": {"first": "100ms", "max": "100ms"}}, "tasks": tasks}
        )
        while not here.of("ExecutionCompleted", "ExecutionFailed"):
            await asyncio.sleep(rng.uniform(0.3, 1.5))
            here.processes["postgres"].kill()
            here.processes["postgres"].wait()
            here.start("postgres")
            deaths += 1
        reader = await connect(here.server.credentials("projections"), name="test")
        try:
            log = JetStreamLog(reader)
            history, created = [r async for r in log.read("evt.>")], await log.created()
        finally:
            await reader.close()
        await stands_at(dsn, history[-1].sequence)
        here.processes["postgres"].kill()  # it may not have come up yet since the last time, and know no SIGTERM
    assert deaths >= 3
    found = await asyncio.to_thread(rows_of, dsn)
    assert found == await rebuilt(server, history, created)
    assert len(found["execution_tasks"]) == 40
    assert found["metric_trends"]


def test_the_engine_runs_it_beside_a_page_for_prometheus_and_one_for_health(tmp_path: Path, dsn: str) -> None:
    home, metrics, health = tmp_path / "home", free_port(), free_port()
    home.mkdir()
    settings = f'postgres = true\ntelemetry = "prometheus"\nmetrics_port = {metrics}\nhealth_port = {health}\n'
    (home / "nightshift.toml").write_text(settings)
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps({"plan": "Whole", "tasks": [{"id": "a", "run": "true"}, {"id": "b", "run": "true"}]}))
    nightshift = Nightshift(home)
    nightshift("up", "--detach")
    try:
        execution = nightshift("submit", plan).stdout.strip()
        nightshift("watch", execution)
        with urllib.request.urlopen(f"http://127.0.0.1:{health}/health", timeout=10) as page:
            assert json.load(page)["ok"]
        with urllib.request.urlopen(f"http://127.0.0.1:{metrics}/metrics", timeout=10) as page:
            assert f'execution_tasks_completed{{plan_id="{execution}"}} 2.0' in page.read().decode()
        asyncio.run(stands_at(dsn, nightshift.json("status", execution)["sequence"]))
    finally:
        nightshift("down")
    with psycopg.connect(dsn) as connection:
        rows = connection.execute("select id::text, status, completed_tasks from conversation_executions").fetchall()
    assert rows == [(execution, "completed", 2)]


async def test_after_a_chaos_run_it_gives_what_a_rebuild_gives(server: Server, dsn: str) -> None:
    compared = []

    async def also(history: list[Recorded]) -> list[str]:
        await stands_at(dsn, history[-1].sequence)
        found, fresh = await asyncio.to_thread(rows_of, dsn), await rebuilt(server, history, "any")
        compared.append(len(found["execution_tasks"]))
        return [f"{table} differs from a rebuild" for table in found if found[table] != fresh[table]]

    cast = ("planner", "executor-1", "executor-2", "verifier", "projections", "postgres-1", "postgres-2")
    report = await run(SEED, tasks=10, cast=cast, also=also, faults=FAULTS)
    assert not report.violations, report
    assert [f.victim for f in report.faults] == [f.victim for f in FAULTS], "each has struck"
    assert compared == [10]
