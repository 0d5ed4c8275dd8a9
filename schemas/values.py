"""The values that facts carry: a plan as accepted, frozen and plain.

Durations are seconds, sizes are bytes, context tiers are thousands of tokens, unless a name says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeVar, dataclass_transform

from schemas.grants import Isolation
from schemas.safety.profiles import DEFAULT
from schemas.safety.rules import Concern, Safety

T = TypeVar("T")

Autonomy = Literal["auto", "needs_approval", "human"]
Approvals = Literal["plan", "auto", "checkpoints", "final"]
Milestone = Literal["spec", "deploy"]
GateMoment = Literal["pre_execution", "pre_task", "mid_task", "post_task", "evaluation", "post_execution"]
OnFail = Literal["halt", "warn", "continue"]
Profile = Literal["default", "maestro", "build", "overnight"]
CriterionKind = Literal["command", "file", "regex", "http", "tests", "quality", "manual"]
HealthAction = Literal["warn", "interrupt", "fail", "off"]
"""What is done beyond a health limit: say so; or end the attempt too, and try again (interrupt) or not (fail)."""
SourceStatus = Literal["pending", "in_progress", "completed", "failed", "skipped", "blocked"]
SourceKind = Literal["ROADMAP", "SPEC", "TASK_LIST", "INLINE"]


@dataclass_transform(frozen_default=True, kw_only_default=True)
def value(cls: type[T]) -> type[T]:
    """Make a class a value: frozen, keyword-only, with slots."""
    return dataclass(frozen=True, kw_only=True, slots=True)(cls)


@value
class Grant:
    """A secret, by name, and the environment variable that holds its value."""

    name: str
    env: str


@value
class Criterion:
    """A check with yes or no and evidence.

    ``command``: run it in a clean checkout; passes on ``exit_code`` (and if ``expect`` is the last line of its output).
    ``file``: ``path`` exists, holds the literal ``contains``, none of ``absent``, at least ``min_lines`` lines.
    ``regex``: ``pattern`` is found in ``source``: ``output`` (what the task printed) or the path of a file.
    ``http``: GET ``url`` answers ``status`` and holds ``contains``.
    ``tests``: the tests that ``tests`` names (``auto``: those that belong to the task) are run, and none fails.
    ``quality``: each of ``gates`` (``auto``: those the project uses) finds nothing that was not there before.
    ``manual``: a person says so.
    """

    id: str
    kind: CriterionKind
    text: str = ""
    category: str | None = None
    negate: bool = False
    """An anti-criterion: it passes when the check fails."""
    command: str | None = None
    exit_code: int = 0
    expect: str | None = None
    path: str | None = None
    contains: str | None = None
    absent: str | None = None
    """A regular expression that must not match anywhere in the file."""
    min_lines: int | None = None
    pattern: str | None = None
    source: str = "output"
    url: str | None = None
    status: int = 200
    timeout: float = 300.0
    secrets: tuple[Grant, ...] = ()
    """For ``command``: what it may see; a task's own grants are not its checks'."""
    target: str | None = None
    """A threshold such as ``p95<200ms``, as written: what a command printed or the tests gave must satisfy it."""
    measure: str | None = None
    """A regular expression for the place in a command's output that holds the measured value."""
    tests: str | None = None
    """``auto``, a path or a glob."""
    runner: str | None = None
    """The program that runs the tests; found out from the project by default."""
    gates: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """What has to hold, for people and agents."""
        if self.text or self.kind not in ("tests", "quality"):
            return self.text or self.kind
        if self.kind == "tests":
            return "the tests pass" if self.tests == "auto" else f"the tests pass: {self.tests}"
        named = ", ".join(gate for gate in self.gates if gate != "auto")
        return f"nothing new is found by {named or 'the quality gates of the project'}"


@value
class Backoff:
    """Exponential delay between attempts: first, first*factor, … up to max."""

    first: float = 1.0
    factor: float = 2.0
    max: float = 300.0

    def delay(self, failures: int) -> float:
        """Seconds to wait after the given number of failed attempts (1 or more)."""
        exponent = min(max(failures, 1) - 1, 64)
        return float(min(self.max, self.first * self.factor**exponent))


@value
class Gate:
    """Checks with a moment and a consequence.

    ``halt`` stops what the gate guards and asks a person (before or during), or counts as a failed result (after);
    ``warn`` and ``continue`` go on, the first is told to people. An ``evaluation`` gives a score and stops nothing.
    """

    name: str
    when: GateMoment
    criteria: tuple[Criterion, ...]
    on_fail: OnFail = "halt"
    tasks: tuple[str, ...] = ()
    """Patterns of the ids that it guards (``*`` and ``?``); empty: every task."""


@value
class Watch:
    """A health measure: the limit from which on the engine warns, and what else it does then."""

    limit: float
    action: HealthAction = "warn"


@value
class Progress:
    """How long an attempt may show no progress: no output, no change of its files, no CPU time of its processes."""

    warn: float = 600.0
    interrupt: float = 1200.0
    """Then it is asked to end."""
    kill: float = 30.0
    """Seconds from then on until it is killed."""
    busy: float = 3600.0
    """Seconds for which CPU time alone counts as progress."""
    action: HealthAction = "interrupt"


@value
class Health:
    """What is watched while a task runs (CONTRACTS, health)."""

    duration: Watch = field(default_factory=lambda: Watch(limit=2.0))
    """Times the task's estimate."""
    timeout: Watch = field(default_factory=lambda: Watch(limit=0.8))
    """Share of the time that an attempt may take."""
    memory: Watch = field(default_factory=lambda: Watch(limit=0.8))
    """Share of the task's memory limit."""
    silence: Watch = field(default_factory=lambda: Watch(limit=600.0))
    """Seconds without output."""
    disk: Watch = field(default_factory=lambda: Watch(limit=0.1))
    """Share of the disk that is free, below which the engine warns."""
    progress: Progress = field(default_factory=Progress)


@value
class Policy:
    """How an execution behaves. Defaults are CONTRACTS C1 and the profile ``default``."""

    profile: Profile = "default"
    max_attempts: int = 3
    backoff: Backoff = field(default_factory=Backoff)
    timeout: float = 1800.0
    grace: float = 5.0
    max_parallel: int = 4
    unverified: Literal["ask", "accept"] = "ask"
    on_exhausted: Literal["fail", "escalate"] = "escalate"
    escalation_timeout: float | None = 86_400.0
    """Seconds that a blocked task waits for a person before it has failed (C4); None: for ever."""
    stop_on_first_failure: bool = False
    """Pause as soon as one task was given up (C3)."""
    approvals: Approvals = "plan"
    """Who is asked: ``plan``: where a task says so; ``auto``: nobody, what would need a word is refused and recorded
    (C5); ``checkpoints``: after a task of the milestone ``spec`` and before ``deploy`` as well; ``final``: before
    ``deploy`` as well."""
    max_duration: float | None = None
    """Seconds from the start, or from a person's resume, after which the execution pauses."""
    halt_after: int = 4
    """Pause when so many tasks in a row were given up (C9)."""
    max_tasks: int | None = None
    """Pause when so many tasks were started, until somebody resumes."""
    approval_timeout: float | None = None
    """Seconds after which a question that nobody answered counts as denied; None: it waits for ever."""
    sandbox: str | None = None
    """The weakest level that will do."""
    isolation: Isolation = field(default_factory=Isolation)
    tests: Literal["auto", "off"] = "off"
    """``auto``: the tests of every task that changes files are run, whatever its own criteria are."""
    quality: tuple[str, ...] = ()
    """Gates for every task that changes files; ``auto`` among them stands for those that the project uses."""
    safety: Safety = DEFAULT
    """What tasks may do: the plan's own rules and those of installation and tenant, merged when it was accepted."""
    health: Health = field(default_factory=Health)
    checkpoint_interval: float = 300.0
    """Seconds between checkpoints inside a task; 0: none."""
    resume: Literal["base", "checkpoint"] = "base"
    """Where an attempt that the engine interrupted starts again."""


@value
class Place:
    """Where a plan file says that a task is done or not: the file, the line as it was read, and what to change."""

    file: str
    """Relative to the plan's ``base``."""
    line: int
    text: str
    column: int | None = None
    """Of the character in a check box, from 0; None where a value is replaced instead."""
    format: str = ""


@value
class Task:
    """A node of the plan, ready to be run."""

    id: str
    title: str = ""
    description: str = ""
    run: str | None = None
    """A shell command."""
    agent: str | None = None
    """A program that gets the prompt on standard input and works in the workspace."""
    prompt: str = ""
    needs: tuple[str, ...] = ()
    verify: tuple[Criterion, ...] = ()
    phase: str | None = None
    parent: str | None = None
    files: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    """Paths or globs that belong to the result even where .gitignore names them."""
    env: dict[str, str] = field(default_factory=dict)
    secrets: tuple[Grant, ...] = ()
    timeout: float | None = None
    max_attempts: int | None = None
    estimate: float | None = None
    context_tier: int = 64
    tier_inferred: bool = True
    autonomy: Autonomy = "auto"
    status: SourceStatus = "pending"
    """What the source said: completed and skipped tasks are not run, and count as satisfied."""
    noop: bool = False
    milestone: Milestone | None = None
    """Where the modes ``checkpoints`` and ``final`` ask: after a ``spec``, before a ``deploy``."""
    alignment: float | None = None
    """How well it fits the project, of 100, as its author scored it."""
    estimated_lines: int | None = None
    """Lines that its author expects to change."""
    concerns: tuple[Concern, ...] = ()
    """Why the safety rules want a person's yes before it starts."""
    refused: str = ""
    """Why the safety rules never let it run; it is skipped."""
    isolation: Isolation = field(default_factory=Isolation)
    place: Place | None = None


@value
class Phase:
    """A named group of tasks."""

    id: str
    title: str = ""
    goal: str = ""
    criteria: tuple[Criterion, ...] = ()


@value
class Repo:
    """Where the work starts: a git repository and, once known, the exact commit."""

    path: str
    commit: str | None = None
    ref: str | None = None


@value
class Fork:
    """Where an execution branched off from another one."""

    execution: str
    sequence: int
    """The parent's history counts up to here."""
    repository: str | None
    """The engine's repository that holds the parent's branch; None if it had none yet."""
    head: str | None
    inherited: dict[str, str]
    """Tasks whose results are taken over, with the ids of their TaskVerified in the parent's log."""
    source: str | None = None


@value
class Source:
    """A file the plan was read from, and the SHA-256 of the bytes that were read."""

    path: str
    sha256: str


@value
class Plan:
    """Tasks, dependencies, criteria and policy: as accepted, immutable."""

    id: str
    title: str
    tasks: tuple[Task, ...]
    phases: tuple[Phase, ...] = ()
    policy: Policy = field(default_factory=Policy)
    repo: Repo | None = None
    env: dict[str, str] = field(default_factory=dict)
    secrets: tuple[Grant, ...] = ()
    """What every task may see."""
    shared: dict[str, str] = field(default_factory=dict)
    """Shared resources that every task is told about."""
    format: str = "native"
    source: SourceKind = "TASK_LIST"
    files: tuple[Source, ...] = ()
    conversation_id: str | None = None
    priority: int = 5
    estimate: float | None = None
    context_budget: int | None = None
    """Tokens."""
    created: str | None = None
    stop_after: str | None = None
    """The stop point it begins with."""
    gates: tuple[Gate, ...] = ()
    forked: Fork | None = None
    base: str | None = None
    """The folder on the submitter's machine that relative programs are looked up in when the workspace lacks them."""
