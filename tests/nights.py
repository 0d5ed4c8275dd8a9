"""A long night as a history: many tasks in several phases, with everything that can happen to them."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from events import (
    ApprovalRecorded,
    ApprovalRequested,
    Artifact,
    AttemptTimedOut,
    BranchAdvanced,
    ExecutionFailed,
    NoticeFailed,
    RetryScheduled,
    TaskFailed,
    TaskInterrupted,
    TaskReady,
    TaskSkipped,
    TaskVerified,
    Told,
    Usage,
)
from events.log import Recorded
from schemas.names import NOTICES
from schemas.values import Phase, Source
from tests.controls import (
    BASE,
    OUTPUT,
    SECOND,
    START_NS,
    Story,
    executed_fact,
    failed_fact,
    plan,
    rejected_fact,
    started_fact,
    task,
    verified_fact,
)

TITLES = (
    "Read the schema of the old service", "Write the migration", "Move the sessions to Redis", "Port the login form",
    "Add the audit table", "Rewrite the retry loop so that a slow upstream cannot hold every worker",
    "Cover the parser with tests", "Render the invoice as PDF", "Rotate the signing keys", "Document the endpoints",
)  # fmt: skip
PACE = 19
"""Seconds from one event to the next."""


def night(tasks: int = 80, width: int = 4) -> list[Recorded]:
    """Everything that happened to a plan of so many tasks, ``width`` of them at a time."""
    story = Story()
    specs = [
        task(
            f"{n // 10 + 1}.{n % 10 + 1}", title=TITLES[n % 10], phase=f"p{n // 10}",
            needs=(f"{(n - 10) // 10 + 1}.{n % 10 + 1}",) if n >= 10 else (),
        )
        for n in range(tasks)
    ]  # fmt: skip
    phases = tuple(Phase(id=f"p{n}", title=f"Phase {n + 1}") for n in range((tasks + 9) // 10))
    story.submit(
        plan(*specs, title="Move the billing service off the old framework", phases=phases,
             format="tasks-list", files=(Source(path="docs/tasks_list.md", sha256="5a" * 32),))
    )  # fmt: skip
    story.accept()
    skipped = [s.id for n, s in enumerate(specs) if n % 10 == 7 and n >= 40]
    waiting = [s.id for s in specs if s.id not in skipped]
    lanes: list[list[str]] = [waiting[lane::width] for lane in range(width)]
    steps = [iter([s for name in lane for s in _steps(name)]) for lane in lanes]
    while steps:
        for each in list(steps):
            step = next(each, None)
            if step is None:
                steps.remove(each)
            else:
                _tell(story, *step)
    for name in skipped:
        story.say(TaskSkipped(because="4.8", reason="4.8 is failed"), name)
    verified = tasks - len(skipped) - 1
    story.say(ExecutionFailed(reason="1 task failed: 4.8", verified=verified, failed=("4.8",), skipped=tuple(skipped)))
    told = (Told(key="k" * 32, kind="execution_failed"),)
    story.say(
        NoticeFailed(channel="phone", about=told, reason="the server answers 503", tries=12, given_up=True), NOTICES
    )
    return [replace(r, at_ns=START_NS + (r.sequence - 1) * PACE * SECOND) for r in story.records]


def _steps(name: str) -> list[tuple[str, str, int]]:
    """What happens to one task, as (what, task, attempt)."""
    number = int(name.replace(".", ""))
    start, end = [("ready", name, 1), ("start", name, 1)], ("verify", name, 1)
    if name == "4.8":
        return [
            *start,
            ("fail", name, 1),
            ("ready", name, 2),
            ("start", name, 2),
            ("time out", name, 2),
            ("give up", name, 2),
        ]
    if name == "3.6":
        return [*start, ("done", name, 1), ("ask", name, 1), ("policy", name, 1)]
    if number % 9 == 4:
        return [
            *start,
            ("done", name, 1),
            ("reject", name, 1),
            ("ready", name, 2),
            ("start", name, 2),
            ("done", name, 2),
            ("verify", name, 2),
        ]
    if number % 13 == 5:
        return [*start, ("interrupt", name, 1), ("start", name, 1), ("done", name, 1), end]
    return [*start, *([("wait", name, 1)] * (number % 4)), ("done", name, 1), end]


def _tell(story: Story, what: str, name: str, attempt: int) -> None:
    match what:
        case "ready":
            story.say(TaskReady(attempt=attempt), name)
        case "start":
            story.say(started_fact(attempt), name)
        case "done":
            story.say(executed_fact(story.lease[name], attempt, seconds=PACE * 3.7), name)
        case "verify":
            digest = hashlib.sha256(name.encode()).hexdigest()
            verdict = replace(
                verified_fact(story.lease[name], attempt), evidence=Artifact(sha256=digest, size=9, total=9)
            )
            verified = story.say(verdict, name)
            story.say(BranchAdvanced(task=name, base=BASE, commit="c0d1" * 10, tree="7ee1" * 10, verified=verified.id))
        case "policy":
            story.say(
                TaskVerified(
                    attempt=attempt,
                    lease=story.lease[name],
                    tree=None,
                    commit=None,
                    head=None,
                    results=(),
                    accepted="policy",
                ),
                name,
            )
        case "ask":
            asked = story.say(ApprovalRequested(kind="result", question="Is it good?", attempt=1), name)
            story.say(
                ApprovalRecorded(approval=asked.id, granted=True, by="acme/ada", notes="looks <b>right</b>", attempt=1),
                name,
            )
        case "reject":
            story.say(rejected_fact(story.lease[name], attempt), name)
            _again(story, name, attempt)
        case "fail":
            story.say(replace(failed_fact(story.lease[name], attempt), tail="Traceback: <invoice> | is None\n"), name)
            _again(story, name, attempt)
        case "time out":
            usage = Usage(seconds=PACE * 9.0, cpu_seconds=4.0, max_rss=300 << 20)
            story.say(
                AttemptTimedOut(
                    attempt=attempt,
                    lease=story.lease[name],
                    limit=120.0,
                    usage=usage,
                    output=OUTPUT,
                    tail="still <at> it\n",
                ),
                name,
            )
        case "give up":
            story.say(TaskFailed(attempts=attempt, reason="took longer than 120 s"), name)
        case "interrupt":
            story.say(
                TaskInterrupted(attempt=attempt, lease=story.lease[name], reason="executor-2 on night-host died"), name
            )
        case "wait":
            story.say(NoticeFailed(channel="phone", about=(), reason="busy", tries=1, given_up=False), NOTICES)


def _again(story: Story, name: str, attempt: int) -> None:
    story.say(
        RetryScheduled(attempt=attempt + 1, delay=1.5, at="2026-09-21T15:00:00Z", reason="make test failed"), name
    )
