"""Generated plans whose tasks write down, outside their workspaces, when they run and for how long."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any


@dataclass(frozen=True, slots=True)
class Step:
    """One task of a generated plan, and what must come of it."""

    id: str
    needs: tuple[str, ...]
    kind: str
    """``write``: leaves a file; ``quiet``: runs and leaves none; ``noop``."""
    fails: int
    """First attempts that end with an exit code of 7."""
    beats: int
    """Fifths of a second that it works."""
    daemon: bool
    """It leaves a process behind, which has to end with it."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A plan as it is submitted, and its steps."""

    plan: dict[str, Any]
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """What a task said about itself."""

    word: str
    """``begin``, ``beat``, ``daemon``, ``missing`` or ``end``."""
    lease: str


def content(step: Step) -> str:
    """What the file of a writing task holds."""
    return f"{step.id} after {' '.join(step.needs) or 'nothing'}"


def generate(rng: Random, runs: Path, *, tasks: int = 30) -> Scenario:
    """A plan with parallel branches: each task needs up to three of the last few."""
    runs.mkdir(parents=True, exist_ok=True)
    steps: list[Step] = []
    for number in range(tasks):
        near = [step.id for step in steps[-7:]]
        needs = tuple(sorted(rng.sample(near, min(len(near), rng.choice((0, 1, 1, 1, 2, 2, 3))))))
        kind = rng.choices(("write", "quiet", "noop"), (8, 1, 1))[0]
        fails = rng.choices((0, 1, 2), (8, 2, 1))[0] if kind != "noop" else 0
        steps.append(Step(f"t.{number:02}", needs, kind, fails, rng.randint(1, 8), rng.random() < 0.12))
    known = {step.id: step for step in steps}
    plan = {
        "plan": "Chaos",
        "policy": {
            "write": [str(runs)], "max_attempts": 6, "max_parallel": rng.choice((4, 6, 10)), "timeout": "40s",
            "backoff": {"first": "500ms", "factor": 1.5, "max": "2s"},
        },
        "tasks": [_task(rng, step, known, runs) for step in steps],
    }  # fmt: skip
    return Scenario(plan, tuple(steps))


def _task(rng: Random, step: Step, known: dict[str, Step], runs: Path) -> dict[str, Any]:
    task: dict[str, Any] = {"id": step.id, "needs": list(step.needs)}
    if step.kind == "noop":
        return {**task, "noop": True}
    said = runs / step.id
    lines = ["set -u", f'say() {{ echo "$1 $NIGHTSHIFT_LEASE" >> {said}; }}', "say begin"]
    lines += [
        f'grep -qx "{content(known[need])}" out/{need} || {{ say missing; exit 9; }}'
        for need in step.needs
        if known[need].kind == "write"
    ]
    if step.daemon:
        lines.append("(while :; do say daemon; sleep 0.2; done) < /dev/null > /dev/null 2>&1 &")
    lines.append(f"for i in $(seq {step.beats}); do say beat; sleep 0.2; done")
    if step.fails:
        lines.append(f'test "$NIGHTSHIFT_ATTEMPT" -gt {step.fails} || exit 7')
    if step.kind == "write":
        lines.append(f'mkdir -p out && echo "{content(step)}" > out/{step.id}')
    lines += [f"echo finished {step.id}", "say end"]
    task["run"] = "\n".join(lines)
    criteria: list[dict[str, Any]] = [{"regex": f"finished {step.id}", "in": "output"}]
    if step.kind == "write":
        criteria += [{"file": f"out/{step.id}"}, {"command": f"sleep 0.1; test -s out/{step.id}"}]
    wanted = rng.sample(criteria, rng.randint(0, len(criteria)))
    return {**task, "verify": wanted} if wanted else task


def said(runs: Path) -> dict[str, list[Line]]:
    """What each task said, in order."""
    found = {}
    for path in sorted(runs.iterdir()):
        pairs = (line.split() for line in path.read_text().splitlines())
        found[path.name] = [Line(*pair) for pair in pairs if len(pair) == 2]
    return found
