"""What stands in for the outside: git, commands, criteria, the disk, process ids and clocks."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from events.fold import ExecutionFold, TaskFold
from events.health import HealthWarned
from events.lineage import start_commit
from events.task import Usage
from events.verdict import Result
from schemas.values import Criterion
from services.branches import repository_of
from services.executor.decide import Outcome, needs_workspace
from services.executor.disk import Disk
from services.executor.journal import Note
from services.executor.run import Confirm, CreateBranch, Runner, Tell
from services.executor.watchdog import Space
from services.verifier.decide import automatic
from services.verifier.judging import Candidate
from services.verifier.service import Verifier
from services.workspace import Conflict, FileChange, GitFailed
from tests.simulation.faults import Faults
from tests.simulation.loop import LINE

if TYPE_CHECKING:
    from tests.simulation.process import Process
    from tests.simulation.world import World

Tree = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Commit:
    """A commit as a value."""

    tree: str
    parents: tuple[str, ...]


class Repository:
    """A repository that holds trees and commits as values, and may fail now and then."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.trees: dict[str, Tree] = {}
        self.commits: dict[str, Commit] = {}
        self.refs: dict[str, str] = {}

    def write(self, tree: Mapping[str, str]) -> str:
        value = tuple(sorted(tree.items()))
        identity = hashlib.sha1(repr(value).encode()).hexdigest()
        self.trees[identity] = value
        return identity

    async def _work(self) -> None:
        await asyncio.sleep(0)
        if self.faults.repository_fails():
            raise GitFailed(["git"], 128, "simulated")

    async def empty_commit(self) -> str:
        return await self.commit(self.write({}), parents=[], message="Nothing yet", author_time=0, trailers={})

    async def commit(
        self, tree: str, *, parents: Sequence[str], message: str, author_time: int, trailers: Mapping[str, str]
    ) -> str:
        await self._work()
        value = (tree, tuple(parents), message, author_time, tuple(trailers.items()))
        identity = hashlib.sha1(repr(value).encode()).hexdigest()
        self.commits[identity] = Commit(tree, tuple(parents))
        return identity

    async def tree_of(self, commit: str) -> str:
        await self._work()
        return self.commits[commit].tree if commit in self.commits else commit

    async def parent(self, commit: str) -> str:
        await self._work()
        return self.commits[commit].parents[0]

    async def merge(self, base: str, ours: str, theirs: str) -> str | Conflict:
        await self._work()
        was, mine, other = (
            dict(self.trees[self.commits[c].tree if c in self.commits else c]) for c in (base, ours, theirs)
        )
        merged = dict(mine)
        wrong = []
        for path in sorted({*was, *other}):
            if other.get(path) == was.get(path) or other.get(path) == mine.get(path):
                continue
            if mine.get(path) != was.get(path):
                wrong.append(path)
            elif path in other:
                merged[path] = other[path]
            else:
                merged.pop(path, None)
        return Conflict(files=tuple(wrong), messages=()) if wrong else self.write(merged)

    async def branch(self, name: str) -> str | None:
        await self._work()
        return self.refs.get(name)

    async def set_branch(self, name: str, commit: str, found: str | None) -> bool:
        await self._work()
        if self.refs.get(name) != found:
            return False
        self.refs[name] = commit
        return True


async def read_difference(repository: Repository, a: str, b: str) -> list[FileChange]:
    """As the real one, for trees that are values."""
    await repository._work()
    before, after = dict(repository.trees[a]), dict(repository.trees[b])
    return [
        FileChange(
            path=path, status="A" if path not in before else "D" if path not in after else "M",
            before=before.get(path), after=after.get(path),
        )
        for path in sorted({*before, *after})
        if before.get(path) != after.get(path)
    ]  # fmt: skip


@dataclass
class Child:
    """A command that runs, or would run if nobody had killed it."""

    host: str
    pid: int
    """Of the executor that started it."""
    task: tuple[str, str]
    killed: bool = False


class SimulatedRunner:
    """Runs attempts: instead of a command, a time and an outcome."""

    conclude = staticmethod(Runner.conclude)

    def __init__(self, world: World, process: Process, tell: Tell) -> None:
        self.world = world
        self.process = process
        self.tell = tell

    async def run(
        self,
        fold: ExecutionFold,
        task: TaskFold,
        lease: str,
        stop: asyncio.Event,
        create_branch: CreateBranch,
        confirm: Confirm,
        sandbox: object,
    ) -> Outcome:
        if not needs_workspace(task.spec):
            return Outcome(exit_code=0, usage=Usage(seconds=0.0))
        try:
            await repository_of(Path("/nowhere"), fold, lambda fact: create_branch(fold, fact, lease), confirm)
            commit = start_commit(fold, task)
            assert commit is not None
            if not task.spec.run and not task.spec.agent:
                return Outcome(exit_code=0, usage=Usage(seconds=0.0), base=commit)
            await confirm()
            if stop.is_set():
                return Outcome(error="it was stopped before it began", usage=Usage(seconds=0.0))
            return await self._command(fold, task, lease, stop, commit)
        except GitFailed as error:
            return Outcome(error=f"the workspace: {error}", usage=Usage(seconds=0.0))

    async def _command(
        self, fold: ExecutionFold, task: TaskFold, lease: str, stop: asyncio.Event, commit: str
    ) -> Outcome:
        assert fold.plan is not None
        luck, world = self.world.luck, self.world
        place = (fold.id, task.spec.id)
        for beside in world.children.values():
            if beside.task == place and beside.host == self.process.host and not beside.killed:
                world.checker.notice("two commands of one task side by side on one host")
        child = world.children[lease] = Child(self.process.host, self.process.pid, place)
        limit = task.spec.timeout or fold.plan.policy.timeout
        wants = luck.choice((0.05, 0.5, 1.0, 3.0, 12.0)) * (0.5 + luck.random())
        warning = asyncio.create_task(self._warn(fold, task, lease))
        try:
            stopped = await _rest(stop, min(wants, limit))
        finally:
            warning.cancel()
            await asyncio.gather(warning, return_exceptions=True)
        killed = child.killed
        if stopped:
            await asyncio.sleep(luck.random() * min(fold.plan.policy.grace, 3.0))
        child.killed = True
        usage = Usage(seconds=round(min(wants, limit), 3))
        if stopped or killed or luck.random() < 0.03:
            return Outcome(signal=9 if killed else 15, usage=usage)
        if wants >= limit or luck.random() < 0.02:
            return Outcome(timed_out=True, usage=usage)
        if luck.random() < 0.15:
            return Outcome(exit_code=luck.randint(1, 3), usage=usage)
        return await self._checkpoint(task, commit, usage, fold.now_ns)

    async def _warn(self, fold: ExecutionFold, task: TaskFold, lease: str) -> None:
        """The watchdog says something, perhaps at a bad moment (hazard H5)."""
        after = self.world.faults.warns()
        if after is not None:
            await asyncio.sleep(after)
            fact = HealthWarned(
                kind="silence", stage="warn", value=2.0, limit=1.0, message="quiet", attempt=task.attempt, lease=lease
            )
            await self.tell(fold, task, lease, fact)

    async def _checkpoint(self, task: TaskFold, base: str, usage: Usage, now_ns: int) -> Outcome:
        """What it left behind: a file of its own, one that all write to, or nothing."""
        luck, repository = self.world.luck, self.world.repository
        before = await repository.tree_of(base)
        files = dict(repository.trees[before])
        kind = luck.random()
        if kind < 0.8:
            files[f"{task.spec.id}.txt"] = f"{task.spec.id} {luck.randint(0, 2)}"
        if 0.7 < kind < 0.9:
            files["shared.txt"] = f"{task.spec.id}"
        tree = repository.write(files)
        commit = None
        if tree != before:
            commit = await repository.commit(
                tree, parents=[base], message=task.spec.id, author_time=now_ns // 1_000_000_000, trailers={}
            )
        return Outcome(exit_code=0, usage=usage, base=base, commit=commit, tree=tree)


class SimulatedDisk(Disk):
    """A disk that is below its reserve now and then."""

    def __init__(self, world: World) -> None:
        super().__init__(Path("/"), 1, 0.0)
        self.world = world

    def short(self) -> Space | None:
        return Space(0, 100) if self.world.faults.disk_is_full() else None


class SimulatedVerifier(Verifier):
    """The verifier, with a judge that rolls dice."""

    world: World

    async def _judge(
        self,
        repository: Any,
        candidate: Candidate,
        fold: ExecutionFold,
        task: TaskFold,
        fact: object,
        checks: Sequence[Criterion] | None = None,
    ) -> list[Result]:
        luck = self.world.luck
        results = []
        for criterion in automatic(task) if checks is None else checks:
            await asyncio.sleep(luck.choice((0.0, 0.1, 1.0, 10.0)) * luck.random())
            good = luck.random() < 0.85
            results.append(
                Result(
                    criterion=criterion.id, kind=criterion.kind, text=criterion.text,
                    result="pass" if good else "fail", detail="exit code",
                )
            )  # fmt: skip
        return results


async def _rest(stop: asyncio.Event, seconds: float) -> bool:
    """Wait; True if it was told to stop."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()
    return stop.is_set()


class Journal:
    """The notes of a host, which outlive its processes."""

    def __init__(self, folder: Path) -> None:
        world, process = _here()
        self.world = world
        self.notes: dict[str, Note] = world.notes.setdefault(process.host, {})

    def write(self, note: Note) -> None:
        self.notes[note.lease] = note

    def remove(self, lease: str) -> None:
        self.notes.pop(lease, None)

    def orphans(self) -> list[Note]:
        return [n for n in self.notes.values() if not alive(n.boot_id, n.pid, n.start_ticks)]


def _here() -> tuple[World, Process]:
    from tests.simulation.world import current

    world = current()
    return world, world.lines[LINE.get()]


def alive(boot: str, pid: int, ticks: int) -> bool:
    """A frozen process is alive."""
    return any(p.pid == pid and p.line.state != "dead" for p in _here()[0].processes)


class Unconfined:
    """The sandboxes of a simulated host."""

    async def choose(self, minimum: str | None, *, ports: bool = False) -> SimpleNamespace:
        return SimpleNamespace(level="process")

    async def kill_marked(self, variable: str, value: str) -> int:
        return await kill_marked(variable, value)


async def kill_marked(variable: str, lease: str) -> int:
    world, process = _here()
    await asyncio.sleep(0)
    child = world.children.get(lease)
    if child is None or child.killed or child.host != process.host:
        return 0
    child.killed = True
    return 1


async def never(*_: object) -> None:
    """Instead of looking by oneself: what no trigger brings is to be found, and not to be mended."""
    await asyncio.get_running_loop().create_future()


@contextlib.contextmanager
def seams() -> Iterator[None]:
    """Put the simulated world where the services look for the real one."""
    from tests.simulation.world import current, intake

    def clock() -> float:
        return current().loop.time()

    time = SimpleNamespace(monotonic=clock, time_ns=lambda: int(clock() * 1e9))
    executor, landing, verifier = "services.executor.service", "services.verifier.service", "services.verifier.judging"
    with contextlib.ExitStack() as stack:
        for target, stand_in in {
            f"{executor}.time": time,
            f"{executor}.os": SimpleNamespace(getpid=lambda: _here()[1].pid),
            f"{executor}.socket": SimpleNamespace(gethostname=lambda: _here()[1].host),
            f"{executor}.boot_id": lambda: f"boot-of-{_here()[1].host}",
            f"{executor}.start_ticks": lambda pid: pid * 10,
            f"{executor}.alive": alive,
            f"{executor}.Journal": Journal,
            f"{verifier}.time": time,
            "services.branches.Repository": SimpleNamespace(open=lambda root, *, name: current().repository),
            f"{verifier}.Repository": SimpleNamespace(open=lambda root, *, name: current().repository),
            f"{landing}.time": time,
            f"{landing}.read_difference": read_difference,
            "services.planner.intake.read": intake,
            "services.planner.service.look_again": never,
        }.items():
            stack.enter_context(patch(target, stand_in))
        yield
