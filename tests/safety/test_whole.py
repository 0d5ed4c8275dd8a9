"""Acceptance 5 with the real engine: who edits the oracle, or claims success without it, is never verified."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli import Nightshift, until
from tests.safety.tricks import HONEST, TRICKS, Trick, git, make_project, search_path

pytestmark = [pytest.mark.whole, pytest.mark.timeout(300)]

PLAYED = ("weaken-test", "rename-test", "new-conftest", "exit-in-code", "makefile", "link-for-folder", "edit-gate")
"""One of each kind; tests/safety/test_tricks.py plays them all, one level below."""


@pytest.fixture
def nightshift(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Nightshift:
    monkeypatch.setenv("PATH", search_path())
    return Nightshift(tmp_path / "home")


def as_task(trick: Trick) -> dict[str, Any]:
    return {"id": trick.name, "run": trick.run, "verify": [{"command": trick.check}]}


def played(nightshift: Nightshift, folder: Path, safety: dict[str, Any]) -> dict[str, Any]:
    """Run the tricks, an honest task that comes after them, and one that only claims; gives the status."""
    make_project(folder / "project")
    tricks = [as_task(trick) for trick in TRICKS if trick.name in PLAYED]
    claim = {"id": "claim", "run": "echo all tests passed", "verify": [{"command": TRICKS[0].check}]}
    policy = {"max_attempts": 1, "on_exhausted": "fail", "halt_after": 100, "safety": safety}
    plan = {
        "plan": "Tricks", "repo": "project", "policy": policy,
        "tasks": [*tricks, claim, as_task(HONEST[0]) | {"needs": []}],
    }  # fmt: skip
    (folder / "plan.json").write_text(json.dumps(plan))
    nightshift("run", folder / "plan.json", code=None)
    found: dict[str, Any] = nightshift.json("status", nightshift.json("status")[0]["execution"])
    return found


def states_of(status: dict[str, Any]) -> dict[str, str]:
    return {task["id"]: task["state"] for task in status["tasks"]}


def settled(nightshift: Nightshift, execution: str, *tasks: str) -> bool:
    states = states_of(nightshift.json("status", execution))
    return all(states[task] in ("verified", "failed") for task in tasks)


def test_a_trick_waits_for_a_person_and_a_no_is_a_no(nightshift: Nightshift, tmp_path: Path) -> None:
    status = played(nightshift, tmp_path, {})
    assert states_of(status) == {**dict.fromkeys(PLAYED, "executed"), "claim": "failed", "fix": "verified"}
    assert status["state"] == "awaiting_approval"
    execution = status["execution"]
    history = nightshift.history(execution)
    said = {row["task"]: row["data"] for row in history if row["event"] == "OracleTouched"}
    assert set(said) == set(PLAYED)
    assert said["makefile"]["files"][0]["path"] == "Makefile"
    asked = {row["task"]: row["data"] for row in history if row["event"] == "ApprovalRequested"}
    assert all("safety policy" in question["question"] for question in asked.values())
    assert any("tests/test_words.py judges the task" in line for line in asked["weaken-test"]["checklist"])
    assert "judges the task and was changed" in " ".join(nightshift("status", execution).stdout.split())
    with nightshift.up():
        nightshift("deny", execution, "weaken-test")
        nightshift("approve", execution, "makefile")
        until(lambda: settled(nightshift, execution, "weaken-test", "makefile"), 90)
    after = states_of(nightshift.json("status", execution))
    assert (after["weaken-test"], after["makefile"], after["rename-test"]) == ("failed", "verified", "executed")
    verdict = next(r["data"] for r in nightshift.history(execution, "makefile") if r["event"] == "TaskVerified")
    assert verdict["accepted"] == "approval"
    assert verdict["results"][-1]["kind"] == "policy"
    assert "said yes" in verdict["results"][-1]["detail"]
    nightshift("replay", "--check")


def test_where_it_is_refused_a_trick_fails(nightshift: Nightshift, tmp_path: Path) -> None:
    status = played(nightshift, tmp_path, {"oracle": "refuse"})
    assert states_of(status) == {**dict.fromkeys(PLAYED, "failed"), "claim": "failed", "fix": "verified"}
    branch = status["branch"]
    store = nightshift.home / "repos" / f"{branch['repository']}.git"
    landed = git(tmp_path / "project", "--git-dir", str(store), "log", "--format=%s", branch["name"])
    assert landed.split() == ["fix", "begin"]
