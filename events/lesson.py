"""Facts of learning: the entity ``~lessons``. Only the learner says them; no decision of the engine hangs on them.

They hold names, normalised lines and short excerpts, never whole outputs and nothing that looks like a secret.
"""

from __future__ import annotations

from typing import Literal

from events.event import event
from schemas.values import value


@value
class Trouble:
    """An error as it can be found again."""

    signature: str
    """16 hexadecimal digits of the SHA-256 of ``text``."""
    text: str
    """The line without what differs from run to run: paths, numbers, ids, times."""
    excerpt: str
    """The line as it was printed, shortened."""


@value
class FileOperation:
    """What happened to a file, with git's letter: A added, D deleted, M modified, T another type."""

    path: str
    status: str
    added: int | None = None
    """Lines; None for a binary file."""
    removed: int | None = None


@value
class Try:
    """One attempt of the series."""

    attempt: int
    outcome: Literal["verified", "rejected", "failed", "timed_out"]
    reason: str = ""
    seconds: float | None = None
    errors: tuple[Trouble, ...] = ()


@value
class Resolution:
    """An error that a later attempt did not show any more, and what was different about that attempt."""

    signature: str
    text: str
    failed: int
    """The attempt that showed it."""
    solved: int
    """The attempt that was verified."""
    kind: Literal["changed", "repeated"]
    """``repeated``: the same again, and it went well: the cause lay outside the task."""
    files: tuple[FileOperation, ...] = ()
    """What the good attempt left behind that the bad one had not; all of it where the bad one left no commit."""
    commands: tuple[str, ...] = ()
    """Commands that only the good attempt shows."""


@event("lessons", "learner")
class LessonLearned:
    """What the attempts at a task taught, after it was verified or given up."""

    task: str
    attempt: int
    """The attempt it ended with."""
    end: str
    """The id of the event that ended it."""
    ended_at: str
    """When that was stored, in UTC (RFC 3339)."""
    title: str
    description: str = ""
    task_type: Literal["run", "agent", "check"]
    """A shell command, a coding agent, or criteria only."""
    tool: str = ""
    """The agent's program, or the command's first word."""
    success: bool
    outcome: Literal["verified", "failed", "blocked"]
    duration_seconds: float | None = None
    """Of the attempt it ended with."""
    total_seconds: float = 0.0
    """Of all its attempts."""
    conversation_id: str | None = None
    tries: tuple[Try, ...] = ()
    """The last of its attempts, in order."""
    commands: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    """Normalised lines."""
    file_operations: tuple[FileOperation, ...] = ()
    """Of the attempt it ended with."""
    files_changed: int = 0
    """How many there were; more than are listed if that is too many."""
    api_calls: tuple[str, ...] = ()
    """Method, host and path; queries are left out."""
    resolutions: tuple[Resolution, ...] = ()


@value
class Similar:
    """Something that was done before."""

    execution_id: str
    task: str
    attempt: int
    similarity: float
    """0 to 1; what it means depends on the embedder."""
    task_title: str
    success: bool
    duration: float | None
    commands: tuple[str, ...]
    errors: tuple[str, ...]
    timestamp: str


@value
class Recommended:
    """What is known from before that is like one task."""

    task: str
    similar: tuple[Similar, ...]
    estimate: float | None = None
    """Seconds, from how long those took that went well."""


@event("lessons", "learner")
class RecommendationMade:
    """A plan was accepted, and tasks like some of its tasks have run before. Nothing of it is executed."""

    embedder: str
    semantic: bool
    """False: words were compared, not meanings."""
    tasks: tuple[Recommended, ...]
    left_out: int = 0
    """Tasks that were not looked up, because the plan has too many."""
