"""Whole runs of a hostile plan: a claim is no success, and what is forbidden is told by its name."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from services.sandbox.cgroups import parents
from services.sandbox.launcher import landlock
from tests.cli import Nightshift, until
from tests.sandboxes import linux_only

pytestmark = [pytest.mark.whole, linux_only]


def submitted(nightshift: Nightshift, path: Path, plan: dict[str, Any]) -> str:
    path.write_text(json.dumps(plan))
    execution: str = nightshift("submit", path).stdout.strip()
    until(lambda: nightshift.json("status", execution)["state"] in ("failed", "blocked", "completed"))
    return execution


def test_a_hostile_plan_gets_nothing_verified(tmp_path: Path) -> None:
    nightshift = Nightshift(tmp_path / "home")
    outside = tmp_path / "outside"
    outside.mkdir()
    plan = {
        "plan": "Hostile",
        "policy": {"max_attempts": 1, "halt_after": 100, "on_exhausted": "fail"},
        "tasks": [
            {"id": "liar", "run": "echo 'all tests passed'; echo OK", "verify": ["test -f done"]},
            {"id": "optimist", "run": "echo fine > done", "verify": [f"test -f done && touch {outside}/judged"]},
            {"id": "eater", "run": "head -c 200M /dev/zero | tail", "limits": {"memory": "60MB"}},
            {"id": "thief", "run": f"cat {nightshift.home}/engine.json"},
            {"id": "vandal", "run": f"touch {outside}/file"},
            {"id": "greedy", "run": "true", "read": [str(nightshift.home)]},
            {"id": "honest", "run": "echo fine > fine", "verify": ["grep -q fine fine"]},
        ],
    }
    with nightshift.up():
        execution = submitted(nightshift, tmp_path / "plan.json", plan)
        history = nightshift.history(execution)
    verified = {fact["task"] for fact in history if fact["event"] == "TaskVerified"}
    if not landlock.abi():
        pytest.skip("the kernel has no Landlock: the level is process here")
    assert verified == {"honest"}
    assert list(outside.iterdir()) == []
    assert {f["data"]["sandbox"] for f in history if f["event"] == "TaskStarted"} == {"landlock"}
    failed = {f["task"]: f["data"] for f in history if f["event"] == "AttemptFailed"}
    if "memory" in parents():
        assert failed["eater"]["reason"] == "out of memory: the limit is 57 MiB (policy.limits.memory)"
        assert 0 < failed["eater"]["usage"]["peak_memory"] <= 60_000_000
    assert "cannot be granted" in failed["greedy"]["reason"]
    assert failed["greedy"]["retryable"] is False
    usage = next(f["data"]["usage"] for f in history if f["event"] == "TaskExecuted" and f["task"] == "honest")
    assert usage["cpu_seconds"] > 0


def test_a_host_without_the_demanded_level_refuses_the_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody")
    nightshift = Nightshift(tmp_path / "home")
    ran = tmp_path / "ran"
    ran.mkdir()
    task = {"id": "t", "run": f"touch {ran}/it", "write": [str(ran)]}
    with nightshift.up():
        plan = {"plan": "Strict", "policy": {"sandbox": "docker", "max_attempts": 3}, "tasks": [task]}
        execution = submitted(nightshift, tmp_path / "plan.json", plan)
        history = nightshift.history(execution)
        unknown = {"plan": "?", "policy": {"sandbox": "vault"}, "tasks": [task]}
        (tmp_path / "unknown.json").write_text(json.dumps(unknown))
        refused = nightshift("submit", tmp_path / "unknown.json", code=None)
    failures = [f["data"] for f in history if f["event"] == "AttemptFailed"]
    assert len(failures) == 1, "there is no use in another attempt"
    assert failures[0]["reason"].startswith("this host has no sandbox docker, nor a stronger one: no image is named")
    assert "NIGHTSHIFT_DOCKER_IMAGE" in failures[0]["reason"]
    assert os.listdir(ran) == []
    assert refused.returncode != 0
    assert "process, landlock, bwrap, docker" in refused.stdout + refused.stderr
