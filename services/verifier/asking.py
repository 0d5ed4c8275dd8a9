"""An `http` criterion: the engine asks, so it asks only where the task's own network grant leads."""

from __future__ import annotations

import asyncio
import http.client
import time
import urllib.error
import urllib.request
from typing import IO, Any

from events.verdict import Result
from schemas.grants import Isolation
from schemas.values import Criterion
from services.verifier.runners.results import answer as _result

MAX_BODY = 64 * 1024 * 1024
"""Bytes of an answer that are looked at."""
MAX_SECONDS = 60.0
_PIECE = 64 * 1024


class NotGranted(ValueError):
    """The task has no network, or not this part of it."""


async def ask(criterion: Criterion, reach: Isolation) -> Result:
    """GET the address; status and content decide. Raises ValueError, OSError for what cannot be asked."""
    assert criterion.url is not None
    return await asyncio.to_thread(_ask, criterion, criterion.url, reach)


def _ask(criterion: Criterion, url: str, reach: Isolation) -> Result:
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"{url!r} is no http address")
    request = urllib.request.Request(url)
    host, port = _target(request)
    if not reach.reaches(port):
        raise NotGranted(
            f"the task has no network that leads to port {port} of {host}: grant `network: [{port}]` or `network: host`"
        )
    handlers: list[urllib.request.BaseHandler] = [_SamePlace()]
    if reach.network != "host":
        handlers.append(urllib.request.ProxyHandler({}))  # a proxy would lead anywhere
    limit = min(criterion.timeout, MAX_SECONDS)
    until = time.monotonic() + limit
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=limit) as answer:
            status, body = int(answer.status), _read(answer, until)
    except urllib.error.HTTPError as error:
        with error:
            status, body = error.code, _read(error, until)
    except urllib.error.URLError as error:
        return _result(criterion, False, f"no answer: {error.reason}")
    if status != criterion.status:
        led = ", which leads elsewhere and is not followed" if 300 <= status < 400 else ""
        return _result(criterion, False, f"it answers {status}{led}, not {criterion.status}")
    if criterion.contains and criterion.contains not in body:
        return _result(criterion, False, f"it answers {status}, without {criterion.contains!r}")
    return _result(criterion, True, f"it answers {status}")


def _target(request: urllib.request.Request) -> tuple[str, int]:
    """Host and port as the connection itself reads them, so that no spelling means one thing here and another there."""
    kind = http.client.HTTPSConnection if request.type == "https" else http.client.HTTPConnection
    try:
        made = kind(request.host)
    except http.client.InvalidURL as error:
        raise ValueError(f"{request.full_url!r} is no http address: {error}") from error
    return made.host, made.port


class _SamePlace(urllib.request.HTTPRedirectHandler):
    """Follows a redirect only to the same host and port, in the same scheme; any other is the answer itself."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        found = super().redirect_request(req, fp, code, msg, headers, newurl)
        if found is None or found.type != req.type:
            return None
        try:
            return found if _target(found) == _target(req) else None
        except ValueError:
            return None


def _read(answer: Any, until: float) -> str:
    """The body, as far as it comes in time. Raises TimeoutError: it may come by single bytes for ever."""
    body = bytearray()
    while len(body) < MAX_BODY and (piece := answer.read1(_PIECE)):
        body += piece
        if time.monotonic() > until:
            raise TimeoutError("its answer takes too long")
    return body[:MAX_BODY].decode("utf-8", "replace")
