"""When a channel gets its next message and what is in it: gathering, windows, limits, backoff; on its own clock."""

from __future__ import annotations

import asyncio
from typing import Any

from schemas.notify import Channel
from services.notifier.pace import MINUTE, SLOWEST, Entry, Pace
from tests.notifier.test_words import item


def entry(kind: str, number: int = 1, since: float = 0.0, **more: Any) -> Entry:
    loop = asyncio.new_event_loop()
    try:
        return Entry(item(kind, number, **more), since, loop.create_future())
    finally:
        loop.close()


def pace(**settings: Any) -> Pace:
    return Pace(Channel.model_validate({"kind": "log", **settings}))


def sent(pace: Pace, entries: list[Entry], now: float) -> list[Entry]:
    """What goes at a moment; it is taken."""
    due, _ = pace.pick(entries, now)
    if due:
        pace.succeeded(due, now)
    for one in due:
        entries.remove(one)
    return due


def test_what_happens_together_is_one_message() -> None:
    p, waiting = pace(), [entry("task_failed", n, since=n / 20) for n in range(10)]
    assert p.pick(waiting, 0.5) == ([], 1.0)
    assert len(sent(p, waiting, 1.0)) == 10


def test_ten_failures_in_a_minute_are_one_message_and_one_that_sums_up() -> None:
    p, messages = pace(), []
    waiting: list[Entry] = []
    for second in range(75):
        if second < 60 and second % 6 == 0:
            waiting.append(entry("task_failed", second, since=float(second)))
        if due := sent(p, waiting, float(second)):
            messages.append((second, len(due)))
    assert messages == [(1, 1), (61, 9)]


def test_another_kind_does_not_wait_for_the_window() -> None:
    p = pace()
    assert sent(p, [entry("task_started", 1)], 1.0)
    assert p.pick([entry("task_started", 2, since=2.0)], 5.0) == ([], 61.0)
    assert sent(p, [entry("task_failed", 3, since=2.0)], 5.0)


def test_what_is_rare_gets_a_message_of_its_own_until_half_of_the_limit_is_used() -> None:
    p = pace(limit=4, gather=0)
    waiting = [entry("phase_completed", n) for n in range(6)]
    assert [len(sent(p, waiting, 0.0)) for _ in range(3)] == [1, 1, 4]


def test_the_end_takes_its_small_talk_with_it_but_no_failure() -> None:
    p = pace(gather=0)
    end, talk, bad = entry("execution_completed"), entry("task_started", 2), entry("task_failed", 3)
    other = entry("task_started", 4, execution="e2")
    assert sent(p, [talk, bad, other, end], 0.0) == [end, talk]


def test_the_limit_holds_and_what_waited_goes_together() -> None:
    p = pace(limit=3, gather=0, window=0)
    waiting = [entry("task_failed", 0)]
    for moment in (0.0, 1.0, 2.0):
        assert sent(p, waiting, moment)
        waiting.append(entry("task_failed", 1, since=moment))
    waiting += [entry("task_failed", n, since=3.0) for n in range(100)]
    assert p.pick(waiting, 3.0) == ([], MINUTE)
    assert len(sent(p, waiting, MINUTE)) == 101


def test_a_thousand_failures_in_an_hour_are_no_storm() -> None:
    p, messages = pace(), 0
    waiting: list[Entry] = []
    for second in range(3660):
        if second < 3600 and second % 4 == 0:
            waiting += [
                entry("task_failed", second, since=float(second)),
                entry("attempt_failed", second, since=float(second)),
            ]
        messages += bool(sent(p, waiting, float(second)))
    assert not waiting
    assert messages <= 2 * 61


def test_customers_never_share_a_message() -> None:
    from dataclasses import replace

    p = pace(gather=0)
    mine, other = entry("task_failed", 1), entry("task_failed", 2)
    other.item = replace(other.item, tenant="globex")
    waiting = [mine, other]
    assert sent(p, waiting, 0.0) == [mine]
    assert sent(p, waiting, 0.0) == [other]


def test_backing_off_doubles_up_to_five_minutes_and_heeds_what_the_server_asks() -> None:
    p, now = pace(gather=0), 0.0
    waits = []
    for _ in range(11):
        waits.append(p.failed(now, None))
        assert p.pick([entry("task_failed")], now) == ([], now + waits[-1])
        now += waits[-1]
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, SLOWEST, SLOWEST]
    assert Pace(p.channel).failed(0.0, 42.0) == 42.0
    p.succeeded([], now)
    assert p.failed(now, None) == 1


def test_whoever_is_in_a_hurry_gathers_nothing() -> None:
    p = pace()
    assert sent(p, [entry("task_started", 1)], 1.0)
    p.hurry = True
    assert sent(p, [entry("task_started", 2, since=2.0)], 2.0)
