"""People who step in, on the real engine: going back, taking back, branching off, doing a task by hand, gates."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli import Nightshift, until

pytestmark = pytest.mark.whole

CHAIN = {
    "plan": "Chain",
    "policy": {"backoff": {"first": "100ms"}},
    "tasks": [
        {"id": "a", "run": "echo a > a.txt; date +%N >> a.txt", "verify": [{"file": "a.txt"}]},
        {"id": "b", "needs": ["a"], "run": "date +%N > b.txt", "verify": [{"file": "b.txt"}]},
        {"id": "c", "needs": ["b"], "run": "date +%N > c.txt"},
        {"id": "d", "needs": ["a"], "run": "date +%N > d.txt"},
    ],
}


@pytest.fixture
def nightshift(tmp_path: Path) -> Iterator[Nightshift]:
    engine = Nightshift(tmp_path / "home")
    engine("up", "--detach")
    yield engine
    engine("down")


def submit(nightshift: Nightshift, tmp_path: Path, plan: dict[str, Any]) -> str:
    path = tmp_path / f"{plan['plan']}.json"
    path.write_text(json.dumps(plan))
    return nightshift("submit", path).stdout.strip()


def wait(nightshift: Nightshift, execution: str, *states: str) -> dict[str, Any]:
    def there() -> dict[str, Any] | None:
        status: dict[str, Any] = nightshift.json("status", execution)
        return status if status["state"] in states else None

    found: dict[str, Any] = until(there, every=0.3)
    return found


def states(status: dict[str, Any]) -> dict[str, str]:
    return {task["id"]: task["state"] for task in status["tasks"]}


def tree(nightshift: Nightshift, status: dict[str, Any], at: str = "") -> dict[str, str]:
    """Files of the branch, by name."""
    git = ["git", "--git-dir", str(nightshift.home / "repos" / f"{status['branch']['repository']}.git")]
    ref = at or status["branch"]["name"]
    listed = subprocess.run([*git, "ls-tree", "-r", ref], capture_output=True, text=True, check=True).stdout
    return {line.split("\t")[1]: line.split()[2] for line in listed.splitlines()}


def runs(nightshift: Nightshift, execution: str) -> list[str]:
    return [row["task"] for row in nightshift.history(execution) if row["event"] == "TaskStarted"]


def test_h11_a_rollback_restores_tree_and_tasks_and_goes_on(nightshift: Nightshift, tmp_path: Path) -> None:
    execution = submit(nightshift, tmp_path, CHAIN)
    done = wait(nightshift, execution, "completed")
    landed = {row["task"]: row["commit"] for row in nightshift.json("checkpoints", execution) if row["task"]}
    said = nightshift("rollback", execution, "--to", "a", "--reason", "wrong way").stdout
    assert "to be made again: b, c, d" in said
    back = wait(nightshift, execution, "paused")
    assert states(back) == {"a": "verified", "b": "pending", "c": "pending", "d": "pending"}
    assert back["branch"]["head"] == landed["a"]
    until(lambda: set(tree(nightshift, back)) == {"a.txt"})
    nightshift("resume", execution)
    again = wait(nightshift, execution, "completed")
    assert runs(nightshift, execution).count("a") == 1
    assert tree(nightshift, again)["a.txt"] == tree(nightshift, done, landed["a"])["a.txt"]
    assert set(tree(nightshift, again)) == {"a.txt", "b.txt", "c.txt", "d.txt"}
    nightshift("replay", "--check")
    refused = nightshift("rollback", execution, "--to", "nobody", code=2)
    assert "there is no task 'nobody'" in refused.stderr


def test_one_result_is_taken_back_with_exactly_its_dependents(nightshift: Nightshift, tmp_path: Path) -> None:
    execution = submit(nightshift, tmp_path, CHAIN)
    before = wait(nightshift, execution, "completed")
    files = tree(nightshift, before)
    nightshift("invalidate", execution, "b")
    until(lambda: runs(nightshift, execution).count("c") == 2)
    after = wait(nightshift, execution, "completed")
    now = tree(nightshift, after)
    assert (now["a.txt"], now["d.txt"]) == (files["a.txt"], files["d.txt"])
    assert now["b.txt"] != files["b.txt"]
    assert now["c.txt"] != files["c.txt"]
    assert runs(nightshift, execution).count("d") == runs(nightshift, execution).count("a") == 1
    nightshift("replay", "--check")


def test_a_fork_from_the_middle_runs_nothing_again(nightshift: Nightshift, tmp_path: Path) -> None:
    parent = submit(nightshift, tmp_path, CHAIN)
    done = wait(nightshift, parent, "completed")
    child = nightshift("fork", parent, "--after", "b").stdout.strip()
    forked = wait(nightshift, child, "completed")
    order = [row["task"] for row in nightshift.json("checkpoints", parent) if row["what"] == "landed"]
    kept = set(order[: order.index("b") + 1])
    assert set(runs(nightshift, child)) == {"a", "b", "c", "d"} - kept
    assert {name: state for name, state in states(forked).items() if state == "satisfied"}.keys() == kept
    ours, theirs = tree(nightshift, forked), tree(nightshift, done)
    assert all(ours[f"{name}.txt"] == theirs[f"{name}.txt"] for name in kept)
    began = nightshift.json("checkpoints", child)[0]
    assert began["commit"] == next(r["commit"] for r in nightshift.json("checkpoints", parent) if r["task"] == "b")
    assert tree(nightshift, wait(nightshift, parent, "completed")) == theirs, "the parent is as it was"
    changed = {**CHAIN, "plan": "Changed", "tasks": [*CHAIN["tasks"][:1], {"id": "b", "needs": ["a"], "run": "true"}]}  # type: ignore[index]
    (tmp_path / "changed.json").write_text(json.dumps(changed))
    other = nightshift("fork", parent, "--plan", tmp_path / "changed.json").stdout.strip()
    wait(nightshift, other, "completed")
    assert runs(nightshift, other) == ["b"]
    bad = nightshift("fork", parent, "--after", "nobody", code=2)
    assert "was never verified" in bad.stderr


def test_a_person_does_a_task_by_hand(nightshift: Nightshift, tmp_path: Path) -> None:
    plan = {
        "plan": "By hand", "policy": {"max_attempts": 1},
        "tasks": [
            {"id": "hard", "run": "sleep 60", "verify": [{"file": "answer.txt", "contains": "42"}]},
            {"id": "next", "needs": ["hard"], "run": "cat answer.txt"},
        ],
    }  # fmt: skip
    execution = submit(nightshift, tmp_path, plan)
    until(lambda: "running" in states(nightshift.json("status", execution)).values())
    nightshift("take", execution, "hard", "--reason", "I know how")
    status = wait(nightshift, execution, "blocked")
    assert states(status)["hard"] == "taken"
    until(lambda: any(row["event"] == "StaleResultRefused" for row in nightshift.history(execution)))
    work = tmp_path / "work"
    repository = nightshift.home / "repos" / f"{status['branch']['repository']}.git"
    git = ["git", "-C", str(work), "-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    subprocess.run(["git", "clone", "-q", "-b", status["branch"]["name"], str(repository), str(work)], check=True)
    nightshift("deliver", execution, "hard", "--commit", "HEAD~9", "--repo", work, code=2)

    def commit(text: str) -> None:
        (work / "answer.txt").write_text(text)
        subprocess.run([*git, "add", "."], check=True)
        subprocess.run([*git, "commit", "-qm", "The answer"], check=True)

    commit("41")
    nightshift("deliver", execution, "hard", "--commit", "HEAD", "--repo", work)
    until(lambda: any(row["event"] == "AttemptRejected" for row in nightshift.history(execution)))
    status = wait(nightshift, execution, "blocked")
    assert states(status)["hard"] == "blocked"
    nightshift("take", execution, "hard")
    commit("42")
    nightshift("deliver", execution, "hard", "--commit", "HEAD", "--base", "HEAD~2", "--repo", work)
    done = wait(nightshift, execution, "completed")
    assert "answer.txt" in tree(nightshift, done)
    verified = next(r for r in nightshift.history(execution) if r["event"] == "TaskVerified" and r["task"] == "hard")
    assert verified["data"]["results"][0]["result"] == "pass"
    assert next(t["failures"] for t in done["tasks"] if t["id"] == "hard") == 0, "what a person brought counts nothing"
    nightshift("replay", "--check")


def test_gates_before_after_and_around(nightshift: Nightshift, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    plan = {
        "plan": "Gates",
        "policy": {"max_attempts": 1, "on_exhausted": "fail", "sandbox": "process"},
        "gates": [
            {"use": "prerequisites", "programs": ["git"], "when": "pre_execution"},
            {"name": "ready", "when": "pre", "tasks": ["b"], "verify": [{"command": f"test -e {flag}"}]},
            {"name": "neat", "when": "post", "onFail": "warn", "verify": [{"file": "nope.txt"}]},
            {"name": "score", "when": "evaluation", "tasks": ["a"],
             "verify": [{"file": "a.txt"}, {"file": "nope.txt"}]},
            {"name": "whole", "when": "post_execution", "verify": [{"file": "b.txt"}]},
        ],
        "tasks": [{"id": "a", "run": "echo > a.txt"}, {"id": "b", "run": "echo > b.txt"}],
    }  # fmt: skip
    execution = submit(nightshift, tmp_path, plan)
    asked = wait(nightshift, execution, "awaiting_approval")
    assert states(asked) == {"a": "verified", "b": "blocked"}
    nightshift("approve", execution, "b")
    wait(nightshift, execution, "completed")
    sql = f"select gate, task, passed, score from gates where execution = '{execution}'"
    gates = {(row["gate"], row["task"]): (row["passed"], row["score"]) for row in nightshift.json("query", sql)}
    assert gates == {
        ("prerequisites", None): (True, 1.0), ("ready", "b"): (False, 0.0), ("neat", "a"): (False, 0.0),
        ("neat", "b"): (False, 0.0), ("score", "a"): (False, 0.5), ("whole", None): (True, 1.0),
    }  # fmt: skip


def test_a_gate_during_a_task_stops_it_and_asks(nightshift: Nightshift, tmp_path: Path) -> None:
    beside = tmp_path / "beside"
    beside.mkdir()
    plan = {
        "plan": "During",
        "policy": {"checkpoint_interval": "300ms", "read": [str(beside)]},
        "gates": [{"name": "no secrets", "when": "mid", "verify": [{"file": "half.txt", "absent": "half"}]}],
        "tasks": [{"id": "long", "run": f"echo half > half.txt; until [ -e {beside}/flag ]; do sleep 0.1; done"}],
    }
    execution = submit(nightshift, tmp_path, plan)
    asked = wait(nightshift, execution, "awaiting_approval")
    assert states(asked) == {"long": "blocked"}
    assert "no secrets" in asked["tasks"][0]["approval"]["question"]
    assert any(row["event"] == "TaskInterrupted" for row in nightshift.history(execution))
    (beside / "flag").touch()
    nightshift("approve", execution, "long")
    done = wait(nightshift, execution, "completed")
    assert done["tasks"][0]["failures"] == 0
    nightshift("replay", "--check")
