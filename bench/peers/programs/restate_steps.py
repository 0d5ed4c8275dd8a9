"""Restate: its server (``RESTATE_SERVER`` is the binary) and the services in this process, over HTTP/2 on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import httpx
import restate
from common import PAUSE, RECOVERY, measure, note, true
from hypercorn.asyncio import serve
from hypercorn.config import Config

FOLDER = sys.argv[2]
bench = restate.Service("bench")


async def nothing() -> None:
    """A step that does nothing."""


async def noted(number: int) -> None:
    """A step of W4."""
    await asyncio.sleep(PAUSE)
    note(FOLDER, number)


@bench.handler()
async def chain(ctx: restate.Context, count: int) -> None:
    """Empty steps, one after the other."""
    for _ in range(count):
        await ctx.run_typed("nothing", nothing)


@bench.handler()
async def spawn(ctx: restate.Context, count: int) -> None:
    """Steps that run a process, one after the other."""
    for _ in range(count):
        await ctx.run_typed("true", true)


@bench.handler(invocation_retry_policy=restate.InvocationRetryPolicy(max_interval=timedelta(milliseconds=500)))
async def recovered(ctx: restate.Context, count: int) -> None:
    """The chain of W4."""
    for number in range(count):
        await ctx.run_typed("noted", noted, restate.RunOptions(), number)


def ports(count: int) -> list[int]:
    """Free ports, kept in a file so that a second start takes the same ones."""
    kept = Path(FOLDER) / "ports"
    if not kept.exists():
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
        kept.write_text(" ".join(str(s.getsockname()[1]) for s in sockets))
        for each in sockets:
            each.close()
    return [int(port) for port in kept.read_text().split()]


@contextlib.asynccontextmanager
async def running(server: list[int], own: int) -> AsyncIterator[None]:
    """Server and services, until the end; the server goes with this process's group."""
    node, ingress, admin = server
    environment = os.environ | {
        "RESTATE_BIND_ADDRESS": f"127.0.0.1:{node}", "RESTATE_ADVERTISED_ADDRESS": f"http://127.0.0.1:{node}",
        "RESTATE_INGRESS__BIND_ADDRESS": f"127.0.0.1:{ingress}", "RESTATE_ADMIN__BIND_ADDRESS": f"127.0.0.1:{admin}",
        "RESTATE_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "1", "RESTATE_LOG_FILTER": "warn",
    }  # fmt: skip
    with (Path(FOLDER) / "server.log").open("ab") as log:
        binary = os.environ["RESTATE_SERVER"]
        words = [binary, "--node-name", "bench", "--base-dir", str(Path(FOLDER) / "data")]
        process = subprocess.Popen(words, env=environment, stdout=log, stderr=log)  # noqa: ASYNC220  # once, at the start
    config = Config()
    config.bind = [f"127.0.0.1:{own}"]
    config.loglevel = "ERROR"
    over = asyncio.Event()
    serving = asyncio.create_task(serve(restate.app([bench]), config, shutdown_trigger=over.wait))
    try:
        yield
    finally:
        over.set()
        process.terminate()
        process.wait(20)
        await asyncio.wait({serving}, timeout=5)


async def main() -> None:
    """Measure, or run the chain of W4."""
    node, ingress, admin, own = ports(4)
    limits = httpx.Limits(max_connections=500)
    async with (
        running([node, ingress, admin], own),
        httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{ingress}", timeout=120, limits=limits, trust_env=False
        ) as client,
    ):

        async def call(handler: str, count: int, **headers: str) -> None:
            answer = await client.post(f"/bench/{handler}", json=count, headers=headers)
            answer.raise_for_status()

        async with asyncio.timeout(60):
            while True:
                with contextlib.suppress(httpx.HTTPError):
                    uri = {"uri": f"http://127.0.0.1:{own}", "force": True}
                    made = await client.post(f"http://127.0.0.1:{admin}/deployments", json=uri)
                    if made.is_success:
                        break
                await asyncio.sleep(0.02)
        if sys.argv[1] == "measure":
            await measure(lambda n: call("chain", n), lambda n: call("spawn", n), plans=40)
        else:
            await call("recovered", RECOVERY, **{"idempotency-key": "chain"})


asyncio.run(main())
