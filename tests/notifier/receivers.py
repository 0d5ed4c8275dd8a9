"""Loopback servers that speak what channels speak: HTTP, with the rules of the voice server, and SMTP."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(slots=True)
class Got:
    """One request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Receiver:
    """What a server got, and how it answers."""

    answer: Callable[[Got], tuple[int, dict[str, str]]]
    got: list[Got] = field(default_factory=list)
    url: str = ""
    port: int = 0
    gone: threading.Event = field(default_factory=threading.Event)
    """Set at the end, so that whoever hangs can go."""

    @property
    def posts(self) -> list[Got]:
        return [got for got in self.got if got.method == "POST"]


def fine(got: Got) -> tuple[int, dict[str, str]]:
    """Takes everything."""
    return 200, {}


@contextmanager
def receiver(answer: Callable[[Got], tuple[int, dict[str, str]]] = fine) -> Iterator[Receiver]:
    """An HTTP server on a free port."""
    found = Receiver(answer)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _take(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            got = Got(self.command, self.path, dict(self.headers.items()), self.rfile.read(length))
            found.got.append(got)
            status, headers = found.answer(got)
            body = (
                b'{"status":"success","message":"ok","id":"1"}'
                if status < 300
                else b'{"status":"error","message":"no"}'
            )
            try:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        do_GET = do_POST = do_PUT = _take

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    found.port = server.server_address[1]
    found.url = f"http://127.0.0.1:{found.port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield found
    finally:
        found.gone.set()
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def voice_server(limit: int = 10) -> Iterator[Receiver]:
    """The rules of the voice server's newest generation (FORMATS 11), without the sound."""
    moments: list[float] = []

    def answer(got: Got) -> tuple[int, dict[str, str]]:
        now = time.monotonic()
        moments[:] = [m for m in moments if m > now - 60]
        if len(moments) >= limit:
            return 429, {}
        moments.append(now)
        if got.path == "/health":
            return 200, {}
        if got.path != "/notify":
            return 404, {}
        said = got.json()
        if (
            not isinstance(said.get("message"), str)
            or not 0 < len(said["message"]) <= 500
            or len(said.get("title", "")) > 500
        ):
            return 400, {}
        return 200, {}

    with receiver(answer) as found:
        yield found


@dataclass
class Mails:
    """What an SMTP server took."""

    port: int = 0
    mails: list[tuple[list[str], str]] = field(default_factory=list)


@contextmanager
def smtp_server() -> Iterator[Mails]:
    """Takes mails (RFC 5321, as much of it as a client needs)."""
    found = Mails()
    loop = asyncio.new_event_loop()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 test\r\n")
        to: list[str] = []
        while line := (await reader.readline()).decode():
            verb = line[:4].upper()
            if verb == "RCPT":
                to.append(line.split("<")[1].split(">")[0])
            if verb == "DATA":
                writer.write(b"354 go on\r\n")
                found.mails.append((to, (await reader.readuntil(b"\r\n.\r\n")).decode()))
            writer.write(b"221 bye\r\n" if verb == "QUIT" else b"250 ok\r\n")
            if verb == "QUIT":
                break
        writer.close()

    server = loop.run_until_complete(asyncio.start_server(serve, "127.0.0.1", 0))
    found.port = server.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield found
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(server.wait_closed())
        loop.close()
