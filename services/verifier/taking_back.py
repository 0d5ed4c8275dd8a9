"""Taking results back although others landed after them: one commit that undoes theirs, judged before it lands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from events.branch import RevertRefused
from events.execution import RevertDue
from events.fold import ExecutionFold
from events.log import Recorded
from services.workspace import Conflict as MergeConflict
from services.workspace import Repository


@dataclass(frozen=True, kw_only=True, slots=True)
class Reverted:
    """The commit that would land."""

    base: str
    commit: str
    tree: str


async def revert(
    repository: Repository, fold: ExecutionFold, due: Recorded, fact: RevertDue
) -> Reverted | RevertRefused:
    """Build the commit on the head, the same bytes whoever builds it; or say why the results do not come apart."""
    assert fold.head is not None
    tree = await repository.tree_of(fold.head)
    for commit in fact.commits:
        before = await repository.parent(commit)
        undone: Any = await repository.merge(commit, tree, before)
        if isinstance(undone, MergeConflict):
            reason = f"what landed later builds on the same lines: {', '.join(undone.files)}"
            return RevertRefused(base=fold.head, tasks=fact.tasks, reason=reason)
        tree = undone
    commit = await repository.commit(
        tree,
        parents=[fold.head],
        message=f"Take back {', '.join(fact.tasks)}",
        author_time=due.at_ns // 1_000_000_000,
        trailers={"Nightshift-Execution": fold.id, "Nightshift-Event": due.id},
    )
    return Reverted(base=fold.head, commit=commit, tree=tree)
