"""A report as one HTML page: no scripts, nothing loaded from elsewhere, every text escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from html import escape
from pathlib import Path

from projections.report.markdown import MARKS
from projections.report.model import Report, TaskLine, clock, duration, measured, moment, plural, verdict
from projections.report.timeline import drawn, timeline

CHOICES_SHOWN = 300
TASKS_SHOWN = 1_000
TONES = {
    "verified": "good", "satisfied": "good", "completed": "good", "failed": "bad", "blocked": "bad", "rejected": "bad",
    "skipped": "calm", "cancelled": "calm", "paused": "warn", "awaiting_approval": "warn",
}  # fmt: skip


class Markup(str):
    """Text that is markup already; every other text is escaped."""

    __slots__ = ()


@cache
def _style() -> str:
    return (Path(__file__).parent / "report.css").read_text(encoding="utf-8")


def html(report: Report) -> str:
    """The whole page."""
    wrong = [task for task in report.tasks if task.state not in ("verified", "satisfied")]
    fine = [task for task in report.tasks if task.state in ("verified", "satisfied")]
    body = "".join(
        (
            _head(report), _needs(report), _section("What was asked", _asked(report)),
            _section("Not verified, and why", _wrong(wrong)) if wrong else "",
            _section("Timeline", _timeline(report)), _section("Verified", _tasks(fine)) if fine else "",
            _section("Errors that were resolved", _list(report.resolved)) if report.resolved else "",
            _section("Decisions", _choices(report)) if report.choices else "", _section("Evidence", _evidence(report)),
        )
    )  # fmt: skip
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{escape(report.title)}: {escape(report.state)}</title><style>{_style()}</style></head>"
        f"<body><main>{body}<footer>Made by Nightshift from the events of execution "
        f"<code>{escape(report.execution)}</code>; the same events give the same report.</footer>"
        "</main></body></html>\n"
    )


def _head(report: Report) -> str:
    tone = TONES.get(report.state, "calm")
    reason = f"<p>Why: {escape(report.reason)}</p>" if report.reason else ""
    tiles = [
        (f"{report.done} / {len(report.tasks)}", "verified or done before"),
        (str(report.count("failed", "blocked")), "failed or blocked"),
        (str(report.count("skipped", "cancelled")), "skipped or cancelled"),
        (duration(report.seconds), "from start to end"),
        (duration(report.busy), f"of work in {plural(report.attempts, 'attempt')}"),
        (duration(report.cpu), "of processor time"),
        (f"{report.memory / 2**20:.0f} MiB", "the most memory at once"),
        *((measured(value), name.replace("_", " ")) for name, value in report.measures.items()),
    ]
    shown = "".join(f'<div class="tile"><b>{escape(big)}</b><span>{escape(small)}</span></div>' for big, small in tiles)
    return (
        f'<h1>{escape(report.title)} <span class="state {tone}">{escape(report.state.replace("_", " "))}</span></h1>'
        f'<p>{escape(verdict(report))}</p>{reason}<div class="tiles">{shown}</div>'
    )


def _needs(report: Report) -> str:
    if not report.needs:
        return ""
    return f'<section class="needs"><h2>What needs a person</h2>{_list(report.needs)}</section>'


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>" if body else ""


def _list(lines: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{_text(line)}</li>' for line in lines)}</ul>"


def _text(value: str) -> str:
    return value if isinstance(value, Markup) else escape(value)


def _table(head: Sequence[tuple[str, str]], rows: Iterable[Sequence[str]]) -> str:
    """Columns as (title, class); cells are escaped unless they are Markup."""
    titles = "".join(f'<th class="{kind}">{escape(title)}</th>' for title, kind in head)
    body = "".join(
        "<tr>"
        + "".join(f'<td class="{kind}">{_text(cell)}</td>' for cell, (_, kind) in zip(row, head, strict=True))
        + "</tr>"
        for row in rows
    )
    above = f"<thead><tr>{titles}</tr></thead>" if any(title for title, _ in head) else ""
    return f'<div class="wide"><table>{above}<tbody>{body}</tbody></table></div>'


def _asked(report: Report) -> str:
    files = f" from {', '.join(report.files[:5])}" if report.files else ""
    rows = [
        ("handed over", f"by {report.requested_by or 'somebody'}, {moment(report.submitted)}"),
        ("plan", f"{plural(len(report.tasks), 'task')}, read as {report.format or 'nothing'}{files}"),
        ("customer", report.tenant),
        ("conversation", report.conversation),
        ("repository", report.repository),
        ("branch", f"{report.branch}, from {report.base[:12]} to {report.head[:12]}" if report.branch else ""),
    ]
    return _table((("", "k"), ("", "")), [row for row in rows if row[1]])


def _wrong(tasks: list[TaskLine]) -> str:
    rows = []
    for task in tasks[:TASKS_SHOWN]:
        why = [escape(task.reason or "it was not its turn")]
        why += [
            f'<br><span class="bad">✗ {escape(check.text)}</span> {escape(check.detail)} {_link(check.evidence)}'
            for check in task.checks
            if check.result == "fail"
        ]
        if task.tail.strip() and task.state in ("failed", "blocked"):
            why.append(f"<pre>{escape(task.tail.strip()[-1500:])}</pre>")
        rows.append((task.id, task.title, _state(task.state), str(task.attempts), Markup("".join(why))))
    head = (("task", "id"), ("title", ""), ("state", "k"), ("tries", "n"), ("why", ""))
    return _table(head, rows) + _left(len(tasks) - TASKS_SHOWN, "task")


def _tasks(tasks: list[TaskLine]) -> str:
    rows = [
        (
            task.id, task.title, _state(task.state), str(task.attempts), duration(task.seconds), _checks(task),
            _link(task.evidence), Markup(f"<code>{escape(task.commit[:10])}</code>" if task.commit else ""),
        )
        for task in tasks[:TASKS_SHOWN]
    ]  # fmt: skip
    head = (
        ("task", "id"),
        ("title", ""),
        ("state", "k"),
        ("tries", "n"),
        ("took", "n"),
        ("checks", "k"),
        ("evidence", "k"),
        ("commit", "k"),
    )
    return _table(head, rows) + _left(len(tasks) - TASKS_SHOWN, "task")


def _checks(task: TaskLine) -> str:
    if task.checks:
        named = "\n".join(f"{check.result}: {check.text}" for check in task.checks)
        return Markup(f'<span title="{escape(named)}">{task.passed} of {len(task.checks)}</span>')
    weak = {"policy": "none: accepted by policy", "approval": "a person's word", "noop": "nothing to do"}
    return weak.get(task.accepted, "")


def _state(state: str) -> Markup:
    return Markup(f'<span class="{TONES.get(state, "calm")}">{MARKS.get(state, "·")} {escape(state)}</span>')


def _timeline(report: Report) -> str:
    drawing = timeline(report)
    if not drawing:
        return '<p class="soft">Nothing ran.</p>'
    key = (
        '<p class="key"><i class="verified"></i>✓ verified <i class="rejected"></i>✗ rejected by a check '
        '<i class="failed"></i>✗ failed or ◷ timed out <i class="other"></i>↯ interrupted, × cancelled. '
        "Times are UTC.</p>"
    )
    left = sum(bool(task.spans) for task in report.tasks) - len(drawn(report))
    return f'<div class="wide">{drawing}</div>{key}{_left(left, "task")}'


def _choices(report: Report) -> str:
    head = (("at (UTC)", "k"), ("task", "id"), ("decision", ""), ("why", ""), ("who", "k"))
    rows = [(clock(c.at), c.task, c.what, c.why, c.who) for c in report.choices[:CHOICES_SHOWN]]
    return _table(head, rows) + _left(len(report.choices) - CHOICES_SHOWN, "decision")


def _link(sha256: str) -> Markup:
    if not sha256:
        return Markup("")
    short = escape(sha256[:10])
    return Markup(f'<a href="#e-{escape(sha256)}"><code>{short}</code></a>')


def _evidence(report: Report) -> str:
    """Every digest that the page names, once, in full, with the bucket that holds it."""
    rows: dict[str, tuple[str, str, str]] = {}
    for task in report.tasks[: 2 * TASKS_SHOWN]:
        if task.evidence:
            rows.setdefault(task.evidence, (task.id, "the verdict", "evidence"))
        for check in task.checks:
            if check.evidence and (check.result == "fail" or len(report.tasks) <= 100):
                rows.setdefault(check.evidence, (task.id, f"{check.result}: {check.text}", "evidence"))
        if task.output and task.state not in ("verified", "satisfied"):
            rows.setdefault(task.output, (task.id, "what it printed", f"artifacts-{report.tenant}"))
    if not rows:
        return ""
    head = (("task", "id"), ("what", ""), ("bucket", "k"), ("SHA-256", ""))
    return _table(
        head,
        [
            (task, what, bucket, Markup(f'<code id="e-{escape(sha)}">{escape(sha)}</code>'))
            for sha, (task, what, bucket) in rows.items()
        ],
    )


def _left(number: int, noun: str) -> str:
    return f'<p class="soft">… and {plural(number, noun)} more.</p>' if number > 0 else ""
