"""kill -9 of the notifier anywhere: nothing is lost, and only a death between sending and recording repeats."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
from nats.aio.client import Client

from events import NoticeSent, PlanAccepted, PlanSubmitted, TaskFailed
from events.log import Consumer
from events.log.access import BOOTSTRAP, OPERATOR
from events.log.connection import connect
from events.log.jetstream import JetStreamLog
from events.log.streams import EVENTS, NOTIFIER, consumer_config, hand_out_again
from nightshift.server import EmbeddedServer
from schemas.names import EXECUTION
from services.folds import Folds
from services.notifier.channels import Message
from services.notifier.pace import Entry
from services.notifier.service import Notifier, Record
from services.shell import Context
from tests.controls import plan, task
from tests.notifier.receivers import Got, Receiver, receiver
from tests.notifier.town import settings
from tests.servers import connected, embedded
from tests.worlds import draft, everything, execution

Point = Literal["before sending", "before recording", "before acknowledging"]
CRASHES: tuple[Point, ...] = ("before recording",) * 8 + ("before sending", "before acknowledging")
ROUNDS = 50
HOOK = {"kind": "webhook", "secret": "s3cret", "gather": 0.0, "window": 0.0, "limit": 1000}


class Scene:
    """A plan of many tasks on a real server, which fail one after another, and whoever is told."""

    def __init__(
        self, home: Path, server: EmbeddedServer, admin: Client, told: Receiver, planner: JetStreamLog
    ) -> None:
        self.home = home
        self.server = server
        self.admin = admin
        self.told = told
        self.planner = planner

    async def fail(self, number: int) -> str:
        """The next task fails for good; gives the event's id."""
        fact = draft(TaskFailed(attempts=3, reason="exit code 2"), str(number), cause=f"fail-{number}")
        return (await self.planner.append(fact))[0].id

    async def settled(self) -> None:
        """Wait until nothing is in hand and nothing waits."""
        async with asyncio.timeout(30):
            while True:
                answer = json.loads((await self.admin.request(f"$JS.API.CONSUMER.INFO.{EVENTS}.notifier", b"")).data)
                if not answer["num_pending"] and not answer["num_ack_pending"]:
                    return
                await asyncio.sleep(0.01)

    @contextlib.asynccontextmanager
    async def notifier(self) -> AsyncIterator[Notifier]:
        """One copy, on a connection of its own that breaks at the end, so that nothing it holds is handed back."""
        client = await connect(self.server.credentials("notifier"), name="test-notifier")
        log = JetStreamLog(client)
        folds = Folds(log)
        made = settings(self.home, channels={"hook": {**HOOK, "url": self.told.url}})
        found = Notifier(Context("notifier", "notifier@test", log, folds), made)
        tasks = [asyncio.create_task(folds.follow()), asyncio.create_task(found.run())]
        try:
            yield found
        finally:
            await client.close()
            for each in tasks:
                each.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def notices(self) -> list[NoticeSent]:
        """What the log says was sent."""
        found = await everything(self.planner, "evt.*.*.~notices.NoticeSent")
        return [r.fact for r in found]

    def deliveries(self) -> Counter[str]:
        """How often each event was told."""
        return Counter(n["id"] for got in self.told.posts for n in got.json()["notices"])


@contextlib.asynccontextmanager
async def scene(home: Path) -> AsyncIterator[Scene]:
    """Everything that a crash needs."""
    with receiver() as told:
        async with embedded(home) as server, connected(server.credentials(BOOTSTRAP)) as admin:
            planner = await connect(server.credentials("planner"), name="test")
            operator = await connect(server.credentials(OPERATOR), name="test")
            try:
                submitted = msgspec.json.encode(PlanSubmitted(plan={"title": "x"}))
                await operator.ask(f"evt.default.{execution(1)}.~in.PlanSubmitted", submitted, {"Nats-Msg-Id": "s"})
                log = JetStreamLog(planner)
                tasks = [task(str(n)) for n in range(ROUNDS)]
                await log.append(draft(PlanAccepted(plan=plan(*tasks), digest="d", requested_by="x"), EXECUTION))
                await remade(admin, replace(NOTIFIER, ack_wait=1.0))  # whom the dead still ask for waits so long
                yield Scene(home, server, admin, told, log)
            finally:
                await planner.close()
                await operator.close()


class Dying(Record):
    """Gets to a certain point and no further."""

    point: Point = "before recording"
    there: asyncio.Event

    async def sent(self, entries: Sequence[Entry], message: Message, seconds: float) -> None:
        if self.point == "before acknowledging":
            await super().sent(entries, message, seconds)
        self.there.set()
        await asyncio.Event().wait()


async def test_fifty_crashes_lose_nothing_and_repeat_only_between_sending_and_recording(tmp_path: Path) -> None:
    async with scene(tmp_path) as s:
        between: set[str] = set()
        ids: list[str] = []
        for number in range(ROUNDS):
            point = CRASHES[number % len(CRASHES)]
            ids.append(await s.fail(number))
            async with s.notifier() as dying:
                there = asyncio.Event()
                record = Dying(dying.context, dying.telling)
                record.point, record.there = point, there
                dying.record = record
                if point == "before sending":

                    async def stop(told: Any, there: asyncio.Event = there) -> Message:
                        there.set()
                        await asyncio.Event().wait()
                        raise AssertionError

                    dying.compose = stop  # type: ignore[method-assign]
                async with asyncio.timeout(20):
                    await there.wait()
            if point == "before recording":
                between.add(ids[-1])
            await hand_out_again(s.admin)
            async with s.notifier():
                await s.settled()
        counts = s.deliveries()
        assert set(counts) == set(ids), "a notice was lost"
        assert {id for id, times in counts.items() if times > 1} == between
        assert max(counts.values()) == 2
        notices = await s.notices()
        assert Counter(told.key for n in notices for told in n.about) == Counter(ids)
        assert {n.about[0].key for n in notices if n.maybe_again} >= between, "a repetition was not reported"
        await replayed(s)
        assert s.deliveries() == counts


async def remade(admin: Client, wanted: Consumer) -> None:
    """Make or change the durable."""
    request = json.dumps({"stream_name": EVENTS, "action": "", "config": consumer_config(wanted)}).encode()
    answer = await admin.request(f"$JS.API.CONSUMER.CREATE.{EVENTS}.notifier", request)
    assert "error" not in json.loads(answer.data), answer.data


async def replayed(s: Scene) -> None:
    """The durable is made anew and handed the whole history."""
    await s.admin.request(f"$JS.API.CONSUMER.DELETE.{EVENTS}.notifier", b"")
    await remade(s.admin, replace(NOTIFIER, history=True))
    async with s.notifier():
        await s.settled()


async def test_a_new_durable_on_an_old_log_is_handed_no_history(tmp_path: Path) -> None:
    async with scene(tmp_path) as s:
        await s.fail(0)
        await s.admin.request(f"$JS.API.CONSUMER.DELETE.{EVENTS}.notifier", b"")
        await hand_made(s)
        fresh = await s.fail(1)
        async with s.notifier():
            await s.settled()
        assert s.deliveries() == Counter({fresh: 1})


async def hand_made(s: Scene) -> None:
    """Make what is missing, as every start does."""
    from events.log.streams import bootstrap
    from tests.servers import SMALL

    await bootstrap(s.admin, max_bytes=SMALL)


@pytest.mark.whole
async def test_real_processes_are_killed_while_the_receiver_has_the_message(tmp_path: Path) -> None:
    async with scene(tmp_path) as s:
        (tmp_path / "nightshift.toml").write_text(
            "[notify]\nplugins = false\n[notify.channels.voice]\nkind = 'voice'\nenabled = false\n"
            f"[notify.channels.hook]\nkind = 'webhook'\nurl = '{s.told.url}'\nsecret = 's3cret'\ngather = 0\n"
        )
        victim: list[subprocess.Popen[bytes]] = []

        def kill(got: Got) -> tuple[int, dict[str, str]]:
            while victim:
                victim.pop().send_signal(signal.SIGKILL)
            return 200, {}

        s.told.answer = kill
        ids = []
        for number in range(3):
            process = start(s)
            victim.append(process)
            ids.append(await s.fail(number))
            assert await asyncio.to_thread(process.wait, 60) == -signal.SIGKILL
            await hand_out_again(s.admin)
            survivor = start(s)
            try:
                await s.settled()
            finally:
                survivor.terminate()
                await asyncio.to_thread(survivor.wait, 20)
        assert s.deliveries() == Counter(dict.fromkeys(ids, 2))
        assert Counter(told.key for n in await s.notices() for told in n.about) == Counter(ids)


def start(s: Scene) -> subprocess.Popen[bytes]:
    """One copy of the service as a process."""
    environment = {
        **os.environ, "NIGHTSHIFT_HOME": str(s.home), "NIGHTSHIFT_NATS_URL": s.server.credentials("notifier"),
    }  # fmt: skip
    with (s.home / "notifier.log").open("ab") as log:
        return subprocess.Popen([sys.executable, "-m", "services", "notifier"], env=environment, stdout=log, stderr=log)
