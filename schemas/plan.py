"""The native plan: every field, what it means, and its limits. Exported as JSON Schema by :func:`plan_schema`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, BeforeValidator, Field, WithJsonSchema, model_validator

from schemas.formats.markings import tier_of
from schemas.health import HealthModel, LimitModel, ProgressModel, ShareModel, SilenceModel
from schemas.isolation import Isolated, LimitsModel
from schemas.plan_parts import (
    TEXT_SCHEMA,
    CheckModel,
    Checks,
    Expected,
    Granted,
    Name,
    Part,
    PolicyGates,
    PolicyTests,
    Seconds,
    Text,
    Texts,
    Value,
    read_priority,
    read_status,
)
from schemas.safety.model import SafetyModel

MAX_ATTEMPTS = 10
"""The ceiling for attempts and resolution attempts together (CONTRACTS C1)."""
MOMENTS = {
    "pre": "pre_task", "mid": "mid_task", "post": "post_task", "pre-execution": "pre_execution",
    "post-task": "post_task", "post-execution": "post_execution", "pre-task": "pre_task", "mid-task": "mid_task",
}  # fmt: skip
"""Other words for the moments of gates (CONTRACTS C12)."""


class BackoffModel(Part):
    """The pause between attempts: `first`, then each time `factor` longer, up to `max`."""

    first: Seconds = 1.0
    """Before the second attempt."""
    factor: Annotated[float, Field(ge=1, le=100)] = 2.0
    """How much longer each pause is than the one before."""
    max: Seconds = 300.0
    """The longest pause."""


class PolicyModel(Isolated):
    """How the plan is run."""

    profile: Literal["default", "maestro", "build", "overnight"] = "default"
    """A named set of limits: what the plan says beside it can only be stricter."""
    max_attempts: Annotated[int, Field(ge=1, le=MAX_ATTEMPTS)] = Field(
        default=3, validation_alias=AliasChoices("max_attempts", "maxAttempts")
    )
    """How often a task is tried in all."""
    backoff: BackoffModel = BackoffModel()
    """The pause between attempts."""
    timeout: Annotated[Seconds, Field(gt=0)] = 1800.0
    """The longest that one attempt may take."""
    max_parallel: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=4, validation_alias=AliasChoices("max_parallel", "maxParallel", "maxParallelTasks")
    )
    """How many tasks may run side by side."""
    unverified: Literal["ask", "accept"] = "ask"
    """What happens to a task without any check: a person is asked, or it is accepted."""
    on_exhausted: Literal["fail", "escalate"] = Field(
        default="escalate", validation_alias=AliasChoices("on_exhausted", "onExhausted")
    )
    """What happens when all attempts failed: the task fails, or is blocked until a person decides."""
    escalation_timeout: Annotated[Seconds, Field(gt=0)] | None = Field(
        default=86_400.0, validation_alias=AliasChoices("escalation_timeout", "escalationTimeout")
    )
    """How long a blocked task waits for a person before it has failed."""
    stop_on_first_failure: bool = Field(
        default=False, validation_alias=AliasChoices("stop_on_first_failure", "stopOnFirstFailure")
    )
    """Pause as soon as one task was given up."""
    approvals: Literal["plan", "auto", "checkpoints", "final"] = Field(
        default="plan", validation_alias=AliasChoices("approvals", "approval_mode", "approvalMode")
    )
    """Who is asked: `plan`: as tasks say; `auto`: nobody; `checkpoints`: after `spec`, before `deploy`; `final`: the
    latter only."""
    max_duration: Annotated[Seconds, Field(gt=0)] | None = Field(
        default=None, validation_alias=AliasChoices("max_duration", "maxDuration", "max_duration_seconds")
    )
    """Pause after so long, until somebody resumes."""
    halt_after: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=4, validation_alias=AliasChoices("halt_after", "haltAfter")
    )
    """Pause when so many tasks in a row were given up."""
    max_tasks: Annotated[int, Field(ge=1)] | None = Field(
        default=None, validation_alias=AliasChoices("max_tasks", "maxTasks")
    )
    """Pause when so many tasks were started, until somebody resumes."""
    approval_timeout: Annotated[Seconds, Field(gt=0)] | None = Field(
        default=None, validation_alias=AliasChoices("approval_timeout", "approvalTimeout")
    )
    """How long a question waits for a person before the answer is no; for ever by default."""
    safety: SafetyModel | None = None
    """What tasks may do: docs/safety.md. The profile's rules by default."""
    sandbox: Text | None = None
    """The weakest sandbox that will do: `process`, `landlock`, `bwrap` or `docker`; the engine's default if left out.
    Where there is none as strong, tasks fail before they begin."""
    tests: PolicyTests = "off"
    """`auto`: the tests that belong to a task are run for every task that changes files."""
    quality: PolicyGates = Field(default_factory=list)
    """Quality gates for every task that changes files: `off`, `auto` (those the project uses), or names."""
    grace: Seconds = 5.0
    """How long a program may take to end when asked, before it is killed."""
    health: HealthModel = HealthModel()
    """When a running task looks unwell, and what is done then."""
    checkpoint_interval: Seconds = 300.0
    """How often what a running task has done so far is recorded; 0: never."""
    resume: Literal["base", "checkpoint"] = "base"
    """Where an attempt that the engine had to interrupt starts again: at the beginning, or at its newest checkpoint."""


class RepoModel(Part):
    """The git repository that the work starts from."""

    path: Text
    """Where it is."""
    ref: Text | None = None
    """The branch, tag or commit to start from; what is checked out by default."""


_REPO_SCHEMA = RepoModel.model_json_schema()


def _repo(value: object) -> object:
    return {"path": value} if isinstance(value, str) else value


def contradiction(given: Mapping[str, Any]) -> str | None:
    """Why what a task's keys say does not amount to one way of working; None if it does."""
    run, agent, prompt = given.get("run"), given.get("agent"), given.get("prompt")
    if run is not None and agent is not None:
        return "a task has either run or agent, not both"
    if run is not None and prompt is not None:
        return "a task has either run or a prompt for an agent, not both"
    if given.get("noop") is True:
        return "a task with noop has neither run nor agent nor prompt" if run or agent or prompt else None
    if run is None and agent is None and not prompt and not given.get("description") and not given.get("noop"):
        return "nothing says what to do: add run, prompt, description, or noop: true"
    return None


class TaskModel(Isolated):
    """One piece of work: a command (`run`), a prompt for an agent program (`prompt`), or nothing (`noop`)."""

    id: Name
    """Unique in the plan."""
    title: Text = Field(default="", validation_alias=AliasChoices("title", "name"))
    """One line for people."""
    description: Text = ""
    """Everything else about it; part of what an agent is told."""
    run: Text | None = Field(default=None, min_length=1)
    """A shell command."""
    agent: Text | None = Field(default=None, min_length=1)
    """A program that gets the prompt on its standard input and works in the workspace; the plan's by default."""
    prompt: Text | None = None
    """What the agent is asked to do; by default made from title and description."""
    noop: bool = False
    """Nothing to run: a milestone, or a place to join others."""
    needs: Texts = Field(default=[], validation_alias=AliasChoices("needs", "dependencies", "depends_on", "dependsOn"))
    """Ids of the tasks that must be done first."""
    verify: Checks = Field(default=[], validation_alias=AliasChoices("verify", "verification"))
    """The checks that make it done."""
    files: Texts = Field(default_factory=list)
    """Paths that it works on; a hint for agents and for what may run side by side."""
    outputs: Texts = Field(default_factory=list)
    """Paths or globs that belong to the result even where .gitignore names them."""
    env: dict[str, Value] = Field(default_factory=dict)
    """Environment variables for its programs."""
    secrets: Granted = Field(default_factory=dict)
    """Secrets that it may see, by name, as variables of that name; {NAME: VARIABLE} gives them another."""
    timeout: Annotated[Seconds, Field(gt=0)] | None = None
    """The longest that one attempt may take; the policy's by default."""
    max_attempts: Annotated[int, Field(ge=1, le=MAX_ATTEMPTS)] | None = Field(
        default=None, validation_alias=AliasChoices("max_attempts", "maxAttempts")
    )
    """How often it is tried in all; the policy's by default."""
    estimate: Expected | None = None
    """How long it will probably take: 10m, 2h, "4-6 hours"."""
    estimated_minutes: Annotated[float, Field(ge=0)] | None = Field(
        default=None, validation_alias=AliasChoices("estimated_minutes", "estimatedDuration")
    )
    """The same in minutes."""
    context_tier: Annotated[
        int | None, BeforeValidator(lambda v: v if v is None else tier_of(v)), WithJsonSchema(TEXT_SCHEMA)
    ] = Field(default=None, validation_alias=AliasChoices("context_tier", "contextTier"))
    """Thousand tokens of context that it needs: 32, 64, 128 or 200; estimated by default."""
    alignment: Annotated[float, Field(ge=0, le=100)] | None = None
    """How well it fits the project, of 100, for `policy.safety.min_alignment`."""
    estimated_lines: Annotated[int, Field(ge=0)] | None = Field(
        default=None, validation_alias=AliasChoices("estimated_lines", "estimatedLines")
    )
    """How many lines it will probably change, for `policy.safety.max_lines`."""
    autonomy: Literal["auto", "needs_approval", "human"] = "auto"
    """Whether it runs by itself, after a person agreed, or is a person's own work."""
    status: Annotated[
        Literal["pending", "in_progress", "completed", "failed", "skipped", "blocked"], BeforeValidator(read_status)
    ] = "pending"
    """What is already known: completed and skipped tasks are not run and count as satisfied."""
    phase: Name | None = None
    """The phase it belongs to, for display."""
    milestone: Literal["spec", "deploy"] | None = None
    """Where the approval modes `checkpoints` and `final` ask: after a `spec`, before a `deploy`."""
    checkpoint: Any = None
    """Accepted from older documents; without effect."""

    @model_validator(mode="after")
    def _one_way(self) -> TaskModel:
        reason = contradiction(dict(self))
        if reason:
            raise ValueError(reason)
        return self


class PhaseModel(Part):
    """A named group of tasks."""

    id: Name
    """What tasks name in `phase`."""
    title: Text = ""
    """One line for people."""
    goal: Text = ""
    """What it is for."""
    verify: Checks = Field(default_factory=list)
    """Checks of the whole phase, made after its last tasks."""


class GateModel(Part):
    """Checks with a moment and a consequence. Exactly one of verify and use."""

    name: Name = ""
    """How it is called."""
    when: Annotated[
        Literal["pre_execution", "pre_task", "mid_task", "post_task", "evaluation", "post_execution"],
        BeforeValidator(lambda v: MOMENTS.get(v, v) if isinstance(v, str) else v),
    ] = Field(default="post_task", validation_alias=AliasChoices("when", "trigger", "type"))
    """When it is judged; `pre`, `mid` and `post` mean a task's."""
    verify: Checks = Field(default=[], validation_alias=AliasChoices("verify", "criteria", "condition"))
    """Its checks."""
    use: Literal["prerequisites", "free_disk", "service_health"] | None = None
    """A ready-made gate: programs are there, 1 GiB of disk is free, a service answers."""
    programs: Texts = Field(default_factory=list)
    """What `prerequisites` looks for."""
    url: Text | None = None
    """What `service_health` asks."""
    on_fail: Literal["halt", "warn", "continue"] | None = Field(
        default=None, validation_alias=AliasChoices("on_fail", "onFail")
    )
    """`halt` (the default): stop what it guards and ask, or count as a failed result; `warn`, `continue`: go on."""
    required: bool = True
    """False: `warn` instead of `halt`."""
    timeout: Annotated[Seconds, Field(gt=0)] | None = None
    """The longest that each of its checks may take."""
    tasks: Texts = Field(default_factory=list)
    """Ids, or patterns of ids, that it guards; all tasks by default."""
    action: Text | None = None
    """Accepted from older documents; without effect."""

    @model_validator(mode="after")
    def _one_source(self) -> GateModel:
        if bool(self.verify) == (self.use is not None):
            raise ValueError("a gate has either checks (verify) or a ready-made one (use)")
        if self.use == "prerequisites" and not self.programs:
            raise ValueError("the gate prerequisites needs programs: [git, …]")
        if self.use == "service_health" and not self.url:
            raise ValueError("the gate service_health needs a url")
        if not self.name and self.use is None:
            raise ValueError("a gate needs a name")
        return self


class MetadataModel(Part):
    """The envelope's data about the plan."""

    created: Text | None = None
    """When the plan was made, as written."""
    estimated_minutes: Annotated[float, Field(ge=0)] | None = Field(
        default=None, validation_alias=AliasChoices("estimated_minutes", "estimatedDuration")
    )
    """How long all of it will probably take, in minutes."""
    context_budget: Annotated[int, Field(ge=0)] | None = Field(
        default=None, validation_alias=AliasChoices("context_budget", "contextBudget")
    )
    """How many tokens all of it may take."""
    priority: Annotated[
        Annotated[int, Field(ge=1, le=10)],
        BeforeValidator(read_priority),
        WithJsonSchema(
            {"anyOf": [{"enum": ["low", "normal", "high"]}, {"type": "integer", "minimum": 1, "maximum": 10}]}
        ),
    ] = 5
    """1 to 10, 10 first; low is 2, normal 5, high 8."""


class PlanModel(Part):
    """A plan: what shall be done, in which order, and how it is known to be done."""

    plan: Text = Field(default="", validation_alias=AliasChoices("plan", "title", "name"))
    """The plan's title."""
    id: Text | None = None
    """The plan's own id (a UUIDv7); one is made by default."""
    conversation_id: Text | None = Field(
        default=None, validation_alias=AliasChoices("conversation_id", "conversationId")
    )
    """The conversation it came from."""
    source: Literal["ROADMAP", "SPEC", "TASK_LIST", "INLINE"] = "TASK_LIST"
    """What kind of document it was made from."""
    metadata: MetadataModel = MetadataModel()
    """When it was made, how long it will take, how urgent it is."""
    repo: Annotated[
        RepoModel | None,
        BeforeValidator(_repo),
        WithJsonSchema({"anyOf": [{"type": "string"}, _REPO_SCHEMA]}),
    ] = None
    """The git repository to work on: a path, or path and ref. Without it the work has a private workspace."""
    agent: Text | None = Field(default=None, min_length=1)
    """The program for tasks with a prompt that name none."""
    env: dict[str, Value] = Field(default_factory=dict)
    """Environment variables for all tasks."""
    secrets: Granted = Field(default_factory=dict)
    """Secrets that every task may see."""
    shared: dict[str, Value] = Field(default_factory=dict)
    """Named texts that every task is told."""
    policy: PolicyModel = PolicyModel()
    """How it is run."""
    phases: list[PhaseModel] = Field(default_factory=list)
    """The phases that tasks name."""
    verify: Checks = Field(default=[], validation_alias=AliasChoices("verify", "verification"))
    """Checks of the whole plan, made after its last tasks."""
    gates: list[GateModel] = Field(default=[], validation_alias=AliasChoices("gates", "qualityGates", "quality_gates"))
    """Checks with a moment and a consequence."""
    tasks: list[TaskModel]
    """The work."""


MODELS: tuple[type[BaseModel], ...] = (
    PlanModel, TaskModel, CheckModel, PolicyModel, SafetyModel, LimitsModel, BackoffModel, RepoModel, PhaseModel,
    GateModel, MetadataModel, HealthModel, LimitModel, ShareModel, SilenceModel, ProgressModel,
)  # fmt: skip


def spellings(model: type[BaseModel]) -> dict[str, list[str]]:
    """For each field of a model all keys that set it, the usual one first."""
    found = {}
    for name, info in model.model_fields.items():
        choices = info.validation_alias
        if isinstance(choices, AliasChoices):
            found[name] = [choice for choice in choices.choices if isinstance(choice, str)]
        else:
            found[name] = [info.alias or name]
    return found


def plan_schema() -> dict[str, Any]:
    """The JSON Schema of a native plan, other spellings included."""
    schema = PlanModel.model_json_schema(by_alias=True)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "Nightshift plan"
    definitions = schema["$defs"]
    for model in MODELS:
        if model is RepoModel:
            continue
        properties = (schema if model is PlanModel else definitions[model.__name__])["properties"]
        for names in spellings(model).values():
            for other in names[1:]:
                properties[other] = {**properties[names[0]], "description": f"Another spelling of `{names[0]}`."}
    return schema
