"""A person's work on a task: from a git bundle or the plan's own repository into the engine's (EX-9)."""

from __future__ import annotations

from dataclasses import dataclass

from events.fold import ExecutionFold
from events.log import EventLog
from events.task import TaskDelivered, TaskExecuted
from schemas.names import BadName
from services.workspace import GitFailed, Repository


class NotDelivered(Exception):
    """What a person delivered cannot be had, or does not fit this execution."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """What there is to judge, whoever made it."""

    base: str | None
    commit: str | None
    tree: str | None


def executed_work(fact: TaskExecuted) -> Work:
    """An attempt's."""
    return Work(base=fact.base, commit=fact.commit, tree=fact.tree)


async def delivered_work(repository: Repository, fold: ExecutionFold, fact: TaskDelivered, log: EventLog) -> Work:
    """A person's, once its commit is in the engine's repository. Raises NotDelivered, LogUnavailable."""
    if fact.commit is None:
        assert fold.head is not None
        return Work(base=fold.head, commit=None, tree=await repository.tree_of(fold.head))
    try:
        if fact.bundle is not None:
            await _unbundle(repository, fold, fact, log)
        elif fold.plan is not None and fold.plan.repo is not None:
            await repository.fetch(fold.plan.repo.path, fact.commit)
        base = fact.base or await repository.parent(fact.commit)
        await repository.tree_of(base)
        return Work(base=base, commit=fact.commit, tree=await repository.tree_of(fact.commit))
    except (GitFailed, ValueError) as error:
        raise NotDelivered(
            f"the commit {fact.commit} or what it was made on cannot be had: {error}; deliver it as a bundle"
        ) from error


async def _unbundle(repository: Repository, fold: ExecutionFold, fact: TaskDelivered, log: EventLog) -> None:
    """Fetch the objects of a bundle. Its digest is checked on the way; refs in it are not looked at."""
    assert fact.bundle is not None
    if fact.bundle.bucket != f"artifacts-{fold.tenant}":
        raise NotDelivered(f"the bucket {fact.bundle.bucket!r} is not this tenant's")
    try:
        raw = await log.get_blob(fact.bundle.bucket, fact.bundle.sha256)
    except KeyError as error:
        raise NotDelivered(f"there is no object {fact.bundle.sha256} in {fact.bundle.bucket}") from error
    except BadName as error:
        raise NotDelivered(str(error)) from error
    await repository.unbundle(raw)
