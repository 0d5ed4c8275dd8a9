"""A notifier on a log, and somebody who makes things happen there."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from events import ExecutionStarted, NoticeFailed, NoticeSent, NoticeSuppressed, PlanAccepted, PlanSubmitted, TaskReady
from events.log import EventLog, Recorded, guard
from events.log.memory import MemoryLog
from events.log.streams import DEFAULT_TENANT
from schemas.names import EXECUTION, NOTICES
from schemas.settings import Settings
from schemas.values import Plan
from services.folds import Folds
from services.notifier.service import Notifier
from services.shell import Context
from tests.controls import executed_fact, plan, started_fact, task, verified_fact
from tests.worlds import draft, everything, execution, in_background, until


def settings(home: Path, **notify: Any) -> Settings:
    """Settings that say only this about notices; no voice server is looked for."""
    channels: dict[str, Any] = {"voice": {"kind": "voice", "enabled": False}} | notify.pop("channels", {})
    more = {
        name: notify.pop(name) for name in ("voice_url", "voice_id", "ntfy_topic", "discord_webhook") if name in notify
    }
    notify.setdefault("plugins", False)
    return Settings.model_validate({"home": home, "notify": {"channels": channels, **notify}, **more})


class Town:
    """One log, one notifier, any number of executions."""

    def __init__(self, log: EventLog, settings: Settings, tenant: str = DEFAULT_TENANT) -> None:
        self.log = log
        self.tenant = tenant
        self.folds = Folds(log)
        self.notifier = Notifier(Context("notifier", "notifier@test", log, self.folds), settings)
        self._leases: dict[tuple[int, str], str] = {}

    async def say(self, fact: Any, entity: str = EXECUTION, number: int = 1) -> Recorded:
        """Something happens to an execution; gives how the log has it."""
        assert isinstance(self.log, MemoryLog)
        last = self.log._last(guard(self.tenant, execution(number), entity))
        await self.log.append(
            draft(
                fact, entity, number=number, expected=last, tenant=self.tenant,
                cause=f"cause-{len(self.log.records)}",
            )
        )  # fmt: skip
        return (await everything(self.log, f"evt.{self.tenant}.{execution(number)}.>"))[-1]

    async def begin(self, what: Plan | None = None, number: int = 1, options: dict[str, Any] | None = None) -> None:
        """A plan is handed over, accepted and started."""
        what = what or plan(task("1"), task("2"))
        assert isinstance(self.log, MemoryLog)
        submitted = PlanSubmitted(plan={"title": what.title}, options=options or {})
        await self.log.publish_raw(
            f"evt.{self.tenant}.{execution(number)}.~in.PlanSubmitted",
            msgspec.json.encode(submitted),
            {"Nats-Msg-Id": f"s{number}"},
        )
        await self.say(PlanAccepted(plan=what, digest="d", requested_by="x"), number=number)
        await self.say(ExecutionStarted(tasks=len(what.tasks)), number=number)

    async def run_task(self, name: str, *, seconds: float = 12.5, number: int = 1, until_: str = "verified") -> None:
        """A task goes its way, up to ``started``, ``executed`` or ``verified``."""
        await self.say(TaskReady(attempt=1), name, number)
        started = await self.say(started_fact(1), name, number)
        self._leases[number, name] = started.id
        if until_ != "started":
            await self.say(executed_fact(started.id, 1, seconds), name, number)
        if until_ == "verified":
            await self.verify(name, number)

    async def verify(self, name: str, number: int = 1) -> None:
        """What was executed is verified."""
        await self.say(replace(verified_fact(self._leases[number, name], 1), commit=None), name, number)

    async def settled(self, seconds: float = 30.0) -> None:
        """Wait until every event has been looked at and every notice is settled."""
        assert isinstance(self.log, MemoryLog)
        durable = self.log._durables["notifier"]
        await until(lambda: durable._looked == len(self.log.records) and not len(durable.queue), seconds)

    async def notices(self, number: int = 1) -> list[Any]:
        """What the log says about what was told."""
        found = await everything(self.log, f"evt.{self.tenant}.{execution(number)}.{NOTICES}.>")
        return [r.fact for r in found if isinstance(r.fact, NoticeSent | NoticeFailed | NoticeSuppressed)]


@contextlib.asynccontextmanager
async def town(settings: Settings, log: EventLog | None = None, tenant: str = DEFAULT_TENANT) -> AsyncIterator[Town]:
    """A notifier that runs."""
    found = Town(log or MemoryLog(), settings, tenant)
    async with in_background(found.folds.follow(), found.notifier.run()):
        await found.folds.started.wait()
        await asyncio.sleep(0)
        yield found
