"""Branching off: a new execution that begins where another one stood, and takes its verified results over. Pure."""

from __future__ import annotations

from dataclasses import replace

from events.execution import PlanAccepted, PlanRejected, Problem
from events.fold import ExecutionFold
from events.lineage import inheritable
from events.request import ForkPoint, PlanSubmitted
from schemas.safety.rules import LOOSEST, Safety
from schemas.values import Fork, Plan
from services.planner.intake import frozen, problem
from services.safety.frozen import marked, under_rules


def unchanged(
    parent: ExecutionFold, submitted: PlanSubmitted, *, requested_by: str, rules: Safety = LOOSEST
) -> PlanAccepted | PlanRejected:
    """The parent's own plan, from where it stood, under the safety ``rules`` that hold by now."""
    assert submitted.fork is not None
    if parent.plan is None:
        return _nothing(submitted.fork, requested_by)
    plan = replace(parent.plan, stop_after=submitted.stop_after, env={**parent.plan.env, **submitted.env})
    plan, unsafe = marked(under_rules(plan, rules))
    return _forked(parent, submitted.fork, plan, requested_by, tuple(problem(d) for d in unsafe))


def changed(parent: ExecutionFold, point: ForkPoint, accepted: PlanAccepted) -> PlanAccepted | PlanRejected:
    """Another plan, with those of the parent's results that hold for it too."""
    if parent.plan is None:
        return _nothing(point, accepted.requested_by)
    plan = accepted.plan
    if plan.repo is None or parent.plan.repo is None or plan.repo.path == parent.plan.repo.path:
        plan = replace(plan, repo=parent.plan.repo)
        return _forked(parent, point, plan, accepted.requested_by, accepted.warnings)
    fault = Problem(
        code="bad-fork", message=f"the plan works on {plan.repo.path}, its parent on {parent.plan.repo.path}",
        hint="a fork stays in its parent's repository; submit the plan without --fork",
    )  # fmt: skip
    return PlanRejected(problems=(fault,), requested_by=accepted.requested_by)


def _forked(
    parent: ExecutionFold, point: ForkPoint, plan: Plan, requested_by: str, warnings: tuple[Problem, ...] = ()
) -> PlanAccepted | PlanRejected:
    head, inherited = inheritable(parent, plan)
    created = parent.created
    fork = Fork(
        execution=point.execution, sequence=parent.sequence, inherited=inherited, head=head,
        repository=created.repository if created is not None and head is not None else None,
        source=created.source if created is not None else None,
    )  # fmt: skip
    return frozen(replace(plan, forked=fork), requested_by, warnings)


def _nothing(point: ForkPoint, requested_by: str) -> PlanRejected:
    where = f"task {point.task!r} of it was never verified" if point.task else "it had no plan at that moment"
    fault = Problem(
        code="bad-fork", message=f"there is nothing to branch off from in execution {point.execution}: {where}",
        hint="nightshift history shows what happened when",
    )  # fmt: skip
    return PlanRejected(problems=(fault,), requested_by=requested_by)
