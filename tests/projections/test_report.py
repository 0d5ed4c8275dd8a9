"""The report: from the history alone, saying everything that matters, and safe whatever texts a plan holds."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from events import ExecutionCancelled, ExecutionCancelling, PlanRejected, PlanSubmitted, Problem
from projections.report import Report, build, html, markdown
from projections.report.model import duration, measured
from projections.report.timeline import ROWS, drawn, timeline
from tests.controls import EXECUTION_ID, TENANT, Story, life, plan, task
from tests.nights import night


@pytest.fixture(scope="module")
def report() -> Report:
    """Of a night with 80 tasks."""
    return build(TENANT, EXECUTION_ID, night())


def test_it_knows_what_was_asked_and_what_came_of_it(report: Report) -> None:
    assert (report.title, report.state) == ("Move the billing service off the old framework", "failed")
    assert (report.requested_by, report.files) == ("acme/ada", ("docs/tasks_list.md",))
    assert (len(report.tasks), report.done, report.count("failed"), report.count("skipped")) == (80, 75, 1, 4)
    by_id = {t.id: t for t in report.tasks}
    assert by_id["4.8"].reason == "took longer than 120 s"
    assert [s.outcome for s in by_id["4.8"].spans] == ["failed", "timed out"]
    assert by_id["5.8"].reason == "4.8 is failed"
    assert [s.outcome for s in by_id["1.3"].spans] == ["rejected", "verified"]
    assert [s.outcome for s in by_id["1.8"].spans] == ["interrupted", "verified"]
    assert by_id["3.6"].accepted == "policy"
    assert report.attempts == sum(len(t.spans) for t in report.tasks) == 89


def test_it_says_what_needs_a_person(report: Report) -> None:
    assert report.needs == [
        "4.8 (Render the invoice as PDF) failed after 2 attempts: took longer than 120 s.",
        "Accepted by policy, without any check: 3.6. Look at what they did.",
        "Not run because of others: 5.8, 6.8, 7.8, 8.8.",
        "The channel phone did not take 1 notice: the server answers 503.",
    ]


def test_it_says_what_was_resolved_decided_and_used(report: Report) -> None:
    assert (
        "1.3 (Move the sessions to Redis): attempt 1 rejected (make test failed); attempt 2 was verified."
        in report.resolved
    )
    answers = [(c.what, c.who) for c in report.choices if c.task == "3.6"]
    assert answers == [("asked a person", "planner"), ("yes", "acme/ada")]
    assert ("gave the task up", "took longer than 120 s") in [(c.what, c.why) for c in report.choices]
    assert report.cpu > 0
    assert report.memory == 300 << 20
    assert report.seconds == pytest.approx((report.ended - report.submitted) / 1e9)


def test_the_same_history_gives_the_same_bytes(report: Report) -> None:
    again = build(TENANT, EXECUTION_ID, night())
    assert html(again) == html(report)
    assert markdown(again) == markdown(report)


class Page(HTMLParser):
    """What a page is made of."""

    VOID = frozenset({"meta", "rect", "line", "br", "link", "img", "input", "hr"})

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def page_of(text: str) -> Page:
    """Read a page; whatever is opened is closed."""
    page = Page()
    page.feed(text)
    page.close()
    assert page.open == []
    return page


def test_the_page_holds_no_script_loads_nothing_and_knows_dark_and_paper(report: Report) -> None:
    text = html(report)
    page = page_of(text)
    assert not {"script", "iframe", "object", "embed", "link", "img", "form"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    links = [value for name, value in page.attributes if name in ("href", "src", "action", "xlink:href")]
    assert all(value is not None and value.startswith("#e-") for value in links)
    assert "default-src 'none'" in text
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text
    assert page.tags.count("svg") == 1
    ids = {value for name, value in page.attributes if name == "id"}
    assert {str(value)[1:] for value in links} <= ids, "a link leads nowhere"


NASTY = "<script>alert(1)</script> \"&' | `x` **b** [l](javascript:x) \n# no heading </style> <img src=x onerror=y>"


def test_whatever_a_plan_says_is_only_text() -> None:
    story = Story()
    story.submit(plan(task("<b>1", title=NASTY), task("2", title=NASTY, needs=("<b>1",)), title=NASTY))
    story.accept()
    story.start("<b>1")
    story.fail("<b>1", again=False)
    records = [
        replace(r, fact=replace(r.fact, reason=NASTY)) if hasattr(r.fact, "reason") else r for r in story.records
    ]
    made = build(TENANT, EXECUTION_ID, records)
    page = page_of(html(made))
    assert not {"script", "img"} & set(page.tags)
    assert "alert(1)" in "".join(page.texts)
    plain = page_of(html(build(TENANT, EXECUTION_ID, night(3))))
    assert page.tags.count("b") == plain.tags.count("b"), "a text became markup"
    text = markdown(made)
    assert "<script" not in text
    assert "<img" not in text
    assert [line for line in text.splitlines() if line.startswith("# no")] == []
    rows = [line for line in text.splitlines() if line.startswith("| ✗")]
    assert len(rows) == 1
    assert len(re.findall(r"(?<!\\)\|", rows[0])) == 10


def test_the_timeline_has_a_row_for_each_task_and_a_bar_for_each_attempt(report: Report) -> None:
    drawing = timeline(report)
    ran = [t for t in report.tasks if t.spans]
    assert drawing.count('class="label"') == len(ran) == 76
    assert drawing.count('<rect class="bar') == report.attempts
    assert "4.8, attempt 2: timed out" in drawing
    signs = re.findall(r'class="(?:sign [a-z-]+|inner)"[^>]*>(.)</text>', drawing)
    assert len(ran) < len(signs) <= report.attempts
    assert set(signs) == {"✓", "✗", "◷"}
    numbers = [float(n) for n in re.findall(r'<rect class="bar[^>]* x="([\d.]+)"', drawing)]
    assert all(280 < n < 1000 for n in numbers)


def test_a_very_large_plan_is_cut_where_nothing_is_lost() -> None:
    made = build(TENANT, EXECUTION_ID, night(1200, width=40))
    assert len(drawn(made)) == ROWS
    assert "4.8" in {t.id for t in drawn(made)}
    text = html(made)
    assert "more." in text
    page_of(text)


def test_a_life_with_garbage_and_one_that_was_rejected_or_cancelled() -> None:
    made = build(TENANT, EXECUTION_ID, life())
    assert (made.state, made.done) == ("failed", 3)
    page_of(html(made))

    story = Story()
    story.submit()
    story.say(PlanRejected(problems=(Problem(code="x", message="1 waits for 1"),)))
    rejected = build(TENANT, EXECUTION_ID, story.records)
    assert (rejected.state, rejected.tasks) == ("rejected", [])
    assert "1 waits for 1" in rejected.needs
    assert "Nothing ran" in html(rejected)

    story = Story()
    story.submit(plan(task("1"), task("2")))
    story.accept()
    story.start("1")
    story.say(ExecutionCancelling(reason="enough", requested_by="acme/ada"))
    story.say(ExecutionCancelled(verified=0, cancelled=2))
    cancelled = build(TENANT, EXECUTION_ID, story.records)
    assert [s.outcome for s in cancelled.tasks[0].spans] == ["cancelled"]
    assert cancelled.count("cancelled") == 2


def test_an_execution_that_runs_has_a_report_as_of_now() -> None:
    story = Story()
    story.submit(plan(task("1")))
    story.accept()
    story.start("1")
    made = build(TENANT, EXECUTION_ID, story.records)
    assert made.state == "running"
    assert "1, attempt 1: running" in html(made)


def test_without_a_plan_there_is_no_report() -> None:
    with pytest.raises(ValueError, match="no plan was handed over"):
        build(TENANT, EXECUTION_ID, [])
    story = Story()
    story.say(PlanSubmitted(plan={"title": "x"}))
    assert build(TENANT, EXECUTION_ID, story.records).state == "submitted"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (59.6, "1 min 00 s"),
        (61, "1 min 01 s"),
        (3600, "1 h 00 min"),
        (86399, "23 h 59 min"),
    ],
)
def test_lengths_of_time(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_numbers() -> None:
    assert [measured(v) for v in (1000000.0, 0.125, 12.5, 3.0)] == ["1,000,000", "0.125", "12.5", "3"]
