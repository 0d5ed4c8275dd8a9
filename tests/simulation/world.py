"""One night: processes with the real services in them, and what stands in for the world around them.

What is simulated are adapters only: the runner of attempts, the git repository, the judge, the journal of leases on
disk, process ids and clocks. Everything that decides, folds, appends and acknowledges is the code of ``services``.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import Counter
from random import Random
from typing import Any

import msgspec

from events.execution import PlanAccepted, PlanRejected, Problem
from events.fold import ExecutionFold
from events.log import LogUnavailable, Recorded
from events.machines import EXECUTION as LIFE
from events.request import PlanSubmitted
from schemas.safety.rules import Safety
from schemas.values import Plan
from tests.simulation.adapters import Child, Repository
from tests.simulation.broker import OUTSIDE, Broker
from tests.simulation.door import Door
from tests.simulation.faults import MAJOR, Faults, Rates, rates
from tests.simulation.invariants import Checker
from tests.simulation.loop import DEAD, FROZEN, RUNNING, Line, SimulatedLoop, Stuck
from tests.simulation.people import TENANT, Person, plan
from tests.simulation.process import Database, Process

HORIZON = 120.0
"""Seconds after which faults stop."""
ENOUGH = 1200.0
"""Seconds of calm after which everything must have come to rest."""
MOST_STEPS = 150_000


def execution_id(seed: int, number: int) -> str:
    """The id of an execution of a seed."""
    return f"0192f0c1-{seed >> 32 & 0xFFFF:04x}-7000-8000-{seed & 0xFFFFFFFF:08x}{number:04x}"


class World:
    """Everything there is, in one night."""

    def __init__(self, seed: int, *, executions: int | None = None, mode: Rates | None = None) -> None:
        self.seed = seed
        self.luck = luck = Random(seed)
        night = mode or rates(luck)
        late, stalls = luck.choice(((0.0, 0.0), (0.05, 0.0), (0.1, 0.02)))
        self.loop = SimulatedLoop(luck, late=late, stalls=stalls)
        self.loop.set_exception_handler(self._complained)
        self.trace: list[tuple[float, Recorded | str]] = []
        self.faults = Faults(luck, night, self.note, self.loop.time)
        self.broker = Broker(self.loop, self.faults, dedupe=luck.choice((3, 50, 100_000)))
        self.broker.stored.append(lambda r: self.trace.append((self.loop.time(), r)))
        self.checker = Checker(self, self.broker)
        self.broker.stored.append(self._watched)
        self.repository = Repository(self.faults)
        self.children: dict[str, Child] = {}
        self.notes: dict[str, dict[str, Any]] = {}
        """The journal of each host: what survives its processes."""
        self.database = Database(Counter())
        self.lines: dict[Line, Process] = {}
        self.plans: dict[str, Plan] = {}
        self.people: dict[str, Person] = {}
        self.violation: str | None = None
        self.blamed: str = ""
        """The execution that was looked at last: the failing one, once there is a violation."""
        self.calm_since: float | None = None
        self._pids = 100
        self._next_fault = self._gap()
        self._living: list[asyncio.Task[None]] = []
        self._over: asyncio.Future[None] | None = None
        count = executions or luck.choice((1, 1, 1, 2))
        for number in range(count):
            name = execution_id(seed, number)
            self.plans[name] = plan(luck, name)
            self.people[name] = Person(self, name)
        self.processes = self._staff()

    def _staff(self) -> list[Process]:
        """Who runs: everything in one process, or one to three copies of each service."""
        hosts = ["alpha", "beta"][: self.luck.randint(1, 2)]
        if self.luck.random() < 0.3:
            names: list[tuple[str, tuple[str, ...]]] = [("all", ("planner", "executor", "verifier"))]
        else:
            names = [
                (f"{kind}-{n}", (kind,))
                for kind in ("planner", "executor", "verifier")
                for n in range(self.luck.choice((1, 1, 2, 2, 3)))
            ]
        names.append(("projector", ("projector",)))
        return [Process(self, name, kinds, self.luck.choice(hosts)) for name, kinds in names]

    # -- running ------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """The whole night, up to its end or the first violation."""
        self.loop.after_step = self._stepped
        self.loop.on_idle = self._idle
        try:
            self.loop.run_until_complete(self._night())
        except Stuck:
            self.violated("nobody has anything to do, and no timer is set")
        if self.violation is None:
            self.checker.final()
        if self.violation is None and self.database.rows != Counter(r.name for r in self.broker.records):
            self.violated("the projection counts something else than the log holds")
        self.faults.on = False
        self.broker.stored.clear()
        self.broker.dealt = None
        self.loop.set_exception_handler(lambda loop, context: None)
        self.loop.finish()

    async def _night(self) -> None:
        self._over = self.loop.create_future()
        for process in self.processes:
            process.start()
        self._living = [self.loop.spawn(self.loop.outside, p.live()) for p in self.people.values()]
        await self._over

    def violated(self, text: str) -> None:
        """Something must not be; the first thing counts."""
        if self.violation is None:
            self.violation = text
            self.note(f"VIOLATION: {text}")
        self._end()

    def _end(self) -> None:
        if self._over is not None and not self._over.done():
            self._over.set_result(None)

    def _complained(self, loop: Any, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self.violated(f"{context.get('message')}: {error!r}")

    def note(self, text: str) -> None:
        """A line of the trace that is no event."""
        self.trace.append((self.loop.time(), text))

    def next_pid(self) -> int:
        self._pids += 1
        return self._pids

    def publish(self, execution: str, rest: str, body: bytes, headers: dict[str, str]) -> None:
        """Somebody outside publishes."""
        known = self.broker._ids.get(headers.get("Nats-Msg-Id", ""))
        if known is None:
            self.broker._store(f"evt.{TENANT}.{execution}.{rest}", body, headers)

    def _watched(self, recorded: Recorded) -> None:
        self.people[recorded.execution].watch(recorded.name)

    # -- faults -------------------------------------------------------------------------------------------------------

    def _gap(self) -> float:
        mean = self.faults.rates.major
        return self.luck.expovariate(1 / mean) if mean else 1e18

    def _stepped(self, line: Line) -> None:
        if self.loop.steps > MOST_STEPS:
            self.violated(f"no end after {self.loop.steps} steps")
        self._next_fault -= 1
        if self._next_fault < 0 and self.faults.on:
            self._next_fault = self._gap()
            self._major(line)

    def _major(self, line: Line) -> None:
        """Something large goes wrong, most often to whoever has just done something."""
        kind = self.luck.choice(MAJOR)
        process = self.lines.get(line) if self.luck.random() < 0.7 else None
        process = process or self.luck.choice(self.processes)
        pause = self.luck.expovariate(self.luck.choice((3.0, 0.3, 0.05)))
        if kind == "outage":
            self.faults.down_until = self.loop.time() + pause
        elif kind == "clock":
            jump = self.luck.choice((-1, 1)) * self.luck.expovariate(0.1)
            self.broker.skew_ns += int(jump * 1e9)
            for name in list(self.broker.pulls):
                self.broker.later(0.0, self.broker.hand_out, name)
            self.faults.happens(kind, f"the server's clock jumps by {jump:.1f} s")
            return
        elif kind == "again":
            self._hand_out_again()
            return
        elif process.line.state is not RUNNING or (kind == "stop" and process.kinds == ("projector",)):
            return
        elif kind == "kill":
            self.broker.later(pause, self._revive, process)
            process.kill()
        elif kind == "freeze":
            self.loop.freeze(process.line)
            self.broker.later(pause, self._thaw, process)
        elif kind == "stop":
            self.loop.spawn(process.line, self._stopped(process, pause))
        self.faults.happens(kind, f"{process.line if kind != 'outage' else 'the server'} for {pause:.2f} s")

    def _hand_out_again(self) -> None:
        """Something in hand is handed out although somebody holds it: a duplicate."""
        held = [(d, k) for d in self.broker._durables.values() for k in d.queue._moments]
        if held:
            durable, sequence = self.luck.choice(held)
            durable.queue.put_back(sequence, self.broker.now_ns())
            self.faults.happens("again", f"{sequence} is handed out again")
            self.broker.wake()

    async def _stopped(self, process: Process, pause: float) -> None:
        line = process.line
        await process.stop()
        if process.line is line:
            self.broker.later(pause, self._revive, process)

    def _revive(self, process: Process) -> None:
        if process.line.state is DEAD:
            process.start()
            self.note(f"start: {process.line}")

    def _thaw(self, process: Process) -> None:
        if process.line.state is FROZEN:
            self.note(f"thaw: {process.line}")
            self.loop.thaw(process.line)

    # -- the end ------------------------------------------------------------------------------------------------------

    def _idle(self, until: float) -> None:
        """Nobody has anything to do before ``until``: is the night over?"""
        if self.violation is not None:
            self._end()
            return
        if self.calm_since is None:
            if until > HORIZON or (self._settled() and all(t.done() for t in self._living)):
                self._calm(min(until, self.loop.time()))
        elif until - self.calm_since > ENOUGH or self._settled():
            self._end()

    def _calm(self, now: float) -> None:
        """From here on nothing goes wrong, and whoever is away comes back."""
        self.calm_since = now
        self.faults.on = False
        self.faults.down_until = 0.0
        self.loop.late = self.loop.stalls = 0.0
        self.note("calm")
        for process in self.processes:
            self.loop.call_soon(self._thaw, process, context=OUTSIDE)
            self.loop.call_soon(self._revive, process, context=OUTSIDE)

    def _settled(self) -> bool:
        """Whether nothing is left to wait for."""
        stories = self.checker.stories
        if len(stories) < len(self.plans) or not all(t.done() for t in self._living):
            return False
        if any(p.line.state is not RUNNING for p in self.processes) and self.calm_since is not None:
            return False
        paused = {name for name, story in stories.items() if story.fold.state == "paused"}
        if any(len(d.queue) or d._looked < len(self.broker.records) for d in self.broker._durables.values()):
            return False
        if any(timer.execution not in paused for timer in self.broker._fired._moments):
            return False
        if any(p.shown < len(self.broker.records) for p in self.broker.doors):
            return False
        timers = {(t.execution, t.entity) for t in self.broker._timers.values() if t.kind == "approval"}
        return all(self._at_rest(story.fold, timers) for story in stories.values())

    def _at_rest(self, fold: ExecutionFold, timers: set[tuple[str, str]]) -> bool:
        if not self.people[fold.id].at_rest:
            return False
        if any((fold.id, name) in timers for name in fold.asking):
            return False
        return fold.state in (*LIFE.final, "awaiting_approval", "blocked", "paused")

    async def project(self, door: Door) -> None:
        """A projector: a batch and its position, together or not at all."""
        async for recorded in door.tail(after=self.database.position):
            await self.database.commit(self.database.rows + Counter([recorded.name]), recorded.sequence)


def intake(
    execution: str, submitted: PlanSubmitted, *, requested_by: str, rules: Safety
) -> PlanAccepted | PlanRejected:
    """Instead of reading plan files: the plan that this seed has for the execution."""
    world = current()
    if submitted.plan is None or submitted.plan.get("title") == "bad":
        return PlanRejected(problems=(Problem(code="bad", message="it is bad"),), requested_by=requested_by)
    accepted = world.plans[execution]
    digest = hashlib.sha256(msgspec.json.encode(accepted)).hexdigest()
    return PlanAccepted(plan=accepted, digest=digest, requested_by=requested_by)


_current: list[World] = []


def current() -> World:
    """The night that is being run."""
    return _current[-1]


class Complaints(logging.Handler):
    """What a service logs as an error is a violation, unless it was done to it."""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if _current and isinstance(error, LogUnavailable):
            current().checker.notice(f"{record.getMessage().split()[0]} … broke because the log was not there")
        elif _current and "simulated" not in str(error):
            current().violated(f"{record.getMessage()}: {error!r}")
