"""An executor without room for new work, and one that says things about work that goes on: on the memory log."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from events import BranchCreated, ExecutionStarted, HealthWarned, PlanAccepted, TaskExecuted, TaskReady, Usage
from events.fold import ExecutionFold
from events.log import Appended, Draft, Recorded
from events.log.memory import MemoryLog
from events.log.streams import EXECUTOR
from services.executor import service
from services.executor.decide import Outcome
from services.executor.disk import Disk
from services.executor.run import Runner
from services.executor.service import Executor
from services.folds import Folds
from services.shell import Context, Decision, HandBack, Reactor
from services.workspace.kept import Kept
from tests.controls import BASE, BRANCH_NAME, EXECUTION_ID, REPOSITORY, TENANT, plan, task
from tests.worlds import in_background, until

WARNING = HealthWarned(kind="silence", stage="warn", value=2.0, limit=1.0, message="oh", attempt=1)


class Unconfined:
    """A host that has the weakest sandbox only."""

    async def choose(self, minimum: str | None, *, ports: bool = False) -> SimpleNamespace:
        return SimpleNamespace(level="process")

    async def kill_marked(self, variable: str, value: str) -> int:
        return 0


class Instead:
    """Runs no command."""

    conclude = staticmethod(Runner.conclude)

    async def run(self, *_: Any) -> Outcome:
        return Outcome(exit_code=0, usage=Usage(seconds=0.1), base=BASE, tree="7ee1" * 10)


class Room(Disk):
    """A disk that is as full as the test wants."""

    full = False
    asked = 0

    def needed(self, space: Any) -> int:
        self.asked += 1
        return space.total if self.full else 0


def executor(
    log: MemoryLog, folds: Folds, home: Path, name: str, disk: Disk | None = None, kept: Kept | None = None
) -> Executor:
    context = Context("executor", f"executor@{name}:1", log, folds)
    made = Executor(context, home=home, slots=2, sandboxes=Unconfined(), passed={}, disk=disk, kept=kept)
    made.runner = Instead()  # type: ignore[assignment]
    return made


async def log_with_a_ready_task(*more: Any) -> tuple[MemoryLog, Folds]:
    log = MemoryLog()
    folds = Folds(log)
    fold = ExecutionFold(TENANT, EXECUTION_ID)
    planner = Context("planner", "planner@x:1", log, folds)
    submitted = plan(task("1"), *more)
    facts: list[tuple[str, Any]] = [
        ("-", PlanAccepted(plan=submitted, digest="d1" * 32, requested_by=TENANT)),
        ("-", ExecutionStarted(tasks=len(submitted.tasks))),
        ("~branch", BranchCreated(name=BRANCH_NAME, repository=REPOSITORY, base=BASE)),
        *((each.id, TaskReady(attempt=1)) for each in submitted.tasks),
    ]
    for entity, fact in facts:
        decision = Decision(entity=entity, fact=fact, attempt=getattr(fact, "attempt", 0))
        await log.append(planner.draft(fold, decision, "trigger"))
        fold.apply(log.records[-1])
    return log, folds


def said(log: MemoryLog, *names: str) -> list[Any]:
    return [r for r in log.records if r.name in names]


async def test_below_the_reserve_nothing_starts_it_is_said_once_and_goes_on_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "NO_ROOM", 0.02)
    log, folds = await log_with_a_ready_task(task("2", run=None, noop=True, verify=()))
    room = Room(tmp_path, 0, 0.0)
    room.full = True
    one = executor(log, folds, tmp_path / "one", "one", room)
    async with in_background(folds.follow(), one.run()):
        await until(lambda: room.asked >= 5)
        assert [r.entity for r in said(log, "TaskStarted")] == ["2"], "what needs no files needs no room"
        (warned,) = said(log, "HealthWarned")
        assert (warned.entity, warned.fact.kind, warned.fact.stage, warned.fact.lease) == ("1", "disk", "wait", None)
        assert warned.cause == said(log, "TaskReady")[0].id
        room.full = False
        await until(lambda: len(said(log, "TaskExecuted")) == 2)
        assert len(said(log, "HealthWarned")) == 1


async def test_kept_files_go_before_a_task_has_to_wait(tmp_path: Path) -> None:
    log, folds = await log_with_a_ready_task()
    left = tmp_path / "kept" / TENANT / EXECUTION_ID / "t.1.aaaa1111"
    left.mkdir(parents=True)

    class Filled(Room):
        def needed(self, space: Any) -> int:
            return space.total if left.exists() else 0

    disk = Filled(tmp_path, 0, 0.0)
    one = executor(log, folds, tmp_path, "one", disk, Kept(tmp_path, 3, disk.short))
    async with in_background(folds.follow(), one.run()):
        await until(lambda: bool(said(log, "TaskExecuted")))
    assert said(log, "HealthWarned") == []
    assert not left.exists()


async def test_another_host_with_room_takes_what_was_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "NO_ROOM", 0.02)
    log, folds = await log_with_a_ready_task()
    room = Room(tmp_path, 0, 0.0)
    room.full = True
    full = executor(log, folds, tmp_path / "one", "one", room)
    free = executor(log, folds, tmp_path / "two", "two", Room(tmp_path, 0, 0.0))
    async with in_background(folds.follow(), full.run()):
        await until(lambda: bool(said(log, "HealthWarned")))
        async with in_background(free.run()):
            await until(lambda: bool(said(log, "TaskExecuted")))
    (started,) = said(log, "TaskStarted")
    assert started.fact.worker == "executor@two:1"


class Overtaken(Context):
    """Somebody else warns about the task right before its result is stored."""

    async def append(self, *drafts: Draft) -> list[Appended]:
        (draft,) = drafts
        if isinstance(draft.fact, TaskExecuted) and not said(self.log, "HealthWarned"):  # type: ignore[arg-type]
            warning = replace(WARNING, lease=draft.fact.lease)
            await self.log.append(replace(draft, fact=warning, actor="planner@x:1"))
        return await super().append(*drafts)


async def test_h05_a_warning_in_between_does_not_make_a_live_worker_stale(tmp_path: Path) -> None:
    log, folds = await log_with_a_ready_task()
    one = executor(log, folds, tmp_path, "one")
    one.context = Overtaken("executor", "executor@one:1", log, folds)
    async with in_background(folds.follow(), one.run()):
        await until(lambda: bool(said(log, "TaskExecuted", "StaleResultRefused")))
    assert [r.name for r in said(log, "HealthWarned", "TaskExecuted", "StaleResultRefused")] == [
        "HealthWarned", "TaskExecuted",
    ]  # fmt: skip


async def test_nothing_is_said_about_an_attempt_whose_lease_is_gone(tmp_path: Path) -> None:
    log, folds = await log_with_a_ready_task()
    one = executor(log, folds, tmp_path, "one")
    before = len(log.records)
    async with in_background(folds.follow()):
        fold = await folds.at(log.records[0].tenant, log.records[0].execution, before)
        await one._tell(fold, fold.tasks["1"], "gone", replace(WARNING, lease="gone"))
    assert len(log.records) == before


class Noted:
    """A delivery that notes with which delays it is handed back."""

    def __init__(self, recorded: Recorded) -> None:
        self.recorded = recorded
        self.delays: list[float] = []

    async def nak(self, delay: float = 0.0) -> None:
        self.delays.append(delay)


@pytest.mark.parametrize(("raised", "delay"), [(HandBack(), 0.0), (HandBack(5.0), 5.0)])
async def test_what_is_handed_back_comes_again_after_its_delay(raised: HandBack, delay: float) -> None:
    log, folds = await log_with_a_ready_task()
    delivery: Any = Noted(log.records[-1])

    async def react(*_: Any) -> None:
        raise raised

    await Reactor(Context("executor", "x", log, folds), EXECUTOR, react)._react(delivery)
    assert delivery.delays == [delay]
