"""What a task is told to do, against the rules; and what becomes of it when its plan is accepted."""

from __future__ import annotations

from typing import Any

import pytest

from events import ApprovalRequested, PlanAccepted, PlanRejected, PlanSubmitted, RetryRequested, TaskReady, TaskSkipped
from schemas.safety.model import SafetyModel, bound, chosen
from schemas.safety.profiles import DEFAULT, OVERNIGHT
from schemas.safety.rules import LOOSEST, Safety
from schemas.values import Criterion, Plan, Policy, Task
from services.planner import intake
from services.planner.decide import decide
from services.safety import frozen
from services.safety.frozen import marked
from services.safety.request import check_request
from services.safety.shell import read_script
from tests.controls import criterion, plan, task
from tests.spec import asked, executed, failed, given, ready, running, started, verified


def under(safety: Safety, what: Task) -> Plan:
    return plan(what, policy=Policy(safety=safety))


def found(safety: Safety, what: Task) -> list[tuple[str, str, bool]]:
    """Operation, severity, blocked."""
    answer = check_request(under(safety, what), what)
    return [(v.operation, v.severity, v.blocked) for v in answer.violations]


def good(**changes: Any) -> Task:
    """A task that the night may do."""
    return task("1", **{"alignment": 90.0, "estimated_lines": 10, "files": ("src/a.py",), "run": "true"} | changes)


def test_the_answer_has_the_words_of_the_founding_document() -> None:
    what = good(estimated_lines=31, files=(".env",))
    assert check_request(under(OVERNIGHT, what), what).as_json() == {
        "safe_for_autonomous": False,
        "violations": [
            {
                "severity": "CRITICAL", "blocked": True,
                "violation": ".env: put a secret or an environment file into the tree",
            },
            {"severity": "HIGH", "violation": ".env is outside the allowed paths", "blocked": False},
            {"severity": "HIGH", "violation": "31 estimated lines are more than 30", "blocked": False},
        ],
        "can_proceed": False,
    }  # fmt: skip
    assert check_request(under(OVERNIGHT, good()), good()).as_json() == {
        "safe_for_autonomous": True, "violations": [], "can_proceed": True,
    }  # fmt: skip


OVER = [
    (good(alignment=79.9), [("alignment", "HIGH", False)]),
    (good(alignment=None), [("alignment", "HIGH", False)]),
    (good(alignment=80.0), []),
    (good(estimated_lines=30), []),
    (good(estimated_lines=31), [("size", "HIGH", False)]),
    (good(verify=()), [("tests", "HIGH", False)]),
    (good(verify=(Criterion(id="m", kind="manual"),)), [("tests", "HIGH", False)]),
    (good(verify=(), title="Write unit tests for count"), []),
    (good(verify=(), files=("tests/test_a.py",)), []),
    (good(title="Delete file a.py"), [("delete", "HIGH", False)]),
    (good(title="Then drop  table users"), [("database", "HIGH", False)]),
    (good(description="We remove column age"), [("database", "HIGH", False)]),
    (good(prompt="Add dependency on rich", run=None), [("dependencies", "HIGH", False)]),
    (good(title="Install package rich"), [("dependencies", "HIGH", False)]),
    (good(title="Charge with Stripe"), [("external", "HIGH", False)]),
    (good(title="Show payments"), [("external", "HIGH", False)]),
    (good(title="Add a striped pattern"), []),
    (good(description="There is no payment in it, and it does not delete files."), []),
    (good(description="  - Safety check: ✅ no schema change, payment untouched, .env"), []),
    (good(title="Update docker-compose.yml"), [("production", "CRITICAL", False)]),
    (good(description="Do not touch .env"), []),
    (good(files=("docker-compose.yml",)), [("production", "CRITICAL", True), ("outside", "HIGH", False)]),
    (good(files=(".github/workflows/ci.yml",)), [("ci", "CRITICAL", True), ("outside", "HIGH", False)]),
    (good(files=("requirements.txt",)), [("dependencies", "CRITICAL", False), ("outside", "HIGH", False)]),
    (good(files=(".gitignore",)), [("ignore", "CRITICAL", True), ("outside", "HIGH", False)]),
    (good(files=("README.md", "CHANGELOG.md", "docs/a.md", "tests/x.py")), []),
    (good(files=(".env.example",)), [("outside", "HIGH", False)]),
    (good(outputs=("lib/x",)), [("outside", "HIGH", False)]),
    (good(run="git push origin x"), [("push", "CRITICAL", True)]),
    (good(run="cd a && sudo make"), [("privilege", "CRITICAL", True)]),
    (good(run="git -c a=b config user.name x"), [("git_settings", "CRITICAL", True)]),
    (good(run="pip install rich"), [("dependencies", "CRITICAL", False)]),
    (good(run="psql -c 'DROP TABLE users'"), [("database", "CRITICAL", False)]),
    (good(run="curl http://x"), [("external", "HIGH", False)]),
    (good(noop=True, run=None, verify=(), alignment=None), []),
    (good(autonomy="human", title="Delete file x", alignment=None), []),
]


@pytest.mark.parametrize(("what", "expected"), OVER, ids=range(len(OVER)))
def test_the_rules_of_the_night(what: Task, expected: list[tuple[str, str, bool]]) -> None:
    assert sorted(found(OVERNIGHT, what)) == sorted(expected)


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        (task("1", title="Delete file a.py, add dependency, drop table, pay with stripe"), []),
        (task("1", files=("requirements.txt", "docker-compose.yml", ".github/workflows/a.yml")), []),
        (task("1", files=("config/.env",)), [("secrets", "CRITICAL", True)]),
        (task("1", run="git push"), [("push", "CRITICAL", True)]),
        (task("1", run="sudo make"), [("privilege", "CRITICAL", True)]),
    ],
)
def test_by_default_nothing_needs_a_person_and_little_is_forbidden(what: Task, expected: list[Any]) -> None:
    assert found(DEFAULT, what) == expected


LISTED = chosen(SafetyModel(commands=["make", "python -m build", "pytest", "./scripts/*"]), DEFAULT)


@pytest.mark.parametrize(
    ("command", "allowed"),
    [
        ("make all", True), ("python -m build --wheel", True), ("python -m pytest -q", True), ("pytest -q", True),
        ("python3 -m pytest", True), ("timeout 60 make x", True), ("make a && pytest", True),
        ("make a; rm -rf x", False),         ("./scripts/check.sh a", True), ("./other.sh", False),
        ("python -m pip install x", False), ("python x.py", False),
        ("make $(cat x)", False), ("eval make", False), ("sh -c 'make all'", False), ("PATH=bin:$PATH make", False),
        ("CC=gcc make", True), ("make 'unclosed", False), ("(make a | pytest)", True), ("makefile", False),
        ("if make a; then pytest; fi", True), ("for f in x; do $f; done", False), ("make > out 2>&1", True),
        ("make a & curl x", False), ("make `id`", False), ("make\nrm x", False),
    ],
)  # fmt: skip
def test_only_listed_commands_are_started(command: str, allowed: bool) -> None:
    assert (found(LISTED, task("1", run=command, verify=())) == []) is allowed
    checked = task("1", run="make", verify=(criterion(command=command),))
    assert (found(LISTED, checked) == []) is allowed, "a check is a command as well"


def test_two_lists_of_commands_must_both_allow_it() -> None:
    both = frozen.stricter(LISTED, bound(SafetyModel(commands=["make", "ninja"])))
    assert found(both, task("1", run="make", verify=())) == []
    assert found(both, task("1", run="pytest", verify=())) != []
    assert found(both, task("1", run="ninja", verify=())) != []


def test_programs_are_seen_where_the_shell_hides_them() -> None:
    script = read_script(
        "A=1 env B=2 nice make x && (cd sub; bash -c 'pytest \"a b\"' < in.txt) | tee out.txt; echo `id`"
    )
    assert [p.words[0] for p in script.programs] == ["make", "cd", "bash", "pytest", "tee", "echo", "id"]
    assert script.programs[0].assignments == ("A=1", "B=2")
    assert (script.programs[2].folder, script.programs[2].files) == ("sub", ("in.txt",))
    assert script.programs[3].words == ("pytest", "a b")
    assert script.hidden == ""


# -- when a plan is accepted ----------------------------------------------------------------------------------------


def accepted(tasks: list[dict[str, Any]], rules: Safety = LOOSEST, **policy: Any) -> PlanAccepted:
    document = {"plan": "Night", "policy": policy, "tasks": tasks}
    fact = intake.read("e", PlanSubmitted(plan=document), requested_by="acme", rules=rules)
    assert isinstance(fact, PlanAccepted), fact
    return fact


def test_the_merged_rules_are_frozen_in_the_plan() -> None:
    rules = bound(SafetyModel(max_lines=5, forbidden_paths=["vendor/"]))
    fact = accepted([{"id": "1", "run": "true"}], rules, safety={"max_lines": 9, "oracle": "refuse"})
    safety = fact.plan.policy.safety
    assert (safety.max_lines, safety.forbidden_paths, safety.oracle) == (5, ("vendor/",), "refuse")
    assert fact.warnings == ()


def test_a_push_that_nobody_does_is_no_promise() -> None:
    (warning,) = accepted([{"id": "1", "run": "true"}], safety={"push": True}).warnings
    assert (warning.code, warning.hint) == ("no-push", "take its branch with git fetch")


def test_a_plan_whose_branch_is_protected_is_rejected() -> None:
    fact = accepted([{"id": "1", "run": "true"}], bound(SafetyModel(protected_branches=["nightshift/*"])))
    refused = intake.on_its_branch("e-1", fact)
    assert isinstance(refused, PlanRejected)
    assert [p.code for p in refused.problems] == ["protected-branch"]
    assert "nightshift/e-1 is protected by nightshift/*" in refused.problems[0].message
    open_to_all = accepted([{"id": "1", "run": "true"}], safety={"protected_branches": ["live"]})
    assert intake.on_its_branch("e-1", open_to_all) is open_to_all


def test_what_needs_a_yes_asks_before_it_starts_and_says_why() -> None:
    fact = accepted([{"id": "1", "run": "true", "estimated_lines": 12}], bound(SafetyModel(max_lines=10)))
    [one] = fact.plan.tasks
    assert (one.autonomy, one.refused) == ("needs_approval", "")
    assert [c.operation for c in one.concerns] == ["size"]
    assert [w.code for w in fact.warnings] == ["needs-approval"]
    question = ApprovalRequested(
        kind="start", checklist=("12 estimated lines are more than 10",),
        question="May task 1 (untitled) start? The safety policy wants a person's yes: "
        "12 estimated lines are more than 10",
    )  # fmt: skip
    given(fact.plan, running).when(decide).then(("1", question), *_awaited(fact.plan))


def _awaited(whole: Plan) -> list[tuple[str, Any]]:
    history = given(whole, running).history
    return [(d.entity, d.fact) for d in decide(history.fold) if d.entity == "-"]


def test_what_is_never_done_is_skipped_with_what_needs_it_and_the_rest_goes_on() -> None:
    tasks = [{"id": "1", "run": "git push"}, {"id": "2", "run": "true", "needs": ["1"]}, {"id": "3", "run": "true"}]
    fact = accepted(tasks)
    assert [w.code for w in fact.warnings] == ["refused"]
    history = given(fact.plan, running).history
    said = [(r.entity, r.fact) for r in history.settle()]
    skipped = {entity: fact for entity, fact in said if isinstance(fact, TaskSkipped)}
    assert skipped["1"].because == "1"
    assert skipped["1"].reason.startswith("the safety policy refuses it: it runs `git push`")
    assert skipped["2"] == TaskSkipped(because="1", reason="1 is skipped")
    assert ("3", TaskReady(attempt=1)) in said
    assert all(entity != "1" for entity, fact in said if isinstance(fact, TaskReady))


def test_a_refused_task_stays_refused_when_what_it_needs_is_tried_again() -> None:
    tasks = [{"id": "1", "run": "true", "max_attempts": 1}, {"id": "2", "run": "git push", "needs": ["1"]}]
    whole = accepted(tasks, on_exhausted="fail").plan
    history = given(whole, running, ready("1"), started("1"), failed("1")).history
    history.settle()
    assert history.fold.tasks["2"].reason == ""
    given(history, asked(RetryRequested(request="r", task="1")))
    history.settle()
    assert (history.fold.tasks["1"].state, history.fold.tasks["2"].state) == ("ready", "pending")
    for step in (started("1"), executed("1"), verified("1")):
        step(history)
    history.settle()
    assert history.fold.tasks["2"].state == "skipped"
    assert "git push" in history.fold.tasks["2"].reason


def test_a_mode_that_asks_nobody_refuses_what_needs_a_yes() -> None:
    fact = accepted(
        [{"id": "1", "run": "true", "estimated_lines": 12}], bound(SafetyModel(max_lines=10)), approvals="auto"
    )
    assert fact.plan.tasks[0].autonomy == "auto"
    assert "needs a person, and the plan asks nobody" in fact.plan.tasks[0].refused
    assert [w.code for w in fact.warnings] == ["refused"]


def test_what_is_done_already_is_not_checked() -> None:
    whole = plan(task("1", run="git push", status="completed"))
    assert marked(whole) == (whole, [])


PROJECT_PLAN = """\
# Plan

## Task Queue
### Ready for Autonomous Execution
→ **[one]** Write the helper
  - Alignment score: 95/100 ✅
  - Estimated lines: 10 ✅
  - Tests defined: ✅ Yes (tests/unit/test_helper.py)
  - Safety check: ✅ no schema change
  - Status: READY
→ **[two]** Charge with Stripe
  - Alignment score: 95/100 ✅
  - Estimated lines: 10 ✅
  - Tests defined: ✅ Yes (tests/unit/test_helper.py)
  - Safety check: ✅
  - Status: READY
"""


def test_a_project_plan_has_the_rules_of_the_night() -> None:
    submitted = PlanSubmitted(documents={"PROJECT_PLAN.md": PROJECT_PLAN}, root="PROJECT_PLAN.md", agent="agent")
    fact = intake.read("e", submitted, requested_by="acme")
    assert isinstance(fact, PlanAccepted), fact
    safety = fact.plan.policy.safety
    assert (safety.max_lines, safety.min_alignment, safety.stand("ci")) == (30, 80, "never")
    one, two = fact.plan.tasks
    assert (one.alignment, one.estimated_lines, one.concerns, one.autonomy) == (95, 10, (), "auto")
    assert (two.autonomy, [c.operation for c in two.concerns]) == ("needs_approval", ["external"])
