"""Facts of a verification. Only the verifier says them; TaskVerified alone unlocks dependents."""

from __future__ import annotations

from events.event import event
from events.parts import Artifact, GateOutcome
from events.parts import Result as Result
from schemas.values import GateMoment, value


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
    gates: tuple[GateOutcome, ...] = ()
    """The gates after the task, and evaluations."""


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
    by: str = ""
    """Who delivered what is rejected, if a person did: it counts no attempt."""
    counts: bool = True
    """Whether it is one of the attempts that the task has; False where others landed first, or a person made it."""
    retryable: bool = True
    """False: another attempt cannot help, such as where nobody may be asked."""
    gates: tuple[GateOutcome, ...] = ()


@event("task", "verifier")
class TaskGatesJudged:
    """Gates before or during a task were judged."""

    due: str
    """The id of the TaskGatesDue, or of the checkpoint that was judged."""
    when: GateMoment
    attempt: int
    outcomes: tuple[GateOutcome, ...]
    lease: str = ""
    """The attempt that runs, for gates during a task."""


@value
class OracleFile:
    """A file that judges a task and that the task changed."""

    path: str
    why: str
    """Why it judges the task."""


@event("task", "verifier")
class OracleTouched:
    """The task changed what judges it. A fact beside the verdict: the policy says whether a person is asked."""

    attempt: int
    lease: str
    files: tuple[OracleFile, ...]
