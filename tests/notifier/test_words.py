"""What notices say: 8 to 16 speakable words, one line a thing, everything counted."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.notify import FIELDS
from services.notifier.decide import Item
from services.notifier.kinds import KINDS
from services.notifier.words import FEWEST, LINES, MOST, counted, essential, severest, speech, text, title, written

FIELD = st.text(max_size=60) | st.just("")


def item(kind: str, number: int = 1, *, template: str | None = None, execution: str = "e1", **fields: str) -> Item:
    """One thing of a kind."""
    known = dict.fromkeys((*FIELDS, "waiting"), "") | {
        "plan": "Ship the thing", "task": str(number), "title": f"Build part {number}", "reason": "exit code 2",
        "attempts": "3", "done": "11", "total": "12", "duration": "5 minutes", "phase": "Foundations",
        "execution": execution,
    }  # fmt: skip
    return Item(
        channel="voice", key=f"k{number}", kind=kind, severity=KINDS[kind].severity, tenant="acme", execution=execution,
        at_ns=number, task=str(number), fields=known | fields, template=template,
    )  # fmt: skip


def is_speakable(said: str) -> None:
    assert FEWEST <= len(said.split()) <= MOST, said
    assert len(said) <= 500
    assert not set(said) & set(";&|<>`$\\*#")


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_is_written_and_spoken(kind: str) -> None:
    is_speakable(speech([item(kind)]))
    is_speakable(speech([item(kind), item(kind, 2)]))
    assert written(item(kind))
    assert "{" not in text([item(kind)]) + text([item(kind), item(kind, 2)])


@given(kind=st.sampled_from(sorted(KINDS)), title=FIELD, plan=FIELD, phase=FIELD, number=st.integers(1, 3))
def test_whatever_things_are_called_it_can_be_spoken(kind: str, title: str, plan: str, phase: str, number: int) -> None:
    is_speakable(speech([item(kind, n, title=title, plan=plan, phase=phase) for n in range(number)]))
    is_speakable(speech([item(kind, template="{title} {plan}", title=title, plan=plan)]))


def test_long_names_are_shortened_and_neither_is_lost() -> None:
    said = speech(
        [
            item(
                "task_failed",
                title="rewrite the whole retry loop of the upstream client",
                plan="Move it all over at once",
            )
        ]
    )
    assert said == "Attention please, task rewrite the whole retry loop of plan Move it all over has failed."


def test_many_are_counted_the_severest_first() -> None:
    many = [item("task_started", n) for n in range(20)] + [item("task_failed", 50), item("task_failed", 51)]
    assert counted(many) == "2 tasks failed, 20 tasks started"
    assert severest(many) == "error"
    lines = text(many).splitlines()
    assert lines[0] == "2 tasks failed, 20 tasks started"
    assert lines[1] == "- FAILED 50 Build part 50: exit code 2"
    assert len(lines) == LINES + 2
    assert lines[-1] == "… and 10 more"
    assert speech(many) == "Plan Ship the thing reports 2 tasks failed and 20 tasks started in the last minute."


def test_several_plans_are_named_on_each_line() -> None:
    both = [item("task_failed", 1), item("task_failed", 2, execution="e2", plan="Other")]
    assert title(both) == "Nightshift: 2 plans"
    assert "- Other: FAILED 2" in text(both)
    is_speakable(speech(both))


def test_what_a_person_can_do_is_said() -> None:
    said = text([item("escalation", waiting="4", execution="e1")])
    assert "Tasks that wait for it: 4." in said
    assert "nightshift retry e1 1" in said
    assert "nightshift approve" in text([item("approval"), item("task_started", 2)])


def test_the_end_takes_its_small_talk_with_it() -> None:
    end, started, failed = item("execution_completed"), item("task_started", 2), item("task_failed", 3)
    other = item("task_started", 4, execution="e2")
    assert essential([end, started, failed, other]) == [end, failed, other]


def test_a_template_of_ones_own() -> None:
    one = item("task_failed", template="{task} {title} broke: {reason}")
    assert text([one]) == "1 Build part 1 broke: exit code 2"
    assert re.fullmatch(r"1 Build part 1 broke: exit code 2.*", speech([one]))
