"""One run: a generated plan, faults, and everything that must hold afterwards."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

from events.log import Recorded
from nightshift.client import Client
from tests.chaos import checks, processes
from tests.chaos.checks_of_branch import of_git, of_source, picture
from tests.chaos.faults import KILLS, Attack, Fault, Recovery, plan_faults, recoveries, takeovers
from tests.chaos.people import People, Wish, plan_wishes
from tests.chaos.plans import Scenario, generate, said
from tests.chaos.three import OnThree
from tests.chaos.world import World, running

LIMIT = 240.0
"""Seconds from the submission within which an execution must have ended."""
REF = 12.0
"""Seconds that the branch in git may be behind the log: whoever moves it may be the last to be killed."""
CASTS = (
    ("planner", "executor-1", "executor-2", "verifier", "projections"),
    ("planner", "executor-1", "executor-2", "verifier", "projections"),
    ("planner-1", "planner-2", "executor-1", "executor-2", "verifier-1", "verifier-2", "projections"),
    ("engine",),
)
ON_THREE = 1 / 12
"""The share of runs that have three servers."""


@dataclass(slots=True)
class Report:
    """What came of a run."""

    seed: int
    cast: tuple[str, ...]
    faults: list[Fault] = field(default_factory=list)
    three: bool = False
    """On a cluster of three servers."""
    wishes: list[Wish] = field(default_factory=list)
    """What people asked for, besides helping what waited for them."""
    answers: Counter[str] = field(default_factory=Counter)
    """Facts by which people were answered, and those of gates."""
    repository: bool = False
    slowed: int = 0
    """Writes of the server's that a slow disk held up."""
    violations: list[str] = field(default_factory=list)
    recovered: list[Recovery] = field(default_factory=list)
    taken: list[tuple[str, float]] = field(default_factory=list)
    interruptions: int = 0
    refused: int = 0
    """StaleResultRefused."""
    retries: int = 0
    events: int = 0
    seconds: float = 0.0
    load: float = 0.0
    """Processes that wanted a processor, on average over the last minute of the run."""
    home: Path | None = None
    """Kept if anything is wrong."""

    @property
    def kills(self) -> int:
        """Faults that are a kill -9."""
        return sum(fault.kind in KILLS for fault in self.faults)


Judge = Callable[[list[Recorded]], Awaitable[list[str]]]
"""Says what is wrong after a run, while everything still runs; it gets the whole log."""


async def run(
    seed: int,
    *,
    tasks: int = 30,
    cast: tuple[str, ...] | None = None,
    keep: bool = False,
    also: Judge | None = None,
    faults: Sequence[Fault] = (),
) -> Report:
    """Run one plan under faults. What is drawn follows from the seed alone; when it happens does not.

    ``faults`` take the place of those that the seed would bring.
    """
    rng = Random(seed)
    three = cast is None and rng.random() < ON_THREE
    cast = cast or rng.choice(CASTS[:-1] if three else CASTS)
    report = Report(seed, cast, three=three)
    place = Path(tempfile.mkdtemp(prefix=f"chaos-{seed}-"))
    home = place / "home"
    scenario = generate(rng, place / "runs", tasks=tasks, people=True)
    report.repository = scenario.repo is not None
    drawn = plan_faults(rng, cast, tasks, cluster=three)
    wishes = plan_wishes(rng, tasks)
    kind = OnThree if three else World
    world = kind(home, services=cast, grace=rng.choice((0.3, 1.0, 5.0)), slots=rng.choice((2, 4, 8)))
    before = picture(scenario.repo)
    history: list[Recorded] = []
    started = time.monotonic()
    try:
        async with running(world):
            history = await _attacked(
                world, scenario, [replace(fault) for fault in faults or drawn], wishes, report, place
            )
            report.violations += await also(history) if also else []
        report.violations += of_source(before, picture(scenario.repo))
        leases = {r.id for r in history if r.name == "TaskStarted"}
        if not processes.gone(lambda: processes.of_tasks(leases), 3.0):
            report.violations.append(f"processes of tasks are left: {processes.of_tasks(leases)}")
        if not processes.gone(lambda: processes.of_home(home), 3.0):
            report.violations.append(f"processes are left: {processes.of_home(home)}")
    except Exception as error:
        report.violations.append(f"the run broke: {type(error).__name__}: {error}")
    report.violations += world.deaths
    report.seconds, report.load = time.monotonic() - started, os.getloadavg()[0]
    if report.violations or keep:
        report.home = place
        (place / "trace.txt").write_text(trace(report, scenario, history or world.history))
    else:
        await asyncio.to_thread(shutil.rmtree, place, ignore_errors=True)
    return report


def run_alone(seed: int, *, tasks: int, keep: bool) -> Report:
    """One run in a process that has nothing else to do."""
    return asyncio.run(run(seed, tasks=tasks, keep=keep))


async def _attacked(
    world: World, scenario: Scenario, faults: list[Fault], wishes: list[Wish], report: Report, place: Path
) -> list[Recorded]:
    client = await Client.open(world.url("operator"), wait=20.0)
    try:
        execution, _ = await client.submit({"plan.json": json.dumps(scenario.plan)}, root="plan.json", actor="chaos")
    finally:
        await client.close()
    people = People(world, scenario, execution, Random(report.seed), wishes)
    attack = Attack(world, faults, lambda: people.over)
    attacking, living = asyncio.create_task(attack.run()), asyncio.create_task(people.live())
    until = time.monotonic() + LIMIT
    while time.monotonic() < until and not (people.over and attacking.done()):
        for task in (attacking, living):
            if task.done():
                task.result()
        world.look()
        await asyncio.sleep(0.05)
    if not people.over:
        report.violations.append(f"not over after {LIMIT:g} s, but {people.fold.state}")
    for task in (attacking, living):
        task.cancel()
    await asyncio.gather(attacking, living, return_exceptions=True)
    report.faults, report.slowed, report.wishes = attack.done, attack.slowed, people.done
    await asyncio.sleep(1.5)  # whoever was stopped says now what it has to say
    world.look()
    await world.serving()
    history = await world.stored()
    await _judge(world, scenario, execution, history, report, place)
    return history


async def _judge(
    world: World, scenario: Scenario, execution: str, history: list[Recorded], report: Report, place: Path
) -> None:
    wrong = checks.of_log(scenario, execution, history)
    wrong += checks.of_seen(world.history, history)
    wrong += checks.of_runs(scenario, history, said(place / "runs"))
    until = time.monotonic() + REF
    while (git := of_git(scenario, world.home, history)) and time.monotonic() < until:  # noqa: ASYNC110
        await asyncio.sleep(0.2)
    wrong += git
    leases = {r.id for r in history if r.name == "TaskStarted"}
    if not await asyncio.to_thread(processes.gone, lambda: processes.of_tasks(leases), 2.0):
        wrong.append(f"processes of tasks live on after the end: {processes.of_tasks(leases)}")
    answer = await world.ask("check")
    wrong += [f"replay --check: {difference}" for difference in _list(answer["differences"])]
    if answer["events"] != len(history):
        wrong.append(f"the projections hold {answer['events']} of {len(history)} events")
    health = await world.ask("health")
    if health["quarantined"]:
        wrong.append(f"{health['quarantined']} messages are quarantined")
    report.violations += wrong
    report.recovered = recoveries(report.faults, history)
    report.taken = takeovers(report.faults, history)
    report.events = len(history)
    report.interruptions = sum(r.name in ("TaskInterrupted", "LeaseExpired") for r in history)
    report.refused = sum(r.name == "StaleResultRefused" for r in history)
    report.answers = Counter(r.name for r in history if r.name in PRESSED)
    report.retries = sum(r.name == "RetryScheduled" for r in history)


def _list(found: object) -> list[object]:
    assert isinstance(found, list)
    return found


PRESSED = frozenset({
    "ExecutionPaused", "ExecutionResumed", "ExecutionReopened", "BranchRolledBack", "BranchReverted", "RevertRefused",
    "TaskTaken", "TaskReturned", "TaskDelivered", "StopPointSet", "ApprovalRecorded", "RequestRefused",
    "TaskGatesJudged", "ExecutionGatesJudged",
})  # fmt: skip
"""What people and gates bring about."""


def trace(report: Report, scenario: Scenario, history: Sequence[Recorded]) -> str:
    """Faults and events by time, for people."""
    rows = [(f.began_ns, f"*** {f} begins (process {f.pid})") for f in report.faults]
    rows += [(f.ended_ns, f"*** {f} ends") for f in report.faults if f.ended_ns]
    rows += [(w.said_ns, f"+++ {w}") for w in report.wishes]
    rows += [(r.at_ns, f"{r.sequence:5} {r.entity:8} {r.name:20} {r.actor} {str(r.fact)[:300]}") for r in history]
    first = min((at for at, _ in rows), default=0)
    lines = [f"seed {report.seed}, {' '.join(report.cast)}", *map(str, scenario.steps), "", *report.violations, ""]
    lines += [f"{(at - first) / 1e9:8.3f} {text}" for at, text in sorted(rows)]
    return "\n".join(lines) + "\n"
