"""Checkpoints inside a long task (EX-3): what it has done so far, recorded while it goes on.

A checkpoint is not taken at one instant: each file is as it was when git read it, and a file that is being written may
be in it by half. It is kept as evidence, and for going on after the engine had to interrupt; nobody judges it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence

from events.health import TaskCheckpointed
from services.secrets.grants import SecretFound
from services.workspace import GitFailed, Unrecordable, Workspace
from services.workspace.snapshot import Look

log = logging.getLogger(__name__)

REST = 20
"""A checkpoint that took so long is followed by a rest at least this many times as long."""

Commit = Callable[[str], Awaitable[str]]
"""Makes a tree a commit on top of where the attempt started."""
Tell = Callable[[TaskCheckpointed], Awaitable[None]]


class Checkpoints:
    """Of one attempt."""

    def __init__(
        self,
        workspace: Workspace,
        *,
        base: str,
        attempt: int,
        lease: str,
        force: Sequence[str],
        look: Look | None = None,
        commit: Commit,
        tell: Tell,
    ) -> None:
        self.workspace = workspace
        self.base = base
        self.attempt = attempt
        self.lease = lease
        self.force = force
        """What is recorded although `.gitignore` names it."""
        self.look = look
        """Refuses what holds a secret."""
        self.commit = commit
        self.tell = tell
        self._began = time.monotonic()
        self._tree = ""
        self._newest: str | None = None

    async def run(self, every: float, room: Callable[[], bool]) -> None:
        """Record what has changed every so many seconds, if there is ``room``, until cancelled."""
        took = 0.0
        while True:
            await asyncio.sleep(max(every, REST * took))
            if room():
                at = time.monotonic()
                await self.make()
                took = time.monotonic() - at

    async def make(self) -> str | None:
        """Record what has changed since the newest checkpoint, and return the newest then; None: there is none."""
        try:
            self._tree = self._tree or await self.workspace.repository.tree_of(self.workspace.commit)
            tree = await self.workspace.snapshot(force=self.force, look=self.look)
            if tree == self._tree:
                return self._newest
            commit = await self.commit(tree)
        except (
            GitFailed,
            Unrecordable,
            SecretFound,
            OSError,
        ) as error:  # it is being changed, for example
            log.info("no checkpoint inside attempt %s this time: %s", self.lease, error)
            return self._newest
        fact = TaskCheckpointed(
            attempt=self.attempt, lease=self.lease, base=self.base, commit=commit, tree=tree,
            seconds=round(time.monotonic() - self._began, 3),
        )  # fmt: skip
        await self.tell(fact)
        self._tree, self._newest = tree, commit
        return commit
