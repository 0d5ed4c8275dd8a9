"""What people say. Anyone with a tenant's credentials may publish these; they change no state by themselves."""

from __future__ import annotations

from dataclasses import field
from typing import Any

from events.event import event
from schemas.values import Repo, value


@value
class BlobRef:
    """Bytes in an object store bucket, by digest."""

    bucket: str
    sha256: str
    size: int


@event("inbox", "people")
class PlanSubmitted:
    """Somebody handed over a plan: as a native mapping, as the texts of plan files, or by reference to either."""

    plan: dict[str, Any] | None = None
    """The native plan (schemas/plan.schema.json)."""
    documents: dict[str, str] | None = None
    """Plan files as they are, by relative path."""
    root: str | None = None
    """Which document to read; needed when there are several and none is a ROADMAP.md."""
    plan_ref: BlobRef | None = None
    """An object that holds ``{"plan": …}`` or ``{"documents": …}``, for plans above a megabyte."""
    format: str | None = None
    """Forces a format instead of detecting it."""
    agent: str | None = None
    """The program for tasks that name none."""
    repo: Repo | None = None
    """Overrides the plan's own ``repo``."""
    base: str | None = None
    """The folder that ``repo`` and programs are relative to, on the machine of whoever submits."""
    env: dict[str, str] = field(default_factory=dict)
    """Variables for every task, over the plan's own."""
    options: dict[str, Any] = field(default_factory=dict)
    """Hand-off options of the founding document: ``priority``, ``retry: {maxAttempts, backoffMultiplier}``."""
    all_tasks: bool = False
    """Run also what the source says is done."""
    stop_after: str | None = None
    """Pause when this task is done, before anything else starts."""
    conversation_id: str | None = None
    request: str | None = None
    """The request's own UUID; the execution id where it is missing."""
    actor: str | None = None
    """The name somebody claims."""


@event("inbox", "people")
class CancelRequested:
    """Somebody wants the execution to stop for good."""

    request: str
    reason: str = ""
    actor: str | None = None


@event("inbox", "people")
class PauseRequested:
    """Somebody wants nothing more to start; what runs may finish."""

    request: str
    reason: str = ""
    actor: str | None = None


@event("inbox", "people")
class ResumeRequested:
    """Somebody wants a paused execution to go on from where it is."""

    request: str
    reason: str = ""
    actor: str | None = None


@event("inbox", "people")
class RetryRequested:
    """Somebody wants failed or blocked tasks to be tried again, with as many attempts as before."""

    request: str
    task: str | None = None
    """All of them where it is missing."""
    reason: str = ""
    actor: str | None = None


@event("inbox", "people")
class StopPointRequested:
    """Somebody sets, moves or clears the stop point."""

    request: str
    after: str | None = None
    """The task after which to pause; None clears it."""
    actor: str | None = None


@event("inbox", "people")
class ApprovalGiven:
    """Somebody answered a question that a task waits for: yes or no, with notes."""

    request: str
    task: str
    granted: bool = True
    approval: str | None = None
    """The id of the question that was seen; the open one where it is missing."""
    notes: str = ""
    actor: str | None = None
