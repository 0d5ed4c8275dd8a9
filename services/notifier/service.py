"""The notifier's wiring: events in, messages to channels, and in the log what was told, so that it is told once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from events.fold import ExecutionFold
from events.log import Conflict, Delivery, DueTimer, LogUnavailable, Recorded
from events.log.streams import NOTIFIER
from events.machines import EXECUTION
from events.notice import NoticeFailed, NoticeSent, NoticeSuppressed, Told
from schemas.names import NOTICES, event_id
from schemas.notify import Channel
from schemas.settings import Settings
from services.notifier import words
from services.notifier.channels import Attachment, Message
from services.notifier.decide import BEGINS, Item, items, progress_due, progress_timer
from services.notifier.kinds import OF_EVENT, REPORTED
from services.notifier.line import Line, Outcome
from services.notifier.pace import Entry
from services.notifier.reports import Reports
from services.notifier.told import Telling
from services.shell import Context, Decision, Reactor

log = logging.getLogger(__name__)

WIDTH = 20_000
"""Events that may wait for their channels at the same time."""
AT_ONCE = 1_000
"""Things that one fact says were told."""
LINGER = 5.0
"""Seconds that notices at hand may take when the program is told to end."""
OVER = (*EXECUTION.final, "blocked")
"""States in which an execution goes no further by itself."""
NOTICING = 1.0
"""Seconds that a program about to end waits for the end of an execution to be handed out."""


class Notifier:
    """Tells people. Any number of copies may run; each message is handed to one of them."""

    def __init__(self, context: Context, settings: Settings) -> None:
        self.context = context
        self.settings = settings
        self.telling = Telling(context.log)
        self.reports = Reports(context.log)
        self.record: Outcome = Record(context, self.telling)
        self.channels: dict[str, Channel] = {}
        self.lines: dict[str, Line] = {}
        self._reactor = Reactor(context, NOTIFIER, self.react, width=WIDTH, in_order=False)
        self._began = 0
        """Where the log stood when this copy began: what is older may have been told by one that died."""
        self._open: set[tuple[str, str]] = set()
        """Executions whose beginning was seen here, and whose end was not."""

    async def run(self) -> None:
        """Serve for ever, until cancelled."""
        from services.notifier.channels.build import channels_of, secrets_of, sender_of

        self._began = await self.context.log.last_sequence()
        self.channels = channels_of(self.settings)
        async with asyncio.TaskGroup() as group:
            for name, channel in self.channels.items():
                line = Line(
                    name, channel, sender_of(name, channel, self.settings), self.record, self.compose,
                    secrets=secrets_of(channel), stale=self.settings.notify.stale,
                )  # fmt: skip
                self.lines[name] = line
                group.create_task(line.run())
            group.create_task(self._timers())
            group.create_task(self._reactor.run())

    async def stop(self, grace: float) -> None:
        """Tell what is at hand at once and take no more, within ``grace`` seconds but no longer than LINGER."""
        await self._ends_seen()
        for line in self.lines.values():
            line.hurry()
        await self._reactor.drain(min(grace, LINGER))

    async def _ends_seen(self) -> None:
        """Wait for the ends of executions that ended or came to a standstill just now: they are on their way to us."""
        clock = asyncio.get_running_loop()
        until = clock.time() + NOTICING
        for tenant, execution in list(self._open):
            fold = await self.context.folds.at(tenant, execution, 0)
            while fold.state in OVER and (tenant, execution) in self._open and clock.time() < until:  # noqa: ASYNC110  # whichever comes first
                await asyncio.sleep(0.02)

    async def react(self, trigger: Recorded, delivery: Delivery) -> None:
        """Tell what one event is to tell; done when the log says what became of each part."""
        fold = await self.context.folds.at(trigger.tenant, trigger.execution, trigger.sequence)
        timer = progress_timer(trigger, fold, self.settings.notify)
        if timer is not None:
            await self.context.log.set_timer(timer)
        if trigger.name in BEGINS:
            self._open.add((fold.tenant, fold.id))
        report = None
        if OF_EVENT.get(trigger.name) in REPORTED:
            report = await self._report(trigger, fold)
        waiting = await self._add(trigger, fold, delivery, report)
        if OF_EVENT.get(trigger.name) in REPORTED:
            self._open.discard((fold.tenant, fold.id))
        await asyncio.gather(*waiting)

    async def _report(self, end: Recorded, fold: ExecutionFold) -> str | None:
        """Make and keep the report; the notice goes out even where that fails."""
        try:
            return await self.reports.keep(fold.tenant, fold.id, end)
        except (LogUnavailable, TimeoutError):
            raise
        except Exception:
            log.exception("the report of %s cannot be made", fold.id)
            return None

    async def _add(
        self, trigger: Recorded, fold: ExecutionFold, delivery: Delivery, report: str | None
    ) -> list[asyncio.Future[None]]:
        """Put what is due and was not told yet into the lines of its channels."""
        due = items(trigger, fold, self.settings.notify, self.channels)
        if not due:
            return []
        notices = await self.telling.of(fold)
        again = delivery.deliveries > 1 or trigger.sequence <= self._began
        waiting = []
        for item in due:
            if notices.is_settled(item.channel, item.key):
                continue
            if report is not None and item.kind in REPORTED:
                item.fields["report"] = report
            waiting.append(self.lines[item.channel].add(item, maybe_again=again))
        return waiting

    async def compose(self, told: Sequence[Item]) -> Message:
        """One message out of items, with the report of what ended."""
        told = words.essential(told)
        first = told[0]
        keys = " ".join(item.key for item in told)
        newest = max(item.at_ns for item in told)
        return Message(
            id=event_id(
                cause=keys, name="Message", tenant=first.tenant, execution=first.execution, entity=first.channel
            ),
            tenant=first.tenant, severity=words.severest(told), title=words.title(told), text=words.text(told),
            speech=words.speech(told), at=datetime.fromtimestamp(newest / 1e9, UTC).isoformat(timespec="milliseconds"),
            notices=tuple(_as_data(item) for item in told),
            attachments=await self._attachments(told),
        )  # fmt: skip

    async def _attachments(self, told: Sequence[Item]) -> tuple[Attachment, ...]:
        """The reports of executions that ended, as long as they are few."""
        ended = [item for item in told if item.fields.get("report")][:3]
        found = []
        for item in ended:
            data = await self.context.log.get_blob(f"artifacts-{item.tenant}", item.fields["report"])
            found.append(Attachment(name=f"report-{item.execution}.html", media="text/html", data=data))
        return tuple(found)

    async def _timers(self) -> None:
        running: set[asyncio.Task[None]] = set()
        async for fired in self.context.log.due("notices-due"):
            task = asyncio.create_task(self._fired(fired))
            running.add(task)
            task.add_done_callback(running.discard)

    async def _fired(self, fired: DueTimer) -> None:
        """Mark how far an execution is, if it still waits for exactly this timer (hazard H12)."""
        timer = fired.timer
        try:
            while True:
                fold = await self.context.folds.at(timer.tenant, timer.execution, timer.sequence)
                mark = progress_due(fold, timer, await self.telling.of(fold))
                if mark is None:
                    break
                try:
                    await self.context.append(
                        self.context.draft(fold, Decision(entity=NOTICES, fact=mark), timer.event)
                    )
                except Conflict:
                    continue
                break
            await fired.ack()
        except (LogUnavailable, TimeoutError) as error:
            log.warning("a timer of %s waits for the log: %s", timer.execution, error)
            await fired.nak(1.0)


def _as_data(item: Item) -> dict[str, object]:
    return {
        "kind": item.kind, "severity": item.severity, "execution": item.execution, "task": item.task,
        "event": item.event, "id": item.id, "text": words.written(item), "fields": item.fields,
    }  # fmt: skip


class Record:
    """Appends what became of items, execution by execution; tries until the log has it."""

    def __init__(self, context: Context, telling: Telling) -> None:
        self.context = context
        self.telling = telling

    async def sent(self, entries: Sequence[Entry], message: Message, seconds: float) -> None:
        """They were told."""
        for part in _parts(entries):
            fact = NoticeSent(
                channel=part[0].item.channel, about=_about(part), severity=message.severity, title=message.title,
                text=message.text, tries=max(e.tries for e in part), seconds=round(seconds, 3),
                maybe_again=any(e.maybe_again for e in part),
                report=next((e.item.fields["report"] for e in part if e.item.fields.get("report")), None),
            )  # fmt: skip
            await self._append(part, fact)

    async def failed(self, entries: Sequence[Entry], reason: str, *, given_up: bool) -> None:
        """They were not told."""
        for part in _parts(entries):
            tries = max(e.tries for e in part)
            fact = NoticeFailed(
                channel=part[0].item.channel, about=_about(part), reason=reason, tries=tries, given_up=given_up
            )
            await self._append(part, fact)

    async def suppressed(self, entries: Sequence[Entry], reason: str) -> None:
        """They are not going to be told."""
        for part in _parts(entries):
            fact = NoticeSuppressed(channel=part[0].item.channel, about=_about(part), reason=reason)
            await self._append(part, fact)

    async def _append(self, part: Sequence[Entry], fact: NoticeSent | NoticeFailed | NoticeSuppressed) -> None:
        """Under the guard of the execution's notices; the message has gone out, so this is tried until it holds."""
        first = part[0].item
        pause = 0.1
        while True:
            try:
                fold = await self.context.folds.at(first.tenant, first.execution, 0)
                if await self._stands(fold, part, fact):
                    return
                draft = self.context.draft(fold, Decision(entity=NOTICES, fact=fact), first.id)
                await self.context.append(replace(draft, claim=first.channel))  # of one cause, each channel has its own
                return
            except Conflict:
                continue
            except (LogUnavailable, TimeoutError) as error:
                log.warning("what %s was told waits for the log: %s", first.channel, error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, 5.0)

    async def _stands(
        self, fold: ExecutionFold, part: Sequence[Entry], fact: NoticeSent | NoticeFailed | NoticeSuppressed
    ) -> bool:
        """Whether the log has it already: an append whose answer was lost."""
        if isinstance(fact, NoticeFailed) and not fact.given_up:
            return False
        notices = await self.telling.of(fold)
        return all(notices.is_settled(e.item.channel, e.item.key) for e in part)


def _parts(entries: Sequence[Entry]) -> list[list[Entry]]:
    """By execution, so many at a time."""
    by_execution: dict[str, list[Entry]] = {}
    for entry in entries:
        by_execution.setdefault(entry.item.execution, []).append(entry)
    return [many[start : start + AT_ONCE] for many in by_execution.values() for start in range(0, len(many), AT_ONCE)]


def _about(part: Sequence[Entry]) -> tuple[Told, ...]:
    return tuple(Told(key=e.item.key, kind=e.item.kind, task=e.item.task) for e in part)
