# mypy: ignore-errors
"""Runs in the project's own Python, handed over as text: pytest, imported before the checkout is on the path.

Arguments: where to write the coverage (``-`` to measure none), then pytest's own.
"""

import contextlib
import os
import sys

sys.path[:] = [entry for entry in sys.path if entry]  # a pytest.py of the checkout must not stand in for pytest
import pytest  # noqa: E402

measured = None
if sys.argv[1] != "-":
    import coverage

    measured = coverage.Coverage(data_file=None)
    if not measured.get_option("run:source") and not measured.get_option("run:include"):
        measured.set_option("run:source", ["."])
        if not measured.get_option("run:omit"):  # what the tests cover, not the tests
            measured.set_option("run:omit", ["test_*", "*/test_*", "*_test.py", "tests/*", "*/tests/*", "*conftest.py"])
    measured.start()
here = os.getcwd()
sys.path[:0] = [folder for folder in (os.path.join(here, "src"), here) if os.path.isdir(folder)]
code = pytest.main(sys.argv[2:])
if measured is not None:
    measured.stop()
    with open(os.devnull, "w") as nowhere, contextlib.suppress(coverage.CoverageException):  # there may be no data
        percent = measured.report(file=nowhere)
        with open(sys.argv[1], "w") as report:
            report.write(str(percent))
sys.exit(code)
