"""What the safety policy says about a result: pure. Refusals reject it, concerns need a person's yes."""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from events.fold import ExecutionFold, TaskFold
from events.verdict import OracleFile, OracleTouched, Result
from schemas.gates import asks_nobody
from schemas.values import Criterion
from services.safety.difference import changed_lines, check_difference
from services.safety.judges import judges_of
from services.safety.oracle import touched
from services.verifier.runners.judging import by_policy
from services.verifier.write_back import folder_in_repository
from services.workspace import FileChange


@dataclass(frozen=True, kw_only=True, slots=True)
class Inspection:
    """What was found in a difference."""

    files: int = 0
    lines: int = 0
    """Outside tests and documents."""
    refusals: tuple[str, ...] = ()
    concerns: tuple[str, ...] = ()
    oracle: tuple[OracleFile, ...] = ()
    """Files that judge the task, or work that builds on it."""


def inspect(
    fold: ExecutionFold, task: TaskFold, changes: Sequence[FileChange], before: Collection[str] | None = None
) -> Inspection:
    """Hold a difference against the rules of the plan, and against what judges the task.

    ``before``: all paths that were there, if they are known; otherwise it is taken that something judged already.
    """
    assert fold.plan is not None
    plan = fold.plan
    answer = check_difference(plan, task.spec, changes, approved=task.start_granted)
    found = touched(
        changes,
        judges_of(judging(fold, task)),
        plan_files=plan_files(fold),
        files=(*task.spec.files, *task.spec.outputs),
        before=before,
    )
    oracle = tuple(OracleFile(path=one.path, why=one.why) for one in found)
    refusals = [violation.violation for violation in answer.refusals]
    concerns = [concern.violation for concern in answer.concerns]
    judges = [f"{one.path} judges the task and was changed: {one.why}" for one in oracle]
    if plan.policy.safety.oracle == "refuse":
        refusals += judges
    elif plan.policy.safety.oracle == "ask":
        concerns += judges
    if task.delivered:
        concerns = []  # a person made it, and stands for it
    if concerns and asks_nobody(plan):
        refusals += [f"{concern} (needs a person, and the plan asks nobody)" for concern in concerns]
        concerns = []
    return Inspection(
        files=len(changes), lines=changed_lines(changes), refusals=tuple(refusals), concerns=tuple(concerns),
        oracle=oracle,
    )  # fmt: skip


def judging(fold: ExecutionFold, task: TaskFold) -> list[Criterion]:
    """The criteria of a task, of what builds on it, of gates and of policy: it must not bend those either."""
    assert fold.plan is not None
    found = [*task.spec.verify, *by_policy(fold.plan.policy, task.spec.verify)]
    found += (criterion for gate in fold.plan.gates for criterion in gate.criteria)
    seen, waiting = {task.spec.id}, [task.spec.id]
    while waiting:
        for dependent in fold.dependents.get(waiting.pop(), ()):
            if dependent not in seen:
                seen.add(dependent)
                waiting.append(dependent)
                found += fold.tasks[dependent].spec.verify
    return found


def plan_files(fold: ExecutionFold) -> list[str]:
    """Where the plan lies in the repository; empty if it does not."""
    folder = folder_in_repository(fold)
    if folder is None or fold.plan is None:
        return []
    return [posixpath.normpath(posixpath.join(folder, source.path)) for source in fold.plan.files]


def oracle_fact(task: TaskFold, inspection: Inspection) -> OracleTouched | None:
    """The fact that a task touched its oracle, if nobody has said so about this attempt."""
    said = task.oracle is not None and task.oracle.lease == task.lease
    if not inspection.oracle or said:
        return None
    return OracleTouched(attempt=task.attempt, lease=task.lease, files=inspection.oracle)


def policy_result(task: TaskFold, inspection: Inspection) -> Result:
    """The check as a criterion with its outcome, as it stands in the evidence."""
    detail = f"{_many(inspection.files, 'file')}, {_many(inspection.lines, 'line')} outside tests and documents"
    if inspection.refusals:
        detail = "; ".join(inspection.refusals)
    elif inspection.concerns and task.granted is not None:
        detail = f"{task.granted.by} said yes: {'; '.join(inspection.concerns)}"
    return Result(
        criterion="policy", kind="policy", text="it keeps to the safety policy",
        result="fail" if inspection.refusals else "pass", detail=detail,
    )  # fmt: skip


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
