"""What a report knows. Moments are nanoseconds since 1970 (UTC), lengths of time seconds."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime


@dataclass(slots=True)
class Span:
    """One attempt on the time line."""

    attempt: int
    start: int
    end: int | None = None
    outcome: str = "running"
    """``verified``, ``rejected``, ``failed``, ``timed out``, ``interrupted``, ``cancelled`` or ``running``."""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """A criterion's verdict."""

    text: str
    result: str
    detail: str = ""
    evidence: str = ""
    """SHA-256 of what the verifier saw; empty if nothing was kept."""
    size: int = 0


@dataclass(slots=True)
class TaskLine:
    """One task of the plan, as it ended."""

    id: str
    title: str
    state: str
    phase: str = ""
    attempts: int = 0
    seconds: float = 0.0
    """Of all attempts together, by their executors' clocks."""
    reason: str = ""
    accepted: str = ""
    """Why it counts as done: ``criteria``, ``approval``, ``policy``, ``noop``; empty if it does not."""
    commit: str = ""
    checks: list[Check] = field(default_factory=list)
    """Of the last verdict."""
    evidence: str = ""
    """SHA-256 of the last verdict's document."""
    output: str = ""
    """SHA-256 of what the last attempt printed."""
    tail: str = ""
    spans: list[Span] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Its id, and its title where that says more."""
        return self.id if self.title == self.id else f"{self.id} ({self.title})"

    @property
    def passed(self) -> int:
        """How many criteria passed."""
        return sum(check.result == "pass" for check in self.checks)


@dataclass(frozen=True, slots=True)
class Choice:
    """A decision: when, about what, what was chosen, why, by whom."""

    at: int
    task: str
    what: str
    why: str
    who: str


@dataclass(slots=True)
class Report:
    """Everything that is told about one execution."""

    tenant: str
    execution: str
    title: str
    state: str
    reason: str = ""
    format: str = ""
    files: tuple[str, ...] = ()
    requested_by: str = ""
    conversation: str = ""
    submitted: int = 0
    ended: int = 0
    """The newest event of the engine about the execution or its tasks."""
    repository: str = ""
    branch: str = ""
    base: str = ""
    head: str = ""
    tasks: list[TaskLine] = field(default_factory=list)
    choices: list[Choice] = field(default_factory=list)
    needs: list[str] = field(default_factory=list)
    """What a person has to do or look at."""
    resolved: list[str] = field(default_factory=list)
    """Errors that happened and were dealt with."""
    cpu: float = 0.0
    memory: int = 0
    """The most that one attempt took, in bytes."""
    measures: dict[str, float] = field(default_factory=dict)
    """What else attempts say that they used: tokens, cost."""

    def count(self, *states: str) -> int:
        """How many tasks are in one of the states."""
        return sum(task.state in states for task in self.tasks)

    @property
    def done(self) -> int:
        """Tasks that are verified, or were done before."""
        return self.count("verified", "satisfied")

    @property
    def seconds(self) -> float:
        """From the submission to the end."""
        return max(0.0, (self.ended - self.submitted) / 1e9)

    @property
    def busy(self) -> float:
        """Of all attempts together."""
        return sum(task.seconds for task in self.tasks)

    @property
    def attempts(self) -> int:
        """How many were made."""
        return sum(len(task.spans) for task in self.tasks)


def moment(at: int) -> str:
    """A moment as people read it."""
    return datetime.fromtimestamp(at / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if at else ""


def clock(at: int) -> str:
    """The time of day, UTC."""
    return datetime.fromtimestamp(at / 1e9, UTC).strftime("%H:%M:%S")


def duration(seconds: float) -> str:
    """A length of time as people read it."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def measured(value: float) -> str:
    """A number, with at most three digits behind the point."""
    return f"{value:,.3f}".rstrip("0").rstrip(".")


def plural(number: int, noun: str) -> str:
    """``1 task``, ``2 tasks``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def verdict(report: Report) -> str:
    """The whole report in one sentence."""
    total = len(report.tasks)
    said = (
        f"{report.done} of {plural(total, 'task')} {'is' if report.done == 1 else 'are'} verified or were done before"
    )
    others = Counter(task.state for task in report.tasks if task.state not in ("verified", "satisfied"))
    parts = [f"{number} {state}" for state, number in others.most_common()]
    return f"{said}{'; ' + ', '.join(parts) if parts else ''}. It took {duration(report.seconds)}."
