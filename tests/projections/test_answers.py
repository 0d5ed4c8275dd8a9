"""The questions with stable keys."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from events import ApprovalAwaited, ApprovalRequested, RecommendationMade, Recommended, RetryScheduled
from projections.answers import Answers, UnknownExecution
from projections.estimate import together
from projections.replay import replay
from projections.store import Store
from tests.controls import (
    EXECUTION_ID,
    OTHER_TENANT,
    STREAM,
    TENANT,
    Story,
    execution_id,
    failed_fact,
    life,
    plan,
    task,
)


def answers(story: Story | None = None) -> Answers:
    """Answers about a story; about a whole life if none is given."""
    return Answers(replay(story.records if story else life()))


def test_the_status_of_an_execution() -> None:
    status = answers().status(TENANT, EXECUTION_ID)
    assert {"execution", "plan", "tenant", "state", "reason", "progress", "eta", "submitted_at", "started_at",
            "ended_at", "branch", "tasks"} <= status.keys()  # fmt: skip
    assert status["progress"] == {"done": 3, "total": 4, "percent": 75.0}
    assert status["counts"] == {"failed": 1, "satisfied": 1, "verified": 2}
    assert (status["state"], status["reason"], status["eta"]) == ("failed", "1 task failed", 0.0)
    assert status["submitted_at"] == "2026-09-21T14:13:21.000000Z"
    assert status["branch"] == {
        "name": f"nightshift/{EXECUTION_ID}", "repository": "project.git", "base": "ba5e" * 10, "head": "c0d1" * 10,
    }  # fmt: skip
    assert [t["id"] for t in status["tasks"]] == ["1", "2", "3", "0"]
    assert status["tasks"][1].items() >= {
        "title": "Build part 2", "state": "verified", "attempt": 1, "error": None, "needs": ["1"], "phase": None,
        "estimate": None, "approval": None, "started_at": "2026-09-21T14:13:43.000000Z",
        "ended_at": "2026-09-21T14:13:46.000000Z",
    }.items()  # fmt: skip


def test_a_question_and_a_coming_attempt_are_shown() -> None:
    story = Story()
    story.submit(plan(task("1"), task("2")))
    story.accept()
    asked = story.say(ApprovalRequested(kind="start", question="May it?"), "1")
    story.start("2")
    story.say(failed_fact(story.lease["2"]), "2")
    story.say(RetryScheduled(attempt=2, delay=60.0, at="2026-09-21T15:00:00Z", reason="exit code 2"), "2")
    first, second = answers(story).status(TENANT, EXECUTION_ID)["tasks"]
    assert first["approval"] == {"id": asked.id, "kind": "start", "question": "May it?"}
    assert (second["state"], second["next_attempt_at"]) == ("waiting", "2026-09-21T15:00:00.000000Z")
    assert second["error"] == "exit code 2"


# -- how long is left ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "needs", "slots", "expected"),
    [
        ({}, {}, 2, 0.0),
        ({"a": 10.0}, {}, 4, 10.0),
        ({"a": 10.0, "b": 10.0, "c": 10.0, "d": 10.0}, {}, 2, 20.0),
        ({"a": 10.0, "b": 10.0, "c": 10.0}, {"b": ["a"], "c": ["b"]}, 8, 30.0),
        ({"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0}, {"d": ["b", "c"], "b": ["a"], "c": ["a"]}, 8, 8.0),
        ({"b": 5.0}, {"b": ["done before"]}, 1, 5.0),
        ({"a": 1.0, "b": 1.0}, {"a": ["b"], "b": ["a"]}, 1, None),
    ],
)
def test_the_estimate_for_all(
    seconds: dict[str, float], needs: dict[str, list[str]], slots: int, expected: float | None
) -> None:
    assert together(seconds, {name: needs.get(name, []) for name in seconds}, slots) == expected


def eta(story: Story) -> Any:
    return answers(story).status(story.tenant, story.execution)["eta"]


def test_the_estimate_comes_from_what_is_known_best_and_never_from_a_clock() -> None:
    story = Story()
    story.submit(plan(task("1", estimate=100.0), task("2"), task("3", needs=("2",))))
    story.accept()
    assert eta(story) is None  # nobody knows how long 2 and 3 take
    story.start("1")
    story.verify("1", seconds=40.0)
    assert eta(story) == 80.0  # both as long as the one that is done, one after the other
    story.start("2")
    story.noise(b"a second passes")
    story.noise(b"and another one")
    assert eta(story) == 78.0
    story.say(ApprovalAwaited(tasks=("2",)))
    assert eta(story) is None  # a person has to act


def test_what_the_learner_suggests_stands_in_for_a_title_that_never_ran() -> None:
    def recommended(task: str, seconds: float | None) -> Recommended:
        return Recommended(task=task, similar=(), estimate=seconds)

    story = Story()
    story.submit(plan(task("1", estimate=100.0), task("2"), task("3", needs=("2",)), task("4", needs=("3",))))
    story.accept()
    story.say(
        RecommendationMade(
            embedder="lexical-1", semantic=False,
            tasks=(recommended("1", 7.0), recommended("2", 20.0), recommended("3", 30.0), recommended("4", None)),
        ),
    )  # fmt: skip
    assert eta(story) is None  # nothing is known about 4
    story.start("1")
    story.verify("1", seconds=40.0)
    assert eta(story) == 90.0  # 20 and 30 as suggested, 4 as long as the one that is done; the plan's own word counts
    other = story.another(OTHER_TENANT, execution_id(3))
    other.submit(plan(task("2")))
    other.accept()
    assert Answers(replay(story.records)).status(OTHER_TENANT, execution_id(3))["eta"] is None


def test_the_history_of_the_tenant_knows_titles() -> None:
    story = Story()
    story.submit(plan(task("1", title="Compile")))
    story.accept()
    story.start("1")
    story.verify("1", seconds=30.0)
    second = story.another(TENANT, execution_id(2))
    second.submit(plan(task("x", title="Compile"), policy=plan().policy))
    second.accept()
    other = story.another(OTHER_TENANT, execution_id(3))
    other.submit(plan(task("x", title="Compile")))
    other.accept()
    found = Answers(replay(story.records))
    assert found.status(TENANT, execution_id(2))["eta"] == 30.0
    assert (
        found.status(OTHER_TENANT, execution_id(3))["eta"] is None
    )  # another tenant's history is none of its business


# -- lists and history --------------------------------------------------------------------------------------------


def two_tenants() -> Answers:
    story = Story()
    for number in range(1, 5):
        life(story.another(TENANT if number != 3 else OTHER_TENANT, execution_id(number)))
    return Answers(replay(story.records, stream_created=STREAM))


def test_executions_are_listed_newest_first_and_only_ones_own() -> None:
    found = two_tenants()
    assert [e["execution"] for e in found.executions(TENANT)] == [execution_id(n) for n in (4, 2, 1)]
    assert [e["execution"] for e in found.executions(OTHER_TENANT)] == [execution_id(3)]
    assert [e["tenant"] for e in found.executions(None, 2)] == [TENANT, OTHER_TENANT]
    assert found.executions(TENANT, 1)[0]["progress"] == {"done": 3, "total": 4, "percent": 75.0}
    assert found.executions(TENANT, state="running") == []
    assert found.executions("nobody") == []


def test_the_history_says_who_what_when_and_why() -> None:
    found = two_tenants()
    rows = found.history(TENANT, execution_id(2))
    assert len(rows) == 30
    assert [r["seq"] for r in rows] == sorted(r["seq"] for r in rows)
    assert {r["tenant"] for r in rows} == {TENANT}
    assert list(rows[1].items())[:9] == [
        ("seq", 32), ("at", "2026-09-21T14:13:52.000000Z"), ("tenant", TENANT), ("execution", execution_id(2)),
        ("task", None), ("event", "PlanAccepted"), ("actor", "planner"), ("cause", rows[0]["id"]),
        ("data", rows[1]["data"]),
    ]  # fmt: skip
    assert rows[1]["data"]["plan"]["title"] == "Ship the thing"
    assert [r["standing"] for r in rows].count("quarantined") == 2
    as_stored = found.history(TENANT, execution_id(2), read=lambda data: f"json {data}")
    assert as_stored[1]["data"] == "json " + msgspec.json.encode(rows[1]["data"]).decode()
    of_task = found.history(TENANT, execution_id(2), "3")
    assert [r["event"] for r in of_task] == ["TaskReady", "TaskStarted", "AttemptFailed", "TaskFailed"]


def test_the_history_is_read_page_by_page() -> None:
    found = two_tenants()
    pages, after = [], 0
    while page := found.history(TENANT, execution_id(1), after=after, limit=7):
        pages += page
        after = page[-1]["seq"]
    assert pages == found.history(TENANT, execution_id(1))


def test_garbage_before_the_submission_is_part_of_the_history() -> None:
    story = Story()
    story.noise(b"{", name="PlanSubmitted", entity="~in")
    story.submit()
    found = answers(story)
    assert [r["standing"] for r in found.history(TENANT, EXECUTION_ID)] == ["quarantined", "ok"]


# -- names --------------------------------------------------------------------------------------------------------


def distinct() -> Answers:
    story = Story()
    for tenant, id in (
        (TENANT, "aaaaaaa1-0000-7000-8000-000000000001"),
        (TENANT, "aaaaaaa2-0000-7000-8000-000000000001"),
        (TENANT, "bbbbbbb1-0000-7000-8000-000000000001"),
        (OTHER_TENANT, "cccccccc-0000-7000-8000-000000000001"),
    ):
        story.another(tenant, id).submit()
    return Answers(replay(story.records))


@pytest.mark.parametrize("named", ["bbbbbb", "bbbbbbb1-0000", "BBBBBBB1-0000-7000-8000-000000000001"])
def test_an_unambiguous_beginning_is_enough(named: str) -> None:
    found = distinct()
    assert found.status(TENANT, named)["execution"].startswith("bbbbbbb1")
    assert found.history(TENANT, named)
    assert found.resolve(TENANT, named) == (TENANT, "bbbbbbb1-0000-7000-8000-000000000001")


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ("aaaaaaa", "several executions start with 'aaaaaaa': aaaaaaa2-"),
        ("bbbbb", "did you mean bbbbbbb1-"),
        ("bbbbbbb9-0000", "did you mean bbbbbbb1-"),
        ("cccccccc-0000-7000-8000-000000000001", "there is no execution 'cccccccc-0000-7000-8000-000000000001'$"),
        ("cccccccc", "there is no execution 'cccccccc'$"),
        ("' or 1=1 --", "there is no execution"),
        ("%", "there is no execution"),
        ("", "there is no execution ''$"),
    ],
)
def test_an_unknown_execution_gets_help_but_never_another_tenants_ids(named: str, words: str) -> None:
    with pytest.raises(UnknownExecution, match=words) as raised:
        distinct().status(TENANT, named)
    assert not any(s.startswith("cccc") for s in raised.value.suggestions)
    assert isinstance(raised.value, KeyError)


def test_the_operator_sees_all() -> None:
    assert distinct().status(None, "cccccc")["tenant"] == OTHER_TENANT


def test_an_empty_store_answers() -> None:
    with Store() as store:
        found = Answers(store)
        assert found.executions(TENANT) == []
        with pytest.raises(UnknownExecution):
            found.history(TENANT, EXECUTION_ID)
