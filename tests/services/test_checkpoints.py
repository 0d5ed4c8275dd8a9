"""Checkpoints inside a task: on real workspaces, which they must not disturb."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from events import TaskCheckpointed
from services.executor.checkpoints import Checkpoints
from services.executor.health import mark
from services.workspace import GitFailed, Repository, Workspace


class Attempt:
    """An attempt in a workspace of its own, and what was said about it."""

    def __init__(self, workspace: Workspace, base: str) -> None:
        self.workspace = workspace
        self.repository = workspace.repository
        self.base = base
        self.said: list[TaskCheckpointed] = []
        self.broken = False
        self.checkpoints = Checkpoints(
            workspace, base=base, attempt=2, lease="L", force=["out/*"], commit=self.commit, tell=self.tell
        )

    @classmethod
    async def begin(cls, folder: Path) -> Attempt:
        repository = Repository.open(folder / "repos", name="x", durable=False)
        base = await repository.empty_commit()
        return cls(await Workspace.create(repository, folder / "files", base, root=folder), base)

    async def commit(self, tree: str) -> str:
        if self.broken:
            raise GitFailed(["git"], 128, "broken")
        return await self.repository.commit(tree, parents=[self.base], message="m", author_time=1, trailers={})

    async def tell(self, fact: TaskCheckpointed) -> None:
        self.said.append(fact)

    def write(self, name: str, text: str) -> None:
        path = self.workspace.path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


@pytest.fixture
async def attempt(tmp_path: Path) -> Attempt:
    return await Attempt.begin(tmp_path)


async def test_only_what_has_changed_is_recorded(attempt: Attempt) -> None:
    assert await attempt.checkpoints.make() is None
    attempt.write("a.txt", "1")
    first = await attempt.checkpoints.make()
    assert await attempt.checkpoints.make() == first
    attempt.write(".gitignore", "out\n")
    attempt.write("out/kept", "x")
    second = await attempt.checkpoints.make()
    assert [(f.commit, f.base, f.attempt, f.lease) for f in attempt.said] == [
        (first, attempt.base, 2, "L"), (second, attempt.base, 2, "L"),
    ]  # fmt: skip
    assert second is not None
    tree = await attempt.repository.tree_of(second)
    assert tree == attempt.said[1].tree
    changes = await attempt.repository.changed_files(attempt.base, second)
    assert sorted(change.path for change in changes) == [".gitignore", "a.txt", "out/kept"]
    assert attempt.said[0].seconds <= attempt.said[1].seconds


async def test_back_to_the_beginning_is_a_change_too(attempt: Attempt) -> None:
    attempt.write("a.txt", "1")
    await attempt.checkpoints.make()
    (attempt.workspace.path / "a.txt").unlink()
    await attempt.checkpoints.make()
    assert attempt.said[1].tree == await attempt.repository.tree_of(attempt.base)


async def test_one_that_fails_is_left_out_and_the_next_one_is_made(attempt: Attempt) -> None:
    attempt.write("a.txt", "1")
    attempt.broken = True
    assert await attempt.checkpoints.make() is None
    assert attempt.said == []
    attempt.broken = False
    assert await attempt.checkpoints.make() is not None


async def test_the_workspace_is_not_disturbed(attempt: Attempt) -> None:
    attempt.write("a.txt", "1")
    before = mark(attempt.workspace.path)
    await attempt.checkpoints.make()
    assert mark(attempt.workspace.path) == before


async def test_files_that_change_meanwhile_stop_neither_side(attempt: Attempt) -> None:
    script = "i=0; while :; do i=$((i+1)); echo $i > f$((i % 50)); rm -f f$(((i + 7) % 50)); echo $i >> grows; done"
    writer = await asyncio.create_subprocess_exec("/bin/sh", "-c", script, cwd=attempt.workspace.path)
    try:
        for _ in range(8):
            await attempt.checkpoints.make()
        assert writer.returncode is None
    finally:
        with contextlib.suppress(ProcessLookupError):
            writer.kill()
        await writer.wait()
    await attempt.checkpoints.make()
    assert attempt.said
    assert attempt.said[-1].tree == await attempt.workspace.snapshot()


async def test_without_room_none_is_made(attempt: Attempt) -> None:
    asked = asyncio.Event()
    room = False

    def look() -> bool:
        asked.set()
        return room

    attempt.write("a.txt", "1")
    running = asyncio.create_task(attempt.checkpoints.run(0.02, look))
    await asked.wait()
    assert attempt.said == []
    room = True
    async with asyncio.timeout(20):
        while not attempt.said:  # noqa: ASYNC110  # a task fills it
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert len(attempt.said) == 1
