"""The planner's wiring: triggers and timers in, decisions out."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable

import msgspec

from events.execution import PlanAccepted, PlanRejected, Problem
from events.fold import ExecutionFold
from events.log import Conflict, Delivery, DueTimer, LogUnavailable, Recorded, of_execution
from events.log.streams import PLANNER, SETTING_TIMERS
from events.request import ForkPoint, PlanSubmitted
from schemas.names import EXECUTION, BadName, execution_id
from schemas.safety.rules import LOOSEST, Safety
from services.logs import speak_of
from services.planner import fork, intake
from services.planner.decide import decide, due, timer_of
from services.planner.sweep import look_again
from services.shell import Context, Decision, Reactor

log = logging.getLogger(__name__)

MOMENT = 0.25
"""Seconds that a task may run before its lease gets a timer."""
STARTS = 1024
"""Starts and other facts that may wait for their timers at a time."""


class Planner:
    """Decides what is ready, retried, given up and over. Any number of copies may run."""

    def __init__(self, context: Context, rules_of: Callable[[str], Safety] = lambda tenant: LOOSEST) -> None:
        self.context = context
        self.rules_of = rules_of
        """The safety rules that plans of a tenant keep to."""
        self._reactors = [
            Reactor(context, PLANNER, self.react),
            Reactor(context, SETTING_TIMERS, self.set_timer, width=STARTS, in_order=False),
        ]

    async def run(self) -> None:
        """Serve for ever, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for reactor in self._reactors:
                group.create_task(reactor.run())
            group.create_task(self._timers())
            group.create_task(look_again(self.context.folds, self._go_on))

    async def stop(self, grace: float) -> None:
        """Take no more triggers and finish those at hand, within ``grace`` seconds."""
        await asyncio.gather(*(r.drain(grace) for r in self._reactors))

    async def react(self, trigger: Recorded, delivery: Delivery) -> None:
        """Do all that is due on the trigger's execution."""
        fold = await self.context.folds.at(trigger.tenant, trigger.execution, trigger.sequence)
        if fold.state == "submitted" and fold.submission is not None and not fold.newer:
            await self._take_in(fold, fold.submission)
        if trigger.id:
            await self.context.settle(fold, trigger.id, decide, trigger.trace)

    async def _go_on(self, fold: ExecutionFold, cause: str) -> None:
        await self.context.settle(fold, cause, decide)

    async def _take_in(self, fold: ExecutionFold, submission: Recorded) -> None:
        """Answer the first submission, under the guard of the execution."""
        expected = fold.guard_of(EXECUTION)
        answer = intake.on_its_branch(fold.id, await self._answer(fold, submission))
        decision = Decision(entity=EXECUTION, fact=answer, cause=submission.id)
        try:
            await self.context.append(
                self.context.draft(fold, decision, submission.id, trace=submission.trace, expected=expected)
            )
        except Conflict:
            log.debug("another copy answered the submission of %s", fold.id)

    async def _answer(self, fold: ExecutionFold, submission: Recorded) -> PlanAccepted | PlanRejected:
        fact = await self._resolve(fold.tenant, submission.fact)
        if isinstance(fact, PlanRejected):
            return fact
        parent, rules = None, self.rules_of(fold.tenant)
        if fact.fork is not None:
            try:
                execution_id(fact.fork.execution)
            except BadName as error:
                fault = Problem(code="bad-fork", message=str(error), hint="nightshift status lists executions")
                return PlanRejected(problems=(fault,), requested_by=submission.actor)
            parent = await self._parent(fold.tenant, fact.fork)
            if fact.plan is None and fact.documents is None:
                return fork.unchanged(parent, fact, requested_by=submission.actor, rules=rules)
        answer = await asyncio.to_thread(intake.read, fold.id, fact, requested_by=submission.actor, rules=rules)
        if parent is None or fact.fork is None or isinstance(answer, PlanRejected):
            return answer
        return fork.changed(parent, fact.fork, answer)

    async def _parent(self, tenant: str, point: ForkPoint) -> ExecutionFold:
        """The execution to branch off from, as it stood at the moment named."""
        parent = ExecutionFold(tenant, point.execution)
        until = point.at
        if point.task is not None:
            now = await self.context.folds.at(tenant, point.execution, 0)
            task = now.tasks.get(point.task)
            until = task.verified_sequence + 1 if task is not None and task.verified is not None else 0
        async for recorded in self.context.log.read(of_execution(tenant, point.execution)):
            if until is not None and recorded.sequence > until:
                break
            parent.apply(recorded)
        return parent

    async def _resolve(self, tenant: str, fact: PlanSubmitted) -> PlanSubmitted | PlanRejected:
        """Fetch an oversized plan from the object store; its digest is checked there (hazard H16)."""
        ref = fact.plan_ref
        if ref is None:
            return fact

        def rejected(message: str, hint: str) -> PlanRejected:
            return PlanRejected(problems=(Problem(code="bad-plan-ref", message=message, hint=hint),))

        if ref.bucket != f"artifacts-{tenant}":
            return rejected(f"the bucket {ref.bucket!r} is not this tenant's", f"use artifacts-{tenant}")
        if ref.size > 64 * 1024 * 1024:
            return rejected(f"the plan is {ref.size:,} bytes large; at most 64 MiB are read", "split the plan")
        try:
            raw = await self.context.log.get_blob(ref.bucket, ref.sha256)
            inner = json.loads(raw)
        except KeyError:
            return rejected(f"there is no object {ref.sha256} in {ref.bucket}", "store the plan before submitting it")
        except ValueError as error:
            return rejected(f"the object {ref.sha256} cannot be read: {error}", "store it again, as JSON")
        if not isinstance(inner, dict) or not set(inner) <= {"plan", "documents", "root", "format"}:
            return rejected("the object is not {plan} or {documents, root, format}", "see docs/events.md")
        try:
            return msgspec.convert({**msgspec.to_builtins(fact), "plan_ref": None, **inner}, PlanSubmitted)
        except msgspec.ValidationError as error:
            return rejected(f"the object does not fit: {error}", "see docs/events.md")

    async def set_timer(self, trigger: Recorded, delivery: Delivery) -> None:
        """The event came first; now its timer is set, and only then is the event acknowledged (hazard H12).

        Most tasks are over before their lease needs a timer, which would be a durable write of its own: a start is kept
        in hand for a moment first. Whoever dies meanwhile leaves it to another copy, long before the lease runs out.
        """
        if trigger.name == "TaskStarted":
            await asyncio.sleep(MOMENT)
        fold = await self.context.folds.at(trigger.tenant, trigger.execution, trigger.sequence)
        timer = timer_of(fold, trigger)
        if timer is not None:
            await self.context.log.set_timer(timer)

    async def _timers(self) -> None:
        running: set[asyncio.Task[None]] = set()
        async for fired in self.context.log.due():
            task = asyncio.create_task(self._fired(fired))
            running.add(task)
            task.add_done_callback(running.discard)

    async def _fired(self, fired: DueTimer) -> None:
        timer = fired.timer
        speak_of(timer.tenant, timer.execution, timer.entity)
        try:
            fold = await self.context.folds.at(timer.tenant, timer.execution, timer.sequence)
            while True:
                decisions = due(fold, timer)
                if decisions is None:
                    await self.context.settle(fold, timer.event, decide)
                    await fired.nak(1.0)
                    return
                if not decisions:
                    break
                try:
                    await self.context.append(self.context.draft(fold, decisions[0], timer.event))
                except Conflict:
                    continue
            await self.context.settle(fold, timer.event, decide)
            await fired.ack()
        except (LogUnavailable, TimeoutError) as error:
            log.warning("a timer of %s waits for the log: %s", timer.execution, error)
            await fired.nak(1.0)
        except Exception:
            log.exception("a timer of %s failed", timer.execution)
            await fired.nak(5.0)
