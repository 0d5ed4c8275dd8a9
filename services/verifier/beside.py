"""What the verifier judges beside results: gates before, during and around, and a branch that goes back."""

from __future__ import annotations

from dataclasses import replace

from events.branch import BranchReverted, RevertRefused
from events.execution import ExecutionGatesDue, ExecutionGatesJudged, RevertDue
from events.fold import ExecutionFold, TaskFold
from events.health import TaskCheckpointed
from events.lineage import not_undone
from events.log import Conflict, Recorded
from events.task import TaskGatesDue
from events.verdict import Result, TaskGatesJudged
from schemas.gates import gates_of, named
from schemas.names import BRANCH, EXECUTION
from schemas.values import Gate, Task
from services.shell import Decision
from services.verifier.decide import (
    automatic,
    reason_of,
)
from services.verifier.gates import outcomes
from services.verifier.judging import Candidate, Judging
from services.verifier.runners.judging import by_policy
from services.verifier.taking_back import revert
from services.workspace import Repository


class Beside(Judging):
    """Judges what the planner asked for."""

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
