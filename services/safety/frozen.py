"""A plan as it is accepted under the rules: merged, each task marked with what a person has to allow, or refused."""

from __future__ import annotations

from dataclasses import replace

from schemas.gates import asks_nobody
from schemas.reading import Diagnostic
from schemas.safety.rules import LOOSEST, Safety, stricter
from schemas.values import Plan, SourceStatus, Task
from services.safety.request import check_request

DONE: frozenset[SourceStatus] = frozenset({"completed", "skipped"})


def under_rules(plan: Plan, insisted: Safety) -> Plan:
    """The plan with the rules of installation and tenant merged into its own, so that no file is needed later."""
    return replace(plan, policy=replace(plan.policy, safety=stricter(plan.policy.safety, insisted)))


def marked(plan: Plan) -> tuple[Plan, list[Diagnostic]]:
    """The plan with its tasks checked, and a warning for each that cannot simply run.

    What is never done is refused, so that the task is skipped and the rest goes on; what needs a person's yes asks for
    it before the task starts, or is refused in a mode that asks nobody (C5, C17).
    """
    warnings: list[Diagnostic] = []
    if plan.policy.safety.push and plan.policy.safety != LOOSEST:
        file = plan.files[0].path if plan.files else ""
        warnings.append(Diagnostic("warning", "no-push", _NO_PUSH, file, hint="take its branch with git fetch"))
    tasks = tuple(_marked(plan, task, warnings) for task in plan.tasks)
    return replace(plan, tasks=tasks), warnings


def _marked(plan: Plan, task: Task, warnings: list[Diagnostic]) -> Task:
    answer = check_request(plan, task) if task.status not in DONE else None
    if answer is None or answer.safe_for_autonomous:
        return task
    file = plan.files[0].path if plan.files else ""
    if answer.refusals or asks_nobody(plan):
        worst = answer.violations[0].violation
        more = len(answer.violations) - 1
        nobody = "" if answer.refusals else ", which needs a person, and the plan asks nobody"
        reason = f"the safety policy refuses it: {worst}{nobody}" + (f" (and {more} more)" if more else "")
        warnings.append(
            Diagnostic("warning", "refused", f"task {task.id!r} will be skipped: {reason}", file, hint=_HINT)
        )
        return replace(task, refused=reason)
    named = "; ".join(concern.violation for concern in answer.concerns)
    warnings.append(
        Diagnostic(
            "warning", "needs-approval", f"task {task.id!r} will ask before it starts: {named}", file, hint=_HINT
        )
    )
    return replace(task, autonomy="needs_approval", concerns=answer.concerns)


_NO_PUSH = "policy.safety.push is granted, and nothing is pushed all the same: the engine has no part that pushes"
_HINT = "nightshift plan safety shows every violation; docs/safety.md says how rules are set"
