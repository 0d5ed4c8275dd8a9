"""Real servers for tests: one embedded, or three as a cluster. All on loopback, all gone afterwards."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import nats
from nats.aio.client import Client

from events.log.access import BOOTSTRAP, SYSTEM, Cluster, Profile, ServerConfig, render, with_passwords, write_private
from events.log.streams import DEFAULT_TENANT, EVENTS, GIB, bootstrap
from nightshift.server import EmbeddedServer
from nightshift.server_process import HOST, end, free_port, lets_in, spawn

SMALL = 256 * 1024 * 1024
"""Bytes for the log of a test."""


@contextlib.asynccontextmanager
async def embedded(
    home: Path,
    *,
    profile: Profile = "fast",
    tenants: tuple[str, ...] = (DEFAULT_TENANT,),
    isolated: bool = False,
) -> AsyncIterator[EmbeddedServer]:
    """One embedded server, bootstrapped."""
    server = EmbeddedServer(home, profile, tenants=tenants, max_bytes=SMALL, isolated=isolated)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncIterator[Client]:
    """A connection that keeps to the inbox its user may have."""
    user = urlsplit(url).username or ""
    prefix = "_INBOX" if user.startswith("tenant-") or user == SYSTEM else f"_INBOX_{user}"

    async def quiet(error: Exception) -> None:
        """Refusals are what many tests look for; they look at the effect."""

    client = await nats.connect(
        url, inbox_prefix=prefix, allow_reconnect=False, connect_timeout=5, error_cb=quiet, pending_size=1 << 26
    )
    try:
        yield client
    finally:
        await client.close()


@dataclass(frozen=True, slots=True)
class Stored:
    """A message as it stands in a stream, with nothing read into it."""

    sequence: int
    subject: str
    headers: tuple[tuple[str, str], ...]
    """In order; a name may stand there twice."""
    body: bytes


async def stored(admin: Client, stream: str = "EVENTS", *, after: int = 0) -> list[Stored]:
    """What a stream holds behind a sequence. Needs the bootstrap user."""
    info = json.loads((await admin.request(f"$JS.API.STREAM.INFO.{stream}", b"")).data)
    found = []
    for sequence in range(max(after + 1, info["state"]["first_seq"]), info["state"]["last_seq"] + 1):
        request = json.dumps({"seq": sequence}).encode()
        message = json.loads((await admin.request(f"$JS.API.STREAM.MSG.GET.{stream}", request)).data)["message"]
        lines = base64.b64decode(message.get("hdrs", "")).decode().split("\r\n")[1:]
        pairs = tuple((name, value.strip()) for name, colon, value in (line.partition(":") for line in lines) if colon)
        found.append(Stored(sequence, message["subject"], pairs, base64.b64decode(message.get("data", ""))))
    return found


@dataclass(slots=True)
class Node:
    """One server of a cluster."""

    name: str
    port: int
    config: Path
    process: asyncio.subprocess.Process

    async def kill(self) -> None:
        """End it as a crash would."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()

    async def start(self) -> None:
        """Start it again on its port and store."""
        self.process = await spawn(self.config, self.config.with_suffix(".log"))


@dataclass(slots=True)
class Nodes:
    """A cluster of three."""

    nodes: list[Node]
    passwords: dict[str, str]

    def url(self, user: str, node: int = 0) -> str:
        """The URL of one node for a user."""
        return f"nats://{user}:{self.passwords[user]}@{HOST}:{self.nodes[node].port}"

    def urls(self, user: str) -> str:
        """The URLs of all nodes for a user, with commas between them."""
        return ",".join(self.url(user, number) for number in range(len(self.nodes)))

    async def ready(self, wait: float = 20.0) -> None:
        """Wait until every node lets somebody in. Raises TimeoutError after ``wait`` seconds."""
        async with asyncio.timeout(wait):
            for node in self.nodes:
                while not await lets_in(node.port, SYSTEM, self.passwords[SYSTEM]):  # noqa: ASYNC110  # a process
                    await asyncio.sleep(0.02)


async def leader(nodes: Nodes) -> Node:
    """The node that leads the stream of events."""
    alive = next(n for n, node in enumerate(nodes.nodes) if node.process.returncode is None)
    async with connected(nodes.url(BOOTSTRAP, alive)) as admin:
        info = json.loads((await admin.request(f"$JS.API.STREAM.INFO.{EVENTS}", b"", timeout=5)).data)
    return next(node for node in nodes.nodes if node.name == info["cluster"]["leader"])


@contextlib.asynccontextmanager
async def cluster(
    folder: Path,
    *,
    profile: Profile = "fast",
    tenants: tuple[str, ...] = (DEFAULT_TENANT,),
    isolated: bool = False,
) -> AsyncIterator[Nodes]:
    """Three servers with stores below ``folder``, bootstrapped with three replicas of everything."""
    passwords = with_passwords({}, tenants)
    inner = [free_port() for _ in range(3)]
    routes = tuple(f"{HOST}:{port}" for port in inner)
    found = Nodes([], passwords)
    try:
        for number, port in enumerate(inner, 1):
            name = f"n{number}"
            config = ServerConfig(
                port=free_port(), store=str(folder / name), passwords=passwords, tenants=tenants, name=name,
                profile=profile, isolated=isolated, max_file=8 * GIB,
                cluster=Cluster(name="test", port=port, routes=routes),
            )  # fmt: skip
            path = folder / f"{name}.conf"
            write_private(path, render(config))
            found.nodes.append(Node(name, config.port, path, await spawn(path, path.with_suffix(".log"))))
        await found.ready()
        async with connected(found.url(BOOTSTRAP)) as client:
            await bootstrap(client, replicas=3, max_bytes=SMALL, tenants=tenants)
        yield found
    finally:
        await asyncio.gather(*(end(node.process) for node in found.nodes))
