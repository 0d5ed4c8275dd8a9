"""The embedded server: nats-server as a child of the engine, on loopback, with its store in the engine's home.

Everything lies in ``<home>/server``: configuration and credentials (0600 in a folder of 0700), port, log, pid file and
store. A lock there lets one engine run on one home. On Linux the server gets a SIGTERM when the thread that started it
ends, however it ends; so start it from a thread that lives as long as the engine.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import IO

import nats.errors
from nats.aio.client import Client

from events.log.access import BOOTSTRAP, SYSTEM, Profile, tenant_user, write_private
from events.log.isolation import ISOLATED
from events.log.streams import DEFAULT_TENANT, EVENTS_MAX_BYTES, bootstrap
from nightshift.server_health import WritesNoMore, look_at_store, reload
from nightshift.server_home import State, folder, passwords, read_state, server_url, write
from nightshift.server_process import ServerError, end, end_stale, fingerprint, free_port, is_free, lets_in, spawn
from schemas.names import tenant_id

log = logging.getLogger(__name__)

POLL = 0.01
"""Seconds between looks whether the server answers."""
START_WAIT = 15.0
"""Seconds that a start may take; a large store is read in before the server answers."""
LONGEST_PAUSE = 5.0
"""Seconds between two restarts of a server that dies again and again."""
RELOAD_WAIT = 3.0
"""Seconds that a server may take to read its configuration again."""
LEAST_BYTES = 64 * 1024 * 1024
"""With less room than this for the log nothing is started."""
HEALTH_CHECK = 3.0
"""Seconds between looks whether the server's store still writes."""
ROOM = 16 * 1024 * 1024
"""Free bytes with which a store that has stopped to write is worth another start."""


class EmbeddedServer:
    """One server for one home. ``max_bytes`` bounds the log: half the free disk, at most 8 GiB, unless it is given."""

    def __init__(
        self,
        home: Path,
        profile: Profile = "durable",
        *,
        tenants: tuple[str, ...] = (DEFAULT_TENANT,),
        max_bytes: int | None = None,
        isolated: bool = ISOLATED,
    ) -> None:
        self.home = home
        self.profile: Profile = profile
        self.isolated = isolated
        """Whether every service gets an account of its own."""
        self.restarts = 0
        """How often ``watch`` had to start the server again."""
        self._folder = folder(home)
        self._wanted = tuple(tenant_id(tenant) for tenant in tenants)
        self._max_bytes = max_bytes
        self._state: State | None = None
        self._lock: IO[str] | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False
        self._changing = asyncio.Lock()

    @property
    def port(self) -> int:
        """Where it listens. Raises ServerError before the first start."""
        return self._known().port

    @property
    def tenants(self) -> tuple[str, ...]:
        """Every tenant that has an account. Raises ServerError before the first start."""
        return self._known().tenants

    @property
    def pid(self) -> int | None:
        """The process number while it runs."""
        return self._process.pid if self._process and self._process.returncode is None else None

    def credentials(self, user: str) -> str:
        """The URL with which a user connects. Raises ServerError for an unknown one."""
        return server_url(self.home, user)

    async def start(self) -> None:
        """Start the server and make its streams. Raises ServerError, and then leaves nothing running."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._folder.chmod(0o700)
        self._take_lock()
        self._stopping = False
        try:
            if await end_stale(self._folder / "server.pid"):
                log.warning("a server that an earlier engine left behind was ended")
            (self._folder / "server.pid").unlink(missing_ok=True)
            self._state = self._plan()
            await self._begin()
        except BaseException:
            await self.stop()
            raise

    async def _begin(self) -> None:
        """Have it serve with its streams. Raises ServerError, if it died meanwhile only after a few tries."""
        for left in (2, 1, 0):
            await self._find_place()
            try:
                await self._bootstrap()
                return
            except ServerError as error:
                if not left or self.pid is not None:
                    raise
                log.warning("the server ended while it was being started, and is started once more: %s", error)
                await self._end()

    async def stop(self) -> None:
        """End the server. Harmless if it does not run."""
        self._stopping = True
        await self._end()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    async def watch(self) -> None:
        """Start the server again on its port whenever it dies, with growing pauses; returns after ``stop``."""
        healing = asyncio.create_task(self._heal())
        try:
            await self._restart()
        finally:
            healing.cancel()

    async def _heal(self) -> None:
        """Kill the server when its store writes no more although there is room again (hazard H22)."""
        while True:
            await asyncio.sleep(HEALTH_CHECK)
            try:
                await self._as(SYSTEM, look_at_store)
            except WritesNoMore as error:
                if shutil.disk_usage(self._folder / "store").free > ROOM and self._process is not None:
                    log.warning("the server is started again, for there is room: %s", error)
                    with contextlib.suppress(ProcessLookupError):
                        self._process.kill()
            except (ServerError, OSError) as error:
                log.debug("the server's health is unknown: %s", error)

    async def _restart(self) -> None:
        clock = asyncio.get_running_loop()
        pause = 0.0
        while (process := self._process) is not None and not self._stopping:
            since = clock.time()
            code = await process.wait()
            pause = 0.0 if clock.time() - since > LONGEST_PAUSE or not pause else min(pause * 2, LONGEST_PAUSE)
            if not self._stopping:
                log.warning("the server ended with %s and is started again in %.1f s", code, pause)
                await asyncio.sleep(pause)
            pause = pause or 0.1
            if self._stopping:
                return
            self.restarts += 1
            try:
                await self._launch()
            except ServerError as error:
                log.error("%s", error)

    async def add_tenant(self, tenant: str) -> str:
        """Give a tenant its account, user and bucket while the server runs; nobody is disconnected. Returns its URL.

        Idempotent. Raises BadName, or ServerError if the server does not take the new configuration.
        """
        name = tenant_user(tenant_id(tenant))
        async with self._changing:
            state = self._known()
            if self._process is None:
                raise ServerError("the server does not run: start it first")
            if tenant not in state.tenants:
                state.tenants = (*state.tenants, tenant)
            write(self.home, state, self.profile, isolated=self.isolated)
            await self._as(SYSTEM, reload)
            await self._wait_for(name)
            await self._bootstrap()
        return self.credentials(name)

    def _known(self) -> State:
        if self._state is None:
            raise ServerError("the server was not started")
        return self._state

    def _take_lock(self) -> None:
        if self._lock is not None:
            raise ServerError("the server is started already")
        lock = (self._folder / "lock").open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            lock.close()
            raise ServerError(
                f"an engine (process {holder}) runs on {self.home}: stop it, or use another home"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        self._lock = lock

    def _plan(self) -> State:
        """What was kept from the last start, or a first choice. Raises ServerError."""
        state = read_state(self.home)
        if state is None:
            room = shutil.disk_usage(self._folder).free // 2
            if room < LEAST_BYTES:
                raise ServerError(f"the disk below {self.home} is full: free some space, or use another home")
            state = State(free_port(), min(EVENTS_MAX_BYTES, room), ())
        state.tenants = (*state.tenants, *(tenant for tenant in self._wanted if tenant not in state.tenants))
        state.max_bytes = self._max_bytes or state.max_bytes
        return state

    async def _find_place(self) -> None:
        """Start on the known port, or on another one if somebody else listens there. Raises ServerError."""
        state = self._known()
        for left in (4, 3, 2, 1, 0):
            if not is_free(state.port):
                state.port = free_port()
            write(self.home, state, self.profile, isolated=self.isolated)
            try:
                await self._launch()
                return
            except ServerError:
                await self._end()
                if not left or is_free(state.port):
                    raise

    async def _launch(self) -> None:
        """Start the process and wait until it serves. Raises ServerError."""
        self._process = await spawn(self._folder / "nats.conf", self._folder / "server.log")
        if self._stopping:
            await self._end()
            raise ServerError("the server was stopped while it started")
        write_private(self._folder / "server.pid", json.dumps(fingerprint(self._process.pid)))
        await self._wait_for(SYSTEM)

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            await end(process)
            (self._folder / "server.pid").unlink(missing_ok=True)

    async def _wait_for(self, user: str) -> None:
        """Wait until the server lets a user in. Raises ServerError."""
        clock = asyncio.get_running_loop()
        until = clock.time() + START_WAIT
        password = passwords(self.home)[user]
        while not await lets_in(self.port, user, password):
            dead = self._process is None or (self._process.returncode is not None and user == SYSTEM)
            if dead or clock.time() > until:
                last = (self._folder / "server.log").read_text(errors="replace").splitlines()[-5:]
                what = "ended" if dead else f"does not let {user!r} in after {START_WAIT:.0f} s"
                raise ServerError(f"nats-server {what}; the end of {self._folder / 'server.log'}:\n" + "\n".join(last))
            await asyncio.sleep(POLL)

    async def _bootstrap(self) -> None:
        state = self._known()
        await self._as(BOOTSTRAP, lambda client: bootstrap(client, max_bytes=state.max_bytes, tenants=state.tenants))

    async def _as(self, user: str, what: Callable[[Client], Awaitable[None]]) -> None:
        """Do something over a connection of its own, repeated for a moment: a server that reads its configuration
        again lets nobody in meanwhile. Raises ServerError, and what ``what`` raises.
        """
        clock = asyncio.get_running_loop()
        until = clock.time() + RELOAD_WAIT
        while True:
            client = Client()
            try:
                await client.connect(
                    self.credentials(user),
                    inbox_prefix=f"_INBOX_{user}",
                    allow_reconnect=False,
                    max_reconnect_attempts=1,  # of connecting as well; by default a dead server is tried for minutes
                    reconnect_time_wait=0.1,  # type: ignore[arg-type]  # seconds; a fraction works
                    connect_timeout=5,
                    error_cb=_note,
                )
                await what(client)
                return
            except (nats.errors.Error, OSError) as error:
                if clock.time() > until:
                    why = f"{type(error).__name__}: {error}"
                    raise ServerError(f"the server does not serve {user}: {why}") from error
            finally:
                await client.close()
            await asyncio.sleep(POLL)


async def _note(error: Exception) -> None:
    log.debug("connection to the embedded server: %s", error)


__all__ = ["EmbeddedServer", "ServerError", "server_url"]
