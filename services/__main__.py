"""``python -m services <name>``: one service against a server that is already there, any number of copies.

``NIGHTSHIFT_NATS_URL`` names the server and the service's own user; ``NIGHTSHIFT_HOME`` the state folder that executors
and verifiers share.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys

from events.log import LogUnavailable
from schemas.settings import Settings
from services.hosting import NAMES, Host

USAGE = f"usage: python -m services {{{','.join((*NAMES, 'projections'))}}}"


async def serve(name: str, settings: Settings) -> int:
    """Run one service until SIGTERM or SIGINT; gives the exit code."""
    if not settings.nats_url:
        sys.stderr.write("NIGHTSHIFT_NATS_URL is not set: name the server and the service's user in it\n")
        return 2
    url = settings.nats_url
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        if name == "projections":
            from projections.service import Projections

            running = Projections(settings.home, url)
            await running.start()
            failed = asyncio.create_task(running.failed())
        else:
            host = Host(settings, lambda _: url)
            await host.start((name,))
            failed = asyncio.create_task(host.failed())
    except LogUnavailable as error:
        sys.stderr.write(f"{error}\nis NIGHTSHIFT_NATS_URL right, and is the server up?\n")
        return 3
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({failed, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if failed.done():
        stopping.cancel()
        failed.result()
    failed.cancel()
    if name == "projections":
        await running.stop()
    else:
        await host.stop(settings.grace)
    return 0


def main() -> int:
    """The command line of a single service."""
    if len(sys.argv) != 2 or sys.argv[1] not in (*NAMES, "projections"):
        sys.stderr.write(USAGE + "\n")
        return 2
    settings = Settings()
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    return asyncio.run(serve(sys.argv[1], settings))


if __name__ == "__main__":
    sys.exit(main())
