"""The verifier's wiring: what was executed comes in; a verdict, and a landing on the branch, go out (hazard H10)."""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from dataclasses import replace
from pathlib import Path

from events.branch import BranchAdvanced, BranchRolledBack
from events.execution import DeadLetterReleased, ExecutionGatesDue, RevertDue
from events.fold import ExecutionFold, TaskFold
from events.health import TaskCheckpointed
from events.log import Conflict, Delivery, Recorded
from events.log.streams import VERIFIER
from events.parts import GateOutcome
from events.task import TaskDelivered, TaskExecuted, TaskGatesDue
from events.verdict import AttemptRejected, TaskVerified
from schemas.gates import gates_of
from schemas.names import BRANCH, encode
from schemas.values import Gate
from services.sandbox import Sandboxes
from services.shell import Context, Decision, Reactor
from services.verifier.beside import Beside
from services.verifier.decide import (
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
from services.verifier.judging import Candidate
from services.verifier.policy import Inspection, inspect, oracle_fact, policy_result
from services.verifier.write_back import write_back
from services.workspace import Conflict as MergeConflict
from services.workspace import GitFailed, Repository, read_difference, read_paths
from services.workspace.kept import Kept, TooMuch

log = logging.getLogger(__name__)


def _touches_no_files(task: TaskFold, fact: object) -> bool:
    """Nothing to check out and nothing to land."""
    changed = fact.tree if isinstance(fact, TaskExecuted) else fact.commit if isinstance(fact, TaskDelivered) else None
    return changed is None and not task.spec.verify


def _has_landed(fold: ExecutionFold) -> bool:
    """Whether the branch stands anywhere else than where it began."""
    return fold.created is not None and fold.head != fold.created.base


class Verifier(Beside):
    """Judges results and lands them. Any number of copies may run."""

    def __init__(
        self,
        context: Context,
        *,
        home: Path,
        sandboxes: Sandboxes,
        passed: dict[str, str],
        width: int,
        kept: Kept | None = None,
    ) -> None:
        super().__init__(context, home=home, sandboxes=sandboxes, passed=passed)
        self.kept = kept
        """Keeps the files of rejected attempts; None: nobody does."""
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
                if isinstance(trigger.fact, RevertDue) or _has_landed(fold):
                    await self.mend_branch(fold)  # whoever was stopped in between may have left, or set back, the ref
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
            work = await delivered_work(repository, fold, executed.fact, self.context.log, self.secrets)
            return repository, work
        assert isinstance(executed.fact, TaskExecuted)
        return repository, executed_work(executed.fact)

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
            return Candidate(head=head, tree=tree, work=work_tree, commit=None, before=before, written=written)
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
        return Candidate(head=head, tree=tree, work=work_tree, commit=commit, before=before, written=written)

    async def _inspect(
        self, repository: Repository, fold: ExecutionFold, task: TaskFold, candidate: Candidate
    ) -> Inspection:
        """Hold what the task really changed against the safety policy, before anything is run or lands."""
        before = candidate.before
        changes = await read_difference(repository, before, candidate.work) if before != candidate.work else []
        found = inspect(fold, task, changes)
        if found.oracle:  # seldom, so the whole tree is listed only then
            found = inspect(fold, task, changes, await read_paths(repository, before))
        return found

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
        if isinstance(fact, AttemptRejected) and self.kept is not None:
            await self._keep_files(self.kept, fold, task, fact, executed)
        decision = Decision(entity=task.spec.id, fact=fact, attempt=task.attempt)
        appended = await self.context.append(
            self.context.draft(fold, decision, trigger.id, trace=executed.trace, expected=expected)
        )
        return appended[-1].sequence

    async def _keep_files(
        self, kept: Kept, fold: ExecutionFold, task: TaskFold, verdict: AttemptRejected, executed: Recorded
    ) -> None:
        """Keep the files of an attempt whose result does not hold, as it recorded them; not what others' landings made.

        Nothing depends on it.
        """
        fact = executed.fact
        if verdict.conflict or fold.created is None or not isinstance(fact, TaskExecuted) or fact.commit is None:
            return
        name = f"{encode(task.spec.id)}.{fact.attempt}.{fact.lease[:8]}"
        folder = self.home / "judge" / fold.tenant / fold.id / name
        about = {
            "tenant": fold.tenant, "execution": fold.id, "task": task.spec.id, "attempt": fact.attempt,
            "lease": fact.lease, "base": fact.base, "commit": fact.commit,
        }  # fmt: skip
        try:
            if not kept.wants(folder):
                return
            repository = Repository.open(self.home / "repos", name=fold.created.repository)
            folder.mkdir(mode=0o700, parents=True)
            await repository.export(fact.commit, folder / "files")
            await asyncio.to_thread(kept.keep, folder, about)
        except (OSError, ValueError, GitFailed, TooMuch) as error:
            log.warning("the files of attempt %s of task %s are not kept: %s", fact.attempt, task.spec.id, error)
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

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
