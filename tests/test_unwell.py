"""Health on the real engine: what hangs is ended and tried again, what was done is kept, a full disk starts nothing."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from events.log import LogUnavailable, Recorded
from tests.chaos.disk import small_disk
from tests.cli import Nightshift
from tests.test_processes import World, submit, world

pytestmark = pytest.mark.whole
MIB = 1024 * 1024
QUICK = {"silence": "1s", "progress": {"warn": "1s", "interrupt": "2s", "kill": "1s", "busy": "1s"}}


def stages(warned: list[Recorded]) -> list[tuple[str, str]]:
    return [(r.fact.kind, r.fact.stage) for r in warned]


async def exists(path: Path) -> None:
    """Wait for a file that a task writes."""
    async with asyncio.timeout(30):
        while not path.exists():  # noqa: ASYNC110  # a process writes it
            await asyncio.sleep(0.02)


def test_what_hangs_is_ended_and_tried_again_and_everybody_can_see_why(tmp_path: Path) -> None:
    nightshift = Nightshift(tmp_path / "home")
    plan = tmp_path / "plan.yaml"
    plan.write_text(
        """
plan: Hangs
policy:
  backoff: {first: 100ms}
  on_exhausted: fail
  health: {silence: 1s, progress: {warn: 1s, interrupt: 2s, kill: 1s}}
tasks:
  - {id: hangs, run: 'echo begin; test "$NIGHTSHIFT_ATTEMPT" = 2 || sleep 60; echo x > x.txt'}
  - {id: stubborn, max_attempts: 1, run: "trap '' TERM INT; sleep 60; sleep 60"}
  - {id: delegates, run: "sh -c 'for i in 1 2 3 4 5 6 7 8; do echo $i > f; sleep 0.5; done' > /dev/null & wait"}
"""
    )
    done = nightshift("run", plan, code=1)
    assert "warning (progress): no progress for" in done.stdout
    execution = nightshift.json("status")[0]["execution"]
    states = {t["id"]: (t["state"], t["attempt"]) for t in nightshift.json("status", execution)["tasks"]}
    assert states == {"hangs": ("verified", 2), "stubborn": ("failed", 1), "delegates": ("verified", 1)}
    history = nightshift.history(execution)
    said = [(r["task"], r["data"]["kind"], r["data"]["stage"]) for r in history if r["event"] == "HealthWarned"]
    assert [s for s in said if s[0] == "hangs" and s[1] == "progress"] == [
        ("hangs", "progress", "warn"), ("hangs", "progress", "interrupt"),
    ]  # fmt: skip
    assert [stage for task, kind, stage in said if task == "stubborn" and kind == "progress"] == [
        "warn", "interrupt", "kill",
    ]  # fmt: skip
    assert not [s for s in said if s[0] == "delegates" and s[1] == "progress"]
    failed = next(r for r in history if r["event"] == "AttemptFailed" and r["task"] == "hangs")
    assert failed["data"]["reason"].startswith("no progress for")
    assert failed["data"]["retryable"] is True
    rows = nightshift.json("query", "select task, kind, stage from warnings order by seq")
    assert [tuple(row.values()) for row in rows] == said
    assert "progress: no progress for" in nightshift("history", execution).stdout
    nightshift("replay", "--check")


async def test_an_interrupted_attempt_goes_on_from_its_checkpoint_and_is_warned_of_once(tmp_path: Path) -> None:
    beside = tmp_path / "beside"
    beside.mkdir()
    first, second = beside / "first", beside / "second"
    script = (
        f'if [ -e half.txt ]; then cp "$NIGHTSHIFT_CONTEXT" {second}.new; mv {second}.new {second}; sleep 3; '
        f"else echo half > half.txt; echo $$ > {first}; sleep 60; fi; echo whole > whole.txt"
    )
    plan: dict[str, Any] = {
        "plan": "Long",
        "policy": {
            "checkpoint_interval": "500ms",
            "resume": "checkpoint",
            "health": {"silence": "1s"},
            "write": [str(beside)],
        },
        "tasks": [{"id": "t", "run": script, "verify": [{"file": "half.txt"}, {"file": "whole.txt"}]}],
    }
    async with world(tmp_path / "home", "planner", "verifier", "executor-1") as (here, client):
        await submit(client, plan)
        await exists(first)
        made = (await here.until("TaskCheckpointed"))[0]
        warned = (await here.until("HealthWarned"))[0]
        lease = here.of("TaskStarted")[0].id
        assert (made.fact.lease, warned.fact.lease, warned.fact.kind) == (lease, lease, "silence")
        here.processes["executor-1"].kill()
        here.start("executor-2")
        await exists(second)
        await here.until("ExecutionCompleted", seconds=90)
        assert '"resumed": true' in second.read_text()
        assert [r.fact.attempt for r in here.of("TaskStarted")] == [1, 1]
        assert stages(here.of("HealthWarned")) == [("silence", "warn")], "once, whoever runs the attempt"
        executed = here.of("TaskExecuted")[0]
        assert executed.fact.base == made.fact.base
        assert len({r.fact.tree for r in here.of("TaskCheckpointed")}) == len(here.of("TaskCheckpointed"))


async def test_who_is_interrupted_by_sigterm_loses_nothing(tmp_path: Path) -> None:
    beside = tmp_path / "beside"
    beside.mkdir()
    first, second = beside / "first", beside / "second"
    script = f"if [ -e half.txt ]; then touch {second}; else echo half > half.txt; touch {first}; sleep 60; fi"
    plan: dict[str, Any] = {
        "plan": "Evening",
        "policy": {"checkpoint_interval": "1h", "resume": "checkpoint", "write": [str(beside)]},
        "tasks": [{"id": "t", "run": script, "verify": [{"file": "half.txt"}]}],
    }
    async with world(tmp_path / "home", "planner", "verifier") as (here, client):
        here.settings = {"NIGHTSHIFT_GRACE": "0"}
        here.start("executor-1")
        await submit(client, plan)
        await exists(first)
        here.processes["executor-1"].terminate()
        assert here.processes["executor-1"].wait(30) == 0
        interrupted = (await here.until("TaskInterrupted"))[0]
        (made,) = here.of("TaskCheckpointed")
        assert interrupted.fact.commit == made.fact.commit
        here.start("executor-2")
        await here.until("ExecutionCompleted")
        assert second.exists()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may mount a small disk")
async def test_h22_below_the_reserve_nothing_starts_and_room_lets_it_go_on(tmp_path: Path) -> None:
    beside, work = tmp_path / "beside", tmp_path / "work"
    beside.mkdir()
    flag = beside / "flag"
    running = {"plan": "Running", "policy": {"read": [str(beside)]}, "tasks": [
        {"id": "long", "run": f"echo begun; while [ ! -e {flag} ]; do sleep 0.1; done; echo kept > kept.txt"},
    ]}  # fmt: skip
    waiting = {"plan": "Waiting", "policy": {"max_parallel": 2}, "tasks": [
        *({"id": f"w{n}", "run": f"echo {n} > w{n}.txt"} for n in range(4)), {"id": "light", "noop": True},
    ]}  # fmt: skip
    try:
        disk = small_disk(work, 64)
        disk.__enter__()
    except OSError as error:
        pytest.skip(str(error))
    try:
        async with world(tmp_path / "home", "projections", "planner") as (here, client):
            here.settings = {"NIGHTSHIFT_HOME": str(work), "NIGHTSHIFT_DISK_SHARE": "0"}
            here.settings["NIGHTSHIFT_DISK_RESERVE"] = str(32 * MIB)
            here.start("verifier")
            here.start("executor-1")
            await submit(client, running)
            await here.until("TaskStarted")
            (work / "filler").write_bytes(b"x" * (40 * MIB))
            execution = await submit(client, waiting)
            await here.until("HealthWarned", count=2)
            await tasks_wait(here, client, execution)
            flag.write_text("go")
            kept = (await here.until("TaskVerified", task="long"))[0]
            assert kept.fact.commit, "what ran when the disk filled up ends well, and its result is kept"
            handed_again = here.of("HealthWarned")
            await asyncio.sleep(6)
            assert here.of("HealthWarned") == handed_again, "said once, however often it is handed out"
            assert [r.entity for r in here.of("TaskStarted")] == ["long"]
            (work / "filler").unlink()
            await here.until("ExecutionCompleted", count=2)
            assert sorted(r.entity for r in here.of("TaskVerified")) == ["light", "long", "w0", "w1", "w2", "w3"]
            status = await client.status(execution, at=here.history[-1].sequence)
            assert (status["state"], status["reason"], status["warnings"]) == ("completed", "", [])
    finally:
        disk.__exit__(None, None, None)


async def tasks_wait(here: World, client: Any, execution: str) -> None:
    """Nothing of the execution starts, no more than its width is ready, and its status says why."""
    async with asyncio.timeout(30):
        while True:
            try:
                status = await client.status(execution, at=here.history[-1].sequence)
                break
            except LogUnavailable:  # the projections are still starting
                await asyncio.sleep(0.2)
    assert status["state"] == "running"
    assert status["reason"].startswith("disk: it waits for disk space: ")
    assert "the reserve is 32 MiB" in status["reason"]
    assert sorted(t["state"] for t in status["tasks"]) == ["pending", "pending", "pending", "ready", "ready"]
    assert {(w["task"], w["kind"], w["stage"]) for w in status["warnings"]} == {
        (t["id"], "disk", "wait") for t in status["tasks"] if t["state"] == "ready"
    }
