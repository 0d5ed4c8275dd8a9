"""The whole engine in one process: embedded server (unless one is named), services, projections."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from events.log import LogError, LogUnavailable
from events.log.access import BOOTSTRAP
from events.log.connection import connect
from events.log.jetstream import JetStreamLog
from events.log.questions import Refused
from events.log.streams import bootstrap, hand_out_again
from nightshift.server import EmbeddedServer
from nightshift.server_process import fingerprint
from projections.service import Projections
from schemas.names import BadName
from schemas.settings import Settings
from services.health import HealthPage
from services.hosting import Host
from services.sinks import sink_of
from services.telemetry import Publisher

if TYPE_CHECKING:
    from projections.postgres.sink import PostgresSink

log = logging.getLogger(__name__)

NOTE = "engine.json"


class AlreadyRunning(LogError):
    """An engine runs in this home."""


def read_note(home: Path) -> dict[str, Any] | None:
    """What the running engine says about itself: pid, url, profile; None if none runs."""
    try:
        note: dict[str, Any] = json.loads((home / NOTE).read_text())
    except (OSError, ValueError):
        return None
    return note if fingerprint(int(note["pid"])) == note["fingerprint"] else None


class Engine:
    """Start it, wait, stop it. ``services`` False: only server and projections, to answer questions."""

    def __init__(self, settings: Settings, *, services: bool = True) -> None:
        self.settings = settings
        self.services = services
        self.server: EmbeddedServer | None = None
        self._host: Host | None = None
        self._projections: Projections | None = None
        self._watch: asyncio.Task[None] | None = None
        self._publisher: Publisher | None = None
        self._sink: PostgresSink | None = None
        self._health: HealthPage | None = None

    def url(self, user: str) -> str:
        """The URL with which a user connects."""
        if self.server is not None:
            return self.server.credentials(user)
        assert self.settings.nats_url is not None
        return self.settings.nats_url

    async def start(self) -> None:
        """Start everything. Raises LogUnavailable, ServerError, AlreadyRunning; then nothing is left running."""
        home = self.settings.home
        home.mkdir(parents=True, exist_ok=True)
        if read_note(home) is not None:
            raise AlreadyRunning(f"an engine runs in {home} already")
        try:
            if self.settings.nats_url is None:
                self.server = EmbeddedServer(home, self.settings.profile)
                await self.server.start()
                self._watch = asyncio.create_task(self.server.watch())
                if self.services:
                    await self._hand_out_again()
            else:
                await self._make_streams(self.settings.nats_url)
            self._projections = Projections(home, self.url("projections"), {"add-tenant": self._add_tenant})
            await self._projections.start()
            if self.services:
                self._publisher = Publisher(self.settings, self._projections.metrics)
                await self._publisher.start()
                if self.settings.postgres:
                    self._sink = sink_of(self.settings, self.url("postgres"))
                    await self._sink.start()
                self._host = Host(self.settings, self.url, self._projections.feed)
                await self._host.start()
                if self.settings.health_port is not None:
                    self._health = HealthPage(self.settings.metrics_host, self.settings.health_port, self.health)
            self._write_note()
        except BaseException:
            await self.stop(0)
            raise

    async def _add_tenant(self, asked: dict[str, Any]) -> str:
        """Give a tenant an account on the running server; the operator asks for it."""
        if self.server is None:
            raise Refused("not-ours", "the server is not this engine's", "its operator adds tenants")
        name = str(asked.get("name", ""))
        try:
            await self.server.add_tenant(name)
        except BadName as error:
            raise Refused("bad-question", str(error)) from error
        return name

    async def _make_streams(self, url: str) -> None:
        """On a server that somebody else set up, make what is missing; where this user may not, it has to be there."""
        client = await connect(url, name="nightshift-bootstrap")
        try:
            try:
                await JetStreamLog(client).last_sequence()
            except (LogUnavailable, TimeoutError):
                await bootstrap(client, tenants=(self.settings.tenant,))
        finally:
            await client.close()

    async def _hand_out_again(self) -> None:
        """This server and its workers died or stopped together: nobody else holds a delivery."""
        client = await connect(self.url(BOOTSTRAP), name="nightshift-bootstrap")
        try:
            await hand_out_again(client)
        finally:
            await client.close()

    def _write_note(self) -> None:
        """Say that this engine runs, for clients and the next engine. Holds no secret."""
        note = {
            "pid": os.getpid(), "fingerprint": fingerprint(os.getpid()), "profile": self.settings.profile,
            "services": self.services, "port": self.server.port if self.server else None,
        }  # fmt: skip
        scratch = self.settings.home / f"{NOTE}.{os.getpid()}"
        scratch.write_text(json.dumps(note))
        scratch.rename(self.settings.home / NOTE)

    async def failed(self) -> None:
        """Returns never; raises what made a part of the engine end."""
        waiting = [asyncio.create_task(part.failed()) for part in (self._host, self._projections, self._sink) if part]
        try:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in waiting:
                task.cancel()

    async def health(self) -> dict[str, Any]:
        """How its parts are, but for the optional sink. Raises LogUnavailable, RuntimeError."""
        found = [await part.health() for part in (self._host, self._projections) if part]
        return {
            "services": [name for one in found for name in one["services"]],
            "applied": min(one["applied"] for one in found), "last": max(one["last"] for one in found),
        }  # fmt: skip

    async def stop(self, grace: float | None = None) -> None:
        """Stop taking work, let what runs finish or interrupt it, then stop everything else."""
        if self._health is not None:
            await self._health.close()
        if self._host is not None:
            await self._host.stop(self.settings.grace if grace is None else grace)
        if self._publisher is not None:
            await self._publisher.stop()
        if self._sink is not None:
            await self._sink.stop()
        if self._projections is not None:
            await self._projections.stop()
        if self.server is not None:
            await self.server.stop()
        if self._watch is not None:
            self._watch.cancel()
            with suppress(asyncio.CancelledError):
                await self._watch
        note = self.settings.home / NOTE
        with suppress(OSError, ValueError):
            if json.loads(note.read_text())["pid"] == os.getpid():
                note.unlink()
