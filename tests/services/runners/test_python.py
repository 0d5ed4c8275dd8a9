"""Real runs of pytest and unittest, good ones and those of a task that wants to be believed."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import pytest

from services.verifier.runners.tools import installation
from tests.judging import judging

GOOD = "def test_good():\n    assert 1 + 1 == 2\n"
BAD = "def test_bad():\n    assert 1 + 1 == 3, 'one and one is not three'\n"
FAKE = '<testsuites><testsuite><testcase name="fake"/></testsuite></testsuites>'
UNIT = """
import unittest

class Sums(unittest.TestCase):
    def test_good(self):
        self.assertEqual(1 + 1, 2)

    def test_bad(self):
        self.assertEqual(1 + 1, 3)

    @unittest.skip("not now")
    def test_later(self):
        self.fail()
"""


def test_where_the_python_of_an_environment_is_installed(tmp_path: Path) -> None:
    for folder in (".venv/bin", "store/3.12.5/bin", "store/3.12.5/lib", "home"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "store/3.12").symlink_to("3.12.5")
    (tmp_path / "store/3.12.5/bin/python3").write_text("")
    python = tmp_path / ".venv/bin/python"
    python.symlink_to(tmp_path / "store/3.12/bin/python3")
    store = tmp_path / "store/3.12"
    assert installation(tmp_path / ".venv") == [store / "bin", store / "lib"]
    for bad in (tmp_path / "home/python", python, tmp_path / "nowhere"):
        python.unlink()
        python.symlink_to(bad)
        assert installation(tmp_path / ".venv") in ([], [python.parent]), "a folder that is no bin is never shown"
    assert installation(tmp_path) == []


async def test_pytest_is_found_run_and_counted(tmp_path: Path) -> None:
    files = {"tests/test_one.py": GOOD + "import pytest\n@pytest.mark.skip\ndef test_later(): ...\n"}
    async with judging(tmp_path, files) as place:
        result = await place.judge("tests", tests="auto")
        assert (result.result, result.exit_code) == ("pass", 0), result.detail
        assert result.tests is not None
        assert (result.tests.runner, result.tests.total, result.tests.passed) == ("pytest", 2, 1)
        assert (result.tests.failed, result.tests.skipped) == (0, 1)
        evidence = place.evidence(result)
    assert evidence["totalTests"] == 2
    assert evidence["selected"] == ["tests/test_one.py"]
    assert "1 passed, 1 skipped" in evidence["runs"][0]["output"]


async def test_a_failure_is_named_with_its_error_and_stack(tmp_path: Path) -> None:
    async with judging(tmp_path, {"tests/test_one.py": GOOD + BAD}) as place:
        result = await place.judge("tests", tests="tests/test_one.py", runner="pytest")
        failure = place.evidence(result)["failures"][0]
    assert result.result == "fail"
    assert "1 of 2 tests failed" in result.detail
    assert "one and one is not three" in result.detail
    assert failure["test"] == "tests/test_one.py::test_bad"
    assert "assert 1 + 1 == 3" in failure["error"] + failure["stack"]


async def test_unittest_is_found_run_and_counted(tmp_path: Path) -> None:
    async with judging(tmp_path, {"tests/test_sums.py": UNIT}) as place:
        result = await place.judge("tests", tests="auto")
        evidence = place.evidence(result)
    assert result.result == "fail"
    assert result.tests is not None
    assert (result.tests.runner, result.tests.total, result.tests.passed) == ("unittest", 3, 1)
    assert (result.tests.failed, result.tests.skipped) == (1, 1)
    assert "AssertionError: 2 != 3" in result.detail
    assert "Traceback" in evidence["failures"][0]["stack"]


async def test_the_code_of_the_result_is_what_is_tested(tmp_path: Path) -> None:
    """Also where it lies in src/ and nothing is installed."""
    files = {"src/sums.py": "def add(a, b):\n    return a + b\n", "sub/flat.py": "ONE = 1\n"}
    test = "import sums\nfrom sub import flat\ndef test_add():\n    assert sums.add(flat.ONE, 1) == 2\n"
    async with judging(tmp_path, {**files, "tests/test_sums.py": test}) as place:
        result = await place.judge("tests", tests="auto")
    assert result.result == "pass", result.detail


HOSTILE = {
    "it exits before there is a report": (
        {"tests/test_a.py": GOOD + "import os\ndef test_exit():\n    os._exit(0)\n"}, "no report",
    ),
    "it exits while it is collected": ({"tests/test_a.py": "import os\nos._exit(0)\n"}, "no report"),
    "a conftest skips everything": (
        {
            "conftest.py": "import pytest\ndef pytest_collection_modifyitems(items):\n"
            "    for item in items:\n        item.add_marker(pytest.mark.skip)\n",
            "tests/test_a.py": BAD,
        },
        r"no test was run \(1 skipped\)",
    ),
    "a conftest takes everything away": (
        {"conftest.py": "def pytest_collection_modifyitems(items):\n    items.clear()\n", "tests/test_a.py": BAD},
        "no test was run|exit code 5",
    ),
    "the options only collect": (
        {"pytest.ini": "[pytest]\naddopts = --co\n", "tests/test_a.py": BAD}, "no test was run",
    ),
    "it prints a summary": (
        {"tests/test_a.py": BAD + "print('===== 99 passed in 0.01s =====')\n"}, "1 of 1 tests failed",
    ),
    "reports lie about": (
        {"junit.xml": FAKE, "report.xml": FAKE, "tests/test_a.py": "import os\nos._exit(0)\n"}, "no report",
    ),
    "the options name another report": (
        {"pytest.ini": "[pytest]\naddopts = --junitxml=junit.xml\n", "junit.xml": FAKE, "tests/test_a.py": BAD},
        "1 of 1 tests failed",
    ),
    "a pytest of its own": (
        {"pytest.py": "def main(*_):\n    return 0\n", "tests/test_a.py": BAD}, "1 of 1 tests failed",
    ),
    "names that look like options": ({"--co/test_a.py": BAD, "-k/test_b.py": BAD}, "2 of 2 tests failed"),
    "it turns the exit code round": (
        {
            "conftest.py": "def pytest_sessionfinish(session):\n    session.exitstatus = 0\n",
            "tests/test_a.py": BAD,
        },
        "1 of 1 tests failed",
    ),
    "it breaks off without a failed test": (
        {"conftest.py": "def pytest_sessionfinish(session):\n    session.exitstatus = 3\n", "tests/test_a.py": GOOD},
        "exit code 3",
    ),
    "the report becomes a link": (
        {
            "fake.xml": FAKE,
            "conftest.py": "import os\ndef pytest_unconfigure(config):\n    path = config.option.xmlpath\n"
            "    os.path.exists(path) and os.unlink(path)\n    os.symlink(os.path.abspath('fake.xml'), path)\n"
            "    os._exit(0)\n",
            "tests/test_a.py": BAD,
        },
        "does not count",
    ),
    "the report becomes a pipe": (
        {
            "conftest.py": "import os\ndef pytest_unconfigure(config):\n    path = config.option.xmlpath\n"
            "    os.unlink(path)\n    os.mkfifo(path)\n    os._exit(0)\n",
            "tests/test_a.py": BAD,
        },
        "no ordinary file",
    ),
    "there is nothing to run": ({"readme.md": "tests pass"}, "no test was run"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
async def test_what_proves_nothing_is_no(case: str, tmp_path: Path) -> None:
    files, reason = HOSTILE[case]
    async with judging(tmp_path, files) as place:
        result = await place.judge("tests", tests="auto")
    assert result.result == "fail"
    assert re.search(reason, result.detail), result.detail


async def test_a_unittest_that_exits_is_no(tmp_path: Path) -> None:
    files = {"tests/test_a.py": UNIT.replace("self.fail()", "self.fail()\n\nimport os\nos._exit(0)\n")}
    async with judging(tmp_path, files) as place:
        result = await place.judge("tests", tests="auto", runner="unittest")
    assert result.result == "fail"
    assert "no report" in result.detail


async def test_taking_the_tests_away_is_no(tmp_path: Path) -> None:
    before = {"a.py": "", "tests/test_a.py": GOOD}
    async with judging(tmp_path, {"a.py": ""}, before=before) as place:
        result = await place.judge("tests", tests="auto")
    assert result.result == "fail"
    assert "took away tests/test_a.py" in result.detail


async def test_a_run_that_takes_too_long_is_no(tmp_path: Path) -> None:
    files = {"tests/test_a.py": GOOD + "import time\ndef test_slow():\n    time.sleep(60)\n"}
    async with judging(tmp_path, files) as place:
        result = await place.judge("tests", tests="auto", timeout=2.0)
    assert result.result == "fail"
    assert "took longer than 2 s" in result.detail


async def test_a_missing_runner_is_no_with_a_remedy(tmp_path: Path) -> None:
    files = {"package.json": json.dumps({"devDependencies": {"vitest": "4"}}), "a.test.js": ""}
    async with judging(tmp_path, files, path="/nowhere") as place:
        result = await place.judge("tests", tests="auto")
        python = await place.judge("tests", tests="auto", runner="pytest")
    assert result.result == "fail"
    assert (
        result.detail
        == "could not be judged: vitest is not there: run npm install in the project, or put vitest on PATH"
    )
    assert python.result == "fail"


async def test_a_target_is_held_against_the_counts(tmp_path: Path) -> None:
    async with judging(tmp_path, {"tests/test_a.py": GOOD}) as place:
        few = await place.judge("tests", tests="auto", target="passed>=2")
        enough = await place.judge("tests", tests="auto", target="total>=1")
    assert (few.result, few.measured) == ("fail", "1")
    assert "passed is 1, not passed>=2" in few.detail
    assert enough.result == "pass"


async def test_an_anti_criterion_is_turned_round_only_by_a_test_that_failed(tmp_path: Path) -> None:
    async with judging(tmp_path / "1", {"tests/test_a.py": BAD}) as place:
        failed = await place.judge("tests", tests="auto", negate=True)
    async with judging(tmp_path / "2", {"tests/test_a.py": "import os\nos._exit(0)\n"}) as place:
        no_report = await place.judge("tests", tests="auto", negate=True)
    async with judging(tmp_path / "3", {"a.py": ""}) as place:
        nothing = await place.judge("tests", tests="auto", negate=True)
    assert (failed.result, no_report.result, nothing.result) == ("pass", "fail", "fail")


async def test_a_test_that_was_taken_away_is_named(tmp_path: Path) -> None:
    before = {"tests/test_a.py": GOOD, "tests/test_b.py": BAD}
    async with judging(tmp_path, {"tests/test_a.py": GOOD}, before=before) as place:
        result = await place.judge("tests", tests="auto")
    assert result.result == "pass"
    assert result.detail.endswith("the task took away tests/test_b.py")


async def test_what_a_test_says_cannot_spoil_a_terminal_or_an_event(tmp_path: Path) -> None:
    bad = "def test_bad():\n    raise ValueError('\\x1b[2J\\x07red \\udcff')\n"
    async with judging(tmp_path, {"tests/test_a.py": bad}) as place:
        result = await place.judge("tests", tests="auto")
        assert place.evidence(result)["failedTests"] == 1
    assert result.result == "fail"
    assert not set("\x1b\x07") & set(result.detail)
    result.detail.encode()


CALC = "def add(a, b):\n    return a + b\n\ndef sub(a, b):\n    return a - b\n"
COVERED = {
    "pytest": {"tests/test_calc.py": "from calc import add\ndef test_add():\n    assert add(1, 1) == 2\n"},
    "unittest": {"tests/test_calc.py": "from calc import add\n" + UNIT.replace("1 + 1, 3", "add(1, 1), 2")},
}


@pytest.mark.skipif(importlib.util.find_spec("coverage") is None, reason="coverage is not installed")
@pytest.mark.parametrize("runner", COVERED)
@pytest.mark.parametrize("settings", [{}, {".coveragerc": "[run]\nsource = calc\nbranch = true\n"}])
async def test_coverage_is_that_of_the_code_not_of_the_tests(
    runner: str, settings: dict[str, str], tmp_path: Path
) -> None:
    async with judging(tmp_path, {"calc.py": CALC, **COVERED[runner], **settings}) as place:
        result = await place.judge("tests", tests="auto", target="coverage>=80%")
    assert result.tests is not None
    assert (result.tests.runner, result.tests.coverage, result.measured) == (runner, 75.0, "75%")
    assert result.result == "fail"
    assert "coverage is 75%, not coverage>=80%" in result.detail
