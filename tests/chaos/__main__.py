"""``python -m tests.chaos --runs N --seed S``: exit code 1 if anything was violated."""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterable

from tests.chaos.run import Report, run


def main() -> int:
    """Runs one after the other, a line for each, and what was measured."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1, help="of the first run; the next has the next")
    parser.add_argument("--tasks", type=int, default=30)
    parser.add_argument("--keep", action="store_true", help="keep the folders of good runs too")
    asked = parser.parse_args()
    reports = []
    for seed in range(asked.seed, asked.seed + asked.runs):
        report = asyncio.run(run(seed, tasks=asked.tasks, keep=asked.keep))
        reports.append(report)
        _show(report)
    _measured("recovery", (pair for report in reports for pair in report.recovered))
    _measured("take-over", (pair for report in reports for pair in report.taken))
    interrupted = sum(r.interruptions for r in reports)
    stale = sum(r.refused for r in reports)
    print(f"{interrupted} interruptions, {stale} stale results refused, {sum(r.events for r in reports)} events")
    seconds = [s for report in reports for _, s in report.recovered]
    middle = f"{statistics.median(seconds):.2f} s, max {max(seconds):.2f} s" if seconds else "-, max -"
    violations = sum(len(report.violations) for report in reports)
    faults = sum(len(report.faults) for report in reports)
    print(f"{len(reports)} runs, {faults} faults, {violations} violations, recovery median {middle}", flush=True)
    return 1 if violations else 0


def _show(report: Report) -> None:
    kinds = ", ".join(f"{f.kind} {f.victim}" if f.kind != f.victim else f.kind for f in report.faults)
    cast = "engine" if len(report.cast) == 1 else f"{len(report.cast)} services"
    print(
        f"seed {report.seed}: {cast}, {report.seconds:.1f} s, {report.events} events, {report.retries} retries, "
        f"{report.interruptions} interruptions; {kinds}",
        flush=True,
    )
    for violation in report.violations:
        print(f"  VIOLATION {violation}", flush=True)
    if report.home is not None:
        print(f"  kept: {report.home}", flush=True)


def _measured(what: str, pairs: Iterable[tuple[str, float]]) -> None:
    by_kind: dict[str, list[float]] = defaultdict(list)
    for kind, seconds in pairs:
        by_kind[kind].append(seconds)
    for kind, all_of in sorted(by_kind.items()):
        middle, most = statistics.median(all_of), max(all_of)
        print(f"{what} after {kind}: {len(all_of)} times, median {middle:.2f} s, max {most:.2f} s")


if __name__ == "__main__":
    sys.exit(main())
