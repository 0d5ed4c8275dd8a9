"""Which sandbox a task gets: the levels of this host, from the weakest to the strongest, and why others are missing."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from schemas.grants import LEVELS, Level
from services.sandbox import Sandbox, SandboxError, SandboxUnavailable
from services.sandbox.cgroups import parents
from services.sandbox.launcher import landlock

ABI_WITH_NAMESPACES = 2
"""Landlock from which files can be moved between folders; all else is then the namespaces' part."""
_USER_NAMESPACES = (
    "allow user namespaces (sysctl kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0)"
)


class LevelMissing(SandboxError):
    """No level of this host is as strong as what was asked for. The text names the remedy."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Offer:
    """One level on this host."""

    level: Level
    missing: str = ""
    """Why it cannot be had; empty if it can."""
    remedy: str = ""
    weaker: str = ""
    """What it cannot stop here though it can elsewhere."""


@dataclass(slots=True)
class Levels:
    """The sandboxes of one engine, each made when it is first needed."""

    state: Path
    """The engine's state folder, which no command may see."""
    default: Level | None = None
    """What tasks get whose plan asks for nothing stronger; None: `landlock` where it can be had, else `process`."""
    image: str | None = None
    host: str | None = None
    search: str = field(default_factory=lambda: os.environ.get("PATH", os.defpath))
    _made: dict[Level, Sandbox] = field(default_factory=dict)
    _offers: dict[Level, Offer] = field(default_factory=dict)
    _trying: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def choose(self, minimum: str | None, *, ports: bool = False) -> Sandbox:
        """The sandbox for a task: the default, or the next stronger level if the task's plan demands more.

        With `ports` it must be one that can open single ports. Raises LevelMissing, and never gives a weaker one.
        """
        wanted = self.default
        if wanted is None:
            wanted = "process" if (await self.offer("landlock")).missing else "landlock"
        least = max((level for level in LEVELS if level in (wanted, minimum)), key=LEVELS.index)
        candidates = [least] if least == wanted else LEVELS[LEVELS.index(least) :]
        for level in candidates:
            offer = await self.offer(level)
            if not offer.missing and (not ports or level in ("process", "landlock")):
                return self._made[level]
        offer = await self.offer(least)
        if not offer.missing:
            raise LevelMissing(f"the sandbox {least} cannot open single ports: grant network: host, or none")
        raise LevelMissing(f"this host has no sandbox {least}, nor a stronger one: {offer.missing}; {offer.remedy}")

    async def offer(self, level: Level) -> Offer:
        """Whether this host has a level; found out once, by trying it."""
        if level not in self._offers:
            async with self._trying:
                if level not in self._offers:
                    self._offers[level] = await _TRIALS[level](self)
        return self._offers[level]

    def made(self, level: Level) -> Sandbox:
        """The sandbox of a level that this host was found to have. Raises KeyError for any other."""
        return self._made[level]

    async def kill_marked(self, variable: str, value: str) -> int:
        """Kill what a dead engine has left running with `variable` set to `value` in its environment, at any level.

        Returns how many processes and containers. Raises SandboxError.
        """
        from services.sandbox.survivors import kill_marked

        killed = await kill_marked(variable, value)
        if not (await self.offer("docker")).missing:
            from services.sandbox.docker import DockerSandbox

            sandbox = self._made["docker"]
            assert isinstance(sandbox, DockerSandbox)
            killed += await sandbox.kill_marked(value)
        return killed

    async def close(self) -> None:
        """Close all."""
        for sandbox in self._made.values():
            await sandbox.close()

    async def _process(self) -> Offer:
        from services.sandbox.process import ProcessSandbox

        self._made["process"] = ProcessSandbox(parents())
        return Offer(level="process")

    async def _landlock(self) -> Offer:
        version = landlock.abi()
        if not version:
            return Offer(
                level="landlock", missing="the kernel has no Landlock" if sys.platform == "linux" else "not Linux",
                remedy="use Linux 5.19 or newer, with landlock among the kernel's security modules (lsm=…)",
            )  # fmt: skip
        from services.sandbox.landlock import SIGNALS_SINCE, LandlockSandbox

        sandbox = LandlockSandbox(self.state, self.search, parents())
        try:
            refusal = await sandbox.missing()
        except SandboxUnavailable as error:
            return Offer(level="landlock", missing=str(error), remedy="see the launcher's messages")
        if version < (SIGNALS_SINCE if refusal else ABI_WITH_NAMESPACES):
            await sandbox.close()
            missing = (
                f"version {version} of the kernel's Landlock is too old{', and there are ' * bool(refusal)}{refusal}"
            )
            return Offer(level="landlock", missing=missing, remedy=f"use Linux 6.12 or newer, or {_USER_NAMESPACES}")
        self._made["landlock"] = sandbox
        weaker = f"{refusal}: UDP and named sockets stay open; {_USER_NAMESPACES}" if refusal else ""
        return Offer(level="landlock", weaker=weaker)

    async def _bwrap(self) -> Offer:
        from services.sandbox.bwrap import BwrapSandbox, trial

        if shutil.which("bwrap") is None:
            return Offer(level="bwrap", missing="bubblewrap is not installed", remedy="install the package bubblewrap")
        sandbox = BwrapSandbox(self.state, self.search, parents())
        try:
            trouble = await trial(sandbox)
        except SandboxError as error:
            trouble = str(error)
        if trouble:
            await sandbox.close()
            return Offer(level="bwrap", missing=trouble, remedy=_USER_NAMESPACES)
        self._made["bwrap"] = sandbox
        return Offer(level="bwrap")

    async def _docker(self) -> Offer:
        if not self.image:
            remedy = "set NIGHTSHIFT_DOCKER_IMAGE to an image that has a shell and the tasks' tools"
            return Offer(level="docker", missing="no image is named", remedy=remedy)
        from services.sandbox.docker import DockerSandbox

        sandbox = DockerSandbox(self.state, self.image, self.host)
        if trouble := await sandbox.trial():
            await sandbox.close()
            remedy = "start the Docker engine, name it in NIGHTSHIFT_DOCKER_HOST, and load the image"
            return Offer(level="docker", missing=trouble, remedy=remedy)
        await sandbox.reconcile()
        self._made["docker"] = sandbox
        return Offer(level="docker")


_TRIALS: dict[Level, Callable[[Levels], Awaitable[Offer]]] = {
    "process": Levels._process, "landlock": Levels._landlock, "bwrap": Levels._bwrap, "docker": Levels._docker,
}  # fmt: skip
