"""Prefect with the server it starts itself, on SQLite; the amounts are small, for a step takes tens of milliseconds."""

from __future__ import annotations

import asyncio
import sys

from common import PAUSE, RECOVERY, measure, note, true
from prefect import flow, task
from prefect.cache_policies import INPUTS

FOLDER = sys.argv[2]


@task
async def nothing() -> None:
    """A step that does nothing."""


@task
async def process() -> None:
    """A step that runs /bin/true."""
    await true()


@task(persist_result=True, cache_policy=INPUTS)
async def noted(number: int) -> int:
    """A step of W4; its result is kept, so a second run skips it."""
    await asyncio.sleep(PAUSE)
    note(FOLDER, number)
    return number


@flow
async def chain(count: int) -> None:
    """Empty steps, one after the other."""
    for _ in range(count):
        await nothing()


@flow
async def spawn(count: int) -> None:
    """Steps that run a process, one after the other."""
    for _ in range(count):
        await process()


@flow(persist_result=True)
async def recovered() -> None:
    """The chain of W4; nobody starts it again by itself, so the second run is a new one over kept results."""
    for number in range(RECOVERY):
        await noted(number)


async def main() -> None:
    """Measure, or run the chain of W4."""
    if sys.argv[1] == "measure":
        await measure(chain, spawn, plans=10, steps=20, repeats=3)
    else:
        await recovered()


asyncio.run(main())
