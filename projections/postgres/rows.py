"""What an event does to the founding rows. Pure: rows in, rows out, and which of them changed.

Rows carry in ``metadata`` and ``checkpoint_data`` what the next event needs to know, so nothing is kept elsewhere: our
own finer state, and the sums from which the scores of a task come (the same scores as in ``projections/scores.sql``).
"""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from events import CATALOGUE
from events.execution import PlanAccepted, RatingRecorded
from events.log import Recorded
from events.machines import EXECUTION, TASK
from events.task import Usage
from events.verdict import AttemptRejected, TaskVerified
from schemas import words
from schemas.names import BRANCH, INBOX
from schemas.names import EXECUTION as EXECUTION_ENTITY
from schemas.values import Task

SPACE = uuid.UUID("6e696768-7473-5869-8674-706f73746772")
"""The name space of ids that are derived (UUID version 5)."""
VERSION = "2"
"""Part of what makes the tables be built anew; raise it when this module gives other rows for the same events."""
MANY = frozenset(name for name in TASK.facts if CATALOGUE[name].on != "task")
"""Events of the execution or its branch that change several tasks at once."""
_LARGEST = 2**31 - 1
_UNITS = {
    "duration": "seconds", "test_pass_rate": "ratio", "success_ratio": "ratio", "context_tokens": "tokens",
    "rating": "1 to 10",
}  # fmt: skip


@dataclass(slots=True)
class ExecutionRow:
    """A row of ``executions``."""

    id: uuid.UUID
    conversation_id: uuid.UUID
    plan_id: uuid.UUID
    status: str
    started_at: datetime.datetime | None = None
    completed_at: datetime.datetime | None = None
    total_tasks: int = 0
    completed_tasks: int = 0
    failed_tasks: int = 0
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class TaskRow:
    """A row of ``execution_tasks``."""

    id: uuid.UUID
    execution_id: uuid.UUID
    task_id: str
    title: str
    status: str
    started_at: datetime.datetime | None = None
    completed_at: datetime.datetime | None = None
    duration_seconds: int | None = None
    verification_results: list[Any] | None = None
    error_message: str | None = None
    checkpoint_data: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class MetricRow:
    """A row of ``execution_metrics``."""

    id: uuid.UUID
    execution_id: uuid.UUID
    task_id: str | None
    metric_name: str
    metric_value: float
    unit: str
    collected_at: datetime.datetime


def as_uuid(text: str) -> uuid.UUID:
    """The id itself where it is a UUID, otherwise one derived from it."""
    try:
        return uuid.UUID(text)
    except ValueError:
        return uuid.uuid5(SPACE, text)


def ids_of(tenant: str, execution: str) -> tuple[uuid.UUID, uuid.UUID]:
    """The row ids an execution may have: its own, and the one for when another tenant used that id first."""
    return uuid.UUID(execution), uuid.uuid5(SPACE, f"{tenant}/{execution}")


def task_row_id(execution: uuid.UUID, task: str) -> uuid.UUID:
    """The id of a task's row."""
    return uuid.uuid5(SPACE, f"{execution}/task/{task}")


@dataclass(frozen=True, slots=True)
class Needs:
    """Ids of the rows that a batch may touch."""

    executions: frozenset[uuid.UUID]
    tasks: frozenset[uuid.UUID]
    whole: frozenset[uuid.UUID]
    """Executions of which every task may be touched."""


def needs(records: Iterable[Recorded]) -> Needs:
    """Which rows have to be there before the events are applied."""
    executions: set[uuid.UUID] = set()
    tasks: set[uuid.UUID] = set()
    whole: set[uuid.UUID] = set()
    for recorded in records:
        if recorded.standing != "ok" or recorded.entity == INBOX:
            continue
        ids = ids_of(recorded.tenant, recorded.execution)
        executions.update(ids)
        if recorded.name in MANY:
            whole.update(ids)
        elif recorded.entity not in (EXECUTION_ENTITY, BRANCH):
            tasks.update(task_row_id(id, recorded.entity) for id in ids)
    return Needs(frozenset(executions), frozenset(tasks), frozenset(whole))


class Rows:
    """The rows that a batch touches. Give it what ``needs`` names, apply the events, store what ``changed`` gives."""

    def __init__(self, executions: Iterable[ExecutionRow] = (), tasks: Iterable[TaskRow] = ()) -> None:
        self.executions = {row.id: row for row in executions}
        self.tasks = {row.id: row for row in tasks}
        self.metrics: dict[uuid.UUID, MetricRow] = {}
        self._changed: dict[uuid.UUID, ExecutionRow | TaskRow] = {}

    @property
    def changed(self) -> tuple[list[ExecutionRow], list[TaskRow], list[MetricRow]]:
        """What has to be stored."""
        rows = self._changed.values()
        return (
            [r for r in rows if isinstance(r, ExecutionRow)],
            [r for r in rows if isinstance(r, TaskRow)],
            list(self.metrics.values()),
        )

    def apply(self, recorded: Recorded) -> None:
        """Fold one event; what the state tables have no row for changes nothing."""
        if recorded.standing != "ok" or recorded.entity == INBOX:
            return
        row = self._execution(recorded)
        if row is not None and recorded.name in MANY:
            self._of_many(row, recorded)
        if recorded.entity == BRANCH:
            return
        if recorded.entity == EXECUTION_ENTITY:
            if isinstance(recorded.fact, PlanAccepted):
                if row is None:
                    self._accept(recorded, recorded.fact)
            elif row is not None:
                self._of_execution(row, recorded)
        elif row is not None and (task := self._task(row, recorded.entity)) is not None:
            self._of_task(row, task, recorded)

    # -- looking up -----------------------------------------------------------------------------------------------

    def _execution(self, recorded: Recorded) -> ExecutionRow | None:
        found = [self.executions.get(id) for id in ids_of(recorded.tenant, recorded.execution)]
        return next((row for row in found if row and row.metadata["tenant"] == recorded.tenant), None)

    def _task(self, execution: ExecutionRow, task: str) -> TaskRow | None:
        return self.tasks.get(task_row_id(execution.id, task))

    # -- executions -----------------------------------------------------------------------------------------------

    def _accept(self, recorded: Recorded, fact: PlanAccepted) -> None:
        own, other = ids_of(recorded.tenant, recorded.execution)
        conversation = fact.plan.conversation_id or recorded.correlation
        row = ExecutionRow(
            id=other if own in self.executions else own,
            conversation_id=as_uuid(conversation),
            plan_id=as_uuid(fact.plan.id),
            status=words.EXECUTION["queued"],
            total_tasks=len(fact.plan.tasks),
            metadata={
                "tenant": recorded.tenant, "execution": recorded.execution, "state": "queued", "reason": "",
                "title": fact.plan.title, "conversation": conversation, "plan": fact.plan.id,
                "source": fact.plan.source, "format": fact.plan.format, "priority": fact.plan.priority,
            },
        )  # fmt: skip
        self.executions[row.id] = row
        self._changed[row.id] = row
        for spec in fact.plan.tasks:
            self._plan(row, spec)

    def _plan(self, execution: ExecutionRow, spec: Task) -> None:
        state = "satisfied" if spec.status in ("completed", "skipped") else "pending"
        row = TaskRow(
            id=task_row_id(execution.id, spec.id), execution_id=execution.id, task_id=spec.id, title=spec.title,
            status=words.TASK[state], checkpoint_data={"state": state},
        )  # fmt: skip
        self.tasks[row.id] = row
        self._changed[row.id] = row
        execution.completed_tasks += state == "satisfied"

    def _of_execution(self, row: ExecutionRow, recorded: Recorded) -> None:
        fact, name = recorded.fact, recorded.name
        if isinstance(fact, RatingRecorded):
            self._score(row, fact.task, "rating", fact.rating, recorded, by=fact.by)
            return
        state = EXECUTION.leads(row.metadata["state"], name)
        if state is None:
            return
        row.status = words.EXECUTION[state]
        row.metadata |= {"state": state, "reason": getattr(fact, "reason", row.metadata["reason"])}
        self._changed[row.id] = row
        row.completed_at = recorded.at if state in EXECUTION.final else None
        if name == "ExecutionStarted":
            row.started_at = recorded.at

    def _of_many(self, row: ExecutionRow, recorded: Recorded) -> None:
        """The tasks that the fact names, or all of the execution."""
        named = getattr(recorded.fact, "tasks", None) or getattr(recorded.fact, "invalidated", None)
        mine = [t for t in self.tasks.values() if t.execution_id == row.id]
        for task in mine if named is None else filter(None, (self._task(row, name) for name in named)):
            if self._move(row, task, recorded):
                ended = task.status in ("completed", "failed", "skipped")
                task.completed_at = recorded.at if ended else None
                task.error_message = task.error_message if ended else None

    # -- tasks ----------------------------------------------------------------------------------------------------

    def _move(self, execution: ExecutionRow, task: TaskRow, recorded: Recorded) -> bool:
        """Take a task to its next state; says whether there is one."""
        state = TASK.leads(task.checkpoint_data["state"], recorded.name)
        if state is None:
            return False
        before, task.status = task.status, words.TASK[state]
        task.checkpoint_data["state"] = state
        execution.completed_tasks += (task.status == "completed") - (before == "completed")
        execution.failed_tasks += (task.status == "failed") - (before == "failed")
        self._changed[task.id] = task
        self._changed[execution.id] = execution
        return True

    def _of_task(self, execution: ExecutionRow, task: TaskRow, recorded: Recorded) -> None:
        if not self._move(execution, task, recorded):
            return
        fact, name, data = recorded.fact, recorded.name, task.checkpoint_data
        usage = getattr(fact, "usage", None)
        if isinstance(usage, Usage):
            _use(task, usage)
        if isinstance(fact, TaskVerified | AttemptRejected):
            _judge(task, fact)
        if name == "TaskReady":
            data["attempt"] = fact.attempt
        elif name == "TaskStarted":
            task.started_at = task.started_at or recorded.at
            data |= {"lease": recorded.id, "worker": fact.worker, "host": fact.host}
        elif name in ("AttemptFailed", "AttemptTimedOut", "AttemptRejected"):
            data["counted"] = data.get("counted", 0) + 1
            task.error_message = fact.reason if hasattr(fact, "reason") else f"took longer than {fact.limit:g} s"
        elif name in ("TaskFailed", "TaskBlocked", "TaskSkipped", "TaskCancelled"):
            task.completed_at = recorded.at
            task.error_message = fact.reason
        elif isinstance(fact, TaskVerified):
            data |= {"commit": fact.commit, "tree": fact.tree, "head": fact.head}
            data["counted"], data["held"] = data.get("counted", 0) + 1, data.get("held", 0) + 1
            task.completed_at, task.error_message = recorded.at, None
        if name in ("TaskVerified", "TaskFailed", "TaskBlocked"):
            self._scores(execution, task, recorded)

    def _scores(self, execution: ExecutionRow, task: TaskRow, recorded: Recorded) -> None:
        data = task.checkpoint_data
        found = {"duration": data["micros"] / 1e6 if "micros" in data else None, "context_tokens": data.get("tokens")}
        if data.get("counted"):
            found["success_ratio"] = data.get("held", 0) / data["counted"]
        if data.get("tests_ran"):
            found["test_pass_rate"] = data["tests_passed"] / data["tests_ran"]
        elif data.get("judged"):
            found["test_pass_rate"] = data["passed"] / data["judged"]
        for name, value in found.items():
            if value is not None:
                self._score(execution, task.task_id, name, value, recorded)

    def _score(
        self, execution: ExecutionRow, task: str | None, name: str, value: float, recorded: Recorded, by: str = ""
    ) -> None:
        id = uuid.uuid5(SPACE, f"{execution.id}/score/{task or ''}/{name}/{by}")
        self.metrics[id] = MetricRow(id, execution.id, task, name, float(value), _UNITS[name], recorded.at)


def _use(task: TaskRow, usage: Usage) -> None:
    """Add what an attempt took to what the task took."""
    data = task.checkpoint_data
    data["micros"] = data.get("micros", 0) + int(usage.seconds * 1e6 + 0.5)
    task.duration_seconds = min(_LARGEST, round(data["micros"] / 1e6))
    if usage.tokens is not None:
        data["tokens"] = data.get("tokens", 0) + usage.tokens


def _judge(task: TaskRow, fact: TaskVerified | AttemptRejected) -> None:
    """The verdict's criteria, as the newest results and in the sums."""
    task.verification_results = [msgspec.to_builtins(result) for result in fact.results]
    data, counts = task.checkpoint_data, [r.result for r in fact.results if r.result != "skipped"]
    data["judged"] = data.get("judged", 0) + len(counts)
    data["passed"] = data.get("passed", 0) + counts.count("pass")
    for tests in filter(None, (r.tests for r in fact.results)):
        data["tests_ran"] = data.get("tests_ran", 0) + tests.passed + tests.failed
        data["tests_passed"] = data.get("tests_passed", 0) + tests.passed
