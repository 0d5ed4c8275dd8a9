"""Make a report from an execution's history: one pass, pure, no clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from events.branch import BranchAdvanced
from events.fold import ExecutionFold
from events.log import Recorded
from events.verdict import AttemptRejected, TaskVerified
from projections.report.model import Check, Choice, Report, Span, TaskLine, plural
from schemas.names import EXECUTION, INBOX, NOTICES

ENDS = {
    "AttemptFailed": "failed", "AttemptTimedOut": "timed out", "TaskInterrupted": "interrupted",
    "LeaseExpired": "interrupted", "TaskCancelled": "cancelled",
}  # fmt: skip
CHOICES = {
    "PlanAccepted": "accepted the plan", "PlanRejected": "rejected the plan", "RequestRefused": "refused a request",
    "RetryScheduled": "try again", "TaskFailed": "gave the task up", "TaskBlocked": "asked for help",
    "TaskSkipped": "skipped", "TaskHeld": "held", "TaskInterrupted": "interrupted", "LeaseExpired": "took it back",
    "StaleResultRefused": "refused a late result", "ApprovalRequested": "asked a person",
    "ApprovalRecorded": "recorded an answer", "ExecutionPausing": "paused", "ExecutionResumed": "went on",
    "ExecutionReopened": "tried again what was given up", "ExecutionCancelling": "cancelled",
    "ExecutionBlocked": "waits for help", "ApprovalAwaited": "waits for a person", "StopPointSet": "set a stop point",
    "ExecutionFailed": "gave the execution up", "DeadLettered": "gave up reacting",
    "TasksGivenUp": "gave up what was blocked", "TaskTaken": "took it over", "TaskReturned": "handed it back",
    "RollbackBegun": "began a rollback", "BranchRolledBack": "rolled back",
    "DeadLetterReleased": "let it be tried again", "DecisionMade": "decided", "RecommendationMade": "recommended",
    "HealthWarned": "warned",
}  # fmt: skip
"""What counts as a decision, by the name of the event, whether or not this version has its class."""
MEASURES = ("tokens", "input_tokens", "output_tokens", "cost", "cost_usd", "api_calls")


def build(tenant: str, execution: str, history: Iterable[Recorded]) -> Report:
    """The report as of the end of a history. Raises ValueError if no plan was ever handed over in it."""
    fold = ExecutionFold(tenant, execution)
    spans: dict[str, list[Span]] = {}
    bodies: dict[str, dict[str, Any]] = {}
    ended = 0
    report = Report(tenant=tenant, execution=execution, title="", state="")
    landed: dict[str, str] = {}
    for recorded in history:
        fold.apply(recorded)
        if recorded.standing != "ok":
            continue
        said: dict[str, Any] = msgspec.to_builtins(recorded.fact)
        if recorded.entity == NOTICES:
            _notice(report, recorded, said)
            continue
        if recorded.entity != INBOX:
            ended = max(ended, recorded.at_ns)
        if recorded.name in CHOICES:
            report.choices.append(_choice(recorded, said))
        if isinstance(recorded.fact, BranchAdvanced):
            landed[recorded.fact.task] = recorded.fact.commit
        elif recorded.entity in fold.tasks:
            _attempt(spans.setdefault(recorded.entity, []), recorded, said)
            body = bodies.setdefault(recorded.entity, {})
            _gather(body, recorded, said)
            _usage(report, said)
        elif recorded.name == "ExecutionCancelled":
            _close(spans, recorded.at_ns)
    if fold.submission is None and fold.plan is None:
        raise ValueError(f"no plan was handed over under {execution}")
    _head(report, fold, ended)
    report.tasks = [_line(fold, name, spans.get(name, []), bodies.get(name, {}), landed) for name in fold.tasks]
    report.needs = [*_needs(report, fold), *report.needs]
    report.resolved = _resolved(report)
    return report


def _head(report: Report, fold: ExecutionFold, ended: int) -> None:
    submission = fold.submission
    report.state, report.reason, report.ended = fold.state, fold.reason, ended
    report.submitted = submission.at_ns if submission is not None else 0
    report.requested_by = submission.actor if submission is not None else ""
    report.conversation = fold.correlation if fold.correlation != fold.id else ""
    if fold.plan is not None:
        report.title, report.format = fold.plan.title, fold.plan.format
        report.files = tuple(source.path for source in fold.plan.files)
    report.title = report.title or f"Execution {fold.id[:8]}"
    if fold.created is not None:
        report.branch, report.base, report.head = fold.created.name, fold.created.base, fold.head or ""
        report.repository = fold.created.source or ""


def _attempt(spans: list[Span], recorded: Recorded, said: Mapping[str, Any]) -> None:
    if recorded.name == "TaskStarted":
        spans.append(Span(attempt=int(said.get("attempt", 0)), start=recorded.at_ns))
    elif not spans:
        return
    elif recorded.name == "TaskExecuted":
        spans[-1].outcome, spans[-1].end = "executed", recorded.at_ns
    elif recorded.name in ("TaskVerified", "AttemptRejected") and spans[-1].outcome == "executed":
        spans[-1].outcome = "verified" if recorded.name == "TaskVerified" else "rejected"
        spans[-1].end = recorded.at_ns
        spans[-1].reason = str(said.get("reason") or "")
    elif recorded.name in ENDS and spans[-1].end is None:
        spans[-1].outcome, spans[-1].end = ENDS[recorded.name], recorded.at_ns
        limit = said.get("limit")
        spans[-1].reason = str(said.get("reason") or (f"took longer than {limit:g} s" if limit else ""))


def _close(spans: Mapping[str, list[Span]], at_ns: int) -> None:
    for each in spans.values():
        if each and each[-1].end is None:
            each[-1].outcome, each[-1].end = "cancelled", at_ns


def _gather(body: dict[str, Any], recorded: Recorded, said: Mapping[str, Any]) -> None:
    """What is kept of a task's own events."""
    usage = said.get("usage") or {}
    body["seconds"] = body.get("seconds", 0.0) + float(usage.get("seconds") or 0.0)
    if said.get("output"):
        body["output"] = said["output"]["sha256"]
    if recorded.name == "TaskSkipped":
        body["skipped"] = said["reason"]
    if said.get("tail"):
        body["tail"] = str(said["tail"])
    fact = recorded.fact
    if isinstance(fact, TaskVerified | AttemptRejected):
        body["evidence"] = fact.evidence.sha256 if fact.evidence is not None else ""
        body["checks"] = [
            Check(
                text=r.text, result=r.result, detail=r.detail, evidence=r.evidence.sha256 if r.evidence else "",
                size=r.evidence.size if r.evidence else 0,
            )
            for r in fact.results
        ]  # fmt: skip


def _usage(report: Report, said: Mapping[str, Any]) -> None:
    usage = said.get("usage") or {}
    report.cpu += float(usage.get("cpu_seconds") or 0.0)
    report.memory = max(report.memory, int(usage.get("max_rss") or 0))
    for name in MEASURES:
        if isinstance(usage.get(name), int | float):
            report.measures[name] = report.measures.get(name, 0.0) + float(usage[name])


def _line(
    fold: ExecutionFold, name: str, spans: list[Span], body: Mapping[str, Any], landed: Mapping[str, str]
) -> TaskLine:
    task = fold.tasks[name]
    for span in spans[:-1]:
        if span.outcome == "executed":
            span.outcome = "rejected"
    verified = task.verified if task.state == "verified" else None
    reason = task.reason or fold.doomed.get(name, "")
    if task.state == "skipped":
        reason = str(body.get("skipped") or reason)
    return TaskLine(
        id=name, title=task.spec.title or name, state=task.state, phase=task.spec.phase or "",
        attempts=len(spans), seconds=float(body.get("seconds", 0.0)), reason=reason,
        accepted=verified.accepted if verified is not None else "", commit=landed.get(name, "") if verified else "",
        checks=list(body.get("checks", ())), evidence=str(body.get("evidence", "")), output=str(body.get("output", "")),
        tail=str(body.get("tail", "")), spans=spans,
    )  # fmt: skip


def _choice(recorded: Recorded, said: Mapping[str, Any]) -> Choice:
    what = CHOICES[recorded.name]
    if recorded.name == "ApprovalRecorded":
        what = "yes" if said.get("granted") else "no"
    elif recorded.name == "RetryScheduled":
        what = f"try again after {said.get('delay', 0):g} s"
    why = next(
        (str(said[k]) for k in ("reason", "rationale", "question", "notes", "because", "what") if said.get(k)), ""
    )
    if recorded.name == "PlanRejected":
        why = "; ".join(str(p.get("message")) for p in said.get("problems", ()))
    who = str(said.get("by") or said.get("requested_by") or recorded.actor.partition("@")[0])
    task = "" if recorded.entity.startswith("~") or recorded.entity == EXECUTION else recorded.entity
    return Choice(recorded.at_ns, task or str(said.get("task") or ""), what, why, who)


def _notice(report: Report, recorded: Recorded, said: Mapping[str, Any]) -> None:
    if recorded.name == "NoticeFailed" and said.get("given_up"):
        report.needs.append(
            f"The channel {said['channel']} did not take {plural(len(said['about']), 'notice')}: {said['reason']}."
        )


def _needs(report: Report, fold: ExecutionFold) -> list[str]:
    needs = [
        f"{task.name} {'failed' if task.state == 'failed' else 'is blocked'} "
        f"after {plural(task.attempts, 'attempt')}: "
        f"{task.reason or 'no reason was given'}."
        for task in report.tasks
        if task.state in ("failed", "blocked")
    ]
    for name, asking in fold.tasks.items():
        if asking.question is not None:
            question = getattr(asking.question.fact, "question", "")
            title = f" ({asking.spec.title})" if asking.spec.title not in ("", name) else ""
            needs.append(f"{name}{title} waits for an answer: {question}")
    taken = [t.id for t in report.tasks if t.state == "taken"]
    if taken:
        needs.append(f"In a person's hands: {_named(taken)}. Hand the work back, or the task.")
    weak = [t.id for t in report.tasks if t.accepted == "policy"]
    if weak:
        needs.append(f"Accepted by policy, without any check: {_named(weak)}. Look at what they did.")
    skipped = [t.id for t in report.tasks if t.state == "skipped"]
    if skipped:
        needs.append(f"Not run because of others: {_named(skipped)}.")
    if report.state in ("paused", "blocked", "awaiting_approval"):
        needs.append(
            f"The execution is {report.state.replace('_', ' ')}: {report.reason or 'somebody has to go on with it'}."
        )
    if report.state == "rejected":
        needs += [choice.why for choice in report.choices if choice.what == "rejected the plan"]
    return needs


def _named(names: list[str]) -> str:
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")


def _resolved(report: Report) -> list[str]:
    """Attempts that went wrong in tasks that are verified now."""
    found = []
    for task in report.tasks:
        wrong = [s for s in task.spans if s.outcome in ("failed", "rejected", "timed out", "interrupted")]
        if wrong and task.state == "verified":
            last = wrong[-1]
            found.append(
                f"{task.name}: attempt {last.attempt} {last.outcome}"
                f"{f' ({last.reason})' if last.reason else ''}; attempt {task.spans[-1].attempt} was verified."
            )
    return found
