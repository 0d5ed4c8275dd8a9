"""People beside the faults: what they ask for by the seed, and how they help whatever cannot go on without them.

To add a wish: one more line in ``WISHES``.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from events.fold import ExecutionFold
from events.log import LogUnavailable
from events.machines.task import LIVE, TAKEABLE
from nightshift.client import Client, SubmissionFailed
from nightshift.commands.intervening import pack_of
from tests.chaos.plans import Scenario, content, git
from tests.chaos.world import World

ME = "chaos"
WAIT = 30.0
"""Seconds that a request waits for its answer."""


@dataclass(slots=True)
class Wish:
    """Something that somebody will ask for."""

    what: str
    after: int
    """When so many tasks are verified …"""
    wait: float
    """… and so many seconds later."""
    spot: float
    """Which of those tasks that it can be asked for, from 0 to 1; the newest first."""
    heads: bool
    """A coin."""
    said_ns: int = 0
    task: str | None = None

    def __str__(self) -> str:
        return f"{self.what} {self.task or ''}".strip()


def plan_wishes(rng: Random, tasks: int) -> list[Wish]:
    """One to four wishes in the order of their moments."""
    moments = sorted(rng.randint(0, tasks - 2) for _ in range(rng.randint(1, 4)))
    names = list(WISHES)
    return [
        Wish(rng.choice(names), after, rng.choice((0.0, rng.uniform(0, 1.5))), rng.random(), rng.random() < 0.5)
        for after in moments
    ]


@dataclass(slots=True)
class People:
    """Whoever has to do with one execution; nobody leaves before it is over and all is answered."""

    world: World
    scenario: Scenario
    execution: str
    rng: Random
    wishes: list[Wish]
    fold: ExecutionFold = field(init=False)
    done: list[Wish] = field(default_factory=list)
    unheard: int = 0
    """Requests of which nobody knows whether they are stored."""
    _read: int = 0
    _denied: set[str] = field(default_factory=set)
    _helped: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.fold = ExecutionFold("default", self.execution)

    def look(self) -> ExecutionFold:
        """What the log says by now."""
        history = self.world.history
        while self._read < len(history):
            self.fold.apply(history[self._read])
            self._read += 1
        return self.fold

    @property
    def over(self) -> bool:
        """It is completed, and nobody has asked for anything since."""
        fold = self.look()
        return fold.state == "completed" and not fold.requests

    async def live(self) -> None:
        """Ask for things, and help; without an end."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._wish())
            group.create_task(self._help())

    async def _wish(self) -> None:
        for wish in self.wishes:
            while self._count() < wish.after or self.look().requests:  # noqa: ASYNC110  # others see to it
                await asyncio.sleep(0.02)
            await asyncio.sleep(wish.wait)
            if self.look().state == "completed":
                break
            wish.said_ns = time.time_ns()
            self.done.append(wish)
            await self._say(WISHES[wish.what](self, wish))
            await _until(lambda: not self.look().requests, time.monotonic() + WAIT)

    def _count(self) -> int:
        return sum(r.name == "TaskVerified" for r in self.world.history)

    async def _help(self) -> None:
        """Whatever waits for people gets them, a moment later."""
        while True:
            await asyncio.sleep(0.1)
            fold = self.look()
            if fold.plan is None or fold.requests:
                continue
            for name in list(fold.asking):
                if self._late(f"asked {name}"):
                    await self._answer(name)
            for name in list(fold.by_state.get("taken", ())):
                if self._late(f"taken {name}"):
                    await self._work(name)
            if fold.state == "paused" and self._late("paused"):
                await self._say(lambda c: c.resume(self.execution, actor=ME))
            stuck = [n for n in fold.by_state.get("blocked", ()) if not fold.tasks[n].gate]
            if (fold.state == "failed" or (fold.state == "blocked" and stuck)) and self._late("stuck"):
                await self._say(lambda c: c.retry(self.execution, actor=ME))

    async def _answer(self, name: str) -> None:
        """Yes or no; the second time yes, and to a start always, because a no to that is for good."""
        question = self.fold.tasks[name].question
        if question is None:
            return
        granted = question.fact.kind == "start" or name in self._denied or self.rng.random() < 0.6
        self._denied.add(name)
        seen = question.id if self.rng.random() < 0.8 else None
        await self._say(lambda c: c.approve(self.execution, name, granted=granted, approval=seen, actor=ME))

    def _late(self, what: str) -> bool:
        """Whether somebody has thought about it for a while by now; then they begin anew."""
        since = self._helped.setdefault(what, time.monotonic() + self.rng.uniform(0.1, 1.2))
        if time.monotonic() < since:
            return False
        del self._helped[what]
        return True

    async def _say(self, what: Callable[[Client], Coroutine[Any, Any, object]]) -> None:
        try:
            client = await Client.open(self.world.url("operator"), wait=10.0)
            try:
                await what(client)
            finally:
                await client.close()
            await _until(lambda: bool(self.look().requests), time.monotonic() + 1)  # until it is seen to be asked
        except (LogUnavailable, SubmissionFailed, TimeoutError):
            self.unheard += 1

    async def _work(self, name: str) -> None:
        """By hand on the branch as it stands, or given back."""
        [step] = [step for step in self.scenario.steps if step.id == name]
        if self.rng.random() < 0.3:
            await self._say(lambda c: c.hand_back(self.execution, name, actor=ME))
            return
        if step.kind != "write" or self.fold.created is None or self.fold.head is None:
            await self._say(lambda c: c.deliver(self.execution, name, actor=ME))
            return
        made = await asyncio.to_thread(self._commit, name, content(step))
        if made is not None:
            sha, base, pack = made
            await self._say(
                lambda c: c.deliver(self.execution, name, commit=sha, base=base, pack=pack, actor=ME)
            )  # fmt: skip

    def _commit(self, name: str, text: str) -> tuple[str, str, bytes] | None:
        """The file that the task should leave, as a commit on the head; made in a clone."""
        assert self.fold.created is not None
        bare, head = self.world.home / "repos" / f"{self.fold.created.repository}.git", self.fold.head
        with (
            contextlib.suppress(OSError, RuntimeError),
            tempfile.TemporaryDirectory(prefix="by-hand-", dir=self.world.home.parent) as folder,
        ):
            place = Path(folder)
            git(place, "init", "-q")
            git(place, "fetch", "-q", str(bare), str(head))
            git(place, "checkout", "-q", "--detach", str(head))
            (place / "out").mkdir(exist_ok=True)
            (place / "out" / name).write_text(text + "\n")
            git(place, "add", ".")
            git(place, "commit", "-q", "--allow-empty", "-m", "By hand")
            return pack_of(place, "HEAD", None)
        return None

    def one_of(self, wish: Wish, names: list[str]) -> str:
        """One of some tasks, or any where there is none."""
        names = names or [step.id for step in self.scenario.steps]
        wish.task = names[-1 - int(wish.spot * min(len(names), 8))]
        return wish.task

    def verified(self) -> list[str]:
        """In the order in which they were."""
        return list(self.fold.by_state.get("verified", ()))

    def free(self) -> list[str]:
        """What a person could take over; what runs comes last, so that it is taken most often."""
        fold = self.fold
        states = sorted(TAKEABLE, key=lambda state: state == "running")
        return [n for s in states for n in fold.by_state.get(s, ()) if not fold.tasks[n].missing]


async def _until(holds: Callable[[], bool], end: float) -> None:
    while not holds() and time.monotonic() < end:  # noqa: ASYNC110  # others make it hold
        await asyncio.sleep(0.02)


Say = Callable[[Client], Coroutine[Any, Any, object]]


def _pause(people: People, wish: Wish) -> Say:
    return lambda client: client.pause(people.execution, actor=ME)


def _resume(people: People, wish: Wish) -> Say:
    return lambda client: client.resume(people.execution, actor=ME)


def _roll_back(people: People, wish: Wish) -> Say:
    to = people.one_of(wish, people.verified()) if wish.spot < 0.95 else None
    return lambda client: client.roll_back(people.execution, to, resume=wish.heads, actor=ME)


def _invalidate(people: People, wish: Wish) -> Say:
    task = people.one_of(wish, people.verified())
    return lambda client: client.invalidate(people.execution, task, resume=wish.heads, actor=ME)


def _take(people: People, wish: Wish) -> Say:
    task = people.one_of(wish, people.verified() if wish.spot > 0.9 else people.free())
    return lambda client: client.take(people.execution, task, actor=ME)


def _retry(people: People, wish: Wish) -> Say:
    task = people.one_of(wish, [])
    return lambda client: client.retry(people.execution, task if wish.heads else None, actor=ME)


def _stop_point(people: People, wish: Wish) -> Say:
    fold = people.fold
    task = people.one_of(wish, [n for s in LIVE for n in fold.by_state.get(s, ())])
    return lambda client: client.stop_after(people.execution, task, actor=ME)


WISHES: dict[str, Callable[[People, Wish], Say]] = {
    "pause": _pause,
    "resume": _resume,
    "roll back": _roll_back,
    "invalidate": _invalidate,
    "take": _take,
    "retry": _retry,
    "stop after": _stop_point,
}
"""What people ask for; some of it makes no sense just then and is refused."""
