"""W6 and W7: a long log replayed into DuckDB against reading it alone, and what questions cost on the result."""

from __future__ import annotations

import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from bench.engine import Bench, wide
from bench.measured import Measured, p99
from bench.synthetic import example, open_server, write
from nightshift.client import Client, uuid7
from projections.service import Projections

REPLAYS = 3
QUESTIONS = 300
AUDITED = 10_000
"""Events of the execution that is audited."""


async def w6_w7(bench: Bench, events: int) -> list[Measured]:
    """Write a log of so many events, read it, replay it, and ask."""
    story = await example(bench, 1)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        async with open_server(place / "server") as (url, client):
            executions = await write(client, story, events)
            fetched, decoded, replayed, peaks, sizes = [], [], [], [], []
            path = place / "home" / "projections.duckdb"
            path.parent.mkdir()
            for _ in range(REPLAYS):
                fetched.append(_rate(await _read("fetch", url, path)))
                decoded.append(_rate(await _read("decode", url, path)))
                path.unlink(missing_ok=True)
                found = await _read("replay", url, path)
                replayed.append(_rate(found))
                peaks.append(found["peak_mib"])
                sizes.append(path.stat().st_size / 1024**2)
            count = int(found["events"])
            asked = await _ask(path.parent, url, executions)
    return [
        Measured("W6 replay", "events/s", replayed, decoded, "reading and decoding alone", more_is_better=True,
                 target=">= 30,000 and >= 70 % of the raw read", note=f"{count:,} events"),
        Measured("W6.decode", "events/s", decoded, fetched, "fetching the bytes alone", more_is_better=True),
        Measured("W6.file", "MiB", sizes), Measured("W6.peak memory", "MiB", peaks), *asked,
    ]  # fmt: skip


async def _read(what: str, url: str, path: Path) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.replaying", what, url, str(path), stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"bench.replaying {what} ended with {process.returncode}")
    found: dict[str, Any] = json.loads(said)
    return found


def _rate(found: dict[str, Any]) -> float:
    return float(found["events"]) / float(found["seconds"])


async def _ask(home: Path, url: str, executions: int) -> list[Measured]:
    """Through NATS, as every client does, against the projections as a service on what was replayed."""
    service = Projections(home, url)
    await service.start()
    client = await Client.open(url)
    try:
        rows = await client.ask("query", sql="select execution from executions order by execution", limit=10_000)
        ids = [row[0] for row in rows["rows"]]
        random.Random(1).shuffle(ids)
        chosen = iter(ids * 3)
        status = await _times(lambda: client.status(next(chosen)))
        board = await _times(lambda: client.ask("executions", limit=50))
        nothing = await _times(lambda: client.ask("health"))
    finally:
        await client.close()
        await service.stop()
    note = f"one of {executions:,} executions, {QUESTIONS} questions a run"
    return [
        Measured("W7.status p99", "ms", status, nothing, "asking for its health", target="<= 20", note=note),
        Measured("W7.dashboard p99", "ms", board, nothing, "asking for its health"),
    ]


async def _times(question: Callable[[], Awaitable[object]]) -> list[float]:
    """The 99th percentiles of five rounds, in milliseconds."""
    runs = []
    for _ in range(5):
        took = []
        for _ in range(QUESTIONS // 5):
            started = time.perf_counter()
            await question()
            took.append((time.perf_counter() - started) * 1000)
        runs.append(p99(took))
    return runs


async def audit(bench: Bench) -> list[Measured]:
    """Everything that was said about one execution of 10,000 events, in one question."""
    execution = uuid7()
    await bench.run(wide(AUDITED // 4), execution=execution)
    runs = []
    for _ in range(5):
        started = time.perf_counter()
        rows = await bench.client.ask("history", execution=execution, limit=AUDITED)
        runs.append((time.perf_counter() - started) * 1000)
    return [Measured("W7.audit", "ms", runs, target="<= 200", note=f"{len(rows):,} events in one answer")]
