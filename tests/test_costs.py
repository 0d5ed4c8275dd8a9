"""What a task costs, counted and not timed: messages, sends, git processes, SQL statements (docs/performance.md).

A number here may fall; where it rises, something on the hot path does more than it did.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from events import TaskReady
from events.log import connection, wire
from events.log.connection import LeanClient
from events.log.jetstream import JetStreamLog
from events.log.memory import MemoryLog
from nightshift.client import Client, uuid7
from projections.projector import GATHER, REST, Projector
from projections.store import Store
from schemas.settings import Settings
from services.hosting import Host
from services.planner import service as planner
from services.workspace import git
from tests.controls import STREAM, Story, executed_fact, execution_id, started_fact, verified_fact
from tests.servers import embedded
from tests.worlds import in_background, until

TASKS = 20
SERVICES = ("planner", "executor", "verifier")
KINDS = {"evt.": "append", "timer.": "timer", "$JS.ACK.": "ack", "$JS.API.CONSUMER.MSG.NEXT.": "pull"}


class Counted:
    """What all clients of this process say, by kind, and how often they have something sent."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.said: Counter[str] = Counter()
        publish, flush = LeanClient.publish, LeanClient._flush_pending
        soon, write, write_now = LeanClient.soon, LeanClient._write, LeanClient._write_now

        def count(subject: str) -> None:
            self.said[next((kind for start, kind in KINDS.items() if subject.startswith(start)), "other")] += 1

        async def counted_publish(client: LeanClient, subject: str, *args: Any, **kwargs: Any) -> None:
            count(subject)
            await publish(client, subject, *args, **kwargs)

        def counted_soon(client: LeanClient, subject: str, body: bytes) -> None:
            count(subject)
            soon(client, subject, body)

        def counted_write(client: LeanClient, subject: str, *args: Any) -> bool:
            written = write(client, subject, *args)
            if written:
                count(subject)
            return written

        def counted_write_now(client: LeanClient) -> None:
            self.said["send"] += bool(client._pending)
            write_now(client)

        async def counted_flush(client: LeanClient, force_flush: bool = False) -> Any:
            self.said["send"] += 1
            return await flush(client, force_flush)

        monkeypatch.setattr(LeanClient, "publish", counted_publish)
        monkeypatch.setattr(LeanClient, "soon", counted_soon)
        monkeypatch.setattr(LeanClient, "_write", counted_write)
        monkeypatch.setattr(LeanClient, "_write_now", counted_write_now)
        monkeypatch.setattr(LeanClient, "_flush_pending", counted_flush)


@asynccontextmanager
async def engine(home: Path) -> AsyncIterator[Client]:
    """A server and the three services that decide, in this process."""
    async with embedded(home) as server:
        host = Host(Settings(home=home, nats_url=None, disk_reserve=0, disk_share=0, slots=4), server.credentials)
        await host.start(SERVICES)
        client = await Client.open(server.credentials("operator"))
        try:
            yield client
        finally:
            await client.close()
            await host.stop(0)


async def complete(client: Client, tasks: list[dict[str, Any]]) -> None:
    """Run a plan to its end."""
    execution = uuid7()
    over = asyncio.Event()
    await client.connection.listen(f"tail.evt.default.{execution}.-.ExecutionCompleted", lambda *_: over.set())
    await client.connection.flush()
    await client.submit({"plan.json": json.dumps({"plan": "t", "tasks": tasks})}, root="plan.json", execution=execution)
    async with asyncio.timeout(60):
        await over.wait()
    await asyncio.sleep(0.1)  # the last acknowledgements are on their way


def chain(count: int) -> list[dict[str, Any]]:
    """Empty tasks, one after the other."""
    return [{"id": f"t{i}", "noop": True, **({"needs": [f"t{i - 1}"]} if i else {})} for i in range(count)]


async def test_a_step_costs_four_appends_no_timer_and_four_acknowledgements(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planner, "MOMENT", 2.0)  # whatever else this machine does
    async with engine(tmp_path) as client:
        await complete(client, chain(2))
        counted = Counted(monkeypatch)
        await complete(client, chain(TASKS))
    said = counted.said
    whole = 4  # submitted, accepted, started, completed
    assert said["append"] == 4 * TASKS + whole
    assert said["timer"] == 0, "each task was over before its lease needed a backstop"
    assert 3 * TASKS <= said["ack"] <= 4 * TASKS + 2 * whole, "ready, executed, verified: one reader each; starts wait"
    assert said["pull"] <= 2 * TASKS, "one pull brings several messages"
    assert said["other"] <= whole * 4, "nothing is asked for each task"


async def test_the_lease_of_a_task_that_lasts_has_a_timer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planner, "MOMENT", 0.1)
    counted = Counted(monkeypatch)
    async with engine(tmp_path) as client:
        await complete(client, [{"id": "long", "run": "sleep 2"}])
    assert counted.said["timer"] == 1


async def test_acknowledgements_are_sent_with_what_is_sent_anyway(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "SOON", 2.0)  # whatever else this machine does
    async with engine(tmp_path) as client:
        await complete(client, chain(2))
        counted = Counted(monkeypatch)
        await complete(client, chain(TASKS))
    said = counted.said
    assert said["ack"]
    alone = said["send"] - said["append"] - said["timer"] - said["pull"] - said["other"]
    assert alone < said["ack"] / 2, "subscriptions and pings, which do not grow with the plan"


async def test_an_acknowledgement_alone_is_sent_soon(tmp_path: Path) -> None:
    async with embedded(tmp_path) as server:
        sender = await Client.open(server.credentials("operator"))
        arrived = asyncio.Event()
        place = f"evt.default.{uuid7()}.~in.CancelRequested"
        await sender.connection.listen(f"tail.{place}", lambda *_: arrived.set())
        await sender.connection.flush()
        sender.connection.soon(place, b"{}")
        async with asyncio.timeout(5):
            await arrived.wait()
        await sender.close()


async def test_a_process_costs_git_processes_only_for_what_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: Counter[str] = Counter()
    spawn = git._spawn

    async def counted(command: Any, *args: Any, **kwargs: Any) -> Any:
        ran[next(word for word in command[1:] if word != "-c" and "=" not in word)] += 1
        return await spawn(command, *args, **kwargs)

    async with engine(tmp_path) as client:
        await complete(client, [{"id": "first", "run": "true"}])  # makes the repository
        monkeypatch.setattr(git, "_spawn", counted)
        await complete(client, [{"id": f"t{i}", "run": "true"} for i in range(TASKS)])
        assert ran["ls-files"] == 0
        assert ran.total() <= 8, f"what the execution needs once: {ran}"
        ran.clear()
        await complete(client, [{"id": "t", "run": "echo 1 > a"}])
    assert ran["ls-files"] == ran["write-tree"] == 1


async def test_an_attempt_makes_few_files_and_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: Counter[str] = Counter()
    mkdir = os.mkdir

    def counted(path: Any, *args: Any, **kwargs: Any) -> None:
        made["work" if "work" in Path(os.fspath(path)).parts else "else"] += 1
        mkdir(path, *args, **kwargs)

    async with engine(tmp_path) as client:
        await complete(client, [{"id": "first", "run": "true"}])
        monkeypatch.setattr(os, "mkdir", counted)
        await complete(client, [{"id": f"t{i}", "run": "true"} for i in range(TASKS)])
    assert made["work"] <= 10 * TASKS + 4, "its folder, files, home, tmp, and six for its .git: the disk is slow at it"
    assert made["else"] <= 30, "nothing for each task"


def test_an_event_that_several_read_is_decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: Counter[str] = Counter()
    engine_event = wire._engine

    def counted(place: dict[str, Any], *args: Any) -> Any:
        decoded[place["name"]] += 1
        return engine_event(place, *args)

    monkeypatch.setattr(wire, "_engine", counted)
    story = Story(tenant="acme")
    said = story.say(TaskReady(attempt=1), "1")
    headers = {"Nats-Msg-Id": said.id, "Nightshift-Cause": "once", "Nats-Sequence": "1"}
    for reader in range(6):
        wire.decode(
            sequence=7_000_001, at_ns=said.at_ns, subject=said.subject,
            headers=headers | {"Nats-Stream": f"as {reader} has it"}, body=b'{"attempt":1}',
        )  # fmt: skip
    wire.decode(sequence=7_000_002, at_ns=said.at_ns, subject=said.subject, headers=headers, body=b'{"attempt":1}')
    assert decoded == {"TaskReady": 2}, "another sequence is another event"


async def test_whole_log_questions_do_not_make_the_server_compare_subjects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``evt.>`` instead of ``>`` costs the server as much as there are subjects: 7 ms among 60,000 events."""
    asked: list[dict[str, Any]] = []
    publish, write = LeanClient.publish, LeanClient._write

    async def seen_publish(client: LeanClient, subject: str, body: bytes = b"", **kwargs: Any) -> None:
        if subject == "$JS.API.DIRECT.GET.EVENTS":
            asked.append(json.loads(body))
        await publish(client, subject, body, **kwargs)

    def seen_write(client: LeanClient, subject: str, reply: str, body: bytes, *args: Any) -> bool:
        if subject == "$JS.API.DIRECT.GET.EVENTS":
            asked.append(json.loads(body))
        return write(client, subject, reply, body, *args)

    monkeypatch.setattr(LeanClient, "publish", seen_publish)
    monkeypatch.setattr(LeanClient, "_write", seen_write)
    async with embedded(tmp_path) as server:
        client = await connection.connect(server.credentials("planner"), name="costs")
        try:
            log = JetStreamLog(client)
            await log.last_sequence()
            await log.created()
            assert not [r async for r in log.read("evt.>")]
            assert not [page async for page in log.pages("evt.>")]
            tail = log.tail()
            waiting = asyncio.ensure_future(anext(tail))
            await until(lambda: len(asked) > 4)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        finally:
            await client.close()
    filters = {request.get("next_by_subj") or request.get("last_by_subj") for request in asked}
    assert filters == {">"}


class CountingWriter:
    """Counts the statements on the way to the database."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer
        self.statements = 0

    def execute(self, sql: str, *args: Any) -> Any:
        self.statements += len(self._writer.extract_statements(sql))
        return self._writer.execute(sql, *args)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)


def story_of(count: int) -> Story:
    """So many executions of one task."""
    story = Story()
    for number in range(1, count + 1):
        own = story.another("acme", execution_id(number))
        own.submit()
        own.accept()
        own.say(TaskReady(attempt=1), "1")
        own.say(started_fact(), "1")
        own.say(executed_fact(own.lease["1"]), "1")
        own.say(verified_fact(own.lease["1"]), "1")
    return story


@pytest.mark.parametrize("count", [1, 200])
def test_a_batch_costs_the_same_statements_whatever_its_size(count: int) -> None:
    with Store() as store:
        counting = CountingWriter(store._writer)
        store._writer = store._tables._writer = counting  # type: ignore[assignment]
        assert store.apply(STREAM, story_of(count).records) == len(story_of(count).records)
    assert counting.statements <= 45


async def test_the_projector_rests_as_long_as_a_batch_took(monkeypatch: pytest.MonkeyPatch) -> None:
    """It forgot how long the last batch took, and kept a whole processor from the services."""
    log, pauses, slept = MemoryLog(), [], 0.05
    gather, apply = Projector._gather, Store.apply

    async def noted(projector: Projector, arrived: Any, listening: Any, pause: float) -> Any:
        pauses.append(pause)
        return await gather(projector, arrived, listening, 0.0)

    def slow(store: Store, created: str, records: Any) -> int:
        time.sleep(slept)
        return apply(store, created, records)

    monkeypatch.setattr(Projector, "_gather", noted)
    monkeypatch.setattr(Store, "apply", slow)
    with Store() as store:
        async with in_background(Projector(log, store).run()):
            await until(lambda: len(pauses) == 1)
            await log.publish_raw(f"evt.default.{execution_id(1)}.~in.CancelRequested", b"{}")
            await until(lambda: len(pauses) == 2)
    assert pauses[0] == GATHER
    assert pauses[1] >= REST * slept


async def test_whoever_asks_for_changes_does_not_wait_for_the_next_one(tmp_path: Path) -> None:
    """A short plan is over before anybody listens."""
    async with embedded(tmp_path) as server:
        client = await Client.open(server.credentials("operator"))
        async with asyncio.timeout(10):
            async for _ in client.changes(uuid7(), every=60.0):
                break
        await client.close()
