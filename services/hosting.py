"""Putting a service together and running it, alone or beside others in one process."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from events.log import EventLog
from events.log.connection import LeanClient, connect
from events.log.feed import Feed
from events.log.jetstream import JetStreamLog
from schemas.settings import Settings
from services.folds import Folds
from services.sandbox.levels import Levels
from services.secrets import logs as secret_logs
from services.secrets.grants import Secrets
from services.shell import Context
from services.telemetry import traced, tracing_of

if TYPE_CHECKING:
    from services.executor.disk import Disk
    from services.workspace.kept import Kept

log = logging.getLogger(__name__)

NAMES = ("planner", "executor", "verifier", "notifier", "learner")
COLLECTIONS = (20_000, 20, 50)
"""When Python looks for cycles among new, older and all objects. With its own numbers (700, 10, 10) that took a fifth
of a busy engine's time, for next to nothing: what a step allocates ends with it."""
STOPPING = ("executor", "verifier", "planner", "notifier", "learner")
"""In which order, so that what one finishes, the next can still deal with."""

KEEPERS = {"executor", "verifier"}
"""Services that keep files of attempts in the home of their host."""


class Service(Protocol):
    """What every service can do."""

    async def run(self) -> None: ...
    async def stop(self, grace: float) -> None: ...


def build(name: str, context: Context, settings: Settings, sandboxes: Callable[[], Levels]) -> Service:
    """One service, ready to run. Raises KeyError for an unknown name."""
    if name == "planner":
        from services.planner.service import Planner

        return Planner(context, settings.safety_rules())
    if name == "executor":
        from services.executor.service import Executor

        return Executor(
            context,
            home=settings.home,
            slots=settings.slots,
            sandboxes=sandboxes(),
            passed=settings.passed(),
            disk=disk_of(settings),
            kept=kept_of(settings),
        )
    if name == "verifier":
        from services.verifier.service import Verifier

        return Verifier(
            context,
            home=settings.home,
            sandboxes=sandboxes(),
            passed=settings.passed(),
            width=settings.judges,
            kept=kept_of(settings),
        )
    if name == "notifier":
        from services.notifier.service import Notifier

        return Notifier(context, settings)
    if name == "learner":
        from services.learner.hosting import build_learner

        return build_learner(context, settings)
    raise KeyError(name)


def disk_of(settings: Settings) -> Disk:
    """The disk of the home, with its reserve."""
    from services.executor.disk import Disk

    return Disk(settings.home, settings.disk_reserve, settings.disk_share)


def kept_of(settings: Settings) -> Kept:
    """Where the files of attempts that went wrong are kept."""
    from services.workspace.kept import Kept

    return Kept(settings.home, settings.keep_failed, disk_of(settings).short)


def levels_of(settings: Settings) -> Levels:
    """The sandboxes as the settings have them."""
    return Levels(
        settings.home, default=settings.sandbox, image=settings.docker_image, host=settings.docker_host,
        search=settings.passed().get("PATH", os.defpath),
    )  # fmt: skip


class Host:
    """Runs services in this process, each over its own connection, all on the same folds."""

    def __init__(self, settings: Settings, url_of: Callable[[str], str], feed: Feed | None = None) -> None:
        self.settings = settings
        self.feed = feed
        """What somebody else in this process hears of the log; None: the first service listens itself."""
        self.url_of = url_of
        """The URL with which a service connects, by its name."""
        self._clients: list[LeanClient] = []
        self._services: dict[str, Service] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._sandboxes: Levels | None = None
        self._tracing = tracing_of(settings)

    async def start(self, names: tuple[str, ...] = NAMES) -> None:
        """Connect and start. Raises LogUnavailable, KeyError."""
        gc.set_threshold(*COLLECTIONS)
        logs: dict[str, EventLog] = {}
        for name in names:
            client = await connect(self.url_of(name), name=f"nightshift-{name}")
            self._clients.append(client)
            logs[name] = traced(JetStreamLog(client, self.feed), name, self._tracing)
        self._folds = folds = Folds(logs[names[0]])
        self._tasks.append(asyncio.create_task(folds.follow(), name="folds"))
        secrets = Secrets(self.settings.home)
        secret_logs.protect(secrets.clean)
        actor = f"@{socket.gethostname()}:{os.getpid()}"
        for name in names:
            context = Context(name, name + actor, logs[name], folds, secrets)
            service = build(name, context, self.settings, self._one_levels)
            self._services[name] = service
            self._tasks.append(asyncio.create_task(service.run(), name=name))
        if KEEPERS & set(names):
            self._tasks.append(asyncio.create_task(kept_of(self.settings).tidy(), name="kept"))
        waiting = asyncio.create_task(folds.started.wait())
        await asyncio.wait({waiting, *self._tasks}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        self._check()

    def _one_levels(self) -> Levels:
        if self._sandboxes is None:
            self._sandboxes = levels_of(self.settings)
        return self._sandboxes

    def _check(self) -> None:
        for task in self._tasks:
            if task.done():
                task.result()
                raise RuntimeError(f"{task.get_name()} ended by itself")

    async def failed(self) -> None:
        """Returns never; raises what made a service end."""
        await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        self._check()

    async def health(self) -> dict[str, Any]:
        """How it is. Raises LogUnavailable if the log does not answer, or what made a service end."""
        self._check()
        last = await self._folds.log.last_sequence()
        return {"services": list(self._services), "applied": self._folds.applied, "last": last}

    async def stop(self, grace: float) -> None:
        """SIGTERM's way: take no more work, let what runs finish within ``grace`` seconds, then interrupt it."""
        for name in STOPPING:
            if name in self._services:
                await self._services[name].stop(grace)
        for task in self._tasks:
            task.cancel()
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        for task, result in zip(self._tasks, results, strict=True):
            if isinstance(result, Exception):
                log.error("%s ended with %r", task.get_name(), result)
        if self._sandboxes is not None:
            await self._sandboxes.close()
        if self._tracing is not None:
            await self._tracing.close()
        for client in self._clients:
            await client.close()
