"""The executor's wiring: one message per free slot, a lease for each attempt, and the fence (DESIGN 4, Leases)."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from events.fold import ExecutionFold, TaskFold
from events.health import HealthWarned
from events.log import Conflict, Delivery, Draft, LogUnavailable, Recorded
from events.log.streams import EXECUTOR
from events.task import AttemptFailed, StaleResultRefused, TaskCancelled, TaskInterrupted, TaskStarted, Usage
from schemas.grants import resolved
from schemas.names import BRANCH
from services.executor.decide import Outcome, needs_workspace, next_move
from services.executor.disk import Disk
from services.executor.journal import Journal, Note, alive, boot_id, start_ticks
from services.executor.run import Runner
from services.executor.watchdog import Space, size
from services.sandbox import Sandbox, SandboxError, Sandboxes
from services.shell import Context, Decision, HandBack, LetGo, Reactor
from services.workspace.kept import Kept

log = logging.getLogger(__name__)

PULSE = 2.0
"""Seconds between progress signals."""
SILENCE = 6.0
"""Seconds without a confirmed signal after which a worker kills its own tree, before anybody takes over."""
MAX_INTERRUPTIONS = 10
"""Interruptions of one task after which the next one counts as a failed attempt: it may be what kills executors."""
NO_ROOM = 5.0
"""Seconds until a task that was not started for want of disk space is handed out again, to any host."""
LEASE_VARIABLE = "NIGHTSHIFT_LEASE"


@dataclass(slots=True)
class Attempt:
    """One try that this worker holds the lease of."""

    lease: str
    number: int
    delivery: Delivery
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    why: str = ""
    """Why it was told to stop: ``cancelled``, ``lost``, ``shutdown``, ``rollback`` or ``gate``."""
    over: asyncio.Event = field(default_factory=asyncio.Event)
    concluding: bool = False
    """Its result is being said: from here on the lease is compared at every try."""

    def end(self, why: str) -> None:
        """Tell it to stop; the first reason counts."""
        self.why = self.why or why
        self.stop.set()


class Executor:
    """Runs tasks. Any number of copies may run, on any number of hosts."""

    def __init__(
        self,
        context: Context,
        *,
        home: Path,
        slots: int,
        sandboxes: Sandboxes,
        passed: dict[str, str],
        disk: Disk | None = None,
        kept: Kept | None = None,
    ) -> None:
        self.context = context
        self.disk = disk
        """The disk of ``home`` and its reserve; None: it is not looked at."""
        self.sandboxes = sandboxes
        self.slots = slots
        self.kept = kept
        self.runner = Runner(context.log, home, passed, self._tell, disk, context.secrets, kept)
        self.journal = Journal(home / "leases")
        self.attempts: dict[str, Attempt] = {}
        self.host = socket.gethostname()
        self.boot = boot_id()
        self.ticks = start_ticks(os.getpid())
        self._reactor = Reactor(context, EXECUTOR, self.react, width=slots, in_order=False, keep_alive=False)

    async def run(self) -> None:
        """Serve for ever, until cancelled."""
        await self._clean_up()
        await self._reactor.run()

    async def stop(self, grace: float) -> None:
        """Take no more tasks; what runs may finish within ``grace`` seconds, then it is interrupted."""
        await self._reactor.drain(grace)
        for attempt in list(self.attempts.values()):
            attempt.end("shutdown")
        await self._reactor.drain(10.0)

    async def _clean_up(self) -> None:
        """Kill what dead executors of this host left behind, and have their deliveries handed out again at once."""
        for note in self.journal.orphans():
            killed = await self.sandboxes.kill_marked(LEASE_VARIABLE, note.lease) if note.boot_id == self.boot else 0
            log.info("attempt %s of task %s lost its executor; %d processes killed", note.lease, note.task, killed)
            await self.context.log.hand_back(note.reply)
            self.journal.remove(note.lease)

    async def react(self, ready: Recorded, delivery: Delivery) -> None:
        """Deal with one TaskReady, whoever has tried it before."""
        fold = await self.context.folds.at(ready.tenant, ready.execution, ready.sequence)
        while True:
            task = fold.tasks.get(ready.entity)
            move = next_move(fold, task, ready, mine=frozenset(self.attempts))
            if move == "leave" or task is None:
                return
            try:
                if move == "mine":
                    await self._adopt(self.attempts[task.lease], delivery)
                elif move == "take over":
                    await self._take_over(fold, task, delivery)
                elif move == "wait":
                    await self._changed(fold, task)
                elif move == "cancel":
                    fact = TaskCancelled(reason=fold.reason, attempt=task.attempt, lease=task.lease)
                    decision = Decision(entity=task.spec.id, fact=fact, attempt=task.attempt)
                    await self.context.append(self.context.draft(fold, decision, ready.id))
                elif self.disk and needs_workspace(task.spec) and (space := await self._short(self.disk)):
                    await self._refuse(fold, task, ready, self.disk, space)
                else:
                    await self._attempt(fold, task, ready, delivery)
            except Conflict:
                continue

    async def _short(self, disk: Disk) -> Space | None:
        """The room there is, if that is less than the reserve although nothing is kept any more."""
        if self.kept is not None and disk.short():
            await asyncio.to_thread(self.kept.make_room)
        return disk.short()

    async def _refuse(self, fold: ExecutionFold, task: TaskFold, ready: Recorded, disk: Disk, space: Space) -> None:
        """Start nothing below the reserve (hazard H22): say so once, and let any host have it. Raises HandBack."""
        if ("disk", "wait") not in task.warned:
            needed = disk.needed(space)
            message = f"it waits for disk space: {size(space.free)} free on {self.host}, the reserve is {size(needed)}"
            fact = HealthWarned(
                kind="disk", stage="wait", value=space.free, limit=needed, message=message, attempt=task.attempt
            )
            decision = Decision(entity=task.spec.id, fact=fact, attempt=task.attempt)
            await self.context.append(self.context.draft(fold, decision, ready.id, trace=ready.trace))
        raise HandBack(NO_ROOM)

    async def _adopt(self, attempt: Attempt, delivery: Delivery) -> None:
        """A message of my own came again: keep signalling on the newest one."""
        attempt.delivery = delivery
        await attempt.over.wait()

    async def _changed(self, fold: ExecutionFold, task: TaskFold) -> None:
        """Wait until something happens to the execution."""
        changed = asyncio.Event()
        end = self.context.folds.observe(fold.tenant, fold.id, lambda _: changed.set())
        try:
            async with asyncio.timeout(5.0):
                await changed.wait()
        except TimeoutError:
            log.debug("task %s still waits", task.spec.id)
        finally:
            end()

    async def _take_over(self, fold: ExecutionFold, task: TaskFold, delivery: Delivery) -> None:
        """The holder of the lease fell silent: end its lease, so that the task is ready again (hazards H5, H7)."""
        started, lease = task.started, task.lease
        if started is None:
            return
        here = started.host == self.host and started.boot_id == self.boot
        gone = here and not alive(started.boot_id, started.pid, started.start_ticks)
        if delivery.deliveries <= started.delivery and not gone:
            raise LetGo  # the lease is of a later delivery than mine, or as old: it is I who fell silent
        if here:
            await self.sandboxes.kill_marked(LEASE_VARIABLE, lease)
        reason = f"executor {started.worker} on {started.host} {'died' if gone else 'fell silent'}"
        fact: TaskInterrupted | TaskCancelled | AttemptFailed
        if fold.state == "cancelling":
            fact = TaskCancelled(reason=fold.reason, attempt=task.attempt, lease=lease)
        elif task.interruptions >= MAX_INTERRUPTIONS:
            reason = f"interrupted {task.interruptions + 1} times; the last time {reason}"
            fact = AttemptFailed(attempt=task.attempt, lease=lease, reason=reason)
        else:
            fact = TaskInterrupted(attempt=task.attempt, lease=lease, reason=reason)
        if task.lease != lease or task.state != "running":
            return
        decision = Decision(entity=task.spec.id, fact=fact, attempt=task.attempt)
        await self.context.append(self.context.draft(fold, decision, lease))

    async def _attempt(self, fold: ExecutionFold, task: TaskFold, ready: Recorded, delivery: Delivery) -> None:
        """One attempt, from lease to result. Raises Conflict only before it began."""
        sandbox, refusal = await self._sandbox(fold, task)
        started = TaskStarted(
            attempt=task.attempt, worker=self.context.actor, host=self.host, boot_id=self.boot, pid=os.getpid(),
            start_ticks=self.ticks, sandbox=sandbox.level if sandbox else "none", delivery=delivery.deliveries,
        )  # fmt: skip
        decision = Decision(entity=task.spec.id, fact=started, attempt=task.attempt)
        draft = self.context.draft(fold, decision, ready.id, trace=ready.trace)
        draft = replace(draft, claim=f"{self.context.actor} {self.boot} {self.ticks}")
        lease = draft.id
        if lease in self.attempts:  # it was handed to me twice, and I am about to start it
            await self._adopt(self.attempts[lease], delivery)
            return
        attempt = Attempt(lease, task.attempt, delivery)
        note = Note(lease, fold.tenant, fold.id, task.spec.id, delivery.reply, self.boot, os.getpid(), self.ticks)
        self.attempts[lease] = attempt
        end_watch: Callable[[], None] | None = None
        pulse: asyncio.Task[None] | None = None
        try:
            if not task.spec.noop:
                self.journal.write(note)
            await self.context.append(draft)
            end_watch = self.context.folds.observe(fold.tenant, fold.id, lambda _: self._watch(fold, task, attempt))
            self._watch(fold, task, attempt)
            pulse = asyncio.create_task(self._pulse(attempt))
            held = await self._run(fold, task, attempt, ready, sandbox, refusal)
            if attempt.why == "shutdown":
                raise HandBack
            if not held:
                raise LetGo
        finally:
            if pulse:
                pulse.cancel()
            if end_watch is not None:
                end_watch()
            del self.attempts[lease]
            attempt.over.set()
            if not task.spec.noop:
                self.journal.remove(lease)

    def _watch(self, fold: ExecutionFold, task: TaskFold, attempt: Attempt) -> None:
        """Called on every event of the execution: the fence is data (hazard H5)."""
        if attempt.concluding:
            return
        if task.lease != attempt.lease:
            attempt.end("lost")
        elif fold.state == "cancelling":
            attempt.end("cancelled")
        elif fold.rollback is not None:
            attempt.end("rollback")
        elif task.gate:
            attempt.end("gate")

    async def _pulse(self, attempt: Attempt) -> None:
        """Say every two seconds that the work goes on; without an answer for six, stop it."""
        confirmed = time.monotonic()
        while True:
            await asyncio.sleep(PULSE)
            if await attempt.delivery.progress():
                confirmed = time.monotonic()
            elif time.monotonic() - confirmed > SILENCE:
                attempt.end("lost")

    async def _confirm(self, attempt: Attempt) -> None:
        """Look at the log before anything runs: whoever was stopped meanwhile may have lost its lease."""
        try:
            await self.context.folds.reached(await self.context.log.last_sequence())
        except (LogUnavailable, TimeoutError):
            attempt.end("lost")

    async def _sandbox(self, fold: ExecutionFold, task: TaskFold) -> tuple[Sandbox | None, str]:
        """The sandbox for a task, or none and why: nothing weaker than its plan demands ever takes its place."""
        assert fold.plan is not None
        policy = fold.plan.policy
        if not needs_workspace(task.spec):
            return None, ""
        try:
            ports = bool(resolved(policy.isolation, task.spec.isolation).ports)
            return await self.sandboxes.choose(policy.sandbox, ports=ports), ""
        except SandboxError as error:
            return None, str(error)

    async def _run(
        self,
        fold: ExecutionFold,
        task: TaskFold,
        attempt: Attempt,
        ready: Recorded,
        sandbox: Sandbox | None,
        refusal: str,
    ) -> bool:
        """Run it and say what came of it; False if the lease was somebody else's by then."""
        number, lease = attempt.number, attempt.lease
        try:
            if refusal:
                outcome = Outcome(error=refusal, retryable=False, usage=Usage(seconds=0.0))
            else:
                outcome = await self.runner.run(
                    fold, task, lease, attempt.stop, self._create_branch, lambda: self._confirm(attempt), sandbox
                )
        except LogUnavailable as error:  # not the task's fault
            attempt.end("lost")
            outcome = Outcome(error=str(error), usage=Usage(seconds=0.0))
        except Exception as error:
            log.exception("attempt %d of task %s broke", number, task.spec.id)
            reason = f"the engine could not run it: {type(error).__name__}: {error}"
            outcome = Outcome(error=reason, usage=Usage(seconds=0.0))
        if outcome.error:
            outcome = replace(outcome, error=self.context.clean(outcome.error))
        attempt.concluding = True
        fact: object
        if attempt.why == "cancelled":
            reason = fold.reason or "the execution is being cancelled"
            fact = TaskCancelled(reason=reason, attempt=number, lease=lease, usage=outcome.usage, output=outcome.output)
        elif attempt.why == "shutdown":
            fact = TaskInterrupted(
                attempt=number, lease=lease, reason=f"{self.context.actor} shut down", commit=outcome.commit
            )
        elif attempt.why in ("rollback", "gate"):
            reason = "the branch goes back" if attempt.why == "rollback" else task.reason
            fact = TaskInterrupted(attempt=number, lease=lease, reason=reason, commit=outcome.commit)
        elif attempt.why == "lost":
            fact = TaskInterrupted(
                attempt=number,
                lease=lease,
                reason=f"{self.context.actor} lost touch with the log",
                commit=outcome.commit,
            )
        else:
            fact = self.runner.conclude(fold, task, attempt.number, lease, outcome)
        return await self._say(fold, task, attempt, fact, ready.trace)

    async def _tell(self, fold: ExecutionFold, task: TaskFold, lease: str, fact: object) -> None:
        """Say something about an attempt that goes on; nothing once its lease is gone or its end is being said."""
        attempt = self.attempts.get(lease)
        while attempt is not None and task.lease == lease and not attempt.concluding and attempt.why != "lost":
            try:
                decision = Decision(entity=task.spec.id, fact=fact, attempt=attempt.number)
                await self.context.append(self.context.draft(fold, decision, lease))
                return
            except Conflict:
                continue
            except (LogUnavailable, TimeoutError) as error:
                log.warning("%s of attempt %s is not in the log: %s", type(fact).__name__, lease, error)
                return

    async def _say(self, fold: ExecutionFold, task: TaskFold, attempt: Attempt, fact: object, trace: str) -> bool:
        """Append the end of an attempt, however long that takes (hazard H22); False if the lease is gone."""
        pause = 0.2
        draft: Draft | None = None
        while True:
            try:
                if draft is not None or task.lease == attempt.lease:
                    end = Decision(entity=task.spec.id, fact=fact, attempt=attempt.number)
                    draft = draft or self.context.draft(fold, end, attempt.lease, trace=trace)
                    await self.context.append(draft)  # after no answer the same again: it may have been stored
                    return True
                what = type(fact).__name__
                stale = StaleResultRefused(
                    attempt=attempt.number, lease=attempt.lease, what=what, current=task.lease or None
                )
                decision = Decision(entity=task.spec.id, fact=stale, attempt=attempt.number)
                await self.context.append(self.context.draft(fold, decision, attempt.lease))
                return False
            except Conflict:
                draft = None
            except (LogUnavailable, TimeoutError) as error:
                log.warning("the end of attempt %s waits for the log: %s", attempt.lease, error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, 5.0)

    async def _create_branch(self, fold: ExecutionFold, fact: object, cause: str) -> None:
        """Say where the execution's branch starts; if another copy said so first, that stands."""
        if fold.created is not None:
            return
        try:
            await self.context.append(self.context.draft(fold, Decision(entity=BRANCH, fact=fact), cause))
        except Conflict:
            log.debug("the branch of %s exists already", fold.id)
