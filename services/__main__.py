"""``python -m services <name>``: one service against a server that is already there, any number of copies.

``NIGHTSHIFT_NATS_URL`` names the server and the service's own user; ``NIGHTSHIFT_HOME`` the state folder that executors
and verifiers share. ``python -m services health [URL]`` asks the service behind ``NIGHTSHIFT_HEALTH_PORT`` how it is.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import AsyncExitStack
from typing import Any, Protocol

from pydantic import ValidationError

from events.log import LogError, LogUnavailable
from schemas.settings import Settings
from services.health import HealthPage, probe
from services.hosting import NAMES, Host
from services.logs import configure
from services.sinks import sink_of
from services.telemetry import Publisher

FOLLOWERS = ("projections", "postgres")
"""What follows the log and says nothing."""
USAGE = f"usage: python -m services {{{','.join((*NAMES, *FOLLOWERS))}}}\n       python -m services health [URL]"


class Part(Protocol):
    """What runs in this process."""

    async def failed(self) -> None: ...
    async def health(self) -> dict[str, Any]: ...


async def serve(name: str, settings: Settings) -> int:
    """Run one service until SIGTERM or SIGINT; gives the exit code."""
    if not settings.nats_url:
        sys.stderr.write("NIGHTSHIFT_NATS_URL is not set: name the server and the service's user in it\n")
        return 2
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as parts:
        try:
            part = await _started(name, settings, settings.nats_url, parts)
            if settings.health_port is not None:
                page = HealthPage(settings.metrics_host, settings.health_port, part.health)
                parts.push_async_callback(page.close)
        except LogUnavailable as error:
            sys.stderr.write(f"{error}\nis NIGHTSHIFT_NATS_URL right, and is the server up?\n")
            return 3
        except LogError as error:
            sys.stderr.write(f"{error}\n")
            return 2
        failed, stopping = asyncio.create_task(part.failed()), asyncio.create_task(stop.wait())
        await asyncio.wait({failed, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if failed.done():
            parts.pop_all()
            failed.result()  # whoever supervises it starts it again, the sooner the better
        failed.cancel()
    return 0


async def _started(name: str, settings: Settings, url: str, parts: AsyncExitStack) -> Part:
    """Start what is named; ``parts`` ends it."""
    if name == "projections":
        from projections.service import Projections

        projections = Projections(settings.home, url)
        parts.push_async_callback(projections.stop)
        await projections.start()
        publisher = Publisher(settings, projections.metrics)
        parts.push_async_callback(publisher.stop)
        await publisher.start()
        return projections
    if name == "postgres":
        sink = sink_of(settings, url)
        parts.push_async_callback(sink.stop)
        await sink.start()
        return sink
    host = Host(settings, lambda _: url)
    parts.push_async_callback(host.stop, settings.grace)
    await host.start((name,))
    return host


def main() -> int:
    """The command line of a single service."""
    try:
        settings = Settings()
    except ValidationError as error:
        sys.stderr.write("".join(f"{fault}\n" for fault in Settings.faults(error)) + "see docs/settings.md\n")
        return 2
    if sys.argv[1:2] == ["health"] and len(sys.argv) <= 3:
        if len(sys.argv) == 2 and settings.health_port is None:
            sys.stderr.write("NIGHTSHIFT_HEALTH_PORT is not set: set it for the service too, or name a URL\n")
            return 2
        here = f"http://{settings.metrics_host}:{settings.health_port}/health"
        return probe(sys.argv[2] if len(sys.argv) == 3 else here)
    if len(sys.argv) != 2 or sys.argv[1] not in (*NAMES, *FOLLOWERS):
        sys.stderr.write(USAGE + "\n")
        return 2
    configure(settings)
    return asyncio.run(serve(sys.argv[1], settings))


if __name__ == "__main__":
    sys.exit(main())
