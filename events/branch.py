"""Facts of an execution's branch: the entity ``~branch``. Git is a projection of them (hazard H10)."""

from __future__ import annotations

from events.event import event
from events.parts import Artifact, Result


@event("branch", "executor", "verifier")
class BranchCreated:
    """The execution has a branch, starting at ``base`` of the engine's own repository."""

    name: str
    repository: str
    """The engine's repository, by name below its state folder."""
    base: str
    source: str | None = None
    """The user's repository it came from; None for a private workspace."""


@event("branch", "planner")
class BranchRolledBack:
    """The branch stands where it stood when a task had landed; what came after it is to be made again (hazard H11).

    States and head fold from this one event. A verdict on an older head is refused by the branch's guard.
    """

    to: str
    """The commit; empty if there is no branch yet."""
    task: str | None
    """The last task whose result stays; None: nothing stays."""
    invalidated: tuple[str, ...]
    """Every task that goes back to pending."""
    reason: str
    requested_by: str = ""
    not_undone: tuple[str, ...] = ()
    """What git cannot take back: effects that those tasks may have had outside their workspaces."""


@event("branch", "verifier")
class BranchReverted:
    """A commit on top of the branch takes results back; what remains was judged on its tree."""

    base: str
    commit: str
    tree: str
    invalidated: tuple[str, ...]
    results: tuple[Result, ...] = ()
    evidence: Artifact | None = None
    not_undone: tuple[str, ...] = ()


@event("branch", "verifier")
class RevertRefused:
    """The results cannot be taken back alone; the branch stays as it is."""

    base: str
    tasks: tuple[str, ...]
    reason: str


@event("branch", "verifier")
class BranchAdvanced:
    """A verified task landed."""

    task: str
    base: str
    commit: str
    tree: str
    verified: str
    """The id of the TaskVerified that came with it."""
