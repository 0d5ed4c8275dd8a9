"""DBOS on SQLite: one process, a step is one row."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from common import PAUSE, RECOVERY, measure, note, true
from dbos import DBOS, DBOSConfig, SetWorkflowID

FOLDER = sys.argv[2]


@DBOS.step()
async def nothing() -> None:
    """A step that does nothing."""


@DBOS.step()
async def process() -> None:
    """A step that runs /bin/true."""
    await true()


@DBOS.step()
async def noted(number: int) -> None:
    """A step of W4."""
    await asyncio.sleep(PAUSE)
    note(FOLDER, number)


@DBOS.workflow()
async def chain(count: int) -> None:
    """Empty steps, one after the other."""
    for _ in range(count):
        await nothing()


@DBOS.workflow()
async def spawn(count: int) -> None:
    """Steps that run a process, one after the other."""
    for _ in range(count):
        await process()


@DBOS.workflow()
async def recovered() -> None:
    """The chain of W4."""
    for number in range(RECOVERY):
        await noted(number)


async def main() -> None:
    """Measure, or run the chain of W4 (which is resumed by ``launch`` if it was killed)."""
    config: DBOSConfig = {
        "name": "bench", "system_database_url": f"sqlite:///{Path(FOLDER) / 'dbos.sqlite'}", "log_level": "ERROR",
        "console_log_level": "ERROR", "application_version": "1", "executor_id": "bench",
    }  # fmt: skip
    DBOS(config=config)
    DBOS.launch()
    if sys.argv[1] == "measure":
        await measure(chain, spawn, plans=40)
    else:
        with SetWorkflowID("chain"):
            handle = await DBOS.start_workflow_async(recovered)
        await handle.get_result()
    DBOS.destroy()


asyncio.run(main())
