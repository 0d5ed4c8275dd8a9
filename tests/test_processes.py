"""Services as processes of their own on one server: leases, take-over, the fence (hazards H5, H6, H7, H16, H17)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from events.log import Recorded
from events.log.connection import connect
from events.log.jetstream import JetStreamLog
from nightshift.client import Client, SubmissionFailed, uuid7
from nightshift.server import EmbeddedServer
from tests.cli import ANY_DISK
from tests.sandboxes import sleepers
from tests.servers import embedded

pytestmark = pytest.mark.whole


class World:
    """A server, service processes, and somebody who reads the log."""

    def __init__(self, home: Path, server: EmbeddedServer) -> None:
        self.home = home
        self.server = server
        self.settings: dict[str, str] = {}
        """More of the environment that services are started with."""
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.history: list[Recorded] = []

    def start(self, name: str) -> subprocess.Popen[bytes]:
        """Start one copy of a service; ``executor-2`` is a second executor."""
        service = name.split("-")[0]
        environment = {
            **os.environ, "NIGHTSHIFT_HOME": str(self.home), "NIGHTSHIFT_NATS_URL": self.server.credentials(service),
            "NIGHTSHIFT_SLOTS": "4", **ANY_DISK, **self.settings,
        }  # fmt: skip
        with (self.home / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "services", service], env=environment, stdout=log, stderr=log
            )
        return self.processes[name]

    async def follow(self) -> None:
        """Keep ``history`` up to date."""
        client = await connect(self.server.credentials("planner"), name="test")
        try:
            async for recorded in JetStreamLog(client).tail(after=0):
                self.history.append(recorded)
        finally:
            await client.close()

    def of(self, *names: str, task: str | None = None) -> list[Recorded]:
        """Events by name, in order."""
        return [r for r in self.history if r.name in names and task in (None, r.entity)]

    async def until(
        self, *names: str, count: int = 1, seconds: float = 60.0, task: str | None = None
    ) -> list[Recorded]:
        """Wait for events."""
        async with asyncio.timeout(seconds):
            while len(self.of(*names, task=task)) < count:  # noqa: ASYNC110  # another task fills it
                await asyncio.sleep(0.02)
        return self.of(*names, task=task)


@contextlib.asynccontextmanager
async def world(home: Path, *services: str) -> AsyncIterator[tuple[World, Client]]:
    """A server with services."""
    home.mkdir(exist_ok=True)
    async with embedded(home, isolated=True) as server:
        found = World(home, server)
        following = asyncio.create_task(found.follow())
        client = await Client.open(server.credentials("operator"))
        try:
            for name in services:
                found.start(name)
            yield found, client
        finally:
            for process in found.processes.values():
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(signal.SIGCONT)
                process.terminate()
            codes = {name: process.wait(30) for name, process in found.processes.items()}
            await client.close()
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            assert all(code in (0, -signal.SIGKILL) for code in codes.values()), codes


async def submit(client: Client, plan: dict[str, Any]) -> str:
    execution, _ = await client.submit({"plan.json": json.dumps(plan)}, root="plan.json", actor="tester")
    return execution


async def test_two_executors_verify_each_task_once_also_when_one_is_killed(tmp_path: Path) -> None:
    tasks = [{"id": f"t{i}", "run": f"echo {i} > f{i}.txt"} for i in range(200)]
    async with world(tmp_path / "home", "planner", "verifier", "executor-1", "executor-2") as (here, client):
        await submit(client, {"plan": "Many", "policy": {"max_parallel": 8}, "tasks": tasks})
        await here.until("TaskVerified", count=60, seconds=90)
        here.processes["executor-1"].kill()
        ended = await here.until("ExecutionCompleted", "ExecutionFailed", seconds=120)
        assert ended[0].name == "ExecutionCompleted"
        verified = Counter(r.entity for r in here.of("TaskVerified"))
        assert verified == {t["id"]: 1 for t in tasks}
        assert not [r for r in here.history if r.standing != "ok"]
        workers = {r.fact.worker for r in here.of("TaskStarted")}
        assert len(workers) == 2


async def test_h05_h06_a_stopped_executor_that_wakes_up_changes_nothing(tmp_path: Path) -> None:
    marker = tmp_path / "runs.txt"
    plan = {
        "plan": "Stale",
        "tasks": [{"id": "slow", "run": f"echo $NIGHTSHIFT_LEASE >> {marker}; sleep 3; echo x > x.txt"}],
    }
    async with world(tmp_path / "home", "planner", "verifier", "executor-1") as (here, client):
        await submit(client, plan)
        first = (await here.until("TaskStarted"))[0]
        here.processes["executor-1"].send_signal(signal.SIGSTOP)
        here.start("executor-2")
        interrupted = (await here.until("TaskInterrupted", seconds=40))[0]
        assert interrupted.fact.lease == first.id
        second = (await here.until("TaskStarted", count=2))[1]
        assert (second.fact.attempt, second.fact.worker != first.fact.worker) == (1, True)
        here.processes["executor-1"].send_signal(signal.SIGCONT)
        verified = (await here.until("TaskVerified"))[0]
        refused = (await here.until("StaleResultRefused"))[0]
        await here.until("ExecutionCompleted")
        assert verified.fact.lease == second.id
        assert refused.fact.lease == first.id
        assert len(here.of("TaskVerified")) == 1
        assert len(here.of("TaskExecuted")) == 1


async def test_h07_a_successor_on_the_same_host_goes_on_at_once_and_kills_what_was_left(tmp_path: Path) -> None:
    runs = tmp_path / "runs" / "runs.txt"
    runs.parent.mkdir()
    marker = f"60.{uuid.uuid4().int}"
    plan = {
        "plan": "Successor",
        "policy": {"write": [str(runs.parent)]},
        "tasks": [{"id": "t", "run": f"echo begun >> {runs}; test $(wc -l < {runs}) -ge 2 || sleep {marker}"}],
    }
    async with world(tmp_path / "home", "planner", "verifier", "executor-1") as (here, client):
        await submit(client, plan)
        await here.until("TaskStarted")
        async with asyncio.timeout(20):
            while not sleepers(marker):  # noqa: ASYNC110  # a process writes it
                await asyncio.sleep(0.02)
        here.processes["executor-1"].kill()
        here.processes["executor-1"].wait()
        here.start("executor-2")
        interrupted = (await here.until("TaskInterrupted", seconds=40))[0]
        assert "died" in interrupted.fact.reason
        await here.until("ExecutionCompleted")
        assert sleepers(marker) == []
        assert [r.fact.attempt for r in here.of("TaskStarted")] == [1, 1], "an interruption is no attempt"


async def test_h16_a_plan_above_a_megabyte_goes_through_the_object_store(tmp_path: Path) -> None:
    text = "x" * 3000
    tasks = [{"id": f"t{i}", "noop": True, "description": text} for i in range(500)]
    async with world(tmp_path / "home", "planner") as (here, client):
        await submit(client, {"plan": "Big", "tasks": tasks})
        said = (await here.until("PlanSubmitted"))[0]
        assert said.fact.plan_ref is not None
        assert said.fact.documents is None
        accepted = (await here.until("PlanAccepted"))[0]
        assert len(accepted.fact.plan.tasks) == 500
        execution = uuid7()
        missing = {"bucket": "artifacts-default", "sha256": "0" * 64, "size": 10}
        await client.say(execution, "PlanSubmitted", {"plan_ref": missing}, request=execution)
        rejected = (await here.until("PlanRejected"))[0]
        assert rejected.fact.problems[0].code == "bad-plan-ref"
        with pytest.raises(SubmissionFailed, match="messages up to"):
            await client.say(uuid7(), "PlanSubmitted", {"plan": {"plan": "y" * 9_000_000}}, request=uuid7())


async def test_h17_a_repeated_request_acts_once_and_names_who_claims_to_have_made_it(tmp_path: Path) -> None:
    plan = {"plan": "Ask", "tasks": [{"id": "a", "run": "true", "verify": [{"manual": "looks right"}]}]}
    async with world(tmp_path / "home", "planner", "verifier", "executor-1") as (here, client):
        execution = await submit(client, plan)
        asked = (await here.until("ApprovalRequested"))[0]
        request = uuid7()
        body = {"request": request, "task": "a", "approval": asked.id, "actor": "ann"}
        first = await client.say(execution, "ApprovalGiven", body, request=request)
        again = await client.say(execution, "ApprovalGiven", body, request=request)
        assert first == again
        await here.until("ExecutionCompleted")
        recorded = here.of("ApprovalRecorded")
        assert [(r.fact.by, r.actor.split("@")[0]) for r in recorded] == [("default/ann", "planner")]
        await client.approve(execution, "a", actor="ann")
        refused = (await here.until("RequestRefused"))[0]
        assert "asks nothing" in refused.fact.reason
        await client.submit({"p.json": json.dumps(plan)}, root="p.json", execution=execution, actor="bob")
