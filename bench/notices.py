"""``python -m bench.notices [fast]``: from an event to its delivery, while the log takes 1,000 other events a second.

The server is the embedded one (durable unless ``fast`` is said, for disks that cannot take so many events), the
notifier runs as it does in the engine, the channel is a signed webhook on loopback. Channels gather for a second, so
that second is in every figure.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from events.execution import ExecutionFailed
from events.log import Draft
from events.log.access import Profile
from events.log.connection import connect
from events.log.jetstream import JetStreamLog
from events.task import TaskHeld
from nightshift.client import uuid7
from nightshift.server import EmbeddedServer
from schemas.names import EXECUTION
from schemas.settings import Settings
from services.hosting import Host

RATE = 1_000
"""Other events a second."""
EVERY = 0.2
"""Seconds between two events that are told."""
SECONDS = 30
LIMIT = 5.0
"""What NO-4 asks for, at the 99th percentile."""


class Receiver:
    """Takes webhooks and notes when each event arrived."""

    def __init__(self) -> None:
        arrived: dict[str, float] = {}
        self.arrived = arrived

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                for notice in json.loads(body)["notices"]:
                    arrived.setdefault(notice["execution"], time.time())
                self.send_response(204)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def draft(fact: Any, execution: str, entity: str, expected: int) -> Draft:
    """A fact of the planner."""
    return Draft(
        tenant="default", execution=execution, entity=entity, fact=fact, cause=f"bench-{expected}",
        correlation=execution, actor="bench", expected=expected,
    )  # fmt: skip


async def noise(log: JetStreamLog, counted: list[int]) -> None:
    """RATE events a second, on many executions and tasks."""
    lanes = 50
    clock = asyncio.get_running_loop()
    started = clock.time()

    async def lane() -> None:
        execution, last = uuid7(), 0
        while True:
            last = (await log.append(draft(TaskHeld(reason="bench"), execution, "t", last)))[0].sequence
            counted[0] += 1
            await asyncio.sleep(max(0.0, started + counted[0] / RATE - clock.time()))

    await asyncio.gather(*(lane() for _ in range(lanes)))


async def measure(home: Path, profile: Profile) -> tuple[list[float], float]:
    """Seconds of each delivery, and how many other events a second there were."""
    receiver = Receiver()
    hook = {"kind": "webhook", "url": receiver.url, "secret": "benchmark", "limit": 1000}
    settings = Settings.model_validate({"home": home, "notify": {"channels": {"hook": hook}, "plugins": False}})
    server = EmbeddedServer(home, profile)
    await server.start()
    host = Host(settings, server.credentials)
    await host.start(("notifier",))
    client = await connect(server.credentials("planner"), name="bench")
    operator = await connect(server.credentials("operator"), name="bench")
    log = JetStreamLog(client)
    counted, sent = [0], {}
    background = asyncio.create_task(noise(log, counted))
    began = time.time()
    try:
        while time.time() < began + SECONDS:
            execution = uuid7()
            await operator.ask(f"evt.default.{execution}.~in.PlanSubmitted", b"{}", {"Nats-Msg-Id": execution})
            sent[execution] = time.time()
            await log.append(draft(ExecutionFailed(reason="bench", verified=0, failed=()), execution, EXECUTION, 0))
            await asyncio.sleep(EVERY)
        rate = counted[0] / (time.time() - began)
        async with asyncio.timeout(30):
            while len(receiver.arrived) < len(sent):  # noqa: ASYNC110  # a server in another thread
                await asyncio.sleep(0.05)
    finally:
        background.cancel()
        await asyncio.gather(background, return_exceptions=True)
        await host.stop(5.0)
        await client.close()
        await operator.close()
        await server.stop()
        receiver.server.shutdown()
    return [receiver.arrived[execution] - at for execution, at in sent.items()], rate


def main() -> int:
    """Measure and print; 1 if the limit does not hold."""
    with tempfile.TemporaryDirectory() as folder:
        taken, rate = asyncio.run(measure(Path(folder), "fast" if "fast" in sys.argv[1:] else "durable"))
    p99 = statistics.quantiles(taken, n=100)[98]
    print(f"{len(taken)} notices while the log took {rate:.0f} other events a second:")
    print(f"median {statistics.median(taken):.2f} s, p99 {p99:.2f} s, longest {max(taken):.2f} s (limit {LIMIT:g} s)")
    return int(p99 > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
