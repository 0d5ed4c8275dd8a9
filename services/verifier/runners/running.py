"""One run of one runner on some test files of a checkout: how it is called, and how its report is read."""

from __future__ import annotations

import asyncio
import json
import posixpath
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from schemas.values import value
from services.verifier.runners import readers
from services.verifier.runners.junit import read_junit
from services.verifier.runners.report import BadReport, Case, Report, joined
from services.verifier.runners.tools import (
    Missing,
    Ran,
    fresh_folder,
    link_modules,
    program,
    python_with,
    run_tool,
)

if TYPE_CHECKING:
    from services.verifier.checks import Place

HERE = Path(__file__).parent
REMEDIES = {
    "pytest": "install it in the project's .venv, or put a Python that has it first on PATH",
    "unittest": "put a python3 on PATH",
    "coverage": "install coverage in the same environment as the tests",
    "node": "put node 20 or newer on PATH",
    "vitest": "run npm install in the project, or put vitest on PATH",
    "jest": "run npm install in the project, or put jest on PATH",
    "cargo": "put cargo on PATH",
    "go": "put go on PATH",
}

_BROKE_OFF = 87
_GUARD = (
    "data:text/javascript,let drained=false;process.on('beforeExit',()=>{drained=true});"
    f"process.on('exit',(code)=>{{if(!drained%26%26code===0)process.exitCode={_BROKE_OFF}}})"
)
"""Node's runner takes exit code 0 of a test file for success, also where process.exit(0) left tests out. With this a
process that did not end by itself fails."""


@value
class Job:
    """What to run, and where."""

    runner: str
    folder: str
    """Relative to the checkout: where the runner is started."""
    files: tuple[str, ...]
    """Test files relative to the folder; none: whatever the runner finds."""
    coverage: bool = False
    pytest_cov: bool = False
    """The project's own options start the coverage, through pytest-cov."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """What came of a job."""

    job: Job
    report: Report | None
    reason: str = ""
    """Why there is no report, or why a good one does not count."""
    exit_code: int | None = None
    output: bytes = b""
    argv: tuple[str, ...] = field(default=())


async def run_job(place: Place, root: Path, job: Job, seconds: float) -> Run:
    """Run it. Raises Missing if the runner is not there; everything else is a run without a good report."""
    return await _RUNNERS[job.runner](place, root / job.folder, job, seconds)


def _run(job: Job, argv: tuple[str, ...], ran: Ran, read: Callable[[], Report | None]) -> Run:
    """Read the report, and hold the exit code against it."""
    common = {"job": job, "exit_code": ran.exit_code, "output": ran.output, "argv": argv}
    report, reason = None, ran.trouble
    try:
        found = read()
        report = None if found is None else replace(found, seconds=ran.seconds)
    except BadReport as error:
        reason = reason or f"the report of {job.runner} does not count: {error}"
    if not reason and report is None:
        said = f": {ran.last}" if ran.last else ""
        reason = f"{job.runner} ended with exit code {ran.exit_code} and no report: no test is known to have run{said}"
    failed = report is not None and report.count("failed") > 0
    if not reason and ran.exit_code != 0 and not failed and report is not None and report.cases:
        reason = f"{job.runner} ended with exit code {ran.exit_code}, though its report has no failed test: {ran.last}"
    return Run(report=report, reason=reason, **common)  # type: ignore[arg-type]


async def _pytest(place: Place, root: Path, job: Job, seconds: float) -> Run:
    interpreter = await _python(place, "pytest", *(("coverage",) if job.coverage else ()))
    folder = fresh_folder(place)
    xml, percent = folder / "junit.xml", folder / "coverage"
    own = job.coverage and job.pytest_cov
    argv = (
        str(interpreter), "-c", (HERE / "driver_pytest.py").read_text(),
        str(percent) if job.coverage and not own else "-",
        "-o", "junit_family=xunit1", f"--junitxml={xml}",
        *((f"--cov-report=json:{percent}",) if own else ()),
        *job.files,
    )  # fmt: skip
    ran = await run_tool(place, argv, cwd=root, seconds=seconds)

    def read() -> Report | None:
        raw = readers.read_file(xml)
        return None if raw is None else Report(cases=read_junit(raw), coverage=_percent(percent))

    return await asyncio.to_thread(_run, job, _shown(argv, "pytest"), ran, read)


def _percent(path: Path) -> float | None:
    """What coverage.py gave: a number, or its JSON."""
    raw = readers.read_file(path)
    found = readers.load(raw) if raw else None
    if isinstance(found, dict):
        totals = found.get("totals")
        found = totals.get("percent_covered") if isinstance(totals, dict) else None
    percent = readers.number(found)
    return None if percent is None else round(percent, 2)


async def _unittest(place: Place, root: Path, job: Job, seconds: float) -> Run:
    interpreter = await _python(place, "unittest", *(("coverage",) if job.coverage else ()))
    path = fresh_folder(place) / "report.json"
    argv = (
        str(interpreter), "-c", (HERE / "driver_unittest.py").read_text(), str(path), "1" if job.coverage else "0",
        *job.files,
    )  # fmt: skip
    ran = await run_tool(place, argv, cwd=root, seconds=seconds)

    def read() -> Report | None:
        raw = readers.read_file(path)
        if raw is None:
            return None
        cases, percent = readers.read_cases(raw)
        return Report(cases=cases, coverage=None if percent is None else round(percent, 2))

    return await asyncio.to_thread(_run, job, _shown(argv, "unittest"), ran, read)


async def _node(place: Place, root: Path, job: Job, seconds: float) -> Run:
    node, folder = _program(place, "node"), fresh_folder(place)
    xml, lcov = folder / "junit.xml", folder / "lcov"
    link_modules(place)
    measured = (
        ("--experimental-test-coverage", "--test-reporter=lcov", f"--test-reporter-destination={lcov}")
        if job.coverage else ()
    )  # fmt: skip
    argv = (
        str(node), "--import", _GUARD, "--test", "--test-reporter=junit", f"--test-reporter-destination={xml}",
        "--test-reporter=spec", "--test-reporter-destination=stdout", *measured, *job.files,
    )  # fmt: skip
    ran = await run_tool(place, argv, cwd=root, seconds=seconds)

    def read() -> Report | None:
        raw, covered = readers.read_file(xml), readers.read_file(lcov)
        if raw is None:
            return None
        cases = tuple(_no_test(case, root, job.files) for case in read_junit(raw))
        return Report(cases=cases, coverage=readers.read_lcov(covered) if covered else None)

    return await asyncio.to_thread(_run, job, argv, ran, read)


def _no_test(case: Case, root: Path, files: tuple[str, ...]) -> Case:
    """A file in which no test is declared is reported as one that passed, and one that broke off without a reason."""
    if case.outcome == "failed" and f"exitCode: {_BROKE_OFF}" in case.stack:
        return replace(case, error="it called process.exit before its tests had ended, so some may not have run")
    if case.outcome == "passed" and (case.name in files or Path(case.name) in {(root / f).resolve() for f in files}):
        return replace(case, outcome="failed", error="it ended without any test")
    return case


async def _vitest(place: Place, root: Path, job: Job, seconds: float) -> Run:
    vitest, folder = _program(place, "vitest"), fresh_folder(place)
    xml = folder / "junit.xml"
    link_modules(place)
    measured = ("--coverage", "--coverage.reporter=json-summary", f"--coverage.reportsDirectory={folder}")
    argv = (
        str(vitest), "run", "--reporter=default", "--reporter=junit", f"--outputFile.junit={xml}",
        *(measured if job.coverage else ()), *job.files,
    )  # fmt: skip
    ran = await run_tool(place, argv, cwd=root, seconds=seconds, env={"CI": "true"})

    def read() -> Report | None:
        raw = readers.read_file(xml)
        return None if raw is None else Report(cases=read_junit(raw), coverage=_summary(folder))

    return await asyncio.to_thread(_run, job, argv, ran, read)


async def _jest(place: Place, root: Path, job: Job, seconds: float) -> Run:
    jest, folder = _program(place, "jest"), fresh_folder(place)
    path = folder / "report.json"
    link_modules(place)
    measured = ("--coverage", "--coverageReporters=json-summary", f"--coverageDirectory={folder}")
    argv = (
        str(jest), "--ci", "--json", f"--outputFile={path}", *(measured if job.coverage else ()),
        *(("--runTestsByPath", *job.files) if job.files else ()),
    )  # fmt: skip
    ran = await run_tool(place, argv, cwd=root, seconds=seconds, env={"CI": "true"})

    def read() -> Report | None:
        raw = readers.read_file(path)
        return None if raw is None else Report(cases=readers.read_jest(raw), coverage=_summary(folder))

    return await asyncio.to_thread(_run, job, argv, ran, read)


def _summary(folder: Path) -> float | None:
    raw = readers.read_file(folder / "coverage-summary.json")
    return readers.read_summary(raw) if raw else None


async def _go(place: Place, root: Path, job: Job, seconds: float) -> Run:
    go, folder = _program(place, "go"), fresh_folder(place)
    profile = folder / "cover"
    packages = sorted({"./" + posixpath.dirname(path) for path in job.files}) or ["./..."]
    measured = (f"-coverprofile={profile}",) if job.coverage else ()
    argv = (str(go), "test", "-json", "-count=1", *measured, *packages)
    caches = {"GOCACHE": str(folder / "cache"), "GOTMPDIR": str(folder)}
    ran = await run_tool(place, argv, cwd=root, seconds=seconds, env=caches)

    def read() -> Report | None:
        cases, covered = readers.read_go(ran.output.splitlines()), readers.read_file(profile)
        return Report(cases=cases, coverage=readers.read_go_cover(covered) if covered else None)

    return await asyncio.to_thread(_run, job, argv, ran, read)


async def _cargo(place: Place, root: Path, job: Job, seconds: float) -> Run:
    """Build, then run each test program with a log of its own: what is printed can be forged by printing."""
    end = time.monotonic() + seconds
    cargo, folder = _program(place, "cargo"), fresh_folder(place)
    env = {"CARGO_TARGET_DIR": str(folder / "target"), **_rust_homes(cargo, place)}
    names = sorted({posixpath.basename(p).removesuffix(".rs") for p in job.files if posixpath.dirname(p) == "tests"})
    targets = tuple(word for name in names for word in ("--test", name)) if len(names) == len(job.files) else ()
    argv = (str(cargo), "test", "--no-run", "--message-format=json", *targets)
    built = await run_tool(place, argv, cwd=root, seconds=seconds, env=env)
    output, reports, exit_code, reason = [built.output], [], built.exit_code, built.trouble
    if built.exit_code != 0 and not reason:
        errors = [line for line in built.text.splitlines() if line.startswith("error")]
        reason = f"cargo does not build the tests: {errors[0] if errors else built.last}"
    for number, binary in enumerate(_executables(built.output) if not reason else ()):
        log = folder / f"log-{number}"
        left = max(end - time.monotonic(), 1.0)
        listed = await run_tool(place, (binary, "--list", "--format", "terse"), cwd=root, seconds=left, env=env)
        ran = await run_tool(place, (binary, f"--logfile={log}"), cwd=root, seconds=left, env=env)
        output.append(ran.output)
        reason = reason or ran.trouble
        cases = readers.read_libtest(listed.text, readers.read_file(log) or b"", ran.text)
        program_name = re.sub(r"-[0-9a-f]{16}$", "", posixpath.basename(binary))
        if ran.exit_code != 0:
            exit_code = ran.exit_code
            if not any(case.outcome == "failed" for case in cases):
                cases = (*cases, Case(name=program_name, outcome="failed", error=f"exit code {ran.exit_code}"))
        cases = tuple(replace(case, name=f"{program_name}::{case.name}") for case in cases)
        reports.append(Report(cases=cases, seconds=ran.seconds))
    report = joined(reports) if reports else None
    if report is None and not reason:
        reason = "cargo built no test program"
    return Run(job=job, report=report, reason=reason, exit_code=exit_code, output=b"".join(output), argv=argv)


def _executables(output: bytes) -> list[str]:
    found = []
    for line in output.splitlines():
        if line.startswith(b"{"):
            try:
                message = json.loads(line)
            except ValueError:
                continue
            if isinstance(message, dict) and isinstance(message.get("executable"), str):
                found.append(message["executable"])
    return found


def _rust_homes(cargo: Path, place: Place) -> dict[str, str]:
    """Where rustup keeps toolchains and downloads: beside cargo, for HOME is another one here."""
    if cargo.parent.parent.name != ".cargo":
        return {}
    homes = {"CARGO_HOME": cargo.parent.parent, "RUSTUP_HOME": cargo.parent.parent.parent / ".rustup"}
    return {name: str(path) for name, path in homes.items() if name not in place.env and path.is_dir()}


async def _python(place: Place, *modules: str) -> Path:
    found = await python_with(place, *modules)
    if found is None:
        raise Missing(f"{' with '.join(modules)} is not there: {REMEDIES[modules[-1]]}")
    return found


def _program(place: Place, name: str) -> Path:
    found = program(place, name)
    if found is None:
        raise Missing(f"{name} is not there: {REMEDIES[name]}")
    return found


def _shown(argv: tuple[str, ...], module: str) -> tuple[str, ...]:
    """The command for people: the driver's text left out."""
    return (argv[0], f"<{module}>", *argv[3:])


_RUNNERS: dict[str, Callable[[Place, Path, Job, float], Awaitable[Run]]] = {
    "pytest": _pytest, "unittest": _unittest, "node": _node, "vitest": _vitest, "jest": _jest, "cargo": _cargo,
    "go": _go,
}  # fmt: skip
