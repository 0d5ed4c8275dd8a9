"""Running nights and telling about them."""

from __future__ import annotations

import argparse
import contextlib
import logging
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

from events.log import Recorded
from tests.simulation.adapters import seams
from tests.simulation.mutations import MUTATIONS
from tests.simulation.world import Complaints, World, _current

BLOCK = 50
"""Seeds that one worker takes at a time."""


@dataclass
class Tally:
    """What many nights came to."""

    seeds: int = 0
    executions: int = 0
    steps: int = 0
    faults: int = 0
    violations: list[tuple[int, str]] = field(default_factory=list)
    soft: Counter[str] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        """Together."""
        self.seeds += other.seeds
        self.executions += other.executions
        self.steps += other.steps
        self.faults += other.faults
        self.violations += other.violations
        self.soft += other.soft


@contextlib.contextmanager
def simulating(mutation: str = "") -> Iterator[None]:
    """The seams in place, a bug planted if one is named, and what the services log is listened to."""
    logger = logging.getLogger("services")
    level, propagate, handlers = logger.level, logger.propagate, list(logger.handlers)
    logger.setLevel(logging.ERROR)
    logger.propagate = False
    logger.handlers[:] = [Complaints()]
    try:
        with seams(), MUTATIONS[mutation]() if mutation else contextlib.nullcontext():
            yield
    finally:
        logger.setLevel(level)
        logger.propagate = propagate
        logger.handlers[:] = handlers


def night(seed: int) -> World:
    """One seed, with everything that happened in it. To be called while ``simulating``."""
    world = World(seed)
    _current.append(world)
    try:
        world.run()
    finally:
        _current.pop()
    return world


def nights(first: int, count: int, mutation: str = "", *, all_of_them: bool = False) -> Tally:
    """Consecutive seeds, up to the first violation."""
    tally = Tally()
    with simulating(mutation):
        for seed in range(first, first + count):
            world = night(seed)
            tally.seeds += 1
            tally.executions += len(world.plans)
            tally.steps += world.loop.steps
            tally.faults += world.faults.count
            tally.soft.update(world.checker.soft)
            if world.violation is not None:
                tally.violations.append((seed, world.violation))
                if not all_of_them:
                    break
    return tally


def spread(first: int, count: int, mutation: str, jobs: int) -> Tally:
    """The same on several processors; blocks of seeds are added up in their order."""
    tally = Tally()
    blocks = [(n, min(BLOCK, first + count - n)) for n in range(first, first + count, BLOCK)]
    with ProcessPoolExecutor(jobs) as pool:
        for part in pool.map(_block, [(start, size, mutation) for start, size in blocks]):
            tally.add(part)
    return tally


def _block(what: tuple[int, int, str]) -> Tally:
    return nights(*what, all_of_them=True)


def trace(world: World, execution: str | None = None) -> str:
    """The log with the faults between its lines; of one execution, if it is named."""
    lines = []
    for when, what in world.trace:
        if isinstance(what, str):
            lines.append(f"{when:9.3f}      {what}")
        elif execution in (None, what.execution):
            lines.append(f"{when:9.3f} {_line(what)}")
    return "\n".join(lines) + "\n"


def _line(recorded: Recorded) -> str:
    said = "" if recorded.name == "PlanAccepted" else str(recorded.fact).partition("(")[2][:110]
    where = f"{recorded.sequence:4} {recorded.execution[-4:]} {recorded.entity:7} {recorded.name:19}"
    return f"{where} {recorded.id[:8]:8} {recorded.actor:18} {said}"


def show_plan(world: World) -> str:
    """The plan of the failing execution, in a few words."""
    plan = world.plans.get(world.blamed)
    tasks = [f"{t.id}(needs {','.join(t.needs) or '-'})" for t in plan.tasks] if plan else []
    return f"plan: {' '.join(tasks)}; {plan.policy if plan else ''}"


def table_of_mutations(most: int, first: int) -> list[tuple[str, int | None, str]]:
    """For each planted bug how many seeds it took to find it, and as what."""
    rows: list[tuple[str, int | None, str]] = []
    for name in MUTATIONS:
        found = nights(first, most, name)
        rows.append((name, found.seeds, found.violations[0][1]) if found.violations else (name, None, "not found"))
    return rows


def main(argv: list[str] | None = None) -> int:
    """The command line. Exit code 1 if an invariant did not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--n", type=int, default=1, help="how many seeds")
    parser.add_argument("--seed", type=int, default=1, help="the first one")
    parser.add_argument("--jobs", type=int, default=1, help="processors; then all seeds are run, whatever fails")
    parser.add_argument("--mutation", choices=sorted(MUTATIONS), default="", help="plant this bug")
    parser.add_argument("--mutations", action="store_true", help="how many seeds each planted bug takes")
    parser.add_argument("--trace", action="store_true", help="print the whole trace of one seed")
    options = parser.parse_args(argv)
    if options.mutations:
        rows = table_of_mutations(max(options.n, 1000), options.seed)
        for name, seeds, text in rows:
            _tell(f"{name:22} {seeds if seeds is not None else '-':>5}  {text[:110]}")
        return int(any(seeds is None for _, seeds, _ in rows))
    began = time.perf_counter()
    if options.jobs > 1:
        tally = spread(options.seed, options.n, options.mutation, options.jobs)
    else:
        tally = nights(options.seed, options.n, options.mutation)
    seconds = time.perf_counter() - began
    if options.trace and not tally.violations:
        with simulating(options.mutation):
            sys.stdout.write(trace(night(options.seed)))
    for text, times in sorted(tally.soft.items()):
        _tell(f"seen {times} times: {text}")
    for seed, text in tally.violations[1:]:
        _tell(f"seed {seed}: {text}")
    if tally.violations:
        explain(tally.violations[0][0], options.mutation)
    _tell(f"{tally.executions} executions, {tally.executions / max(seconds, 1e-9):.0f} a second")
    bad = len(tally.violations)
    _tell(f"{tally.seeds} seeds, {tally.steps} steps, {tally.faults} faults injected, {bad} violations")
    return int(bool(tally.violations))


def _tell(text: str) -> None:
    sys.stdout.write(text + "\n")


def explain(seed: int, mutation: str) -> None:
    """A failing seed: its trace, only the failing execution, and how to see it again."""
    with simulating(mutation):
        world = night(seed)
    _tell(show_plan(world))
    sys.stdout.write(trace(world, world.blamed))
    _tell(f"seed {seed}: {world.violation}")
    planted = f" --mutation {mutation}" if mutation else ""
    _tell(f"again: python -m tests.simulation --n 1 --seed {seed}{planted}")
