"""Faults at random moments, and how long the log then stays silent."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random

from events.log import Recorded
from schemas.names import INBOX
from tests.chaos.slow_disk import slowed
from tests.chaos.world import World

ENDS = frozenset({"ExecutionCompleted", "ExecutionFailed", "ExecutionCancelled", "PlanRejected"})
KILLS = ("kill", "kill", "kill", "server", "server", "everything", "port")
"""With kill -9: one process; the server, of a cluster its leader; all of them; all of them, and the port is taken."""
OTHERS = ("kill", "stop", "term", "slow disk")
MOMENTS = (
    "PlanAccepted", "ExecutionStarted", "TaskReady", "TaskStarted", "BranchCreated", "TaskExecuted", "AttemptFailed",
    "RetryScheduled", "TaskVerified", "BranchAdvanced", "TaskInterrupted",
)  # fmt: skip
"""Events right after which a fault may strike, besides moments that nothing marks."""


@dataclass(slots=True)
class Fault:
    """Something bad that will happen, or has."""

    kind: str
    victim: str
    after: int
    """It strikes when so many tasks are verified …"""
    moment: str
    """… and then right after the next event of this name; any time if empty."""
    wait: float
    """… and so many seconds."""
    lasts: float
    """Seconds until the victim is started again or may go on."""
    began_ns: int = 0
    ended_ns: int = 0
    pid: int = 0

    def __str__(self) -> str:
        when = f"{self.after} verified, {self.moment or 'any time'}+{self.wait:.2f}s"
        return f"{self.kind} {self.victim} for {self.lasts:.1f}s at {when}"


def plan_faults(rng: Random, services: tuple[str, ...], tasks: int, *, cluster: bool = False) -> list[Fault]:
    """Three kills and up to two other faults, spread over the execution to its very end, at most one a long stop."""
    moments = [(rng.randint(0, tasks * 2 // 3), KILLS) for _ in range(3)]
    moments += [(rng.randint(0, tasks - 1), OTHERS) for _ in range(rng.randint(0, 2))]
    faults: list[Fault] = []
    for after, kinds in sorted(moments):
        kind = rng.choice([k for k in kinds if k != "stop" or all(f.kind != "stop" for f in faults)])
        if cluster and kind == "port":
            kind = "server"
        if services == ("engine",):
            victim = "engine" if kind in ("kill", "stop", "term") else kind
        elif kind == "stop":
            victim = rng.choice([s for s in services if s.startswith("executor")])
        else:
            victim = rng.choice(services) if kind in ("kill", "term") else kind
        moment = rng.choice(("", *MOMENTS))
        wait = rng.choice((0.0, rng.uniform(0, 0.05), rng.uniform(0, 1.0)))
        lasts = rng.choice((0.0, rng.uniform(0, 1.5)))
        lasts = {"stop": rng.uniform(10, 14), "slow disk": rng.uniform(3, 8)}.get(kind, lasts)
        faults.append(Fault(kind, victim, after, moment, wait, lasts))
    return faults


@dataclass(slots=True)
class Attack:
    """Strikes one fault after the other; stops go on beside them."""

    world: World
    faults: list[Fault]
    over: Callable[[], bool]
    """Whether the execution has ended."""
    done: list[Fault] = field(default_factory=list)
    slowed: int = 0
    """Writes that a slow disk has held up."""
    _beside: list[asyncio.Task[None]] = field(default_factory=list)

    async def run(self) -> None:
        """All faults, unless the execution ends before."""
        for fault in self.faults:
            if not await self._due(fault):
                break
            await self._strike(fault)
        await asyncio.gather(*self._beside)

    async def _due(self, fault: Fault) -> bool:
        """Wait for the moment of a fault; False if the execution has ended."""
        marked = 0
        until = time.monotonic() + 20
        while time.monotonic() < until:
            if self.over():
                return False
            history = self.world.history
            if not marked and sum(r.name == "TaskVerified" for r in history) >= fault.after:
                marked = len(history) + 1
                until = time.monotonic() + 3
            if marked and (not fault.moment or any(r.name == fault.moment for r in history[marked - 1 :])):
                break
            await asyncio.sleep(0.004)
        await asyncio.sleep(fault.wait)
        return not self.over()

    async def _strike(self, fault: Fault) -> None:
        world = self.world
        self.done.append(fault)
        process = world.processes.get(fault.victim)
        fault.pid = process.pid if process else 0
        fault.began_ns = time.time_ns()
        if fault.kind == "stop" and process is not None:
            process.send_signal(signal.SIGSTOP)
            world.stopped.add(fault.victim)
            self._beside.append(asyncio.create_task(self._continue(fault)))
            return
        if fault.kind == "slow disk":
            self._beside.append(asyncio.create_task(self._slow(fault)))
            return
        if fault.kind == "server":
            await world.kill_server()
            await asyncio.sleep(0.0 if world.whole else fault.lasts)
            fault.ended_ns = time.time_ns()
            await world.start_server()
            return
        if fault.kind in ("everything", "port"):
            names = list(world.processes)
            if fault.lasts > 0.7:
                await world.kill_servers()
            await asyncio.gather(*(world.end(name, signal.SIGKILL) for name in names))
            await world.kill_servers()
            world.stopped.clear()
            await asyncio.sleep(fault.lasts)
            fault.ended_ns = time.time_ns()
            await (world.move_server() if fault.kind == "port" else world.start_server())
            for name in names:
                world.start(name)
            return
        await world.end(fault.victim, signal.SIGKILL if fault.kind == "kill" else signal.SIGTERM)
        world.stopped.discard(fault.victim)
        await asyncio.sleep(fault.lasts)
        fault.ended_ns = time.time_ns()
        world.start(fault.victim)

    async def _slow(self, fault: Fault) -> None:
        self.slowed += await slowed(self.world.server_pids(), fault.lasts, self.world.home / "slow-disk.log")
        fault.ended_ns = time.time_ns()

    async def _continue(self, fault: Fault) -> None:
        await asyncio.sleep(fault.lasts)
        fault.ended_ns = time.time_ns()
        process = self.world.processes.get(fault.victim)
        if process is not None and process.pid == fault.pid and process.poll() is None:
            process.send_signal(signal.SIGCONT)
        self.world.stopped.discard(fault.victim)


@dataclass(frozen=True, slots=True)
class Recovery:
    """How long the engine said nothing new."""

    kind: str
    victim: str
    kill: bool
    seconds: float
    """From the end of the fault, when what was killed is started again."""
    silent: float
    """From its beginning."""

    def __str__(self) -> str:
        return (
            f"{self.kind}{'' if self.victim == self.kind else ' ' + self.victim} {self.silent:.2f}/{self.seconds:.2f} s"
        )


def recoveries(faults: Iterable[Fault], history: list[Recorded]) -> list[Recovery]:
    """From each fault to the next event of the engine's, where the execution had not ended by then."""
    found = []
    for fault in faults:
        later = [r.at_ns for r in history if r.at_ns > fault.ended_ns and r.entity != INBOX]
        if later and fault.ended_ns:
            kill = fault.kind in KILLS
            silent = (later[0] - fault.began_ns) / 1e9
            found.append(Recovery(fault.kind, fault.victim, kill, (later[0] - fault.ended_ns) / 1e9, silent))
    return found


def takeovers(faults: Iterable[Fault], history: list[Recorded]) -> list[tuple[str, float]]:
    """Seconds from the beginning of a fault to the end of each lease that its victim held."""
    found = []
    for fault in faults:
        if not fault.pid or fault.kind == "term":
            continue
        for started in history:
            if started.name != "TaskStarted" or started.fact.pid != fault.pid or started.at_ns > fault.began_ns:
                continue
            ends = [
                r for r in history if getattr(r.fact, "lease", None) == started.id and r.sequence > started.sequence
            ]
            if ends and ends[0].name in ("TaskInterrupted", "LeaseExpired") and ends[0].at_ns > fault.began_ns:
                found.append((fault.kind, (ends[0].at_ns - fault.began_ns) / 1e9))
    return found
