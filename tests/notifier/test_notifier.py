"""The notifier on a log: the routing table against servers, no storm, nobody in another's way, nothing twice."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from events import (
    ApprovalRequested,
    ExecutionCancelled,
    ExecutionCompleted,
    ExecutionFailed,
    NoticeFailed,
    NoticeSent,
    NoticeSuppressed,
    ProgressMarked,
    TaskBlocked,
    TaskFailed,
)
from events.log import Recorded
from events.log.memory import MemoryLog
from events.log.streams import DEFAULT_TENANT
from schemas.names import NOTICES
from schemas.values import Phase
from services.notifier.channels import ChannelError, Message
from services.notifier.line import BACKLOG
from tests.controls import plan, task
from tests.notifier.receivers import Got, Receiver, receiver, voice_server
from tests.notifier.town import settings, town
from tests.worlds import execution, until

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
QUICK = {"gather": 0.05, "window": 0.0, "limit": 1000}


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Receiver]]:
    """A voice server, an ntfy server, Discord and a webhook receiver, all on loopback."""
    from apprise.plugins.discord import NotifyDiscord

    with voice_server(limit=1000) as voice, receiver() as push, receiver() as discord, receiver() as hook:
        monkeypatch.setattr(NotifyDiscord, "notify_url", f"{discord.url}/api/webhooks")
        yield {"voice": voice, "push": push, "discord": discord, "hook": hook}


def everywhere(servers: dict[str, Receiver]) -> dict[str, Any]:
    """Channels to all of them."""
    return {
        "voice": {"kind": "voice", "url": servers["voice"].url, **QUICK},
        "phone": {"kind": "ntfy", "url": servers["push"].url, "topic": "night", **QUICK},
        "team": {"kind": "discord", "url": f"https://discord.com/api/webhooks/{'1' * 18}/{'t' * 60}", **QUICK},
    }


STARTED = "Task Build part 1 of plan Ship the thing has started and is running now."
DONE = "Task Build part {} of plan Ship the thing is complete and verified."
FAILED = "FAILED 2 Build part 2: exit code 2"
PHASE = "Phase Foundations of plan Ship the thing is complete and verified."
OVER = ExecutionFailed(reason="2 failed", verified=1, failed=("2",))
CELLS: dict[str, tuple[Any, dict[str, list[str]]]] = {
    "task start": (lambda t: t.run_task("1", until_="started"), {"voice": [STARTED]}),
    "task complete": (lambda t: t.verify("1"), {"voice": [DONE.format(1)]}),
    "task complete, > 5 min": (
        lambda t: t.verify("2"), {"voice": [DONE.format(2)], "push": ["verified 2 Build part 2 after 5 minutes"]},
    ),
    "task failure": (
        lambda t: t.say(TaskFailed(attempts=3, reason="exit code 2"), "2"),
        {
            "voice": ["Attention please, task Build part 2 of plan Ship the thing has failed."],
            "push": [FAILED], "discord": [FAILED],
        },
    ),
    "phase complete": (
        lambda t: t.verify("3"), {"voice": [PHASE, DONE.format(3)], "push": ["phase Foundations is complete"]},
    ),
    "execution complete": (
        lambda t: t.say(ExecutionCompleted(verified=3)),
        {
            "voice": ["Plan Ship the thing is complete, 0 of 3 tasks are verified."],
            "push": ["COMPLETED: 0 of 3 tasks are verified"], "discord": ["COMPLETED: 0 of 3 tasks are verified"],
        },
    ),
    "execution failed": (
        lambda t: t.say(OVER),
        {"voice": ["Plan Ship the thing has failed"], "push": ["2 failed"], "discord": ["2 failed"]},
    ),
    "execution cancelled": (
        lambda t: t.say(ExecutionCancelled(verified=0, cancelled=2)),
        {"voice": ["was cancelled"], "push": ["CANCELLED"], "discord": ["CANCELLED"]},
    ),
    "progress": (
        lambda t: t.say(ProgressMarked(number=1, done=1, total=3), NOTICES),
        {"voice": ["Plan Ship the thing is running, 1 of 3 tasks are verified."]},
    ),
    "escalation": (
        lambda t: t.say(TaskBlocked(attempts=3, reason="no luck"), "2"),
        {"voice": ["needs your help"], "push": ["nightshift retry"], "discord": ["nightshift retry"]},
    ),
    "approval": (
        lambda t: t.say(ApprovalRequested(kind="start", question="May it?"), "2"),
        {"voice": ["needs your word"], "push": ["May it?"], "discord": ["May it?"]},
    ),
}  # fmt: skip
"""What happens, and what each server must have been told; a health warning: test_notifier_decide.py."""


def heard(got: list[Got], name: str) -> list[str]:
    """What a server was told, as text. Apprise sends the report to Discord in a request of its own."""
    if name == "discord":
        return [one.body.decode() for one in got if not one.body.startswith(b"--")]
    return [str(one.json()["message"]) for one in got]


@pytest.mark.parametrize("name", CELLS)
async def test_the_routing_table_against_servers(name: str, servers: dict[str, Receiver], tmp_path: Path) -> None:
    happens, expected = CELLS[name]
    what = plan(task("1"), task("2"), task("3", phase="a"), phases=(Phase(id="a", title="Foundations"),))
    async with town(settings(tmp_path, channels=everywhere(servers))) as found:
        await found.begin(what)
        if name != "task start":
            for number, seconds in enumerate((300.0, 301.0, 1.0), 1):
                await found.run_task(str(number), seconds=seconds, until_="executed")
        await found.settled()
        for server in servers.values():
            server.got.clear()
        await happens(found)
        await found.settled()
    for server in ("voice", "push", "discord"):
        told, wanted = sorted(heard(servers[server].posts, server)), sorted(expected.get(server, []))
        assert len(told) == len(wanted), (server, told)
        assert all(part in said for part, said in zip(wanted, told, strict=True)), (server, told)
    reports = [got for got in servers["discord"].posts if b"<!DOCTYPE html>" in got.body]
    assert len(reports) == name.startswith("execution")


async def test_a_webhook_hears_everything_signed_and_the_report_is_kept(
    servers: dict[str, Receiver], tmp_path: Path
) -> None:
    hook = {"kind": "webhook", "url": servers["hook"].url, "secret": "s3cret", **QUICK, "window": 0.0}
    async with town(settings(tmp_path, channels={"hook": hook})) as found:
        await found.begin()
        await found.run_task("1")
        await found.settled()
        await found.say(ExecutionCompleted(verified=2))
        await found.settled()
        (end,) = [n for n in await found.notices() if n.about[0].kind == "execution_completed"]
        page = await found.log.get_blob(f"artifacts-{DEFAULT_TENANT}", end.report)
    kinds = {n["kind"] for got in servers["hook"].posts for n in got.json()["notices"]}
    assert kinds == {"task_started", "task_completed", "execution_completed"}
    assert all("Nightshift-Signature" in got.headers for got in servers["hook"].posts)
    assert b"Ship the thing" in page
    assert page.startswith(b"<!DOCTYPE html>")


class Slow:
    """A channel that takes messages when it is let go."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.taken: list[Message] = []

    def send(self, message: Message, timeout: float) -> None:
        self.open.wait(30)
        self.taken.append(message)


async def test_a_channel_that_hangs_delays_nobody(servers: dict[str, Receiver], tmp_path: Path) -> None:
    channels = {"slow": {"kind": "log", "timeout": 60.0, **QUICK}, "hook": {"kind": "log", "file": "n.jsonl", **QUICK}}
    slow, log = Slow(), tmp_path / "n.jsonl"
    async with town(settings(tmp_path, channels=channels)) as found:
        await until(lambda: "slow" in found.notifier.lines)
        found.notifier.lines["slow"].sender = slow
        await found.begin(plan(*(task(str(n)) for n in range(30))))
        for number in range(30):
            await found.run_task(str(number), until_="started")
        await until(
            lambda: log.exists() and sum(line.count('"task_started"') for line in log.read_text().splitlines()) == 30
        )
        assert slow.taken == []
        slow.open.set()
        await found.settled()
        told = {t.key for n in await found.notices() if n.channel == "slow" for t in n.about}
    assert len(told) == 30
    assert len(slow.taken) <= 3


async def test_a_thousand_failing_tasks_are_no_storm(tmp_path: Path) -> None:
    names = [str(n) for n in range(1000)]
    channels = {
        "file": {"kind": "log", "file": "n.jsonl", "column": "discord"},
        "voice": {"kind": "log", "file": "v.jsonl", "column": "voice"},
    }
    async with town(settings(tmp_path, channels=channels)) as found:
        await found.begin(plan(*(task(name) for name in names)))
        for name in names:
            await found.say(TaskFailed(attempts=3, reason="exit code 2"), name)
        for line in found.notifier.lines.values():
            line.hurry()
        await found.settled(60.0)
        notices = await found.notices()
    for channel in channels:
        sent = [n for n in notices if n.channel == channel]
        assert all(isinstance(n, NoticeSent) for n in sent)
        assert len(sent) <= 8
        assert len({t.key for n in sent for t in n.about}) == 1000
    assert len((tmp_path / "n.jsonl").read_text().splitlines()) <= 8


async def test_h4_what_several_channels_were_told_of_one_event_is_recorded_for_each(tmp_path: Path) -> None:
    """Their facts have one cause, one name and one entity, and are decided on the same sequence."""
    names = [f"c{n}" for n in range(8)]
    channels = {name: {"kind": "log", "file": f"{name}.jsonl", **QUICK} for name in names}
    async with town(settings(tmp_path, channels=channels)) as found:
        await found.begin()
        await found.say(TaskFailed(attempts=3, reason="exit code 2"), "1")
        await found.settled()
        assert sorted(n.channel for n in await found.notices()) == names


async def test_failing_is_retried_then_given_up_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from services.notifier import pace

    monkeypatch.setattr(pace, "SLOWEST", 0.01)
    with receiver(lambda got: (503, {})) as server:
        hook = {"kind": "webhook", "url": server.url, "secret": "s", "tries": 3, **QUICK}
        async with town(settings(tmp_path, channels={"hook": hook})) as found:
            await found.begin()
            await found.run_task("1", until_="started")
            await found.settled()
            notices = await found.notices()
    assert len(server.posts) == 3
    assert [(type(n), n.tries, n.given_up, n.reason) for n in notices] == [
        (NoticeFailed, 1, False, "the server answers 503"), (NoticeFailed, 3, True, "the server answers 503"),
    ]  # fmt: skip


async def test_failing_that_ends_is_delivered_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from services.notifier import pace

    monkeypatch.setattr(pace, "SLOWEST", 0.01)
    answers = iter([503, 429, 200])
    with receiver(lambda got: (next(answers), {})) as server:
        hook = {"kind": "webhook", "url": server.url, "secret": "s", **QUICK}
        async with town(settings(tmp_path, channels={"hook": hook})) as found:
            await found.begin()
            await found.run_task("1", until_="started")
            await found.settled()
            (first, last) = await found.notices()
    assert isinstance(first, NoticeFailed)
    assert isinstance(last, NoticeSent)
    assert (last.tries, last.maybe_again) == (3, False)


async def test_a_secret_in_a_reason_is_not_seen(tmp_path: Path) -> None:
    class Careless:
        def send(self, message: Message, timeout: float) -> None:
            raise ChannelError("POST http://h/hush failed", again=False)

    hook = {"kind": "webhook", "url": "http://h/hush", "secret": "s3cret", **QUICK}
    async with town(settings(tmp_path, channels={"hook": hook})) as found:
        await until(lambda: "hook" in found.notifier.lines)
        found.notifier.lines["hook"].sender = Careless()
        await found.begin()
        await found.run_task("1", until_="started")
        await found.settled()
        (notice,) = await found.notices()
    assert notice.reason == "POST *** failed"
    assert notice.given_up


# -- nothing twice, nothing old --------------------------------------------------------------------------------------


async def test_replaying_history_tells_nothing_again(tmp_path: Path) -> None:
    file = {"kind": "log", "file": "n.jsonl", **QUICK}
    log = MemoryLog()
    async with town(settings(tmp_path, channels={"file": file}), log) as found:
        await found.begin()
        await found.run_task("1")
        await found.settled()  # the end would take the small talk with it
        await found.say(ExecutionCompleted(verified=2))
        await found.settled()
    told = (tmp_path / "n.jsonl").read_text()
    assert told.count('"kind":"task_completed"') == 1
    log._durables.clear()  # the durable is gone: everything is handed out again, from the start
    async with town(settings(tmp_path, channels={"file": file}), log) as found:
        await found.settled()
    assert (tmp_path / "n.jsonl").read_text() == told


async def test_what_is_old_by_the_time_it_is_seen_is_not_told(tmp_path: Path) -> None:
    import time

    log = MemoryLog(now_ns=lambda: time.time_ns() - 2 * 86400 * 10**9)
    file = {"kind": "log", "file": "n.jsonl", **QUICK}
    async with town(settings(tmp_path, channels={"file": file}), log) as found:
        await found.begin()
        await found.run_task("1")
        await found.say(ExecutionCompleted(verified=2))
        await found.settled()
        notices = await found.notices()
    assert not (tmp_path / "n.jsonl").exists()
    assert {type(n) for n in notices} == {NoticeSuppressed}
    assert len({t.key for n in notices for t in n.about}) == 3


async def test_what_is_said_while_the_end_comes_is_settled_before_the_program_ends(tmp_path: Path) -> None:
    slow = {"kind": "log", "file": "n.jsonl", "gather": 30.0, "window": 600.0}
    async with town(settings(tmp_path, channels={"file": slow})) as found:
        await found.begin()
        await found.run_task("1", until_="started")
        await found.say(ExecutionCompleted(verified=2))
        await found.notifier.stop(10.0)
        assert len(await found.notices()) == 1
    lines = (tmp_path / "n.jsonl").read_text().splitlines()
    assert len(lines) == 1
    assert "COMPLETED" in lines[0]


async def test_nobody_waits_for_a_dead_channel_with_a_long_line(tmp_path: Path) -> None:
    number = BACKLOG + 10
    channels = {"slow": {"kind": "log", "timeout": 60.0, **QUICK}}
    slow = Slow()
    async with town(settings(tmp_path, channels=channels)) as found:
        await until(lambda: "slow" in found.notifier.lines)
        line = found.notifier.lines["slow"]
        line.sender = slow
        await found.begin(plan(*(task(str(n)) for n in range(3))))
        from dataclasses import replace

        from tests.notifier.test_words import item

        known = replace(item("task_started"), tenant=DEFAULT_TENANT, execution=execution(1), at_ns=found.log.now_ns())  # type: ignore[attr-defined]
        futures = [line.add(replace(known, key=f"k{n}", id=f"k{n}")) for n in range(number)]
        await until(lambda: sum(f.done() for f in futures) >= BACKLOG // 4)
        notices = await found.notices()
        assert {type(n) for n in notices} == {NoticeSuppressed}
        slow.open.set()
        await asyncio.gather(*futures)
    assert sum(len(n.about) for n in notices) == BACKLOG // 4


async def test_an_end_is_told_even_where_its_report_cannot_be_made(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = {"kind": "log", "file": "n.jsonl", **QUICK}
    async with town(settings(tmp_path, channels={"file": file})) as found:
        await found.say(ExecutionFailed(reason="x", verified=0, failed=()))  # nobody ever handed a plan over
        await found.settled()
    assert '"kind":"execution_failed"' in (tmp_path / "n.jsonl").read_text()
    assert "the report of" in caplog.text


async def test_progress_is_marked_by_a_timer_and_goes_on(tmp_path: Path) -> None:
    file = {"kind": "log", "file": "n.jsonl", **QUICK}
    made = settings(tmp_path, channels={"file": file}, progress_after=1.0, progress_every=1.0)
    async with town(made) as found:
        await found.begin()
        await until(lambda: sum(r.name == "ProgressMarked" for r in found.log.records) == 2)  # type: ignore[attr-defined]
        await found.say(ExecutionCompleted(verified=2))
        marks = [r for r in found.log.records if r.name == "ProgressMarked"]  # type: ignore[attr-defined]
        await until(lambda: "execution_completed" in (tmp_path / "n.jsonl").read_text())
    assert [m.fact.number for m in marks] == [1, 2]
    assert marks[1].cause == marks[0].id
    text = (tmp_path / "n.jsonl").read_text()
    assert text.count('"kind":"progress"') == 2


async def test_an_end_that_is_handed_out_again_makes_no_second_report(tmp_path: Path) -> None:
    log = Reading()
    async with town(settings(tmp_path), log) as found:
        await found.begin()
        end = await found.say(OVER)
        await found.settled()
        before = log.reads
        assert before
        assert await found.notifier.reports.keep(found.tenant, execution(1), end)
        assert log.reads == before


class Reading(MemoryLog):
    """Counts how often it is read."""

    reads = 0

    def read(self, filter: str, *, after: int = 0) -> AsyncIterator[Recorded]:
        self.reads += 1
        return super().read(filter, after=after)
