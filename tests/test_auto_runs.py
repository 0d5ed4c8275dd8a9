"""A whole run with `tests: auto` and an `http` check, in the sandbox that is the default here."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.cli import Nightshift
from tests.judging import write

pytestmark = pytest.mark.whole

CALC = {
    "calc.py": "def add(a, b):\n    return a + b\n",
    "tests/__init__.py": "",
    "tests/test_calc.py": """
import unittest
from calc import add

class Calc(unittest.TestCase):
    def test_add(self):
        self.assertEqual(add(1, 1), 2)
""",
}


@pytest.fixture
def url() -> Iterator[str]:
    class Up(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Up)
    threading.Thread(target=server.serve_forever, args=(0.01,)).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()


def test_a_unittest_project_is_judged_by_its_own_tests(tmp_path: Path, url: str) -> None:
    nightshift = Nightshift(tmp_path / "home")
    write(tmp_path / "repo", CALC)
    git = ["git", "-c", "user.name=A", "-c", "user.email=a@localhost", "-c", "init.defaultBranch=main"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "begin"]):
        subprocess.run([*git, *words], cwd=tmp_path / "repo", check=True, capture_output=True)
    tasks = [
        {"id": "extends", "run": "echo 'ONE = 1' >> calc.py"},
        {"id": "breaks", "run": "sed -i 's/a + b/a - b/' calc.py"},
        {"id": "asks", "network": "host", "run": "echo up > up.txt", "verify": [{"http": url}]},
    ]
    policy = {"tests": "auto", "max_attempts": 1, "on_exhausted": "fail", "halt_after": 9}
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps({"plan": "By its own tests", "repo": "repo", "policy": policy, "tasks": tasks}))
    nightshift("run", plan, code=1)
    where = "from criteria where kind in ('tests', 'http') order by task, kind"
    rows = nightshift.json("query", f"select task, kind, result {where}")
    assert [tuple(row.values()) if isinstance(row, dict) else tuple(row) for row in rows] == [
        ("asks", "http", "pass"), ("asks", "tests", "pass"), ("breaks", "tests", "fail"), ("extends", "tests", "pass"),
    ]  # fmt: skip
    (runner,) = nightshift.json("query", "select distinct runner from test_results")
    assert list(runner.values() if isinstance(runner, dict) else runner) == ["unittest"]
