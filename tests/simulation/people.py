"""Simulated people: what they hand over, what they ask for, and how they answer.

To add a request: one more line in ``ACTIONS``.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any

from events.log.wire import ID
from events.machines import EXECUTION as LIFE
from schemas.names import INBOX
from schemas.values import Backoff, Criterion, Gate, GateMoment, Plan, Policy, Task
from tests.simulation.adapters import Commit

if TYPE_CHECKING:
    from events.fold import ExecutionFold
    from tests.simulation.world import World

CHECK = Criterion(id="c", kind="command", text="make test", command="make test")
LOOK = Criterion(id="m", kind="manual", text="looks good")
TENANT = "acme"
MOMENTS: tuple[GateMoment, ...] = ("pre_execution", "pre_task", "post_task", "evaluation", "post_execution")


def plan(luck: Random, execution: str) -> Plan:
    """Any small plan; a task needs only tasks before it."""
    tasks: list[Task] = []
    careful = luck.random() < 0.3
    for number in range(luck.randint(1, 6)):
        before = [t.id for t in tasks]
        needs = tuple(sorted(luck.sample(before, min(len(before), luck.choice((0, 0, 1, 1, 2))))))
        kind = luck.random()
        tasks.append(
            Task(
                id=str(number),
                needs=needs,
                run="make" if kind < 0.8 else None,
                agent="./agent" if 0.8 <= kind < 0.85 else None,
                noop=kind >= 0.9,
                verify=((CHECK,), (CHECK,), (), (LOOK,))[luck.choice((0, 0, 0, 1, 2, 2, 3 if careful else 0))],
                status=luck.choice(("pending",) * 8 + ("completed", "skipped", "failed")),
                autonomy="needs_approval" if careful and luck.random() < 0.3 else "auto",
                max_attempts=luck.choice((None, None, 1, 2)),
                timeout=luck.choice((None, 5.0)),
                milestone=luck.choice((None, None, None, "spec", "deploy")),
            )
        )
    policy = Policy(
        max_attempts=luck.randint(1, 3),
        max_parallel=luck.randint(1, 3),
        backoff=Backoff(first=luck.choice((0.0, 0.5, 2.0))),
        timeout=20.0,
        grace=2.0,
        on_exhausted=luck.choice(("fail", "fail", "escalate")),
        unverified=luck.choice(("ask", "accept")),
        halt_after=luck.choice((2, 4, 4)),
        max_tasks=luck.choice((None, None, None, 2)),
        approval_timeout=luck.choice((None, 20.0)),
        escalation_timeout=luck.choice((None, 30.0)),
        approvals=luck.choice(("plan", "plan", "plan", "auto", "checkpoints", "final")),
        max_duration=luck.choice((None, None, None, 25.0)),
        stop_on_first_failure=luck.random() < 0.1,
    )
    gates = tuple(
        Gate(name=when, when=when, criteria=(CHECK,), on_fail=luck.choice(("halt", "halt", "warn")))
        for when in luck.sample(MOMENTS, luck.choice((0, 0, 0, 1, 2)))
    )
    stop_after = luck.choice(tasks).id if luck.random() < 0.1 else None
    return Plan(id=execution, title="night", tasks=tuple(tasks), policy=policy, stop_after=stop_after, gates=gates)


Say = tuple[str, dict[str, Any] | bytes]
Action = Callable[["Person"], Say]


class Person:
    """Somebody who has to do with one execution."""

    def __init__(self, world: World, execution: str) -> None:
        self.world = world
        self.execution = execution
        self.luck = world.luck
        self.asked = 0
        self.said: list[tuple[str, bytes, str]] = []
        self.answers = self.luck.random() < 0.8
        """Whether somebody answers questions and helps what is stuck."""
        self.busy = 0
        """Answers that are on their way."""
        self.helped = 0

    @property
    def fold(self) -> ExecutionFold:
        return self.world.checker.stories[self.execution].fold

    def task(self) -> str:
        """Any task, now and then one that is not there."""
        names = list(self.fold.tasks)
        return self.luck.choice(names) if names and self.luck.random() < 0.95 else "nobody"

    def one_of(self, state: str) -> str:
        """A task in a state, or any."""
        names = list(self.fold.by_state.get(state, ()))
        return self.luck.choice(names) if names and self.luck.random() < 0.9 else self.task()

    def heads(self) -> bool:
        """A coin."""
        return self.luck.random() < 0.5

    def say(self, name: str, body: dict[str, Any] | bytes, identity: str = "") -> None:
        """Publish, as any client does."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.asked += 1
        identity = identity or f"{self.execution[-4:]}-{self.asked}"
        self.said.append((name, raw, identity))
        self.world.publish(self.execution, f"{INBOX}.{name}", raw, {ID: identity})

    def act(self) -> None:
        """One action from the table."""
        weights = [weight for weight, _ in ACTIONS.values()]
        [action] = self.luck.choices(list(ACTIONS), weights)
        self.say(*ACTIONS[action][1](self))

    async def live(self) -> None:
        """Submit, then ask for this and that."""
        await asyncio.sleep(self.luck.random() * 5)
        self.say("PlanSubmitted", {"plan": {"title": "bad" if self.luck.random() < 0.02 else "night"}})
        for _ in range(self.luck.choice((0, 0, 0, 1, 1, 2, 4))):
            await asyncio.sleep(self.luck.expovariate(0.2))
            if self.luck.random() < 0.2:
                self.repeat()
            else:
                self.act()

    def repeat(self) -> None:
        """The same bytes with the same id, as a client that heard no answer."""
        name, raw, identity = self.luck.choice(self.said)
        self.world.publish(self.execution, f"{INBOX}.{name}", raw, {ID: identity})

    def watch(self, name: str) -> None:
        """Something happened that may need this person."""
        if name == "TaskTaken":
            self.busy += 1
            self.world.loop.spawn(self.world.loop.outside, self._work())
        if name not in ("ApprovalRequested", "ExecutionPaused", "ExecutionBlocked", "ExecutionFailed"):
            return
        if self.answers and (name == "ApprovalRequested" or self.helped < 4):
            self.busy += 1
            self.helped += name != "ApprovalRequested"
            self.world.loop.spawn(self.world.loop.outside, self._respond(name))

    async def _respond(self, name: str) -> None:
        await asyncio.sleep(self.luck.expovariate(0.2))
        self.busy -= 1
        fold = self.fold
        if name == "ApprovalRequested":
            for task in list(fold.asking):
                self.say(*approve(self, task, self.luck.random() < 0.8))
        elif name == "ExecutionPaused" and fold.state == "paused":
            self.say("ResumeRequested", {"request": self.request()})
        elif name in ("ExecutionBlocked", "ExecutionFailed") and self.luck.random() < 0.5:
            self.say("RetryRequested", {"request": self.request()})

    async def _work(self) -> None:
        """Do what was taken over, or give it back."""
        await asyncio.sleep(self.luck.expovariate(0.3))
        self.busy -= 1
        for task in list(self.fold.by_state.get("taken", ())):
            if self.luck.random() < 0.3:
                self.say("HandBackRequested", {"request": self.request(), "task": task})
            else:
                commit = await self._commit(task) if self.luck.random() < 0.8 else None
                self.say("WorkDelivered", {"request": self.request(), "task": task, "commit": commit})

    async def _commit(self, task: str) -> str | None:
        """By hand, on the branch as it stands."""
        repository, head = self.world.repository, self.fold.head
        if head is None:
            return None
        files = dict(repository.trees[repository.commits[head].tree])
        files[f"{task}.txt"] = "by hand"
        value = (repository.write(files), (head,), "by hand", self.asked, ())
        identity = hashlib.sha1(repr(value).encode()).hexdigest()
        repository.commits[identity] = Commit(value[0], (head,))
        return identity

    def request(self) -> str:
        return f"r-{self.asked + 1}"

    @property
    def at_rest(self) -> bool:
        return self.busy == 0 and (self.fold.state in LIFE.final or not (self.answers and self.fold.asking))


def approve(person: Person, task: str, granted: bool) -> Say:
    """An answer to the open question, or to one that is not open any more."""
    held = person.fold.tasks.get(task)
    seen = held.question.id if held and held.question else None
    if person.luck.random() < 0.2:
        seen = None
    return "ApprovalGiven", {"request": person.request(), "task": task, "granted": granted, "approval": seen}


def _plain(name: str) -> Action:
    return lambda person: (name, {"request": person.request()})


def _garbage(person: Person) -> Say:
    name = person.luck.choice(("PlanSubmitted", "CancelRequested", "ApprovalGiven", "Nonsense"))
    return name, person.luck.choice((b"{", b"[]", b'{"request": 3}', b"\xff"))


ACTIONS: dict[str, tuple[float, Action]] = {
    "cancel": (1.0, _plain("CancelRequested")),
    "pause": (2.0, _plain("PauseRequested")),
    "resume": (1.5, _plain("ResumeRequested")),
    "retry": (1.0, lambda p: ("RetryRequested", {"request": p.request(), "task": p.task()})),
    "retry all": (1.0, _plain("RetryRequested")),
    "stop point": (1.0, lambda p: ("StopPointRequested", {"request": p.request(), "after": p.task()})),
    "no stop point": (0.5, _plain("StopPointRequested")),
    "approve": (1.0, lambda p: approve(p, p.task(), True)),
    "deny": (0.7, lambda p: approve(p, p.task(), False)),
    "roll back": (
        1.5,
        lambda p: ("RollbackRequested", {"request": p.request(), "to": p.one_of("verified"), "resume": p.heads()}),
    ),
    "roll all back": (0.5, lambda p: ("RollbackRequested", {"request": p.request(), "resume": p.heads()})),
    "invalidate": (
        1.5,
        lambda p: ("InvalidateRequested", {"request": p.request(), "task": p.one_of("verified"), "resume": p.heads()}),
    ),
    "override": (1.5, lambda p: ("OverrideRequested", {"request": p.request(), "task": p.task()})),
    "hand back": (0.3, lambda p: ("HandBackRequested", {"request": p.request(), "task": p.task()})),
    "deliver": (0.3, lambda p: ("WorkDelivered", {"request": p.request(), "task": p.task()})),
    "dead letter": (0.2, lambda p: ("DeadLetterRetryRequested", {"request": p.request(), "sequence": 3})),
    "submit again": (0.7, lambda p: ("PlanSubmitted", {"plan": {"title": "another"}})),
    "garbage": (0.7, _garbage),
}
"""What people do, by how often: name to weight and what is said."""
