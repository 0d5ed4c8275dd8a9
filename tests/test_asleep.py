"""Everything is down, or stopped, at the moment when something is due."""

from __future__ import annotations

import asyncio
import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from nightshift.client import Client
from tests.test_processes import World, submit, world

pytestmark = pytest.mark.whole

ASKING: dict[str, Any] = {
    "plan": "Ask",
    "policy": {"approval_timeout": "2s"},
    "tasks": [
        {"id": "gate", "run": "echo g > g.txt", "autonomy": "needs_approval"},
        {"id": "after", "needs": ["gate"], "run": "true"},
    ],
}


async def denied_by_nobody(here: World, client: Client, execution: str, asked: Any) -> None:
    """The answer is no, once, and nothing behind the question has run."""
    recorded = (await here.until("ApprovalRecorded"))[0]
    assert (recorded.fact.granted, recorded.fact.by, recorded.fact.approval) == (False, "timer", asked.id)
    assert recorded.at_ns >= datetime.fromisoformat(asked.fact.expires).timestamp() * 1e9 - 1e9
    await here.until("ExecutionFailed")
    assert sorted(r.entity for r in here.of("TaskSkipped")) == ["after", "gate"]
    assert here.of("TaskStarted") == []
    await client.approve(execution, "gate", actor="late")
    refused = (await here.until("RequestRefused"))[0]
    assert "asks nothing" in refused.fact.reason
    assert len(here.of("ApprovalRecorded")) == 1


async def past(moment: str) -> None:
    """Wait until a moment is over."""
    left = datetime.fromisoformat(moment) - datetime.now(UTC)
    await asyncio.sleep(max(0.0, left.total_seconds()) + 1.0)


async def test_a_question_that_expires_while_all_services_are_down_is_denied_when_they_are_back(
    tmp_path: Path,
) -> None:
    async with world(tmp_path / "home", "planner") as (here, client):
        execution = await submit(client, ASKING)
        asked = (await here.until("ApprovalRequested"))[0]
        await here.until("ApprovalAwaited")
        here.processes["planner"].send_signal(signal.SIGTERM)
        assert here.processes["planner"].wait(30) == 0
        await past(asked.fact.expires)
        assert here.of("ApprovalRecorded") == []
        here.start("planner-2")
        await denied_by_nobody(here, client, execution, asked)


async def test_a_question_that_expires_while_the_server_is_down_too_is_denied_when_all_are_back(
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    async with world(home, "planner") as (here, client):
        execution = await submit(client, ASKING)
        asked = (await here.until("ApprovalRequested"))[0]
        await here.until("ApprovalAwaited")
        here.processes["planner"].kill()
    await past(asked.fact.expires)
    async with world(home, "planner") as (here, client):
        await denied_by_nobody(here, client, execution, asked)


async def test_h05_the_history_shows_what_a_stopped_executor_was_refused(tmp_path: Path) -> None:
    plan = {"plan": "Stale", "tasks": [{"id": "slow", "run": "sleep 2; echo $NIGHTSHIFT_LEASE > who.txt"}]}
    async with world(tmp_path / "home", "projections", "planner", "verifier", "executor-1") as (here, client):
        execution = await submit(client, plan)
        first = (await here.until("TaskStarted"))[0]
        here.processes["executor-1"].send_signal(signal.SIGSTOP)
        here.start("executor-2")
        await here.until("ExecutionCompleted", seconds=60)
        before = [r.id for r in here.history]
        here.processes["executor-1"].send_signal(signal.SIGCONT)
        refused = (await here.until("StaleResultRefused"))[0]
        rows = await client.ask("history", execution=execution, task="slow", after=0, limit=100, at=refused.sequence)
        (row,) = [row for row in rows if row["event"] == "StaleResultRefused"]
        assert (row["data"]["lease"], row["data"]["current"]) == (first.id, None)
        assert [r.name for r in here.history if r.id not in before] == ["StaleResultRefused"], "and nothing else"
        status = await client.status(execution, at=refused.sequence)
        assert (status["state"], status["tasks"][0]["state"]) == ("completed", "verified")
