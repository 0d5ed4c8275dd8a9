"""Random plans, random outcomes, random order: every execution ends, or waits for somebody who is named.

What runs here is what the services run, without their adapters: the planner looks only when something it reacts to has
happened, so a reaction that nothing triggers shows as an execution that hangs.
"""

from __future__ import annotations

from random import Random
from types import SimpleNamespace
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from events import (
    ApprovalGiven,
    AttemptTimedOut,
    BranchAdvanced,
    BranchCreated,
    BranchReverted,
    CancelRequested,
    ExecutionGatesJudged,
    GateOutcome,
    HandBackRequested,
    InvalidateRequested,
    OverrideRequested,
    PauseRequested,
    ResumeRequested,
    RetryRequested,
    RevertRefused,
    RollbackRequested,
    TaskCancelled,
    TaskGatesJudged,
    TaskInterrupted,
    TaskReady,
    TaskStarted,
    TaskTaken,
    TaskVerified,
    WorkDelivered,
)
from events.fold import DONE, LOST
from events.log import Recorded, Timer
from events.log.streams import PLANNER_REACTS_TO, TIMERS_REACT_TO
from events.machines import EXECUTION as LIFE
from events.machines.task import LIVE
from schemas.names import BRANCH, EXECUTION, INBOX
from schemas.values import Backoff, Criterion, Gate, Plan, Policy, Task
from services.executor.decide import next_move
from services.planner.decide import decide, due, timer_of
from services.verifier.decide import next_step, question, rejection, unasked
from tests.controls import BASE, executed_fact, failed_fact, plan, rejected_fact, started_fact, task
from tests.spec import History

MANUAL = (Criterion(id="m", kind="manual", text="looks good"),)
MOST = 400
"""Moves after which an execution that neither ended nor waits is taken to run for ever."""


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Any small plan; a task needs only tasks before it."""
    tasks: list[Task] = []
    for number in range(draw(st.integers(1, 7))):
        before = [t.id for t in tasks]
        needs = draw(st.lists(st.sampled_from(before), unique=True, max_size=3)) if before else []
        tasks.append(
            task(
                str(number),
                needs=tuple(needs),
                status=draw(st.sampled_from(["pending", "pending", "pending", "completed", "skipped", "failed"])),
                autonomy=draw(st.sampled_from(["auto", "auto", "auto", "needs_approval"])),
                max_attempts=draw(st.sampled_from([None, 1, 2])),
                verify=draw(st.sampled_from([(), (), MANUAL])),
                milestone=draw(st.sampled_from([None, None, "spec", "deploy"])),
            )
        )
    policy = Policy(
        max_attempts=draw(st.integers(1, 3)),
        max_parallel=draw(st.integers(1, 3)),
        backoff=Backoff(first=1.0),
        on_exhausted=draw(st.sampled_from(["fail", "fail", "escalate"])),
        unverified=draw(st.sampled_from(["ask", "accept"])),
        approvals=draw(st.sampled_from(["plan", "plan", "auto", "checkpoints", "final"])),
        max_duration=draw(st.sampled_from([None, None, 30.0])),
        stop_on_first_failure=draw(st.sampled_from([False, False, True])),
    )
    moments = draw(st.lists(st.sampled_from(["pre_task", "pre_execution", "post_execution"]), unique=True, max_size=2))
    gates = tuple(Gate(name=when, when=when, criteria=MANUAL) for when in moments)
    return plan(*tasks, policy=policy, gates=gates)


class Night:
    """One execution with everybody who acts on it. A move is what somebody could do now."""

    def __init__(self, what: Plan, luck: Random) -> None:
        self.luck = luck
        self.history = History(what)
        self.fold = self.history.fold
        self.triggers: list[str] = ["the submission"]
        self.readies: dict[str, Recorded] = {}
        self.events: list[Recorded] = []
        self.timers: list[Timer] = []
        self.running: dict[str, str] = {}
        self.people = luck.random() < 0.7
        self.left = {
            "cancel": luck.random() < 0.2, "pause": luck.choice([0, 0, 1, 2]), "retry": luck.choice([0, 0, 1, 2]),
            "roll back": luck.choice([0, 0, 1, 2]), "invalidate": luck.choice([0, 0, 1, 2]),
            "override": luck.choice([0, 0, 1, 2]), "time": 2,
        }  # fmt: skip
        """How often somebody will ask for it."""
        self.commits = 0
        self.seen = len(self.history.records)

    def notice(self) -> None:
        """Who is told of what was appended since the last time; and what must hold after each of it."""
        for recorded in self.history.records[self.seen :]:
            if recorded.entity == INBOX or recorded.name in PLANNER_REACTS_TO:
                self.triggers.append(recorded.id)
            if recorded.name in TIMERS_REACT_TO:
                self.events.append(recorded)
            match recorded.fact:
                case TaskReady():
                    self.readies[recorded.id] = recorded
                    spec = self.fold.tasks[recorded.entity].spec
                    assert all(self.fold.tasks[need].state in DONE for need in spec.needs)
                case TaskStarted():
                    assert recorded.entity not in self.running, "two live leases"
                    self.running[recorded.entity] = recorded.id
                case TaskTaken():
                    self.running.pop(recorded.entity, None)
                case fact if getattr(fact, "lease", None) == self.running.get(recorded.entity, "nobody's"):
                    del self.running[recorded.entity]
        self.seen = len(self.history.records)
        assert self.fold.oddities == 0
        if self.fold.plan:
            assert self.fold.count("ready", "running") <= self.fold.plan.policy.max_parallel

    def moves(self) -> list[tuple[str, Any]]:
        """Everything that the engine could do now."""
        found: list[tuple[str, Any]] = [("settle", None)] if self.triggers else []
        found += [("set timer", e) for e in self.events]
        for timer in self.timers:  # a lease's backstop comes too late to be what an execution goes on by
            if timer.kind == "duration" and self.people and not self.left["time"]:
                continue  # whoever resumes gives it as much time again
            decisions = due(self.fold, timer)
            if decisions or (timer.kind == "retry" and decisions is not None):
                found.append(("fire", timer))
        for ready in self.readies.values():
            held = self.fold.tasks[ready.entity]
            move = next_move(self.fold, held, ready, mine=frozenset(self.running.values()))
            if move != "wait":
                found.append((move, ready))
        found += [("verify", t) for t in self.fold.tasks.values() if next_step(self.fold, t) != "nothing"]
        found += [("judge gates", due) for due in self.fold.owed.values()]
        found += [("revert", self.fold.reverting)] if self.fold.reverting is not None else []
        return found

    def requests(self) -> list[tuple[str, Any]]:
        """Everything that people could do now."""
        state = self.fold.state
        found: list[tuple[str, Any]] = [("answer", name) for name in self.fold.asking if self.people]
        if self.left["cancel"] and state not in LIFE.final:
            found.append(("cancel", None))
        if self.left["pause"] and state not in LIFE.final:
            found.append(("pause", None))
        if self.left["retry"] and (self.fold.count("failed", "blocked") or state == "failed"):
            found.append(("retry", self.luck.choice([None, *self.fold.tasks])))
        if self.people and state in ("pausing", "paused"):
            found.append(("resume", None))
        anybody = self.luck.choice([None, *self.fold.tasks])
        found += [(wish, anybody) for wish in ("roll back", "invalidate", "override") if self.left[wish]]
        found += [("hand over", name) for name in self.fold.by_state.get("taken", ()) if self.people]
        return found

    def take(self, move: str, what: Any) -> None:
        say = self.history.say
        match move:
            case "settle":
                self.triggers.pop(0)
                self.history.settle(cause="t")
            case "set timer":
                self.events.remove(what)
                timer = timer_of(self.fold, what)
                if timer:
                    self.timers.append(timer)
            case "fire":
                self.timers.remove(what)
                self.left["time"] -= what.kind == "duration"
                for decision in (due(self.fold, what) or [])[:1]:
                    self.history.decided(decision, what.event)
                self.history.settle(cause=what.event)
            case "leave":
                del self.readies[what.id]
            case "start":
                say(what.entity, started_fact(self.fold.tasks[what.entity].attempt))
            case "mine":
                self.end(what.entity)
            case "cancel" if what:
                held = self.fold.tasks[what.entity]
                say(what.entity, TaskCancelled(reason="r", attempt=held.attempt, lease=held.lease))
            case "verify":
                self.verify(what)
            case "cancel":
                self.left[move] = False
                self.history.ask(CancelRequested(request="c"))
            case "pause":
                self.left[move] -= 1
                self.history.ask(PauseRequested(request="p", reason="lunch"))
            case "retry":
                self.left[move] -= 1
                self.history.ask(RetryRequested(request="t", task=what))
            case "roll back" | "invalidate" | "override":
                self.left[move] -= 1
                wishes = {"invalidate": InvalidateRequested, "override": OverrideRequested}
                if move == "roll back":
                    self.history.ask(RollbackRequested(request="b", to=what, resume=self.luck.random() < 0.5))
                elif what is not None:
                    self.history.ask(wishes[move](request="o", task=what))
            case "hand over":
                gives = WorkDelivered(request="d", task=what), HandBackRequested(request="h", task=what)
                self.history.ask(self.luck.choice(gives))
            case "judge gates":
                self.judge(what)
            case "revert":
                self.revert(what)
            case "resume":
                self.history.ask(ResumeRequested(request="u"))
            case "answer":
                granted = self.luck.random() < 0.7
                self.history.ask(ApprovalGiven(request="a", task=what, granted=granted))
            case _:
                raise AssertionError(move)
        self.notice()

    def end(self, name: str) -> None:
        """What runs comes to an end, one way or the other."""
        held = self.fold.tasks[name]
        attempt, lease = held.attempt, held.lease
        ways: dict[str, Any] = {
            "executed": executed_fact(lease, attempt),
            "failed": failed_fact(lease, attempt),
            "timed out": AttemptTimedOut(attempt=attempt, lease=lease, limit=1.0),
        }
        if held.interruptions < 3:
            ways["interrupted"] = TaskInterrupted(attempt=attempt, lease=lease, reason="shutdown")
        if self.fold.state == "cancelling":
            ways["cancelled"] = TaskCancelled(reason="r", attempt=attempt, lease=lease)
        self.history.say(name, ways[self.luck.choice(sorted(ways))])

    def verify(self, held: Any) -> None:
        match next_step(self.fold, held):
            case "ask":
                fact: Any = question(self.fold, held)
            case "denied":
                fact = rejection(held, "it is not good")
            case "refuse":
                fact = unasked(held)
            case _ if self.luck.random() < 0.7:
                self.land(held)
                return
            case _:
                fact = rejected_fact(held.lease, held.attempt)
        self.history.say(held.spec.id, fact)

    def land(self, held: Any) -> None:
        """Verified, with or without a commit."""
        if self.fold.created is None:
            self.history.say(BRANCH, BranchCreated(name="n", repository="r", base=BASE))
        self.commits += 1
        commit = f"{self.commits:040x}" if self.luck.random() < 0.7 else None
        fact = TaskVerified(
            attempt=held.attempt, lease=held.lease, tree="7" * 40, commit=commit, head=commit or self.fold.head,
            results=(),
        )  # fmt: skip
        verdict = self.history.say(held.spec.id, fact)
        if commit is not None:
            base = self.fold.head or BASE
            landed = BranchAdvanced(task=held.spec.id, base=base, commit=commit, tree="7" * 40, verified=verdict.id)
            self.history.say(BRANCH, landed)

    def judge(self, due: Recorded) -> None:
        passed = self.luck.random() < 0.6
        outcome = GateOutcome(gate="g", when=due.fact.gates[0], passed=passed, on_fail="halt", score=0.0, reason="no")
        if due.entity == EXECUTION:
            fact: Any = ExecutionGatesJudged(due=due.id, when=due.fact.when, outcomes=(outcome,))
        else:
            fact = TaskGatesJudged(due=due.id, when="pre_task", attempt=due.fact.attempt, outcomes=(outcome,))
        self.history.say(due.entity, fact)

    def revert(self, due: Recorded) -> None:
        self.commits += 1
        base = self.fold.head or BASE
        fact: Any = RevertRefused(base=base, tasks=due.fact.tasks, reason="they do not come apart")
        if self.luck.random() < 0.7:
            fact = BranchReverted(base=base, commit=f"{self.commits:040x}", tree="7" * 40, invalidated=due.fact.tasks)
        self.history.say(BRANCH, fact)

    def pass_by(self) -> None:
        """Let everybody act until nobody can."""
        for _ in range(MOST):
            engine, people = self.moves(), self.requests()
            if not engine and not people:
                return
            move, what = self.luck.choice(engine + people)
            self.take(move, what)
        raise AssertionError(f"no end: {[(r.entity, r.name) for r in self.history.records[-20:]]}")


@settings(max_examples=300, deadline=None)
@given(what=plans(), seed=st.integers(0, 1 << 32))
def test_every_execution_ends_or_waits_for_somebody(what: Plan, seed: int) -> None:
    night = Night(what, Random(seed))
    night.notice()
    night.pass_by()
    fold = night.fold
    assert not fold.requests, "every request was answered"
    assert decide(fold) == []
    states = {name: t.state for name, t in fold.tasks.items()}
    if fold.state in LIFE.final:
        assert not [name for name, state in states.items() if state in LIVE]
        whole = set(states.values()) <= DONE and not fold.gates_said.get("post_execution")
        assert fold.state == "cancelled" or (fold.state == "completed") == whole
        gate_failed = bool(fold.gates_said.get("post_execution"))
        told = [(r.entity, r.name, r.fact) for r in night.history.records[-9:]]
        assert (fold.state == "failed") <= (bool(set(states.values()) & LOST) or gate_failed), told
        assert not [*fold.unlocked, *fold.gated, *fold.doomed, *fold.asking]
        assert not night.running
    elif fold.state == "awaiting_approval":
        assert fold.asking
        assert not night.people
    elif fold.state == "paused":
        assert fold.reason
        assert not night.people
        assert not night.running
    else:
        assert fold.state == "blocked", [(r.entity, r.name, r.fact) for r in night.history.records[-9:]]
        assert fold.by_state.get("blocked") or fold.by_state.get("taken")
    assert not fold.rollback
    assert not fold.reverting
    for name, held in fold.tasks.items():
        limit = held.spec.max_attempts or what.policy.max_attempts
        assert held.failures - held.forgiven <= limit, name


class Lucky(Night):
    """Nothing goes wrong."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.luck = cast(Random, SimpleNamespace(random=lambda: 0.0))


@settings(max_examples=100, deadline=None)
@given(what=plans())
def test_with_good_luck_everything_is_verified_in_order(what: Plan) -> None:
    history = History(what)
    order: list[str] = []
    for _ in range(50):
        history.settle()
        for name in list(history.fold.asking):
            history.ask(ApprovalGiven(request="a", task=name))
        for owed in list(history.fold.owed.values()):
            Lucky(history).judge(owed)
        for name in list(history.fold.by_state.get("ready", {})):
            history.say(name, started_fact())
            history.say(name, executed_fact(history.lease(name)))
        for name in list(history.fold.by_state.get("executed", {})):
            held = history.fold.tasks[name]
            if next_step(history.fold, held) == "ask":
                history.say(name, question(history.fold, held))
            elif next_step(history.fold, held) == "refuse":
                history.say(name, unasked(held))
            elif next_step(history.fold, held) == "judge":
                fact = TaskVerified(attempt=1, lease=held.lease, tree=None, commit=None, head=None, results=())
                history.say(name, fact)
                order.append(name)
    if what.policy.approvals == "auto":  # what needs a word is refused
        assert history.fold.state in ("completed", "failed", "paused", "blocked")
        return
    assert history.fold.state == "completed"
    assert sorted(order) == sorted(t.id for t in what.tasks if t.status not in ("completed", "skipped"))
    for spec in what.tasks:
        assert all(order.index(n) < order.index(spec.id) for n in spec.needs if n in order and spec.id in order)
