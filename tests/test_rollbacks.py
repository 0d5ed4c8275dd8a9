"""Random rollbacks on the real engine: tree, branch and tasks are what they were at the checkpoint, every time.

``NIGHTSHIFT_ROLLBACKS`` says how many (six by default).
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from nightshift.client import Client
from services.workspace.objects import EMPTY_TREE
from tests.engines import engine, settled, submit

pytestmark = pytest.mark.whole
MANY = int(os.environ.get("NIGHTSHIFT_ROLLBACKS", "6"))
NEEDS = {"a": [], "b": ["a"], "c": ["a"], "d": ["b"], "e": ["c"], "f": [], "g": ["d", "e"], "h": ["f"]}
PLAN: dict[str, Any] = {
    "plan": "Back and forth",
    "policy": {"max_parallel": 3},
    "tasks": [
        {"id": name, "needs": needs, "run": f"echo $NIGHTSHIFT_LEASE > {name}.txt; cat *.txt > all-{name}.txt"}
        for name, needs in NEEDS.items()
    ],
}


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    async with engine(tmp_path / "home") as client:
        yield client


async def landed(client: Client, execution: str) -> list[tuple[str, str, str]]:
    """Tasks, commits and trees in the order in which what counts has landed."""
    where = f"execution = '{execution}' and what = 'landed'"
    sql = f'select task, "commit", tree from checkpoints where {where} order by seq'
    rows = (await client.ask("query", sql=sql))["rows"]
    newest = {task: (number, task, commit, tree) for number, (task, commit, tree) in enumerate(rows)}
    return [(task, commit, tree) for _, task, commit, tree in sorted(newest.values())]


def behind(names: set[str]) -> set[str]:
    """The named tasks and all that need them."""
    found = set(names)
    while more := {name for name, needs in NEEDS.items() if found & set(needs)} - found:
        found |= more
    return found


@pytest.mark.timeout(60 + 30 * MANY)
async def test_h11_random_rollbacks_restore_exactly_the_checkpoint(client: Client, tmp_path: Path) -> None:
    luck = Random(MANY)
    execution, said = await submit(client, PLAN)
    status = await settled(client, execution, said, "completed")
    git = ["git", "--git-dir", str(tmp_path / "home" / "repos" / f"{status['branch']['repository']}.git")]

    def shown(name: str) -> str:
        return subprocess.run([*git, "rev-parse", name], capture_output=True, text=True, check=True).stdout.strip()

    for number in range(MANY):
        verified = await landed(client, execution)
        spot = luck.randrange(-1, len(verified) - 1)
        to, wanted, tree = verified[spot] if spot >= 0 else (None, status["branch"]["base"], EMPTY_TREE)
        said = await client.roll_back(execution, to, reason=f"number {number}")
        back = await settled(client, execution, said, "paused")
        states = {t["id"]: t["state"] for t in back["tasks"]}
        gone = behind({name for name, _, _ in verified[spot + 1 :]})
        assert {name for name, state in states.items() if state == "pending"} == gone
        assert {name for name, state in states.items() if state == "verified"} == set(NEEDS) - gone
        assert back["branch"]["head"] == wanted
        assert shown(f"{wanted}^{{tree}}") == tree
        async with asyncio.timeout(20):
            while shown(back["branch"]["name"]) != wanted:  # noqa: ASYNC110  # the ref is another process's
                await asyncio.sleep(0.05)
        said = await client.resume(execution)
        status = await settled(client, execution, said, "completed")
    checked = await client.ask("check", timeout=120.0)
    assert checked["differences"] == []
