"""What must hold after any run, read from the log, from git and from what the tasks said about themselves."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from events.fold import fold
from events.log import Recorded
from tests.chaos.plans import Line, Scenario, content

ENDINGS = frozenset(
    {"AttemptFailed", "AttemptTimedOut", "TaskInterrupted", "LeaseExpired", "AttemptRejected", "TaskVerified"}
)
"""What ends a lease."""


def of_log(scenario: Scenario, execution: str, history: Sequence[Recorded]) -> list[str]:
    """What is wrong with the whole log."""
    wrong = [f"{r.name} at {r.sequence} is {r.standing}: {r.reason}" for r in history if r.standing != "ok"]
    wrong += [f"the log has a gap before {r.sequence}" for n, r in enumerate(history, 1) if r.sequence != n]
    ids = Counter(r.id for r in history)
    wrong += [f"the id {name} stands {count} times in the log" for name, count in ids.items() if count > 1]
    ends = [r.name for r in history if r.name.startswith("Execution") and r.name != "ExecutionStarted"]
    if ends != ["ExecutionCompleted"]:
        wrong.append(f"the execution did not just complete: {ends}")
    state = fold("default", execution, history)
    if state.oddities:
        wrong.append(f"{state.oddities} facts have no row in the tables")
    verified = {r.entity: r.sequence for r in history if r.name == "TaskVerified"}
    for step in scenario.steps:
        own = [r for r in history if r.entity == step.id]
        wrong += [f"{step.id}: {what}" for what in of_task(own)]
        started = [r for r in own if r.name in ("TaskReady", "TaskStarted")]
        for need in step.needs:
            if started and started[0].sequence < verified.get(need, 1 << 60):
                wrong.append(f"{step.id}: {started[0].name} at {started[0].sequence}, before {need} was verified")
    return wrong + of_branch(history)


def of_task(own: Iterable[Recorded]) -> list[str]:
    """The fence (hazard H5): every event of an attempt carries the lease that holds at that point."""
    wrong = []
    lease, done = "", 0
    for r in own:
        carried = getattr(r.fact, "lease", None)
        if r.name == "StaleResultRefused":
            if carried == lease:
                wrong.append(f"a result of the current lease was refused at {r.sequence}")
        elif done:
            wrong.append(f"{r.name} at {r.sequence}, after it was verified at {done}")
        elif r.name == "TaskStarted":
            if lease:
                wrong.append(f"started at {r.sequence} while the lease {lease[:8]} held")
            lease = r.id
        elif carried is not None and carried != lease:
            wrong.append(f"{r.name} at {r.sequence} carries {carried[:8]}, but {lease[:8] or 'no lease'} holds")
        if r.name in ENDINGS:
            lease = ""
        if r.name == "TaskVerified":
            done = r.sequence
    return wrong if done else [*wrong, "never verified"]


def of_branch(history: Sequence[Recorded]) -> list[str]:
    """Every landing stands on the one before it, beside its TaskVerified."""
    wrong = []
    head: str | None = None
    by_sequence = {r.sequence: r for r in history}
    for r in history:
        if r.name == "BranchCreated":
            if head is not None:
                wrong.append(f"a second branch at {r.sequence}")
            head = r.fact.base
        elif r.name == "BranchAdvanced":
            if r.fact.base != head:
                wrong.append(f"the landing at {r.sequence} stands on {r.fact.base[:8]}, not on {head}")
            head = r.fact.commit
            before = by_sequence.get(r.sequence - 1)
            if before is None or before.name != "TaskVerified" or before.id != r.fact.verified:
                wrong.append(f"the landing at {r.sequence} does not follow its verdict")
    return wrong


def of_seen(seen: Iterable[Recorded], history: Iterable[Recorded]) -> list[str]:
    """What the log had shown still stands where it stood."""
    there = {r.sequence: r.id for r in history}
    return [f"{r.name} at {r.sequence} is lost" for r in seen if there.get(r.sequence) != r.id]


def of_runs(scenario: Scenario, history: Iterable[Recorded], runs: dict[str, list[Line]]) -> list[str]:
    """Nothing ran without a lease, nothing twice under one, no two leases of a task at a time, no file was missing."""
    wrong = []
    leases = {r.id: r for r in history if r.name == "TaskStarted"}
    accepted = {r.entity: r.fact.lease for r in history if r.name == "TaskVerified"}
    for step in scenario.steps:
        lines = runs.get(step.id, [])
        order: list[str] = []
        for line in lines:
            if line.lease not in leases:
                wrong.append(f"{step.id}: {line.word} under {line.lease[:8]}, which the log does not know")
            if line.word == "missing":
                wrong.append(f"{step.id}: a file of a verified dependency was missing under {line.lease[:8]}")
            if line.lease in order[:-1]:
                wrong.append(f"{step.id}: {line.word} of {line.lease[:8]} after {order[-1][:8]} had begun")
            elif line.lease not in order:
                order.append(line.lease)
        begun = Counter(line.lease for line in lines if line.word == "begin")
        wrong += [f"{step.id}: ran {n} times under {lease[:8]}" for lease, n in begun.items() if n > 1]
        numbers = [leases[lease].sequence for lease in order if lease in leases]
        if numbers != sorted(numbers):
            wrong.append(f"{step.id}: ran in another order than it was started in")
        if step.kind != "noop" and Line("end", accepted.get(step.id, "")) not in lines:
            wrong.append(f"{step.id}: was verified under a lease that did not come to its end")
    return list(dict.fromkeys(wrong))


def of_git(scenario: Scenario, home: Path, history: Iterable[Recorded]) -> list[str]:
    """The head's tree holds all files, the commits are those of the log, and the ref stands at the head."""
    landed = [r.fact for r in history if r.name == "BranchAdvanced"]
    created = next((r.fact for r in history if r.name == "BranchCreated"), None)
    if created is None or not landed:
        return ["there is no branch"]
    folder = home / "repos" / f"{created.repository}.git"

    def git(*words: str) -> str:
        done = subprocess.run(["git", "--git-dir", folder, *words], capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else f"git {words[0]} failed: {done.stderr.strip()}"

    wrong = []
    head = landed[-1].commit
    wanted = {f"out/{step.id}": content(step) for step in scenario.steps if step.kind == "write"}
    files = git("ls-tree", "-r", "--name-only", head).splitlines()
    if sorted(files) != sorted(wanted):
        wrong.append(f"the head holds {len(files)} files, not {len(wanted)}: {sorted(set(files) ^ set(wanted))}")
    wrong += [
        f"{path} is damaged" for path in files if path in wanted and git("show", f"{head}:{path}") != wanted[path]
    ]
    commits = git("rev-list", "--reverse", f"{created.base}..{head}").splitlines()
    if commits != [fact.commit for fact in landed]:
        wrong.append(f"git has {len(commits)} commits on the branch, the log {len(landed)} landings")
    wrong += [f"{c[:8]} has several parents" for c in commits if len(git("show", "-s", "--format=%P", c).split()) != 1]
    ref = git("rev-parse", f"refs/heads/{created.name}")
    if ref != head:
        wrong.append(f"the ref stands at {ref[:40]}, the log says {head}")
    wrong += [line for line in git("fsck", "--no-dangling").splitlines() if line and "notice" not in line]
    return wrong
