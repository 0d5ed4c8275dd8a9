"""Following the log: nothing missed, nothing twice, nothing swallowed, and the loop never waits for the database."""

from __future__ import annotations

import asyncio
import datetime
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from events.log import EventLog, Recorded
from projections.projector import Projector
from projections.replay import compare, replay
from projections.store import Gap, Store
from tests.controls import STREAM, Story, execution_id, life


class Told:
    """The reading half of a log: what it is told is what it tells."""

    def __init__(self, records: list[Recorded], created: str = STREAM) -> None:
        self.records = list(records)
        self.birthday = created
        self.arrived = asyncio.Event()
        self.broken: Exception | None = None

    def tell(self, *records: Recorded) -> None:
        self.records += records
        self.arrived.set()

    async def created(self) -> str:
        return self.birthday

    async def last_sequence(self) -> int:
        return len(self.records)

    async def read(self, filter: str, *, after: int = 0) -> AsyncIterator[Recorded]:
        assert filter == "evt.>"
        for recorded in self.records[after:]:
            yield recorded

    async def tail(self, *, after: int | None = None) -> AsyncIterator[Recorded]:
        position = len(self.records) if after is None else after
        while True:
            while position < len(self.records):
                position += 1
                yield self.records[position - 1]
            if self.broken:
                raise self.broken
            self.arrived.clear()
            await self.arrived.wait()


def projector(told: Told, store: Store) -> Projector:
    return Projector(cast(EventLog, told), store)


async def ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def long_story(executions: int = 20) -> list[Recorded]:
    story = Story()
    for number in range(executions):
        life(story.another("acme", execution_id(number + 1)))
    return story.records


class Paged(Told):
    """A log that gives many messages at once, and would rather not be asked for one after the other."""

    async def pages(self, filter: str, *, after: int = 0) -> AsyncIterator[list[Recorded]]:
        assert filter == "evt.>"
        for start in range(after, len(self.records), 70):
            yield self.records[start : start + 70]

    async def read(self, filter: str, *, after: int = 0) -> AsyncIterator[Recorded]:
        raise AssertionError("it was read one by one")
        yield


@pytest.mark.parametrize("until", [1, 69, 70, 71, 300, None])
async def test_the_past_is_read_by_the_page_and_ends_where_it_was_asked_to(
    until: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projections.projector.CATCH_UP", 100)
    records = long_story(12)
    assert len(records) > 300
    with Store() as nothing, await projector(Paged(records), nothing).replay(until_seq=until) as store:
        assert store.position.sequence == (until or len(records))
        with replay(records, until_seq=until, stream_created=STREAM) as other:
            assert compare(store, other) == []


async def test_it_catches_up_and_follows() -> None:
    records = long_story()
    told = Told(records[:300])
    with Store() as store:
        follower = projector(told, store)
        running = asyncio.create_task(follower.run())
        await follower.wait_for(300)
        for start in range(300, 600, 50):
            told.tell(*records[start : start + 50])
            await follower.wait_for(start + 50)
            assert follower.position == start + 50
        await ended(running)
        with replay(records, stream_created=STREAM) as copy:
            assert compare(store, copy) == []
        assert await follower.check() == []


async def test_it_goes_on_where_it_stopped(tmp_path: Path) -> None:
    records = long_story(4)
    for reached in (50, 120):
        with Store(tmp_path / "p.duckdb") as store:
            follower = projector(Told(records[:reached]), store)
            running = asyncio.create_task(follower.run())
            await follower.wait_for(reached)
            await ended(running)
            assert store.notices == []


async def test_waiting_ends_with_the_time_or_the_event() -> None:
    told = Told(life()[:5])
    with Store() as store:
        follower = projector(told, store)
        running = asyncio.create_task(follower.run())
        await follower.wait_for(5)
        with pytest.raises(TimeoutError, match="at 5 and not at 6 yet"):
            await follower.wait_for(6, timeout=0.2)
        waiting = asyncio.create_task(follower.wait_for(6))
        await asyncio.sleep(0)
        told.tell(life()[5])
        await waiting
        await ended(running)
        with pytest.raises(RuntimeError, match="have ended"):
            await follower.wait_for(7)


async def test_h20_another_log_means_a_rebuild() -> None:
    first, second = long_story(2), life()
    with Store() as store:
        store.apply(STREAM, first)
        follower = projector(Told(second, created="2031-01-01T00:00:00Z"), store)
        running = asyncio.create_task(follower.run())
        await follower.wait_for(len(second))  # the position of the other log does not count
        assert follower.position == len(second)
        assert "made anew" in store.notices[0]
        await ended(running)
        with replay(second) as copy:
            assert compare(store, copy) == []


async def test_an_error_while_applying_ends_it_and_tells_everybody() -> None:
    records = life()
    told = Told(records[:5])
    with Store() as store:
        follower = projector(told, store)
        running = asyncio.create_task(follower.run())
        await follower.wait_for(5)
        waiting = asyncio.create_task(follower.wait_for(20))
        await asyncio.sleep(0)
        told.tell(*records[6:20])
        with pytest.raises(Gap):
            await running
        with pytest.raises(RuntimeError, match="have ended") as raised:
            await waiting
        assert isinstance(raised.value.__cause__, Gap)


async def test_an_error_of_the_log_ends_it_too() -> None:
    told = Told(life())
    with Store() as store:
        follower = projector(told, store)
        running = asyncio.create_task(follower.run())
        await follower.wait_for(30)
        told.broken = ConnectionError("gone")
        told.arrived.set()
        with pytest.raises(ConnectionError, match="gone"):
            await running


async def test_a_rebuild_while_it_follows() -> None:
    records = long_story(10)
    told = Told(records[:200])
    with Store() as store:
        follower = projector(told, store)
        running = asyncio.create_task(follower.run())
        await follower.wait_for(200)
        rebuilding = asyncio.create_task(follower.rebuild("test"))
        for start in range(200, 300, 20):
            told.tell(*records[start : start + 20])
            await asyncio.sleep(0.005)
        await rebuilding
        await follower.wait_for(300)
        assert store.notices == ["all projections are made anew: test"]
        assert await follower.check() == []
        await ended(running)


async def test_time_travel_and_a_damaged_store() -> None:
    records = life()
    with Store() as store:
        follower = projector(Told(records), store)
        running = asyncio.create_task(follower.run())
        await follower.wait_for(30)
        with await follower.replay(until_seq=7) as past:
            assert past.position.sequence == 7
        with await follower.replay(
            until_time=records[9].at.astimezone(datetime.timezone(datetime.timedelta(hours=2)))
        ) as past:
            assert past.position.sequence == 10
        assert await follower.check() == []
        store._writer.execute("update runs set state = 'completed'")
        (difference,) = await follower.check()
        assert difference.startswith("runs: 1 rows only live")
        await ended(running)


async def test_the_loop_goes_on_while_batches_are_applied() -> None:
    records = long_story(100)
    with Store() as store:
        follower = projector(Told(records), store)
        longest, ends = 0.0, asyncio.Event()

        async def beat() -> None:
            nonlocal longest
            while not ends.is_set():
                before = time.monotonic()
                await asyncio.sleep(0.005)
                longest = max(longest, time.monotonic() - before)

        beating = asyncio.create_task(beat())
        running = asyncio.create_task(follower.run())
        await follower.wait_for(len(records), timeout=60)
        ends.set()
        await beating
        await ended(running)
        assert longest < 5.0  # a batch applied on the loop would hold it for the whole catch-up


async def test_a_cancellation_leaves_no_half_batch(tmp_path: Path) -> None:
    records = long_story(30)
    reached: list[Any] = []
    for delay in (0.0, 0.02, 0.1):
        with Store(tmp_path / "p.duckdb") as store:
            running = asyncio.create_task(projector(Told(records), store).run())
            await asyncio.sleep(delay)
            await ended(running)
            reached.append(store.position.sequence)
            assert store.rows("select count(*) from events") == [(store.position.sequence,)]
    assert reached == sorted(reached)
