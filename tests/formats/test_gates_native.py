"""Tests, gates and targets in native plans: read, written, refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from schemas.accept import accept, plan_to_native
from schemas.formats import read_path
from schemas.reading import Reading
from schemas.values import Plan

PLAN = """
plan: Gates
policy: {tests: auto, quality: [auto, gate]}
tasks:
  - id: a
    run: make
    verify:
      - {tests: auto, target: "coverage>=80%"}
      - {tests: "tests/**/*.py", runner: pytest, timeout: 1h}
      - {quality: auto}
      - {quality: [ruff, mypy]}
      - {command: make bench, target: p95<=baseline+10%, measure: "p95 is .*"}
"""


def read(folder: Path, text: str) -> Reading:
    file = folder / "nightshift.yaml"
    file.write_text(text)
    return read_path(file)


def test_they_are_read_and_written_again(tmp_path: Path) -> None:
    plan = accept(read(tmp_path, PLAN), plan_id="p")
    assert isinstance(plan, Plan), plan
    found = [(c.kind, c.tests, c.runner, c.gates, c.target, c.measure) for c in plan.tasks[0].verify]
    assert found == [
        ("tests", "auto", None, (), "coverage>=80%", None),
        ("tests", "tests/**/*.py", "pytest", (), None, None),
        ("quality", None, None, ("auto",), None, None),
        ("quality", None, None, ("ruff", "mypy"), None, None),
        ("command", None, None, (), "p95<=baseline+10%", "p95 is .*"),
    ]
    assert [c.words for c in plan.tasks[0].verify] == [
        "the tests pass", "the tests pass: tests/**/*.py", "nothing new is found by the quality gates of the project",
        "nothing new is found by ruff, mypy", "command",
    ]  # fmt: skip
    assert (plan.policy.tests, plan.policy.quality) == ("auto", ("auto", "gate"))
    again = accept(read(tmp_path, yaml.safe_dump(plan_to_native(plan))), plan_id="p")
    assert isinstance(again, Plan)
    assert (again.tasks[0].verify, again.policy) == (plan.tasks[0].verify, plan.policy)


@pytest.mark.parametrize(
    ("policy", "tests", "quality"),
    [
        ("{}", "off", ()),
        ("{tests: off, quality: off}", "off", ()),
        ('{tests: "off", quality: "off"}', "off", ()),
        ("{tests: auto, quality: auto}", "auto", ("auto",)),
        ("{quality: [ruff, gate]}", "off", ("ruff", "gate")),
        ("{profile: overnight}", "auto", ("auto", "gate")),
        ("{profile: overnight, quality: [ruff]}", "auto", ("ruff",)),
    ],
)
def test_policy_is_off_unless_somebody_says_so(
    policy: str, tests: str, quality: tuple[str, ...], tmp_path: Path
) -> None:
    reading = read(tmp_path, f"policy: {policy}\ntasks: [{{id: a, run: make}}]\n")
    assert reading.errors == []
    assert reading.policy is not None
    assert (reading.policy.tests, reading.policy.quality) == (tests, quality)


@pytest.mark.parametrize(
    ("check", "message"),
    [
        ("{quality: rufff}", "'rufff' is no quality gate; there are auto, ruff, "),
        ("{quality: []}", "must not be empty"),
        ("{tests: auto, runner: mocha}", "must be one of 'pytest'"),
        ("{command: make, runner: pytest}", "'runner' belongs to a check of kind tests, not command"),
        ("{file: a, measure: x}", "'measure' belongs to a check of kind command, not file"),
        ("{command: make, measure: '('}", "is no regular expression"),
        ("{command: make, target: fast}", "'fast' is no target; write it like p95<200ms"),
        ("{command: make, target: '<200ms'}", "does not say what is measured"),
        ("{tests: auto, quality: ruff}", "a check is one thing, but this one names tests and quality"),
    ],
)
def test_mistakes_are_named(check: str, message: str, tmp_path: Path) -> None:
    reading = read(tmp_path, f"tasks: [{{id: a, run: make, verify: [{check}]}}]\n")
    assert [message in problem.message for problem in reading.errors] == [True], reading.errors


def test_a_target_in_words_is_no_mistake_where_nothing_is_measured(tmp_path: Path) -> None:
    reading = read(
        tmp_path, "tasks: [{id: a, run: make, verify: [{manual: fast enough, target: as fast as before}]}]\n"
    )
    assert reading.errors == []
