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
"""Waits until the fold holds what the log holds: whoever has slept since would set a ref back."""


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
    shown = None
    while fold.head is not None and fold.head != shown:
        shown = fold.head
        await repository.set_branch(branch, shown)
        await confirm()
    return repository
