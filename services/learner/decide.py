"""What the learner decides: pure, on a fold, a task's history, and what its attempts printed and changed."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from statistics import median
from typing import Any, Literal

import msgspec

from events.fold import ExecutionFold
from events.lesson import FileOperation, LessonLearned, Recommended, Resolution, Similar, Trouble, Try
from events.log import Recorded
from events.machines import EXECUTION
from events.task import Artifact, AttemptFailed, AttemptTimedOut, TaskBlocked, TaskDelivered, TaskExecuted, TaskFailed
from events.verdict import AttemptRejected, Result, TaskVerified
from schemas.values import Task
from services.learner import extract
from services.learner.normal import excerpt

Due = Literal["lesson", "recommendation", "nothing"]
Pair = tuple[str, str]
"""Two commits, from and to."""

TRIES = 5
"""Attempts that a lesson looks at, from the last one back."""
FILES = 50
DESCRIPTION = 1000
"""Characters of a task's description that a lesson keeps."""
RECOMMENDED = 100
"""Tasks of a plan that are looked up."""
SHOWN = 5
"""Commands and errors that a recommendation shows of each execution."""
_NAMESPACE = uuid.UUID("6f2c1d0e-6c65-5f73-a5c0-6e6967687473")


@dataclass(frozen=True, slots=True)
class Attempt:
    """What the log says about one attempt."""

    number: int
    outcome: Literal["verified", "rejected", "failed", "timed_out"]
    reason: str = ""
    seconds: float | None = None
    output: Artifact | None = None
    tail: str = ""
    base: str | None = None
    commit: str | None = None
    results: tuple[Result, ...] = ()
    by_hand: bool = False
    """A person delivered it: nothing of the plan was run."""


@dataclass(frozen=True, slots=True)
class Found:
    """What was found beside the log. A pair that is missing could not be compared."""

    outputs: Mapping[int, str] = field(default_factory=dict)
    """What attempts printed, by number."""
    changes: Mapping[Pair, Sequence[FileOperation]] = field(default_factory=dict)


def due(fold: ExecutionFold, trigger: Recorded) -> Due:
    """What a trigger asks for, unless it has been dealt with. What is over needs no recommendation."""
    if fold.plan is None or not trigger.id or trigger.id in fold.learned:
        return "nothing"
    if trigger.name == "PlanAccepted":
        return "nothing" if fold.state in EXECUTION.final else "recommendation"
    task = fold.tasks.get(trigger.entity)
    if task is None or task.spec.noop or not isinstance(trigger.fact, (TaskVerified, TaskFailed, TaskBlocked)):
        return "nothing"
    return "lesson"


def attempts(history: Sequence[Recorded], end: Recorded) -> list[Attempt]:
    """The last attempts at a task up to its end, in order. Interrupted ones do not count: the engine ended them."""
    found: dict[int, Attempt] = {}
    executed: TaskExecuted | TaskDelivered | None = None
    for recorded in history:
        if recorded.sequence > end.sequence or recorded.standing != "ok":
            continue
        fact = recorded.fact
        match fact:
            case TaskExecuted() | TaskDelivered():
                executed = fact
            case AttemptFailed() | AttemptTimedOut():
                late = isinstance(fact, AttemptTimedOut)
                found[fact.attempt] = Attempt(
                    fact.attempt, "timed_out" if late else "failed",
                    f"took longer than {fact.limit:g} s" if isinstance(fact, AttemptTimedOut) else fact.reason,
                    fact.usage.seconds if fact.usage else None, fact.output, fact.tail,
                )  # fmt: skip
            case AttemptRejected() | TaskVerified() if executed is not None and executed.attempt == fact.attempt:
                found[fact.attempt] = _judged(executed, fact)
    return [found[number] for number in sorted(found)][-TRIES:]


def _judged(executed: TaskExecuted | TaskDelivered, verdict: AttemptRejected | TaskVerified) -> Attempt:
    ran = executed if isinstance(executed, TaskExecuted) else None
    return Attempt(
        executed.attempt, "verified" if isinstance(verdict, TaskVerified) else "rejected",
        verdict.reason if isinstance(verdict, AttemptRejected) else "",
        ran.usage.seconds if ran else None, ran.output if ran else None, ran.tail if ran else "",
        executed.base, executed.commit, verdict.results, by_hand=ran is None,
    )  # fmt: skip


def comparisons(tries: Sequence[Attempt]) -> set[Pair]:
    """The commits that must be compared to say what the attempts changed."""
    if not tries:
        return set()
    last = tries[-1]
    pairs = {(last.base, last.commit)}
    if last.outcome == "verified":
        pairs |= {(bad.commit, last.commit) for bad in tries[:-1] if bad.commit}
    return {(a, b) for a, b in pairs if a and b and a != b}


def lesson(fold: ExecutionFold, end: Recorded, tries: Sequence[Attempt], found: Found) -> LessonLearned:
    """What the attempts at a task taught."""
    spec = fold.tasks[end.entity].spec
    success = isinstance(end.fact, TaskVerified)
    last = tries[-1] if tries else None
    texts = {t.number: found.outputs.get(t.number, t.tail) for t in tries}
    commands = {t.number: () if t.by_hand else _commands(spec, texts[t.number]) for t in tries}
    told = [_try(t, texts[t.number]) for t in tries]
    changed = list(found.changes.get((last.base or "", last.commit or ""), ())) if last else []
    return LessonLearned(
        task=spec.id,
        attempt=last.number if last else fold.tasks[end.entity].attempt,
        end=end.id,
        ended_at=_time(end.at_ns),
        title=excerpt(spec.title or spec.id),
        description=excerpt(spec.description or spec.prompt, DESCRIPTION),
        task_type="agent" if spec.agent else "run" if spec.run else "check",
        tool=extract.tool_of(spec.agent or spec.run or ""),
        success=success,
        outcome="verified" if success else "failed" if isinstance(end.fact, TaskFailed) else "blocked",
        duration_seconds=last.seconds if last else None,
        total_seconds=round(sum(t.seconds or 0.0 for t in tries), 6),
        conversation_id=fold.plan.conversation_id if fold.plan else None,
        tries=tuple(told),
        commands=commands[last.number] if last else _commands(spec, ""),
        warnings=extract.warnings(texts[last.number]) if last else (),
        file_operations=tuple(changed[:FILES]),
        files_changed=len(changed),
        api_calls=extract.api_calls(commands[last.number], texts[last.number]) if last else (),
        resolutions=tuple(_resolutions(spec, tries, told, commands, found)) if success else (),
    )


def _commands(spec: Task, output: str) -> tuple[str, ...]:
    """What the plan says is run; for an agent, what its output shows."""
    return extract.script(spec.run) if spec.run else extract.shown(output)


def _try(attempt: Attempt, output: str) -> Try:
    errors: tuple[Trouble, ...] = ()
    if attempt.outcome != "verified":
        said = [f"{r.detail or r.text}" for r in attempt.results if r.result == "fail"]
        errors = extract.errors("\n".join([output, *said]), attempt.reason)
    return Try(
        attempt=attempt.number, outcome=attempt.outcome, reason=excerpt(attempt.reason), seconds=attempt.seconds,
        errors=errors,
    )  # fmt: skip


def _resolutions(
    spec: Task, tries: Sequence[Attempt], told: Sequence[Try], commands: Mapping[int, tuple[str, ...]], found: Found
) -> list[Resolution]:
    """For each error of an earlier attempt: what was different when it went well. The newest showing of it counts.

    A plan's command is the same each time; so only an agent or a person can have changed something.
    """
    good = tries[-1]
    same = bool(spec.run) and not good.by_hand
    solved: dict[str, Resolution] = {}
    for bad, shown in zip(tries[:-1], told[:-1], strict=True):
        before = bad.commit or ("" if same else good.base or "")
        changes = found.changes.get((before, good.commit or ""), ())
        new = tuple(c for c in commands[good.number] if c not in commands[bad.number])
        for error in shown.errors:
            solved[error.signature] = Resolution(
                signature=error.signature, text=error.text, failed=bad.number, solved=good.number,
                kind="changed" if not same and (changes or new) else "repeated",
                files=tuple(changes[:FILES]), commands=new,
            )  # fmt: skip
    return list(solved.values())


def point_id(tenant: str, execution: str, task: str, attempt: int) -> str:
    """The id of a lesson's point: a UUID (version 5) of what it is about (CONTRACTS C22)."""
    return str(uuid.uuid5(_NAMESPACE, "\x00".join((tenant, execution, task, str(attempt)))))


def text_of(title: str, description: str, outcome: str = "") -> str:
    """What is embedded: the task and its outcome; without the outcome for a task that has none yet."""
    return "\n".join(part for part in (title, description, f"outcome: {outcome}" if outcome else "") if part)


def question(spec: Task) -> str:
    """What a task of a new plan is looked up by."""
    return text_of(spec.title or spec.id, excerpt(spec.description or spec.prompt, DESCRIPTION))


def estimate(similar: Sequence[Similar]) -> float | None:
    """Seconds to expect: the median of those that went well."""
    took = [s.duration for s in similar if s.success and s.duration is not None]
    return round(median(took), 3) if took else None


def recommended(task: str, similar: Sequence[Similar]) -> Recommended:
    """What is known about one task."""
    return Recommended(task=task, similar=tuple(similar), estimate=estimate(similar))


def _time(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns // 1000 / 1e6, UTC).isoformat(timespec="milliseconds")


def payload(tenant: str, execution: str, lesson: LessonLearned) -> dict[str, Any]:
    """What a point carries: the founding document's fields, and what finding and judging it needs (CONTRACTS C22)."""
    errors = {error.signature: error.text for one in lesson.tries for error in one.errors}
    return {
        "conversation_id": lesson.conversation_id,
        "task_title": lesson.title,
        "task_type": lesson.task_type,
        "success": lesson.success,
        "duration_seconds": lesson.duration_seconds,
        "commands": list(lesson.commands),
        "errors": list(errors.values()),
        "timestamp": lesson.ended_at,
        "warnings": list(lesson.warnings),
        "file_operations": [f"{change.status} {change.path}" for change in lesson.file_operations],
        "api_calls": list(lesson.api_calls),
        "execution_id": execution,
        "tenant": tenant,
        "task": lesson.task,
        "attempt": lesson.attempt,
        "outcome": lesson.outcome,
        "tool": lesson.tool,
        "signatures": list(errors),
        "resolutions": [msgspec.to_builtins(resolution) for resolution in lesson.resolutions],
    }


def similar_of(point: Mapping[str, Any], similarity: float) -> Similar:
    """A point that was found, as it is recommended."""
    return Similar(
        execution_id=point["execution_id"], task=point["task"], attempt=point["attempt"], similarity=similarity,
        task_title=point["task_title"], success=point["success"], duration=point["duration_seconds"],
        commands=tuple(point["commands"][:SHOWN]), errors=tuple(point["errors"][:SHOWN]), timestamp=point["timestamp"],
    )  # fmt: skip


def resolved(signature: str, points: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What helped against an error: equal ways together, those that helped most often first, then the newest."""
    ways: dict[tuple[Any, ...], dict[str, Any]] = {}
    unsolved: list[dict[str, Any]] = []
    text = ""
    for point in sorted(points, key=lambda p: str(p["timestamp"]), reverse=True):
        where = {key: point[key] for key in ("execution_id", "task", "task_title", "timestamp")}
        found = next((r for r in point["resolutions"] if r["signature"] == signature), None)
        text = text or (dict(zip(point["signatures"], point["errors"], strict=True))[signature])
        if found is None:
            unsolved.append(where)
            continue
        files = [f"{change['status']} {change['path']}" for change in found["files"]]
        key = (found["kind"], tuple(files), tuple(found["commands"]))
        way = ways.setdefault(
            key, {"kind": found["kind"], "files": files, "commands": list(found["commands"]), "worked": 0, "where": []}
        )
        way["worked"] += 1
        way["where"].append(where | {"failed_attempt": found["failed"], "solved_attempt": found["solved"]})
    return {
        "signature": signature,
        "error": text,
        "resolutions": sorted(ways.values(), key=lambda way: -int(way["worked"])),
        "unresolved": unsolved,
    }
