"""Reading a submission: doubtful bytes in, an accepted plan or a list of problems out."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from events.execution import PlanAccepted, PlanRejected, Problem
from events.request import PlanSubmitted
from schemas.accept import accept
from schemas.formats import read_path
from schemas.grants import LEVELS
from schemas.names import branch_name
from schemas.reading import Diagnostic, Reading
from schemas.safety.rules import LOOSEST, Safety
from schemas.validate import validate
from schemas.values import Place, Plan, Repo, Task
from schemas.write_back import status_place
from services.safety.branch import branch_refusal
from services.safety.frozen import marked, under_rules

MAX_PLAN = 7_500_000
"""Bytes of an accepted plan on the wire; the server takes messages up to 8 MB."""
MEMORY = "/dev/shm"
"""A folder in memory, on Linux."""
IN_MEMORY = 1_000_000
"""Characters of plan files that are laid out there at most."""
PRIORITIES = {"low": 2, "normal": 5, "high": 8}


def problem(diagnostic: Diagnostic) -> Problem:
    """A diagnostic as it stands in the log."""
    return Problem(
        code=diagnostic.code, message=diagnostic.message, file=diagnostic.file, line=diagnostic.line,
        hint=diagnostic.hint, severity=diagnostic.severity,
    )  # fmt: skip


def read(
    execution: str, submitted: PlanSubmitted, *, requested_by: str, rules: Safety = LOOSEST
) -> PlanAccepted | PlanRejected:
    """Read, validate and freeze what was submitted. Every problem is named in one answer.

    ``rules``: the safety rules that installation and tenant insist on.
    """

    def rejected(*problems: Problem) -> PlanRejected:
        return PlanRejected(problems=problems, requested_by=requested_by)

    if (submitted.plan is None) == (submitted.documents is None):
        hint = 'send {"plan": {…}} with a native plan, or {"documents": {"tasks.md": "…"}} with plan files'
        return rejected(Problem(code="no-plan", message="the submission holds no plan, or two", hint=hint))
    documents, root = submitted.documents or {}, submitted.root
    if submitted.plan is not None:
        documents = {"plan.json": msgspec.json.format(msgspec.json.encode(submitted.plan), indent=2).decode()}
        root = "plan.json"
    try:
        reading = validate(_read(documents, root, submitted.format))
    except ValueError as error:
        return rejected(Problem(code="bad-document", message=str(error), hint="use plain relative paths"))
    if reading.errors:
        return rejected(*(problem(d) for d in reading.diagnostics))
    return _freeze(execution, reading, submitted, requested_by, documents, rules)


def _read(documents: dict[str, str], root: str | None, format: str | None) -> Reading:
    """Lay the documents out as they were and read them; messages name them as they were submitted.

    Raises ValueError for a path that leads out of the folder.
    """
    for name in (*documents, *([root] if root else [])):
        parts = PurePosixPath(name).parts
        if not parts or PurePosixPath(name).is_absolute() or ".." in parts or "\0" in name:
            raise ValueError(f"{name!r} cannot be the path of a document")
    if root is not None and root not in documents:
        raise ValueError(f"the root {root!r} is not among the documents")
    if root is None and len(documents) == 1:
        root = next(iter(documents))
    with TemporaryDirectory(prefix="nightshift-plan-", dir=_scratch(documents)) as folder:
        for name, text in documents.items():
            target = Path(folder) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(text.encode("utf-8", "surrogatepass"))
        reading = read_path(Path(folder) / root if root else Path(folder), format=format)
        prefix = f"{folder}/"
        reading.diagnostics[:] = [
            replace(d, file=d.file.removeprefix(prefix), message=d.message.replace(prefix, ""))
            for d in reading.diagnostics
        ]
        reading.files[:] = [replace(f, path=f.path.removeprefix(prefix)) for f in reading.files]
        for task in reading.tasks:
            task.file = task.file.removeprefix(prefix)
        for phase in reading.phases:
            phase.file = phase.file.removeprefix(prefix)
        return reading


def _scratch(documents: dict[str, str]) -> str | None:
    """Where documents are laid out: small ones in memory where that is to be had; a disk takes milliseconds a file."""
    small = sum(map(len, documents.values())) <= IN_MEMORY
    return MEMORY if small and os.access(MEMORY, os.W_OK | os.X_OK) else None


def _places(plan: Plan, reading: Reading, texts: dict[str, str]) -> tuple[Task, ...]:
    """The tasks, each with the place in its file where it can be marked as done (RE-3)."""
    read = {task.id: task for task in reading.tasks}
    lines: dict[str, list[str]] = {}

    def place(task: Task) -> Place | None:
        found = read.get(task.id)
        if found is None or found.line is None or found.file not in texts or reading.format == "native":
            return None
        if found.box is not None:
            known = lines.setdefault(found.file, texts[found.file].replace("\r\n", "\n").split("\n"))
            line, column = found.box
            return Place(file=found.file, line=line, text=known[line - 1].lstrip("\ufeff"), column=column)
        status = status_place(texts[found.file].encode(), format=reading.format, line=found.line)
        if status is None:
            return None
        return Place(file=found.file, line=status.line, text=status.expected_line, format=status.format)

    return tuple(replace(task, place=place(task)) for task in plan.tasks)


def _freeze(
    execution: str,
    reading: Reading,
    submitted: PlanSubmitted,
    requested_by: str,
    texts: dict[str, str],
    rules: Safety,
) -> PlanAccepted | PlanRejected:
    repo = submitted.repo or reading.repo
    if repo is not None:
        repo = _absolute(repo, submitted.base)
    plan = accept(
        reading, plan_id=reading.plan_id or execution, agent=submitted.agent, repo=repo, all_tasks=submitted.all_tasks
    )
    if not isinstance(plan, Plan):
        return PlanRejected(problems=tuple(problem(d) for d in plan), requested_by=requested_by)
    try:
        plan = _options(plan, submitted.options)
    except ValueError as error:
        fault = Problem(code="bad-option", message=str(error), hint="see docs/plans.md, hand-off options")
        return PlanRejected(problems=(fault,), requested_by=requested_by)
    unknown = [
        (gate.name, p)
        for gate in plan.gates
        for p in gate.tasks
        if not any(fnmatchcase(task.id, p) for task in plan.tasks)
    ]
    if unknown:
        fault = Problem(
            code="bad-gate", message=f"the gate {unknown[0][0]!r} guards {unknown[0][1]!r}, and no task is called so",
            hint="name tasks, or patterns such as 2.*; nightshift plan check names the tasks",
        )  # fmt: skip
        return PlanRejected(problems=(fault,), requested_by=requested_by)
    if plan.policy.sandbox not in (None, *LEVELS):
        fault = Problem(
            code="no-sandbox", message=f"there is no sandbox {plan.policy.sandbox!r}",
            hint=f"policy.sandbox is the weakest that will do: {', '.join(LEVELS)}; or leave it out",
        )  # fmt: skip
        return PlanRejected(problems=(fault,), requested_by=requested_by)
    if submitted.stop_after is not None and submitted.stop_after not in {t.id for t in plan.tasks}:
        fault = Problem(
            code="bad-stop-point", message=f"there is no task {submitted.stop_after!r} to stop after",
            hint="nightshift plan check names the tasks",
        )  # fmt: skip
        return PlanRejected(problems=(fault,), requested_by=requested_by)
    plan = replace(
        plan,
        stop_after=submitted.stop_after,
        tasks=tuple(replace(t, id=_nfc(t.id), needs=tuple(map(_nfc, t.needs))) for t in _places(plan, reading, texts)),
        env={**plan.env, **submitted.env},
        shared={**plan.shared, **submitted.shared},
        base=submitted.base,
        conversation_id=submitted.conversation_id or plan.conversation_id,
    )
    plan, unsafe = marked(under_rules(plan, rules))
    return frozen(plan, requested_by, tuple(problem(d) for d in (*reading.diagnostics, *unsafe)))


def on_its_branch(execution: str, answer: PlanAccepted | PlanRejected) -> PlanAccepted | PlanRejected:
    """The answer, which is a no where the safety policy protects the one branch that the execution would have."""
    if isinstance(answer, PlanRejected):
        return answer
    refusal = branch_refusal(answer.plan.policy.safety, branch_name(execution))
    if not refusal:
        return answer
    hint = "protected_branches in nightshift.toml or in the plan must leave nightshift/* to the engine"
    fault = Problem(code="protected-branch", message=f"the execution cannot be: {refusal}", hint=hint)
    return PlanRejected(problems=(fault,), requested_by=answer.requested_by)


def frozen(plan: Plan, requested_by: str, warnings: tuple[Problem, ...] = ()) -> PlanAccepted | PlanRejected:
    """The plan as it is accepted, named by its digest; or why it does not fit an event."""
    raw = msgspec.json.encode(plan, order="sorted")
    if len(raw) > MAX_PLAN:
        fault = Problem(
            code="plan-too-large", message=f"the plan takes {len(raw):,} bytes; at most {MAX_PLAN:,} fit an event",
            hint="split it into several plans, or shorten the descriptions",
        )  # fmt: skip
        return PlanRejected(problems=(fault,), requested_by=requested_by)
    return PlanAccepted(plan=plan, digest=hashlib.sha256(raw).hexdigest(), requested_by=requested_by, warnings=warnings)


def _nfc(name: str) -> str:
    """A name as it comes back from a subject (hazard H13)."""
    return unicodedata.normalize("NFC", name)


def _absolute(repo: Repo, base: str | None) -> Repo:
    """A local path is relative to the folder of whoever submitted; anything with ``://`` or ``host:`` is a URL."""
    path = repo.path
    if base and "://" not in path and not PurePosixPath(path).is_absolute() and ":" not in path.split("/")[0]:
        path = str(PurePosixPath(base) / path)
    return replace(repo, path=path)


def _options(plan: Plan, options: dict[str, Any]) -> Plan:
    """Hand-off options of the founding document outrank the plan (IN-12, C10). Raises ValueError."""
    known = {"priority", "notifications", "retry"}
    unknown = sorted(set(options) - known)
    if unknown:
        raise ValueError(f"unknown option {unknown[0]!r}; known are {', '.join(sorted(known))}")
    policy = plan.policy
    retry = options.get("retry") or {}
    if "maxAttempts" in retry:
        attempts = retry["maxAttempts"]
        if not isinstance(attempts, int) or not 1 <= attempts <= 10:
            raise ValueError(f"retry.maxAttempts is {attempts!r}; it must be a whole number from 1 to 10")
        policy = replace(policy, max_attempts=attempts)
    if "backoffMultiplier" in retry:
        factor = retry["backoffMultiplier"]
        if isinstance(factor, bool) or not isinstance(factor, int | float) or not 1 <= factor <= 100:
            raise ValueError(f"retry.backoffMultiplier is {factor!r}; it must be a number from 1 to 100")
        policy = replace(policy, backoff=replace(policy.backoff, factor=float(factor)))
    priority = options.get("priority", plan.priority)
    if isinstance(priority, str):
        if priority not in PRIORITIES:
            raise ValueError(f"priority is {priority!r}; it must be low, normal, high, or a number from 1 to 10")
        priority = PRIORITIES[priority]
    if isinstance(priority, bool) or not isinstance(priority, int) or not 1 <= priority <= 10:
        raise ValueError(f"priority is {priority!r}; it must be low, normal, high, or a number from 1 to 10")
    return replace(plan, policy=policy, priority=priority)
