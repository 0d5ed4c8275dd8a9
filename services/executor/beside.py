"""What goes on beside a running command: its watchdog, and checkpoints of what it has done so far."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from events.fold import ExecutionFold, TaskFold
from services.executor.checkpoints import Checkpoints, Commit
from services.executor.decide import Outcome
from services.executor.disk import Disk
from services.executor.health import Watchdog
from services.executor.watchdog import Monitor, Terms
from services.sandbox import Command, Ended, Running
from services.workspace import Workspace
from services.workspace.snapshot import Look

log = logging.getLogger(__name__)

Tell = Callable[[object], Awaitable[None]]
"""Says something about the attempt, which goes on."""


class Beside:
    """Made before the command starts, begun with it, ended with it."""

    def __init__(
        self,
        fold: ExecutionFold,
        task: TaskFold,
        lease: str,
        command: Command,
        *,
        folder: Path,
        workspace: Workspace,
        base: str,
        disk: Disk | None,
        look: Look | None,
        commit: Commit,
        tell: Tell,
    ) -> None:
        assert fold.plan is not None
        assert command.wall_seconds is not None
        policy = fold.plan.policy
        terms = Terms(
            health=policy.health, timeout=command.wall_seconds, estimate=task.spec.estimate,
            memory=command.limits.tree_memory_bytes or command.limits.memory_bytes,
        )  # fmt: skip
        self.watchdog = Watchdog(
            Monitor(terms, [kind for kind, stage in task.warned if stage == "warn"]),
            attempt=task.attempt, lease=lease, execution=fold.id, folder=folder, disk=disk, tell=tell,
        )  # fmt: skip
        self.checkpoints = Checkpoints(
            workspace,
            base=base,
            attempt=task.attempt,
            lease=lease,
            force=task.spec.outputs,
            look=look,
            commit=commit,
            tell=tell,
        )
        self._every = policy.checkpoint_interval
        self._disk = disk
        self._fold, self._task, self._lease = fold, task, lease
        self._tasks: list[asyncio.Task[None]] = []

    def take(self, chunk: bytes) -> None:
        """A chunk of output, as it may be shown to people."""
        self.watchdog.take(chunk)

    def begin(self, running: Running) -> None:
        """The command has started."""
        self._tasks.append(asyncio.create_task(self.watchdog.watch(running), name="watchdog"))
        if self._every > 0:
            making = self.checkpoints.run(self._every, self._room)
            self._tasks.append(asyncio.create_task(making, name="checkpoints"))

    async def end(self) -> None:
        """The command has ended, or shall end. What broke here is said; it is no fault of the command."""
        for each in self._tasks:
            each.cancel()
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        for each, result in zip(self._tasks, results, strict=True):
            if isinstance(result, Exception):
                log.error("the %s of an attempt broke", each.get_name(), exc_info=result)

    async def interrupted(self) -> str | None:
        """The engine stopped the command: a last checkpoint of what it had done, if any are wanted."""
        goes_on = self._fold.state != "cancelling" and self._task.lease == self._lease
        return await self.checkpoints.make() if self._every > 0 and goes_on and self._room() else None

    def _room(self) -> bool:
        return self._disk is None or self._disk.short() is None

    def judge(self, ended: Ended, outcome: Outcome) -> Outcome:
        """The outcome, which is a failure if it was the watchdog that ended the command."""
        unwell = self.watchdog.ending
        if unwell is None or not ended.killed or ended.error:
            return outcome
        return replace(outcome, timed_out=False, error=unwell.message, retryable=unwell.stage != "fail")
