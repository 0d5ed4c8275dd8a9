"""The kinds of notices, and the founding routing table as data. Events are named, not imported: some come later."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.notify import Column, Condition, Role, Rule, Severity

LONG = 300.0
"""Seconds above which a task that is complete is worth a push."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a kind of notice is like."""

    severity: Severity
    audience: tuple[Role, ...]
    many: bool = False
    """It comes by the hundred, so what comes within a window is put together."""


DEVELOPER: tuple[Role, ...] = ("developer",)
MANAGER: tuple[Role, ...] = ("developer", "manager")
EVERYBODY: tuple[Role, ...] = ("developer", "manager", "stakeholder")

KINDS: dict[str, Kind] = {
    "task_started": Kind("info", DEVELOPER, many=True),
    "task_completed": Kind("info", DEVELOPER, many=True),
    "task_failed": Kind("error", DEVELOPER, many=True),
    "attempt_failed": Kind("warning", DEVELOPER, many=True),
    "phase_completed": Kind("info", MANAGER),
    "execution_completed": Kind("info", EVERYBODY),
    "execution_failed": Kind("error", EVERYBODY),
    "execution_cancelled": Kind("warning", EVERYBODY),
    "health_warning": Kind("warning", DEVELOPER, many=True),
    "progress": Kind("info", DEVELOPER),
    "escalation": Kind("critical", MANAGER, many=True),
    "standstill": Kind("critical", MANAGER),
    "approval": Kind("critical", MANAGER, many=True),
    "paused": Kind("warning", MANAGER),
    "rolled_back": Kind("error", MANAGER),
    "plan_rejected": Kind("error", DEVELOPER),
    "fault": Kind("critical", DEVELOPER, many=True),
    "test": Kind("info", EVERYBODY),
}

OF_EVENT = {
    "TaskStarted": "task_started",
    "TaskVerified": "task_completed",
    "TaskFailed": "task_failed",
    "AttemptFailed": "attempt_failed",
    "AttemptRejected": "attempt_failed",
    "AttemptTimedOut": "attempt_failed",
    "ExecutionCompleted": "execution_completed",
    "ExecutionFailed": "execution_failed",
    "ExecutionCancelled": "execution_cancelled",
    "HealthWarned": "health_warning",
    "ProgressMarked": "progress",
    "TaskBlocked": "escalation",
    "ExecutionBlocked": "standstill",
    "ApprovalRequested": "approval",
    "ExecutionPaused": "paused",
    "BranchRolledBack": "rolled_back",
    "PlanRejected": "plan_rejected",
    "DeadLettered": "fault",
}
"""Which kind of notice an event is; the end of a phase is seen in the TaskVerified that brings it."""


def is_small_talk(kind: str) -> bool:
    """Whether it is of the kind that comes by the hundred and that nobody misses."""
    return KINDS[kind].many and KINDS[kind].severity == "info"


ENDS = frozenset({"execution_completed", "execution_failed", "execution_cancelled"})
REPORTED = ENDS | {"standstill"}
"""What a report goes with."""


def _row(kind: str, *columns: Column, when: Condition | None = None) -> Rule:
    return Rule(event=kind, columns=columns, when=when or Condition())


TABLE: tuple[Rule, ...] = (
    _row("task_started", "voice", "all"),
    _row("task_completed", "voice", "all"),
    _row("task_completed", "push", when=Condition(duration_over=LONG)),
    _row("task_failed", "voice", "push", "discord", "all"),
    _row("phase_completed", "voice", "push", "all"),
    _row("execution_completed", "voice", "push", "discord", "all"),
    _row("execution_failed", "voice", "push", "discord", "all"),
    _row("execution_cancelled", "voice", "push", "discord", "all"),
    _row("health_warning", "voice", "push", "all"),
    _row("progress", "voice", "all"),
    # not in the founding table: what a person has to do, or must not miss
    _row("escalation", "voice", "push", "discord", "all"),
    _row("standstill", "voice", "push", "discord", "all"),
    _row("approval", "voice", "push", "discord", "all"),
    _row("paused", "voice", "push", "all"),
    _row("rolled_back", "voice", "push", "discord", "all"),
    _row("plan_rejected", "push", "discord", "all"),
    _row("fault", "push", "all"),
    _row("attempt_failed", "all"),
)
"""The founding document's table, cell by cell; ``all`` is for programs and log files."""
