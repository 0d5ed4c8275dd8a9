"""Facts of a verification. Only the verifier says them; TaskVerified alone unlocks dependents."""

from __future__ import annotations

from typing import Literal

from events.event import event
from events.task import Artifact
from schemas.values import value


@value
class Result:
    """One criterion's yes or no, with its evidence."""

    criterion: str
    kind: str
    text: str
    result: Literal["pass", "fail", "skipped"]
    detail: str = ""
    exit_code: int | None = None
    seconds: float = 0.0
    evidence: Artifact | None = None


@event("task", "verifier")
class TaskVerified:
    """The task is done: this tree was judged, by these checks, with this evidence."""

    attempt: int
    lease: str
    tree: str | None
    """The git tree that was judged; None for a task that has no workspace."""
    commit: str | None
    """The commit that landed; None if the task changed nothing."""
    head: str | None
    """Where the branch stands with this task on it; dependents start here."""
    results: tuple[Result, ...]
    evidence: Artifact | None = None
    seconds: float = 0.0
    accepted: str = "criteria"
    """Why it counts: ``criteria``, ``approval`` by a person, ``policy`` (unverified: accept), or ``noop``."""
    written_back: str = ""
    """What the commit says in the plan's own files, or why it could not."""


@event("task", "verifier")
class AttemptRejected:
    """The result does not hold: a criterion failed, or it cannot be joined with what landed before."""

    attempt: int
    lease: str
    reason: str
    results: tuple[Result, ...] = ()
    conflict: tuple[str, ...] = ()
    """Files that cannot be merged."""
    tree: str | None = None
    evidence: Artifact | None = None
    seconds: float = 0.0
