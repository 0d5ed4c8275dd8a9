"""Generated plans whose tasks write down, outside their workspaces, when they run and for how long."""

from __future__ import annotations

import subprocess
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
    asks: bool = False
    """A person has to agree before it starts."""
    stopped: bool = False
    """A gate before it never passes, so that a person has to let it through."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A plan as it is submitted, and its steps."""

    plan: dict[str, Any]
    steps: tuple[Step, ...]
    repo: Path | None = None
    """The user's repository that it works on; None: a private workspace."""

    def gates(self, when: str) -> list[str]:
        """The names of the plan's gates at a moment that stop what they guard."""
        return [g["name"] for g in self.plan.get("gates", ()) if g["when"] == when and g.get("on_fail") != "warn"]


@dataclass(frozen=True, slots=True)
class Line:
    """What a task said about itself."""

    word: str
    """``begin``, ``beat``, ``daemon``, ``missing`` or ``end``."""
    lease: str


def content(step: Step) -> str:
    """What the file of a writing task holds."""
    return f"{step.id} after {' '.join(step.needs) or 'nothing'}"


def generate(rng: Random, runs: Path, *, tasks: int = 30, people: bool = False) -> Scenario:
    """A plan with parallel branches: each task needs up to three of the last few.

    Where there are people, every third one works on a repository of theirs, every third asks them, every third has
    gates.
    """
    runs.mkdir(parents=True, exist_ok=True)
    own, asking, gated = (people and rng.random() < 1 / 3 for _ in range(3))
    repo = repository(runs.parent / "project") if own else None
    steps: list[Step] = []
    for number in range(tasks):
        near = [step.id for step in steps[-7:]]
        needs = tuple(sorted(rng.sample(near, min(len(near), rng.choice((0, 1, 1, 1, 2, 2, 3))))))
        kind = rng.choices(("write", "quiet", "noop"), (8, 1, 1))[0]
        fails = rng.choices((0, 1, 2), (8, 2, 1))[0] if kind != "noop" else 0
        asks, stopped = asking and rng.random() < 0.1, gated and rng.random() < 0.07
        name, beats, daemon = f"t.{number:02}", rng.randint(1, 8), rng.random() < 0.12
        steps.append(Step(name, needs, kind, fails, beats, daemon, asks, stopped))
    known = {step.id: step for step in steps}
    plan: dict[str, Any] = {
        "plan": "Chaos",
        "policy": {
            "write": [str(runs)], "max_attempts": 6, "max_parallel": rng.choice((4, 6, 10)), "timeout": "40s",
            "backoff": {"first": "500ms", "factor": 1.5, "max": "2s"},
        },
        "tasks": [_task(rng, step, known, runs) for step in steps],
    }  # fmt: skip
    if repo is not None:
        plan["repo"] = str(repo)
    if gated:
        plan["gates"] = _gates(steps)
    return Scenario(plan, tuple(steps), repo)


def _gates(steps: list[Step]) -> list[dict[str, Any]]:
    """Gates at all moments; none of them fails for good but the one that a person has to let pass."""
    stopped = [step.id for step in steps if step.stopped]
    some = [step.id for step in steps if step.kind == "write"][::4] or [steps[0].id]
    gates: list[dict[str, Any]] = [
        {"name": "begin", "when": "pre_execution", "verify": [{"command": "true"}]},
        {"name": "before", "when": "pre_task", "tasks": some, "verify": [{"command": "true"}]},
        {"name": "after", "when": "post_task", "tasks": some, "verify": [{"command": "sleep 0.1"}]},
        {"name": "score", "when": "evaluation", "tasks": some, "verify": [{"file": "nowhere"}], "on_fail": "warn"},
        {"name": "end", "when": "post_execution", "verify": [{"command": "ls out"}]},
    ]
    if stopped:
        gates.append({"name": "never", "when": "pre_task", "tasks": stopped, "verify": [{"command": "false"}]})
    return gates


def repository(place: Path) -> Path:
    """A user's repository as people leave it: commits, and beside them things staged, changed and unknown."""
    (place / "src").mkdir(parents=True)
    git(place, "init", "-q", "-b", "main")
    for number, name in enumerate(("README.md", "src/one.txt", "src/two.txt")):
        (place / name).write_text(f"{name}, number {number}\n")
        git(place, "add", ".")
        git(place, "commit", "-qm", f"Number {number}")
    git(place, "branch", "other")
    (place / "src/one.txt").write_text("changed, and not staged\n")
    (place / "src/two.txt").write_text("changed, and staged\n")
    git(place, "add", "src/two.txt")
    (place / "notes.txt").write_text("unknown to git\n")
    return place


def git(place: Path, *words: str) -> str:
    """What git says, as somebody with a name. Raises RuntimeError."""
    command = ["git", "-C", str(place), "-c", "user.name=Ada", "-c", "user.email=ada@example.org", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"git {words[0]} failed: {done.stderr.strip()}")
    return done.stdout.strip()


def _task(rng: Random, step: Step, known: dict[str, Step], runs: Path) -> dict[str, Any]:
    task: dict[str, Any] = {"id": step.id, "needs": list(step.needs)}
    if step.asks:
        task["autonomy"] = "needs_approval"
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
