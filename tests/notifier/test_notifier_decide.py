"""What is to be told: the founding table cell by cell, conditions, switches, roles; pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
from pydantic import ValidationError

from events import (
    ApprovalRequested,
    DeadLettered,
    ExecutionBlocked,
    ExecutionCancelled,
    ExecutionCompleted,
    ExecutionFailed,
    ExecutionPaused,
    PlanSubmitted,
    ProgressMarked,
    TaskBlocked,
    TaskFailed,
)
from events.log import Recorded
from events.log.streams import NOTIFIER_REACTS_TO
from schemas.names import NOTICES
from schemas.notify import Channel, Notify, Quiet
from schemas.values import Phase
from services.notifier.decide import is_quiet, items, progress_due, progress_timer, spoken
from services.notifier.kinds import KINDS, OF_EVENT, TABLE
from services.notifier.told import Notices
from tests.controls import SECOND, executed_fact, plan, task
from tests.spec import History, failed, ready, running, started, verified

CHANNELS = {
    "voice": Channel.model_validate({"kind": "voice"}),
    "push": Channel.model_validate({"kind": "ntfy", "topic": "t"}),
    "discord": Channel.model_validate({"kind": "discord", "url": "https://d/1"}),
}
MINUTES = 60.0


def history(seconds: float = 12.5) -> History:
    """Task 1 of phase a has been executed and took so long; task 2 waits."""
    phases = (Phase(id="a", title="Foundations"),)
    h = History(plan(task("1", phase="a"), task("2", needs=("1",)), title="Ship the thing", phases=phases))
    for step in (running, ready("1"), started("1")):
        step(h)
    h.say("1", executed_fact(h.lease("1"), 1, seconds))
    return h


def told(h: History, recorded: Recorded, notify: Notify | None = None, channels: Any = None) -> set[tuple[str, str]]:
    """Channel and kind of everything that is due."""
    return {(i.channel, i.kind) for i in items(recorded, h.fold, notify or Notify(), channels or CHANNELS)}


def start(h: History) -> Recorded:
    return next(r for r in h.records if r.name == "TaskStarted")


def complete(h: History) -> Recorded:
    return verified("1")(h)  # type: ignore[return-value]


@dataclass
class Cell:
    """A row of the founding table."""

    name: str
    happens: Any
    kind: str
    voice: bool
    push: bool
    discord: bool
    seconds: float = 12.5


ROWS = [
    Cell("task start", start, "task_started", True, False, False),
    Cell("task complete", complete, "task_completed", True, False, False),
    Cell("task complete, 5 min sharp", complete, "task_completed", True, False, False, seconds=300.0),
    Cell("task complete, > 5 min", complete, "task_completed", True, True, False, seconds=300.1),
    Cell("task failure", lambda h: h.say("2", TaskFailed(attempts=3, reason="x")), "task_failed", True, True, True),
    Cell("phase complete", complete, "phase_completed", True, True, False),
    Cell(
        "execution complete", lambda h: h.say("-", ExecutionCompleted(verified=2)),
        "execution_completed", True, True, True,
    ),
    Cell(
        "execution failed", lambda h: h.say("-", ExecutionFailed(reason="x", verified=1, failed=("2",))),
        "execution_failed", True, True, True,
    ),
    Cell(
        "progress", lambda h: h.say(NOTICES, ProgressMarked(number=1, done=1, total=2)), "progress", True, False, False
    ),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_the_founding_table_cell_by_cell(row: Cell) -> None:
    h = history(row.seconds)
    if row.kind == "task_failed":
        failed_history(h)
    found = told(h, row.happens(h))
    assert {channel for channel, kind in found if kind == row.kind} == {name for name in CHANNELS if getattr(row, name)}


def failed_history(h: History) -> None:
    """Task 2 has failed for good but nobody has said so yet."""
    for step in (verified("1"), ready("2"), started("2"), failed("2")):
        step(h)


def health(severity: str = "warning") -> tuple[History, Recorded]:
    """A health warning as another version's event: known by name only, with whatever fields it has."""
    h = history()
    seen = replace(
        h.records[-1],
        name="HealthWarned",
        fact={"reason": "no output for 10 minutes", "severity": severity, "task": "1"},
    )
    return h, seen


def test_a_health_warning_is_known_by_its_name() -> None:
    h, seen = health()
    assert told(h, seen) == {("voice", "health_warning"), ("push", "health_warning")}
    (item, _) = items(seen, h.fold, Notify(), CHANNELS)
    assert (item.severity, item.task, item.fields["reason"]) == ("warning", "1", "no output for 10 minutes")
    h, seen = health("critical")
    assert {i.severity for i in items(seen, h.fold, Notify(), CHANNELS)} == {"critical"}


@pytest.mark.parametrize(
    ("entity", "fact", "kind"),
    [
        ("2", TaskBlocked(attempts=3, reason="exit code 2"), "escalation"),
        ("-", ExecutionBlocked(tasks=("2",)), "standstill"),
        ("2", ApprovalRequested(kind="start", question="May it?"), "approval"),
        ("-", ExecutionCancelled(verified=1, cancelled=1), "execution_cancelled"),
    ],
)
def test_what_a_person_must_not_miss_goes_everywhere(entity: str, fact: Any, kind: str) -> None:
    h = history()
    failed_history(h)
    if kind == "execution_cancelled":
        from events import ExecutionCancelling

        h.say("-", ExecutionCancelling(reason="x", requested_by="y"))
    assert told(h, h.say(entity, fact)) == {(name, kind) for name in CHANNELS}


def test_an_escalation_says_what_waits_for_it() -> None:
    h = History(plan(task("1"), task("2", needs=("1",)), task("3", needs=("2",))))
    for step in (running, ready("1"), started("1"), failed("1")):
        step(h)
    (item, *_) = items(h.say("1", TaskBlocked(attempts=3, reason="exit code 2")), h.fold, Notify(), CHANNELS)
    assert (item.fields["waiting"], item.fields["attempts"], item.fields["reason"]) == ("2", "3", "exit code 2")


def test_an_engine_fault_and_a_pause_reach_who_can_do_something() -> None:
    h = history()
    letter = DeadLettered(service="planner", sequence=1, event="X", reason="no", deliveries=25)
    assert told(h, h.say("-", letter)) == {("push", "fault")}
    from events import ExecutionPausing

    h.say("-", ExecutionPausing(reason="4 tasks failed in a row"))
    found = items(h.say("-", ExecutionPaused(reason="4 tasks failed in a row")), h.fold, Notify(), CHANNELS)
    assert {(i.channel, i.kind) for i in found} == {("voice", "paused"), ("push", "paused")}
    assert found[0].fields["reason"] == "4 tasks failed in a row"


def test_a_phase_is_told_once_by_its_key() -> None:
    h = history()
    found = items(complete(h), h.fold, Notify(), CHANNELS)
    assert {i.key for i in found if i.kind == "phase_completed"} == {"phase:a"}
    assert {i.fields["phase"] for i in found} == {"Foundations"}


def test_every_event_that_is_listened_to_is_something() -> None:
    assert set(OF_EVENT) | {"ExecutionStarted", "ExecutionResumed", "ExecutionReopened"} == set(NOTIFIER_REACTS_TO)
    assert set(OF_EVENT.values()) <= set(KINDS)
    assert {rule.event for rule in TABLE} == set(KINDS) - {"test"}


# -- switches, customers, roles --------------------------------------------------------------------------------------


@pytest.mark.parametrize("off", ["voice", "push", "discord"])
def test_whoever_hands_a_plan_over_can_turn_columns_off(off: str) -> None:
    h = history()
    assert h.fold.submission is not None
    wish = PlanSubmitted(plan={}, options={"notifications": {off: False, "voice2": False}})
    h.fold.submission = replace(h.fold.submission, fact=wish)
    found = told(h, h.say("-", ExecutionCompleted(verified=2)))
    assert {channel for channel, _ in found} == set(CHANNELS) - {off}


def test_a_channel_of_another_customer_hears_nothing() -> None:
    h = history()
    channels = {
        "a": Channel(kind="log", tenant="acme"),
        "b": Channel(kind="log", tenant="globex"),
        "c": Channel(kind="log"),
    }
    assert {c for c, _ in told(h, start(h), channels=channels)} == {"a", "c"}


@pytest.mark.parametrize(
    ("fact", "readers"),
    [
        (ExecutionCompleted(verified=2), {"developer", "manager", "stakeholder"}),
        (ExecutionBlocked(tasks=("2",)), {"developer", "manager"}),
        (DeadLettered(service="x", sequence=1, event="X", reason="no", deliveries=25), {"developer"}),
    ],
)
def test_roles_hear_what_is_theirs(fact: Any, readers: set[str]) -> None:
    h = history()
    channels = {
        r: Channel.model_validate({"kind": "log", "roles": [r]}) for r in ("developer", "manager", "stakeholder")
    }
    assert {c for c, _ in told(h, h.say("-", fact), channels=channels)} == readers


# -- rules of one's own -----------------------------------------------------------------------------------------------


def rule(**fields: Any) -> Notify:
    return Notify.model_validate({"table": False, "rules": [{"channels": ["voice"], **fields}]})


@pytest.mark.parametrize(
    ("when", "seconds", "holds"),
    [
        ({"duration_over": 60}, 61.0, True),
        ({"duration_over": 60}, 60.0, False),
        ({"attempt_from": 2}, 1.0, False),
        ({"attempt_from": 1}, 1.0, True),
        ({"severity_from": "warning"}, 1.0, False),
        ({"severity_from": "info", "duration_over": 0.5}, 1.0, True),
        ({"quiet": {"start": "14:00", "end": "15:00"}}, 1.0, False),
        ({"quiet": {"start": "14:00", "end": "15:00", "unless": "info"}}, 1.0, True),
    ],
)
def test_conditions(when: dict[str, Any], seconds: float, holds: bool) -> None:
    h = history(seconds)
    found = told(h, complete(h), rule(event="TaskVerified", when=when))
    assert bool(found) is holds


def test_a_rule_names_a_kind_or_an_event_a_customer_and_a_template() -> None:
    h = history()
    failed_history(h)
    gone = h.say("2", TaskFailed(attempts=3, reason="x"))
    assert (
        told(h, gone, rule(event="task_failed"))
        == told(h, gone, rule(event="TaskFailed"))
        == {("voice", "task_failed")}
    )
    assert told(h, gone, rule(event="TaskFailed", tenant="globex")) == set()
    (item,) = items(gone, h.fold, rule(event="TaskFailed", template="{task} of {plan}!"), CHANNELS)
    assert item.template == "{task} of {plan}!"


def test_ones_own_rule_outranks_the_table_on_the_same_channel() -> None:
    h = history()
    notify = Notify.model_validate(
        {"rules": [{"event": "task_started", "channels": ["voice"], "template": "go {task}"}]}
    )
    (item,) = items(start(h), h.fold, notify, CHANNELS)
    assert item.template == "go {task}"


@pytest.mark.parametrize(
    ("zone", "start", "end", "at", "quiet"),
    [
        ("UTC", "22:00", "07:00", "2026-01-10T23:00:00", True),
        ("UTC", "22:00", "07:00", "2026-01-10T06:59:59", True),
        ("UTC", "22:00", "07:00", "2026-01-10T07:00:00", False),
        ("Europe/Berlin", "22:00", "07:00", "2026-01-10T21:30:00", True),
        ("Europe/Berlin", "22:00", "07:00", "2026-07-10T20:30:00", True),
        ("Europe/Berlin", "22:00", "07:00", "2026-01-10T20:30:00", False),
        ("America/New_York", "09:00", "17:00", "2026-01-10T15:00:00", True),
    ],
)
def test_quiet_hours_know_their_zone(zone: str, start: str, end: str, at: str, quiet: bool) -> None:
    from datetime import UTC, datetime

    hours = Quiet.model_validate({"start": start, "end": end, "zone": zone})
    at_ns = int(datetime.fromisoformat(at).replace(tzinfo=UTC).timestamp()) * SECOND
    assert is_quiet(hours, "error", at_ns) is quiet
    assert not is_quiet(hours, "critical", at_ns)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"channels": {"x": {"kind": "webhook", "url": "http://x"}}}, "needs secret"),
        ({"channels": {"x": {"kind": "ntfy"}}}, "needs topic"),
        ({"channels": {"X!": {"kind": "log"}}}, "must be called"),
        ({"channels": {"x": {"kind": "log", "colour": 1}}}, "Extra inputs"),
        ({"rules": [{"event": "x", "template": "{task.__class__}"}]}, "it may name"),
        ({"rules": [{"event": "x", "template": "{task"}]}, "cannot be read"),
        (
            {"rules": [{"event": "x", "when": {"quiet": {"start": "1:00", "end": "2:00", "zone": "Mars/Phobos"}}}]},
            "no time zone",
        ),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_an_error_that_says_what(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Notify.model_validate(wrong)


# -- progress ---------------------------------------------------------------------------------------------------------


def test_progress_comes_after_five_minutes_and_then_every_ten() -> None:
    h = history()
    began = next(r for r in h.records if r.name == "ExecutionStarted")
    first = progress_timer(began, h.fold, Notify())
    assert first is not None
    assert (first.at_ns - began.at_ns, first.event, first.durable) == (300 * SECOND, began.id, "notices-due")
    assert first.subject("set").startswith("timer.notices.set.")
    mark = progress_due(h.fold, first, Notices())
    assert mark == ProgressMarked(number=1, done=0, total=2)
    marked = h.say(NOTICES, mark)
    second = progress_timer(marked, h.fold, Notify())
    assert second is not None
    assert (second.at_ns - marked.at_ns, second.event) == (600 * SECOND, marked.id)


def test_h12_a_timer_that_nobody_waits_for_brings_nothing() -> None:
    h = history()
    first = progress_timer(next(r for r in h.records if r.name == "ExecutionStarted"), h.fold, Notify())
    assert first is not None
    marked = h.say(NOTICES, ProgressMarked(number=1, done=0, total=2))
    seen = Notices()
    seen.apply(marked)
    assert progress_due(h.fold, first, seen) is None
    second = progress_timer(marked, h.fold, Notify())
    assert second is not None
    assert progress_due(h.fold, replace(second, event="another"), seen) is None
    assert progress_due(h.fold, second, seen) == ProgressMarked(number=2, done=0, total=2)
    complete(h)
    h.say("-", ExecutionCompleted(verified=2))
    assert progress_due(h.fold, second, seen) is None


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "less than a second"),
        (1, "1 second"),
        (89, "89 seconds"),
        (90, "2 minutes"),
        (5400, "2 hours"),
        (8000, "2 hours"),
    ],
)
def test_lengths_of_time_in_words(seconds: float, words: str) -> None:
    assert spoken(seconds) == words


def test_nothing_is_told_of_what_is_no_news() -> None:
    h = history()
    assert told(h, next(r for r in h.records if r.name == "TaskExecuted")) == set()
