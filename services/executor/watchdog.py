"""When a running attempt looks unwell: samples in, findings out. Pure: the time is in the samples.

Progress is what can be seen from outside: more output, a changed file, CPU time of the processes. Nothing that a task
says about itself counts. CPU time without anything to show for it counts for a while only (`Progress.busy`): an endless
loop is a hang as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from math import inf

from events.health import Kind, Stage
from schemas.values import Health, HealthAction, Watch

BUSY = 0.05
"""Share of one processor from which on CPU time is progress; less is somebody who waits in a loop."""
BACK = 0.9
"""An episode is over when the measure is below this share of its limit."""
SHORTEST, LONGEST = 0.2, 5.0
"""Seconds between two samples."""


@dataclass(frozen=True, slots=True)
class Space:
    """Room on a disk, in bytes."""

    free: int
    total: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """What was measured at one moment."""

    at: float
    """Seconds of a monotonic clock."""
    output: int = 0
    """Bytes printed so far."""
    files: int | None = None
    """A number that changes when a file does; None: not looked at this time."""
    cpu_seconds: float | None = None
    """Of the whole tree so far; None: nobody can say."""
    memory: int | None = None
    disk: Space | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """What an attempt is measured against. Seconds and bytes; None where there is no such limit."""

    health: Health
    timeout: float
    estimate: float | None = None
    memory: int | None = None

    @property
    def interval(self) -> float:
        """Seconds between two samples: a tenth of the shortest limit, within bounds."""
        health, progress = self.health, self.health.progress
        limits = [
            (health.duration.action, health.duration.limit * (self.estimate or inf)),
            (health.timeout.action, health.timeout.limit * self.timeout),
            (health.silence.action, health.silence.limit),
            (progress.action, progress.warn),
        ]
        watches = (health.duration, health.timeout, health.memory, health.silence, health.disk, progress)
        limits += [(watch.action, progress.kill) for watch in watches if watch.action in ("interrupt", "fail")]
        shortest = min((limit for action, limit in limits if action != "off"), default=inf)
        return min(max(shortest / 10, SHORTEST), LONGEST)


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """A limit was passed, and what is to be done."""

    kind: Kind
    stage: Stage
    value: float
    limit: float
    message: str


_STAGES: dict[HealthAction, Stage] = {"warn": "warn", "interrupt": "interrupt", "fail": "fail"}


@dataclass(slots=True)
class Monitor:
    """One attempt."""

    terms: Terms
    warned: Iterable[str] = ()
    """Kinds that somebody was warned of in this attempt before this executor took it: their episode goes on."""
    ending: Finding | None = None
    """Why it was asked to end."""
    _open: set[str] = field(init=False)
    """Kinds that are in an episode."""
    _over: set[str] = field(default_factory=set)
    """Kinds that were seen beyond their limit since then: only these can be seen to come back."""
    _first: Sample | None = None
    _last: Sample | None = None
    _watched: float = 0.0
    """Seconds for which somebody looked: those in which the executor itself was stopped do not count."""
    _files: int | None = None
    _printed_at: float = 0.0
    _shown_at: float = 0.0
    _moved_at: float = 0.0
    _asked_at: float = 0.0
    _busy: bool = False
    _killed: bool = False

    def __post_init__(self) -> None:
        self._open = set(self.warned)

    def take(self, sample: Sample) -> list[Finding]:
        """What is new with this sample, the gravest last. Once the attempt is asked to end, only its killing."""
        self._follow(sample)
        if self.ending is not None:
            return list(self._kill())
        found: list[Finding] = []
        for finding in self._findings(sample):
            found.append(finding)
            if finding.stage in ("interrupt", "fail"):
                self.ending, self._asked_at = finding, self._watched
                break
        return found

    def _follow(self, sample: Sample) -> None:
        """Move the marks at which something was last seen to happen."""
        last = self._last
        self._last = sample
        if last is None:
            self._first, self._files = sample, sample.files
            return
        gap = sample.at - last.at
        self._watched += min(gap, max(1.0, 3 * self.terms.interval))
        printed = sample.output > last.output
        changed = sample.files is not None and self._files is not None and sample.files != self._files
        if sample.files is not None:
            self._files = sample.files
        known = sample.cpu_seconds is not None and last.cpu_seconds is not None
        self._busy = known and (sample.cpu_seconds or 0.0) - (last.cpu_seconds or 0.0) >= BUSY * gap
        if printed:
            self._printed_at = self._watched
        if printed or changed:
            self._shown_at = self._moved_at = self._watched
        elif (self._busy or not known) and self._watched - self._shown_at <= self.terms.health.progress.busy:
            self._moved_at = self._watched

    def _findings(self, sample: Sample) -> Iterator[Finding]:
        terms, health = self.terms, self.terms.health
        elapsed = sample.at - (self._first or sample).at
        if terms.estimate:
            limit = terms.estimate * health.duration.limit
            times = f"{health.duration.limit:g} times its estimate"
            yield from self._watch("duration", health.duration, elapsed, limit, f"it takes longer than {times}")
        limit = terms.timeout * health.timeout.limit
        left = f"{_span(max(0.0, terms.timeout - elapsed))} are left of its {_span(terms.timeout)}"
        yield from self._watch("timeout", health.timeout, elapsed, limit, left)
        if terms.memory and sample.memory is not None:
            limit = terms.memory * health.memory.limit
            uses = f"it uses {size(sample.memory)} of {size(terms.memory)} of memory"
            yield from self._watch("memory", health.memory, sample.memory, limit, uses)
        silent = self._watched - self._printed_at
        limit = health.silence.limit
        yield from self._watch("silence", health.silence, silent, limit, f"it has printed nothing for {_span(silent)}")
        if sample.disk is not None:
            limit = sample.disk.total * health.disk.limit
            free = f"{size(sample.disk.free)} of {size(sample.disk.total)} are free on the disk"
            yield from self._watch("disk", health.disk, sample.disk.free, limit, free, below=True)
        if sample.files is not None:  # otherwise a change may not have been seen yet
            yield from self._progress()

    def _watch(
        self, kind: Kind, watch: Watch, value: float, limit: float, message: str, *, below: bool = False
    ) -> Iterator[Finding]:
        """A finding at the beginning of an episode."""
        if watch.action == "off":
            return
        ratio = limit / max(value, 1.0) if below else value / limit
        if ratio > 1:
            self._over.add(kind)
            if kind not in self._open:
                self._open.add(kind)
                yield Finding(kind=kind, stage=_STAGES[watch.action], value=value, limit=limit, message=message)
        elif ratio < BACK and kind in self._over:
            self._over.discard(kind)
            self._open.discard(kind)

    def _progress(self) -> Iterator[Finding]:
        """The stages warn and interrupt of the watchdog."""
        rule = self.terms.health.progress
        idle, hidden = self._watched - self._moved_at, self._watched - self._shown_at
        message = f"no progress for {_span(idle)}: no output, no changed file, no CPU time"
        if self._busy:
            message = f"no progress for {_span(hidden)}: CPU time, but no output and no changed file"
        if rule.action in ("interrupt", "fail") and idle >= rule.interrupt:
            stage = _STAGES[rule.action]
            yield Finding(kind="progress", stage=stage, value=idle, limit=rule.interrupt, message=message)
        elif rule.action != "off":
            yield from self._watch("progress", Watch(limit=rule.warn), idle, rule.warn, message)

    def _kill(self) -> Iterator[Finding]:
        """The stage kill: it was asked to end and goes on."""
        waited, kill = self._watched - self._asked_at, self.terms.health.progress.kill
        if self.ending is not None and not self._killed and waited >= kill:
            self._killed = True
            message = f"it goes on {_span(waited)} after it was asked to end"
            yield Finding(kind=self.ending.kind, stage="kill", value=waited, limit=kill, message=message)


def _span(seconds: float) -> str:
    """Seconds, as a person says them."""
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def size(number: float) -> str:
    """Bytes, as a person says them."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if number < 1024:
            return f"{number:.3g} {unit}"
        number /= 1024
    return f"{number:.3g} TiB"
