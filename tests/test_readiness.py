"""What a plan's checks need is looked for before anything starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nightshift.readiness import lines, readiness
from schemas.formats import read_path
from tests.judging import VENV, write

REPO = {
    "pyproject.toml": "[tool.ruff]\n", "tests/test_a.py": "def test_a(): ...\n",
    "web/package.json": '{"devDependencies": {"vitest": "4"}}', "web/a.test.js": "",
}  # fmt: skip


def plan(folder: Path, policy: str, verify: str = "[]") -> Path:
    write(folder / "repo", REPO)
    file = folder / "plan.yaml"
    file.write_text(f"repo: repo\npolicy: {policy}\ntasks:\n  - {{id: a, run: 'true', verify: {verify}}}\n")
    return file


@pytest.fixture(autouse=True)
def our_tools_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(VENV))


def test_what_is_here_and_what_is_missing(tmp_path: Path) -> None:
    reading = read_path(plan(tmp_path, "{tests: auto, quality: [auto, eslint, gate]}"))
    first, *remedies = lines(readiness(reading, tmp_path))
    found = {each.name: each.version for each in readiness(reading, tmp_path)}
    assert found == {
        "pytest": pytest.__version__, "vitest": None, "eslint": None, "ruff": found["ruff"],
        ".ai-validation/check_quality.sh": None,
    }  # fmt: skip
    assert found["ruff"]
    assert first.startswith(f"runners: pytest {pytest.__version__} found, vitest missing, ")
    assert "  vitest: run npm install in the project, or put vitest on PATH" in remedies


def test_criteria_ask_too(tmp_path: Path) -> None:
    verify = "[{tests: a.test.js, runner: jest}, {quality: [ruff]}]"
    names = [each.name for each in readiness(read_path(plan(tmp_path, "{}", verify)), tmp_path)]
    assert names == ["jest", "ruff"]


def test_a_plan_that_needs_nothing_starts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", None)
    assert readiness(read_path(plan(tmp_path, "{tests: off, quality: off}")), tmp_path) == []
    assert lines([]) == []


def test_plan_check_shows_it(tmp_path: Path) -> None:
    file = plan(tmp_path, "{tests: auto}")
    command = [sys.executable, "-m", "nightshift", "plan", "check", str(file)]
    env = {**os.environ, "PATH": str(VENV)}
    text = subprocess.run(command, capture_output=True, text=True, env=env, check=True).stdout
    data = json.loads(subprocess.run([*command, "--json"], capture_output=True, text=True, env=env, check=True).stdout)
    assert f"runners: pytest {pytest.__version__} found, vitest missing" in text
    assert [each["name"] for each in data["runners"]] == ["pytest", "vitest"]
