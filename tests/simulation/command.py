from __future__ import annotations

import argparse
import contextlib
import logging
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator

from events.log import Recorded
from tests.simulation.adapters import seams
from tests.simulation.world import Complaints, World, _current


@contextlib.contextmanager
def simulating() -> Iterator[None]:
    """The seams in place, and what the services log is listened to."""
    logger = logging.getLogger("services")
    before = (logger.level, logger.propagate, list(logger.handlers))
    logger.setLevel(logging.ERROR)
    logger.propagate = False
    logger.handlers[:] = [Complaints()]
    try:
        with seams():
            yield
    finally:
        logger.level, logger.propagate = before[0], before[1]
        logger.handlers[:] = before[2]


def night(seed: int) -> World:
    """One seed."""
    world = World(seed)
    _current.append(world)
    try:
        world.run()
    finally:
        _current.pop()
    return world


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--n", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--trace", action="store_true")
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args(argv)
    steps = faults = bad = 0
    soft: Counter[str] = Counter()
    began = time.perf_counter()
    with simulating():
        for seed in range(options.seed, options.seed + options.n):
            world = night(seed)
            steps += world.loop.steps
            faults += world.faults.count
            soft.update(world.checker.soft)
            if options.trace:
                show(world)
            if world.violation:
                bad += 1
                print(seed, world.violation)
                if not options.keep:
                    show(world)
                    break
    print(dict(soft), f"{time.perf_counter() - began:.1f} s")
    print(f"{options.n} seeds, {steps} steps, {faults} faults injected, {bad} violations")
    return int(bad > 0)


def show(world: World) -> None:
    for when, what in world.trace:
        if isinstance(what, Recorded):
            print(f"{when:9.3f} {what.sequence:4} {what.execution[-4:]} {what.entity:8} {what.name:20} {what.actor:20} {what.id[:8]} {str(what.fact)[:150]}")
        else:
            print(f"{when:9.3f}      {what}")


__all__ = ["sys", "traceback"]
