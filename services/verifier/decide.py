"""What the verifier decides: pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Literal

from events.fold import ExecutionFold, TaskFold
from events.task import ApprovalRequested, TaskExecuted
from events.verdict import AttemptRejected, Result
from schemas.gates import asks_after, asks_nobody
from schemas.values import Criterion
from services.safety.answer import why_asked

MAX_CONFLICTS = 10
"""Conflicts of one task after which the next one counts as a failed attempt: it may be what makes them."""
Step = Literal["judge", "ask", "denied", "refuse", "nothing"]


def automatic(task: TaskFold) -> list[Criterion]:
    """The criteria that need nobody."""
    return [c for c in task.spec.verify if c.kind != "manual"]


def manual(task: TaskFold) -> list[Criterion]:
    """The criteria that only a person can judge."""
    return [c for c in task.spec.verify if c.kind == "manual"]


def needs_word(fold: ExecutionFold, task: TaskFold) -> bool:
    """Whether a person must say yes: a manual criterion, or an agent's work without any criterion at all."""
    assert fold.plan is not None
    if asks_after(fold.plan, task.spec):
        return True
    if fold.plan.policy.unverified == "accept":
        return False
    if manual(task):
        return True
    if task.delivered:
        return False  # whoever made it stands for it
    return not task.spec.noop and not task.spec.verify and (bool(task.spec.agent) or not task.spec.run)


def next_step(fold: ExecutionFold, task: TaskFold | None) -> Step:
    """What to do about a task now."""
    if task is None or task.state != "executed" or task.question is not None or fold.state == "cancelling":
        return "nothing"
    if task.granted is not None and not task.granted.granted:
        return "denied"
    if needs_word(fold, task) and task.granted is None:
        return "refuse" if fold.plan is not None and asks_nobody(fold.plan) else "ask"
    return "judge"


def exit_result(executed: TaskExecuted) -> Result:
    """A shell command's own exit code, as the criterion it always has."""
    return Result(
        criterion="exit", kind="exit", text="the command ends well", result="pass",
        detail=f"exit code {executed.exit_code}", exit_code=executed.exit_code, seconds=executed.usage.seconds,
        evidence=executed.output,
    )  # fmt: skip


def manual_results(task: TaskFold) -> list[Result]:
    """A person's yes, for each criterion that waited for it."""
    if task.granted is None:
        return [
            Result(criterion=c.id, kind="manual", text=c.text, result="skipped", detail="the policy asks nobody")
            for c in manual(task)
        ]
    said = f"{task.granted.by} said yes" + (f": {task.granted.notes}" if task.granted.notes else "")
    return [Result(criterion=c.id, kind="manual", text=c.text, result="pass", detail=said) for c in manual(task)]


def question(fold: ExecutionFold, task: TaskFold, concerns: Sequence[str] = ()) -> ApprovalRequested:
    """What a person is asked, why, and until when. ``concerns``: what the safety policy wants a yes for."""
    seconds = fold.plan.policy.approval_timeout if fold.plan else None
    expires = None
    if seconds is not None:
        expires = datetime.fromtimestamp(fold.now_ns / 1e9 + seconds, UTC).isoformat(timespec="milliseconds")
    checks = (*concerns, *(c.text for c in manual(task)))
    text = f"Is the result of task {task.spec.id} ({task.spec.title or 'untitled'}) good?{why_asked(concerns)}"
    return ApprovalRequested(
        kind="result", question=text, attempt=task.attempt, lease=task.lease, checklist=checks, expires=expires
    )


def reason_of(results: Sequence[Result]) -> str:
    """Why a result does not hold, in one line."""
    failed = [r for r in results if r.result == "fail"]
    more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
    return f"{failed[0].text or failed[0].kind}: {failed[0].detail}{more}"


def unasked(task: TaskFold) -> AttemptRejected:
    """The verdict where a person's word is needed and the policy asks nobody (C5)."""
    wanted = "; ".join(c.text for c in manual(task)) or "nothing else says whether it is good"
    reason = f"it needs a person's word, and approvals: auto asks nobody ({wanted})"
    return replace(rejection(task, reason), retryable=False)


def rejection(task: TaskFold, reason: str, results: Sequence[Result] = ()) -> AttemptRejected:
    """A verdict against an attempt."""
    by = task.taken_by if task.delivered else ""
    return AttemptRejected(
        attempt=task.attempt, lease=task.lease, reason=reason, results=tuple(results), by=by, counts=not by
    )


def conflict(task: TaskFold, files: Sequence[str]) -> AttemptRejected:
    """The verdict where others landed first on the same lines: not the task's fault, up to a bound."""
    verdict = rejection(task, f"it cannot be joined with what landed meanwhile: {', '.join(files)}")
    return replace(verdict, conflict=tuple(files), counts=verdict.counts and task.conflicts >= MAX_CONFLICTS)
