"""What must hold after any run, read from the log and from what the tasks said about themselves.

What concerns people is in ``checks_of_people``, what concerns the branch in ``checks_of_branch``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from events.fold import ExecutionFold
from events.log import Recorded
from tests.chaos.checks_of_branch import GONE_BACK, of_branch
from tests.chaos.checks_of_people import of_people
from tests.chaos.plans import Line, Scenario
from tests.oddities import unexcused

ENDINGS = frozenset({
    "AttemptFailed", "AttemptTimedOut", "TaskInterrupted", "LeaseExpired", "AttemptRejected", "TaskVerified",
    "TaskReturned", "TaskHeld", *GONE_BACK,
})  # fmt: skip
"""What ends a lease."""
OVER = ("ExecutionCompleted", "ExecutionFailed", "ExecutionCancelled", "PlanRejected")
OPENS = ("ExecutionReopened", "RollbackBegun")
"""What opens an execution again that was over."""


def of_log(scenario: Scenario, execution: str, history: Sequence[Recorded]) -> list[str]:
    """What is wrong with the whole log."""
    wrong = [f"{r.name} at {r.sequence} is {r.standing}: {r.reason}" for r in history if r.standing != "ok"]
    wrong += [f"the log has a gap before {r.sequence}" for n, r in enumerate(history, 1) if r.sequence != n]
    ids = Counter(r.id for r in history)
    wrong += [f"the id {name} stands {count} times in the log" for name, count in ids.items() if count > 1]
    wrong += [f"the fact at {sequence} has no row in the tables" for sequence in _odd(execution, history)]
    for step in scenario.steps:
        wrong += [f"{step.id}: {what}" for what in of_task(own(step.id, history))]
    wrong += of_ends(history) + of_order(scenario, history)
    return wrong + of_branch(scenario, history) + of_people(scenario, history)


def _odd(execution: str, history: Sequence[Recorded]) -> list[int]:
    state, odd = ExecutionFold("default", execution), []
    for r in history:
        before = state.oddities
        state.apply(r)
        if state.oddities > before:
            odd.append(r.sequence)
    return unexcused(history, odd)


def own(task: str, history: Iterable[Recorded]) -> Iterator[Recorded]:
    """What happened to a task, with whatever took its result back."""
    return (r for r in history if r.entity == task or (r.name in GONE_BACK and task in r.fact.invalidated))


def of_ends(history: Iterable[Recorded]) -> list[str]:
    """It ended once, unless somebody opened it again, and in the end it is completed."""
    wrong = []
    over = ""
    for r in history:
        if over and r.name in (*OVER, "TaskReady", "TaskStarted", "TaskVerified"):
            wrong.append(f"{r.name} at {r.sequence}, after {over}")
        if r.name in OVER:
            over = r.name
        elif r.name in OPENS:
            over = ""
    return wrong if over == "ExecutionCompleted" else [*wrong, f"in the end it is {over or 'not over'}"]


def of_order(scenario: Scenario, history: Iterable[Recorded]) -> list[str]:
    """Nobody begins anything before all that it needs is verified, and stays so."""
    wrong = []
    needs = {step.id: step.needs for step in scenario.steps}
    done: set[str] = set()
    back = False
    for r in history:
        if r.name == "TaskVerified":
            done.add(r.entity)
        elif r.name in GONE_BACK:
            back = True
            done -= set(r.fact.invalidated)
        elif r.name in ("TaskStarted", "TaskTaken") or (r.name == "TaskReady" and not back):
            missing = [n for n in needs[r.entity] if n not in done]
            wrong += [f"{r.entity}: {r.name} at {r.sequence}, before {n} was verified" for n in missing]
    return wrong


def of_task(own: Iterable[Recorded]) -> list[str]:
    """The fence (hazard H5): every event of an attempt carries the lease that holds at that point."""
    wrong = []
    lease, done, taken = "", 0, False
    for r in own:
        carried = getattr(r.fact, "lease", None)
        if r.name == "TaskGatesJudged" and not carried:
            carried = None  # gates before an attempt, asked for before a person took the task
        if r.name == "StaleResultRefused":
            if carried == lease:
                wrong.append(f"a result of the current lease was refused at {r.sequence}")
        elif r.name in GONE_BACK:
            if lease and not taken:
                wrong.append(f"taken back at {r.sequence} while the lease {lease[:8]} held")
            done = 0
        elif done:
            wrong.append(f"{r.name} at {r.sequence}, after it was verified at {done}")
        elif r.name == "TaskStarted":
            if lease:
                wrong.append(f"started at {r.sequence} while the lease {lease[:8]} held")
            lease, taken = r.id, False
        elif r.name == "TaskTaken":
            lease, taken = r.id, True
        elif carried is not None and carried != lease:
            wrong.append(f"{r.name} at {r.sequence} carries {carried[:8]}, but {lease[:8] or 'no lease'} holds")
        if r.name in ENDINGS:
            lease = ""
        if r.name == "TaskVerified":
            done = r.sequence
    return wrong if done else [*wrong, "never verified"]


def of_seen(seen: Iterable[Recorded], history: Iterable[Recorded]) -> list[str]:
    """What the log had shown still stands where it stood."""
    there = {r.sequence: r.id for r in history}
    return [f"{r.name} at {r.sequence} is lost" for r in seen if there.get(r.sequence) != r.id]


def of_runs(scenario: Scenario, history: Sequence[Recorded], runs: dict[str, list[Line]]) -> list[str]:
    """Nothing ran without a lease, nothing twice under one, no two leases of a task at a time, no file was missing.

    What runs when a person takes its task over may end after the next attempt has begun: nobody waits for it.
    """
    wrong = []
    leases = {r.id: r for r in history if r.name == "TaskStarted"}
    accepted = {r.entity: r.fact.lease for r in history if r.name == "TaskVerified"}
    for step in scenario.steps:
        lines = runs.get(step.id, [])
        beside = _taken_away(own(step.id, history))
        order: list[str] = []
        for line in lines:
            if line.lease not in leases:
                wrong.append(f"{step.id}: {line.word} under {line.lease[:8]}, which the log does not know")
            if line.word == "missing":
                wrong.append(f"{step.id}: a file of a verified dependency was missing under {line.lease[:8]}")
            if line.lease in beside:
                continue
            if line.lease in order[:-1]:
                wrong.append(f"{step.id}: {line.word} of {line.lease[:8]} after {order[-1][:8]} had begun")
            elif line.lease not in order:
                order.append(line.lease)
        begun = Counter(line.lease for line in lines if line.word == "begin")
        wrong += [f"{step.id}: ran {n} times under {lease[:8]}" for lease, n in begun.items() if n > 1]
        numbers = [leases[lease].sequence for lease in order if lease in leases]
        if numbers != sorted(numbers):
            wrong.append(f"{step.id}: ran in another order than it was started in")
        last = accepted.get(step.id, "")
        by_hand = last not in leases
        if step.kind != "noop" and not by_hand and Line("end", last) not in lines:
            wrong.append(f"{step.id}: was verified under a lease that did not come to its end")
    return list(dict.fromkeys(wrong))


def _taken_away(own: Iterable[Recorded]) -> set[str]:
    """Leases that ended because a person took the task over."""
    found, lease = set(), ""
    for r in own:
        if r.name == "TaskTaken":
            found.add(lease)
        if r.name == "TaskStarted":
            lease = r.id
        elif r.name in ENDINGS or r.name == "TaskTaken":
            lease = ""
    return found
