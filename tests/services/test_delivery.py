"""A person's commit is searched for secrets like the result of a task."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from events import TaskDelivered
from events.fold import ExecutionFold
from schemas.values import Grant, Plan
from services.secrets.grants import Secrets
from services.verifier.delivery import NotDelivered, delivered_work
from services.workspace import Repository, Workspace
from tests.spec import NO_LOG

VALUE = "s3cr3t-value-111"


async def commit_of(repository: Repository, scratch: Path, files: Mapping[str, str], parent: str) -> str:
    made = await Workspace.create(repository, scratch, parent, root=scratch.parent)
    for name, text in files.items():
        (made.path / name).parent.mkdir(parents=True, exist_ok=True)
        os.symlink(text[3:], made.path / name) if text.startswith("-> ") else (made.path / name).write_text(text)
    tree = await made.snapshot()
    return await repository.commit(tree, parents=[parent], message="x", author_time=1, trailers={})


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"a.txt": f"1\n2 {VALUE}\n"}, "the result holds the secret TOKEN in a.txt:2"),
        ({"a.txt": VALUE.encode().hex()}, "the result holds the secret TOKEN in a.txt:1"),
        ({"old.txt": f"old\n{VALUE}\n"}, "the result holds the secret TOKEN in old.txt:2"),
        ({"link": f"-> {VALUE}"}, "the result holds the secret TOKEN in link:1"),
        ({f"{VALUE}/a.txt": "x"}, "the result holds the secret TOKEN in the name of a file: [secret TOKEN]/a.txt"),
        ({"a.txt": "nothing", "b [*].txt": "else"}, ""),
    ],
)
async def test_a_delivered_commit_is_searched(tmp_path: Path, files: dict[str, str], reason: str) -> None:
    repository = Repository.open(tmp_path / "repos", name="x", durable=False)
    begin = await repository.empty_commit()
    base = await commit_of(repository, tmp_path / "one", {"old.txt": "old\n", "theirs.txt": VALUE}, begin)
    commit = await commit_of(repository, tmp_path / "two", files, base)
    secrets = Secrets(tmp_path)
    secrets.vault.set("default", "TOKEN", VALUE)
    fold = ExecutionFold("default", "e-1")
    fact = TaskDelivered(attempt=1, lease="l", by="Ada", commit=commit)
    for granted in ((), (Grant(name="TOKEN", env="TOKEN"),)):
        fold.plan = Plan(id="0192f0c1-0000-7000-8000-000000000001", title="P", tasks=(), secrets=granted)
        if reason and granted:
            with pytest.raises(NotDelivered) as refused:
                await delivered_work(repository, fold, fact, NO_LOG, secrets)
            assert str(refused.value) == reason
        else:
            work = await delivered_work(repository, fold, fact, NO_LOG, secrets)
            assert (work.base, work.commit) == (base, commit)
