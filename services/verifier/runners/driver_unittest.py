# mypy: ignore-errors
"""Runs in the project's own Python, handed over as text: unittest, with what became of each test written to a file.

Arguments: the report's path, ``1`` to measure coverage, then test files; none means whatever discovery finds.
"""

import contextlib
import json
import os
import sys
import time
import traceback

sys.path[:] = [entry for entry in sys.path if entry]  # the checkout must not stand in for the standard library
import unittest  # noqa: E402

measured = None
if sys.argv[2] == "1":
    import coverage

    measured = coverage.Coverage(data_file=None)
    if not measured.get_option("run:source") and not measured.get_option("run:include"):
        measured.set_option("run:source", ["."])
        if not measured.get_option("run:omit"):  # what the tests cover, not the tests
            measured.set_option("run:omit", ["test_*", "*/test_*", "*_test.py", "tests/*", "*/tests/*", "*conftest.py"])
    measured.start()
here = os.getcwd()
sys.path[:0] = [folder for folder in (os.path.join(here, "src"), here) if os.path.isdir(folder)]
cases = []


class Kept(unittest.TextTestResult):
    began = 0.0

    def startTest(self, test):
        self.began = time.monotonic()
        super().startTest(test)

    def keep(self, test, outcome, error=None):
        words = "".join(traceback.format_exception(*error)) if isinstance(error, tuple) else str(error or "")
        reason = f"{error[0].__name__}: {error[1]}" if isinstance(error, tuple) else words
        seconds = time.monotonic() - self.began if self.began else 0.0
        cases.append({"name": test.id(), "outcome": outcome, "error": reason, "stack": words, "seconds": seconds})

    def addSuccess(self, test):
        super().addSuccess(test)
        self.keep(test, "passed")

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.keep(test, "failed", err)

    def addError(self, test, err):
        super().addError(test, err)
        self.keep(test, "failed", err)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.keep(test, "skipped", reason)

    def addExpectedFailure(self, test, err):
        super().addExpectedFailure(test, err)
        self.keep(test, "passed")

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self.keep(test, "failed", "it was expected to fail and did not")

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.keep(subtest, "failed", err)


def top_of(folder):
    while os.path.exists(os.path.join(folder, "__init__.py")):
        folder = os.path.dirname(folder)
    return folder


suite = unittest.TestSuite()
for path in sys.argv[3:]:
    folder, name = os.path.split(os.path.abspath(path))
    suite.addTests(unittest.TestLoader().discover(folder, pattern=name, top_level_dir=top_of(folder)))
if not sys.argv[3:]:
    suite.addTests(unittest.TestLoader().discover("."))
result = unittest.TextTestRunner(resultclass=Kept, verbosity=2).run(suite)
percent = None
if measured is not None:
    measured.stop()
    with open(os.devnull, "w") as nowhere, contextlib.suppress(coverage.CoverageException):  # there may be no data
        percent = measured.report(file=nowhere)
with open(sys.argv[1], "w") as report:
    json.dump({"cases": cases, "coverage": percent}, report)
sys.exit(0 if result.wasSuccessful() else 1)
