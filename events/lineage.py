"""What was built on what: questions about an execution's results, for going back, taking back and branching off."""

from __future__ import annotations

from collections.abc import Iterable

from events.fold import ExecutionFold, TaskFold
from schemas.values import Plan


def built_on(fold: ExecutionFold, names: Iterable[str]) -> tuple[str, ...]:
    """The named tasks and everything that needs them, however far behind, as far as there is anything to undo.

    In the order of the plan. What the source said is done stays so, and what needs only that was not built on it.
    """
    found: dict[str, None] = dict.fromkeys(names)
    waiting = list(found)
    while waiting:
        for dependent in fold.dependents.get(waiting.pop(), ()):
            if dependent not in found and fold.tasks[dependent].state != "satisfied":
                found[dependent] = None
                waiting.append(dependent)
    return tuple(n for n, task in fold.tasks.items() if n in found and task.state not in ("pending", "satisfied"))


def landed_after(fold: ExecutionFold, task: str | None) -> tuple[str, ...]:
    """The tasks that were verified after another one, or all that were; in the order in which they were verified."""
    since = fold.tasks[task].verified_sequence if task is not None else 0
    later = [t for t in fold.tasks.values() if t.verified_sequence > since]
    return tuple(t.spec.id for t in sorted(later, key=lambda t: t.verified_sequence))


def head_at(fold: ExecutionFold, sequence: int) -> str | None:
    """Where the branch stood when everything up to a sequence had landed; None if there is no branch."""
    head = fold.created.base if fold.created is not None else None
    for commit, landed in fold.landings.items():
        if landed <= sequence:
            head = commit
    return head


def mixed(fold: ExecutionFold, sequence: int) -> bool:
    """Whether the branch, as it stood at a sequence, held results that were taken back later."""
    return any(oldest <= sequence < fold.landings[commit] for commit, oldest in fold.reverts.items())


def head_after(fold: ExecutionFold, task: str | None) -> str | None:
    """Where the branch stood when a task had been verified; with no task, where it began."""
    return head_at(fold, fold.tasks[task].verified_sequence if task is not None else 0)


def start_commit(fold: ExecutionFold, task: TaskFold) -> str | None:
    """Where an attempt starts: the branch as its last-landed dependency left it, otherwise the execution's base.

    On top of the branch where the result before could not be joined with what had landed first. Never before the
    commit that took results back last: what was taken back must not be seen any more.
    """
    if task.conflicted and fold.head is not None:
        return fold.head
    landed = [fold.tasks[n] for n in task.spec.needs if fold.tasks[n].verified is not None]
    last = max(landed, key=lambda t: t.verified_at, default=None)
    if last is not None and last.verified is not None and last.verified.head:
        if fold.floor is not None and last.verified_at < fold.landings[fold.floor]:
            return fold.floor
        return last.verified.head
    return fold.created.base if fold.created else None


def not_undone(fold: ExecutionFold, names: Iterable[str]) -> tuple[str, ...]:
    """What git cannot take back of these tasks: effects that they may have had outside their workspaces."""
    assert fold.plan is not None
    found = []
    for name in names:
        task = fold.tasks[name]
        if task.started is None or not (task.spec.run or task.spec.agent):
            continue
        level = task.started.sandbox
        if level == "process":
            found.append(f"{name} ran in the sandbox 'process': files outside its workspace, network calls and pushes")
        elif getattr(fold.plan.policy, "network", None) not in (None, "none"):
            found.append(f"{name} had network access: calls and pushes")
    return tuple(found)


def inheritable(parent: ExecutionFold, plan: Plan) -> tuple[str | None, dict[str, str]]:
    """Which results of an execution hold for a plan too, and where the branch stood with exactly those on it.

    A result is taken over if its task is the same in both plans and all that it needs is taken over or was done
    before; and only up to the first that is not, in the order of landing, because the branch holds them in that order.
    """
    specs = {task.id: task for task in plan.tasks}
    theirs = {task.id: task for task in parent.plan.tasks} if parent.plan else {}
    done = {task.id for task in plan.tasks if task.status in ("completed", "skipped")}
    before = parent.plan.forked.inherited if parent.plan and parent.plan.forked else {}
    if any(specs.get(name) != theirs.get(name) for name in before):
        return None, {}
    found, whole = dict(before), dict(before)
    last = 0
    for name in landed_after(parent, None):
        task = parent.tasks[name]
        spec = specs.get(name)
        if spec is None or spec != theirs.get(name) or not all(n in found or n in done for n in spec.needs):
            break
        found[name] = task.verified_id
        if not mixed(parent, task.verified_sequence):
            whole, last = dict(found), task.verified_sequence
    return head_at(parent, last), whole


__all__ = ["built_on", "head_after", "head_at", "inheritable", "landed_after", "mixed", "not_undone", "start_commit"]
