"""The verifier's wiring: what was executed comes in; a verdict, and a landing on the branch, go out (hazard H10)."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from events.branch import BranchAdvanced, BranchCreated, BranchReverted, BranchRolledBack, RevertRefused
from events.execution import DeadLetterReleased, ExecutionGatesDue, ExecutionGatesJudged, RevertDue
from events.fold import ExecutionFold, TaskFold
from events.health import TaskCheckpointed
from events.lineage import not_undone
from events.log import Conflict, Delivery, Recorded
from events.log.streams import EVIDENCE, VERIFIER
from events.parts import GateOutcome
from events.task import Artifact, TaskDelivered, TaskExecuted, TaskGatesDue
from events.verdict import AttemptRejected, Result, TaskGatesJudged, TaskVerified
from schemas.gates import gates_of, named
from schemas.names import BRANCH, EXECUTION, encode
from schemas.values import Criterion, Gate, Task
from services.branches import repository_of
from services.sandbox import Access, Limits, Sandbox, Sandboxes
from services.sandbox.terms import terms, widened
from services.secrets.grants import SecretProblem, Secrets
from services.shell import Context, Decision, Reactor
from services.verifier.checks import Place
from services.verifier.decide import (
    automatic,
    conflict,
    exit_result,
    manual_results,
    needs_word,
    next_step,
    question,
    reason_of,
    rejection,
    unasked,
)
from services.verifier.delivery import NotDelivered, Work, delivered_work, executed_work
from services.verifier.gates import outcomes
from services.verifier.policy import Inspection, inspect, oracle_fact, policy_result
from services.verifier.runners.around import Baselines
from services.verifier.runners.judging import by_policy, judge_all
from services.verifier.runners.results import broken
from services.verifier.runners.surroundings import are_needed, surroundings
from services.verifier.taking_back import revert
from services.verifier.write_back import write_back
from services.workspace import Conflict as MergeConflict
from services.workspace import Repository, Workspace, read_difference, read_paths


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """What the branch would become: judged as it is, or not at all."""

    head: str
    """Where the branch stands."""
    tree: str
    commit: str | None
    """The commit that would land on the head; None if the task changed nothing."""
    work: str = ""
    """The tree with the task's own work alone, before the plan's files are brought up to date."""
    written: str = ""
    """What it says in the plan's own files."""


def _touches_no_files(task: TaskFold, fact: object) -> bool:
    """Nothing to check out and nothing to land."""
    changed = fact.tree if isinstance(fact, TaskExecuted) else fact.commit if isinstance(fact, TaskDelivered) else None
    return changed is None and not task.spec.verify


class Verifier:
    """Judges results and lands them. Any number of copies may run."""

    def __init__(
        self, context: Context, *, home: Path, sandboxes: Sandboxes, passed: dict[str, str], width: int
    ) -> None:
        self.context = context
        self.home = home
        self.sandboxes = sandboxes
        self.passed = passed
        self.baselines = Baselines()
        self.secrets = context.secrets or Secrets(home)
        self._landing: dict[tuple[str, str], asyncio.Lock] = {}
        self._reactor = Reactor(context, VERIFIER, self.react, width=width, in_order=False)

    async def run(self) -> None:
        """Serve for ever, until cancelled."""
        await self._reactor.run()

    async def stop(self, grace: float) -> None:
        """Take no more results and finish those at hand, within ``grace`` seconds."""
        await self._reactor.drain(grace)

    async def react(self, trigger: Recorded, delivery: Delivery) -> None:
        """Do what is due about one task, about gates, or about a branch that goes back."""
        fold = await self.context.folds.at(trigger.tenant, trigger.execution, trigger.sequence)
        name = trigger.entity
        match trigger.fact:
            case BranchRolledBack():
                await self.mend_branch(fold)
                return
            case TaskCheckpointed() if not self._gates_during(fold, trigger):
                return
            case ExecutionGatesDue() | TaskGatesDue() | RevertDue() | TaskCheckpointed():
                await self._beside_results(fold, trigger)
                return
            case DeadLetterReleased(task=released):
                await self._released(fold, trigger)
                name = released or name
        while True:
            task = fold.tasks.get(name)
            step = next_step(fold, task)
            if step == "nothing" or task is None or task.executed is None:
                if task is not None and task.verified is not None and task.verified.commit is not None:
                    await self.mend_branch(fold)
                return
            try:
                await self._take(step, fold, task, task.executed, trigger)
            except Conflict:
                continue

    async def _take(
        self, step: str, fold: ExecutionFold, task: TaskFold, executed: Recorded, trigger: Recorded
    ) -> None:
        if step == "denied":
            assert task.granted is not None
            notes = f": {task.granted.notes}" if task.granted.notes else ""
            await self._say(fold, task, rejection(task, f"{task.granted.by} said no{notes}"), executed, trigger)
        elif step == "refuse":
            await self._say(fold, task, unasked(task), executed, trigger)
        elif _touches_no_files(task, executed.fact) and not self._gates(fold, task):
            await self._verify_without_files(fold, task, executed, trigger)
        else:
            lock = self._landing.setdefault((fold.tenant, fold.id), asyncio.Lock())
            async with lock:
                await self._judge_and_land(fold, task, executed, trigger)

    @staticmethod
    def _gates(fold: ExecutionFold, task: TaskFold) -> tuple[Gate, ...]:
        assert fold.plan is not None
        if not fold.plan.gates:
            return ()
        return gates_of(fold.plan, "post_task", task.spec.id) + gates_of(fold.plan, "evaluation", task.spec.id)

    async def _work(self, fold: ExecutionFold, executed: Recorded, trigger: Recorded) -> tuple[Repository, Work]:
        """What there is to judge, in the engine's repository. Raises NotDelivered, GitFailed."""

        repository = await self._repository(fold, trigger)
        if isinstance(executed.fact, TaskDelivered):
            return repository, await delivered_work(repository, fold, executed.fact, self.context.log)
        assert isinstance(executed.fact, TaskExecuted)
        return repository, executed_work(executed.fact)

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

    async def _verify_without_files(
        self, fold: ExecutionFold, task: TaskFold, executed: Recorded, trigger: Recorded
    ) -> None:
        """A task that touches no files: nothing to check out, nothing to land."""
        if needs_word(fold, task) and task.granted is None:
            await self._say(fold, task, question(fold, task), executed, trigger)
            return
        accepted = "noop" if task.spec.noop else "approval" if task.granted else "policy"
        verified = TaskVerified(
            attempt=task.attempt, lease=task.lease, tree=None, commit=None, head=fold.head,
            results=tuple(manual_results(task)), accepted=accepted,
        )  # fmt: skip
        await self._say(fold, task, verified, executed, trigger)

    async def _judge_and_land(self, fold: ExecutionFold, task: TaskFold, executed: Recorded, trigger: Recorded) -> None:
        """The merge queue: judge the tree that the branch would have, then land exactly that."""
        started = time.monotonic()
        fact = executed.fact
        if task.state != "executed" or task.executed is not executed:
            raise Conflict(executed.subject, fold.sequence)
        expected = task.last
        try:
            repository, work = await self._work(fold, executed, trigger)
        except NotDelivered as error:
            await self._say(fold, task, rejection(task, str(error)), executed, trigger, expected=expected)
            return
        candidate = await self._candidate(repository, fold, task, executed, work)
        if isinstance(candidate, AttemptRejected):
            await self._say(fold, task, candidate, executed, trigger, expected=expected)
            return
        inspection = await self._inspect(repository, fold, task, candidate)
        oracle = oracle_fact(task, inspection)
        if oracle is not None:
            expected = await self._say(fold, task, oracle, executed, trigger, expected=expected)
        results = [exit_result(fact)] if task.spec.run and isinstance(fact, TaskExecuted) else []
        if not inspection.refusals:
            results += await self._judge(repository, candidate, fold, task, fact)
        judged = any(r.result == "pass" for r in results)
        if inspection.files:
            results.append(policy_result(task, inspection))
        gates: tuple[GateOutcome, ...] = ()
        if not any(r.result == "fail" for r in results):
            gates = await outcomes(
                self._gates(fold, task), lambda checks: self._judge(repository, candidate, fold, task, fact, checks)
            )
        evidence = await self._evidence(fold, task, candidate, results)
        seconds = round(time.monotonic() - started, 6)
        if any(r.result == "fail" for r in results):
            verdict = rejection(task, reason_of(results), results)
            verdict = replace(verdict, tree=candidate.tree, evidence=evidence, seconds=seconds)
            await self._say(fold, task, verdict, executed, trigger, expected=expected)
            return
        stopped = next((g for g in gates if g.halts), None)
        if stopped is not None:
            verdict = replace(
                rejection(task, f"gate {stopped.gate}: {stopped.reason}", results), tree=candidate.tree,
                evidence=evidence, seconds=seconds, gates=gates,
            )  # fmt: skip
            await self._say(fold, task, verdict, executed, trigger, expected=expected)
            return
        if (inspection.concerns or needs_word(fold, task)) and task.granted is None:
            asked = question(fold, task, inspection.concerns)
            await self._say(fold, task, asked, executed, trigger, expected=expected)
            return
        stood_for = task.granted is not None or (task.delivered and not judged)
        accepted = "approval" if stood_for else "criteria" if judged else "policy"
        verified = TaskVerified(
            attempt=task.attempt, lease=task.lease, tree=candidate.tree, commit=candidate.commit,
            head=candidate.commit or candidate.head, results=tuple(results + manual_results(task)),
            evidence=evidence, seconds=seconds, accepted=accepted, written_back=candidate.written, gates=gates,
        )  # fmt: skip
        await self._land(fold, task, candidate, verified, executed, trigger, expected)

    async def _candidate(
        self, repository: Repository, fold: ExecutionFold, task: TaskFold, executed: Recorded, work: Work
    ) -> Candidate | AttemptRejected:
        """Build the commit on the head, with the same bytes whoever builds it."""
        head = fold.head
        assert head is not None
        before = await repository.tree_of(head)
        tree = before
        if work.commit is not None and work.base is not None:
            merged = await repository.merge(work.base, head, work.commit)
            if isinstance(merged, MergeConflict):
                return conflict(task, merged.files)
            tree = merged
        work_tree = tree
        tree, written = await write_back(repository, fold, task, executed, tree)
        if tree == before:
            return Candidate(head=head, tree=tree, work=work_tree, commit=None, written=written)
        title = task.spec.title or task.spec.id
        commit = await repository.commit(
            tree,
            parents=[head],
            message=f"{task.spec.id}: {title}" if title != task.spec.id else title,
            author_time=executed.at_ns // 1_000_000_000,
            trailers={
                "Nightshift-Execution": fold.id,
                "Nightshift-Task": encode(task.spec.id),
                "Nightshift-Attempt": str(task.attempt),
                "Nightshift-Event": executed.id,
                **({"Nightshift-By": task.taken_by} if task.delivered else {}),
            },
        )
        return Candidate(head=head, tree=tree, work=work_tree, commit=commit, written=written)

    async def _inspect(
        self, repository: Repository, fold: ExecutionFold, task: TaskFold, candidate: Candidate
    ) -> Inspection:
        """Hold what the task really changed against the safety policy, before anything is run or lands."""
        before = await repository.tree_of(candidate.head)
        changes = await read_difference(repository, before, candidate.work) if before != candidate.work else []
        found = inspect(fold, task, changes)
        if found.oracle:  # seldom, so the whole tree is listed only then
            found = inspect(fold, task, changes, await read_paths(repository, before))
        return found

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
                await workspace.remove()
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

    async def _beside_results(self, fold: ExecutionFold, trigger: Recorded) -> None:
        """Gates that are due, and results that are to be taken back. Nobody waits for an answer to an older wish."""
        while True:
            task = fold.tasks.get(trigger.entity)
            try:
                match trigger.fact:
                    case TaskGatesDue() as due if task is not None and trigger.id in fold.owed:
                        await self._gates_before(fold, task, due, trigger)
                    case TaskCheckpointed() as made if task is not None and self._gates_during(fold, trigger):
                        await self._judge_during(fold, task, made, trigger)
                        return
                    case ExecutionGatesDue() as due if trigger.id in fold.owed:
                        await self._gates_around(fold, due, trigger)
                    case RevertDue() as due if fold.reverting is not None and fold.reverting.id == trigger.id:
                        await self._take_back(fold, due, trigger)
                    case _:
                        return
            except Conflict:
                continue

    async def _released(self, fold: ExecutionFold, trigger: Recorded) -> None:
        """A dead letter is tried again: whatever else this service owes the execution."""
        owed = [due for due in (fold.reverting, *fold.owed.values()) if due is not None]
        for due in owed:
            await self._beside_results(fold, due)
        await self.mend_branch(fold)

    async def _gates_before(self, fold: ExecutionFold, task: TaskFold, due: TaskGatesDue, trigger: Recorded) -> None:
        assert fold.plan is not None
        expected = task.last
        repository, head = await self._stand(fold, due.base, trigger)
        candidate = Candidate(head=head, tree="", commit=None)
        judged = await outcomes(
            named(gates_of(fold.plan, "pre_task", task.spec.id), due.gates),
            lambda checks: self._judge(repository, candidate, fold, task, None, checks),
        )
        fact = TaskGatesJudged(due=trigger.id, when="pre_task", attempt=due.attempt, outcomes=judged)
        decision = Decision(entity=task.spec.id, fact=fact, attempt=due.attempt)
        await self.context.append(self.context.draft(fold, decision, trigger.id, expected=expected))

    @staticmethod
    def _gates_during(fold: ExecutionFold, trigger: Recorded) -> tuple[Gate, ...]:
        """Gates for a checkpoint of the attempt that still runs; none where nobody needs to know any more."""
        task = fold.tasks.get(trigger.entity)
        if fold.plan is None or task is None or task.gate or task.lease != trigger.fact.lease:
            return ()
        return tuple(g for g in gates_of(fold.plan, "mid_task", task.spec.id) if g.name not in task.waived)

    async def _judge_during(
        self, fold: ExecutionFold, task: TaskFold, made: TaskCheckpointed, trigger: Recorded
    ) -> None:
        """What an attempt has done so far, before its gates."""
        expected = task.last
        repository, head = await self._stand(fold, made.commit, trigger)
        candidate = Candidate(head=head, tree=made.tree, commit=None)
        judged = await outcomes(
            self._gates_during(fold, trigger),
            lambda checks: self._judge(repository, candidate, fold, task, None, checks),
        )
        fact = TaskGatesJudged(due=trigger.id, when="mid_task", attempt=made.attempt, outcomes=judged, lease=made.lease)
        decision = Decision(entity=task.spec.id, fact=fact, attempt=made.attempt)
        await self.context.append(self.context.draft(fold, decision, trigger.id, expected=expected))

    async def _gates_around(self, fold: ExecutionFold, due: ExecutionGatesDue, trigger: Recorded) -> None:
        assert fold.plan is not None
        expected = fold.guard_of(EXECUTION)
        repository, head = await self._stand(fold, fold.head, trigger)
        candidate = Candidate(head=head, tree="", commit=None)
        nobody = TaskFold(Task(id="execution"))
        judged = await outcomes(
            named(gates_of(fold.plan, due.when), due.gates),
            lambda checks: self._judge(repository, candidate, fold, nobody, None, checks),
        )
        fact = ExecutionGatesJudged(due=trigger.id, when=due.when, outcomes=judged, head=head)
        decision = Decision(entity=EXECUTION, fact=fact)
        await self.context.append(self.context.draft(fold, decision, trigger.id, expected=expected))

    async def _stand(self, fold: ExecutionFold, commit: str | None, trigger: Recorded) -> tuple[Repository, str]:
        """The repository, and the commit to judge: the one named, or where the branch begins."""

        repository = await self._repository(fold, trigger)
        assert fold.created is not None
        return repository, commit or fold.created.base

    async def _take_back(self, fold: ExecutionFold, due: RevertDue, trigger: Recorded) -> None:
        """One commit that undoes theirs, judged by the criteria of every result that stays."""
        expected = fold.guard_of(BRANCH)
        repository, _ = await self._stand(fold, fold.head, trigger)
        undone = await revert(repository, fold, trigger, due)
        fact: BranchReverted | RevertRefused
        if isinstance(undone, RevertRefused):
            fact = undone
        else:
            candidate = Candidate(head=undone.base, tree=undone.tree, commit=undone.commit)
            results = await self._still_hold(repository, candidate, fold, due)
            failed = [r for r in results if r.result == "fail"]
            if failed:
                fact = RevertRefused(base=undone.base, tasks=due.tasks, reason=f"without them {reason_of(failed)}")
            else:
                evidence = None
                if results:
                    nobody = TaskFold(Task(id="execution"))
                    evidence = await self._evidence(fold, nobody, candidate, results)
                fact = BranchReverted(
                    base=undone.base, commit=undone.commit, tree=undone.tree, invalidated=due.tasks,
                    results=tuple(results), evidence=evidence, not_undone=not_undone(fold, due.tasks),
                )  # fmt: skip
        decision = Decision(entity=BRANCH, fact=fact)
        await self.context.append(self.context.draft(fold, decision, trigger.id, expected=expected))
        await self.mend_branch(fold)

    async def _still_hold(
        self, repository: Repository, candidate: Candidate, fold: ExecutionFold, due: RevertDue
    ) -> list[Result]:
        """The criteria of the verified tasks that stay, on the tree without those that go."""
        results: list[Result] = []
        for name, task in fold.tasks.items():
            if task.verified is not None and name not in due.tasks and task.executed is not None:
                judged = await self._judge(repository, candidate, fold, task, task.executed.fact, automatic(task))
                results += [replace(r, criterion=f"{name}/{r.criterion}") for r in judged]
        assert fold.plan is not None
        nobody = TaskFold(Task(id="execution"))
        return results + await self._judge(repository, candidate, fold, nobody, None, by_policy(fold.plan.policy, ()))

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

    async def _say(
        self,
        fold: ExecutionFold,
        task: TaskFold,
        fact: object,
        executed: Recorded,
        trigger: Recorded,
        *,
        expected: int | None = None,
    ) -> int:
        """Append a fact, unless the task has moved on since ``expected``; gives its sequence."""
        decision = Decision(entity=task.spec.id, fact=fact, attempt=task.attempt)
        appended = await self.context.append(
            self.context.draft(fold, decision, trigger.id, trace=executed.trace, expected=expected)
        )
        return appended[-1].sequence

    async def _land(
        self,
        fold: ExecutionFold,
        task: TaskFold,
        candidate: Candidate,
        verified: TaskVerified,
        executed: Recorded,
        trigger: Recorded,
        expected: int,
    ) -> None:
        """Verdict and landing in one batch under both guards, then the ref, which is only a projection of them."""
        if candidate.commit is None:
            await self._say(fold, task, verified, executed, trigger, expected=expected)
            return
        if fold.head != candidate.head:
            raise Conflict(executed.subject, fold.last[BRANCH])
        verdict = self.context.draft(
            fold, Decision(entity=task.spec.id, fact=verified, attempt=task.attempt), trigger.id,
            trace=executed.trace, expected=expected,
        )  # fmt: skip
        landing = BranchAdvanced(
            task=task.spec.id, base=candidate.head, commit=candidate.commit, tree=candidate.tree, verified=verdict.id
        )
        landed = self.context.draft(
            fold, Decision(entity=BRANCH, fact=landing, attempt=task.attempt), trigger.id, trace=executed.trace
        )
        await self.context.append(verdict, landed)

    async def mend_branch(self, fold: ExecutionFold) -> None:
        """Make the ref say what the log says. Whoever was overtaken meanwhile sees it and sets it again."""
        if fold.created is None:
            return
        repository = Repository.open(self.home / "repos", name=fold.created.repository)
        shown = None
        while fold.head is not None and fold.head != shown:
            shown = fold.head
            await repository.set_branch(fold.created.name, shown)
            await self.context.folds.reached(await self.context.log.last_sequence())
