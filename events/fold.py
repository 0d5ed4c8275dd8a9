"""Fold a history into the state that decisions are made on: fold(history) -> (state, last sequences).

The state is updated in place, event by event, so that a plan of ten thousand tasks costs the same per event as one of
ten; what is due is kept in sets, so that nobody has to search for it. All of it can be thrown away and folded again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from events.branch import BranchAdvanced, BranchCreated
from events.execution import (
    ApprovalAwaited,
    ExecutionBlocked,
    ExecutionCancelled,
    ExecutionCancelling,
    ExecutionFailed,
    ExecutionPausing,
    ExecutionReopened,
    ExecutionResumed,
    PlanAccepted,
    PlanRejected,
    StopPointSet,
)
from events.log import Recorded
from events.machines import BRANCH, EXECUTION, TASK
from events.machines.task import LIVE
from events.request import PlanSubmitted
from events.task import (
    ApprovalRecorded,
    ApprovalRequested,
    AttemptFailed,
    AttemptTimedOut,
    LeaseExpired,
    RetryScheduled,
    TaskCancelled,
    TaskExecuted,
    TaskFailed,
    TaskHeld,
    TaskInterrupted,
    TaskReady,
    TaskStarted,
)
from events.task_fold import DONE, LOST, TaskFold
from events.verdict import AttemptRejected, TaskVerified
from schemas.names import BRANCH as BRANCH_ENTITY
from schemas.names import EXECUTION as EXECUTION_ENTITY
from schemas.names import INBOX
from schemas.values import Plan


@dataclass(slots=True)
class ExecutionFold:
    """What the log says about one execution."""

    tenant: str
    id: str
    state: str = EXECUTION.initial
    reason: str = ""
    plan: Plan | None = None
    tasks: dict[str, TaskFold] = field(default_factory=dict)
    dependents: dict[str, list[str]] = field(default_factory=dict)
    by_state: dict[str, dict[str, None]] = field(default_factory=dict)
    """Task ids by state, in the order in which they came there."""
    unlocked: dict[str, None] = field(default_factory=dict)
    """Pending tasks whose dependencies are all done and that may start."""
    gated: dict[str, None] = field(default_factory=dict)
    """Pending tasks whose dependencies are all done, and that need a person's word first."""
    doomed: dict[str, str] = field(default_factory=dict)
    """Pending tasks that can never run, and because of which one."""
    asking: dict[str, None] = field(default_factory=dict)
    """Tasks with an open question."""
    branch: str = BRANCH.initial
    created: BranchCreated | None = None
    head: str | None = None
    landings: dict[str, int] = field(default_factory=dict)
    """Sequences at which commits landed on the branch."""
    last: dict[str, int] = field(default_factory=lambda: {EXECUTION_ENTITY: 0, BRANCH_ENTITY: 0})
    """Last sequence of ``-`` and ``~branch``."""
    submission: Recorded | None = None
    """The first readable PlanSubmitted."""
    requests: dict[str, Recorded] = field(default_factory=dict)
    """What people said and nobody has answered yet, by id; also what could not be read."""
    heard: set[str] = field(default_factory=set)
    """Ids of everything people said: what is stored again, beyond the server's window, is no new request."""
    stop_after: str | None = None
    """The stop point."""
    given_up: int = 0
    """Tasks given up in a row, since the last success or a person's word."""
    begun: int = 0
    """Tasks started since the execution began or was resumed."""
    correlation: str = ""
    cancelled_by: str = ""
    sequence: int = 0
    """The newest sequence folded, of anything."""
    now_ns: int = 0
    """The newest stream time folded: the only clock a decision may use (hazard H19)."""
    newer: str = ""
    """Why this code is too old to decide here, if it is (hazard H18)."""
    strangers: dict[str, int] = field(default_factory=dict)
    """Last sequences of entities that are no task of the plan."""
    oddities: int = 0
    """Stored facts for which the tables have no row."""

    def guard_of(self, entity: str) -> int:
        """The last sequence of an entity, which an append to it must expect."""
        if entity in self.last:
            return self.last[entity]
        task = self.tasks.get(entity)
        return task.last if task else self.strangers.get(entity, 0)

    def count(self, *states: str) -> int:
        """How many tasks are in one of the states."""
        return sum(len(self.by_state.get(s, ())) for s in states)

    def apply(self, recorded: Recorded) -> None:
        """Fold one message. Messages must come in the order of the log; one that was folded before is passed over."""
        if recorded.sequence <= self.sequence:
            return
        self.sequence = recorded.sequence
        self.now_ns = max(self.now_ns, recorded.at_ns)
        entity = recorded.entity
        if entity in self.last:
            self.last[entity] = recorded.sequence
        elif entity != INBOX:
            task = self.tasks.get(entity)
            if task:
                task.last = recorded.sequence
            else:
                self.strangers[entity] = recorded.sequence
        if recorded.standing == "newer":
            self.newer = self.newer or recorded.reason
        if entity == INBOX and recorded.id:
            if recorded.id in self.heard:
                return
            self.heard.add(recorded.id)
            self.requests[recorded.id] = recorded
        if recorded.standing != "ok":
            return
        self.requests.pop(recorded.cause, None)
        if entity == INBOX:
            if isinstance(recorded.fact, PlanSubmitted) and self.submission is None:
                self.submission = recorded
                self.correlation = recorded.correlation
        elif entity == EXECUTION_ENTITY:
            self._execution(recorded)
        elif entity == BRANCH_ENTITY:
            self._branch(recorded.fact)
        elif entity in self.tasks:
            self._task(self.tasks[entity], recorded)

    def _execution(self, recorded: Recorded) -> None:
        fact = recorded.fact
        if recorded.name in EXECUTION.facts:
            target = EXECUTION.leads(self.state, recorded.name)
            if target is None:
                self.oddities += 1
                return
            self.state = target
        match fact:
            case PlanAccepted():
                self._accept(fact.plan)
            case PlanRejected():
                self.reason = f"{len(fact.problems)} problem{'s' if len(fact.problems) != 1 else ''} in the plan"
            case ExecutionFailed():
                self.reason = fact.reason
            case ExecutionCancelling():
                self.reason = fact.reason
                self.cancelled_by = fact.requested_by
            case ApprovalAwaited():
                self.reason = f"waiting for a person's word on {', '.join(fact.tasks)}"
            case ExecutionBlocked():
                self.reason = f"blocked at {', '.join(fact.tasks)}"
            case ExecutionPausing():
                self.reason = fact.reason
            case ExecutionResumed():
                self.reason = ""
                self.given_up = self.begun = 0
                if fact.requested_by:
                    self.stop_after = None
            case ExecutionReopened():
                self.reason = ""
                self.given_up = 0
                self._reopen(fact.tasks)
            case StopPointSet():
                self.stop_after = fact.after
            case ExecutionCancelled():
                for state in LIVE:
                    for name in list(self.by_state.get(state, ())):
                        self._move(name, "cancelled")
                        self._close_question(self.tasks[name])
            case _ if self.state == "running":
                self.reason = ""

    def _accept(self, plan: Plan) -> None:
        self.plan = plan
        self.stop_after = plan.stop_after
        for spec in plan.tasks:
            state = "satisfied" if spec.status in ("completed", "skipped") else TASK.initial
            task = TaskFold(spec, state=state, last=self.strangers.pop(spec.id, 0))
            task.may_start = spec.autonomy != "needs_approval"
            self.tasks[spec.id] = task
            self.by_state.setdefault(state, {})[spec.id] = None
        for spec in plan.tasks:
            for need in spec.needs:
                self.dependents.setdefault(need, []).append(spec.id)
                if self.tasks[need].state not in DONE:
                    self.tasks[spec.id].missing += 1
        for spec in plan.tasks:
            task = self.tasks[spec.id]
            if task.state == TASK.initial and task.missing == 0:
                self._unlock(task)

    def _reopen(self, names: Iterable[str]) -> None:
        """Back to pending, with their attempts again; who was doomed because of them is looked at again."""
        for name in names:
            task = self.tasks[name]
            task.forgiven = task.failures
            task.reason = ""
            task.retryable = True
            self._move(name, TASK.initial)
        for name in names:
            for other in (name, *self.dependents.get(name, ())):
                self.doomed.pop(other, None)
                lost = next((n for n in self.tasks[other].spec.needs if self.tasks[n].state in LOST), None)
                if lost is not None and self.tasks[other].state == TASK.initial:
                    self.doomed[other] = lost

    def _branch(self, fact: Any) -> None:
        target = BRANCH.leads(self.branch, type(fact).__name__)
        if target is None:
            self.oddities += 1
            return
        self.branch = target
        match fact:
            case BranchCreated():
                self.created = fact
                self.head = fact.base
            case BranchAdvanced():
                self.head = fact.commit

    def _task(self, task: TaskFold, recorded: Recorded) -> None:
        fact = recorded.fact
        if recorded.name in TASK.facts:
            target = TASK.leads(task.state, recorded.name)
            if target is None:
                self.oddities += 1
                return
            self._move(task.spec.id, target)
        match fact:
            case TaskReady():
                task.attempt = fact.attempt
                task.ready = recorded.id
                task.timer = ""
            case TaskStarted():
                if task.attempt == 1 and not task.interruptions:
                    self.begun += 1
                task.lease = recorded.id
                task.started = fact
            case TaskExecuted():
                task.executed = recorded
            case AttemptFailed():
                self._failed(task, fact.reason, retryable=fact.retryable)
            case AttemptTimedOut():
                self._failed(task, f"took longer than {fact.limit:g} s")
            case AttemptRejected():
                task.rejection = fact
                self._failed(task, fact.reason)
                self._close_question(task)
            case TaskInterrupted():
                task.interruptions += 1
                task.lease = ""
            case LeaseExpired():
                task.interruptions += 1
                task.lease = ""
            case TaskHeld():
                task.ready = ""
            case RetryScheduled():
                task.timer = recorded.id
            case TaskFailed():
                self.given_up += 1
            case TaskVerified():
                self.given_up = 0
                task.verified = fact
                if fact.commit:
                    self.landings[fact.commit] = recorded.sequence
                task.verified_at = self.landings.get(fact.head or "", 0)
                task.reason = ""
                task.lease = ""
                self._close_question(task)
            case TaskCancelled():
                task.reason = fact.reason
                task.lease = ""
                self._close_question(task)
            case ApprovalRequested():
                task.question = recorded
                self.asking[task.spec.id] = None
            case ApprovalRecorded():
                asked = task.question.fact if task.question else None
                self._close_question(task)
                if isinstance(asked, ApprovalRequested) and asked.kind == "start" and task.state == TASK.initial:
                    self.gated.pop(task.spec.id, None)
                    task.may_start = fact.granted
                    if fact.granted:
                        self._unlock(task)
                    else:
                        task.reason = f"{fact.by} said no: {fact.notes}" if fact.notes else f"{fact.by} said no"
                        self.doomed[task.spec.id] = task.spec.id
                else:
                    task.granted = fact
            case _:
                pass

    def _unlock(self, task: TaskFold) -> None:
        (self.unlocked if task.may_start else self.gated)[task.spec.id] = None

    def _failed(self, task: TaskFold, reason: str, *, retryable: bool = True) -> None:
        task.failures += 1
        task.reason = reason
        task.retryable = retryable
        task.lease = ""
        task.granted = None

    def _close_question(self, task: TaskFold) -> None:
        task.question = None
        self.asking.pop(task.spec.id, None)

    def _move(self, name: str, target: str) -> None:
        task = self.tasks[name]
        source = task.state
        if source == target:
            return
        self.by_state[source].pop(name, None)
        self.by_state.setdefault(target, {})[name] = None
        task.state = target
        self.unlocked.pop(name, None)
        self.gated.pop(name, None)
        self.doomed.pop(name, None)
        if target in TASK.final:
            self._close_question(task)
        if target == TASK.initial and task.missing == 0:
            self._unlock(task)
        if target in DONE and source not in DONE:
            for dependent in self.dependents.get(name, ()):
                other = self.tasks[dependent]
                other.missing -= 1
                if other.missing == 0 and other.state == TASK.initial:
                    self._unlock(other)
        if target in LOST:
            for dependent in self.dependents.get(name, ()):
                if self.tasks[dependent].state == TASK.initial:
                    self.doomed.setdefault(dependent, name)


def fold(tenant: str, execution: str, history: Iterable[Recorded]) -> ExecutionFold:
    """Fold a whole history from nothing."""
    state = ExecutionFold(tenant, execution)
    for recorded in history:
        state.apply(recorded)
    return state


__all__ = ["DONE", "LOST", "ExecutionFold", "TaskFold", "fold"]
