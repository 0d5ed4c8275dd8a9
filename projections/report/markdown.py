"""A report as markdown."""

from __future__ import annotations

import re

from projections.report.model import Report, TaskLine, clock, duration, measured, moment, plural, verdict

MARKS = {
    "verified": "✓", "satisfied": "=", "failed": "✗", "blocked": "■", "skipped": "–", "cancelled": "×", "running": "▶",
}  # fmt: skip
CHOICES_SHOWN = 200
_SPECIAL = re.compile(r"([\\`*_\[\]|#])")


def plain(text: str) -> str:
    """Any text, in one line, as it is: nothing in it is markup."""
    escaped = _SPECIAL.sub(r"\\\1", " ".join(text.split()))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def markdown(report: Report) -> str:
    """The whole report."""
    parts = [f"# {plain(report.title)}: {report.state.replace('_', ' ')}", verdict(report)]
    if report.reason:
        parts.append(f"Why: {plain(report.reason)}")
    if report.needs:
        parts += ["## What needs a person", _list(report.needs)]
    parts += ["## What was asked", _list(_asked(report), escape=False)]
    wrong = [task for task in report.tasks if task.state not in ("verified", "satisfied")]
    if wrong:
        parts += ["## Not verified, and why", _tasks(wrong)]
    fine = [task for task in report.tasks if task.state in ("verified", "satisfied")]
    if fine:
        parts += ["## Verified", _tasks(fine)]
    if report.resolved:
        parts += ["## Errors that were resolved", _list(report.resolved)]
    parts += ["## Usage", _list(_usage(report), escape=False)]
    if report.choices:
        rows = [
            f"| {clock(c.at)} | {plain(c.task)} | {plain(c.what)} | {plain(c.why)} | {plain(c.who)} |"
            for c in report.choices[:CHOICES_SHOWN]
        ]
        head = ["| at (UTC) | task | decision | why | who |", "|---|---|---|---|---|"]
        left = len(report.choices) - len(rows)
        parts += ["## Decisions", "\n".join([*head, *rows]), *([f"… and {left} more."] if left else [])]
    return "\n\n".join(parts) + "\n"


def _list(lines: list[str], *, escape: bool = True) -> str:
    return "\n".join(f"- {plain(line) if escape else line}" for line in lines)


def _asked(report: Report) -> list[str]:
    lines = [
        f"Execution `{report.execution}` of {plain(report.tenant)}, "
        f"handed over by {plain(report.requested_by)} at {moment(report.submitted)}",
        f"{plural(len(report.tasks), 'task')}, read as {plain(report.format or 'nothing')}"
        + (f" from {plain(', '.join(report.files[:5]))}" if report.files else ""),
    ]
    if report.branch:
        lines.append(f"Branch `{report.branch}` from `{report.base[:12]}` to `{report.head[:12]}`")
    return lines


def _usage(report: Report) -> list[str]:
    return [
        f"{plural(report.attempts, 'attempt')}, {duration(report.busy)} of work within {duration(report.seconds)}",
        f"{duration(report.cpu)} of processor time, at most {report.memory / 2**20:.0f} MiB at once",
        *(f"{name.replace('_', ' ')}: {measured(value)}" for name, value in report.measures.items()),
    ]


def _tasks(tasks: list[TaskLine]) -> str:
    head = (
        "| | task | title | state | attempts | took | checks | evidence | why |\n|---|---|---|---|---|---|---|---|---|"
    )
    rows = []
    for task in tasks:
        checks = f"{task.passed}/{len(task.checks)}" if task.checks else task.accepted
        evidence = f"`{task.evidence[:12]}`" if task.evidence else ""
        rows.append(
            f"| {MARKS.get(task.state, '·')} | {plain(task.id)} | {plain(task.title)} | {task.state} | {task.attempts} "
            f"| {duration(task.seconds)} | {checks} | {evidence} | {plain(task.reason)} |"
        )
    return "\n".join([head, *rows])
