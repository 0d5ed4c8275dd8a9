"""A person's work on a task: from a git pack or the plan's own repository into the engine's (EX-9)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from events.fold import ExecutionFold
from events.log import EventLog
from events.task import TaskDelivered, TaskExecuted
from schemas.names import BadName
from services.secrets.grants import Opened, SecretFound, SecretProblem, Secrets
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


async def delivered_work(
    repository: Repository, fold: ExecutionFold, fact: TaskDelivered, log: EventLog, secrets: Secrets
) -> Work:
    """A person's, once its commit is in the engine's repository. Raises NotDelivered, LogUnavailable."""
    if fact.commit is None:
        assert fold.head is not None
        return Work(base=fold.head, commit=None, tree=await repository.tree_of(fold.head))
    try:
        if fact.pack is not None:
            await _unpack(repository, fold, fact, log)
        elif fold.plan is not None and fold.plan.repo is not None:
            await repository.fetch(fold.plan.repo.path, fact.commit)
        base = fact.base or await repository.parent(fact.commit)
        await repository.tree_of(base)
        work = Work(base=base, commit=fact.commit, tree=await repository.tree_of(fact.commit))
        assert fold.plan is not None
        await _search(repository, base, fact.commit, await secrets.open(fold.tenant, fold.plan))
        return work
    except (SecretFound, SecretProblem) as error:
        raise NotDelivered(str(error)) from error
    except (GitFailed, ValueError) as error:
        reason = f"the commit {fact.commit} or what it was made on cannot be had: {error}"
        raise NotDelivered(f"{reason}; deliver it with: nightshift deliver") from error


async def _search(repository: Repository, base: str, commit: str, secrets: Opened) -> None:
    """Look for what the plan is granted in all that a commit changed, as with what a task made. Raises SecretFound."""
    if not secrets.redactor:
        return
    for change in await repository.changed_files(base, commit):
        if change.status == "D":
            continue
        secrets.look_at_name(change.path)
        content = await repository.content(commit, change.path)
        if content is not None:
            await asyncio.to_thread(secrets.look_into, change.path, [content])


async def _unpack(repository: Repository, fold: ExecutionFold, fact: TaskDelivered, log: EventLog) -> None:
    """Take the objects of a pack in. Its digest is checked on the way."""
    assert fact.pack is not None
    if fact.pack.bucket != f"artifacts-{fold.tenant}":
        raise NotDelivered(f"the bucket {fact.pack.bucket!r} is not this tenant's")
    try:
        raw = await log.get_blob(fact.pack.bucket, fact.pack.sha256)
    except KeyError as error:
        raise NotDelivered(f"there is no object {fact.pack.sha256} in {fact.pack.bucket}") from error
    except BadName as error:
        raise NotDelivered(str(error)) from error
    await repository.unpack(raw)
