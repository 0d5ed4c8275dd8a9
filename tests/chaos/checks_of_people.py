"""What must hold for people: whoever asks is answered once, and nothing begins that somebody, or a gate, stops."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from events.log import Recorded
from schemas.names import INBOX
from tests.chaos.checks_of_branch import GONE_BACK
from tests.chaos.plans import Scenario

ANSWERS = frozenset({
    "ExecutionPausing", "ExecutionResumed", "ExecutionReopened", "RollbackBegun", "TaskTaken", "TaskReturned",
    "TaskDelivered", "StopPointSet", "ApprovalRecorded", "RequestRefused", "PlanAccepted",
})  # fmt: skip
"""What the planner may answer to what people of these runs say; without a ``requested_by`` it follows by itself."""
FAILURES = ("AttemptFailed", "AttemptTimedOut", "AttemptRejected")


def of_people(scenario: Scenario, history: Sequence[Recorded]) -> list[str]:
    """All of it."""
    wrong = of_requests(history) + of_pauses(history) + of_stop_points(history)
    return wrong + of_answers(scenario, history) + of_attempts(scenario, history) + of_gates(scenario, history)


def of_requests(history: Sequence[Recorded]) -> list[str]:
    """Every request has its answer, and one that was refused nothing else."""
    wrong = []
    answers: dict[str, Counter[str]] = defaultdict(Counter)
    for r in history:
        if r.entity != INBOX and r.name in ANSWERS and getattr(r.fact, "requested_by", True):
            answers[r.cause][r.name] += 1
    for request in history:
        if request.entity != INBOX:
            continue
        found = answers[request.id]
        if not found:
            wrong.append(f"{request.name} at {request.sequence} has no answer")
        wrong += [f"{request.name} at {request.sequence} was answered by {n} {a}" for a, n in found.items() if n > 1]
        if found["RequestRefused"] and len(found) > 1:
            wrong.append(f"{request.name} at {request.sequence} was refused, and yet {sorted(found)}")
    return wrong


def of_pauses(history: Iterable[Recorded]) -> list[str]:
    """Nothing starts while it is paused, or has gone back and nobody has said how it stands."""
    wrong, since = [], 0
    for r in history:
        if r.name in ("ExecutionPaused", *GONE_BACK):
            since = since or r.sequence
        elif r.name in ("ExecutionResumed", "ExecutionReopened"):
            since = 0
        elif r.name == "TaskStarted" and since:
            wrong.append(f"{r.entity}: started at {r.sequence}, paused since {since}")
    return wrong


def of_stop_points(history: Sequence[Recorded]) -> list[str]:
    """After its stop point nothing is made ready by whoever has seen that, and it pauses before it goes on or ends."""
    wrong: list[str] = []
    stop: str | None = None
    reached = 0
    known = {r.id: r.sequence for r in history}
    for r in history:
        if r.name == "StopPointSet":
            stop, reached = r.fact.after, 0
        elif r.name in ("ExecutionPausing", "RollbackBegun"):
            reached = 0
        elif r.name == "ExecutionResumed" and r.fact.requested_by:
            stop, reached = None, 0
        elif r.name == "TaskVerified" and r.entity == stop:
            reached = r.sequence
        elif reached and r.name == "TaskReady" and known.get(r.cause, 0) >= reached:
            wrong.append(f"{r.entity}: made ready at {r.sequence}, after the stop point at {reached}")
    return wrong


def of_answers(scenario: Scenario, history: Iterable[Recorded]) -> list[str]:
    """Each answer is to an open question, and what needs a yes starts after a yes only."""
    wrong = []
    asking = {step.id for step in scenario.steps if step.asks}
    asked: dict[str, Recorded] = {}
    said: dict[str, bool] = {}
    for r in history:
        if r.name == "ApprovalRequested":
            asked[r.id] = r
        elif r.name == "ApprovalRecorded":
            question = asked.pop(r.fact.approval, None)
            if question is None or question.entity != r.entity:
                wrong.append(f"{r.entity}: the answer at {r.sequence} is to no open question")
            elif question.fact.kind == "start":
                said[r.entity] = r.fact.granted
        elif r.name in GONE_BACK:
            for name in r.fact.invalidated:
                said.pop(name, None)
        elif r.name == "TaskStarted" and r.entity in asking and not said.get(r.entity):
            wrong.append(f"{r.entity}: started at {r.sequence} without anybody's yes")
    return wrong


def of_attempts(scenario: Scenario, history: Iterable[Recorded]) -> list[str]:
    """An attempt has the number of the failures before it and one, and there are no more of them than the policy says;
    whoever takes a result back, a task over, or tries it again, gives it its attempts again.
    """
    wrong = []
    limit = scenario.plan["policy"]["max_attempts"]
    failures: Counter[str] = Counter()
    counted: Counter[str] = Counter()
    for r in history:
        if r.name in FAILURES and getattr(r.fact, "counts", True):
            failures[r.entity] += 1
            counted[r.entity] += 1
            if counted[r.entity] > limit:
                wrong.append(f"{r.entity}: failure {counted[r.entity]} of at most {limit} at {r.sequence}")
        elif r.name == "TaskStarted" and r.fact.attempt != failures[r.entity] + 1:
            wrong.append(f"{r.entity}: attempt {r.fact.attempt} at {r.sequence} after {failures[r.entity]} failures")
        elif r.name == "TaskTaken":
            counted[r.entity] = 0
        elif r.name in GONE_BACK or r.name == "ExecutionReopened":
            for name in getattr(r.fact, "invalidated", None) or getattr(r.fact, "tasks", ()):
                counted[name] = 0
    return wrong


def of_gates(scenario: Scenario, history: Iterable[Recorded]) -> list[str]:
    """What a gate guards begins, lands and ends only when it let it pass, or a person did."""
    wrong = []
    names = {when: scenario.gates(when) for when in ("pre_execution", "pre_task", "post_task", "post_execution")}
    before, after = guarded(scenario, "pre_task"), guarded(scenario, "post_task")
    passed: dict[str, bool] = {}
    questions: dict[str, str] = {}
    for r in history:
        if r.name in ("TaskGatesJudged", "ExecutionGatesJudged"):
            passed[r.entity + r.fact.when] = not any(o.halts for o in r.fact.outcomes)
        elif r.name == "ApprovalRequested":
            questions[r.id] = r.fact.kind
        elif r.name == "ApprovalRecorded" and questions.get(r.fact.approval) == "gate":
            passed[r.entity + "pre_task"] = r.fact.granted
        elif r.name in GONE_BACK:
            for name in r.fact.invalidated:
                passed.pop(name + "pre_task", None)
        elif r.name in ("RollbackBegun", "ExecutionReopened"):
            passed.pop("-post_execution", None)
        elif r.name == "TaskStarted":
            if r.entity in before and not passed.get(r.entity + "pre_task"):
                wrong.append(f"{r.entity}: started at {r.sequence} past {before[r.entity]}")
            if names["pre_execution"] and not passed.get("-pre_execution"):
                wrong.append(f"{r.entity}: started at {r.sequence} past {names['pre_execution']}")
        elif r.name == "TaskVerified":
            held = {o.gate for o in r.fact.gates if not o.halts}
            missing = [gate for gate in after.get(r.entity, ()) if gate not in held]
            wrong += [f"{r.entity}: landed at {r.sequence} past {gate}" for gate in missing]
        elif r.name == "ExecutionCompleted" and names["post_execution"] and not passed.get("-post_execution"):
            wrong.append(f"completed at {r.sequence} past {names['post_execution']}")
    return wrong


def guarded(scenario: Scenario, when: str) -> dict[str, list[str]]:
    """The gates that stop a task, by task."""
    found: dict[str, list[str]] = defaultdict(list)
    stopping = scenario.gates(when)
    for gate in scenario.plan.get("gates", ()):
        if gate["name"] in stopping:
            for task in gate.get("tasks", [step.id for step in scenario.steps]):
                found[task].append(gate["name"])
    return found
