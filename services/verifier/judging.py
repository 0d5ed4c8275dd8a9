"""Judging a tree in a clean checkout: the repository, the place, the checks, and what is kept as evidence."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from events.branch import BranchCreated
from events.fold import ExecutionFold, TaskFold
from events.log import Conflict, Recorded
from events.log.streams import EVIDENCE
from events.task import Artifact, TaskExecuted
from events.verdict import Result
from schemas.grants import resolved
from schemas.names import BRANCH, encode
from schemas.values import Criterion
from services.branches import repository_of, show_head
from services.sandbox import Access, Limits, Sandbox, Sandboxes
from services.sandbox.terms import terms, widened
from services.secrets.grants import SecretProblem, Secrets
from services.shell import Context, Decision
from services.verifier.checks import Place
from services.verifier.decide import (
    automatic,
)
from services.verifier.runners.around import Baselines
from services.verifier.runners.judging import by_policy, judge_all
from services.verifier.runners.results import broken
from services.verifier.runners.surroundings import are_needed, surroundings
from services.workspace import Repository, Workspace


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """What the branch would become: judged as it is, or not at all."""

    head: str
    """Where the branch stands."""
    tree: str
    commit: str | None
    """The commit that would land on the head; None if the task changed nothing."""
    before: str = ""
    """The tree of the head."""
    work: str = ""
    """The tree with the task's own work alone, before the plan's files are brought up to date."""
    written: str = ""
    """What it says in the plan's own files."""


class Judging:
    """What it takes to judge a commit of an execution."""

    def __init__(self, context: Context, *, home: Path, sandboxes: Sandboxes, passed: dict[str, str]) -> None:
        self.context = context
        self.home = home
        self.sandboxes = sandboxes
        self.passed = passed
        self.baselines = Baselines()
        self.secrets = context.secrets or Secrets(home)

    async def _repository(self, fold: ExecutionFold, trigger: Recorded) -> Repository:
        """The engine's repository, with the execution's branch in it."""

        async def create(fact: BranchCreated) -> None:
            if fold.created is not None:
                return
            with contextlib.suppress(Conflict):  # another copy said so first, and that stands
                await self.context.append(self.context.draft(fold, Decision(entity=BRANCH, fact=fact), trigger.id))

        return await repository_of(self.home / "repos", fold, create, self._confirm)

    async def _confirm(self) -> None:
        await self.context.folds.reached(await self.context.log.last_sequence())

    async def _stand(self, fold: ExecutionFold, commit: str | None, trigger: Recorded) -> tuple[Repository, str]:
        """The repository, and the commit to judge: the one named, or where the branch begins."""

        repository = await self._repository(fold, trigger)
        assert fold.created is not None
        return repository, commit or fold.created.base

    async def _judge(
        self,
        repository: Repository,
        candidate: Candidate,
        fold: ExecutionFold,
        task: TaskFold,
        fact: object,
        checks: Sequence[Criterion] | None = None,
    ) -> list[Result]:
        """Run the criteria and what policy adds, or the checks named, in a clean checkout of the candidate."""
        assert fold.plan is not None
        criteria = automatic(task) if checks is None else list(checks)
        if checks is None and candidate.commit is not None and not task.spec.noop:
            criteria += by_policy(fold.plan.policy, criteria)
        if not criteria:
            return []
        try:
            secrets = await self.secrets.open(fold.tenant, fold.plan)
        except SecretProblem as error:
            return [broken(criterion, f"could not be judged: {error}") for criterion in criteria]
        folder = self.home / "judge" / fold.tenant / fold.id / f"{encode(task.spec.id)}.{task.attempt}.{time.time_ns()}"
        folder.mkdir(mode=0o700, parents=True)
        workspace: Workspace | None = None

        async def output() -> bytes:
            kept = fact.output if isinstance(fact, TaskExecuted) else None
            return await self.context.log.get_blob(f"artifacts-{fold.tenant}", kept.sha256) if kept else b""

        try:
            for name in ("home", "tmp", "output"):
                (folder / name).mkdir()
            workspace = await Workspace.create(
                repository, folder / "files", candidate.commit or candidate.head, root=self.home
            )
            checkout, policy = workspace.path, fold.plan.policy

            async def confine() -> tuple[Sandbox, Limits, Access]:
                limits, access = terms(policy.isolation, task.spec.isolation, self.home)
                sandbox = await self.sandboxes.choose(policy.sandbox, ports=bool(access.ports))
                write = (checkout, folder / "home", folder / "tmp")
                return sandbox, limits, widened(access, read=(repository.objects_dir,), write=write)

            place = Place(
                files=checkout, scratch=folder / "output", output=output, keep=self._keep,
                confine=confine, env=self._environment(fold, task, folder, checkout), secrets=secrets,
                reach=resolved(policy.isolation, task.spec.isolation),
            )  # fmt: skip
            if not any(are_needed(criterion) for criterion in criteria):
                return await judge_all(criteria, place)
            known = surroundings(
                repository, fold, task, head=candidate.head, tree=candidate.tree, folder=folder, root=self.home,
                baselines=self.baselines,
            )  # fmt: skip
            async with known as around:
                return await judge_all(criteria, replace(place, around=around))
        finally:
            if workspace is not None:
                await workspace.remove(folder)
            else:
                await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    def _environment(self, fold: ExecutionFold, task: TaskFold, folder: Path, files: Path) -> dict[str, str]:
        assert fold.plan is not None
        return {
            **self.passed,
            "HOME": str(folder / "home"),
            "TMPDIR": str(folder / "tmp"),
            **fold.plan.env,
            **task.spec.env,
            "NIGHTSHIFT_EXECUTION": fold.id,
            "NIGHTSHIFT_TASK": task.spec.id,
            "NIGHTSHIFT_ATTEMPT": str(task.attempt),
            "NIGHTSHIFT_WORKSPACE": str(files),
        }

    async def _keep(self, data: bytes) -> str:
        return await self.context.log.put_blob(EVIDENCE, data)

    async def _evidence(
        self, fold: ExecutionFold, task: TaskFold, candidate: Candidate, results: list[Result]
    ) -> Artifact | None:
        """The verdict as a document, durable before it is said."""
        if not results:
            return None
        document = {
            "execution": fold.id, "task": task.spec.id, "attempt": task.attempt, "lease": task.lease,
            "head": candidate.head, "commit": candidate.commit, "tree": candidate.tree, "results": results,
        }  # fmt: skip
        raw = msgspec.json.format(msgspec.json.encode(document), indent=2)
        return Artifact(sha256=await self._keep(raw), size=len(raw), total=len(raw), media="application/json")

    async def mend_branch(self, fold: ExecutionFold) -> None:
        """Make the ref say what the log says; a verdict may be folded here and its landing not yet."""
        if fold.created is None:
            return
        repository = Repository.open(self.home / "repos", name=fold.created.repository)
        await show_head(repository, fold, fold.created.name, self._confirm)
