"""What the watchdog finds: samples at made-up times in, findings out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from schemas.values import Health, Progress, Watch
from services.executor.watchdog import LONGEST, SHORTEST, Monitor, Sample, Space, Terms, size

MIB = 1024 * 1024
OFF = Watch(limit=1.0, action="off")
QUIET = Health(
    duration=OFF, timeout=OFF, memory=OFF, silence=OFF, disk=OFF, progress=Progress(action="off")
)  # fmt: skip
"""Nothing is watched; a test switches on what it is about."""
RULE = Progress(warn=100.0, interrupt=200.0, kill=30.0, busy=500.0)


def monitor(warned: tuple[str, ...] = (), **watched: Any) -> Monitor:
    """A monitor for a task with an estimate of 100 s, a timeout of 1000 s and 100 MiB."""
    terms = Terms(health=replace(QUIET, **watched), timeout=1000.0, estimate=100.0, memory=100 * MIB)
    return Monitor(terms, warned)


class Feed:
    """A clock that is moved by hand, and what would be measured."""

    def __init__(self, watch: Monitor) -> None:
        self.watch = watch
        self.sample = Sample(at=1000.0, cpu_seconds=0.0, files=1)
        self.found = [(0.0, f.kind, f.stage) for f in watch.take(self.sample)]

    def on(
        self, seconds: float, *, step: float = 5.0, prints: int = 0, cpu: float | None = 0.0, **measured: Any
    ) -> Feed:
        """So many seconds pass, in which each second so much is printed and so much CPU time is taken."""
        for _ in range(round(seconds / step)):
            before = self.sample
            spent = None if cpu is None else (before.cpu_seconds or 0.0) + cpu * step
            output = before.output + round(prints * step)
            self.sample = replace(before, at=before.at + step, output=output, cpu_seconds=spent, **measured)
            self.found += [(self.sample.at - 1000.0, f.kind, f.stage) for f in self.watch.take(self.sample)]
        return self

    def touch(self) -> Feed:
        """A file changes."""
        self.sample = replace(self.sample, files=(self.sample.files or 0) + 1)
        return self


# -- progress -------------------------------------------------------------------------------------------------------


def test_no_progress_is_warned_of_interrupted_and_killed() -> None:
    feed = Feed(monitor(progress=RULE)).on(400)
    assert feed.found == [(105, "progress", "warn"), (200, "progress", "interrupt"), (230, "progress", "kill")]
    assert feed.watch.ending is not None
    assert feed.watch.ending.message == "no progress for 3 min: no output, no changed file, no CPU time"


@pytest.mark.parametrize(
    ("action", "stages"),
    [("warn", ["warn"]), ("interrupt", ["warn", "interrupt", "kill"]), ("fail", ["warn", "fail", "kill"]), ("off", [])],
)
def test_the_action_says_how_far_the_watchdog_goes(action: Any, stages: list[str]) -> None:
    feed = Feed(monitor(progress=replace(RULE, action=action))).on(400)
    assert [stage for _, _, stage in feed.found] == stages


def test_output_is_progress() -> None:
    assert Feed(monitor(progress=RULE)).on(5000, prints=1).found == []


def test_a_changed_file_is_progress() -> None:
    feed = Feed(monitor(progress=RULE))
    for _ in range(50):
        feed.on(90).touch()
    assert feed.found == []


def test_a_look_at_the_files_that_is_left_out_says_nothing() -> None:
    feed = Feed(monitor(progress=RULE)).on(90, files=None).on(20, files=1)
    assert feed.found == [(105, "progress", "warn")]
    feed = Feed(monitor(progress=RULE)).on(90, files=None).on(20, files=2)
    assert feed.found == []
    feed = Feed(monitor(progress=RULE)).on(300, files=None)
    assert feed.found == [], "nobody has looked: there may have been a change"
    feed.on(5, files=1)
    assert feed.found == [(305, "progress", "interrupt")]


def test_cpu_time_is_progress_but_not_for_ever() -> None:
    feed = Feed(monitor(progress=RULE)).on(2000, cpu=0.5)
    assert feed.found == [(605, "progress", "warn"), (700, "progress", "interrupt"), (730, "progress", "kill")]
    assert feed.watch.ending is not None
    assert "CPU time, but no output" in feed.watch.ending.message


def test_cpu_time_with_a_file_now_and_then_is_progress() -> None:
    feed = Feed(monitor(progress=RULE))
    for _ in range(10):
        feed.on(400, cpu=0.5).touch()
    assert feed.found == []


def test_waiting_in_a_loop_is_no_progress() -> None:
    feed = Feed(monitor(progress=RULE)).on(150, cpu=0.01)
    assert feed.found == [(105, "progress", "warn")]


def test_where_nobody_can_say_what_cpu_time_it_takes_it_may_be_busy() -> None:
    feed = Feed(monitor(progress=RULE)).on(2000, cpu=None)
    assert feed.found[0] == (605, "progress", "warn")


def test_a_second_episode_is_warned_of_again() -> None:
    feed = Feed(monitor(progress=RULE)).on(150).on(5, prints=1).on(150)
    assert feed.found == [(105, "progress", "warn"), (260, "progress", "warn")]


def test_time_in_which_the_executor_was_stopped_does_not_count() -> None:
    feed = Feed(monitor(progress=RULE)).on(50).on(10_000, step=10_000).on(30)
    assert feed.found == []
    feed.on(30)
    assert feed.found == [(10_095, "progress", "warn")], "of the 10,000 s no more count than three samples may be apart"


# -- the measures ---------------------------------------------------------------------------------------------------


def test_duration_against_the_estimate_is_warned_of_once() -> None:
    feed = Feed(monitor(duration=Watch(limit=2.0))).on(900)
    assert feed.found == [(205, "duration", "warn")]


def test_without_an_estimate_no_duration_is_too_long() -> None:
    health = replace(QUIET, duration=Watch(limit=2.0))
    assert Feed(Monitor(Terms(health=health, timeout=1000.0))).on(900).found == []


def test_the_timeout_is_announced() -> None:
    feed = Feed(monitor(timeout=Watch(limit=0.8))).on(1000)
    assert feed.found == [(805, "timeout", "warn")]


def test_silence_is_output_alone() -> None:
    feed = Feed(monitor(silence=Watch(limit=60.0))).on(100, cpu=1.0).touch().on(100, cpu=1.0)
    assert feed.found == [(65, "silence", "warn")]
    feed.on(5, prints=1).on(100)
    assert feed.found == [(65, "silence", "warn"), (270, "silence", "warn")]


MEMORY = [
    ("below", [79 * MIB], 0),
    ("beyond", [81 * MIB], 1),
    ("it stays there", [81 * MIB, 99 * MIB, 81 * MIB], 1),
    ("a little less is the same episode", [81 * MIB, 75 * MIB, 81 * MIB], 1),
    ("much less and again is another", [81 * MIB, 71 * MIB, 81 * MIB], 2),
    ("nobody can say", [None], 0),
]


@pytest.mark.parametrize(("values", "warnings"), [m[1:] for m in MEMORY], ids=[m[0] for m in MEMORY])
def test_memory(values: list[int | None], warnings: int) -> None:
    feed = Feed(monitor(memory=Watch(limit=0.8)))
    for value in values:
        feed.on(10, memory=value)
    assert [kind for _, kind, _ in feed.found] == ["memory"] * warnings


def test_without_a_limit_no_memory_is_too_much() -> None:
    health = replace(QUIET, memory=Watch(limit=0.8))
    assert Feed(Monitor(Terms(health=health, timeout=1000.0))).on(10, memory=1 << 60).found == []


def test_disk_is_about_what_is_left() -> None:
    feed = Feed(monitor(disk=Watch(limit=0.1)))
    for free in (50, 10, 9, 10, 9, 12, 9, 0):
        feed.on(5, disk=Space(free * MIB, 100 * MIB))
    assert [(at, kind) for at, kind, _ in feed.found] == [(15, "disk"), (35, "disk")]


@pytest.mark.parametrize(("action", "retryable"), [("interrupt", True), ("fail", False)])
def test_a_measure_can_end_the_attempt(action: Any, retryable: bool) -> None:
    feed = Feed(monitor(memory=Watch(limit=0.8, action=action))).on(70, memory=90 * MIB)
    assert [stage for _, _, stage in feed.found] == [action, "kill"]
    assert feed.watch.ending is not None
    assert (feed.watch.ending.stage != "fail") == retryable


def test_once_it_is_ending_nothing_else_is_said() -> None:
    feed = Feed(monitor(progress=RULE, timeout=Watch(limit=0.3), memory=Watch(limit=0.8)))
    feed.on(205).on(300, memory=100 * MIB)
    assert feed.found == [(105, "progress", "warn"), (200, "progress", "interrupt"), (230, "progress", "kill")]


# -- what the log knows already -----------------------------------------------------------------------------------


def kinds(feed: Feed) -> Iterator[str]:
    return (kind for _, kind, _ in feed.found)


def test_a_successor_does_not_warn_again_in_the_same_episode() -> None:
    watched = {"memory": Watch(limit=0.8), "silence": Watch(limit=60.0), "duration": Watch(limit=2.0)}
    feed = Feed(monitor(("memory", "silence", "duration"), **watched))
    feed.on(10, prints=1).on(300, memory=90 * MIB)
    assert feed.found == []
    feed.on(10, memory=10 * MIB, prints=1).on(100, memory=90 * MIB)
    assert list(kinds(feed)) == ["memory", "silence"]


def test_a_successor_still_interrupts_what_was_only_warned_of() -> None:
    feed = Feed(monitor(("progress",), progress=RULE)).on(400)
    assert [stage for _, _, stage in feed.found] == ["interrupt", "kill"]


# -- how often --------------------------------------------------------------------------------------------------------


LOOKS = [
    ("by default: a tenth of the time until it is killed", Terms(health=Health(), timeout=1800.0), 3.0),
    ("a short estimate", Terms(health=Health(), timeout=1800.0, estimate=10.0), 2.0),
    ("a short timeout", Terms(health=Health(), timeout=10.0), 0.8),
    ("never too often", Terms(health=Health(), timeout=0.1), SHORTEST),
    ("never too seldom", Terms(health=replace(QUIET, silence=Watch(limit=1e4)), timeout=1e6), LONGEST),
    ("what is off does not count", Terms(health=QUIET, timeout=1.0), LONGEST),
]


@pytest.mark.parametrize(("terms", "seconds"), [case[1:] for case in LOOKS], ids=[case[0] for case in LOOKS])
def test_how_often_it_looks(terms: Terms, seconds: float) -> None:
    assert terms.interval == pytest.approx(seconds)


def test_sizes_are_said_in_few_digits() -> None:
    assert [size(n) for n in (0, 1023, 1 << 20, 1.5 * (1 << 30), 1 << 50)] == [
        "0 bytes", "1.02e+03 bytes", "1 MiB", "1.5 GiB", "1.02e+03 TiB",
    ]  # fmt: skip
