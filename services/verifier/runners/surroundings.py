"""A task's surroundings, taken from its execution and the engine's repository."""

from __future__ import annotations

import contextlib
import posixpath
from collections.abc import AsyncIterator
from pathlib import Path

from events.fold import ExecutionFold, TaskFold
from schemas.values import Criterion
from services.verifier.runners.around import Around, Baselines
from services.verifier.write_back import folder_in_repository
from services.workspace import Repository, Workspace


def are_needed(criterion: Criterion) -> bool:
    """Whether it is judged by more than the checkout."""
    return criterion.kind in ("tests", "quality") or criterion.target is not None


@contextlib.asynccontextmanager
async def surroundings(
    repository: Repository,
    fold: ExecutionFold,
    task: TaskFold,
    *,
    head: str,
    tree: str,
    folder: Path,
    root: Path,
    baselines: Baselines,
) -> AsyncIterator[Around]:
    """What is known about a task whose ``tree`` would follow ``head``; an empty tree is the head's own.

    ``folder`` is where it is judged, with ``files`` and ``tmp`` in it; the checkout of the head is removed at the end.
    """
    earlier: list[Workspace] = []

    async def checkout() -> Path:
        if not earlier:
            earlier.append(await Workspace.create(repository, folder / "before", head, root=root))
        return earlier[0].path

    before = await repository.tree_of(head)
    changes = await repository.changed_files(before, tree) if tree else []
    project = Path(fold.plan.repo.path) if fold.plan and fold.plan.repo else None
    try:
        yield Around(
            scope=f"{fold.tenant}/{fold.id}", title=task.spec.title or task.spec.id, files=task.spec.files,
            plan=_plan_path(fold, task), project=project if project is not None and project.is_dir() else None,
            tmp=folder / "tmp", tree=tree or before, before=before, changes={c.path: c.status for c in changes},
            checkout=checkout, baselines=baselines,
        )  # fmt: skip
    finally:
        for each in earlier:
            await each.remove()


def _plan_path(fold: ExecutionFold, task: TaskFold) -> str | None:
    """The plan's file in the repository; None if it does not lie there."""
    folder = folder_in_repository(fold)
    if folder is None or fold.plan is None:
        return None
    file = task.spec.place.file if task.spec.place else fold.plan.files[0].path if fold.plan.files else None
    return posixpath.normpath(posixpath.join(folder, file)) if file else None
