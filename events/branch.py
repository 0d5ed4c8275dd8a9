"""Facts of an execution's branch: the entity ``~branch``. Git is a projection of them (hazard H10)."""

from __future__ import annotations

from events.event import event


@event("branch", "executor")
class BranchCreated:
    """The execution has a branch, starting at ``base`` of the engine's own repository."""

    name: str
    repository: str
    """The engine's repository, by name below its state folder."""
    base: str
    source: str | None = None
    """The user's repository it came from; None for a private workspace."""


@event("branch", "verifier")
class BranchAdvanced:
    """A verified task landed."""

    task: str
    base: str
    commit: str
    tree: str
    verified: str
    """The id of the TaskVerified that came with it."""
