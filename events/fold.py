"""Fold a history into the state that decisions are made on: fold(history) -> (state, last sequences).

The state is updated in place, event by event, so that a plan of ten thousand tasks costs the same per event as one of
ten; what is due is kept in sets, so that nobody has to search for it. All of it can be thrown away and folded again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from events.branch import BranchAdvanced, BranchCreated, BranchReverted, BranchRolledBack, RevertRefused
from events.execution import (
    ApprovalAwaited,
    DeadLettered,
    DeadLetterReleased,
    ExecutionBlocked,
    ExecutionCancelled,
    ExecutionCancelling,
    ExecutionFailed,
    ExecutionGatesDue,
    ExecutionGatesJudged,
    ExecutionPaused,
    ExecutionPausing,
    ExecutionReopened,
    ExecutionResumed,
    ExecutionStarted,
    PlanAccepted,
    PlanRejected,
    RevertDue,
    RollbackBegun,
    StopPointSet,
    TasksGivenUp,
)
from events.health import HealthWarned, TaskCheckpointed
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
    TaskBlocked,
    TaskCancelled,
    TaskDelivered,
    TaskExecuted,
    TaskFailed,
    TaskGatesDue,
    TaskHeld,
    TaskInterrupted,
    TaskReady,
    TaskReturned,
    TaskStarted,
    TaskTaken,
)
from events.task_fold import DONE, LOST, TaskFold
from events.task_graph import TaskGraph
from events.verdict import AttemptRejected, OracleTouched, TaskGatesJudged, TaskVerified
from schemas.names import BRANCH as BRANCH_ENTITY
from schemas.names import EXECUTION as EXECUTION_ENTITY
from schemas.names import INBOX, LESSONS


@dataclass(slots=True)
class ExecutionFold(TaskGraph):
    """What the log says about one execution."""

    state: str = EXECUTION.initial
    reason: str = ""
    branch: str = BRANCH.initial
    created: BranchCreated | None = None
    head: str | None = None
    landings: dict[str, int] = field(default_factory=dict)
    """Sequences at which commits landed on the branch, in that order; what was rolled back is not among them."""
    reverts: dict[str, int] = field(default_factory=dict)
    """Commits on the branch that took results back, with the sequence at which the oldest of those had landed."""
    rollback: RollbackBegun | None = None
    """The branch is about to go back."""
    went_back: RollbackBegun | None = None
    """The branch has gone back, and nobody has said yet how the execution stands."""
    reverting: Recorded | None = None
    """The RevertDue that the verifier has not answered yet."""
    to_take: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Tasks that were opened again for a person who takes them over: who, and why."""
    session: str = ""
    """The id of the event since which its time is counted."""
    gates_due: dict[str, str] = field(default_factory=dict)
    """By moment the id of the ExecutionGatesDue that nobody has answered yet."""
    gates_said: dict[str, str] = field(default_factory=dict)
    """By moment why the gates of the whole execution stop it; empty where they let it pass."""
    letters: dict[int, DeadLettered] = field(default_factory=dict)
    """Reactions that were given up, by the sequence that nobody could react to."""
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
    learned: set[str] = field(default_factory=set)
    """Ids of the ends of tasks and of the acceptance that the learner has dealt with."""
    oddities: int = 0
    """Stored facts for which the tables have no row."""

    @property
    def floor(self) -> str | None:
        """The newest commit that took results back: no attempt may start from before it."""
        return next(reversed(self.reverts), None)

    def guard_of(self, entity: str) -> int:
        """The last sequence of an entity, which an append to it must expect."""
        if entity in self.last:
            return self.last[entity]
        task = self.tasks.get(entity)
        return task.last if task else self.strangers.get(entity, 0)

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
            self._branch(recorded)
        elif entity == LESSONS:
            self.learned.add(recorded.cause)
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
        if self.state in EXECUTION.final:
            for due in list(self.owed.values()):
                if due.entity in self.tasks:
                    self._forget_gates(self.tasks[due.entity])
            self.owed.clear()
            self.gates_due.clear()
            self.session = ""
        match fact:
            case PlanAccepted():
                self.stop_after = fact.plan.stop_after
                self._accept(fact.plan, self.strangers)
            case PlanRejected():
                self.reason = f"{len(fact.problems)} problem{'s' if len(fact.problems) != 1 else ''} in the plan"
            case ExecutionFailed():
                self.reason = fact.reason
            case ExecutionCancelling():
                self.reason = fact.reason
                self.cancelled_by = fact.requested_by
                self.rollback = self.reverting = None
            case ExecutionStarted():
                self.session = recorded.id
            case RollbackBegun():
                self.reason = fact.reason
                self.rollback = fact
                self.gates_said.pop("post_execution", None)
                self.owed.pop(self.gates_due.pop("post_execution", ""), None)
            case RevertDue():
                self.reverting = recorded
            case ExecutionGatesDue():
                self.gates_due[fact.when] = recorded.id
                self.owed[recorded.id] = recorded
            case ExecutionGatesJudged():
                self.owed.pop(fact.due, None)
                if self.gates_due.get(fact.when) == fact.due:
                    del self.gates_due[fact.when]
                    halting = [o for o in fact.outcomes if o.halts]
                    self.gates_said[fact.when] = f"gate {halting[0].gate}: {halting[0].reason}" if halting else ""
            case DeadLettered():
                self.letters[fact.sequence] = fact
            case DeadLetterReleased():
                self.letters.pop(fact.sequence, None)
                task = self.tasks.get(fact.task or "")
                if task is not None and fact.event == "TaskReady" and task.state == "ready":
                    task.requeue = True
            case ApprovalAwaited():
                self.reason = f"waiting for a person's word on {', '.join(fact.tasks)}"
            case ExecutionBlocked():
                self.reason = f"blocked at {', '.join(fact.tasks)}"
            case ExecutionPausing():
                self.reason = fact.reason
                self.session = ""
            case ExecutionResumed():
                self.reason = ""
                self.went_back = None
                self.given_up = self.begun = 0
                if fact.requested_by or not self.session:
                    self.session = recorded.id
                if fact.requested_by:
                    self.stop_after = None
                    self.gates_said.update(dict.fromkeys(self.gates_said, ""))  # whoever resumes lets it pass
            case ExecutionReopened():
                self.reason = ""
                self.given_up = 0
                if fact.requested_by or not self.session:
                    self.session = recorded.id
                self.gates_said.pop("post_execution", None)
                self._reopen(fact.tasks)
                if fact.taken is not None:
                    self.to_take[fact.taken] = (fact.requested_by, fact.reason)
            case TasksGivenUp():
                for name in fact.tasks:
                    task = self.tasks[name]
                    if task.state == "blocked":
                        task.reason = f"{task.reason}; {fact.reason}"
                        self.given_up += 1
                        self._move(name, "failed")
            case StopPointSet():
                self.stop_after = fact.after
            case ExecutionCancelled():
                for state in LIVE:
                    for name in list(self.by_state.get(state, ())):
                        self._move(name, "cancelled")
                        self._close_question(self.tasks[name])
            case ExecutionPaused():
                self.reason = fact.reason
                self.went_back = None
            case _ if self.state == "running":
                self.reason = ""

    def _branch(self, recorded: Recorded) -> None:
        fact = recorded.fact
        target = BRANCH.leads(self.branch, recorded.name)
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
            case BranchRolledBack():
                kept = self.landings.get(fact.to, 0)
                self.landings = {c: s for c, s in self.landings.items() if s <= kept}
                self.head = fact.to or self.head
                self.reverts = {c: s for c, s in self.reverts.items() if c in self.landings}
                self._went_back(fact.invalidated)
            case BranchReverted():
                self.head = fact.commit
                landed = [t.verified for n in fact.invalidated if (t := self.tasks.get(n)) is not None]
                sequences = [self.landings[v.commit] for v in landed if v is not None and v.commit in self.landings]
                self.reverts[fact.commit] = min(sequences, default=recorded.sequence)
                self.landings[fact.commit] = recorded.sequence
                self._went_back(fact.invalidated)
            case RevertRefused():
                self.reason = f"{', '.join(fact.tasks)} cannot be taken back alone: {fact.reason}"
                self.rollback = self.reverting = None

    def _went_back(self, names: tuple[str, ...]) -> None:
        self._invalidate(names)
        if self.rollback is not None and self.rollback.take and self.rollback.only in names:
            self.to_take[self.rollback.only] = (self.rollback.requested_by, self.rollback.reason)
        self.went_back = self.rollback
        self.rollback = self.reverting = None

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
                if fact.attempt != task.attempt:
                    task.warned.clear()
                    task.checkpoint = None
                task.attempt = fact.attempt
                task.ready = recorded.id
                task.timer = ""
                task.requeue = False
            case TaskStarted():
                if task.attempt == 1 and not task.interruptions:
                    self.begun += 1
                task.lease = recorded.id
                task.started = fact
                task.warned.discard(("disk", "wait"))
            case HealthWarned():
                task.warned.add((fact.kind, fact.stage))
            case TaskCheckpointed():
                task.checkpoint = fact
            case TaskExecuted() | TaskDelivered():
                task.executed = recorded
            case TaskTaken():
                self.to_take.pop(task.spec.id, None)
                task.taken_by = fact.by
                task.attempt = fact.attempt
                task.forgiven = task.failures  # whoever takes it over gives it its attempts again
                task.lease = recorded.id
                task.ready = task.timer = task.gate = task.reason = ""
                task.executed = task.granted = None
                self._close_question(task)
            case TaskReturned():
                task.taken_by = task.lease = ""
            case TaskGatesDue():
                self._forget_gates(task)
                task.gates_due = recorded.id
                self.owed[recorded.id] = recorded
            case TaskGatesJudged():
                self.owed.pop(fact.due, None)
                self._judged(task, fact)
            case TaskBlocked():
                task.timer = recorded.id
                task.gate = fact.gate
                task.reason = fact.reason
            case AttemptFailed():
                self._failed(task, fact.reason, retryable=fact.retryable)
            case AttemptTimedOut():
                self._failed(task, f"took longer than {fact.limit:g} s")
            case AttemptRejected():
                task.rejection = fact
                self._failed(task, fact.reason, retryable=fact.retryable, counts=fact.counts)
                task.conflicted = bool(fact.conflict)
                task.conflicts += task.conflicted
                self._close_question(task)
            case TaskInterrupted():
                task.interruptions += 1
                task.lease = ""
            case LeaseExpired():
                task.interruptions += 1
                task.lease = ""
            case TaskHeld():
                task.ready = ""
                task.requeue = False
                if task.executed is not None:
                    task.executed, task.lease = None, ""
                    self._close_question(task)
            case RetryScheduled():
                task.timer = recorded.id
            case TaskFailed():
                self.given_up += 1
            case TaskVerified():
                self.given_up = 0
                task.verified = fact
                task.verified_sequence = recorded.sequence
                task.verified_id = recorded.id
                task.conflicted = False
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
            case OracleTouched():
                task.oracle = fact
            case ApprovalRequested():
                task.question = recorded
                self.asking[task.spec.id] = None
            case ApprovalRecorded():
                asked = task.question.fact if task.question else None
                self._close_question(task)
                if isinstance(asked, ApprovalRequested) and asked.kind == "start" and task.state == TASK.initial:
                    self.gated.pop(task.spec.id, None)
                    task.may_start = task.start_granted = fact.granted
                    if fact.granted and task.missing == 0:
                        self._unlock(task)
                    elif not fact.granted:
                        task.reason = f"{fact.by} said no: {fact.notes}" if fact.notes else f"{fact.by} said no"
                        self.doomed[task.spec.id] = task.spec.id
                else:
                    task.granted = fact
            case _:
                pass

    def _judged(self, task: TaskFold, fact: TaskGatesJudged) -> None:
        """Gates before it (asked for by a TaskGatesDue) or during it (of the attempt that runs)."""
        if fact.when == "pre_task" and task.gates_due != fact.due:
            return
        if fact.when != "pre_task" and task.lease != fact.lease:
            return
        halting = [outcome for outcome in fact.outcomes if outcome.halts]
        if fact.when == "pre_task":
            task.gates_due = ""
            task.gates_passed = not halting
        if halting:
            task.gate, task.reason = halting[0].gate, f"gate {halting[0].gate}: {halting[0].reason}"
        elif self.checking.pop(task.spec.id, self) is None:
            self._unlock(task)

    def _failed(self, task: TaskFold, reason: str, *, retryable: bool = True, counts: bool = True) -> None:
        task.failures += counts
        task.conflicted = False
        task.reason = reason
        task.retryable = retryable
        task.lease = ""
        task.granted = None


def fold(tenant: str, execution: str, history: Iterable[Recorded]) -> ExecutionFold:
    """Fold a whole history from nothing."""
    state = ExecutionFold(tenant, execution)
    for recorded in history:
        state.apply(recorded)
    return state


__all__ = ["DONE", "LOST", "ExecutionFold", "TaskFold", "fold"]
