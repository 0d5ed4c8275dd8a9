"""An execution's branch in the engine's own repository: the first to need it says where it starts."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path

from events.branch import BranchCreated
from events.fold import ExecutionFold
from schemas.names import branch_name
from services.workspace import Repository

Create = Callable[[BranchCreated], Awaitable[None]]
"""Appends the fact; if another copy said so first, that stands."""
Confirm = Callable[[], Awaitable[None]]
"""Waits until the fold holds what the log holds."""


def repository_name(fold: ExecutionFold) -> str:
    """The engine's repository of an execution: one for each source, and one of its own for a private workspace."""
    plan = fold.plan
    assert plan is not None
    if plan.forked is not None and plan.forked.repository is not None:
        return plan.forked.repository
    if plan.repo is None:
        return f"{fold.tenant}-{fold.id}"
    return f"{fold.tenant}-{hashlib.sha256(plan.repo.path.encode()).hexdigest()[:16]}"


async def repository_of(root: Path, fold: ExecutionFold, create: Create, confirm: Confirm) -> Repository:
    """The repository, with the execution's branch in it. Raises GitFailed, ValueError, OSError."""
    assert fold.plan is not None
    repo, forked = fold.plan.repo, fold.plan.forked
    name = repository_name(fold)
    repository = Repository.open(root, name=name)
    if fold.created is not None:
        return repository
    if forked is not None and forked.head is not None:
        base = forked.head
    elif repo is not None:
        base = await repository.fetch(repo.path, repo.commit or repo.ref)
    else:
        base = await repository.empty_commit()
    branch = branch_name(fold.id)
    await create(BranchCreated(name=branch, repository=name, base=base, source=repo.path if repo else None))
    await show_head(repository, fold, branch, confirm)
    return repository


async def show_head(repository: Repository, fold: ExecutionFold, branch: str, confirm: Confirm) -> None:
    """Make the ref say what the log says. Raises GitFailed, OSError, and what ``confirm`` raises.

    The ref is read first, then the log, and then the ref is moved only from what was read: whoever slept in between,
    while others went on, cannot set it back.
    """
    while True:
        found = await repository.branch(branch)
        await confirm()
        if fold.head is None or fold.head == found:
            return
        await repository.set_branch(branch, fold.head, found)
