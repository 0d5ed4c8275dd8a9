"""What an engine does to a person's repository: nothing; and what parallel tasks do to each other's work: nothing.

``NIGHTSHIFT_EXECUTIONS`` and ``NIGHTSHIFT_PARALLEL`` say how many (a dozen each by default).
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
from pathlib import Path
from random import Random
from typing import Any

import pytest

from nightshift.client import Client
from tests.engines import engine, settled, submit

pytestmark = pytest.mark.whole
EXECUTIONS = int(os.environ.get("NIGHTSHIFT_EXECUTIONS", "12"))
PARALLEL = int(os.environ.get("NIGHTSHIFT_PARALLEL", "12"))


def git(repo: Path, *words: str) -> str:
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    return subprocess.run(
        ["git", "-C", str(repo), *identity, *words], capture_output=True, text=True, check=True
    ).stdout


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A person's repository in the middle of work: staged, unstaged, untracked, ignored, hooks, two branches."""
    repo = tmp_path / "theirs"
    repo.mkdir()
    git(repo, "init", "-q", "-b", "main")
    (repo / "shared.txt").write_text("first\n")
    (repo / ".gitignore").write_text("ignored/\n")
    git(repo, "add", ".")
    git(repo, "commit", "-qm", "Begin")
    git(repo, "branch", "other")
    (repo / "staged.txt").write_text("staged\n")
    git(repo, "add", "staged.txt")
    (repo / "shared.txt").write_text("first\nnot committed\n")
    (repo / "untracked.txt").write_text("mine\n")
    (repo / "ignored").mkdir()
    (repo / "ignored" / "secret").write_text("mine\n")
    hook = repo / ".git" / "hooks" / "post-checkout"
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/hook-ran\n")
    hook.chmod(0o755)
    git(repo, "config", "core.fsmonitor", f"touch {tmp_path}/fsmonitor-ran; false")
    return repo


def everything(repo: Path) -> dict[str, str]:
    """Every file and folder below, with mode and content."""
    found = {}
    for path in sorted(repo.rglob("*")):
        kind = f"{path.lstat().st_mode:o}"
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        found[str(path.relative_to(repo))] = f"{kind} {content}"
    return found


def some_plan(luck: Random, number: int) -> dict[str, Any]:
    """Good ones, failing ones, slow ones that are cancelled or killed, and hostile ones."""
    commands = [
        "echo done > new-$NIGHTSHIFT_TASK.txt", "exit 3", "echo x >> shared.txt", "rm -rf .git; git init -q .",
        "git checkout -q -b evil; git commit -q --allow-empty -m evil; git config core.hooksPath /tmp", "sleep 30",
        "rm -f *.txt", "git clean -fdxq; git reset -q --hard",
    ]  # fmt: skip
    tasks = [
        {
            "id": str(n), "run": luck.choice(commands), "timeout": "3s",
            "needs": [str(n - 1)] if n and luck.random() < 0.4 else [],
        }
        for n in range(3)
    ]  # fmt: skip
    return {
        "plan": f"number {number}", "tasks": tasks,
        "policy": {"max_attempts": 1, "on_exhausted": "fail", "halt_after": 9, "grace": "200ms"},
    }  # fmt: skip


async def one(client: Client, repo: Path, luck: Random, number: int) -> str:
    plan = some_plan(luck, number)
    execution, said = await submit(client, plan, repo={"path": str(repo)}, base=repo)
    what = luck.choice(["wait", "wait", "cancel", "roll back"])
    if what == "cancel":
        await asyncio.sleep(luck.random() * 2)
        said = await client.cancel(execution)
    status = await settled(client, execution, said, "completed", "failed", "cancelled", "paused", seconds=120)
    if what == "roll back" and status["progress"]["done"]:
        said = await client.roll_back(execution, None)
        status = await settled(client, execution, said, "paused", "failed", "completed")
    return str(status["state"])


@pytest.mark.timeout(120 + 10 * EXECUTIONS)
async def test_a_persons_repository_stays_as_it_is_byte_for_byte(tmp_path: Path, repo: Path) -> None:
    before = everything(repo)
    luck = Random(EXECUTIONS)
    ended: list[str] = []
    async with engine(tmp_path / "home", slots=6) as client:
        for start in range(0, EXECUTIONS, 6):
            several = range(start, min(start + 6, EXECUTIONS))
            ended += await asyncio.gather(*(one(client, repo, luck, number) for number in several))
        assert everything(repo) == before
        names = [e["execution"] for e in await client.ask("executions", limit=EXECUTIONS)]
        landed = [n for n in names if (await client.status(n))["progress"]["done"]]
        branch = (await client.status(landed[0]))["branch"]
    assert not (tmp_path / "hook-ran").exists()
    assert not (tmp_path / "fsmonitor-ran").exists()
    assert len(set(ended)) > 1, ended
    git(
        repo,
        "fetch",
        "-q",
        str(tmp_path / "home" / "repos" / f"{branch['repository']}.git"),
        f"{branch['name']}:result",
    )
    after = everything(repo)
    new = {name for name in after if before.get(name) != after[name]}
    assert all(
        name.startswith((".git/objects", ".git/refs/heads/result", ".git/FETCH_HEAD", ".git/logs")) for name in new
    )


@pytest.mark.timeout(120 + 10 * PARALLEL)
@pytest.mark.parametrize("same", [True, False], ids=["one file", "many files"])
async def test_h10_parallel_tasks_land_in_a_line_and_none_is_lost(tmp_path: Path, same: bool) -> None:
    file = "shared.txt" if same else "$NIGHTSHIFT_TASK.txt"
    tasks = [{"id": f"t{n}", "run": f"echo $NIGHTSHIFT_TASK >> {file}"} for n in range(PARALLEL)]
    async with engine(tmp_path / "home", slots=8) as client:
        execution, said = await submit(client, {"plan": "Side by side", "policy": {"max_parallel": 8}, "tasks": tasks})
        status = await settled(client, execution, said, "completed", "failed", seconds=60 + 10 * PARALLEL)
        history = await client.ask("history", execution=execution, limit=100_000)
    assert status["state"] == "completed"
    assert all(t["failures"] == 0 for t in status["tasks"])
    repository = tmp_path / "home" / "repos" / f"{status['branch']['repository']}.git"
    log = git(repository, "log", "--format=%H %P %T", status["branch"]["head"]).splitlines()
    trees = {row["data"]["commit"]: row["data"]["tree"] for row in history if row["event"] == "TaskVerified"}
    assert len(log) == PARALLEL + 1
    for line in log[:-1]:
        commit, *parents, tree = line.split()
        assert len(parents) == 1
        assert trees[commit] == tree, "every commit is the tree that was verified"
    if same:
        listed = git(repository, "show", f"{status['branch']['head']}:shared.txt").split()
    else:
        names = git(repository, "ls-tree", "--name-only", status["branch"]["head"]).split()
        listed = [name.removesuffix(".txt") for name in names]
    assert sorted(listed) == sorted(t["id"] for t in tasks)
    conflicts = [row for row in history if row["event"] == "AttemptRejected"]
    assert bool(conflicts) == same
    assert all(row["data"]["counts"] is False for row in conflicts)
    assert not (tmp_path / "home" / "kept").exists(), "nothing went wrong that anybody has to look at"
