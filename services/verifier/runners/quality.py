"""The criterion ``quality`` for one gate: what it finds now against what it found on the branch before the task."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from events.verdict import Result
from schemas.values import Criterion
from services.verifier.runners.around import FOUND, around
from services.verifier.runners.find import language_of, tests_among
from services.verifier.runners.findings import Finding, introduced
from services.verifier.runners.gates import look, undocumented
from services.verifier.runners.project import GATE_SCRIPT, Project, gates_of, requirements
from services.verifier.runners.report import BadReport, Report
from services.verifier.runners.results import answer, broken, keep
from services.verifier.runners.secret_scan import scan_files
from services.verifier.runners.tests import run_everything
from services.verifier.runners.tools import Missing, run_tool

if TYPE_CHECKING:
    from services.verifier.checks import Place

ENOUGH = 80.0
"""Per cent of the lines: so much coverage is enough, whatever it was before."""
NAMED = 3
"""New findings that are named in the detail of a result."""
MAX_KEPT = 2_000
"""Findings that are kept in the evidence; all are counted."""


async def quality(criterion: Criterion, place: Place) -> Result:
    """Judge the last of the criterion's gates; ``auto`` before it means that nobody named it."""
    gate = criterion.gates[-1]
    if gate == "gate":
        return await _script(criterion, place)
    if gate == "coverage":
        return await _coverage(criterion, place)
    if gate == "audit":
        return await _audit(criterion, place)
    if gate == "secrets":
        changed = _changed(place)
        after = await asyncio.to_thread(scan_files, place.files, changed)
        before = await asyncio.to_thread(scan_files, await around(place).checkout(), changed) if after else []
    elif gate == "documentation":
        paths = [path for path in _changed(place) if language_of(path) == "python" and not tests_among([path])]
        if not paths:
            return answer(criterion, True, "no Python file was changed")
        after = await undocumented(place, place.files, paths, criterion.timeout)
        before = await undocumented(place, await around(place).checkout(), paths, criterion.timeout) if after else []
    else:
        after = await _findings(place, gate, criterion.timeout)
        before = await _before(place, gate, criterion.timeout) if after else []
    return await _compared(criterion, place, before, after)


def _changed(place: Place) -> list[str]:
    return [path for path, status in around(place).changes.items() if status != "D"]


async def _findings(place: Place, tool: str, seconds: float) -> list[Finding]:
    """What a tool finds in the result; kept, for it is the baseline once the result has landed."""
    found = await look(place, tool, place.files, seconds)
    around(place).remember(tuple(found), tool, around(place).tree)
    return found


async def _before(place: Place, tool: str, seconds: float) -> list[Finding]:
    """What it found on the branch before the task. A tool that could not work there found nothing."""
    about = around(place)
    kept = about.remembered(tool, about.before)
    if kept is None:
        try:
            kept = tuple(await look(place, tool, await about.checkout(), seconds))
        except BadReport:
            return []
        about.remember(kept, tool, about.before)
    return list(kept)


async def _compared(criterion: Criterion, place: Place, before: list[Finding], after: list[Finding]) -> Result:
    new = introduced(before, after)
    old = len(after) - len(new)
    more = f"; {old} were there before" if old else ""
    if new:
        named = "; ".join(str(finding)[:200] for finding in new[:NAMED]) + ("; …" if len(new) > NAMED else "")
        detail = f"{len(new)} new: {named}{more}"
    else:
        detail = f"nothing new{more}"
    source = (await asyncio.to_thread(gates_of, Project(place.files))).get(criterion.gates[-1])
    if source in around(place).changes:
        detail += f" (the task changed {source})"
    evidence = {
        "gate": criterion.gates[-1], "new": [str(f) for f in new[:MAX_KEPT]], "count": len(new), "before": len(before),
        "after": [str(f) for f in after[:MAX_KEPT]],
    }  # fmt: skip
    return replace(answer(criterion, not new, detail), evidence=await keep(place, evidence))


async def _script(criterion: Criterion, place: Place) -> Result:
    """The project's own gate: exit code 0 passes, and it has to be there."""
    path = place.files / GATE_SCRIPT
    if not path.is_file() or not path.resolve().is_relative_to(place.files.resolve()):
        return broken(criterion, f"{GATE_SCRIPT} is not there: write it, or take `gate` out of the quality gates")
    argv = (str(path),) if os.access(path, os.X_OK) else ("/bin/sh", str(path))
    ran = await run_tool(place, argv, cwd=place.files, seconds=criterion.timeout)
    detail = ran.trouble or f"exit code {ran.exit_code}"
    passed = ran.exit_code == 0 and not ran.trouble
    if not passed and ran.last:
        detail += f": {ran.last}"
    evidence = {"gate": "gate", "exit_code": ran.exit_code, "output": ran.text[-64 * 1024 :]}
    return replace(answer(criterion, passed, detail), exit_code=ran.exit_code, evidence=await keep(place, evidence))


async def _coverage(criterion: Criterion, place: Place) -> Result:
    """At least 80 per cent, or not below what it was: all tests are run, here and where needed on the branch."""
    about = around(place)
    report, problem, runner = await run_everything(place, place.files, criterion.timeout)
    percent = report.coverage
    result = broken(criterion, problem or "the runner measured no coverage")
    evidence: dict[str, Any] = {"gate": "coverage", "coverage": percent, "detail": problem, "before": None}
    if not problem and percent is not None:
        about.remember(percent, "coverage", about.tree)
        before = None
        if percent < ENOUGH:
            before = about.remembered("coverage", about.before)
            if before is None:
                before = await _coverage_before(place, await about.checkout(), criterion.timeout)
                about.remember(before, "coverage", about.before)
        compared = "" if before is None else f", {before:g} % before the task"
        good = percent >= ENOUGH or (before is not None and percent >= before)
        result = answer(criterion, good, f"{percent:g} % of the lines{compared}; {ENOUGH:g} % is enough")
        evidence["before"] = before
    numbers = report.numbers(runner) if report.cases else None
    return replace(result, tests=numbers, evidence=await keep(place, evidence))


async def _coverage_before(place: Place, root: Path, seconds: float) -> float | None:
    try:
        report: Report = (await run_everything(place, root, seconds))[0]
    except ValueError:
        return None
    return report.coverage


async def _audit(criterion: Criterion, place: Place) -> Result:
    """Known vulnerabilities of dependencies. Where nobody can be asked for them it is not judged, which is no yes."""
    project = Project(place.files)
    tools = ["npm"] if "package-lock.json" in project.files else []
    if requirements(project) or "pyproject.toml" in project.files:
        tools.append("pip-audit")
    if not tools:
        return answer(criterion, None, "there is no list of dependencies: no package-lock.json, no requirements.txt")
    found = criterion.gates[0] == FOUND
    lists = {"package-lock.json", "package.json", "pyproject.toml", *requirements(project)}
    if found and lists.isdisjoint(around(place).changes):
        return answer(criterion, None, "the task changes no list of dependencies")
    after: list[Finding] = []
    before: list[Finding] = []
    unasked = ""
    for tool in tools:
        try:
            vulnerable = await _findings(place, tool, criterion.timeout)
        except Missing as error:
            if not found:
                return broken(criterion, str(error))
            unasked = str(error)
        except BadReport as error:
            unasked = f"no advisories to compare with: {error}"
        else:
            after += vulnerable
            before += await _before(place, tool, criterion.timeout) if vulnerable else []
    if unasked and not introduced(before, after):
        return answer(criterion, None, unasked)
    return await _compared(criterion, place, before, after)
