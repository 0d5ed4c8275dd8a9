"""``python -m tests.chaos --runs N --seed S``: exit code 1 if anything was violated."""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

from tests.chaos.run import Report, run_alone


def main() -> int:
    """Runs one after the other, a line for each, and what was measured."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1, help="of the first run; the next has the next")
    parser.add_argument("--tasks", type=int, default=30)
    parser.add_argument("--keep", action="store_true", help="keep the folders of good runs too")
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side")
    asked = parser.parse_args()
    seeds = range(asked.seed, asked.seed + asked.runs)
    reports = []
    with ProcessPoolExecutor(asked.jobs, mp_context=get_context("spawn")) as pool:
        for report in pool.map(partial(run_alone, tasks=asked.tasks, keep=asked.keep), seeds):
            reports.append(report)
            _show(report)
    recovered = [recovery for report in reports for recovery in report.recovered]
    _measured("first new event after", ((r.kind, r.seconds) for r in recovered))
    _measured("take-over after", (pair for report in reports for pair in report.taken))
    interrupted = sum(r.interruptions for r in reports)
    stale = sum(r.refused for r in reports)
    print(f"{interrupted} interruptions, {stale} stale results refused, {sum(r.events for r in reports)} events")
    pressed = sum((report.answers for report in reports), Counter[str]())
    print("people and gates: " + (", ".join(f"{n} {name}" for name, n in sorted(pressed.items())) or "nothing"))
    three, own = sum(report.three for report in reports), sum(report.repository for report in reports)
    held = sum(report.slowed for report in reports)
    print(f"{three} on three servers, {own} on a repository of the user's, {held} writes held up by a slow disk")
    kills = [recovery for recovery in recovered if recovery.kill]
    print(
        f"{sum(r.kills for r in reports)} kills, at least {min(r.kills for r in reports)} a run; "
        f"first new event {_middle([r.seconds for r in kills])} after what was killed was started again, "
        f"{_middle([r.silent for r in kills])} after the kill"
    )
    violations = sum(len(report.violations) for report in reports)
    faults = sum(len(report.faults) for report in reports)
    load = f"load {statistics.median(r.load for r in reports):.1f} on {os.cpu_count()} processors"
    print(f"{load}; {len(reports)} runs, {faults} faults, {violations} violations", flush=True)
    return 1 if violations else 0


def _middle(seconds: list[float]) -> str:
    return f"median {statistics.median(seconds):.2f} s, max {max(seconds):.2f} s" if seconds else "never"


def _show(report: Report) -> None:
    kinds = ", ".join(map(str, report.recovered)) or "nothing struck before the end"
    cast = "engine" if len(report.cast) == 1 else f"{len(report.cast)} services"
    cast += " on three servers" if report.three else ""
    wishes = ", ".join(map(str, report.wishes)) or "nobody asked for anything"
    print(
        f"seed {report.seed}: {cast}, {report.seconds:.1f} s, load {report.load:.0f}, {report.events} events, "
        f"{report.retries} retries, "
        f"{report.interruptions} interruptions; {kinds}; {wishes}",
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
        print(f"{what} {kind}: {len(all_of)} times, {_middle(all_of)}")


if __name__ == "__main__":
    sys.exit(main())
