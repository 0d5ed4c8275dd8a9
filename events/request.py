"""What people say. Anyone with a tenant's credentials may publish these; they change no state by themselves."""

from __future__ import annotations

from dataclasses import field
from typing import Any

from events.event import event
from events.parts import BlobRef as BlobRef
from schemas.values import Repo, value


@value
class ForkPoint:
    """A moment of another execution of the same tenant: up to a sequence, or up to when a task was verified."""

    execution: str
    at: int | None = None
    task: str | None = None


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
    shared: dict[str, str] = field(default_factory=dict)
    """Shared resources, over the plan's own; what ``lessons/<task>`` holds is told to that task's agent."""
    options: dict[str, Any] = field(default_factory=dict)
    """Hand-off options of the founding document: ``priority``, ``retry: {maxAttempts, backoffMultiplier}``."""
    all_tasks: bool = False
    """Run also what the source says is done."""
    stop_after: str | None = None
    """Pause when this task is done, before anything else starts."""
    fork: ForkPoint | None = None
    """Begin where another execution stood. Without a plan: its plan; with one: results of tasks that did not change."""
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


@event("inbox", "people")
class RollbackRequested:
    """Somebody wants the branch and the tasks to be as they were when a task had landed."""

    request: str
    to: str | None = None
    """The last task whose result stays; None: nothing stays."""
    reason: str = ""
    resume: bool = False
    """Go on by itself afterwards instead of staying paused."""
    actor: str | None = None


@event("inbox", "people")
class InvalidateRequested:
    """Somebody does not trust one result: it is made again, and whatever was built on it."""

    request: str
    task: str
    reason: str = ""
    resume: bool = True
    """Go on by itself afterwards, unless it was paused before."""
    actor: str | None = None


@event("inbox", "people")
class OverrideRequested:
    """Somebody wants to do a task by hand."""

    request: str
    task: str
    reason: str = ""
    actor: str | None = None


@event("inbox", "people")
class WorkDelivered:
    """Somebody did a task by hand; the verifier judges it like any other result."""

    request: str
    task: str
    commit: str | None = None
    """The work as a commit; None: nothing was changed in the repository."""
    base: str | None = None
    """The commit it was made on; its parent where it is missing."""
    pack: BlobRef | None = None
    """A git pack with what the commit needs beyond ``base``; without one, the plan's own repository must hold it."""
    notes: str = ""
    actor: str | None = None


@event("inbox", "people")
class HandBackRequested:
    """Somebody who took a task over gives it back undone."""

    request: str
    task: str
    reason: str = ""
    actor: str | None = None


@event("inbox", "people")
class DeadLetterRetryRequested:
    """Somebody wants a reaction that was given up to be tried again."""

    request: str
    sequence: int
    """Of the event that nobody could react to, as DeadLettered names it."""
    reason: str = ""
    actor: str | None = None


@event("inbox", "people")
class RatingGiven:
    """Somebody says how good a task's result, or the whole execution, is: from 1 to 10, 10 is best."""

    request: str
    rating: int
    task: str | None = None
    """The execution as a whole where it is missing."""
    notes: str = ""
    actor: str | None = None
