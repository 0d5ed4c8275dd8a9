"""Recognisable examples of plans and facts, and a story teller that turns facts into a log's messages.

    story = Story()
    story.submit(plan(task("1"), task("2", needs=("1",))))
    story.accept()
    ready = story.say(TaskReady(attempt=1), "1")
    started = story.say(started_fact(), "1", cause=ready)
    story.records            # list[Recorded], sequences 1, 2, 3, … one second apart

Nothing here reads a clock or draws a random number: the same calls give the same bytes.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count
from typing import Any, Literal

import msgspec

from events import (
    CATALOGUE,
    Artifact,
    AttemptFailed,
    AttemptRejected,
    BranchAdvanced,
    BranchCreated,
    ExecutionCompleted,
    ExecutionFailed,
    ExecutionStarted,
    PlanAccepted,
    PlanSubmitted,
    Result,
    RetryScheduled,
    TaskExecuted,
    TaskFailed,
    TaskReady,
    TaskStarted,
    TaskVerified,
    Usage,
)
from events.log import Recorded
from events.parts import CountedTests
from schemas.names import BRANCH, EXECUTION, INBOX, LESSONS, NOTICES, entity_token, event_id
from schemas.values import Criterion, Plan, Policy, Task

TENANT = "acme"
OTHER_TENANT = "globex"
EXECUTION_ID = "0192f0c1-0000-7000-8000-000000000001"
PLAN_ID = "0192f0c0-aaaa-7000-8000-00000000000a"
CONVERSATION = "0192f0bf-cccc-7000-8000-00000000000c"
START_NS = 1_790_000_000_000_000_000
"""2026-09-21T14:13:20Z: when every story begins."""
SECOND = 1_000_000_000
STREAM = "2026-09-21T14:00:00Z"
"""When the stream of every story was created."""
WORKER, HOST, BOOT = "executor-1", "night-host", "b007b007-0000-4000-8000-000000000000"
REPOSITORY, BRANCH_NAME = "project.git", f"nightshift/{EXECUTION_ID}"
BASE = "ba5e" * 10
OUTPUT = Artifact(sha256="0a" * 32, size=512, total=512)

Standing = Literal["ok", "quarantined", "newer"]
_ENTITY = {"execution": EXECUTION, "branch": BRANCH, "inbox": INBOX, "lessons": LESSONS, "notices": NOTICES}


def execution_id(number: int) -> str:
    """The id of the numbered execution: UUIDv7-shaped, in the order of the numbers."""
    return str(uuid.UUID(int=0x0192F0C1_0000_7000_8000_000000000000 + (number << 80) % (1 << 128)))


def criterion(id: str = "c1", command: str = "make test") -> Criterion:
    """A command that must exit with 0."""
    return Criterion(id=id, kind="command", text=f"{command} passes", command=command)


def task(id: str = "1", **changes: Any) -> Task:
    """A shell task with one criterion."""
    fields: dict[str, Any] = {"title": f"Build part {id}", "run": f"make {id}", "verify": (criterion(),)} | changes
    return Task(id=id, **fields)


def plan(*tasks: Task, **changes: Any) -> Plan:
    """A plan of these tasks; of one task if none is given."""
    fields: dict[str, Any] = {
        "id": PLAN_ID,
        "title": "Ship the thing",
        "tasks": tasks or (task(),),
        "policy": Policy(max_parallel=2, on_exhausted="fail"),
        "conversation_id": CONVERSATION,
    } | changes
    return Plan(**fields)


def started_fact(attempt: int = 1, worker: str = WORKER) -> TaskStarted:
    """An executor takes a task."""
    return TaskStarted(
        attempt=attempt, worker=worker, host=HOST, boot_id=BOOT, pid=4242, start_ticks=99, sandbox="landlock"
    )


def executed_fact(lease: str, attempt: int = 1, seconds: float = 12.5) -> TaskExecuted:
    """The command ended well."""
    return TaskExecuted(
        attempt=attempt, lease=lease, usage=Usage(seconds=seconds, cpu_seconds=3.25, max_rss=1 << 20),
        base=BASE, commit="c0de" * 10, tree="7ee0" * 10, output=OUTPUT, tail="ok\n",
    )  # fmt: skip


def failed_fact(lease: str, attempt: int = 1, reason: str = "exit code 2") -> AttemptFailed:
    """The command ended badly."""
    return AttemptFailed(
        attempt=attempt, lease=lease, reason=reason, exit_code=2, usage=Usage(seconds=4.0), output=OUTPUT
    )


def result(passed: bool = True, criterion: str = "c1") -> Result:
    """A criterion's verdict."""
    return Result(
        criterion=criterion, kind="command", text="make test passes", result="pass" if passed else "fail",
        exit_code=0 if passed else 1, seconds=1.5, evidence=Artifact(sha256="0e" * 32, size=64, total=64),
    )  # fmt: skip


def verified_fact(lease: str, attempt: int = 1) -> TaskVerified:
    """The verifier says yes."""
    return TaskVerified(
        attempt=attempt, lease=lease, tree="7ee1" * 10, commit="c0d1" * 10, head="c0d1" * 10, results=(result(),)
    )


def rejected_fact(lease: str, attempt: int = 1, reason: str = "make test failed") -> AttemptRejected:
    """The verifier says no."""
    return AttemptRejected(attempt=attempt, lease=lease, reason=reason, results=(result(passed=False),))


def counted(
    verdict: TaskVerified | AttemptRejected, *, passed: int, failed: int, skipped: int = 0
) -> TaskVerified | AttemptRejected:
    """A verdict with one more criterion: tests, in numbers."""
    tests = CountedTests(
        runner="pytest", total=passed + failed + skipped, passed=passed, failed=failed, skipped=skipped
    )  # fmt: skip
    return replace(verdict, results=(*verdict.results, replace(result(not failed, "c2"), kind="tests", tests=tests)))


def recorded(
    fact: Any,
    entity: str | None = None,
    *,
    sequence: int = 1,
    at_ns: int = START_NS,
    tenant: str = TENANT,
    execution: str = EXECUTION_ID,
    cause: str = "",
    correlation: str = CONVERSATION,
    actor: str = "",
    ordinal: int = 0,
    standing: Standing = "ok",
    reason: str = "",
) -> Recorded:
    """A message of the log that carries this fact. The entity of a task's fact must be named, others know theirs."""
    name = type(fact).__name__
    entry = CATALOGUE[name]
    where = entity if entity is not None else _ENTITY[entry.on]
    attempt = getattr(fact, "attempt", 0) or 0
    return Recorded(
        sequence=sequence,
        at_ns=at_ns,
        subject=f"evt.{tenant}.{execution}.{entity_token(where)}.{name}",
        tenant=tenant,
        execution=execution,
        entity=where,
        name=name,
        id=event_id(
            cause=cause, name=name, tenant=tenant, execution=execution, entity=where, attempt=attempt, ordinal=ordinal
        ),
        cause=cause,
        correlation=correlation,
        actor=actor or entry.by[0],
        attempt=attempt,
        fact=fact if standing == "ok" else None,
        standing=standing,
        reason=reason,
        body=msgspec.json.encode(fact),
    )


class Story:
    """Tells what happens to one execution. Several stories may share a counter: they are then one log."""

    def __init__(
        self,
        tenant: str = TENANT,
        execution: str = EXECUTION_ID,
        *,
        sequence: Iterator[int] | None = None,
        records: list[Recorded] | None = None,
    ) -> None:
        self.tenant = tenant
        self.execution = execution
        self.sequence = sequence if sequence is not None else count(1)
        self.records: list[Recorded] = records if records is not None else []
        self.plan = plan()
        self.lease: dict[str, str] = {}
        """The newest lease of each task."""

    def another(self, tenant: str, execution: str) -> Story:
        """The story of another execution in the same log."""
        return Story(tenant, execution, sequence=self.sequence, records=self.records)

    def say(self, fact: Any, entity: str | None = None, *, cause: Recorded | str = "", **more: Any) -> Recorded:
        """The next message: one second after the one before it; caused by the one before it unless told otherwise."""
        sequence = next(self.sequence)
        before = self.records[-1].id if self.records else ""
        message = recorded(
            fact,
            entity,
            sequence=sequence,
            at_ns=START_NS + sequence * SECOND,
            tenant=self.tenant,
            execution=self.execution,
            cause=(cause.id if isinstance(cause, Recorded) else cause) or before,
            **more,
        )
        if isinstance(fact, TaskStarted):
            self.lease[message.entity] = message.id
        self.records.append(message)
        return message

    def noise(self, body: bytes, name: str = "TaskVerified", entity: str = "1", reason: str = "garbage") -> Recorded:
        """The next message is none of ours and was set aside."""
        sequence = next(self.sequence)
        message = Recorded(
            sequence=sequence, at_ns=START_NS + sequence * SECOND, tenant=self.tenant, execution=self.execution,
            subject=f"evt.{self.tenant}.{self.execution}.{entity_token(entity)}.{name}", entity=entity, name=name,
            standing="quarantined", reason=reason, body=body,
        )  # fmt: skip
        self.records.append(message)
        return message

    def submit(self, what: Plan | None = None, actor: str = f"{TENANT}/ada") -> Recorded:
        """Somebody hands the plan over."""
        self.plan = what or self.plan
        return self.say(
            PlanSubmitted(plan={"title": self.plan.title}, conversation_id=CONVERSATION, request=self.execution),
            actor=actor,
        )

    def accept(self) -> Recorded:
        """The plan is accepted, the branch made and the execution started."""
        self.say(PlanAccepted(plan=self.plan, digest="d1" * 32, requested_by=f"{TENANT}/ada"))
        self.say(BranchCreated(name=f"nightshift/{self.execution}", repository=REPOSITORY, base=BASE))
        done = sum(t.status in ("completed", "skipped") for t in self.plan.tasks)
        return self.say(ExecutionStarted(tasks=len(self.plan.tasks) - done, satisfied=done))

    def start(self, task: str = "1", attempt: int = 1) -> Recorded:
        """A task becomes ready and an executor takes it."""
        self.say(TaskReady(attempt=attempt), task)
        return self.say(started_fact(attempt), task)

    def fail(self, task: str = "1", attempt: int = 1, *, again: bool = True) -> None:
        """The attempt that runs fails; the planner retries it, or gives the task up."""
        self.say(failed_fact(self.lease[task], attempt), task)
        if again:
            self.say(
                RetryScheduled(attempt=attempt + 1, delay=1.5, at="2026-09-21T15:00:00Z", reason="exit code 2"), task
            )
        else:
            self.say(TaskFailed(attempts=attempt, reason="exit code 2"), task)

    def verify(self, task: str = "1", attempt: int = 1, seconds: float = 12.5) -> Recorded:
        """The attempt that runs ends well, is verified and lands."""
        self.say(executed_fact(self.lease[task], attempt, seconds), task)
        verified = self.say(verified_fact(self.lease[task], attempt), task)
        return self.say(
            BranchAdvanced(task=task, base=BASE, commit="c0d1" * 10, tree="7ee1" * 10, verified=verified.id)
        )

    def complete(self) -> Recorded:
        """Every task is verified."""
        return self.say(ExecutionCompleted(verified=len(self.plan.tasks)))


def life(story: Story | None = None) -> list[Recorded]:
    """A whole life with a retry, a rejection, garbage and a failure: the messages of one execution that fails."""
    story = story or Story()
    story.submit(plan(task("1"), task("2", needs=("1",)), task("3"), task("0", status="completed")))
    story.accept()
    story.start("1")
    story.fail("1")
    story.noise(b'{"attempt": 1, "lease": "x"}')
    story.start("1", 2)
    story.say(executed_fact(story.lease["1"], 2), "1")
    rejected = rejected_fact(story.lease["1"], 2)
    counted = replace(rejected.results[0], tests=CountedTests(runner="pytest", total=3, passed=2, failed=1))
    story.say(replace(rejected, results=(counted,)), "1")
    story.say(RetryScheduled(attempt=3, delay=3.0, at="2026-09-21T15:00:03Z", reason="make test failed"), "1")
    story.start("3")
    story.start("1", 3)
    story.verify("1", 3)
    story.start("2")
    story.noise(b"\xff\xfe not JSON")
    story.verify("2")
    story.fail("3", again=False)
    story.say(ExecutionFailed(reason="1 task failed", verified=2, failed=("3",)))
    return story.records


def in_batches(records: Sequence[Recorded], size: int) -> list[Sequence[Recorded]]:
    """The same messages, so many at a time."""
    return [records[start : start + size] for start in range(0, len(records), size)]
