"""What is to be told: pure, on an event, the fold and the rules. An empty list means that nobody wants to hear it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from events.fold import DONE, ExecutionFold, TaskFold
from events.log import Recorded, Timer
from events.notice import ProgressMarked
from events.request import PlanSubmitted
from events.task import TaskExecuted
from schemas.names import NOTICES
from schemas.notify import SEVERITIES, Channel, Condition, Notify, Quiet, Rule, Severity
from services.notifier.kinds import KINDS, OF_EVENT, TABLE
from services.notifier.told import Notices

SECOND = 1_000_000_000
SWITCHES = ("voice", "push", "discord")
"""What the hand-off option ``notifications`` turns off, by column."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One thing to be told on one channel."""

    channel: str
    key: str
    kind: str
    severity: Severity
    tenant: str
    execution: str
    at_ns: int
    event: str = ""
    """The name of the event, and its id."""
    id: str = ""
    task: str | None = None
    fields: dict[str, str] = field(default_factory=dict)
    """What templates may name (schemas.notify.FIELDS)."""
    template: str | None = None


def items(recorded: Recorded, fold: ExecutionFold, notify: Notify, channels: Mapping[str, Channel]) -> list[Item]:
    """Everything that one event is to tell, at most once a channel and key."""
    found: dict[tuple[str, str], Item] = {}
    for kind, key in _kinds(recorded, fold):
        about = _about(recorded, fold, kind)
        for rule in (*notify.rules, *(TABLE if notify.table else ())):
            if rule.event not in (kind, recorded.name) or rule.tenant not in (None, fold.tenant):
                continue
            if not holds(rule.when, about):
                continue
            for name in _addressed(rule, about, fold, channels):
                fresh = Item(
                    channel=name, key=key, kind=kind, severity=about.severity, tenant=fold.tenant, execution=fold.id,
                    at_ns=recorded.at_ns, event=recorded.name, id=recorded.id, task=about.task, fields=about.fields,
                    template=rule.template,
                )  # fmt: skip
                found.setdefault((name, key), fresh)
    return list(found.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class About:
    """What conditions look at."""

    kind: str
    severity: Severity
    task: str | None
    attempt: int
    seconds: float | None
    at_ns: int
    fields: dict[str, str]


def holds(when: Condition, about: About) -> bool:
    """Whether every condition that is named holds."""
    if when.duration_over is not None and (about.seconds is None or about.seconds <= when.duration_over):
        return False
    if when.attempt_from is not None and about.attempt < when.attempt_from:
        return False
    if when.severity_from is not None and _rank(about.severity) < _rank(when.severity_from):
        return False
    return not is_quiet(when.quiet, about.severity, about.at_ns)


def is_quiet(quiet: Quiet | None, severity: Severity, at_ns: int) -> bool:
    """Whether it falls into quiet hours and is not severe enough to be said all the same."""
    if quiet is None or _rank(severity) >= _rank(quiet.unless):
        return False
    clock = datetime.fromtimestamp(at_ns / 1e9, UTC).astimezone(ZoneInfo(quiet.zone)).time()
    if quiet.start <= quiet.end:
        return quiet.start <= clock < quiet.end
    return clock >= quiet.start or clock < quiet.end


def _rank(severity: Severity) -> int:
    return SEVERITIES.index(severity)


def _addressed(rule: Rule, about: About, fold: ExecutionFold, channels: Mapping[str, Channel]) -> Iterator[str]:
    """The channels that a rule reaches for this execution."""
    off = switched_off(fold)
    for name, channel in channels.items():
        column = channel.follows()
        if name not in rule.channels and column not in rule.columns:
            continue
        if column in off or channel.tenant not in (None, fold.tenant):
            continue
        if channel.roles and not set(channel.roles) & set(KINDS[about.kind].audience):
            continue
        if not is_quiet(channel.quiet, about.severity, about.at_ns):
            yield name


def switched_off(fold: ExecutionFold) -> set[str]:
    """The columns that whoever handed the plan over turned off for this execution."""
    submitted = fold.submission.fact if fold.submission is not None else None
    wished = submitted.options.get("notifications") if isinstance(submitted, PlanSubmitted) else None
    return {name for name in SWITCHES if wished.get(name) is False} if isinstance(wished, dict) else set()


def _kinds(recorded: Recorded, fold: ExecutionFold) -> Iterator[tuple[str, str]]:
    """The kinds of notices that an event is, each with the key under which it is told once."""
    kind = OF_EVENT.get(recorded.name)
    if kind is None:
        return
    if kind == "paused" and getattr(recorded.fact, "reason", "") == "" and fold.plan is None:
        return
    yield kind, recorded.id
    task = fold.tasks.get(recorded.entity)
    if recorded.name == "TaskVerified" and task is not None and task.spec.phase is not None:
        phase = task.spec.phase
        members = [t for t in fold.tasks.values() if t.spec.phase == phase]
        if all(t.state in DONE for t in members):
            yield "phase_completed", f"phase:{phase}"


def _about(recorded: Recorded, fold: ExecutionFold, kind: str) -> About:
    """What can be said about an event, whatever its class; unknown fields are simply not there."""
    said: dict[str, Any] = msgspec.to_builtins(recorded.fact) if recorded.fact is not None else {}
    named = str(said.get("task") or "") or (recorded.entity if recorded.entity in fold.tasks else "")
    task = fold.tasks.get(named)
    attempt = int(said.get("attempt") or (task.attempt if task else 0))
    seconds = _seconds(recorded, fold, task, kind)
    severity = KINDS[kind].severity
    if kind == "health_warning" and said.get("severity") in SEVERITIES:
        severity = said["severity"]
    done = fold.count(*DONE)
    fields = {
        "plan": (fold.plan.title if fold.plan else "") or fold.id[:8],
        "execution": fold.id,
        "tenant": fold.tenant,
        "event": recorded.name,
        "task": named,
        "title": (task.spec.title if task else "") or named,
        "phase": _phase(fold, task),
        "reason": _reason(said, fold, kind),
        "attempts": str(said.get("attempts") or said.get("tries") or attempt or ""),
        "done": str(said.get("done", done)),
        "total": str(said.get("total", len(fold.tasks))),
        "duration": spoken(seconds) if seconds is not None else "",
        "waiting": str(_waiting(fold, named)) if kind == "escalation" and task else "",
    }
    return About(
        kind=kind, severity=severity, task=named or None, attempt=attempt, seconds=seconds, at_ns=recorded.at_ns,
        fields=fields,
    )  # fmt: skip


def _phase(fold: ExecutionFold, task: TaskFold | None) -> str:
    if task is None or task.spec.phase is None or fold.plan is None:
        return ""
    return next((p.title for p in fold.plan.phases if p.id == task.spec.phase and p.title), task.spec.phase)


def _reason(said: Mapping[str, Any], fold: ExecutionFold, kind: str) -> str:
    for name in ("reason", "question", "message", "what"):
        if said.get(name):
            return str(said[name])
    if said.get("limit"):
        return f"took longer than {said['limit']:g} s"
    if kind == "plan_rejected":
        return "; ".join(str(p.get("message")) for p in said.get("problems", ())[:3])
    if kind == "standstill" and said.get("tasks"):
        return f"nothing more can happen before somebody helps {', '.join(said['tasks'][:5])}"
    return ""


def _waiting(fold: ExecutionFold, task: str) -> int:
    """How many tasks cannot go on without this one."""
    seen: set[str] = set()
    look = [task]
    while look:
        for name in fold.dependents.get(look.pop(), ()):
            if name not in seen:
                seen.add(name)
                look.append(name)
    return len(seen)


def _seconds(recorded: Recorded, fold: ExecutionFold, task: TaskFold | None, kind: str) -> float | None:
    """How long it took: a task by its executor's clock, an execution by the log's."""
    if kind == "task_completed" and task is not None:
        executed = task.executed.fact if task.executed is not None else None
        return executed.usage.seconds if isinstance(executed, TaskExecuted) else None
    if (kind.startswith("execution_") or kind == "progress") and fold.submission is not None:
        return max(0.0, (recorded.at_ns - fold.submission.at_ns) / SECOND)
    return None


def spoken(seconds: float) -> str:
    """A length of time in words."""
    if seconds < 1:
        return "less than a second"
    amount, unit = (seconds, "second") if seconds < 90 else (seconds / 60, "minute")
    if amount >= 90 and unit == "minute":
        amount, unit = amount / 60, "hour"
    number = round(amount)
    return f"{number} {unit}{'' if number == 1 else 's'}"


# -- how far it is, every now and then ------------------------------------------------------------------------------

BEGINS = ("ExecutionStarted", "ExecutionResumed", "ExecutionReopened")


def progress_timer(recorded: Recorded, fold: ExecutionFold, notify: Notify) -> Timer | None:
    """The timer that follows a beginning or a mark. The event came first; the timer carries its id (hazard H12)."""
    if recorded.name not in (*BEGINS, "ProgressMarked") or fold.state != "running":
        return None
    wait = notify.progress_after if recorded.name == "ExecutionStarted" else notify.progress_every
    return Timer(
        tenant=fold.tenant, execution=fold.id, entity=NOTICES, kind="progress", event=recorded.id,
        sequence=recorded.sequence, at_ns=recorded.at_ns + int(wait * SECOND),
    )  # fmt: skip


def progress_due(fold: ExecutionFold, timer: Timer, notices: Notices) -> ProgressMarked | None:
    """The mark that a fired timer brings, unless a newer one stands or nothing runs any more."""
    if fold.state != "running" or timer.kind != "progress" or timer.sequence < notices.marked_at:
        return None
    if timer.sequence == notices.marked_at and timer.event != notices.mark:
        return None
    return ProgressMarked(number=notices.marks + 1, done=fold.count(*DONE), total=len(fold.tasks))
