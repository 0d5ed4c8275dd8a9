"""What shows on three nodes only: guards, lost answers, lagging replicas, a leader that dies (H2, H3, H9)."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from events import BranchAdvanced, TaskHeld, TaskReady, TaskSkipped, TaskVerified
from events.log import Appended, Conflict, Draft
from events.log.connection import LeanClient, connect
from events.log.jetstream import JetStreamLog
from events.log.streams import DEFAULT_TENANT
from schemas.names import BRANCH
from services.folds import Folds
from tests.servers import Nodes, cluster, leader
from tests.worlds import draft, everything, execution, in_background

pytestmark = [
    pytest.mark.cluster,
    # nats-py leaves the stream of a connection that was refused half-way to the garbage collector
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

TRIES = 200


@pytest.fixture
async def nodes(tmp_path: Path) -> AsyncIterator[Nodes]:
    async with cluster(tmp_path) as found:
        yield found
    gc.collect()


@contextlib.asynccontextmanager
async def logs(nodes: Nodes, *users: str) -> AsyncIterator[list[JetStreamLog]]:
    """A log for each user, each over another node first."""
    clients: list[LeanClient] = []
    try:
        for number, user in enumerate(users):
            urls = [nodes.url(user, (number + n) % 3) for n in range(3)]
            clients.append(await connect(",".join(urls), name=f"test-{user}", wait=20))
        yield [JetStreamLog(client) for client in clients]
    finally:
        for client in clients:
            await client.close()


def landing(number: int, task: str, branch: int) -> tuple[Draft, Draft]:
    """A verdict and a landing, in one batch."""
    verified = TaskVerified(attempt=1, lease="1e" * 16, tree=None, commit=None, head=None, results=())
    advanced = BranchAdvanced(task=task, base="b", commit=f"c{task}", tree="t", verified="v")
    cause = f"executed-{task}"
    return (
        draft(verified, task, number=number, cause=cause),
        draft(advanced, BRANCH, number=number, cause=cause, expected=branch),
    )


async def test_h02_h03_rivals_and_repetitions(nodes: Nodes) -> None:
    """One cluster for both: starting it takes longest."""
    async with logs(nodes, "planner", "planner", "verifier", "verifier") as (one, two, three, four):
        await one_of_two_wins(one, two)
        await one_of_two_batches_wins(three, four)
        await repetition_is_success(one, two, three)


async def one_of_two_wins(one: JetStreamLog, two: JetStreamLog) -> None:
    """H2: with one guard for an entity never both, whatever the two say and however they are timed."""
    winners = 0
    for number in range(TRIES):
        rivals = (
            one.append(draft(TaskReady(attempt=1), "1", number=number, cause="a")),
            two.append(draft(TaskSkipped(because="0", reason="lost"), "1", number=number, cause="b")),
        )
        results = await asyncio.gather(*rivals, return_exceptions=True)
        assert sorted(type(r).__name__ for r in results) == ["Conflict", "list"], (number, results)
        winners += isinstance(results[0], list)
    assert await one.last_sequence() >= TRIES
    found = await everything(one, "evt.*.*.1.>")
    assert len(found) == len({r.execution for r in found}) == TRIES
    assert sum(r.name == "TaskReady" for r in found) == winners


async def one_of_two_batches_wins(one: JetStreamLog, two: JetStreamLog) -> None:
    """H2, H10: two verifiers land two tasks on one branch; never both, never half of one."""
    for number in range(1000, 1000 + TRIES // 4):
        rivals = (one.append(*landing(number, "x", 0)), two.append(*landing(number, "y", 0)))
        results = await asyncio.gather(*rivals, return_exceptions=True)
        assert sorted(type(r).__name__ for r in results) == ["Conflict", "list"], (number, results)
        stored = await everything(one, f"evt.default.{execution(number)}.>")
        assert [r.name for r in stored] == ["TaskVerified", "BranchAdvanced"]
        assert stored[0].entity == stored[1].fact.task


async def repetition_is_success(one: JetStreamLog, two: JetStreamLog, verifier: JetStreamLog) -> None:
    """H3: one's own event, single or in a batch, at the same moment or later, from here or there."""
    for number in range(2000, 2000 + TRIES // 4):
        ready = draft(TaskReady(attempt=1), "1", number=number)
        first, second = await asyncio.gather(one.append(ready), two.append(ready))
        assert first == second == await one.append(ready)
        await two.append(draft(TaskHeld(reason="r"), "1", number=number, expected=first[0].sequence))
        assert await one.append(ready) == first
    for number in range(3000, 3000 + TRIES // 10):
        batch = landing(number, "1", 0)
        landed = await verifier.append(*batch)
        assert await verifier.append(*batch) == landed
        assert len(await everything(one, f"evt.default.{execution(number)}.>")) == 2


async def test_h09_no_fold_lags_behind_its_trigger(nodes: Nodes) -> None:
    """Appended over one connection, folded over another, warm and cold: what is asked for is always there."""
    async with logs(nodes, "planner", "verifier") as (writer, reader):
        warm = Folds(reader)
        async with in_background(warm.follow()):
            await warm.started.wait()
            last = 0
            for number in range(150):
                guards = dict.fromkeys(("a", "b", "c"), 0)
                for name in guards:
                    [appended] = await writer.append(draft(TaskReady(attempt=1), name, number=number))
                    guards[name] = last = appended.sequence
                async with asyncio.timeout(10):
                    fold = await warm.at(DEFAULT_TENANT, execution(number), last)
                assert {name: fold.guard_of(name) for name in guards} == guards, number
                [held] = await writer.append(
                    draft(TaskHeld(reason="r"), "a", number=number, expected=fold.guard_of("a"))
                )
                fold = await warm.at(DEFAULT_TENANT, execution(number), held.sequence)
                assert fold.guard_of("a") == held.sequence


async def test_no_acknowledged_event_is_lost_when_the_leader_dies(nodes: Nodes) -> None:
    async with logs(nodes, "planner", "verifier") as (writer, reader):
        acknowledged: list[Appended] = []
        stop = asyncio.Event()
        longest = 0.0

        async def write(line: int) -> None:
            nonlocal longest
            expected = 0
            while not stop.is_set():
                began = time.monotonic()
                fact = TaskReady(attempt=1) if len(acknowledged) % 2 else TaskHeld(reason="r")
                [appended] = await writer.append(draft(fact, str(line), expected=expected))
                longest = max(longest, time.monotonic() - began)
                expected = appended.sequence
                acknowledged.append(appended)

        async with in_background(*(write(line) for line in range(20))) as tasks:
            await _more(acknowledged, 300, tasks)
            killed = await leader(nodes)
            await killed.kill()
            await _more(acknowledged, 300, tasks)
            stop.set()
            await asyncio.gather(*tasks)
        assert 0 < longest < 15
        await killed.start()
        kept = await _settled(reader, acknowledged[-1].sequence)
        assert {a.sequence: a.id for a in acknowledged} == {r.sequence: r.id for r in kept}
        assert len(kept) == len(acknowledged)
        assert {r.standing for r in kept} == {"ok"}
        assert await writer.append(draft(TaskReady(attempt=1), "after"))
        with pytest.raises(Conflict):
            await reader_conflict(writer)


async def reader_conflict(log: JetStreamLog) -> None:
    """The guard holds on the new leader."""
    await log.append(draft(TaskHeld(reason="too late"), "after"))


async def _more(acknowledged: list[Appended], count: int, tasks: list[asyncio.Task[Any]]) -> None:
    wanted = len(acknowledged) + count
    async with asyncio.timeout(30):
        while len(acknowledged) < wanted:  # and nobody may have broken meanwhile
            assert not [task for task in tasks if task.done()]
            await asyncio.sleep(0.01)


async def _settled(log: JetStreamLog, last: int) -> list[Any]:
    """Everything, once a replica answers that has it all."""
    async with asyncio.timeout(20):
        while True:
            found = await everything(log)
            if found and found[-1].sequence >= last:
                return found
            await asyncio.sleep(0.05)
