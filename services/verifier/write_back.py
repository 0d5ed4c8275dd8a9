"""Saying in the plan's own files that a task is done: part of the tree that is judged and lands (RE-3).

The box of the task is ticked where the plan lies in the repository, one character and nothing else, and only if its
line is still what was read. ``task_outcomes.md`` beside it gets a section.
"""

from __future__ import annotations

import os
import posixpath

from events.fold import ExecutionFold, TaskFold
from events.log import Recorded
from events.task import TaskDelivered, TaskExecuted
from schemas.values import Place
from schemas.write_back import Conflict, StatusPlace, outcome_section, set_status, tick
from services.workspace import Repository

OUTCOMES = "task_outcomes.md"


def folder_in_repository(fold: ExecutionFold) -> str | None:
    """The plan's folder relative to the repository; None if the plan does not lie in it."""
    plan = fold.plan
    if plan is None or plan.repo is None or plan.base is None or "://" in plan.repo.path:
        return None
    relative = os.path.relpath(plan.base, plan.repo.path)
    return None if relative.startswith("..") else relative


async def write_back(
    repository: Repository, fold: ExecutionFold, task: TaskFold, executed: Recorded, tree: str
) -> tuple[str, str]:
    """The tree with the plan's files brought up to date, and what was done, or why not."""
    folder = folder_in_repository(fold)
    place = task.spec.place
    if folder is None or place is None:
        return tree, ""
    path = posixpath.normpath(posixpath.join(folder, place.file))
    raw = await repository.file(tree, path)
    if raw is None:
        return tree, f"conflict: {path} is not in the repository"
    changed = _mark(raw, place)
    if isinstance(changed, Conflict):
        return tree, f"conflict: {path}:{changed.line}: {changed.reason}"
    outcomes = posixpath.normpath(posixpath.join(posixpath.dirname(path), OUTCOMES))
    before = await repository.file(tree, outcomes) or b"# Task outcomes\n"
    section = _section(fold, task, executed)
    files = {path: changed, outcomes: before.rstrip(b"\n") + b"\n\n" + section.encode()}
    return await repository.with_files(tree, files), f"{path}:{place.line} marked, {outcomes} extended"


def _mark(raw: bytes, place: Place) -> bytes | Conflict:
    if place.column is None:
        return set_status(raw, StatusPlace(line=place.line, expected_line=place.text, format=place.format))
    return tick(raw, line=place.line, column=place.column, expected_line=place.text)


def _section(fold: ExecutionFold, task: TaskFold, executed: Recorded) -> str:
    fact = executed.fact
    assert isinstance(fact, TaskExecuted | TaskDelivered)
    evidence, seconds = [], 0.0
    if isinstance(fact, TaskExecuted):
        evidence = [f"output sha256:{fact.output.sha256}"] if fact.output else []
        seconds = fact.usage.seconds
    return outcome_section(
        task=task.spec.id,
        title=task.spec.title,
        outcome="verified",
        commit=fact.commit,
        evidence=[*evidence, f"execution {fold.id}, attempt {task.attempt}"],
        duration=seconds,
    )
