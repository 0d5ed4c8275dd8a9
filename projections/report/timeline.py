"""The time line of a report as inline SVG: one row a task, one bar an attempt. Colours come from the page's style."""

from __future__ import annotations

from html import escape

from projections.report.model import Report, Span, TaskLine, clock, duration

WIDTH, LABELS, RIGHT = 1000, 286, 34
ROW, HEAD = 18, 26
ROWS = 300
"""Tasks that are drawn; the longest and the ones that went wrong."""
SIGN = 9
"""About the width of a sign."""
LETTER = 6.1
"""About the width of a letter of the labels."""
STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400, 604800)
SIGNS = {
    "verified": "✓", "rejected": "✗", "failed": "✗", "timed out": "◷", "interrupted": "↯", "cancelled": "×",
    "executed": "◆", "running": "▶",
}  # fmt: skip
"""Beside the colour, so that nothing is said by colour alone."""


def drawn(report: Report) -> list[TaskLine]:
    """The tasks that have a row, in the order in which they began."""
    tasks = [task for task in report.tasks if task.spans]
    if len(tasks) > ROWS:
        tasks.sort(key=lambda t: (t.state == "verified", -t.seconds))
        tasks = tasks[:ROWS]
    return sorted(tasks, key=lambda task: task.spans[0].start)


def timeline(report: Report) -> str:
    """The drawing; empty if nothing ever ran."""
    tasks = drawn(report)
    if not tasks:
        return ""
    start = min(task.spans[0].start for task in tasks)
    end = max((span.end or report.ended for task in tasks for span in task.spans), default=start)
    total = max(1.0, (end - start) / 1e9)
    height = HEAD + ROW * len(tasks) + 8

    def x(at: float) -> float:
        return LABELS + (WIDTH - LABELS - RIGHT) * (at / 1e9 - start / 1e9) / total

    parts = [
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="timeline-title" class="timeline">'
        f'<title id="timeline-title">When each attempt ran, from {clock(start)} to {clock(end)} UTC</title>'
    ]
    step = next((s for s in STEPS if total / s <= 7), STEPS[-1])
    first = -(-start // (step * 1_000_000_000)) * step * 1_000_000_000
    for at in range(first, end + 1, step * 1_000_000_000):
        place = x(at)
        label = clock(at) if step < 60 else clock(at)[:5]
        parts.append(f'<line class="tick" x1="{place:.1f}" y1="{HEAD - 6}" x2="{place:.1f}" y2="{height - 6}"/>')
        parts.append(f'<text class="axis" x="{place:.1f}" y="{HEAD - 11}" text-anchor="middle">{label}</text>')
    for number, task in enumerate(tasks):
        top = HEAD + number * ROW
        if number % 2 == 0:
            parts.append(f'<rect class="band" x="0" y="{top}" width="{WIDTH}" height="{ROW}"/>')
        parts.append(_label(task, top))
        begins = [x(span.start) for span in task.spans]
        for span, left, after in zip(task.spans, begins, [*begins[1:], float(WIDTH)], strict=True):
            width = max(x(span.end or report.ended) - left, 2.0)
            parts.append(_bar(task, span, left, width, top, room=after - left - width))
    return "".join([*parts, "</svg>"])


def _label(task: TaskLine, top: int) -> str:
    room = int((LABELS - 14) / LETTER)
    name = task.id if len(task.id) <= 14 else f"{task.id[:13]}…"
    title = task.title if task.title != task.id else ""
    left = room - len(name) - 1
    shown = title if len(title) <= left else f"{title[: max(0, left - 1)].rstrip()}…"
    return (
        f'<text class="label" x="6" y="{top + 13}"><tspan class="id">{escape(name)}</tspan> {escape(shown)}'
        f"<title>{escape(f'{task.id} {title}'.strip())}</title></text>"
    )


def _bar(task: TaskLine, span: Span, left: float, width: float, top: int, *, room: float) -> str:
    """A bar with its sign: beside it, or on it where the next attempt leaves no room."""
    seconds = duration(((span.end or span.start) - span.start) / 1e9)
    told = f"{task.id}, attempt {span.attempt}: {span.outcome}, {seconds}{f', {span.reason}' if span.reason else ''}"
    kind, sign = span.outcome.replace(" ", "-"), SIGNS.get(span.outcome, "")
    bar = (
        f'<rect class="bar {kind}" x="{left:.1f}" y="{top + 4}" width="{width:.1f}" height="{ROW - 8}" rx="2">'
        f"<title>{escape(told)}</title></rect>"
    )
    if room >= SIGN + 4:
        bar += f'<text class="sign {kind}" x="{left + width + 3:.1f}" y="{top + 13}">{sign}</text>'
    elif width >= SIGN:
        middle = f'x="{left + width / 2:.1f}" y="{top + 12.5}" text-anchor="middle"'
        bar += f'<text class="inner" {middle}>{sign}</text>'
    return bar
