"""The one loop that all services share: take a trigger, fold, decide, append, and acknowledge when the fold shows why.

Decisions are pure and know no log; here they become drafts with ids, causes and guards. On a conflict the service folds
again and decides again (DESIGN 2).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from events import CATALOGUE
from events.execution import DeadLettered
from events.fold import ExecutionFold
from events.log import Appended, Conflict, Consumer, Delivery, Draft, EventLog, LogUnavailable, Recorded
from events.machines import BRANCH as BRANCH_LIFE
from events.machines import EXECUTION as EXECUTION_LIFE
from events.machines import TASK as TASK_LIFE
from schemas.names import EXECUTION, INBOX
from services.folds import Folds
from services.logs import speak_of
from services.secrets.grants import Secrets

log = logging.getLogger(__name__)

ROUNDS = 10_000
"""Rounds of deciding on one trigger before something must be wrong."""
PATIENCE = 25
"""Deliveries of one message before it becomes a dead letter."""
HANDED_ON = 0.5
"""Seconds until a message that reached a stopping copy is handed out again, so that it does not come back at once."""


class TooOld(Exception):
    """The log holds events of a newer version; this copy must not decide (hazard H18)."""


class HandBack(Exception):
    """This copy cannot deal with the message now; somebody shall have it, at once or after a delay in seconds."""

    def __init__(self, delay: float = 0.0) -> None:
        super().__init__(delay)
        self.delay = delay


class LetGo(Exception):
    """The message is somebody else's by now: neither acknowledge it nor hand it back (hazard H6)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """A fact that should be appended to an entity, and why."""

    entity: str
    fact: Any
    attempt: int = 0
    cause: str = ""
    """The id of what caused it, where it is not the trigger."""
    actor: str = ""


@dataclass(frozen=True, slots=True)
class Context:
    """What a service needs to act: its name on events, the log, and the folds."""

    service: str
    actor: str
    log: EventLog
    folds: Folds
    secrets: Secrets | None = None
    """What the process has opened of the vault; None: the service makes its own."""

    def draft(
        self, fold: ExecutionFold, decision: Decision, cause: str, *, trace: str = "", expected: int | None = None
    ) -> Draft:
        """Turn a decision on a fold into something that can be appended; nothing may be awaited between the two.

        ``expected``: the guard's sequence when a long decision began. Raises Conflict if the entity has moved on since,
        IllegalTransition if no row of the tables leads there.
        """
        current = fold.guard_of(decision.entity)
        if expected is not None and expected != current:
            raise Conflict(f"{fold.id}/{decision.entity}", current)
        _check(fold, decision)
        return Draft(
            tenant=fold.tenant,
            execution=fold.id,
            entity=decision.entity,
            fact=decision.fact,
            cause=decision.cause or cause,
            correlation=fold.correlation or fold.id,
            actor=decision.actor or self.actor,
            expected=current,
            attempt=decision.attempt,
            trace=fold.submission.trace if fold.submission is not None else trace,
        )

    def clean(self, text: str) -> str:
        """A text without secrets."""
        return self.secrets.clean(text) if self.secrets else text

    async def append(self, *drafts: Draft) -> list[Appended]:
        """Append all together or not at all, and wait until the folds hold it. Raises Conflict if overtaken."""
        try:
            appended = await self.log.append(*drafts)
        except Conflict as conflict:
            await self.folds.reached(conflict.sequence)
            raise
        await self.folds.reached(appended[-1].sequence)
        return appended

    async def settle(
        self, fold: ExecutionFold, trigger: str, decide: Callable[[ExecutionFold], list[Decision]], trace: str = ""
    ) -> None:
        """Decide and append until nothing is due. Decisions of one round go to different entities, side by side."""
        for _ in range(ROUNDS):
            if fold.newer:
                raise TooOld(fold.newer)
            decisions = list({d.entity: d for d in reversed(decide(fold))}.values())[::-1]
            if not decisions:
                return
            drafts = [self.draft(fold, d, trigger, trace=trace) for d in decisions]
            results = await asyncio.gather(*(self.append(d) for d in drafts), return_exceptions=True)
            for result in results:
                if isinstance(result, BaseException) and not isinstance(result, Conflict):
                    raise result
        raise RuntimeError(f"the {self.service} does not come to an end on {trigger}")


def _check(fold: ExecutionFold, decision: Decision) -> None:
    """A fact that no row of the tables allows is a mistake of whoever decided it, and is not appended."""
    name = type(decision.fact).__name__
    on = CATALOGUE[name].on
    if on == "task":
        task = fold.tasks.get(decision.entity)
        if task is not None and name in TASK_LIFE.facts:
            TASK_LIFE.evolve(task.state, name)
    elif on == "execution" and name in EXECUTION_LIFE.facts:
        EXECUTION_LIFE.evolve(fold.state, name)
    elif on == "branch" and name in BRANCH_LIFE.facts:
        BRANCH_LIFE.evolve(fold.branch, name)


React = Callable[[Recorded, Delivery], Awaitable[None]]
"""Deals with one trigger. When it returns, the message is acknowledged; raising means that it shall come again."""


class Reactor:
    """Takes triggers of one durable consumer and reacts to them, several at once, in order for each execution."""

    def __init__(
        self,
        context: Context,
        consumer: Consumer,
        react: React,
        *,
        width: int = 256,
        in_order: bool = True,
        keep_alive: bool = True,
    ) -> None:
        self.context = context
        self.consumer = consumer
        self.react = react
        self.width = width
        self.in_order = in_order
        """One at a time for each execution."""
        self.keep_alive = keep_alive
        """Signal progress on what takes long; the executor does that itself."""
        self._busy: dict[Delivery, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._lines: dict[tuple[str, str], tuple[asyncio.Lock, int]] = {}
        self._stopping = False

    async def run(self) -> None:
        """React for ever, until cancelled."""
        pulse = asyncio.create_task(self._pulse()) if self.keep_alive else None
        freed = asyncio.Event()

        def over(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            freed.set()

        deliveries = self.context.log.consume(self.consumer, want=self._want, freed=freed)
        try:
            async for delivery in deliveries:
                if self._stopping:  # it was asked for before: somebody else shall have it
                    await delivery.nak(HANDED_ON)
                    continue
                task = asyncio.create_task(self._handle(delivery))
                self._tasks.add(task)
                task.add_done_callback(over)
        finally:
            if pulse:
                pulse.cancel()
            await deliveries.aclose()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _pulse(self) -> None:
        """Keep what takes long from being handed out again; side by side, so that one lost signal delays no other."""
        clock = asyncio.get_running_loop()
        every = self.consumer.ack_wait / 4
        while True:
            await asyncio.sleep(every)
            long = [delivery for delivery, since in self._busy.items() if clock.time() - since > every]
            heard = await asyncio.gather(*(delivery.progress() for delivery in long))
            if not all(heard):
                log.warning("%s: %d progress signals were not heard", self.context.service, heard.count(False))

    async def drain(self, seconds: float) -> None:
        """Let what is being dealt with come to its end."""
        self._stopping = True
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=seconds)

    def _want(self) -> int:
        return 0 if self._stopping else self.width - len(self._tasks)

    async def _handle(self, delivery: Delivery) -> None:
        about = delivery.recorded
        speak_of(about.tenant, about.execution, about.entity, about.trace)
        self._busy[delivery] = asyncio.get_running_loop().time()
        try:
            await self._in_line(delivery)
        finally:
            del self._busy[delivery]

    async def _in_line(self, delivery: Delivery) -> None:
        if not self.in_order:
            await self._react(delivery)
            return
        key = (delivery.recorded.tenant, delivery.recorded.execution)
        lock, waiting = self._lines.get(key) or (asyncio.Lock(), 0)
        self._lines[key] = (lock, waiting + 1)
        try:
            async with lock:
                await self._react(delivery)
        finally:
            lock, waiting = self._lines[key]
            if waiting == 1:
                del self._lines[key]
            else:
                self._lines[key] = (lock, waiting - 1)

    async def _react(self, delivery: Delivery) -> None:
        recorded = delivery.recorded
        try:
            if recorded.standing == "newer":
                raise TooOld(recorded.reason)
            if recorded.standing == "quarantined" and not (recorded.entity == INBOX and recorded.id):
                log.warning("set aside %s at %d: %s", recorded.subject, recorded.sequence, recorded.reason)
            else:
                await self.react(recorded, delivery)
            await delivery.ack()
        except asyncio.CancelledError:
            await delivery.nak()
            raise
        except HandBack as back:
            await delivery.nak(back.delay)
        except LetGo:
            log.info("%s lets go of %s at %d", self.context.service, recorded.name, recorded.sequence)
        except TooOld as error:
            log.error("%s cannot decide on %s: %s; update this copy", self.context.service, recorded.execution, error)
            await delivery.nak(30.0)
        except (LogUnavailable, TimeoutError) as error:
            log.warning("%s waits for the log: %s", self.context.service, error)
            with suppress(LogUnavailable):
                await delivery.nak(1.0)
        except Exception as error:
            log.exception("%s failed on %s at %d", self.context.service, recorded.name, recorded.sequence)
            await self._failed(delivery, error)

    async def _failed(self, delivery: Delivery, error: Exception) -> None:
        """Come again later; after many times, say so in the log and let the line go on (hazard H14)."""
        recorded = delivery.recorded
        if delivery.deliveries < PATIENCE:
            await delivery.nak(min(30.0, 0.2 * 2 ** min(delivery.deliveries, 10)))
            return
        letter = DeadLettered(
            service=self.context.service,
            sequence=recorded.sequence,
            event=recorded.name,
            reason=self.context.clean(f"{type(error).__name__}: {error}"),
            deliveries=delivery.deliveries,
            task=None if recorded.entity in (EXECUTION, INBOX) else recorded.entity,
        )
        try:
            fold = await self.context.folds.at(recorded.tenant, recorded.execution, recorded.sequence)
            draft = self.context.draft(fold, Decision(entity=EXECUTION, fact=letter), recorded.id)
            await self.context.append(draft)
            await delivery.ack()
        except (Conflict, LogUnavailable):
            await delivery.nak(1.0)
