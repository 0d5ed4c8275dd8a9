"""What judges a task: read from its criteria, and what of a difference belongs to it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from events import ApprovalRecorded, ApprovalRequested, OracleTouched, TaskDelivered, TaskTaken
from events.verdict import OracleFile
from schemas.safety.profiles import OVERNIGHT
from schemas.safety.rules import Concern
from schemas.values import Criterion, Gate, Policy, Repo, Source
from services.safety.judges import Judges, judges_of
from services.safety.manifests import steering
from services.safety.oracle import touched
from services.verifier.decide import question
from services.verifier.policy import Inspection, inspect, oracle_fact, policy_result
from services.workspace import FileChange
from tests.controls import plan, task
from tests.spec import History, executed, given, ready, running, said, started


def judged(*commands: str) -> Judges:
    return judges_of([Criterion(id=f"c{n}", kind="command", command=c) for n, c in enumerate(commands)])


def modified(path: str, before: str = "a\n", after: str = "b\n", **more: Any) -> FileChange:
    return FileChange(
        path=path, status="M", old_mode="100644", new_mode="100644", before=before, after=after, **more
    )  # fmt: skip


def new(path: str, after: str = "x\n", mode: str = "100644") -> FileChange:
    return FileChange(path=path, status="A", new_mode=mode, after=after)


READ = [
    ("pytest -q tests/test_a.py", {"tests/test_a.py"}, False, set()),
    ("pytest", set(), True, set()),
    ("pytest --junitxml out.xml --cov src", set(), True, {"out.xml"}),
    ("pytest --maxfail 1 tests/test_a.py", {"tests/test_a.py"}, False, set()),
    ("pytest -k tests", set(), True, set()),
    ("python -m pytest tests/test_a.py::test_x tests/unit", {"tests/test_a.py", "tests/unit"}, False, set()),
    ("cd sub && python3 -m unittest tests.test_x -v", {"sub/tests/test_x"}, False, set()),
    ("poetry run pytest tests/*.py", {"tests"}, False, set()),
    ("npx jest src/a.test.ts", {"src/a.test.ts"}, False, set()),
    ("npm test -- tests/a.test.js", {"tests/a.test.js"}, True, set()),
    ("cargo test --manifest-path x/Cargo.toml", set(), True, {"x/Cargo.toml"}),
    ("go test ./pkg/...", set(), True, set()),
    ("make test", set(), True, set()),
    ("./scripts/check.sh out/a.txt", set(), True, {"scripts/check.sh", "out/a.txt"}),
    ("bash check.sh", set(), True, {"check.sh"}),
    ("python tools/verify.py", set(), True, {"tools/verify.py"}),
    ("python app.py --version", set(), False, {"app.py"}),
    ("python3 -c 'import words; assert words.count(\"a\") == 1'", set(), False, set()),
    ("grep -q x src/a.py && test -f b.txt && wc -l README.md", set(), False, set()),
    ("ruff check src/a.py", set(), False, set()),
    ("cat a.txt | diff - tests/expected.txt", set(), False, {"a.txt", "tests/expected.txt"}),
    ("./app < tests/in.txt", set(), True, {"app", "tests/in.txt"}),
    ("eval $CHECK tests/a.sh", set(), True, {"tests/a.sh"}),
    ("test $(sh count.sh) = 3", set(), True, {"count.sh"}),
    ("pytest /etc/x ~/y ../z http://x/y", set(), True, set()),
]


@pytest.mark.parametrize(("command", "targets", "all_tests", "files"), READ, ids=[row[0] for row in READ])
def test_what_a_criterion_runs_and_reads(command: str, targets: set[str], all_tests: bool, files: set[str]) -> None:
    judges = judged(command)
    assert judges.targets >= targets
    assert judges.all_tests is all_tests
    assert judges.files == files


def test_looking_at_files_needs_no_judge_and_an_unknown_kind_may_run_any_test() -> None:
    looks = [Criterion(id="a", kind="file", path="src/a.py"), Criterion(id="b", kind="regex", pattern="x", source="y")]
    assert judges_of(looks) == Judges()
    runs = judges_of([replace(looks[0], kind="tests")])  # type: ignore[arg-type]
    assert runs.all_tests


SEEN = [
    ("pytest tests/test_a.py", modified("tests/test_a.py"), True),
    ("pytest tests/test_a.py", modified("tests/test_b.py"), False),
    ("pytest tests/test_a.py", modified("tests/helpers.py"), True),
    ("pytest tests/test_a.py", new("tests/test_new.py"), False),
    ("pytest tests/test_a.py", new("tests/helpers.py"), False),
    ("pytest", modified("src/pkg/test_a.py"), True),
    ("pytest", modified("src/a.py"), False),
    ("pytest src/pkg", modified("src/pkg/a.py"), False),
    ("pytest src/pkg", modified("src/pkg/test_a.py"), True),
    ("pytest src/pkg", modified("src/other/test_a.py"), False),
    ("pytest checks", modified("checks/test_a.py"), True),
    ("pytest checks/one.py", modified("checks/one.py"), True),
    ("pytest --cov=src/pkg tests", modified("src/pkg/a.py"), False),
    ("go test ./pkg/...", modified("pkg/a.go"), False),
    ("mytool src/", modified("src/a.c"), False),
    ("pytest", new("src/conftest.py"), True),
    ("pytest", new("random.py"), True),
    ("pytest", new("tests/random.py"), True),
    ("pytest", new("src/pkg/random.py"), False),
    ("pytest", modified("random.py"), False),
    ("pytest", new("test/test_a.py"), False),
    ("pytest", new("setup.cfg"), True),
    ("pytest", new("src/a.py", "import pytest\n"), True),
    ("pytest", new("tests/test_a.py", "import pytest\n\n@pytest.mark.skip\ndef test_a(): pass\n"), False),
    ("pytest", new("tests/test_a.py", "import os\nos._exit(0)\n"), True),
    ("make check", modified("src/a.c"), False),
    ("make check", modified("rules.mk"), True),
    ("make check", modified("tests/a.sh"), True),
    ("npx jest", modified("src/a.test.ts"), True),
    ("npx jest", new("vitest.config.ts"), True),
    ("npx jest", modified("src/a.ts"), False),
    ("cargo test", modified("tests/a.rs"), True),
    ("cargo test", modified("src/a.rs", "fn a() {}\n", "fn a() { b() }\n"), False),
    ("cargo test", new("build.rs"), True),
    ("go test ./...", modified("a_test.go"), True),
    ("go test ./...", new("a.go", "package a\n"), False),
    ("grep x a.py", modified("a.py"), False),
    ("grep x a.py", new("bin/grep", mode="100755"), False),
    ("mytool run", new("bin/mytool", mode="100755"), True),
    ("mytool run", new("docs/mytool"), False),
    ("mytool run", new("node_modules/.bin/mytool", mode="120000"), True),
    ("ruff check .", modified("src/a.py"), False),
    ("ruff check .", new("ruff.toml"), True),
    ("python app.py", modified("app.py"), True),
    ("true", modified(".ai-validation/check_quality.sh"), True),
]


@pytest.mark.parametrize(("command", "change", "seen"), SEEN, ids=[f"{c}-{f.status}-{f.path}" for c, f, _ in SEEN])
def test_what_of_a_difference_judges(command: str, change: FileChange, seen: bool) -> None:
    found = touched([change], judged(command))
    assert [one.path for one in found] == ([change.path] if seen else [])
    assert all(one.why for one in found)


def test_a_program_that_the_plan_says_is_worked_on_is_the_product_but_a_test_never_is() -> None:
    app, test = modified("app.py"), modified("tests/test_a.py")
    judges = judged("python app.py", "pytest tests/test_a.py")
    assert [one.path for one in touched([app, test], judges)] == ["app.py", "tests/test_a.py"]
    found = touched([app, test], judges, files=["app.py", "tests/test_a.py", "tests/"])
    assert [one.path for one in found] == ["tests/test_a.py"]


SETUP = [
    new("package.json", '{"scripts": {"test": "jest"}}'),
    new("conftest.py"),
    new("Makefile"),
    new("src/a.py", "a\n"),
]


@pytest.mark.parametrize(
    ("command", "before", "bends"),
    [
        ("npm test", ["README.md"], set()),
        ("npm test", ["README.md", "src/a.test.js"], {"package.json"}),
        ("pytest", [], set()),
        ("pytest", ["src/b.py"], set()),
        ("pytest", ["tests/test_b.py"], {"conftest.py"}),
        ("pytest tests/test_a.py", ["tests/test_b.py"], set()),
        ("pytest tests/test_a.py", ["tests/test_a.py"], {"conftest.py"}),
        ("make check", ["README.md"], set()),
        ("make check", ["rules.mk"], {"Makefile", "conftest.py", "package.json"}),
        ("python -m a", [], set()),
    ],
)
def test_who_sets_up_a_runner_bends_nothing_where_nothing_judged(
    command: str, before: list[str], bends: set[str]
) -> None:
    assert {one.path for one in touched(SETUP, judged(command), before=before)} == bends


def test_the_old_name_of_a_test_counts() -> None:
    moved = FileChange(path="old/a.txt", status="R", old="tests/test_a.py", old_mode="100644", new_mode="100644")
    assert [one.path for one in touched([moved], judged("pytest"))] == ["tests/test_a.py"]


@pytest.mark.parametrize(
    ("name", "before", "after", "steers"),
    [
        ("pyproject.toml", "[project]\ndependencies=[]", "[project]\ndependencies=['a']", False),
        ("pyproject.toml", "[project]\nversion='1'", "[project]\nversion='2'", False),
        ("pyproject.toml", "", "[tool.pytest.ini_options]\naddopts='-k x'", True),
        ("pyproject.toml", "", "[project.entry-points.pytest11]\na='b'", True),
        ("pyproject.toml", "[tool.poetry.dependencies]\na='1'", "[tool.poetry.dependencies]\na='2'", False),
        ("pyproject.toml", "", "[broken", True),
        ("package.json", '{"dependencies": {}}', '{"dependencies": {"a": "^1"}}', False),
        ("package.json", '{"version": "1"}', '{"version": "2"}', False),
        ("package.json", "{}", '{"devDependencies": {"jest": "file:./fake"}}', True),
        ("package.json", "{}", '{"devDependencies": {"jest": "npm:fake@1"}}', True),
        ("package.json", "{}", '{"scripts": {"test": "true"}}', True),
        ("package.json", "{}", '{"jest": {"testMatch": []}}', True),
        ("package.json", "{}", "[]", True),
        ("Cargo.toml", "[dependencies]\na='1'", "[dependencies]\na='2'", False),
        ("Cargo.toml", "", "[dependencies]\na={path='x'}", True),
        ("Cargo.toml", "[package]\nversion='1'", "[package]\nversion='2'\nbuild='b.rs'", True),
        ("Cargo.toml", "", "[[test]]\nname='a'\nharness=false", True),
        ("go.mod", "module a\nrequire b v1", "module a\nrequire b v2", False),
        ("go.mod", "module a", "module a\nreplace b => ./fake", True),
    ],
)
def test_what_of_a_manifest_steers_a_runner(name: str, before: str, after: str, steers: bool) -> None:
    assert ((steering(name, before) or None) != (steering(name, after) or None)) is steers


# -- the verifier's view --------------------------------------------------------------------------------------------

PYTEST = Criterion(id="c1", kind="command", command="pytest tests/test_a.py")
NEEDS = Criterion(id="m", kind="manual", text="looks good")


def history_of(*tasks: Any, **changes: Any) -> History:
    return given(plan(*tasks, **changes), running, ready("1"), started("1"), executed("1")).history


def inspected(history: History, *changes: FileChange) -> Inspection:
    return inspect(history.fold, history.fold.tasks["1"], changes)


def test_what_judges_the_work_that_builds_on_it_is_protected_too() -> None:
    tasks = (task("1", verify=()), task("2", needs=("1",), verify=()), task("3", needs=("2",), verify=(PYTEST,)))
    beside = task("4", verify=(replace(PYTEST, command="pytest tests/test_b.py"),))
    found = inspected(history_of(*tasks, beside), modified("tests/test_a.py"), modified("tests/test_b.py"))
    assert [one.path for one in found.oracle] == ["tests/test_a.py"]


def test_the_plan_file_is_protected_where_it_lies_in_the_repository() -> None:
    place = {"repo": Repo(path="/p"), "base": "/p/docs", "files": (Source(path="PLAN.md", sha256="0" * 64),)}
    found = inspected(history_of(task("1", verify=()), **place), modified("docs/PLAN.md"), modified("PLAN.md"))
    assert found.oracle == (OracleFile(path="docs/PLAN.md", why="it is the plan itself"),)


def test_in_a_mode_that_asks_nobody_a_concern_is_a_refusal() -> None:
    history = history_of(task("1", verify=(PYTEST,)), policy=Policy(approvals="auto"))
    found = inspected(history, modified("tests/test_a.py"))
    assert found.concerns == ()
    [refusal] = found.refusals
    assert refusal.endswith("(needs a person, and the plan asks nobody)")


def test_what_a_gate_runs_is_protected_too() -> None:
    gate = Gate(name="all", when="post_execution", criteria=(PYTEST,))
    found = inspected(history_of(task("1", verify=()), gates=(gate,)), modified("tests/test_a.py"))
    assert [one.path for one in found.oracle] == ["tests/test_a.py"]


def test_tests_that_policy_runs_are_protected_too() -> None:
    history = history_of(task("1", verify=()), policy=Policy(tests="auto"))
    assert [one.path for one in inspected(history, modified("tests/test_a.py")).oracle] == ["tests/test_a.py"]
    assert inspected(history_of(task("1", verify=())), modified("tests/test_a.py")).oracle == ()


def test_what_a_person_delivers_asks_nothing_more_but_what_is_never_done_is_refused() -> None:
    taken = said("1", TaskTaken(attempt=1, by="acme/ada"))
    history = given(plan(task("1", verify=(PYTEST,))), running, taken).history
    history.say("1", TaskDelivered(attempt=1, lease=history.lease("1"), by="acme/ada", commit="c0de" * 10))
    found = inspected(history, modified("tests/test_a.py"), new(".env"))
    assert found.oracle
    assert found.concerns == ()
    assert found.refusals == (".env: put a secret or an environment file into the tree",)


def test_a_yes_to_the_start_covers_the_result_but_never_the_oracle() -> None:
    asked = task(
        "1", autonomy="needs_approval", verify=(PYTEST,), concerns=(Concern(operation="delete", violation="d"),)
    )
    gone = FileChange(path="src/x.py", status="D", old_mode="100644", before="x\n")
    ask = said("1", ApprovalRequested(kind="start", question="?"))
    yes = said("1", ApprovalRecorded(approval="q", granted=True, by="acme/ada"))
    whole = plan(asked, policy=Policy(safety=OVERNIGHT))
    allowed = given(whole, running, ask, yes, ready("1"), started("1"), executed("1")).history
    found = inspected(allowed, gone, modified("tests/test_a.py"))
    assert len(found.concerns) == 1
    assert "judges the task" in found.concerns[0]


def test_touching_is_said_once_for_an_attempt() -> None:
    history = history_of(task("1", verify=(PYTEST,)))
    found = inspected(history, modified("tests/test_a.py"))
    fact = oracle_fact(history.fold.tasks["1"], found)
    assert fact == OracleTouched(attempt=1, lease=history.lease("1"), files=found.oracle)
    history.say("1", fact)
    assert oracle_fact(history.fold.tasks["1"], found) is None
    assert oracle_fact(history.fold.tasks["1"], Inspection()) is None


def test_the_question_says_why_it_is_asked() -> None:
    history = history_of(task("1", verify=(PYTEST, NEEDS)))
    asks = question(history.fold, history.fold.tasks["1"], ("a is deleted", "b is deleted"))
    assert asks.question == (
        "Is the result of task 1 (Build part 1) good? The safety policy wants a person's yes: a is deleted (and 1 more)"
    )
    assert asks.checklist == ("a is deleted", "b is deleted", "looks good")


def test_the_check_stands_among_the_criteria() -> None:
    history = history_of(task("1"))
    one = history.fold.tasks["1"]
    fine = policy_result(one, Inspection(files=1, lines=12))
    assert (fine.kind, fine.result, fine.detail) == ("policy", "pass", "1 file, 12 lines outside tests and documents")
    bad = policy_result(one, Inspection(files=1, refusals=("a is forbidden", "b")))
    assert (bad.result, bad.detail) == ("fail", "a is forbidden; b")
