"""Whether a service works, for whoever supervises it: ``GET /health`` on a port of its own, or a command.

200 and ``{"ok": true, …}`` if its event loop runs, its parts run and the log answers; otherwise 503 and the reason.
"""

from __future__ import annotations

import asyncio
import json
import sys
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from events.log import LogError

Check = Callable[[], Awaitable[dict[str, Any]]]
"""What is the case; raises what is wrong."""
PATIENCE = 3.0
"""Seconds within which the log must answer."""
GRACE = 1.0
"""Seconds more within which the event loop must say so."""


class HealthError(LogError):
    """The page cannot be served."""


class HealthPage:
    """Serves the page from a thread, so that an event loop that hangs is seen to hang."""

    def __init__(self, host: str, port: int, check: Check) -> None:
        """Start serving. Raises HealthError if the port is taken."""
        loop = asyncio.get_running_loop()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path != "/health":
                    self.send_error(404)
                    return
                code, answer = _examine(loop, check)
                body = json.dumps(answer).encode() + b"\n"
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """A probe every few seconds is no news."""

        try:
            self._server = ThreadingHTTPServer((host, port), Handler)
        except OSError as error:
            raise HealthError(f"health cannot be served: {error}; set NIGHTSHIFT_HEALTH_PORT") from error
        self._thread = Thread(target=self._server.serve_forever, name="health", daemon=True)
        self._thread.start()
        self.port = int(self._server.server_address[1])

    async def close(self) -> None:
        """Stop serving."""
        await asyncio.to_thread(self._server.shutdown)
        self._server.server_close()
        self._thread.join()


def _examine(loop: asyncio.AbstractEventLoop, check: Check) -> tuple[int, dict[str, Any]]:
    async def bounded() -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE):
            return await check()

    asking = asyncio.run_coroutine_threadsafe(bounded(), loop)
    try:
        return 200, {"ok": True, **asking.result(PATIENCE + GRACE)}
    except TimeoutError:
        asking.cancel()
        return 503, {"ok": False, "reason": f"no answer within {PATIENCE:g} s"}
    except Exception as error:  # whatever a part ended with is the answer
        return 503, {"ok": False, "reason": str(error) or type(error).__name__}


def probe(url: str) -> int:
    """Ask the page and print its answer; an exit code for container probes: 0 healthy, 1 not."""
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE + 2) as page:  # the operator's own address
            sys.stdout.write(page.read().decode())
            return 0
    except urllib.error.HTTPError as error:
        sys.stderr.write(error.read().decode())
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{url}: {error}\n")
    return 1
