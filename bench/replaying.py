"""``python -m bench.replaying WHAT URL FILE``: one way of reading the whole log, in a process of its own.

WHAT: ``fetch`` the bytes alone, ``decode`` them too, ``replay`` into FILE. Prints events, seconds and peak memory.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time

from events.log.bulk import PAGE, fetch
from events.log.connection import connect
from events.log.jetstream import STREAM, JetStreamLog
from projections.projector import Projector
from projections.store import Store


async def fetch_all(log: JetStreamLog) -> int:
    """Batched direct gets, page by page, and nothing done with what they bring."""
    last, count = await log.last_sequence(), 0
    while count < last:
        request = {"seq": count + 1, "next_by_subj": ">", "batch": PAGE, "max_bytes": 16 * 1024 * 1024}
        count += len(await fetch(log.client, STREAM, request))
    return count


async def main(what: str, url: str, path: str) -> None:
    """Read, and say how long it took."""
    client = await connect(url, name="bench-replay")
    log = JetStreamLog(client)
    started = time.perf_counter()
    if what == "fetch":
        count = await fetch_all(log)
    elif what == "decode":
        count = sum([len(page) async for page in log.pages("evt.>")])
    else:
        with Store(":memory:") as nothing:
            projector = Projector(log, nothing)
            started = time.perf_counter()
            store = await projector.replay(path=path)
            count = store.position.sequence
            store.close()
    seconds = time.perf_counter() - started
    await client.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"events": count, "seconds": seconds, "peak_mib": peak}))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
