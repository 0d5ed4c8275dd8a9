"""Our own plan format: a mapping with ``tasks``, or a bare list of tasks, in YAML or JSON (see schemas/plan.py).

Every problem is reported at once. A task with problems still takes part in the checks of ids and dependencies.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from schemas.formats import checks
from schemas.formats.document import Document
from schemas.formats.markings import infer_tier, machine_path
from schemas.formats.positions import Located, load_yaml, scalar_text
from schemas.formats.positions_json import load_json
from schemas.health import health_value
from schemas.isolation import isolation_of
from schemas.plan import GateModel, PhaseModel, PlanModel, TaskModel, contradiction
from schemas.plan_parts import CheckModel
from schemas.plan_problems import Problems
from schemas.profiles import with_profile
from schemas.reading import PhaseRead, Reading, TaskRead
from schemas.safety.model import chosen
from schemas.safety.profiles import safety_of
from schemas.validate import suggest
from schemas.values import Backoff, Criterion, Gate, Grant, Policy, Repo

NAME = "native"
ENTRIES = ("nightshift.yaml", "nightshift.yml", "nightshift.json")

_OURS = frozenset({"run", "prompt", "noop", "needs", "verify", "agent", "contextTier", "context_tier", "outputs"})
_OURS_ABOVE = frozenset({"plan", "policy", "shared", "agent", "conversationId", "conversation_id", "metadata", "repo"})
_THEIRS = frozenset(
    {"subtasks", "testStrategy", "details", "deps", "blocked_by", "blocks", "epic", "acceptance", "acceptance_criteria",
     "acceptanceCriteria", "passes", "priority", "tests", "progress", "start", "end"}
)  # fmt: skip
_TASKS_KEY = re.compile(r"^(?:\{?\s*[\"']?)tasks[\"']?\s*:", re.MULTILINE)


def load(document: Document) -> Located:
    """The document's data, as JSON when it begins like JSON, else as YAML; kept for the next caller."""
    if "data" not in document.cache:
        start = document.text.lstrip("\ufeff \t\n")[:1]
        suffix = document.name.rpartition(".")[2].lower()
        if suffix == "json" or (start in ("{", "[") and suffix not in ("yaml", "yml")):
            located = load_json(document.text, file=document.path)
        else:
            located = load_yaml(document.text, file=document.path)
        document.cache["data"] = located
    found: Located = document.cache["data"]
    return found


def recognise(document: Document) -> float:
    """By its data: tasks that run, prompt, need or verify; broken files by their name and key."""
    suffix = document.name.rpartition(".")[2].lower() if "." in document.name else ""
    structured = suffix in ("yaml", "yml", "json")
    start = document.text.lstrip("\ufeff \t\n")[:1]
    if document.directory or (not structured and (suffix in ("md", "markdown", "jsonl", "ndjson"))):
        return 0.0
    if not structured and start not in ("{", "[") and not _TASKS_KEY.search(document.text):
        return 0.0
    data = load(document).data
    if data is None:
        return 0.5 if _TASKS_KEY.search(document.text) else (0.1 if structured else 0.0)
    tasks = data.get("tasks") if isinstance(data, dict) else data
    above = set(data) & _OURS_ABOVE if isinstance(data, dict) else set()
    if not isinstance(tasks, list):
        return 0.4 if {"plan", "policy"} & above else (0.06 if structured and isinstance(data, dict) else 0.0)
    keys = {key for task in tasks[:200] if isinstance(task, dict) for key in task}
    if keys & _THEIRS:
        return 0.45 if keys & _OURS and above - {"metadata"} else 0.15
    if keys & _OURS or (above - {"metadata"} and isinstance(data, dict)):
        return 0.9
    return 0.3 if isinstance(data, dict) else 0.1


def read(document: Document) -> Reading:
    """Everything the plan says and everything that is wrong with it."""
    located = load(document)
    reading = Reading(format=NAME, confidence=1.0, files=[document.source])
    for diagnostic in located.diagnostics:
        fatal = diagnostic.code == "duplicate-key"
        reading.diagnostics.append(replace(diagnostic, severity="error") if fatal else diagnostic)
    if not located.ok:
        return reading
    data = located.data
    base: tuple[str | int, ...] = ("tasks",)
    if isinstance(data, list):
        data, base = {"tasks": data}, ()
    if not isinstance(data, dict):
        hint = "begin with plan: and tasks:"
        reading.diagnostics.append(document.note("error", "bad-type", "a plan is a mapping with tasks", 1, hint))
        return reading
    problems = Problems(located, document.path, base)
    _plan(data, document, problems, reading)
    tasks = data.get("tasks")
    if isinstance(tasks, list):
        for number, item in enumerate(tasks):
            _task(number, item, document, problems, reading)
        if not tasks:
            line = problems.line(("tasks",))
            reading.diagnostics.append(
                document.note("error", "empty-plan", "there are no tasks in this plan", line, "add at least one task")
            )
    _unknown_phases(reading, document)
    return reading


def _plan(data: dict[str, Any], document: Document, problems: Problems, reading: Reading) -> None:
    rest = dict(data)
    if isinstance(rest.get("tasks"), list):
        rest["tasks"] = []
    try:
        model = PlanModel.model_validate(rest)
    except ValidationError as error:
        reading.diagnostics.extend(problems.of(error, (), data))
        reading.title = scalar_text(data["plan"]) if isinstance(data.get("plan"), str) else ""
        return
    reading.title, reading.source, reading.agent = model.plan, model.source, model.agent
    reading.plan_id, reading.conversation_id = model.id, model.conversation_id
    reading.env, reading.shared = dict(model.env), dict(model.shared)
    reading.secrets = grants(model.secrets)
    meta = model.metadata
    reading.priority, reading.created = meta.priority, meta.created
    reading.estimate_minutes, reading.context_budget = meta.estimated_minutes, meta.context_budget
    reading.repo = Repo(path=model.repo.path, ref=model.repo.ref) if model.repo else None
    if "policy" in data:
        reading.policy = policy_value(model)
        if policy_problem := loosened(model):
            line = problems.line(("policy",))
            hint = "a plan can only be stricter than its profile; leave the setting out, or take another profile"
            reading.diagnostics.append(document.note("warning", "profile-holds", policy_problem, line, hint))
    for number, gate in enumerate(model.gates):
        checks_of = _checks(gate.verify, ("gates", number, "verify"), document, problems, reading)
        reading.gates.append(gate_value(gate, checks_of))
    reading.criteria = _checks(model.verify, ("verify",), document, problems, reading)
    for number, phase in enumerate(model.phases):
        reading.phases.append(_phase(phase, number, document, problems, reading))


def policy_value(model: PlanModel) -> Policy:
    """The policy as a value, under its profile."""
    return _under_profile(model)[0]


def loosened(model: PlanModel) -> str:
    """What the plan wanted more of than its profile allows, in words; empty if nothing."""
    names = _under_profile(model)[1]
    return f"the profile {model.policy.profile} is stricter in {', '.join(names)}, and holds" if names else ""


def _under_profile(model: PlanModel) -> tuple[Policy, list[str]]:
    return with_profile(_as_written(model), set(model.policy.model_fields_set))


def gate_value(model: GateModel, checks_of: list[Criterion]) -> Gate:
    """A gate as a value; a ready-made one as the checks that it stands for."""
    made: list[Criterion] = list(checks_of)
    on_fail = model.on_fail or ("continue" if model.when == "evaluation" else "halt")
    if model.use == "prerequisites":
        made = [
            Criterion(id=p, kind="command", text=f"{p} is there", command=f"command -v {shlex.quote(p)}")
            for p in model.programs
        ]
    elif model.use == "free_disk":
        command = "test $(df -Pk . | awk 'NR == 2 {print $4}') -ge 1048576"
        made = [Criterion(id="disk", kind="command", text="1 GiB of disk is free", command=command)]
        on_fail = model.on_fail or "warn"
    elif model.use == "service_health":
        made = [Criterion(id="health", kind="http", text="the service answers", url=model.url)]
    if model.timeout is not None:
        made = [replace(c, timeout=model.timeout) for c in made]
    if not model.required and on_fail == "halt":
        on_fail = "warn"
    numbered = tuple(c if c.id else replace(c, id=f"g{n}") for n, c in enumerate(made, 1))
    return Gate(
        name=model.name or str(model.use), when=model.when, criteria=numbered, on_fail=on_fail, tasks=tuple(model.tasks)
    )


def _as_written(model: PlanModel) -> Policy:
    policy = model.policy
    return Policy(
        profile=policy.profile,
        safety=chosen(policy.safety, safety_of(policy.profile)),
        escalation_timeout=policy.escalation_timeout,
        stop_on_first_failure=policy.stop_on_first_failure,
        approvals=policy.approvals,
        max_duration=policy.max_duration,
        max_attempts=policy.max_attempts,
        backoff=Backoff(first=policy.backoff.first, factor=policy.backoff.factor, max=policy.backoff.max),
        timeout=policy.timeout,
        grace=policy.grace,
        max_parallel=policy.max_parallel,
        unverified=policy.unverified,
        on_exhausted=policy.on_exhausted,
        halt_after=policy.halt_after,
        max_tasks=policy.max_tasks,
        approval_timeout=policy.approval_timeout,
        sandbox=policy.sandbox,
        tests=policy.tests,
        quality=tuple(policy.quality),
        health=health_value(policy.health),
        checkpoint_interval=policy.checkpoint_interval,
        resume=policy.resume,
        isolation=isolation_of(policy),
    )


def grants(given: dict[str, str]) -> tuple[Grant, ...]:
    """The secrets that are named, as values."""
    return tuple(Grant(name=name, env=variable) for name, variable in given.items())


def _phase(phase: PhaseModel, number: int, document: Document, problems: Problems, reading: Reading) -> PhaseRead:
    path = ("phases", number)
    return PhaseRead(
        id=phase.id,
        title=phase.title,
        goal=phase.goal,
        file=document.path,
        line=problems.line(path),
        criteria=_checks(phase.verify, (*path, "verify"), document, problems, reading),
    )


def _task(number: int, item: object, document: Document, problems: Problems, reading: Reading) -> None:
    path = ("tasks", number)
    line = problems.line(path)
    try:
        model = TaskModel.model_validate(item)
    except ValidationError as error:
        found = problems.of(error, path, item)
        if isinstance(item, dict) and (reason := contradiction(item)) and not any(d.code == "bad-task" for d in found):
            message = f"task {scalar_text(item.get('id'))!r}: {reason}"
            found.append(document.note("error", "bad-task", message, line))
        reading.diagnostics.extend(found)
        if isinstance(item, dict) and isinstance(item.get("id"), str | int | float):
            reading.tasks.append(_broken(item, document, line))
        return
    text = model.description + (model.prompt or "")
    tier = model.context_tier
    minutes = model.estimated_minutes if model.estimate is None else round(model.estimate / 60, 6)
    reading.tasks.append(
        TaskRead(
            id=model.id,
            title=model.title,
            file=document.path,
            line=line,
            description=model.description,
            run=model.run,
            agent=model.agent,
            prompt=model.prompt or "",
            dependencies=list(model.needs),
            criteria=_checks(model.verify, (*path, "verify"), document, problems, reading),
            phase=model.phase,
            files=list(model.files),
            status=model.status,
            estimate_minutes=minutes,
            context_tier=tier or infer_tier(files=len(model.files), characters=len(text)),
            tier_inferred=tier is None,
            autonomy=model.autonomy,
            outputs=list(model.outputs),
            env=dict(model.env),
            secrets=grants(model.secrets),
            timeout=model.timeout,
            max_attempts=model.max_attempts,
            isolation=isolation_of(model),
            noop=model.noop,
            milestone=model.milestone,
            alignment=model.alignment,
            estimated_lines=model.estimated_lines,
        )
    )


def _broken(item: dict[str, Any], document: Document, line: int | None) -> TaskRead:
    """What is left of a task with problems: enough to check ids and dependencies."""
    given: Any = next((item[key] for key in ("needs", "dependencies", "depends_on", "dependsOn") if key in item), [])
    wanted = given if isinstance(given, list) else [given]
    needs = [scalar_text(one) for one in wanted if isinstance(one, str | int | float) and not isinstance(one, bool)]
    return TaskRead(id=scalar_text(item["id"]), file=document.path, line=line, dependencies=needs)


def _checks(
    models: list[CheckModel], path: tuple[str | int, ...], document: Document, problems: Problems, reading: Reading
) -> list[Criterion]:
    found = []
    for number, model in enumerate(models):
        value = criterion_value(model)
        line = problems.line((*path, number))
        command = value.command or ""
        if value.kind == "command" and value.expect is None:
            read_as = checks.unmask(command)
            if read_as.masked:
                value = replace(value, expect=read_as.expect)
                remedy = f"it now has to print {read_as.expect} last" if read_as.expect else "it proves little"
                message = f"the command's exit code says nothing about success; {remedy}"
                hint = "drop the last part, or add expect"
                reading.diagnostics.append(document.note("warning", "masked-exit", message, line, hint))
        if machine_path(command):
            message = f"the command holds a path of one machine: {machine_path(command)}"
            reading.diagnostics.append(document.note("warning", "machine-path", message, line, "use relative paths"))
        found.append(value)
    return found


def criterion_value(model: CheckModel) -> Criterion:
    """A check as a value; one given only in words is read as any sentence is, unless a person is to decide."""
    common: dict[str, Any] = {
        "id": model.id or "",
        "category": model.category,
        "negate": model.negate,
        "target": model.target,
    }
    if model.timeout is not None:
        common["timeout"] = model.timeout
    text = model.text or ""
    if model.command is not None:
        return Criterion(
            kind="command",
            text=text,
            command=model.command,
            exit_code=model.exit_code or 0,
            expect=model.expect,
            measure=model.measure,
            secrets=grants(model.secrets or {}),
            **common,
        )
    if model.file is not None:
        return Criterion(
            kind="file", text=text, path=model.file, contains=model.contains, absent=model.absent,
            min_lines=model.min_lines, **common,
        )  # fmt: skip
    if model.regex is not None:
        return Criterion(kind="regex", text=text, pattern=model.regex, source=model.source or "output", **common)
    if model.http is not None:
        status = 200 if model.status is None else model.status
        return Criterion(kind="http", text=text, url=model.http, status=status, contains=model.contains, **common)
    if model.tests is not None:
        return Criterion(kind="tests", text=text, tests=model.tests, runner=model.runner, **common)
    if model.quality is not None:
        return Criterion(kind="quality", text=text, gates=tuple(model.quality), **common)
    if model.manual is not None or model.test == "manual":
        return Criterion(kind="manual", text=model.manual or text, **common)
    worded = checks.criterion(text)
    common["negate"] = worded.negate != model.negate
    return replace(worded, **common)


def _unknown_phases(reading: Reading, document: Document) -> None:
    """A task may only name a declared phase, once phases are declared; without any, tasks' words make them."""
    declared = [phase.id for phase in reading.phases]
    known = set(declared)
    for task in reading.tasks:
        if task.phase is None or task.phase in known:
            continue
        if declared:
            near = suggest(task.phase, declared)
            hint = f"did you mean {near!r}?" if near else "declare it in phases"
            message = f"task {task.id!r} names the phase {task.phase!r}, which is not declared"
            reading.diagnostics.append(document.note("error", "unknown-phase", message, task.line, hint))
        else:
            reading.phases.append(PhaseRead(id=task.phase))
            known.add(task.phase)
