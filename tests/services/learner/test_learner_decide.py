"""What the learner decides: from a story of the log to a lesson, a point, a recommendation."""

from __future__ import annotations

import uuid
from dataclasses import replace

import msgspec
import pytest

from events import (
    AttemptFailed,
    AttemptTimedOut,
    FileOperation,
    LessonLearned,
    Similar,
    TaskBlocked,
    TaskDelivered,
    TaskFailed,
    TaskInterrupted,
    TaskReady,
    Usage,
)
from events.fold import fold
from events.log import Recorded
from schemas.names import LESSONS
from services.learner.decide import (
    FILES,
    Found,
    attempts,
    comparisons,
    due,
    estimate,
    lesson,
    payload,
    point_id,
    resolved,
    similar_of,
)
from tests.controls import (
    BASE,
    EXECUTION_ID,
    OUTPUT,
    TENANT,
    Story,
    executed_fact,
    plan,
    rejected_fact,
    started_fact,
    task,
    verified_fact,
)

GOOD, BAD = "c0de" * 10, "bad0" * 10
DIFF = [FileOperation(path="a.py", status="M", added=3, removed=1)]
OUT = "$ pip install yaml\nTraceback (most recent call last):\nModuleNotFoundError: No module named 'yaml'\n"


def story(**spec: object) -> Story:
    found = Story()
    found.submit(plan(task("1", title="Deploy MinIO container", description="With a bucket.", **spec)))
    found.accept()
    return found


def failed(found: Story, attempt: int, reason: str = "exit code 1") -> None:
    lease = found.lease["1"]
    fact = AttemptFailed(attempt=attempt, lease=lease, reason=reason, usage=Usage(seconds=4.0), output=OUTPUT)
    found.say(fact, "1")


def learn(
    found: Story, end: Recorded, outputs: dict[int, str] | None = None, **changes: list[FileOperation]
) -> LessonLearned:
    state = fold(found.tenant, found.execution, found.records)
    tries = attempts([r for r in found.records if r.entity == "1"], end)
    pairs = {(BASE, GOOD): DIFF, (BAD, GOOD): DIFF[:0]}
    return lesson(state, end, tries, Found(outputs or {}, pairs))


def rejected_then_verified(found: Story) -> Recorded:
    """An attempt is rejected, the next one holds."""
    found.start("1")
    found.say(replace(executed_fact(found.lease["1"]), commit=BAD), "1")
    found.say(rejected_fact(found.lease["1"]), "1")
    found.say(TaskReady(attempt=2), "1")
    found.say(started_fact(2), "1")
    found.say(executed_fact(found.lease["1"], 2), "1")
    return found.say(verified_fact(found.lease["1"], 2), "1")


def failed_then_verified(found: Story) -> Recorded:
    """An attempt fails, the next one holds."""
    found.start("1")
    failed(found, 1)
    found.say(TaskReady(attempt=2), "1")
    found.say(started_fact(2), "1")
    found.say(executed_fact(found.lease["1"], 2), "1")
    return found.say(verified_fact(found.lease["1"], 2), "1")


def test_a_verified_task_is_a_lesson_once() -> None:
    found = story()
    end = failed_then_verified(found)
    state = fold(TENANT, EXECUTION_ID, found.records)
    assert due(state, end) == "lesson"
    accepted = next(r for r in found.records if r.name == "PlanAccepted")
    assert due(state, accepted) == "recommendation"
    found.say(learn(found, end), LESSONS, cause=end)
    state = fold(TENANT, EXECUTION_ID, found.records)
    assert due(state, end) == "nothing"
    assert due(state, accepted) == "recommendation"
    found.complete()
    assert due(fold(TENANT, EXECUTION_ID, found.records), accepted) == "nothing"
    assert state.guard_of(LESSONS) == found.records[-2].sequence
    assert state.guard_of("1") == end.sequence, "learning moves nobody else's guard"


def test_a_task_that_ran_nothing_teaches_nothing() -> None:
    found = story(noop=True, run=None, verify=())
    found.start("1")
    found.say(executed_fact(found.lease["1"]), "1")
    end = found.say(verified_fact(found.lease["1"]), "1")
    assert due(fold(TENANT, EXECUTION_ID, found.records), end) == "nothing"


def test_a_lesson_holds_what_happened() -> None:
    found = story(run="set -e\ndocker run minio/minio\ncurl -X PUT http://127.0.0.1:9000/bucket")
    end = failed_then_verified(found)
    said = learn(found, end, {1: OUT, 2: "warning: default region\n"})
    assert (said.task, said.attempt, said.title, said.task_type, said.tool) == (
        "1", 2, "Deploy MinIO container", "run", "docker",
    )  # fmt: skip
    assert (said.success, said.outcome, said.duration_seconds, said.total_seconds) == (True, "verified", 12.5, 16.5)
    assert (said.end, said.ended_at) == (end.id, "2026-09-21T14:13:31.000+00:00")
    assert said.commands == ("set -e", "docker run minio/minio", "curl -X PUT http://127.0.0.1:9000/bucket")
    assert said.warnings == ("warning: default region",)
    assert said.api_calls == ("PUT 127.0.0.1:9000/bucket",)
    assert (said.file_operations, said.files_changed) == (tuple(DIFF), 1)
    assert [(t.attempt, t.outcome, t.reason, [e.text for e in t.errors]) for t in said.tries] == [
        (1, "failed", "exit code 1", ["ModuleNotFoundError: No module named 'yaml'"]), (2, "verified", "", []),
    ]  # fmt: skip


def test_a_given_up_task_is_a_lesson_too() -> None:
    for fact, outcome in (
        (TaskFailed(attempts=1, reason="x"), "failed"),
        (TaskBlocked(attempts=1, reason="x"), "blocked"),
    ):
        found = story()
        found.start("1")
        failed(found, 1)
        said = learn(found, found.say(fact, "1"), {1: "boom"})
        assert (said.success, said.outcome, said.resolutions, said.attempt) == (False, outcome, (), 1)
        assert [e.text for e in said.tries[0].errors] == ["exit code 1"]


def test_a_time_out_counts_and_an_interruption_does_not() -> None:
    found = story()
    found.start("1")
    found.say(TaskInterrupted(attempt=1, lease=found.lease["1"], reason="shut down"), "1")
    found.say(started_fact(1), "1")
    found.say(AttemptTimedOut(attempt=1, lease=found.lease["1"], limit=5.0, usage=Usage(seconds=5.0)), "1")
    said = learn(found, found.say(TaskFailed(attempts=1, reason="x"), "1"))
    assert [(t.attempt, t.outcome, t.seconds) for t in said.tries] == [(1, "timed_out", 5.0)]
    assert [e.text for e in said.tries[0].errors] == ["took longer than <n> s"]


def test_what_came_after_the_end_is_another_lesson() -> None:
    found = story()
    found.start("1")
    failed(found, 1)
    end = found.say(TaskFailed(attempts=1, reason="x"), "1")
    found.say(TaskReady(attempt=2), "1")
    found.say(started_fact(2), "1")
    found.say(executed_fact(found.lease["1"], 2), "1")
    found.say(verified_fact(found.lease["1"], 2), "1")
    assert [t.attempt for t in learn(found, end).tries] == [1]


def test_an_agent_that_changed_something_resolved_it() -> None:
    found = story(run=None, agent="./night-agent.sh --fast", prompt="Do it.")
    said = learn(found, failed_then_verified(found), {1: OUT, 2: "$ pip install yaml\n$ pip install pyyaml\n"})
    assert (said.task_type, said.tool) == ("agent", "night-agent.sh")
    [way] = said.resolutions
    assert (way.text, way.failed, way.solved, way.kind) == (
        "ModuleNotFoundError: No module named 'yaml'",
        1,
        2,
        "changed",
    )
    assert way.commands == ("pip install pyyaml",)
    assert way.files == tuple(DIFF)


def test_a_command_that_ran_again_was_resolved_by_repetition() -> None:
    found = story()
    [way] = learn(found, failed_then_verified(found), {1: OUT}).resolutions
    assert (way.kind, way.files, way.commands) == ("repeated", (), ())


def test_a_person_who_delivered_it_resolved_it() -> None:
    found = story()
    found.start("1")
    failed(found, 1)
    found.say(TaskDelivered(attempt=2, lease="", by="acme/ada", commit=GOOD, base=BASE), "1")
    said = learn(found, found.say(verified_fact("", 2), "1"), {1: OUT})
    assert (said.success, said.duration_seconds, said.commands) == (True, None, ())
    [way] = said.resolutions
    assert (way.kind, way.files, way.solved) == ("changed", tuple(DIFF), 2)


def test_two_results_are_compared_with_each_other() -> None:
    found = story(run=None, agent="./agent.sh", prompt="Do it.")
    end = rejected_then_verified(found)
    tries = attempts([r for r in found.records if r.entity == "1"], end)
    assert comparisons(tries) == {(BASE, GOOD), (BAD, GOOD)}
    [way] = learn(found, end).resolutions
    assert (way.kind, way.files) == ("repeated", ()), "the two results are the same, so something else was different"
    assert [t.outcome for t in learn(found, end).tries] == ["rejected", "verified"]


def test_a_lesson_is_bounded() -> None:
    found = story(run="\n".join(f"echo {'x' * 900} {n}" for n in range(500)))
    found.plan = plan(replace(found.plan.tasks[0], description="d" * 100_000, title="t" * 5000))
    end = failed_then_verified(found)
    state = fold(TENANT, EXECUTION_ID, found.records)
    many = [FileOperation(path=f"{n}.txt", status="A", added=1, removed=0) for n in range(5000)]
    tries = attempts([r for r in found.records if r.entity == "1"], end)
    noise = "".join(
        f"Error: {'y' * 500} {chr(97 + n % 26)}\nwarning: {'z' * 500}{n}\n$ cmd{n}\n" for n in range(20_000)
    )
    said = lesson(state, end, tries, Found({1: noise, 2: noise}, {(BASE, GOOD): many}))
    assert len(said.file_operations) == FILES
    assert said.files_changed == 5000
    assert len(msgspec.json.encode(said)) < 40_000


def test_an_id_follows_from_what_it_is_about() -> None:
    one = point_id(TENANT, EXECUTION_ID, "1", 1)
    assert uuid.UUID(one).version == 5
    assert one == point_id(TENANT, EXECUTION_ID, "1", 1)
    others = {
        point_id("x", EXECUTION_ID, "1", 1),
        point_id(TENANT, EXECUTION_ID, "1", 2),
        point_id(TENANT, EXECUTION_ID, "11", 1),
    }
    assert len(others | {one}) == 4


def test_a_point_has_the_founding_fields() -> None:
    found = story()
    said = payload(TENANT, EXECUTION_ID, learn(found, failed_then_verified(found), {1: OUT}))
    assert {
        "conversation_id", "task_title", "task_type", "success", "duration_seconds", "commands", "errors", "timestamp",
        "warnings", "file_operations", "api_calls", "execution_id", "tenant",
    } <= set(said)  # fmt: skip
    assert said["errors"] == ["ModuleNotFoundError: No module named 'yaml'"]
    assert said["file_operations"] == ["M a.py"]
    shown = similar_of(said, 0.5)
    assert (shown.execution_id, shown.task_title, shown.similarity) == (EXECUTION_ID, "Deploy MinIO container", 0.5)


def test_an_estimate_is_the_median_of_what_went_well() -> None:
    def hit(seconds: float | None, success: bool = True) -> Similar:
        return Similar(
            execution_id="e", task="t", attempt=1, similarity=0.5, task_title="x", success=success, duration=seconds,
            commands=(), errors=(), timestamp="",
        )  # fmt: skip

    assert estimate([hit(1.0), hit(100.0), hit(7.0), hit(0.1, success=False), hit(None)]) == 7.0
    assert estimate([hit(1.0, success=False)]) is None


def test_ways_that_helped_more_often_come_first() -> None:
    points = []
    for number, commands in enumerate([("a",), ("b",), ("b",), ("a",), ("b",)]):
        found = story(run=None, agent="./agent.sh", prompt="Do it.")
        shown = "".join(f"$ {c}\n" for c in commands)
        said = learn(found, failed_then_verified(found), {1: OUT, 2: shown})
        points.append(payload(TENANT, EXECUTION_ID, replace(said, ended_at=f"2026-01-0{number + 1}T00:00:00Z")))
    found = story()
    found.start("1")
    failed(found, 1)
    points.append(
        payload(TENANT, EXECUTION_ID, learn(found, found.say(TaskFailed(attempts=1, reason="x"), "1"), {1: OUT}))
    )
    signature = points[0]["signatures"][0]
    answer = resolved(signature, points)
    assert answer["error"] == "ModuleNotFoundError: No module named 'yaml'"
    assert [(way["commands"], way["worked"]) for way in answer["resolutions"]] == [(["b"], 3), (["a"], 2)]
    assert answer["resolutions"][0]["where"][0]["timestamp"] == "2026-01-05T00:00:00Z"
    assert len(answer["unresolved"]) == 1


def test_nobody_saw_it() -> None:
    assert resolved("0" * 16, []) == {"signature": "0" * 16, "error": "", "resolutions": [], "unresolved": []}


@pytest.mark.parametrize("name", ["TaskSkipped", "TaskCancelled"])
def test_what_did_not_come_to_an_end_is_not_listened_to(name: str) -> None:
    from events.log.streams import LEARNER_REACTS_TO

    assert name not in LEARNER_REACTS_TO
