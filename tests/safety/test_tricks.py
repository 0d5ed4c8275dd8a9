"""A task that edits its oracle is seen (acceptance 5): each trick is played on a real project and a real git."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from events.fold import ExecutionFold, TaskFold
from schemas.safety.rules import Oracle
from schemas.values import Criterion
from services.verifier.policy import Inspection, inspect
from services.workspace import FileChange, Repository, read_difference
from tests.controls import plan, task
from tests.safety.tricks import HONEST, TRICKS, Trick, git, make_project, passes, search_path
from tests.spec import executed, given, ready, running, started


async def played(trick: Trick, folder: Path) -> list[FileChange]:
    """Do what the trick does, and read what it changed."""
    play(trick, folder)
    repository = Repository.open(folder.parent / "repos", name="engine", durable=False)
    after = await repository.fetch(str(folder))
    return await read_difference(repository, git(folder, "rev-parse", "HEAD~1").strip(), after)


def play(trick: Trick, folder: Path) -> None:
    make_project(folder)
    assert not passes(folder, trick.check), "the check has to fail before"
    subprocess.run(["/bin/sh", "-ec", trick.run], cwd=folder, env={"PATH": search_path()}, check=True)
    git(folder, "add", "--all", "--force")
    git(folder, "commit", "-q", "-m", "done")


def inspected(check: str, changes: list[FileChange], oracle: Oracle = "ask") -> Inspection:
    """What the verifier makes of it."""
    fold, done = at_verifier(check, oracle)
    return inspect(fold, done, changes)


def at_verifier(check: str, oracle: Oracle = "ask") -> tuple[ExecutionFold, TaskFold]:
    whole = plan(task("1", verify=(Criterion(id="c1", kind="command", command=check),)))
    safety = replace(whole.policy.safety, oracle=oracle)
    whole = replace(whole, policy=replace(whole.policy, safety=safety))
    history = given(whole, running, ready("1"), started("1"), executed("1")).history
    return history.fold, history.fold.tasks["1"]


@pytest.mark.parametrize("trick", TRICKS, ids=lambda trick: trick.name)
async def test_a_trick_fools_the_check_and_not_us(trick: Trick, tmp_path: Path) -> None:
    changes = await played(trick, tmp_path / "project")
    if trick.fools:
        assert passes(tmp_path / "project", trick.check), "not a trick: the check fails anyway"
    found = inspected(trick.check, changes)
    assert found.oracle
    assert found.concerns
    assert not found.refusals
    assert inspected(trick.check, changes, "refuse").refusals
    allowed = inspected(trick.check, changes, "allow")
    assert allowed.oracle == found.oracle
    assert not allowed.concerns


@pytest.mark.parametrize("work", HONEST, ids=lambda work: work.name)
async def test_honest_work_is_left_alone(work: Trick, tmp_path: Path) -> None:
    changes = await played(work, tmp_path / "project")
    assert passes(tmp_path / "project", work.check)
    found = inspected(work.check, changes)
    assert found.files == len(changes)
    assert (found.oracle, found.concerns, found.refusals) == ((), (), ())
