"""Decisions as sentences: ``given(plan, *what_happened).when(decide).then((entity, fact), …)``.

Everything goes over the wire on its way, as in ``services.shell``: what is decided becomes a draft, bytes and headers,
and is read and folded again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec

from events import (
    AttemptTimedOut,
    ExecutionStarted,
    PlanAccepted,
    PlanSubmitted,
    TaskInterrupted,
    TaskReady,
    TaskVerified,
)
from events.fold import ExecutionFold
from events.log import Recorded
from events.log.wire import ID, decode, encode
from schemas.names import INBOX
from schemas.values import Plan
from services.planner.decide import decide as planner_decides
from services.shell import Context, Decision
from tests.controls import (
    EXECUTION_ID,
    SECOND,
    START_NS,
    TENANT,
    executed_fact,
    failed_fact,
    rejected_fact,
    started_fact,
)

Step = Callable[["History"], object]
Decide = Callable[[ExecutionFold], list[Decision]]
NO_LOG: Any = None
ROUNDS = 200


class History:
    """One execution: its messages, and the fold of them. A second passes between two messages."""

    def __init__(self, plan: Plan | None = None) -> None:
        self.fold = ExecutionFold(TENANT, EXECUTION_ID)
        self.records: list[Recorded] = []
        self.context = Context(service="spec", actor="spec-1", log=NO_LOG, folds=NO_LOG)
        if plan is not None:
            self.ask(PlanSubmitted(plan={"title": plan.title}))
            self.say("-", PlanAccepted(plan=plan, digest="d1" * 32, requested_by=TENANT))

    def store(self, subject: str, body: bytes, headers: dict[str, str]) -> Recorded:
        """The next message, whatever it is."""
        sequence = len(self.records) + 1
        at_ns = START_NS + sequence * SECOND
        recorded = decode(sequence=sequence, at_ns=at_ns, subject=subject, headers=headers, body=body)
        self.records.append(recorded)
        self.fold.apply(recorded)
        return recorded

    def ask(self, fact: Any, *, id: str = "") -> Recorded:
        """Somebody says something."""
        subject = f"evt.{TENANT}.{EXECUTION_ID}.{INBOX}.{type(fact).__name__}"
        return self.store(subject, msgspec.json.encode(fact), {ID: id or f"said-by-somebody-{len(self.records) + 1}"})

    def decided(self, decision: Decision, cause: str = "") -> Recorded:
        """A decision is appended. Raises IllegalTransition if the tables forbid it."""
        trigger = cause or (self.records[-1].id if self.records else "") or "trigger"
        draft = self.context.draft(self.fold, decision, trigger)
        recorded = self.store(draft.subject, *encode(draft))
        assert recorded.standing == "ok", recorded.reason
        return recorded

    def say(self, entity: str, fact: Any, *, attempt: int | None = None) -> Recorded:
        """Something happens to an entity."""
        number = getattr(fact, "attempt", 0) if attempt is None else attempt
        return self.decided(Decision(entity=entity, fact=fact, attempt=number))

    def settle(self, decide: Decide = planner_decides, cause: str = "") -> list[Recorded]:
        """Decide and append until nothing is due, as ``Context.settle`` does."""
        said: list[Recorded] = []
        for _ in range(ROUNDS):
            decisions = list({d.entity: d for d in reversed(decide(self.fold))}.values())[::-1]
            if not decisions:
                return said
            drafts = [self.context.draft(self.fold, d, cause or "trigger") for d in decisions]
            said += [self.store(d.subject, *encode(d)) for d in drafts]
        raise AssertionError(f"no end: {[(r.entity, r.name) for r in said[-10:]]}")

    def lease(self, task: str) -> str:
        """Who holds the task."""
        return self.fold.tasks[task].lease


class When:
    """What was decided."""

    def __init__(self, history: History, decisions: list[Decision]) -> None:
        self.history = history
        self.decisions = [(d.entity, d.fact) for d in decisions]

    def then(self, *expected: tuple[str, Any]) -> History:
        """Exactly this was decided; it happens, and the history goes on."""
        assert self.decisions == list(expected)
        for entity, fact in self.decisions:
            self.history.say(entity, fact)
        return self.history


class Spec:
    """What has happened."""

    def __init__(self, history: History) -> None:
        self.history = history

    def when(self, decide: Decide = planner_decides) -> When:
        """Somebody decides on it."""
        return When(self.history, decide(self.history.fold))


def given(plan: Plan | History | None, *steps: Step) -> Spec:
    """A plan was accepted and things have happened."""
    history = plan if isinstance(plan, History) else History(plan)
    for step in steps:
        step(history)
    return Spec(history)


def running(history: History) -> object:
    """The execution left the queue."""
    done = history.fold.count("satisfied")
    return history.say("-", ExecutionStarted(tasks=len(history.fold.tasks) - done, satisfied=done))


def said(entity: str, fact: Any) -> Step:
    """Any fact."""
    return lambda h: h.say(entity, fact)


def asked(fact: Any) -> Step:
    """Somebody said something."""
    return lambda h: h.ask(fact)


def ready(task: str, attempt: int = 1) -> Step:
    return lambda h: h.say(task, TaskReady(attempt=attempt))


def started(task: str) -> Step:
    return lambda h: h.say(task, started_fact(h.fold.tasks[task].attempt))


def executed(task: str) -> Step:
    return lambda h: h.say(task, executed_fact(h.lease(task), h.fold.tasks[task].attempt))


def failed(task: str, *, retryable: bool = True, reason: str = "exit code 2") -> Step:
    return lambda h: h.say(
        task, replace(failed_fact(h.lease(task), h.fold.tasks[task].attempt, reason), retryable=retryable)
    )


def timed_out(task: str) -> Step:
    return lambda h: h.say(task, AttemptTimedOut(attempt=h.fold.tasks[task].attempt, lease=h.lease(task), limit=5.0))


def interrupted(task: str) -> Step:
    return lambda h: h.say(task, TaskInterrupted(attempt=h.fold.tasks[task].attempt, lease=h.lease(task), reason="x"))


def rejected(task: str) -> Step:
    return lambda h: h.say(task, rejected_fact(h.lease(task), h.fold.tasks[task].attempt))


def verified(task: str) -> Step:
    def step(history: History) -> object:
        fold = history.fold.tasks[task]
        fact = TaskVerified(attempt=fold.attempt, lease=fold.lease, tree=None, commit=None, head=None, results=())
        return history.say(task, fact)

    return step


def did(task: str, attempt: int = 1) -> Step:
    """The task went all its way to verified."""

    def step(history: History) -> None:
        for one in (ready(task, attempt), started(task), executed(task), verified(task)):
            one(history)

    return step
