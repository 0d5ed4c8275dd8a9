"""From a reading to a plan that can run: containers dissolved, checks attached, prompts made.

Returns every reason at once when it cannot run; nothing is half accepted.
"""

from __future__ import annotations

import copy
from dataclasses import asdict, replace
from typing import Any
from urllib.parse import urlsplit

from schemas.formats.markings import infer_tier
from schemas.grants import Isolation, resolved
from schemas.graph import Containers, leaf_edges
from schemas.isolation import document_of
from schemas.reading import Diagnostic, Reading, TaskRead
from schemas.safety.model import as_written
from schemas.safety.profiles import DEFAULT
from schemas.validate import validate
from schemas.values import Criterion, Gate, Grant, Phase, Plan, Policy, Repo, SourceStatus, Task

SATISFIED: frozenset[SourceStatus] = frozenset({"completed", "skipped"})


def accept(
    reading: Reading, *, plan_id: str, agent: str | None = None, repo: Repo | None = None, all_tasks: bool = False
) -> Plan | list[Diagnostic]:
    """The plan, or the errors that forbid it.

    ``agent`` is the program for tasks that name none. ``all_tasks``: what the source says is done is done again.
    """
    validate(reading)
    if reading.errors:
        return reading.errors
    tasks = flatten(reading, agent=agent or reading.agent, all_tasks=all_tasks)
    without = _without_agent(reading, tasks)
    if without is not None:
        return [without]
    title = reading.title or (reading.files[0].path.replace("\\", "/").rpartition("/")[2] if reading.files else "plan")
    plan = Plan(
        id=plan_id,
        title=title,
        tasks=tasks,
        phases=tuple(Phase(id=phase.id, title=phase.title, goal=phase.goal) for phase in reading.phases),
        policy=reading.policy or Policy(),
        repo=repo or reading.repo,
        env=dict(reading.env),
        secrets=reading.secrets,
        shared=dict(reading.shared),
        format=reading.format,
        source=reading.source,
        files=tuple(reading.files),
        conversation_id=reading.conversation_id,
        priority=reading.priority,
        estimate=None if reading.estimate_minutes is None else reading.estimate_minutes * 60,
        context_budget=reading.context_budget,
        created=reading.created,
        gates=tuple(reading.gates),
    )
    return _out_of_reach(reading, plan) or plan


def _out_of_reach(reading: Reading, plan: Plan) -> list[Diagnostic]:
    """The errors for addresses that a check asks and the task's own network does not lead to: none would ever pass."""
    policy = plan.policy.isolation
    places = [(f"task {task.id!r}", task.verify, resolved(policy, task.isolation)) for task in plan.tasks]
    around = [gate for gate in plan.gates if gate.when in ("pre_execution", "post_execution")]
    places += [(f"gate {gate.name!r}", gate.criteria, resolved(policy, Isolation())) for gate in around]
    lines = {f"task {task.id!r}": (task.file, task.line) for task in reading.tasks}
    first = reading.files[0].path if reading.files else ""
    found = []
    for where, criteria, reach in places:
        for criterion in criteria:
            port = _port(criterion)
            if port is not None and not reach.reaches(port):
                file, line = lines.get(where, ("", None))
                message = f"a check of {where} asks {criterion.url}, and no network is granted that leads there"
                hint = f"grant it: network: [{port}], or network: host, in the policy or on the task"
                found.append(Diagnostic("error", "no-network", message, file or first, line, hint))
    return found


def _port(criterion: Criterion) -> int | None:
    """The port that a check asks; None if it asks none, or if nobody can say."""
    if criterion.kind != "http":
        return None
    try:
        parts = urlsplit(criterion.url or "")
        return parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return None


def _without_agent(reading: Reading, tasks: tuple[Task, ...]) -> Diagnostic | None:
    """The error for tasks that need an agent program and have none."""
    lacking = [
        task.id
        for task in tasks
        if not (task.run or task.agent or task.noop or task.status in SATISFIED or task.autonomy == "human")
    ]
    if not lacking:
        return None
    first: dict[str, TaskRead] = {}
    for task in reading.tasks:
        first.setdefault(task.id, task)
    lines = [first[name].line for name in lacking if name in first and first[name].line]
    named = ", ".join(repr(name) for name in lacking[:5]) + (" …" if len(lacking) > 5 else "")
    where = f" (lines {', '.join(map(str, lines[:10]))}{' …' if len(lines) > 10 else ''})" if lines else ""
    count = "1 task needs" if len(lacking) == 1 else f"{len(lacking)} tasks need"
    message = f"{count} an agent program, and none is named: {named}{where}"
    hint = "name one with --agent PROGRAM, or with agent: in the plan"
    file = (first[lacking[0]].file if lacking[0] in first else "") or (reading.files[0].path if reading.files else "")
    return Diagnostic("error", "no-agent", message, file, lines[0] if lines else None, hint)


def flatten(reading: Reading, *, agent: str | None = None, all_tasks: bool = False) -> tuple[Task, ...]:
    """The tasks that run, with edges over containers and phases expanded and their checks attached."""
    whole = _with_checks(reading)
    edges = leaf_edges(whole)
    known = Containers(whole)
    return tuple(_task(known.tasks[name], needs, known, agent, all_tasks) for name, needs in edges.items())


def _with_checks(reading: Reading) -> Reading:
    """A copy in which the checks of containers, phases and the plan stand at the last leaf of each.

    Where several leaves come last, a task that only joins them carries the checks, for they are about all of them.
    """
    whole = copy.copy(reading)
    whole.tasks = [copy.copy(task) for task in reading.tasks]
    for task in whole.tasks:
        task.criteria = list(task.criteria)
    known = Containers(whole)
    edges = leaf_edges(whole)
    groups: list[tuple[str, list[Criterion], list[str], TaskRead]] = []
    for task in reversed(whole.tasks):
        if task.id in known.leaves and task.criteria:
            groups.append(
                (task.id, task.criteria, known.leaves[task.id], TaskRead(id="", parent=task.id, phase=task.phase))
            )
            task.criteria = []
    groups.extend(
        (phase.id, phase.criteria, known.of_phase[phase.id], TaskRead(id="", phase=phase.id))
        for phase in whole.phases
        if phase.criteria and phase.id in known.of_phase
    )
    if whole.criteria and edges:
        groups.append(("plan", whole.criteria, list(edges), TaskRead(id="")))
    for name, criteria, leaves, join in groups:
        _attach(whole, known, edges, name, criteria, leaves, join)
    return whole


def _attach(
    whole: Reading,
    known: Containers,
    edges: dict[str, list[str]],
    name: str,
    criteria: list[Criterion],
    leaves: list[str],
    join: TaskRead,
) -> None:
    inside = set(leaves)
    followed = {wanted for leaf in leaves for wanted in edges[leaf] if wanted in inside}
    last = [leaf for leaf in leaves if leaf not in followed] or leaves[-1:]
    if len(last) == 1:
        known.tasks[last[0]].criteria.extend(criteria)
        return
    join.id = _free(f"{name}/checks", known)
    join.title = f"Check {name}"
    join.noop = True
    join.dependencies = last
    join.criteria = list(criteria)
    join.file, join.line = known.tasks[last[-1]].file, known.tasks[last[-1]].line
    if all(known.tasks[leaf].status in SATISFIED for leaf in last):
        join.status = "completed"
    whole.tasks.append(join)
    known.tasks[join.id] = join
    edges[join.id] = list(last)


def _free(name: str, known: Containers) -> str:
    number, free = 2, name
    while free in known.tasks:
        free, number = f"{name}~{number}", number + 1
    return free


def _task(read: TaskRead, needs: list[str], known: Containers, agent: str | None, all_tasks: bool) -> Task:
    empty = read.id in known.containers
    noop = read.noop or (empty and read.run is None and not read.prompt)
    program = None if noop or read.run is not None or read.autonomy == "human" else read.agent or agent
    status: SourceStatus = "pending" if all_tasks else read.status
    return Task(
        id=read.id,
        title=read.title,
        description=read.description,
        run=None if noop else read.run,
        agent=program,
        prompt="" if noop or read.run is not None else read.prompt or prompt_for(read),
        needs=tuple(needs),
        verify=_numbered(read.criteria),
        phase=read.phase,
        parent=read.parent,
        files=tuple(read.files),
        outputs=tuple(read.outputs),
        env=dict(read.env),
        secrets=read.secrets,
        timeout=read.timeout,
        max_attempts=read.max_attempts,
        isolation=read.isolation,
        estimate=None if read.estimate_minutes is None else read.estimate_minutes * 60,
        context_tier=read.context_tier,
        tier_inferred=read.tier_inferred,
        autonomy=read.autonomy,
        status=status,
        noop=noop,
        milestone=read.milestone,
        alignment=read.alignment,
        estimated_lines=read.estimated_lines,
    )


def prompt_for(read: TaskRead) -> str:
    """What an agent is asked when the plan has only text: title, description, files, and how it will be checked."""
    parts = [read.title or read.id]
    if read.description and read.description.strip() != read.title:
        parts.append(read.description.strip())
    if read.files:
        parts.append("Files:\n" + "\n".join(f"- {path}" for path in read.files))
    wanted = [criterion.text or criterion.command or criterion.path or "" for criterion in read.criteria]
    listed = [f"- {text}" for text in wanted if text]
    if listed:
        parts.append("It is done when:\n" + "\n".join(listed))
    return "\n\n".join(parts)


def _numbered(criteria: list[Criterion]) -> tuple[Criterion, ...]:
    """The author's ids where they are unique; c1, c2 … for the rest."""
    given = [criterion.id for criterion in criteria if criterion.id]
    taken, found, number = set(given), [], 0
    used: set[str] = set()
    for criterion in criteria:
        name = criterion.id
        while not name or name in used:
            number += 1
            name = f"c{number}" if f"c{number}" not in taken else ""
        used.add(name)
        found.append(criterion if name == criterion.id else replace(criterion, id=name))
    return tuple(found)


def plan_to_native(plan: Plan | Reading) -> dict[str, Any]:
    """The plan in the native form, defaults left out. Read again it has the same tasks, edges, checks and states."""
    tasks = flatten(plan) if isinstance(plan, Reading) else plan.tasks
    document: dict[str, Any] = {"plan": plan.title or "plan"}
    identity = plan.plan_id if isinstance(plan, Reading) else plan.id
    minutes = (
        plan.estimate_minutes if isinstance(plan, Reading) else None if plan.estimate is None else plan.estimate / 60
    )
    metadata = {
        "created": plan.created,
        "estimated_minutes": minutes,
        "context_budget": plan.context_budget,
        "priority": None if plan.priority == 5 else plan.priority,
    }
    _put(document, id=identity, conversation_id=plan.conversation_id)
    _put(document, source=None if plan.source == "TASK_LIST" else plan.source)
    _put(document, metadata=_some(metadata))
    if plan.repo is not None:
        _put(document, repo=_some({"path": plan.repo.path, "ref": plan.repo.commit or plan.repo.ref}))
    if isinstance(plan, Reading):
        _put(document, agent=plan.agent)
    _put(document, env=dict(plan.env), secrets=_grants(plan.secrets), shared=dict(plan.shared))
    if plan.policy is not None and plan.policy != Policy():
        document["policy"] = _policy(plan.policy)
    _put(document, gates=[_native_gate(gate) for gate in plan.gates])
    phases = [_some({"id": phase.id, "title": phase.title, "goal": phase.goal}) for phase in plan.phases]
    _put(document, phases=phases)
    document["tasks"] = [_native_task(task) for task in tasks]
    return document


def _put(target: dict[str, Any], /, **values: Any) -> None:
    target.update(_some(values))


def _some(values: dict[str, Any]) -> dict[str, Any]:
    return {
        key: value for key, value in values.items() if value is not None and value != "" and value != [] and value != {}
    }


def _policy(policy: Policy) -> dict[str, Any]:
    found = asdict(replace(policy, safety=DEFAULT, isolation=Isolation())) | {"quality": list(policy.quality)}
    del found["isolation"]
    found["safety"] = as_written(policy.safety)
    return _some(found) | document_of(policy.isolation)


def _native_task(task: Task) -> dict[str, Any]:
    found: dict[str, Any] = {"id": task.id}
    _put(found, title=task.title, description=task.description, run=task.run, agent=task.agent)
    _put(found, prompt=task.prompt if not task.run and not task.noop else None, noop=task.noop or None)
    _put(found, needs=list(task.needs), verify=[native_check(criterion) for criterion in task.verify])
    _put(found, files=list(task.files), outputs=list(task.outputs), env=dict(task.env))
    _put(found, secrets=_grants(task.secrets))
    _put(found, timeout=task.timeout, max_attempts=task.max_attempts, phase=task.phase)
    _put(found, **document_of(task.isolation))
    _put(found, estimated_minutes=None if task.estimate is None else task.estimate / 60)
    guess = infer_tier(files=len(task.files), characters=len(task.description) + len(found.get("prompt", "")))
    _put(found, context_tier=None if task.tier_inferred and task.context_tier == guess else task.context_tier)
    _put(found, milestone=task.milestone)
    _put(found, alignment=task.alignment, estimated_lines=task.estimated_lines)
    _put(found, autonomy=None if task.autonomy == "auto" else task.autonomy)
    _put(found, status=None if task.status == "pending" else task.status)
    return found


def _native_gate(gate: Gate) -> dict[str, Any]:
    found: dict[str, Any] = {"name": gate.name, "when": gate.when, "on_fail": gate.on_fail}
    _put(found, verify=[native_check(criterion) for criterion in gate.criteria], tasks=list(gate.tasks))
    return found


def _grants(secrets: tuple[Grant, ...]) -> list[str | dict[str, str]]:
    return [grant.name if grant.name == grant.env else {grant.name: grant.env} for grant in secrets]


def native_check(criterion: Criterion) -> dict[str, Any]:
    """A check in the native form."""
    kinds: dict[str, dict[str, Any]] = {
        "command": {
            "command": criterion.command,
            "exit_code": criterion.exit_code or None,
            "expect": criterion.expect,
            "measure": criterion.measure,
        },
        "file": {
            "file": criterion.path,
            "contains": criterion.contains,
            "absent": criterion.absent,
            "min_lines": criterion.min_lines,
        },
        "regex": {"regex": criterion.pattern, "in": criterion.source},
        "http": {"http": criterion.url, "status": criterion.status, "contains": criterion.contains},
        "tests": {"tests": criterion.tests, "runner": criterion.runner},
        "quality": {"quality": list(criterion.gates)},
        "manual": {"manual": criterion.text},
    }
    found = {key: value for key, value in kinds[criterion.kind].items() if value is not None}
    _put(
        found, id=criterion.id, text=None if criterion.kind == "manual" else criterion.text, category=criterion.category
    )
    _put(found, secrets=_grants(criterion.secrets))
    _put(found, negate=criterion.negate or None, target=criterion.target)
    _put(found, timeout=None if criterion.timeout == 300.0 else criterion.timeout)
    return found
