"""Facts about how a task is doing while it runs. None of them changes a state; their guard is the task's."""

from __future__ import annotations

from typing import Literal

from events.event import event

Kind = Literal["duration", "timeout", "memory", "silence", "disk", "progress", "failures"]
Stage = Literal["warn", "wait", "interrupt", "kill", "fail"]


@event("task", "executor", "planner")
class HealthWarned:
    """A measure went beyond its limit. Said once until it has been back within it, and again for each further stage."""

    kind: Kind
    stage: Stage
    """What is done: only this warning; the task waits; the attempt is asked to end, killed, or ended for good."""
    value: float
    """As measured, in the unit of the limit: seconds, bytes, or a number of tasks."""
    limit: float
    message: str
    attempt: int = 0
    lease: str | None = None
    """None: the attempt has not been started."""
    tail: str = ""
    """The end of its output so far, where that helps to see why."""


@event("task", "executor")
class TaskCheckpointed:
    """What a running attempt has done so far was recorded; it goes on. Only gates during the task are judged on it."""

    attempt: int
    lease: str
    base: str
    """The commit that the attempt started from."""
    commit: str
    tree: str
    seconds: float
    """Since the command started."""
