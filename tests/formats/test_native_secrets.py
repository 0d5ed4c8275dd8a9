"""Grants in plans: names and variables, on the plan, its tasks and their commands."""

from __future__ import annotations

import json

import pytest

from schemas.accept import accept, plan_to_native
from schemas.formats import read_text
from schemas.reading import Reading
from schemas.values import Grant, Plan

ID = "0192f0c1-0000-7000-8000-000000000001"
TASK = "plan: P\ntasks:\n  - id: a\n    run: make\n"
A, B = Grant(name="A", env="A"), Grant(name="B", env="C")


def accepted(reading: Reading) -> Plan:
    plan = accept(reading, plan_id=ID)
    assert isinstance(plan, Plan), plan
    return plan


@pytest.mark.parametrize(
    ("written", "grants"),
    [("A", (A,)), ("[A]", (A,)), ("{B: C}", (B,)), ("[A, {B: C}]", (A, B)), ("{A: A, B: C}", (A, B)), ("[]", ())],
)
def test_what_is_granted(written: str, grants: tuple[Grant, ...]) -> None:
    check = f"    verify: [{{command: make test, secrets: {written}}}]\n"
    text = TASK.replace("plan: P", f"plan: P\nsecrets: {written}") + f"    secrets: {written}\n" + check
    plan = accepted(read_text("plan.yaml", text))
    assert (plan.secrets, plan.tasks[0].secrets, plan.tasks[0].verify[0].secrets) == (grants, grants, grants)
    again = accepted(read_text("plan.json", json.dumps(plan_to_native(plan))))
    assert again.tasks == plan.tasks
    assert again.secrets == plan.secrets


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("[1x]", "'1x' is no name"),
        ("[A-B]", "'A-B' is no name"),
        ("{A: 'x y'}", "'x y' is no name"),
        ("{A: {B: C}}", "is no name"),
        ("[[A]]", "neither the name of a secret"),
        ("5", "neither the name of a secret"),
        ("[A, A]", "A is named twice"),
        ("[A, {B: A}]", "two secrets have the variable A"),
        ("{A: NIGHTSHIFT_LEASE}", "is the engine's own"),
    ],
)
def test_what_is_refused(written: str, why: str) -> None:
    reading = read_text("plan.yaml", TASK + f"    secrets: {written}\n")
    [problem] = reading.errors
    assert why in problem.message
    assert problem.line == 5


def test_only_commands_see_secrets() -> None:
    reading = read_text("plan.yaml", TASK + "    verify: [{file: x, secrets: [A]}]\n")
    assert "'secrets' belongs to a check of kind command" in reading.errors[0].message
