"""Chaos on three servers: a cluster in which ``kill_server`` kills whoever leads the stream of events."""

from __future__ import annotations

import asyncio
import contextlib
import time

import nats.errors

from tests.chaos.world import DOWN, World
from tests.servers import Node, Nodes, cluster, leader


class OnThree(World):
    """Its server is a cluster; a service may speak to any of its nodes."""

    nodes: Nodes

    async def prepare(self) -> None:
        """Start all three; there is no first start without them."""
        self._cluster = contextlib.AsyncExitStack()
        folder = self.home / "server"
        folder.mkdir(parents=True)
        self.nodes = await self._cluster.enter_async_context(cluster(folder, profile="durable", isolated=True))

    def _alive(self) -> list[Node]:
        return [node for node in self.nodes.nodes if node.process.returncode is None]

    async def start_server(self) -> None:
        """Start whoever does not run."""
        for node in self.nodes.nodes:
            if node.process.returncode is not None:
                await node.start()

    async def kill_server(self) -> None:
        """kill -9 of the leader; of anybody if nobody leads just now."""
        try:
            found = await leader(self.nodes)
        except (nats.errors.Error, OSError, TimeoutError, StopIteration, KeyError):
            found = next(iter(self._alive()), self.nodes.nodes[0])
        await found.kill()

    async def kill_servers(self) -> None:
        """kill -9 of all."""
        self._down = time.monotonic() + DOWN
        await asyncio.gather(*(node.kill() for node in self.nodes.nodes))

    def server_pids(self) -> list[int]:
        return [node.process.pid for node in self._alive()]

    async def serving(self, wait: float = 30.0) -> None:
        await self.nodes.ready(wait)

    def url(self, user: str) -> str:
        return self.nodes.urls(user)

    async def close(self) -> None:
        await super().close()
        await self._cluster.aclose()
