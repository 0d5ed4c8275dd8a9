"""The criterion ``tests``: find what belongs to the task, run it, and say how it went, in numbers and with evidence."""

from __future__ import annotations

import asyncio
import posixpath
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from events.verdict import Result
from schemas.targets import BadTarget, Measured, read_target
from schemas.values import Criterion
from services.verifier.runners.around import Around, around
from services.verifier.runners.find import Language, Selection, belonging, kind_of, matching, tests_among
from services.verifier.runners.project import Project, runner_of
from services.verifier.runners.report import Report, document, joined, verdict
from services.verifier.runners.results import answer, broken, keep
from services.verifier.runners.running import Job, Run, run_job

if TYPE_CHECKING:
    from services.verifier.checks import Place

MAX_OUTPUT = 64 * 1024
"""Bytes of what a runner printed, from its end, that are kept in the evidence."""
_COV = re.compile(r"""addopts(?s:.){0,2000}?--cov(?=[=\s'"\]]|$)""")
_RUNS: dict[str, Language] = {
    "pytest": "python", "unittest": "python", "node": "javascript", "vitest": "javascript", "jest": "javascript",
    "cargo": "rust", "go": "go",
}  # fmt: skip


async def tests(criterion: Criterion, place: Place) -> Result:
    """Run the tests that the criterion names. No test, no report, or one that cannot be read is a no."""
    surroundings = around(place)
    project = Project(place.files)
    found = await asyncio.to_thread(lambda: tests_among(project.files))
    gone = sorted(path for path in tests_among(surroundings.changes) if surroundings.changes[path] == "D")
    selection = _select(criterion, found, project, surroundings)
    covered = (criterion.target or "").strip().startswith("coverage")
    jobs = _jobs(project, selection, criterion.runner, coverage=covered)
    if not jobs:
        if gone:
            detail = f"no test was run: the task took away {', '.join(gone[:3])}"
        elif criterion.tests in (None, "auto"):
            detail = "no test was run: the project has none; add tests, or take the criterion away"
        else:
            detail = f"no test was run: nothing is called {criterion.tests!r}"
        return broken(criterion, detail)
    runs = await _run_all(place, place.files, jobs, criterion.timeout)
    return await _judge(criterion, place, selection, runs, gone)


def _select(criterion: Criterion, found: dict[str, Language], project: Project, about: Around) -> Selection:
    """The tests; those of another language than the runner's are left out where one is named."""
    wanted = _RUNS[criterion.runner] if criterion.runner else None
    of_runner = [path for path, language in found.items() if wanted in (None, language)]
    if criterion.tests not in (None, "auto"):
        files = matching(of_runner, project.files, criterion.tests or "")
        return Selection(files=files, why=f"by {criterion.tests}")
    changed = [path for path, status in about.changes.items() if status != "D"]
    return belonging(of_runner, title=about.title, plan=about.plan, changed=changed, named=about.files)


def _jobs(project: Project, selection: Selection, runner: str | None, *, coverage: bool) -> list[Job]:
    """One job for each runner and folder. Raises ValueError where nothing says what runs a test."""
    groups: dict[tuple[str, str], list[str]] = {}
    by_folder: dict[tuple[Language, str], list[str]] = {}
    found = tests_among(selection.files)
    for path in selection.files:
        language = found.get(path) or (_RUNS[runner] if runner else None)
        if language is None:
            raise ValueError(f"nothing says what runs {path}: name the runner")
        by_folder.setdefault((language, project.folder_of(path, language)), []).append(path)
    for (language, folder), files in by_folder.items():
        name = runner or runner_of(project, language, folder, files)
        if name is None:
            where = posixpath.join(folder, "package.json")
            raise ValueError(f"{where} names neither vitest nor jest nor node --test: name the runner in the criterion")
        groups.setdefault((name, folder), []).extend(files)
    own = any(_COV.search(project.text(path)) for path in ("pyproject.toml", "pytest.ini", "setup.cfg", "tox.ini"))
    return [
        Job(
            runner=name, folder=folder, coverage=coverage, pytest_cov=own,
            files=tuple(_argument(posixpath.relpath(path, folder or ".")) for path in files),
        )
        for (name, folder), files in groups.items()
    ]  # fmt: skip


def _argument(path: str) -> str:
    """A path that no runner takes for an option."""
    return f"./{path}" if path.startswith("-") else path


async def run_everything(place: Place, root: Path, seconds: float) -> tuple[Report, str, str]:
    """All tests of a checkout with coverage: the report, what is wrong with it, and the runners. Raises Missing."""
    project = Project(root)
    found = await asyncio.to_thread(lambda: tests_among(project.files))
    jobs = _jobs(project, Selection(files=tuple(found), why=""), None, coverage=True)
    runs = await _run_all(place, root, jobs, seconds)
    report, passed, detail = _outcome(runs)
    return report, "" if passed else detail, _runners(runs)


async def _run_all(place: Place, root: Path, jobs: list[Job], seconds: float) -> list[Run]:
    """One after the other; ``seconds`` are for all of them."""
    end = time.monotonic() + seconds
    return [await run_job(place, root, job, max(end - time.monotonic(), 1.0)) for job in jobs]


def _outcome(runs: list[Run]) -> tuple[Report, bool, str]:
    """Several runs as one, and whether that is a success."""
    report = joined(run.report for run in runs if run.report is not None)
    reasons = [run.reason for run in runs if run.reason]
    empty = [run.job.runner for run in runs if run.report is not None and not run.report.cases and not run.reason]
    if reasons:
        return report, False, reasons[0]
    if empty:
        return report, False, f"no test was run by {empty[0]}"
    return report, *verdict(report)


def _runners(runs: list[Run]) -> str:
    return "+".join(dict.fromkeys(run.job.runner for run in runs))


async def _judge(criterion: Criterion, place: Place, selection: Selection, runs: list[Run], gone: list[str]) -> Result:
    report, passed, detail = _outcome(runs)
    measured = None
    if passed and criterion.target is not None:
        passed, said, measured = compare(criterion.target, report)
        detail = f"{detail}; {said}"
    runner = _runners(runs)
    evidence = document(
        report, passed=passed, detail=detail, runner=runner, selected=list(selection.files), why=selection.why,
        kinds=sorted({kind_of(path) for path in selection.files} - {""}),
        runs=[
            {"runner": r.job.runner, "folder": r.job.folder, "command": r.argv, "exit_code": r.exit_code,
             "output": r.output[-MAX_OUTPUT:].decode("utf-8", "replace")}
            for r in runs
        ],
    )  # fmt: skip
    detail = f"{detail} ({'all' if selection.everything else len(selection.files)} files, {selection.why})"
    if gone:
        detail += f"; the task took away {', '.join(gone[:3])}"
    proved = passed or report.count("failed") > 0 or measured is not None
    result = answer(criterion, passed, detail) if proved else broken(criterion, detail)
    exit_code = next((run.exit_code for run in runs if run.exit_code), runs[0].exit_code)
    return replace(
        result,
        exit_code=exit_code,
        evidence=await keep(place, evidence),
        tests=report.numbers(runner),
        measured=None if measured is None else str(measured),
    )


def compare(text: str, report: Report) -> tuple[bool, str, Measured | None]:
    """Hold a target such as ``coverage>=80%`` against the numbers of a report."""
    try:
        target = read_target(text)
        counts = report.numbers("")
        known: dict[str, float | None] = {
            "coverage": counts.coverage, "total": counts.total, "passed": counts.passed, "failed": counts.failed,
            "skipped": counts.skipped, "seconds": counts.seconds, "duration": counts.seconds,
        }  # fmt: skip
        if target.name not in known:
            return False, f"the target names none of {', '.join(known)}", None
        number = known[target.name]
        if number is None:
            return False, f"{target.name} was not measured, so {text} does not hold", None
        units = {"coverage": "%", "seconds": "s", "duration": "s"}
        measured = Measured(number=number, unit=units.get(target.name, ""))
        if target.holds(measured):
            return True, f"{target.name} is {measured}", measured
        return False, f"{target.name} is {measured}, not {text}", measured
    except BadTarget as error:
        return False, str(error), None
