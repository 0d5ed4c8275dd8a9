"""A whole run with tests and gates by policy: real command line, server, git, pytest and ruff."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.cli import Nightshift
from tests.judging import VENV, write

pytestmark = pytest.mark.whole

REPO = {
    "ruff.toml": "[lint]\nselect = ['F']\n",
    "calc.py": "import sys\n\ndef add(a, b):\n    return a + b\n",
    "tests/test_calc.py": "from calc import add\n\ndef test_add():\n    assert add(1, 1) == 2\n",
    ".ai-validation/check_quality.sh": "test ! -e forbidden\n",
}
BREAKS_FIRST = (
    """if [ "$NIGHTSHIFT_ATTEMPT" = 1 ]; then sed -i 's/a + b/a - b/' calc.py; else echo 'ONE = 1' >> calc.py; fi"""
)


def test_nothing_lands_that_breaks_a_test_or_brings_a_finding(tmp_path: Path) -> None:
    nightshift = Nightshift(tmp_path / "home")
    repo = tmp_path / "repo"
    write(repo, REPO)
    git = ["git", "-c", "user.name=A", "-c", "user.email=a@localhost", "-c", "init.defaultBranch=main"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "begin"]):
        subprocess.run([*git, *words], cwd=repo, check=True, capture_output=True)
    plan = tmp_path / "plan.json"
    plan.write_text(
        json.dumps(
            {
                "plan": "A night with gates",
                "repo": "repo",
                "env": {"PATH": f"{VENV}:{os.environ['PATH']}"},
                "policy": {
                    "tests": "auto", "quality": ["auto", "gate"], "max_attempts": 2, "halt_after": 9,
                    "on_exhausted": "fail",
                    "backoff": {"first": 0},
                },
                "tasks": [
                    {"id": "mends", "title": "Extend calc", "run": BREAKS_FIRST},
                    {"id": "lint", "title": "Lint", "max_attempts": 1, "run": "echo 'import os' >> calc.py"},
                    {"id": "hides", "title": "Hide", "max_attempts": 1, "run": "rm -r tests; echo 1 passed"},
                    {"id": "forbidden", "max_attempts": 1, "run": "touch forbidden"},
                    {"id": "fast", "run": "echo fast > fast.txt", "verify": [
                        {"command": "echo p95=0.15s", "target": "p95<200ms"},
                        {"tests": "auto", "target": "passed>=1"}]},
                    {"id": "slow", "run": "echo slow > slow.txt", "max_attempts": 1, "verify": [
                        {"command": "echo p95=250ms", "target": "p95<200ms"}]},
                ],
            }
        )
    )  # fmt: skip
    said = nightshift("run", plan, code=1).stderr
    assert "missing" not in said
    status = nightshift.json("status", nightshift.json("status")[0]["execution"])
    assert {task["id"]: task["state"] for task in status["tasks"]} == {
        "mends": "verified", "fast": "verified", "lint": "failed", "hides": "failed", "forbidden": "failed",
        "slow": "failed",
    }  # fmt: skip
    errors = {task["id"]: task["error"] or "" for task in status["tasks"]}
    assert "1 new: calc.py:5: F401" in errors["lint"]
    assert "took away tests/test_calc.py" in errors["hides"]
    assert "gate: exit code 1" in errors["forbidden"]
    assert "p95 is 250ms, not p95<200ms" in errors["slow"]

    rows = nightshift.json("query", "select attempt, result, runner, total, passed, failed from test_results "
                                    "where task = 'mends' order by seq")  # fmt: skip
    listed = [list(row.values()) if isinstance(row, dict) else row for row in rows]
    assert listed == [[1, "fail", "pytest", 1, 0, 1], [2, "pass", "pytest", 1, 1, 0]]
    measured = nightshift.json("query", "select measured from criteria where measured is not null order by measured")
    assert [list(row.values()) if isinstance(row, dict) else row for row in measured] == [["0.15s"], ["1"], ["250ms"]]
    nightshift("replay", "--check")
    assert not any((nightshift.home / "judge").rglob("files")), "what was judged in is removed"
