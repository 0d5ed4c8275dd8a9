"""A whole engine in the test's own process, with its server beside it: quicker than the command line."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from nightshift.client import Client
from nightshift.engine import Engine
from schemas.settings import Settings


@contextlib.asynccontextmanager
async def engine(home: Path, **settings: Any) -> AsyncIterator[Client]:
    """An engine in the fast profile, and somebody who speaks with it."""
    running = Engine(Settings(**{"home": home, "profile": "fast", "slots": 4} | settings))
    await running.start()
    try:
        client = await Client.open(running.url("operator"), tenant="default")
        try:
            yield client
        finally:
            await client.close()
    finally:
        await running.stop(2.0)


async def submit(client: Client, plan: dict[str, Any], **options: Any) -> tuple[str, int]:
    """Hand over a native plan; gives execution and sequence."""
    return await client.submit({"plan.json": json.dumps(plan)}, root="plan.json", **options)


async def settled(client: Client, execution: str, said: int, *states: str, seconds: float = 60) -> dict[str, Any]:
    """The status, once the execution is in one of the states with everything up to a sequence in it."""
    async with asyncio.timeout(seconds):
        async for _ in client.changes(execution, every=0.2):
            status = await client.status(execution, at=said)
            if status["state"] in states:
                return status
    raise AssertionError("no more changes")
