"""What a reader of plan files understood, and what it did not.

Every format's reader produces a Reading; validation adds to its diagnostics; `accept` turns it into a Plan.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from schemas.grants import Isolation
from schemas.values import Autonomy, Criterion, Gate, Grant, Milestone, Policy, Repo, Source, SourceKind, SourceStatus

Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """Something the author should know: what, where, and what to do about it.

    ``code`` is a stable kebab-case word for programs, for example ``unknown-dependency``.
    """

    severity: Severity
    code: str
    message: str
    file: str
    line: int | None = None
    hint: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.severity}: {self.message} [{self.code}]" + (f"\n    {self.hint}" if self.hint else "")


@dataclass(slots=True, kw_only=True)
class TaskRead:
    """A task as found in a file (FORMATS section 1)."""

    id: str
    title: str = ""
    file: str = ""
    line: int | None = None
    description: str = ""
    run: str | None = None
    agent: str | None = None
    prompt: str = ""
    dependencies: list[str] = field(default_factory=list)
    """Ids of tasks in this plan, already resolved."""
    criteria: list[Criterion] = field(default_factory=list)
    phase: str | None = None
    parent: str | None = None
    container: bool = False
    """Holds other tasks; it is not run and is complete when its children are."""
    files: list[str] = field(default_factory=list)
    files_inferred: bool = False
    status: SourceStatus = "pending"
    estimate_minutes: float | None = None
    estimate_text: str = ""
    context_tier: int = 64
    tier_inferred: bool = True
    autonomy: Autonomy = "auto"
    parallel: bool = False
    """The author marked it as one that may run beside its neighbours."""
    outputs: list[str] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    secrets: tuple[Grant, ...] = ()
    timeout: float | None = None
    max_attempts: int | None = None
    isolation: Isolation = field(default_factory=Isolation)
    noop: bool = False
    milestone: Milestone | None = None
    alignment: float | None = None
    """Its author's score of how well it fits the project, of 100."""
    estimated_lines: int | None = None
    box: tuple[int, int] | None = None
    """Where its check box stands: line (1-based) and column (0-based) of the character between the brackets."""


@dataclass(slots=True, kw_only=True)
class PhaseRead:
    """A phase, milestone, section or epic as found in a file."""

    id: str
    title: str = ""
    goal: str = ""
    file: str = ""
    line: int | None = None
    status: SourceStatus = "pending"
    dependencies: list[str] = field(default_factory=list)
    """Ids of phases."""
    criteria: list[Criterion] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Reading:
    """Everything one plan file, or folder of plan files, says."""

    format: str
    confidence: float
    """0 to 1: how sure detection was; 1 when the format was forced."""
    title: str = ""
    source: SourceKind = "TASK_LIST"
    tasks: list[TaskRead] = field(default_factory=list)
    phases: list[PhaseRead] = field(default_factory=list)
    criteria: list[Criterion] = field(default_factory=list)
    """Checks of the whole plan."""
    diagnostics: list[Diagnostic] = field(default_factory=list)
    files: list[Source] = field(default_factory=list)
    policy: Policy | None = None
    """None: the defaults."""
    gates: list[Gate] = field(default_factory=list)
    repo: Repo | None = None
    env: dict[str, str] = field(default_factory=dict)
    secrets: tuple[Grant, ...] = ()
    shared: dict[str, str] = field(default_factory=dict)
    agent: str | None = None
    """The program for tasks that name none."""
    plan_id: str | None = None
    conversation_id: str | None = None
    priority: int = 5
    created: str | None = None
    estimate_minutes: float | None = None
    context_budget: int | None = None

    @property
    def errors(self) -> list[Diagnostic]:
        """The diagnostics that forbid running it."""
        return [d for d in self.diagnostics if d.severity == "error"]
