"""What must hold for every message as it is stored, told by a model that knows none of our code.

It reads the log line by line, as a person would, and remembers only what a line changes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from events.fold import ExecutionFold, fold
from events.log import Recorded
from events.log.streams import EVIDENCE
from schemas.names import BRANCH, EXECUTION, INBOX
from tests.oddities import Moved
from tests.simulation.broker import Broker

if TYPE_CHECKING:
    from tests.simulation.world import World

OVER = ("ExecutionCompleted", "ExecutionFailed", "ExecutionCancelled", "PlanRejected")
OPENS = ("ExecutionReopened", "RollbackBegun")
"""Facts that open an execution again."""
LEFT = ("AttemptFailed", "AttemptTimedOut", "AttemptRejected")
"""Facts that count against the limit."""
MOST_INTERRUPTIONS = 11


@dataclass
class Naive:
    """A task as somebody sees it who reads the log line by line."""

    needs: tuple[str, ...]
    limit: int
    done: bool = False
    ready: str = ""
    attempt: int = 0
    lease: str = ""
    running: bool = False
    executed: Recorded | None = None
    verified: int = 0
    taken: bool = False
    """A person does it."""
    commit: str | None = None
    """What landed."""
    counted: int = 0
    failures: int = 0
    interruptions: int = 0
    waits: int = 0
    """The attempt that is said to wait for disk space."""


@dataclass
class Story:
    """An execution as somebody sees it who reads the log line by line."""

    fold: ExecutionFold
    records: list[Recorded] = field(default_factory=list)
    last: dict[str, int] = field(default_factory=dict)
    tasks: dict[str, Naive] = field(default_factory=dict)
    policy: Any = None
    head: str | None = None
    landings: set[str] = field(default_factory=set)
    """Every commit that ever landed."""
    reverted: bool = False
    went_back: bool = False
    landing: Recorded | None = None
    """A TaskVerified with a commit, until its BranchAdvanced follows."""
    paused: bool = False
    cancelling: bool = False
    cancelled: bool = False
    late: bool = False
    """Something was stored after its sender had given up: nobody may look at what it makes due."""
    excused: int = 0
    """Facts without a row that are known to be possible (tests/oddities.py)."""
    moved: Moved = field(default_factory=Moved)
    over: bool = False


class Reader:
    """Reads what is stored, and says what must not be."""

    def __init__(self, world: World, broker: Broker) -> None:
        self.world = world
        self.broker = broker
        self.stories: dict[str, Story] = {}
        self.soft: dict[str, int] = {}
        """What is not forbidden but worth knowing, and how often it was seen."""
        broker.stored.append(self.stored)

    def fail(self, text: str) -> None:
        """Something must not be: the night ends here."""
        self.world.violated(text)

    def _must(self, holds: bool, text: str | Callable[[], str]) -> None:
        if not holds:
            self.fail(text if isinstance(text, str) else text())

    def notice(self, text: str) -> None:
        self.soft[text] = self.soft.get(text, 0) + 1

    # -- every message ------------------------------------------------------------------------------------------------

    def stored(self, recorded: Recorded) -> None:
        self.world.blamed = recorded.execution
        story = self.stories.get(recorded.execution)
        if story is None:
            story = self.stories[recorded.execution] = Story(ExecutionFold(recorded.tenant, recorded.execution))
        story.late = story.late or recorded.id in self.broker.given_up
        before = story.last.get(recorded.entity, 0)
        story.last[recorded.entity] = recorded.sequence
        story.records.append(recorded)
        story.fold.apply(recorded)
        where = f"{recorded.sequence} {recorded.entity} {recorded.name}"
        if story.fold.oddities > story.excused:
            self._must(story.moved.since(recorded.entity, before), f"{where}: the tables have no row for it")
            story.excused += 1
            self.notice("known: a decision from before landed after what moved several tasks")
        story.moved.heed(recorded)
        if len(story.records) % 16 == 0:
            self._same_as_from_scratch(story, "after 16 messages")
        if recorded.standing != "ok" or recorded.entity == INBOX:
            return
        expected = self.broker.expected[recorded.id]
        self._must(before == expected, f"{where}: its guard expected {expected}, before it stands {before}")
        self._must(recorded.name != "DeadLettered", lambda: f"{where}: {recorded.fact}")
        if story.landing is not None:
            self._landed(story, recorded, where)
        if recorded.entity == EXECUTION:
            self._execution(story, recorded, where)
        elif recorded.entity == BRANCH:
            self._branch(story, recorded, where)
        else:
            self._task(story, story.tasks[recorded.entity], recorded, where)

    def _execution(self, story: Story, recorded: Recorded, where: str) -> None:
        fact, name = recorded.fact, recorded.name
        if name != "RequestRefused":
            self._must(not story.over or name in OPENS, f"{where}: the execution is over")
        story.over = story.over or name in OVER
        if name == "PlanAccepted":
            story.policy = fact.plan.policy
            for spec in fact.plan.tasks:
                limit = spec.max_attempts or story.policy.max_attempts
                story.tasks[spec.id] = Naive(spec.needs, limit, done=spec.status in ("completed", "skipped"))
        elif name == "ExecutionPaused":
            if [n for n, t in story.tasks.items() if t.ready and not t.lease]:
                self.notice("a task was interrupted while the execution was being paused")
            story.paused = True
        elif name == "RollbackBegun":
            story.over = False
        elif name in ("ExecutionResumed", "ExecutionReopened"):
            story.paused = False
            story.over = False
            for task in getattr(fact, "tasks", ()):
                story.tasks[task].counted = 0
        elif name == "TasksGivenUp":
            for one in fact.tasks:
                self._must(not story.tasks[one].done and not story.tasks[one].lease, f"{where}: {one} is done, or runs")
        elif name == "ExecutionCancelling":
            story.cancelling = True
            story.paused = False
        elif name == "ExecutionCancelled":
            live = [n for n, t in story.tasks.items() if t.lease and not t.taken]
            self._must(not live, f"{where}: {live} run")
            if any(t.ready for t in story.tasks.values()):
                self.notice("known: a decision from before landed just before ExecutionCancelled")
            story.cancelled = True
        elif name == "ExecutionCompleted":
            self._must(all(t.done for t in story.tasks.values()), f"{where}: not every task is done")

    def _branch(self, story: Story, recorded: Recorded, where: str) -> None:
        fact = recorded.fact
        if recorded.name == "BranchCreated":
            self._must(story.head is None, f"{where}: there is a branch")
            story.head = fact.base
            return
        if recorded.name == "BranchRolledBack":
            self._rolled_back(story, fact, where)
            return
        self._must(fact.base == story.head, f"{where}: it starts at {fact.base[:8]}, the head is {str(story.head)[:8]}")
        if recorded.name == "RevertRefused":
            return
        if recorded.name == "BranchReverted":
            self._must(self.world.repository.commits[fact.commit].parents == (fact.base,), f"{where}: not on the head")
            story.head = fact.commit
            story.reverted = True
            self._undone(story, fact.invalidated, where)
            return
        verdict = self.broker.records[recorded.sequence - 2]
        self._must(verdict.id == fact.verified, f"{where}: no TaskVerified comes with it")
        commit = self.world.repository.commits[fact.commit]
        self._must(commit.parents == (fact.base,), f"{where}: the commit is not built on the head")
        self._must(commit.tree == fact.tree == verdict.fact.tree, f"{where}: another tree than the one judged")
        story.head = fact.commit
        story.landings.add(fact.commit)

    def _rolled_back(self, story: Story, fact: Any, where: str) -> None:
        """The branch shows exactly the results that stay."""
        story.head = fact.to or story.head
        self._undone(story, fact.invalidated, where)
        shown = self._history(fact.to)
        for name, task in story.tasks.items():
            if task.verified and task.commit is not None:
                self._must(task.commit in shown, f"{where}: {name} counts, and is not on the branch")
        if story.reverted:  # what was taken back by a commit stays in the history of the branch
            return
        kept = {task.commit for task in story.tasks.values() if task.verified}
        for commit in shown & story.landings:
            self._must(commit in kept, f"{where}: the branch holds {commit[:8]} of a task that does not count")

    def _undone(self, story: Story, names: tuple[str, ...], where: str) -> None:
        story.went_back = True
        for name, task in story.tasks.items():
            self._must(not task.running, f"{where}: {name} runs")
            if name not in names:
                self._must(
                    not task.verified or all(n not in names for n in task.needs), f"{where}: {name} was built on it"
                )
        for name in names:
            task = story.tasks[name]
            task.done, task.verified, task.commit, task.executed = False, 0, None, None
            task.lease, task.ready, task.taken, task.counted, task.waits = "", "", False, 0, 0

    def _history(self, head: str | None) -> set[str]:
        found: set[str] = set()
        behind = [head] if head else []
        while behind:
            commit = behind.pop()
            found.add(commit)
            behind.extend(self.world.repository.commits[commit].parents)
        return found

    def _landed(self, story: Story, recorded: Recorded, where: str) -> None:
        waiting, story.landing = story.landing, None
        assert waiting is not None
        self._must(
            recorded.name == "BranchAdvanced" and recorded.fact.verified == waiting.id,
            f"{where}: the landing of {waiting.entity} is only half in the log",
        )

    def _task(self, story: Story, task: Naive, recorded: Recorded, where: str) -> None:
        fact, name = recorded.fact, recorded.name
        lease = getattr(fact, "lease", None)
        if name == "StaleResultRefused":
            self._must(lease != task.lease, f"{where}: the lease holds")
            return
        if story.cancelled and not lease and recorded.actor.startswith("planner"):
            self.notice("known: a decision from before landed after ExecutionCancelled")
            return
        if story.over and name == "TaskGatesJudged":
            self.notice("gates were judged while the execution ended")
            return
        if story.over and name == "HealthWarned" and fact.lease is None:
            self.notice("a warning that was on its way was stored after the end")
            return
        self._must(not story.over, f"{where}: the execution is over")
        if lease:
            self._must(lease == task.lease, f"{where}: it carries {lease[:8]}, the lease is {task.lease[:8] or 'gone'}")
            self._must(fact.attempt == task.attempt, f"{where}: attempt {fact.attempt}, not {task.attempt}")
        match name:
            case "TaskReady":
                self._ready(story, task, recorded, where)
            case "TaskStarted":
                self._must(not task.lease, f"{where}: {task.lease[:8]} holds the task")
                self._must(bool(task.ready), f"{where}: it is not ready")
                self._must(all(story.tasks[n].done for n in task.needs), f"{where}: a dependency is not done")
                self._must(not task.done, f"{where}: it is done")
                self._must(not story.paused, f"{where}: the execution is paused")
                self._must(not task.taken, f"{where}: a person does it")
                task.lease, task.running, task.waits = recorded.id, True, 0
            case "HealthWarned" if fact.stage == "wait":
                self._must(bool(task.ready) and not task.lease, f"{where}: it does not wait")
                self._must(task.waits != fact.attempt, f"{where}: that was said before")
                task.waits = fact.attempt
            case "HealthWarned" if lease:
                self._must(task.running, f"{where}: it does not run")
            case "TaskExecuted":
                self._must(task.running, f"{where}: it does not run")
                self._based(story, task, fact.base, where)
                task.executed, task.running = recorded, False
            case "TaskVerified":
                self._verified(story, task, recorded, where)
            case "TaskInterrupted" | "LeaseExpired":
                task.lease, task.running = "", False
                task.interruptions += 1
                if name == "TaskInterrupted":
                    self._must(task.interruptions <= MOST_INTERRUPTIONS + 5, f"{where}: too many interruptions")
                else:
                    task.ready = ""
            case "TaskHeld":
                self._must(not task.running, f"{where}: it runs")
                task.lease, task.ready, task.executed, task.taken = "", "", None, False
            case "TaskTaken":
                if not all(story.tasks[n].done for n in task.needs):
                    self._must(story.went_back, f"{where}: a dependency is not done")
                    self.notice("a decision from before a rollback gave a task to a person; it is taken back")
                self._must(not task.done, f"{where}: it is done")
                task.lease, task.ready, task.running, task.executed = recorded.id, "", False, None
                task.attempt, task.taken, task.counted = fact.attempt, True, 0
            case "TaskReturned":
                task.lease, task.taken = "", False
            case "TaskDelivered":
                self._must(task.taken, f"{where}: nobody has taken it")
                task.executed = recorded
            case "TaskCancelled" | "TaskFailed" | "TaskBlocked" | "TaskSkipped":
                self._must(not task.running or bool(lease), f"{where}: it runs")
                self._must(not task.done, f"{where}: it is done")
                task.lease, task.ready, task.running = "", "", False
            case _ if name in LEFT:
                task.lease, task.ready, task.running = "", "", False
                if not getattr(fact, "counts", True):
                    self._must(task.taken or bool(fact.conflict), f"{where}: it does not count")
                    task.taken = False
                    return
                task.counted += 1
                task.failures += 1
                self._must(task.counted <= task.limit, f"{where}: failure {task.counted} of at most {task.limit}")
            case "RetryScheduled":
                self._must(fact.attempt == task.failures + 1, f"{where}: attempt {fact.attempt}")

    def _based(self, story: Story, task: Naive, base: str | None, where: str) -> None:
        """An attempt begins with everything that it needs, needs of needs included."""
        history, needed = self._history(base), [*task.needs]
        for name in needed:
            if story.tasks[name].verified:  # what was done before needs nothing
                needed.extend(n for n in story.tasks[name].needs if n not in needed)
            landed = story.tasks[name].commit
            self._must(not base or landed is None or landed in history, f"{where}: it began without what {name} left")

    def _ready(self, story: Story, task: Naive, recorded: Recorded, where: str) -> None:
        if not all(story.tasks[n].done for n in task.needs):
            self._must(story.went_back, f"{where}: a dependency is not done")
            self.notice("a decision from before a rollback made a task ready; nobody starts it")
        self._must(not task.lease and not task.ready, f"{where}: it is ready, or runs")
        attempt = recorded.fact.attempt
        self._must(attempt == task.failures + 1, f"{where}: attempt {attempt} after {task.failures} failures")
        self._must(attempt >= task.attempt, f"{where}: attempt {attempt} after attempt {task.attempt}")
        self._must(task.counted < task.limit, f"{where}: all {task.limit} attempts are used")
        task.ready, task.attempt = recorded.id, attempt
        if story.fold.count("ready", "running") > story.policy.max_parallel:
            self.notice("more tasks ready or running than max_parallel")
        if story.paused or story.cancelling:
            self.notice("a task became ready while the execution was paused or cancelling")

    def _verified(self, story: Story, task: Naive, recorded: Recorded, where: str) -> None:
        fact = recorded.fact
        executed = task.executed
        self._must(task.verified == 0, f"{where}: it was verified before")
        self._must(
            executed is not None and executed.fact.lease == fact.lease, f"{where}: no attempt of it was executed"
        )
        self._must(all(r.result != "fail" for r in fact.results), f"{where}: a criterion failed")
        if fact.tree is not None and any(r.kind != "manual" for r in fact.results):
            kept = self.broker.blobs.get((EVIDENCE, fact.evidence.sha256 if fact.evidence else ""))
            self._must(kept is not None, f"{where}: its evidence is not in the store")
            said = json.loads(kept or b"{}")
            self._must(
                (said["tree"], said["lease"]) == (fact.tree, fact.lease), f"{where}: the evidence is of another tree"
            )
        if fact.commit is None:
            if fact.head != story.head:
                self.notice("a verdict without a commit names a head that the branch had left")
        else:
            story.landing = recorded
        task.verified += 1
        task.taken = False
        task.commit = fact.commit
        task.done = True
        task.lease, task.ready = "", ""

    def _same_as_from_scratch(self, story: Story, when: str) -> None:
        first = story.records[0]
        again = fold(first.tenant, first.execution, story.records)
        self._must(again == story.fold, f"{when}: folding from scratch gives something else")
