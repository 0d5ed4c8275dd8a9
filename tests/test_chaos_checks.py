"""What the chaos runs look for can be found: a violation of each rule, planted in a small history, and a sound one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from events import (
    ApprovalRecorded,
    ApprovalRequested,
    AttemptFailed,
    BranchAdvanced,
    BranchCreated,
    BranchReverted,
    BranchRolledBack,
    ExecutionCompleted,
    ExecutionFailed,
    ExecutionGatesJudged,
    ExecutionPaused,
    ExecutionReopened,
    ExecutionResumed,
    PauseRequested,
    RequestRefused,
    RollbackBegun,
    StopPointSet,
    TaskGatesJudged,
    TaskReady,
    TaskStarted,
    TaskTaken,
    TaskVerified,
)
from events.log import Recorded
from events.parts import GateOutcome
from schemas.names import BRANCH, EXECUTION, INBOX
from tests.chaos import checks, checks_of_branch, checks_of_people
from tests.chaos.faults import Fault, recoveries
from tests.chaos.plans import Line, Scenario, Step, repository

History = list[Recorded]
Said = tuple[str, str, object] | tuple[str, str, object, str]
"""Entity, id and fact, and the id of what caused it."""


def told(*said: Said) -> History:
    """A log from its facts."""
    return [
        Recorded(
            sequence=n, at_ns=n, subject="", tenant="default", execution="e", entity=entity, name=type(fact).__name__,
            id=identity, fact=fact, cause=cause[0] if cause else "",
        )
        for n, (entity, identity, fact, *cause) in enumerate(said, 1)
    ]  # fmt: skip


def step(name: str, *needs: str, asks: bool = False) -> Step:
    return Step(name, needs, "write", fails=0, beats=1, daemon=False, asks=asks)


GATES = [
    {"name": "begin", "when": "pre_execution"},
    {"name": "before", "when": "pre_task", "tasks": ["a"]},
    {"name": "after", "when": "post_task", "tasks": ["a"]},
    {"name": "score", "when": "evaluation", "tasks": ["a"], "on_fail": "warn"},
    {"name": "end", "when": "post_execution"},
]
PLAN: dict[str, Any] = {"policy": {"max_attempts": 2}}
SCENARIO = Scenario(PLAN, (step("a"), step("b", "a"), step("c")))
ASKING = Scenario(PLAN, (step("a", asks=True),))
GATED = Scenario({**PLAN, "gates": GATES}, (step("a"), step("b")))


def started(attempt: int = 1) -> TaskStarted:
    return TaskStarted(attempt=attempt, worker="w", host="h", boot_id="b", pid=1, start_ticks=1, sandbox="process")


def verified(lease: str = "L", commit: str | None = None, *gates: GateOutcome) -> TaskVerified:
    tree = f"tree of {commit}"
    return TaskVerified(attempt=1, lease=lease, tree=tree, commit=commit, head=commit, results=(), gates=gates)


def failed(lease: str) -> AttemptFailed:
    return AttemptFailed(attempt=1, lease=lease, reason="r")


def landing(task: str, base: str, commit: str, tree: str = "") -> list[Said]:
    """A verdict and what lands with it."""
    advanced = BranchAdvanced(
        task=task, base=base, commit=commit, tree=tree or f"tree of {commit}", verified=f"v{commit}"
    )
    return [(task, f"v{commit}", verified(commit=commit)), (BRANCH, f"b{commit}", advanced)]


def back(to: str, *invalidated: str) -> BranchRolledBack:
    return BranchRolledBack(to=to, task=None, invalidated=invalidated, reason="r")


def reverted(base: str, *invalidated: str) -> BranchReverted:
    return BranchReverted(base=base, commit="9", tree="tree of 9", invalidated=invalidated)


def begun(to: str | None = None, only: str | None = None) -> RollbackBegun:
    return RollbackBegun(reason="r", requested_by="p", to=to, only=only)


DONE: Said = (EXECUTION, "done", ExecutionCompleted(verified=1))
RESUMED: Said = (EXECUTION, "on", ExecutionResumed(reason="r", requested_by="p"))
BEGUN: Said = (EXECUTION, "back", begun())
CREATED: Said = (BRANCH, "branch", BranchCreated(name="n", repository="r", base="0"))
AB = [CREATED, *landing("a", "0", "1"), *landing("b", "1", "2"), *landing("c", "2", "3")]
"""All three tasks have landed."""


def look(found: Sequence[str], wanted: str) -> None:
    """Exactly what was planted is found; nothing where nothing was."""
    assert [each for each in found if not wanted or wanted not in each] == []
    assert bool(found) == bool(wanted)


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ([DONE], ""),
        ([], "not over"),
        (
            [(EXECUTION, "x", ExecutionFailed(reason="r", verified=0, failed=("a",)))],
            "in the end it is ExecutionFailed",
        ),
        ([DONE, (EXECUTION, "x", ExecutionCompleted(verified=1))], "ExecutionCompleted at 2, after ExecutionCompleted"),
        ([DONE, ("a", "L", started())], "TaskStarted at 2, after ExecutionCompleted"),
        ([DONE, BEGUN, ("a", "L", started()), (EXECUTION, "x", ExecutionCompleted(verified=1))], ""),
    ],
)
def test_an_end_is_an_end(said: list[Said], found: str) -> None:
    look(checks.of_ends(told(*said)), found)


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ([("a", "v", verified()), ("b", "r", TaskReady(attempt=1)), ("b", "L", started())], ""),
        ([("b", "r", TaskReady(attempt=1))], "b: TaskReady at 1, before a was verified"),
        (
            [("a", "v", verified()), (BRANCH, "x", back("0", "a")), ("b", "L", started())],
            "b: TaskStarted at 3, before a",
        ),
        ([("b", "T", TaskTaken(attempt=1, by="p"))], "b: TaskTaken at 1, before a"),
    ],
)
def test_nothing_begins_on_what_does_not_count(said: list[Said], found: str) -> None:
    look(checks.of_order(SCENARIO, told(*said)), found)


LATE_GATES: Said = ("a", "g", TaskGatesJudged(due="d", when="pre_task", attempt=1, outcomes=()))


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ([("a", "L", started()), ("a", "v", verified("L")), (BRANCH, "x", back("0", "a"))], "never verified"),
        ([("a", "L", started()), (BRANCH, "x", back("0", "a")), ("a", "M", started()), ("a", "v", verified("M"))],
         "taken back at 2 while the lease L held"),
        ([("a", "L", started()), ("a", "T", TaskTaken(attempt=1, by="p")), ("a", "v", verified("L"))], "but T holds"),
        ([("a", "L", started()), ("a", "T", TaskTaken(attempt=1, by="p")), ("a", "v", verified("T"))], ""),
        ([("a", "T", TaskTaken(attempt=1, by="p")), LATE_GATES, ("a", "v", verified("T"))], ""),
    ],
)  # fmt: skip
def test_the_fence_holds_beside_people(said: list[Said], found: str) -> None:
    look(checks.of_task(checks.own("a", told(*said))), found)


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (AB, ""),
        ([CREATED, *landing("a", "0", "1", tree="other")], "the landing at 3 is not what was judged"),
        ([*AB, (BRANCH, "x", back("2", "c"))], "nobody had begun that"),
        ([*AB, (EXECUTION, "y", begun("b")), (BRANCH, "x", back("2", "c")), *landing("c", "2", "4")], ""),
        ([*AB, (EXECUTION, "y", begun("b")), (BRANCH, "x", back("2", "c")), *landing("c", "3", "4")], "stands on 3"),
        ([*AB, (EXECUTION, "y", begun("b")), (BRANCH, "x", back("7", "c"))], "where it never stood"),
        ([*AB, (EXECUTION, "y", begun("b")), (BRANCH, "x", back("2", "c", "b"))], "b: its result was taken back"),
        ([*AB, (EXECUTION, "y", begun("a")), (BRANCH, "x", back("1", "b"))], "c: its result still counts"),
        ([*AB, (EXECUTION, "y", begun(only="a")), (BRANCH, "x", reverted("3", "a"))], "b: its result still counts"),
        ([*AB, (EXECUTION, "y", begun(only="a")), (BRANCH, "x", reverted("3", "a", "b"))], ""),
        ([*AB, (EXECUTION, "y", begun(only="c")), (BRANCH, "x", reverted("2", "c"))], "stands on 2"),
    ],
)
def test_going_back_takes_exactly_what_it_should(said: list[Said], found: str) -> None:
    look(checks_of_branch.of_branch(SCENARIO, told(*said)), found)


def test_what_the_branch_has_in_the_end() -> None:
    history = told(
        *AB, BEGUN, (BRANCH, "x", back("1", "b", "c")), *landing("c", "1", "4"), (BRANCH, "y", reverted("4"))
    )
    assert checks_of_branch.landings(history) == ["1", "4", "9"]
    look(checks_of_branch.of_trees(history, {"1": "tree of 1", "4": "tree of 4", "9": "tree of 9"}), "")
    look(checks_of_branch.of_trees(history, {"1": "tree of 2"}), "1 holds tree of")
    look(checks_of_branch.of_trees(history, {"nobody's": "t"}), "judged was None")


@pytest.mark.parametrize(
    "touch",
    [
        lambda place: (place / "src" / "one.txt").write_text("by the engine\n"),
        lambda place: (place / "README.md").chmod(0o600),
        lambda place: (place / ".git" / "refs" / "heads" / "nightshift").write_text("0" * 40),
        lambda place: (place / "notes.txt").unlink(),
    ],
)
def test_a_touched_repository_is_seen(tmp_path: Path, touch: Callable[[Path], object]) -> None:
    before = checks_of_branch.picture(repository(tmp_path / "project"))
    assert checks_of_branch.of_source(before, checks_of_branch.picture(tmp_path / "project")) == []
    touch(tmp_path / "project")
    assert checks_of_branch.of_source(before, checks_of_branch.picture(tmp_path / "project"))


PAUSE: Said = (INBOX, "q", PauseRequested(request="q"))
REFUSED: Said = (EXECUTION, "no", RequestRefused(request="q", what="pause", reason="r", requested_by="p"), "q")


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ([PAUSE, REFUSED], ""),
        ([PAUSE], "PauseRequested at 1 has no answer"),
        ([PAUSE, REFUSED, REFUSED], "was answered by 2 RequestRefused"),
        ([PAUSE, REFUSED, (EXECUTION, "x", ExecutionResumed(reason="r", requested_by="p"), "q")], "refused, and yet"),
        ([PAUSE, REFUSED, (EXECUTION, "x", ExecutionResumed(reason="by itself"), "q")], ""),
    ],
)
def test_whoever_asks_is_answered_once(said: list[Said], found: str) -> None:
    look(checks_of_people.of_requests(told(*said)), found)


PAUSED: Said = (EXECUTION, "p", ExecutionPaused(reason="r"))


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ([PAUSED, RESUMED, ("a", "L", started())], ""),
        ([PAUSED, ("a", "L", started())], "a: started at 2, paused since 1"),
        ([(BRANCH, "x", back("0", "a")), ("a", "L", started())], "a: started at 2, paused since 1"),
        ([(BRANCH, "x", back("0", "a")), PAUSED, BEGUN, ("a", "L", started())], "a: started at 4, paused since 1"),
    ],
)
def test_nothing_starts_while_it_is_paused(said: list[Said], found: str) -> None:
    look(checks_of_people.of_pauses(told(*said)), found)


STOP: list[Said] = [(EXECUTION, "s", StopPointSet(after="a")), ("a", "v", verified())]


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ([*STOP, ("c", "r", TaskReady(attempt=1), "v")], "c: made ready at 3, after the stop point at 2"),
        ([*STOP, ("c", "r", TaskReady(attempt=1), "s")], ""),
        ([*STOP, RESUMED, ("c", "r", TaskReady(attempt=1), "on")], ""),
        ([*STOP, (EXECUTION, "t", StopPointSet(after=None)), ("c", "r", TaskReady(attempt=1), "t")], ""),
    ],
)
def test_a_stop_point_stops(said: list[Said], found: str) -> None:
    look(checks_of_people.of_stop_points(told(*said)), found)


ASKED: Said = ("a", "q", ApprovalRequested(kind="start", question="?"))


def answer(granted: bool, approval: str = "q") -> Said:
    return ("a", "w", ApprovalRecorded(approval=approval, granted=granted, by="p"))


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ([ASKED, answer(True), ("a", "L", started())], ""),
        ([("a", "L", started())], "a: started at 1 without anybody's yes"),
        ([ASKED, answer(False), ("a", "L", started())], "a: started at 3 without anybody's yes"),
        ([ASKED, answer(True), (BRANCH, "x", back("0", "a")), ("a", "L", started())], "a: started at 4 without"),
        ([ASKED, answer(True), answer(True)], "a: the answer at 3 is to no open question"),
        ([ASKED, answer(True, "other")], "a: the answer at 2 is to no open question"),
    ],
)
def test_what_needs_a_yes_waits_for_it(said: list[Said], found: str) -> None:
    look(checks_of_people.of_answers(ASKING, told(*said)), found)


TWO: list[Said] = [("a", "L", started()), ("a", "f", failed("L")), ("a", "M", started(2)), ("a", "g", failed("M"))]


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (TWO, ""),
        ([("a", "L", started(2))], "a: attempt 2 at 1 after 0 failures"),
        ([*TWO, ("a", "N", started(3)), ("a", "h", failed("N"))], "a: failure 3 of at most 2 at 6"),
        ([*TWO, (EXECUTION, "o", ExecutionReopened(tasks=("a",), reason="r")), ("a", "h", failed("N"))], ""),
        ([*TWO, (BRANCH, "x", back("0", "a")), ("a", "N", started(1))], "a: attempt 1 at 6 after 2 failures"),
    ],
)
def test_no_attempt_is_forgotten_or_invented(said: list[Said], found: str) -> None:
    look(checks_of_people.of_attempts(SCENARIO, told(*said)), found)


def outcome(gate: str, passed: bool) -> GateOutcome:
    return GateOutcome(gate=gate, when="pre_task", passed=passed, on_fail="halt", score=float(passed))


def around(when: Any, passed: bool) -> Said:
    return (EXECUTION, when, ExecutionGatesJudged(due="d", when=when, outcomes=(outcome("g", passed),)))


def before(passed: bool) -> Said:
    return ("a", "j", TaskGatesJudged(due="d", when="pre_task", attempt=1, outcomes=(outcome("before", passed),)))


OPEN = around("pre_execution", True)
LET_BY: list[Said] = [
    ("a", "q", ApprovalRequested(kind="gate", question="?")),
    ("a", "w", ApprovalRecorded(approval="q", granted=True, by="p")),
]


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ([OPEN, before(True), ("a", "L", started()), ("b", "M", started())], ""),
        ([before(True), ("a", "L", started())], "a: started at 2 past ['begin']"),
        ([around("pre_execution", False), ("b", "L", started())], "b: started at 2 past ['begin']"),
        ([OPEN, ("a", "L", started())], "a: started at 2 past ['before']"),
        ([OPEN, before(False), ("a", "L", started())], "a: started at 3 past ['before']"),
        ([OPEN, before(False), *LET_BY, ("a", "L", started())], ""),
        ([OPEN, before(True), (BRANCH, "x", back("0", "a")), ("a", "L", started())], "a: started at 4 past ['before']"),
        ([("a", "v", verified("L"))], "a: landed at 1 past after"),
        ([("a", "v", verified("L", None, outcome("after", False)))], "a: landed at 1 past after"),
        ([("a", "v", verified("L", None, outcome("after", True))), around("post_execution", True), DONE], ""),
        ([DONE], "completed at 1 past ['end']"),
        ([around("post_execution", True), BEGUN, DONE], "completed at 3 past ['end']"),
    ],
)
def test_nothing_goes_past_a_gate(said: list[Said], found: str) -> None:
    look(checks_of_people.of_gates(GATED, told(*said)), found)


def test_two_attempts_side_by_side_are_seen_unless_a_person_came_between() -> None:
    scenario = Scenario(PLAN, (step("a"),))
    lines = {"a": [Line(word, lease) for word, lease in (("begin", "L"), ("begin", "M"), ("beat", "L"), ("end", "M"))]}
    ends = [("a", "f", failed("L"))]
    people = [("a", "T", TaskTaken(attempt=1, by="p")), RESUMED]
    for between, found in ((ends, "beat of L after M had begun"), (people, "")):
        history = told(("a", "L", started()), *between, ("a", "M", started()), ("a", "v", verified("M")))
        look(checks.of_runs(scenario, history, lines), found)


def test_people_do_not_shorten_a_recovery() -> None:
    history = told(("a", "L", started()), PAUSE, ("a", "f", failed("L")))
    [found] = recoveries([Fault("kill", "planner", 0, "", 0, 0, began_ns=0, ended_ns=1)], history)
    assert (found.kill, found.seconds, found.silent) == (True, 2e-9, 3e-9)
