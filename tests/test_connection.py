"""The lean connection: timers that are left running, questions that are not answered, odd messages."""

from __future__ import annotations

import asyncio
from pathlib import Path

import nats.errors
import pytest

from events.log import LogUnavailable
from events.log.alarm import Alarm
from events.log.connection import SMALL, LeanClient, connect
from nightshift.server_process import HOST, end, free_port, spawn
from tests.servers import embedded


async def test_an_alarm_rings_once_at_the_moment_that_was_set_last() -> None:
    rung: list[float] = []
    loop = asyncio.get_running_loop()
    alarm = Alarm(lambda: rung.append(loop.time()))
    begun = loop.time()
    alarm.within(60.0)
    for _ in range(5):
        alarm.within(0.05)
    alarm.within(0.15)
    await asyncio.sleep(0.4)
    assert len(rung) == 1
    assert rung[0] - begun >= 0.15
    alarm.within(0.01)
    alarm.cancel()
    await asyncio.sleep(0.05)
    assert len(rung) == 1


async def test_each_question_waits_for_as_long_as_it_wants(tmp_path: Path) -> None:
    async with embedded(tmp_path) as server:
        client = await connect(server.credentials("operator"), name="asker")
        answered: dict[str, str] = {}

        async def ask(name: str, timeout: float) -> None:
            with pytest.raises((TimeoutError, LogUnavailable)):
                await client.ask(f"log.default.nobody.{name}.1.2.3.4", b"?", timeout=timeout)
            answered[name] = name

        waiting = [asyncio.create_task(ask("long", 30.0)), asyncio.create_task(ask("short", 0.1))]
        await asyncio.wait(waiting, timeout=10.0, return_when=asyncio.FIRST_COMPLETED)
        assert "short" in answered
        waiting[0].cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert not client._asked
        assert not client._deadlines
        await client.close()


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Actor": "näme"}, b"x"),
        ({"Actor": "two\r\nlines: 1"}, b"x"),
        ({"Actor": "plain"}, b"x" * (SMALL + 1)),
        ({"Actor": "form\x0cfeed"}, b""),
        (None, b"x\r\ny"),
        ({"A": "1", "B": "2"}, b"\x00\r\n"),
    ],
)
async def test_a_message_arrives_as_it_is_whoever_writes_it(
    tmp_path: Path, headers: dict[str, str] | None, body: bytes
) -> None:
    """Short cuts are taken only where they end at the same place; two lines in a value never become two headers."""
    port = free_port()
    (tmp_path / "plain.conf").write_text(f'listen: "{HOST}:{port}"\n')
    server = await spawn(tmp_path / "plain.conf", tmp_path / "said")
    try:
        client = await connect(f"nats://{HOST}:{port}", name="asker", wait=20.0)
        got: list[tuple[bytes, bytes]] = []

        def handler(subject: str, reply: str, raw: bytes, data: bytes) -> None:
            got.append((raw, data))

        await client.listen("some.place", handler)
        with pytest.raises(TimeoutError):
            await client.ask("some.place", body, dict(headers) if headers else None, timeout=1.0)
        lines = [line for line in got[0][0].split(b"\r\n") if line]
        assert [data for _, data in got] == [body]
        assert len(lines) == len(headers or ()) + bool(headers)
        await client.close()
    finally:
        await end(server)


async def test_a_subject_with_a_space_is_refused_and_not_sent(tmp_path: Path) -> None:
    async with embedded(tmp_path) as server:
        client = await connect(server.credentials("operator"), name="asker")
        with pytest.raises((nats.errors.Error, LogUnavailable)):
            await client.ask("two words", b"", timeout=0.2)
        assert isinstance(client, LeanClient)
        await client.close()
