"""What a run of tests reported (TestResult of the contract), and when that is a yes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from events.parts import CountedTests
from schemas.values import value

MAX_FAILURES = 200
"""Failures that are kept in the evidence; all are counted."""
MAX_TEXT = 8_000
"""Characters of one error or stack that are kept."""
NAMED = 3
"""Failures that are named in the detail of a result."""


class BadReport(ValueError):
    """A report cannot be read, so it says nothing."""


@value
class Case:
    """One test and what became of it."""

    name: str
    outcome: Literal["passed", "failed", "skipped"]
    error: str = ""
    stack: str = ""
    seconds: float = 0.0


@value
class Report:
    """What the tests gave."""

    cases: tuple[Case, ...]
    seconds: float = 0.0
    """As measured from outside."""
    coverage: float | None = None
    """Per cent of the lines; None where nobody measured it."""

    def count(self, outcome: str) -> int:
        """How many tests ended so."""
        return sum(case.outcome == outcome for case in self.cases)

    def numbers(self, runner: str) -> CountedTests:
        """The counts, without the tests."""
        return CountedTests(
            runner=runner, total=len(self.cases), passed=self.count("passed"), failed=self.count("failed"),
            skipped=self.count("skipped"), seconds=round(self.seconds, 6), coverage=self.coverage,
        )  # fmt: skip


def joined(reports: Iterable[Report]) -> Report:
    """Several runs as one. A coverage is given only if there is one of them that measured it."""
    every = list(reports)
    measured = [r.coverage for r in every if r.coverage is not None]
    return Report(
        cases=tuple(case for r in every for case in r.cases),
        seconds=sum(r.seconds for r in every),
        coverage=measured[0] if len(measured) == 1 else None,
    )


def verdict(report: Report) -> tuple[bool, str]:
    """Whether it is a success, and why not. Skipped tests are no tests: if all are, nothing was run."""
    failed, skipped = report.count("failed"), report.count("skipped")
    run = len(report.cases) - skipped
    if run == 0:
        return False, "no test was run" + (f" ({skipped} skipped)" if skipped else "")
    if failed:
        bad = [case for case in report.cases if case.outcome == "failed"]
        named = "; ".join(f"{c.name[:120]}: {_first_line(c.error)}" for c in bad[:NAMED])
        return False, f"{failed} of {run} tests failed: {named}" + ("; …" if failed > NAMED else "")
    return True, f"{run} tests passed" + (f", {skipped} skipped" if skipped else "")


def document(report: Report, *, passed: bool, **more: Any) -> dict[str, Any]:
    """The evidence: the contract's TestResult, with what was run and what it printed."""
    bad = [case for case in report.cases if case.outcome == "failed"]
    failures = [{"test": c.name, "error": c.error[:MAX_TEXT], "stack": c.stack[:MAX_TEXT]} for c in bad[:MAX_FAILURES]]
    return {
        "passed": passed,
        "totalTests": len(report.cases),
        "passedTests": report.count("passed"),
        "failedTests": len(bad),
        "skippedTests": report.count("skipped"),
        "duration": round(report.seconds, 6),
        "coverage": report.coverage,
        "failures": failures,
        "tests": [[c.name, c.outcome, round(c.seconds, 6)] for c in report.cases[:10_000]],
        **more,
    }


def _first_line(text: str) -> str:
    return next((line.strip()[:160] for line in text.splitlines() if line.strip()), "no reason given")
