"""The learner's wiring: ends of tasks become lessons, accepted plans get recommendations, questions are answered.

Lessons go into the log whether there is a memory or not; the memory is read from the log.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from events.execution import DeadLetterReleased
from events.fold import ExecutionFold
from events.lesson import FileOperation, LessonLearned, RecommendationMade
from events.log import Conflict, Delivery, LogUnavailable, Recorded, guard, of_execution
from events.log.connection import LeanClient
from events.log.questions import LEARNING, answer
from events.log.streams import LEARNER
from schemas.names import LESSONS
from services.learner.answers import Answers
from services.learner.decide import (
    RECOMMENDED,
    Attempt,
    Found,
    Pair,
    attempts,
    comparisons,
    due,
    lesson,
    question,
    recommended,
)
from services.learner.embedders import Embedder
from services.learner.recall import NO_MEMORY, Recall
from services.shell import Context, Decision, HandBack, Reactor, TooOld
from services.workspace import GitFailed, Repository

log = logging.getLogger(__name__)

WIDTH = 8
"""Triggers that are dealt with at a time."""
SETTLING = 2.0
"""Seconds before the memory is opened or filled: a run that ends meanwhile need not load the library (about 1 s)."""
AGAIN = 5.0
"""Seconds until the next try when the memory could not be reached."""
READ = 4 * 1024 * 1024
"""Bytes of an output up to which it is fetched; of a larger one its last lines stand in the event."""
HEAD, TAIL = 64 * 1024, 256 * 1024
"""Characters from the beginning and the end of an output that are looked at."""


class Learner:
    """Learns from what ended. One at a time for each state folder; others stand by."""

    def __init__(
        self,
        context: Context,
        *,
        home: Path,
        place: Path | str,
        embedder: Callable[[], Embedder],
        client: LeanClient | None = None,
    ) -> None:
        self.context = context
        self.home = home
        self.recall = Recall(context.log, place, embedder)
        self.client = client
        """Where questions come in; None: nobody can ask."""
        self._behind = asyncio.Event()
        self._saying = asyncio.Lock()
        self._stopping = asyncio.Event()
        self._reactor = Reactor(context, LEARNER, self.react, width=WIDTH, in_order=False)

    async def run(self) -> None:
        """Serve for ever, until cancelled."""
        await self.recall.alone()
        end = None
        try:
            if self.client is not None:
                end = await answer(self.client, Answers(self.recall).answer, topic=LEARNING)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._reactor.run())
                group.create_task(self._remember())
        finally:
            if end is not None:
                await end()
            await self.recall.close()

    async def stop(self, grace: float) -> None:
        """Take no more triggers; what is not dealt with comes again at the next start."""
        self._stopping.set()
        await self._reactor.drain(min(grace, 1.0))

    async def _remember(self) -> None:
        """Keep the memory behind the log by little more than SETTLING seconds."""
        told = ""
        if await self.recall.something_learned():
            self._behind.set()
        while True:
            await self._behind.wait()
            await asyncio.sleep(SETTLING)
            self._behind.clear()
            try:
                await self.recall.catch_up()
                told = ""
            except (*NO_MEMORY, LogUnavailable, TimeoutError) as error:
                if str(error) != told:
                    told = str(error)
                    log.warning("what was learned stays in the log alone: %s", error)
                self._behind.set()
                await asyncio.sleep(AGAIN)

    async def react(self, trigger: Recorded, delivery: Delivery) -> None:
        """Do what a trigger asks for; what was given up and is released asks again."""
        if isinstance(trigger.fact, DeadLetterReleased):
            if trigger.fact.service == self.context.service:
                await self.react(await self._at(trigger, trigger.fact.sequence), delivery)
            return
        fold = await self.context.folds.at(trigger.tenant, trigger.execution, trigger.sequence)
        if fold.newer:
            raise TooOld(fold.newer)
        step = due(fold, trigger)
        if step == "lesson":
            await self._say(fold, trigger, await self._lesson(fold, trigger))
            self._behind.set()
        elif step == "recommendation":
            made = await self._recommendation(fold, trigger)
            if made is not None:
                await self._say(fold, trigger, made)

    async def _at(self, of: Recorded, sequence: int) -> Recorded:
        """What stands at a sequence of the same execution."""
        async for recorded in self.context.log.read(of_execution(of.tenant, of.execution), after=sequence - 1):
            return recorded
        raise LookupError(f"nothing stands at {sequence} of {of.execution}")

    async def _say(self, fold: ExecutionFold, trigger: Recorded, fact: LessonLearned | RecommendationMade) -> None:
        """Append it, unless another copy has answered the trigger meanwhile."""
        number = fact.attempt if isinstance(fact, LessonLearned) else 0
        decision = Decision(entity=LESSONS, fact=fact, attempt=number)
        async with self._saying:
            while due(fold, trigger) != "nothing":
                try:
                    await self.context.append(self.context.draft(fold, decision, trigger.id, trace=trigger.trace))
                except Conflict:
                    continue

    # -- lessons ------------------------------------------------------------------------------------------------------

    async def _lesson(self, fold: ExecutionFold, end: Recorded) -> LessonLearned:
        filter = guard(end.tenant, end.execution, end.entity)
        tries = attempts([recorded async for recorded in self.context.log.read(filter)], end)
        outputs = {one.number: await self._output(end.tenant, one) for one in tries}
        found = Found(outputs, await self._changes(fold, comparisons(tries)))
        return await asyncio.to_thread(lesson, fold, end, tries, found)  # outputs may be long

    async def _output(self, tenant: str, attempt: Attempt) -> str:
        kept = attempt.output
        if kept is None or kept.size > READ:
            return attempt.tail
        try:
            data = await self.context.log.get_blob(f"artifacts-{tenant}", kept.sha256)
        except (KeyError, ValueError) as error:
            log.warning("the output %s cannot be read: %s", kept.sha256, error)
            return attempt.tail
        text = data.decode("utf-8", "replace")
        return text if len(text) <= HEAD + TAIL else f"{text[:HEAD]}\n{text[-TAIL:]}"

    async def _changes(self, fold: ExecutionFold, pairs: set[Pair]) -> dict[Pair, list[FileOperation]]:
        """What git says, where this host has the repository."""
        if not pairs or fold.created is None:
            return {}
        name = fold.created.repository
        if not (self.home / "repos" / f"{name}.git").exists():
            return {}
        repository = Repository.open(self.home / "repos", name=name)
        found = {}
        for a, b in sorted(pairs):
            try:
                changes = await repository.changed_files(a, b)
            except GitFailed as error:
                log.warning("what changed cannot be said: %s", error)
                continue
            found[a, b] = [
                FileOperation(path=c.path, status=c.status, added=c.added, removed=c.removed) for c in changes
            ]
        return found

    # -- recommendations ----------------------------------------------------------------------------------------------

    async def _recommendation(self, fold: ExecutionFold, trigger: Recorded) -> RecommendationMade | None:
        """What is known about the plan's tasks; None if nothing is, or if there is no memory."""
        assert fold.plan is not None
        tasks = [t for t in fold.plan.tasks if not t.noop and t.status not in ("completed", "skipped")]
        if not tasks or not await self.recall.something_learned():
            return None
        if not self.recall.is_open:
            with suppress(TimeoutError):
                async with asyncio.timeout(SETTLING):
                    await self._stopping.wait()
                raise HandBack
            if due(fold, trigger) == "nothing":
                return None
        looked_up = tasks[:RECOMMENDED]
        try:
            await self.recall.catch_up()
            found = await self.recall.similar(fold.tenant, [question(t) for t in looked_up], without=fold.id)
            embedder = self.recall.embedder
        except NO_MEMORY as error:
            log.warning("no recommendations for %s: %s", fold.id, error)
            return None
        known = [recommended(t.id, similar) for t, similar in zip(looked_up, found, strict=True) if similar]
        if not known:
            return None
        return RecommendationMade(
            embedder=embedder.name, semantic=embedder.semantic, tasks=tuple(known),
            left_out=len(tasks) - len(looked_up),
        )  # fmt: skip
