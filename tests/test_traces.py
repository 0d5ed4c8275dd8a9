"""Traces: what they show of a history, and that processes which share nothing make one of them."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from events import ExecutionCancelled, ExecutionReopened, TaskCancelled, TaskDelivered, TaskReady, TaskTaken
from events.log import Appended, Conflict, Recorded
from events.log.memory import MemoryLog
from events.log.spans import Context, Span, all_of, context_of, ended, traceparent_of
from events.log.traced import Traced, Tracing
from schemas.names import EXECUTION
from tests.controls import (
    CONVERSATION,
    EXECUTION_ID,
    OTHER_TENANT,
    TENANT,
    Story,
    life,
    plan,
    recorded,
    task,
    verified_fact,
)
from tests.otlp import receiving
from tests.test_processes import world
from tests.worlds import draft

GIVEN = f"00-{'ab' * 16}-{'cd' * 8}-01"
OURS = context_of(TENANT, EXECUTION_ID)


def connected(spans: Sequence[Span], outside: str = "") -> Span:
    """Assert that this is one tree in one trace, and return its root."""
    ids = Counter(span.id for span in spans)
    assert max(ids.values()) == 1
    assert len({span.trace for span in spans}) == 1
    (root,) = [span for span in spans if span.parent == outside]
    assert [s.name for s in spans if s.parent not in ids and s is not root] == []
    return root


def test_a_life_is_one_tree_with_the_times_of_the_log() -> None:
    history = life()
    spans = all_of(history, OURS)
    root = connected(spans)
    assert (root.name, root.start_ns, root.end_ns) == ("execution", history[0].at_ns, history[-1].at_ns)
    assert root.failed
    names = Counter(span.name for span in spans)
    assert names == {"execution": 1, "task 1": 1, "task 2": 1, "task 3": 1, "attempt": 5, "verification": 3}
    one = next(s for s in spans if s.name == "task 1")
    assert [s.failed for s in spans if s.parent == one.id and s.name == "attempt"] == [True, False, False]
    assert [s.failed for s in spans if s.parent == one.id and s.name == "verification"] == [True, False]
    assert all(s.start_ns <= s.end_ns for s in spans)


def test_what_each_end_ends_adds_up_to_the_whole() -> None:
    """A service sees only the history of what it appended to; the tree is the same."""
    history = life()
    piece_by_piece = []
    for event in history:
        of_it = history if event.entity == EXECUTION else [r for r in history if r.entity == event.entity]
        piece_by_piece += ended(of_it, event.sequence, OURS)
    assert piece_by_piece == all_of(history, OURS)


def test_an_end_of_the_execution_ends_what_is_open() -> None:
    story = Story()
    story.submit(plan(task("1"), task("2"), task("3")))
    story.accept()
    story.start("1")
    story.say(TaskReady(attempt=1), "2")
    story.start("3")
    story.say(TaskCancelled(reason="cancelled", attempt=1, lease=story.lease["3"]), "3")
    story.say(ExecutionCancelled(verified=0, cancelled=3))
    spans = all_of(story.records, OURS)
    connected(spans)
    assert {s.name: s.failed for s in spans} == {
        "attempt": None, "task 1": None, "task 2": None, "task 3": None, "execution": None,
    }  # fmt: skip


def test_a_task_that_is_tried_again_later_has_a_second_span_below_the_same_root() -> None:
    story = Story()
    story.records.extend(life())
    story.say(ExecutionReopened(tasks=("3",), reason="again"))
    story.start("3", 2)
    story.verify("3", 2)
    story.complete()
    spans = all_of(story.records, OURS)
    root = connected(spans)
    threes = [s for s in spans if s.name == "task 3"]
    assert [(s.parent, s.failed) for s in threes] == [(root.id, True), (root.id, False)]
    assert [s.parent for s in spans if s.name == "execution, opened again"] == [root.id]


def test_a_task_that_a_person_takes_over_ends_the_attempt_that_ran() -> None:
    story = Story()
    story.submit(plan(task("1")))
    story.accept()
    story.start("1")
    taken = story.say(TaskTaken(attempt=1, by="acme/ada"), "1")
    story.say(TaskDelivered(attempt=1, lease=taken.id, by="acme/ada"), "1")
    story.say(verified_fact(taken.id), "1")
    story.complete()
    spans = all_of(story.records, OURS)
    connected(spans)
    assert [(s.name, s.attributes["nightshift.end"]) for s in spans] == [
        ("attempt", "TaskTaken"), ("attempt by hand", "TaskDelivered"), ("verification", "TaskVerified"),
        ("task 1", "TaskVerified"), ("execution", "ExecutionCompleted"),
    ]  # fmt: skip


def test_a_notice_hangs_below_its_execution() -> None:
    sent = dataclasses.replace(
        recorded(ExecutionCancelled(verified=0, cancelled=0), sequence=9),
        name="NoticeSent", fact=SimpleNamespace(seconds=1.5),
    )  # fmt: skip
    (span,) = ended([sent], 9, OURS)
    assert (span.name, span.parent, span.failed) == ("notice", OURS.root, False)
    assert span.end_ns - span.start_ns == 1_500_000_000


@pytest.mark.parametrize(
    ("given", "context"),
    [
        (GIVEN, Context(trace="ab" * 16, root=OURS.root, parent="cd" * 8)),
        (GIVEN[:-1] + "0", Context(trace="ab" * 16, root=OURS.root, parent="cd" * 8, sampled=False)),
        ("", OURS),
        (f"00-{'0' * 32}-{'cd' * 8}-01", OURS),
        (f"00-{'ab' * 16}-{'0' * 16}-01", OURS),
        ("00-xyz", OURS),
    ],
)
def test_the_submitters_trace_is_taken_up_if_it_is_one(given: str, context: Context) -> None:
    assert context_of(TENANT, EXECUTION_ID, given) == context


def test_tenants_that_use_one_id_have_a_trace_each() -> None:
    other = context_of(OTHER_TENANT, EXECUTION_ID)
    assert {other.trace, other.root}.isdisjoint({OURS.trace, OURS.root})


# -- the decorator --------------------------------------------------------------------------------------------------


class Kept:
    """A sink that keeps."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.closed = False

    def emit(self, service: str, spans: Sequence[Span]) -> None:
        self.spans += [dataclasses.replace(s, attributes={"service": service}) for s in spans]

    def close(self) -> None:
        self.closed = True


async def submitted(log: MemoryLog, trace: str) -> None:
    body = json.dumps({"plan": {"title": "x"}, "conversation_id": CONVERSATION}).encode()
    await log.publish_raw(f"evt.acme.{EXECUTION_ID}.~in.PlanSubmitted", body, {"traceparent": trace} if trace else {})


@pytest.mark.parametrize("given", ["", GIVEN], ids=["ours", "the submitter's"])
async def test_what_is_appended_is_traced(given: str) -> None:
    inner, kept = MemoryLog(), Kept()
    tracing = Tracing(kept)
    log = Traced(inner, "planner", tracing)
    await submitted(inner, given)
    records = [dataclasses.replace(r) for r in life()]
    leases: dict[str, str] = {}
    for number, r in enumerate(records):  # ids differ from the story's, so leases have to be looked up
        if (lease := getattr(r.fact, "lease", None)) in leases:
            records[number] = dataclasses.replace(r, fact=dataclasses.replace(r.fact, lease=leases[lease]))
        if r.standing == "ok" and r.entity != "~in":
            await told_one(log, records[number])
        if r.name == "TaskStarted":
            leases[r.id] = [x async for x in inner.read("evt.>")][-1].id
    await tracing.close()
    root = connected(kept.spans, outside="cd" * 8 if given else "")
    assert Counter(s.name for s in kept.spans) == Counter(s.name for s in all_of(life(), OURS))
    assert root.trace == ("ab" * 16 if given else OURS.trace)
    assert {s.attributes["service"] for s in kept.spans} == {"planner"}
    assert kept.closed
    stored = [r async for r in inner.read("evt.>")]
    assert {r.trace for r in stored[1:]} == {traceparent_of(OURS)}


async def told_one(log: Traced, r: Recorded) -> Appended:
    """Append one fact where its entity stands."""
    last = [x.sequence async for x in log.read(f"evt.{r.tenant}.{r.execution}.>") if x.entity == r.entity]
    ours = draft(
        r.fact, r.entity, tenant=r.tenant, execution=r.execution, cause=r.cause or "11" * 16,
        expected=last[-1] if last else 0,
    )  # fmt: skip
    (where,) = await log.append(ours)
    return where


async def test_a_lost_race_is_no_span() -> None:
    kept = Kept()
    tracing = Tracing(kept)
    log = Traced(MemoryLog(), "planner", tracing)
    cancelled = recorded(TaskCancelled(reason="x"), "1")
    await told_one(log, cancelled)
    with pytest.raises(Conflict):
        await log.append(draft(TaskCancelled(reason="y"), "1", tenant="acme", execution=EXECUTION_ID, cause="2" * 32))
    await tracing.close()
    assert kept.spans == []


async def test_who_is_not_sampled_is_not_exported() -> None:
    inner, kept = MemoryLog(), Kept()
    tracing = Tracing(kept)
    await submitted(inner, GIVEN[:-1] + "0")
    log = Traced(inner, "planner", tracing)
    await told_one(log, recorded(ExecutionCancelled(verified=0, cancelled=0)))
    await tracing.close()
    assert kept.spans == []


def test_nothing_of_it_is_loaded_while_it_is_off() -> None:
    code = (
        "import sys, services.hosting, services.__main__, projections.service, nightshift.__main__\n"
        "from schemas.settings import Settings\n"
        "services.hosting.Host(Settings(), str)\n"
        "bad = [m for m in sys.modules if m.split('.')[0] in ('opentelemetry', 'prometheus_client', 'psycopg')]\n"
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.whole
async def test_processes_that_share_nothing_make_one_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "nightshift.toml").write_text(
        "[notify]\nplugins = false\ntable = false\n"
        "[notify.channels]\nvoice = {kind = 'voice', enabled = false}\nfile = {kind = 'log', gather = 0}\n"
        "[[notify.rules]]\nevent = 'execution_completed'\nchannels = ['file']\n"
    )
    tasks = [
        {"id": "good", "run": "true"},
        {"id": "flaky", "run": 'test "$NIGHTSHIFT_ATTEMPT" = 2', "needs": ["good"]},
        {"id": "judged", "run": "true", "verify": [{"command": "true"}], "needs": ["good"]},
    ]
    traced = {
        "plan": "Traced", "tasks": tasks, "policy": {"max_attempts": 3, "backoff": {"first": "100ms", "max": "100ms"}},
    }  # fmt: skip
    with receiving() as receiver:
        for name, value in {**receiver.environment, "NIGHTSHIFT_TELEMETRY": "otlp"}.items():
            monkeypatch.setenv(name, value)
        processes = ("planner", "verifier", "executor-1", "executor-2", "notifier", "learner", "projections")
        async with world(tmp_path / "home", *processes) as (here, client):
            execution, _ = await client.submit({"plan.json": json.dumps(traced)}, root="plan.json", actor="tester")
            (end,) = await here.until("ExecutionCompleted")
            await here.until("NoticeSent")
            await here.until("LessonLearned", count=3)
            context = context_of("default", execution)
            history = list(here.history)
            expected = all_of(history, context)
            async with asyncio.timeout(10):
                while {s.id for s in expected} - {s.id for s in receiver.spans}:  # noqa: ASYNC110  # another thread
                    await asyncio.sleep(0.05)
        spans = receiver.spans
    assert {s.service for s in spans} == {f"nightshift-{n}" for n in ("planner", "executor", "verifier", "notifier")}
    (notice,) = [s for s in spans if s.name == "notice"]
    assert (notice.service, notice.parent) == ("nightshift-notifier", context.root)
    (root,) = [s for s in spans if not s.parent]
    assert {s.trace for s in spans} == {root.trace} == {context.trace}
    ids = {s.id for s in spans}
    assert len(ids) == len(spans)
    assert {s.parent for s in spans if s is not root} <= ids
    assert root.end_ns == end.at_ns
    assert sorted((s.id, s.parent, s.start_ns, s.end_ns) for s in spans) == sorted(
        (s.id, s.parent, s.start_ns, s.end_ns) for s in expected
    )
    assert {
        attribute.value.string_value
        for request in receiver.metrics
        for attribute in request.resource_metrics[0].resource.attributes
        if attribute.key == "service.name"
    } == {"nightshift-projections"}
    assert all(r.trace.startswith(f"00-{root.trace}-{root.id}") for r in history if r.entity != "~in")
