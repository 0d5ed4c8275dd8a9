"""The tasks of an execution and what waits for what, kept in sets so that nobody has to search for what is due."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from events.log import Recorded
from events.machines import TASK
from events.task_fold import DONE, LOST, TaskFold
from schemas.gates import asks_before, gates_of
from schemas.values import Plan


@dataclass(slots=True)
class TaskGraph:
    """Tasks by state, and those that could start, must be asked about, or can never run."""

    tenant: str
    id: str
    plan: Plan | None = None
    tasks: dict[str, TaskFold] = field(default_factory=dict)
    dependents: dict[str, list[str]] = field(default_factory=dict)
    by_state: dict[str, dict[str, None]] = field(default_factory=dict)
    """Task ids by state, in the order in which they came there."""
    unlocked: dict[str, None] = field(default_factory=dict)
    """Pending tasks whose dependencies are all done and that may start."""
    gated: dict[str, None] = field(default_factory=dict)
    """Pending tasks whose dependencies are all done, and that need a person's word first."""
    checking: dict[str, None] = field(default_factory=dict)
    """Pending tasks whose dependencies are all done, and whose gates are to be judged first."""
    doomed: dict[str, str] = field(default_factory=dict)
    """Pending tasks that can never run, and because of which one."""
    asking: dict[str, None] = field(default_factory=dict)
    """Tasks with an open question."""
    owed: dict[str, Recorded] = field(default_factory=dict)
    """By id what gates were asked for and not judged yet."""

    def count(self, *states: str) -> int:
        """How many tasks are in one of the states."""
        found = 0
        for state in states:
            found += len(self.by_state.get(state, ()))
        return found

    def _accept(self, plan: Plan, known: dict[str, int]) -> None:
        """Every task begins; ``known`` has the last sequences of those about which something was said before."""
        self.plan = plan
        for spec in plan.tasks:
            inherited = plan.forked is not None and spec.id in plan.forked.inherited
            state = "satisfied" if inherited or spec.status in ("completed", "skipped") else TASK.initial
            task = TaskFold(spec, state=state, last=known.pop(spec.id, 0))
            task.may_start = not asks_before(plan, spec)
            task.gated = bool(plan.gates and gates_of(plan, "pre_task", spec.id))
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
        self.checking.pop(name, None)
        self.doomed.pop(name, None)
        if source == TASK.initial:
            self._forget_gates(task)
        if target in TASK.final:
            self._close_question(task)
        if source in DONE and target not in DONE:
            for dependent in self.dependents.get(name, ()):
                other = self.tasks[dependent]
                other.missing += 1
                for waits in (self.unlocked, self.gated, self.checking):
                    waits.pop(dependent, None)
                if other.state == TASK.initial:
                    other.gates_passed = False  # what it starts from will be something else
                    self._forget_gates(other)
        if target == TASK.initial:
            if task.missing == 0:
                self._unlock(task)
            elif (lost := next((n for n in task.spec.needs if self.tasks[n].state in LOST), None)) is not None:
                self.doomed[name] = lost
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

    def _unlock(self, task: TaskFold) -> None:
        """Its dependencies are done: what else does it wait for?"""
        if task.spec.refused:
            task.reason = task.spec.refused
            self.doomed[task.spec.id] = task.spec.id
            return
        waits = self.checking if task.gate or (task.gated and not task.gates_passed) else self.unlocked
        (waits if task.may_start else self.gated)[task.spec.id] = None

    def _reopen(self, names: Iterable[str]) -> None:
        """Back to pending, with their attempts again."""
        for name in names:
            task = self.tasks[name]
            task.forgiven = task.failures
            task.reason = ""
            task.retryable = True
            task.gates_passed = bool(task.gate and task.granted and task.granted.granted)
            task.waived += (task.gate,) if task.gates_passed else ()
            task.gate = ""
            task.granted = None
            self._close_question(task)
            self._move(name, TASK.initial)
        self._doom_again(names)

    def _invalidate(self, names: Iterable[str]) -> None:
        """Back to pending, as if they had never been done; only what they cost is remembered."""
        assert self.plan is not None
        for name in names:
            task = self.tasks[name]
            task.forgiven = task.failures
            task.interruptions = task.conflicts = 0
            task.conflicted = False
            task.waived = ()
            task.verified = task.executed = task.granted = task.rejection = None
            task.verified_at = task.verified_sequence = 0
            task.verified_id = ""
            task.lease = task.timer = task.ready = task.gate = task.reason = task.taken_by = ""
            task.retryable = True
            task.gates_passed = task.requeue = False
            task.warned.clear()
            task.checkpoint = None
            task.may_start = not asks_before(self.plan, task.spec)
            self._close_question(task)
            self._move(name, TASK.initial)
        self._doom_again(names)

    def _doom_again(self, names: Iterable[str]) -> None:
        """Whoever was doomed because of these tasks is looked at again."""
        for name in names:
            for other in (name, *self.dependents.get(name, ())):
                self.doomed.pop(other, None)
                lost = next((n for n in self.tasks[other].spec.needs if self.tasks[n].state in LOST), None)
                if lost is not None and self.tasks[other].state == TASK.initial:
                    self.doomed[other] = lost

    def _forget_gates(self, task: TaskFold) -> None:
        """Nobody waits for what its gates say any more; a verdict that comes late is about nothing."""
        self.owed.pop(task.gates_due, None)
        task.gates_due = ""

    def _close_question(self, task: TaskFold) -> None:
        task.question = None
        self.asking.pop(task.spec.id, None)
