"""``python -m bench.eta``: how far off the time left is, with and without what the learner suggests (docs/learning.md).

A made-up history, seeded: every goal has a duration of its own (median 1 min, log-normal, sigma 1.2), every run of it
varies (sigma 0.35), and is called by one of three names, often for one of several services. So the same title comes
back only sometimes, as in real plans. The plans asked about are new; what really happens is list scheduling.
"""

from __future__ import annotations

import datetime
import heapq
import math
import random
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.goals import GOALS
from projections.estimate import eta
from services.learner.decide import estimate, point_id, similar_of, text_of
from services.learner.embedders import Embedder, choose, minilm_is_installed
from services.learner.memory import Kept, Memory, Position

TENANT = "bench"
EXECUTIONS, PLANS, TASKS, SLOTS = 60, 60, 8, 3
SERVICES = ("", "", " for billing", " for the web shop", " for the mobile app", " for search", " for reporting")
NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


@dataclass(frozen=True, slots=True)
class Job:
    """A task with what it will take."""

    title: str
    description: str
    seconds: float
    needs: tuple[int, ...] = ()


class Past:
    """Draws jobs, always the same ones."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.usual = [60 * math.exp(self.random.gauss(0, 1.2)) for _ in GOALS]

    def job(self, number: int) -> Job:
        """One run of some goal; ``number`` is its place in the plan."""
        goal = self.random.randrange(len(GOALS))
        title, description, *others = GOALS[goal]
        name = self.random.choice((title, *others)) + self.random.choice(SERVICES)
        seconds = self.usual[goal] * math.exp(self.random.gauss(0, 0.35))
        earlier = range(max(0, number - 3), number)
        needs = tuple(n for n in earlier if self.random.random() < 0.4)
        return Job(name, description if name.startswith(title) else "", seconds, needs)

    def plan(self) -> list[Job]:
        """The jobs of one plan."""
        return [self.job(number) for number in range(TASKS)]


def ends(jobs: Sequence[Job]) -> list[float]:
    """When each job ends: whoever is free takes the first that may start."""
    free = [0.0] * SLOTS
    end: dict[int, float] = {}
    for number, job in enumerate(jobs):  # dependencies stand before their dependents
        start = max(heapq.heappop(free), max((end[n] for n in job.needs), default=0.0))
        end[number] = start + job.seconds
        heapq.heappush(free, end[number])
    return [end[number] for number in range(len(jobs))]


def left(jobs: Sequence[Job], at: float, means: Mapping[str, float], suggested: Sequence[float | None]) -> float | None:
    """What the engine would say is left, ``at`` seconds after the start, by its own function."""
    ended = ends(jobs)
    rows: list[dict[str, Any]] = []
    for number, job in enumerate(jobs):
        began = ended[number] - job.seconds
        state = "verified" if ended[number] <= at else "running" if began <= at else "pending"
        rows.append(
            {
                "task": str(number), "title": job.title, "state": state, "estimate": None,
                "seconds": job.seconds if state == "verified" else None, "suggested": suggested[number],
                "started_at": NOW + datetime.timedelta(seconds=began) if began <= at else None,
                "needs": [str(n) for n in job.needs],
            }
        )  # fmt: skip
    known = {title: means[title] for title in {job.title for job in jobs} if title in means}
    run = {"state": "running", "max_parallel": SLOTS}
    return eta(run, rows, lambda titles: known, NOW + datetime.timedelta(seconds=at))


def remember(memory: Memory, history: Sequence[Sequence[Job]]) -> None:
    """Every job of the history as a lesson."""
    for number, jobs in enumerate(history):
        execution = f"0192f0c1-0000-7000-8000-{number:012d}"
        memory.keep(
            [
                Kept(
                    point_id(TENANT, execution, str(n), 1),
                    text_of(job.title, job.description, "verified"),
                    {
                        "tenant": TENANT, "execution_id": execution, "task": str(n), "attempt": 1, "success": True,
                        "task_title": job.title, "duration_seconds": job.seconds, "commands": [], "errors": [],
                        "timestamp": "",
                    },
                )
                for n, job in enumerate(jobs)
            ],
            Position("bench", number),
        )  # fmt: skip


def report(
    name: str, plans: Sequence[Sequence[Job]], means: Mapping[str, float], hints: list[list[float | None]]
) -> None:
    """One row for the beginning, one for when a quarter of the time has passed."""
    for moment, share in (("at the start", 0.0), ("after a quarter", 0.25)):
        errors, factors = [], []
        for jobs, suggested in zip(plans, hints, strict=True):
            whole = max(ends(jobs))
            said = left(jobs, share * whole, means, suggested)
            if said is None:
                continue
            true = whole * (1 - share)
            errors.append(abs(said - true) / true)
            factors.append(math.exp(abs(math.log(max(said, 0.1) / true))))
        answered = f"{len(errors) / len(plans):.0%}"
        if errors:
            error, factor = f"{statistics.median(errors):.0%}", f"{statistics.median(factors):.2f}"
            print(f"| {name} | {moment} | {answered} | {error} | {factor} |")
        else:
            print(f"| {name} | {moment} | {answered} | | |")


def suggestions(
    embedder: Embedder, history: Sequence[Sequence[Job]], plans: Sequence[Sequence[Job]]
) -> list[list[float | None]]:
    """What the learner would suggest for every task of every plan."""
    with tempfile.TemporaryDirectory() as folder:
        memory = Memory.open(Path(folder) / "memory", embedder)
        try:
            remember(memory, history)
            found = []
            for jobs in plans:
                hits = memory.similar(TENANT, [text_of(job.title, job.description) for job in jobs])
                found.append([estimate([similar_of(hit.payload, hit.similarity) for hit in each]) for each in hits])
            return found
        finally:
            memory.close()


def main(seed: int = 11) -> None:
    """Print the table."""
    past = Past(seed)
    history = [past.plan() for _ in range(EXECUTIONS)]
    plans = [past.plan() for _ in range(PLANS)]
    by_title: dict[str, list[float]] = defaultdict(list)
    for jobs in history:
        for job in jobs:
            by_title[job.title].append(job.seconds)
    means = {title: statistics.fmean(took) for title, took in by_title.items()}
    seen = sum(job.title in means for jobs in plans for job in jobs) / (PLANS * TASKS)
    print(f"{EXECUTIONS} executions of {TASKS} tasks, {PLANS} new plans; {seen:.0%} of their titles have run before\n")
    print("| durations from | asked | plans with an answer | median error | median factor |")
    print("|---|---|---|---|---|")
    report("equal titles only (before)", plans, means, [[None] * TASKS for _ in plans])
    for name in ("lexical", *(("minilm",) if minilm_is_installed() else ())):
        embedder = choose(name)
        report(f"and similar ones, {embedder.name}", plans, means, suggestions(embedder, history, plans))


if __name__ == "__main__":
    main()
