"""What the planner answers to ratings."""

from __future__ import annotations

import pytest

from events import ExecutionCompleted, RatingGiven, RatingRecorded, RequestRefused
from services.planner.decide import decide
from tests.controls import TENANT, plan, task
from tests.spec import History, asked, executed, given, ready, running, started, verified

ONE = plan(task("1"), task("2", needs=("1",)))


def done() -> History:
    return given(ONE, running, ready("1"), started("1"), executed("1"), verified("1")).history


def answers(history: History, **said: object) -> list[object]:
    """What the planner says to a rating, besides what is due anyway."""
    history.ask(RatingGiven(**{"request": "r", "rating": 8, "actor": "ada"} | said))  # type: ignore[arg-type]
    found = [d.fact for d in decide(history.fold)]
    return [fact for fact in found if isinstance(fact, RatingRecorded | RequestRefused)]


@pytest.mark.parametrize("rating", [1, 8, 10])
def test_a_rating_counts(rating: int) -> None:
    assert answers(done(), rating=rating, task="1", notes="neat") == [
        RatingRecorded(rating=rating, by=f"{TENANT}/ada", task="1", notes="neat")
    ]


def test_it_counts_after_the_end_too_and_is_answered_once() -> None:
    history = given(plan(task("1")), running, ready("1"), started("1"), executed("1"), verified("1")).history
    given(history).when().then(("-", ExecutionCompleted(verified=1)))
    given(history, asked(RatingGiven(request="r", rating=9, actor="ada")))
    given(history).when().then(("-", RatingRecorded(rating=9, by=f"{TENANT}/ada")))
    given(history).when().then()
    assert history.fold.state == "completed"


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"rating": 0}, "0 is no rating; give 1 to 10, 10 is best"),
        ({"rating": 11, "task": "1"}, "11 is no rating; give 1 to 10, 10 is best"),
        ({"task": "9"}, "there is no task '9' in this execution"),
        ({"task": "2"}, "task '2' is pending; it has not run yet"),
    ],
)
def test_what_is_no_rating_is_refused(said: dict[str, object], why: str) -> None:
    assert [getattr(fact, "reason", None) for fact in answers(done(), **said)] == [why]


def test_nothing_can_be_rated_where_nothing_was_accepted() -> None:
    (refused,) = answers(History())
    assert isinstance(refused, RequestRefused)
    assert refused.reason == "there is no such execution"
