"""What is left of attempts that went wrong, as a user finds it: kept, named, out of tasks' reach, and removed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli import Nightshift

pytestmark = pytest.mark.whole


def plan_in(folder: Path, kept: Path) -> Path:
    plan = folder / "plan.json"
    tasks = [
        {"id": "fails", "run": "echo half > half.txt; exit 3"},
        {"id": "rejected", "run": "echo wrong > wrong.txt", "verify": [{"command": "test -e right.txt"}]},
        {"id": "late", "run": "echo slow > slow.txt; sleep 60", "timeout": "300ms"},
        {"id": "good", "run": "echo good > good.txt"},
        {"id": "granted", "read": [str(kept)], "run": "true"},
    ]
    policy = {"max_attempts": 1, "on_exhausted": "fail", "halt_after": 9, "grace": "200ms"}
    plan.write_text(json.dumps({"plan": "Goes wrong", "policy": policy, "tasks": tasks}))
    return plan


def test_files_of_attempts_that_went_wrong_are_kept_and_cleaned(tmp_path: Path) -> None:
    home = tmp_path / "home"
    nightshift = Nightshift(home)
    kept = home / "kept"
    kept.mkdir(parents=True)
    shown = nightshift("run", plan_in(tmp_path, kept), code=1).stdout
    status = nightshift.json("status", next((kept / "default").iterdir()).name)
    states = {task["id"]: task["state"] for task in status["tasks"]}
    assert states == {**dict.fromkeys(("fails", "rejected", "late", "granted"), "failed"), "good": "verified"}
    where = {each["task"]: Path(each["path"]) for each in status["kept"]}
    left = {task: [path.name for path in files.iterdir()] for task, files in where.items()}
    assert left == {"fails": ["half.txt"], "rejected": ["wrong.txt"], "late": ["slow.txt"]}
    assert all(str(path) in shown for path in where.values())
    assert list((home / "work").rglob("*.txt")) == list((home / "judge").rglob("*.txt")) == []
    assert "3 folders are removed" in nightshift("clean").stdout
    assert list(kept.iterdir()) == []
