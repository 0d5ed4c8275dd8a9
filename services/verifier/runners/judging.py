"""All criteria of a task: its own and those of the policy, gates one by one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import replace

from events.verdict import Result
from schemas.values import Criterion, Policy
from services.verifier.checks import Place, judge
from services.verifier.runners.around import FOUND, around
from services.verifier.runners.results import answer, broken

POLICY = "policy"
"""The category of what no task asked for."""


def by_policy(policy: Policy, own: Sequence[Criterion]) -> list[Criterion]:
    """What policy wants to be judged besides a task's own criteria; nothing twice."""
    asked = {gate for criterion in own for gate in criterion.gates}
    gates = tuple(gate for gate in policy.quality if gate not in asked)
    found = []
    if policy.tests == "auto" and not any(c.kind == "tests" and c.tests == "auto" and not c.negate for c in own):
        found.append(Criterion(id="policy.tests", kind="tests", tests="auto", category=POLICY))
    if gates:
        found.append(Criterion(id="policy.quality", kind="quality", gates=gates, category=POLICY))
    return found


async def judge_all(criteria: Sequence[Criterion], place: Place) -> list[Result]:
    """Judge criteria, gates one by one. What policy asked for may find nothing to do: that is no yes and no no."""
    results: list[Result] = []
    for criterion in criteria:
        if criterion.kind == "quality":
            results += await _judge_gates(criterion, place)
        elif criterion.category == POLICY and criterion.kind == "tests" and await asyncio.to_thread(_testless, place):
            results.append(answer(criterion, None, "the project has no tests"))
        else:
            results.append(await judge(criterion, place))
    return results


async def _judge_gates(criterion: Criterion, place: Place) -> list[Result]:
    """One result for each gate; a task's own criterion of which nothing could be judged does not hold."""
    try:
        gates = await _gates(criterion, place)
    except ValueError as error:
        return [broken(criterion, f"could not be judged: {error}")]
    judged = [await judge(gate, place) for gate in gates]
    if criterion.category == POLICY:
        return judged
    if not judged:
        return [broken(criterion, "nothing was checked: the project configures no gate; name some")]
    if all(result.result == "skipped" for result in judged):
        judged[-1] = replace(judged[-1], result="fail", detail=f"nothing was checked: {judged[-1].detail}")
    return judged


async def _gates(criterion: Criterion, place: Place) -> list[Criterion]:
    """One criterion for each gate."""
    from services.verifier.runners.project import Project, gates_of

    named = [gate for gate in criterion.gates if gate != FOUND]
    found = await asyncio.to_thread(gates_of, Project(place.files)) if FOUND in criterion.gates else {}
    return [replace(criterion, id=f"{criterion.id}.{gate}", gates=(gate,)) for gate in named] + [
        replace(criterion, id=f"{criterion.id}.{gate}", gates=(FOUND, gate)) for gate in found if gate not in named
    ]


def _testless(place: Place) -> bool:
    """There are no tests, and the task did not take them away."""
    from services.verifier.runners.find import tests_among
    from services.verifier.runners.project import Project

    with contextlib.suppress(ValueError):  # too many files: the check itself says so
        return not tests_among(Project(place.files).files) and not tests_among(around(place).changes)
    return False
