"""What the executor decides: pure, on a fold."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal

from events.fold import DONE, ExecutionFold, TaskFold
from events.log import Recorded
from events.task import Artifact, AttemptFailed, AttemptTimedOut, TaskExecuted, TaskStarted, Usage
from schemas.values import Task

Move = Literal["start", "mine", "take over", "wait", "cancel", "leave"]


def next_move(fold: ExecutionFold, task: TaskFold | None, ready: Recorded, *, mine: frozenset[str]) -> Move:
    """What to do with a TaskReady that was handed to this worker."""
    if task is None or task.ready != ready.id:
        return "leave"
    if task.state == "ready":
        held = fold.state in ("cancelling", "pausing", "paused") or task.requeue or bool(task.gate) or task.missing > 0
        return "wait" if held else "start"
    if task.state == "running":
        return "mine" if task.lease in mine else "take over"
    if task.state == "executed" and fold.state == "cancelling":
        return "cancel"  # it ended just after the planner had looked: nobody judges it any more
    return "leave"


def checkpoint_of(fold: ExecutionFold, task: TaskFold, base: str) -> str | None:
    """The checkpoint that an interrupted attempt goes on from, where the policy says so and it stands on this base."""
    newest = task.checkpoint
    if fold.plan is None or fold.plan.policy.resume != "checkpoint" or newest is None:
        return None
    return newest.commit if newest.attempt == task.attempt and newest.base == base else None


def needs_workspace(task: Task) -> bool:
    """Whether anything of the task touches files."""
    return bool(task.run or task.agent or task.verify)


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How a command ended, in the words of the sandbox."""

    exit_code: int | None = None
    signal: int | None = None
    timed_out: bool = False
    error: str | None = None
    retryable: bool = True
    out_of_memory: int | None = None
    """The limit in bytes, if the kernel ended something because of it."""
    usage: Usage
    output: Artifact | None = None
    tail: str = ""
    base: str | None = None
    commit: str | None = None
    tree: str | None = None


def conclude(
    attempt: int, lease: str, limit: float, outcome: Outcome
) -> TaskExecuted | AttemptFailed | AttemptTimedOut:
    """The fact that an outcome amounts to."""
    common: dict[str, Any] = {
        "attempt": attempt, "lease": lease, "usage": outcome.usage, "output": outcome.output, "tail": outcome.tail,
    }  # fmt: skip
    if outcome.timed_out:
        return AttemptTimedOut(limit=limit, **common)
    if outcome.error:
        return AttemptFailed(
            reason=outcome.error, exit_code=outcome.exit_code, signal=outcome.signal, retryable=outcome.retryable,
            **common,
        )  # fmt: skip
    if outcome.out_of_memory and (outcome.signal is not None or outcome.exit_code != 0):
        reason = f"out of memory: the limit is {outcome.out_of_memory // 1024**2} MiB (policy.limits.memory)"
        return AttemptFailed(reason=reason, exit_code=outcome.exit_code, signal=outcome.signal, **common)
    if outcome.signal is not None:
        return AttemptFailed(reason=f"killed by signal {outcome.signal}", signal=outcome.signal, **common)
    if outcome.exit_code != 0:
        return AttemptFailed(reason=f"exit code {outcome.exit_code}", exit_code=outcome.exit_code, **common)
    return TaskExecuted(exit_code=0, base=outcome.base, commit=outcome.commit, tree=outcome.tree, **common)


def context(fold: ExecutionFold, task: TaskFold, lease: str) -> dict[str, Any]:
    """What a task is told about its surroundings (EX-10): the file that ``NIGHTSHIFT_CONTEXT`` names."""
    assert fold.plan is not None
    spec = task.spec
    return {
        "execution": fold.id,
        "tenant": fold.tenant,
        "plan": {"id": fold.plan.id, "title": fold.plan.title},
        "conversation_id": fold.plan.conversation_id,
        "attempt": task.attempt,
        "lease": lease,
        "task": {
            "id": spec.id, "title": spec.title, "description": spec.description, "prompt": spec.prompt,
            "phase": spec.phase, "files": list(spec.files), "context_tier": spec.context_tier,
            "criteria": [{"id": c.id, "kind": c.kind, "text": c.words} for c in spec.verify],
        },
        "shared": fold.plan.shared,
        "dependencies": [_result(fold.tasks[n]) for n in spec.needs],
        "previous_failure": _failure(task),
    }  # fmt: skip


def _result(task: TaskFold) -> dict[str, Any]:
    executed = task.executed.fact if task.executed else None
    return {
        "id": task.spec.id,
        "title": task.spec.title,
        "state": task.state,
        "done": task.state in DONE,
        "commit": task.verified.commit if task.verified else None,
        "output": executed.tail if isinstance(executed, TaskExecuted) else "",
    }


def _failure(task: TaskFold) -> dict[str, Any] | None:
    if not task.failures:
        return None
    failed = [r for r in task.rejection.results if r.result == "fail"] if task.rejection else []
    return {
        "reason": task.reason,
        "failures": task.failures,
        "criteria": [{"text": r.text, "detail": r.detail} for r in failed],
        "conflict": list(task.rejection.conflict) if task.rejection else [],
    }


def prompt(fold: ExecutionFold, task: TaskFold) -> str:
    """What an agent reads on standard input."""
    spec = task.spec
    parts = [f"# {spec.title or spec.id}", spec.prompt or spec.description]
    if spec.files:
        parts.append("Files:\n" + "\n".join(f"- {f}" for f in spec.files))
    if spec.verify:
        parts.append("It is done when all of this holds:\n" + "\n".join(f"- {c.words}" for c in spec.verify))
    told = fold.plan.shared.get(f"lessons/{spec.id}") if fold.plan else None
    if told:
        parts.append(f"Tasks like this one ran before. For orientation only, none of it was run here:\n{told}")
    failure = _failure(task)
    if failure:
        lines = [f"The attempt before this one failed: {failure['reason']}"]
        lines += [f"- {c['text']}: {c['detail']}" for c in failure["criteria"]]
        lines += [f"- it conflicts with what landed meanwhile in {path}" for path in failure["conflict"]]
        parts.append("\n".join(lines))
    return "\n\n".join(p for p in parts if p) + "\n"


def program(command: str) -> str | None:
    """The relative path that an agent's command line starts with, if it starts with one."""
    found = words(command)
    if found and "/" in found[0] and not PurePosixPath(found[0]).is_absolute():
        return found[0]
    return None


def words(command: str) -> list[str]:
    """The words of a command line as a shell splits it; none if it cannot be split."""
    try:
        return shlex.split(command)
    except ValueError:
        return []


def lease_of(started: TaskStarted) -> tuple[str, str, int, int]:
    """Which process holds a lease: host, boot, process id, start ticks."""
    return started.host, started.boot_id, started.pid, started.start_ticks
