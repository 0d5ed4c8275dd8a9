"""Reports as bytes: recorded ones of vitest 4 and jest 30, go's format as its documentation gives it, hostile ones."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from services.verifier.runners import readers
from services.verifier.runners.junit import MAX_DEPTH, read_junit
from services.verifier.runners.report import BadReport, Case, Report, document, joined, verdict

RECORDED = Path(__file__).parent / "recorded"


def outcomes(cases: tuple[Case, ...]) -> list[tuple[str, str]]:
    return [(case.name, case.outcome) for case in cases]


def test_vitest() -> None:
    cases = read_junit((RECORDED / "vitest.xml").read_bytes())
    assert outcomes(cases) == [
        ("a.test.js::adds", "passed"), ("a.test.js::fails", "failed"), ("a.test.js::later", "skipped"),
    ]  # fmt: skip
    assert cases[1].error == "expected 2 to be 3 // Object.is equality"
    assert "a.test.js:3:35" in cases[1].stack


def test_jest_counts_a_file_that_does_not_load_as_failed() -> None:
    cases = readers.read_jest((RECORDED / "jest.json").read_bytes())
    assert outcomes(cases) == [
        ("adds", "passed"), ("fails", "failed"), ("later", "skipped"), ("d.test.cjs", "failed"),
    ]  # fmt: skip
    assert "boom" in cases[3].error


def go(*events: dict[str, object]) -> list[bytes]:
    return [json.dumps(event).encode() for event in events]


P = "example.com/m"


def test_go() -> None:
    cases = readers.read_go(
        [
            b"not json",
            *go(
                {"Action": "run", "Package": P, "Test": "TestGood"},
                {"Action": "output", "Package": P, "Test": "TestGood", "Output": "--- FAIL: TestGood (0.00s)\n"},
                {"Action": "pass", "Package": P, "Test": "TestGood", "Elapsed": 0.5},
                {"Action": "output", "Package": P, "Test": "TestBad", "Output": "=== RUN   TestBad\n"},
                {"Action": "output", "Package": P, "Test": "TestBad", "Output": "    m_test.go:7: got 3, not 2\n"},
                {"Action": "fail", "Package": P, "Test": "TestBad", "Elapsed": 0.1},
                {"Action": "skip", "Package": P, "Test": "TestLater"},
                {"Action": "fail", "Package": P, "Elapsed": 0.7},
            ),
        ]
    )
    assert outcomes(cases) == [
        (f"{P}.TestGood", "passed"), (f"{P}.TestBad", "failed"), (f"{P}.TestLater", "skipped"),
    ]  # fmt: skip
    assert cases[0].seconds == 0.5
    assert cases[1].error == "m_test.go:7: got 3, not 2"


def test_go_packages_that_do_not_build_or_exit_count_as_failed() -> None:
    build = f"{P} [{P}.test]"
    cases = readers.read_go(
        go(
            {"Action": "build-output", "ImportPath": build, "Output": "# example.com/m\n"},
            {"Action": "build-output", "ImportPath": build, "Output": "./m.go:3:1: undefined: x\n"},
            {"Action": "build-fail", "ImportPath": build},
            {"Action": "fail", "Package": "example.com/n", "Elapsed": 0},
            {"Action": "output", "Package": "example.com/n", "Output": "late\n"},
        )
    )
    assert outcomes(cases) == [(build, "failed"), ("example.com/n", "failed")]
    assert cases[0].error == "./m.go:3:1: undefined: x"


def test_libtest_a_test_that_never_ended_has_failed() -> None:
    listed = "tests::good: test\ntests::bad: test\ntests::later: test\ntests::exits: test\nbench: benchmark\n"
    printed = "---- tests::bad stdout ----\nboom\n\nfailures:\n    tests::bad\ntest result: ok. 99 passed\n"
    cases = readers.read_libtest(listed, b"ok tests::good\nignored tests::later\nfailed tests::bad\n", printed)
    assert [c.outcome for c in cases] == ["passed", "failed", "skipped", "failed"]
    assert cases[1].error == "boom"
    assert cases[3].error == "it began and never ended"


@pytest.mark.parametrize(
    ("read", "raw", "percent"),
    [
        (readers.read_summary, b'{"total": {"lines": {"pct": 81.25}}}', 81.25),
        (readers.read_summary, b'{"total": {"lines": {"pct": "Unknown"}}}', None),
        (readers.read_summary, b'{"total": {"lines": {"pct": NaN}}}', None),
        (readers.read_lcov, b"SF:a.js\nDA:1,1\nDA:2,0\nDA:3,4\nDA:4,0\nend_of_record\n", 50.0),
        (readers.read_lcov, b"", None),
        (readers.read_go_cover, b"mode: set\na.go:1.1,2.2 3 1\na.go:3.1,4.2 1 0\na.go:3.1,4.2 1 0\n", 75.0),
        (readers.read_go_cover, b"mode: set\n", None),
    ],
)
def test_coverage(read: object, raw: bytes, percent: float | None) -> None:
    assert read(raw) == percent  # type: ignore[operator]


# -- hostile ones -------------------------------------------------------------------------------------------------

BILLION = b"""<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>
<testsuites><testcase name="&b;"/></testsuites>"""
OUTSIDE = b"""<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><testsuites><testcase name="&e;"/></testsuites>"""


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (BILLION, "document type"),
        (OUTSIDE, "document type"),
        (b"<testsuites>" + b"<a>" * (MAX_DEPTH + 1), "nested"),
        (b"<testsuites><testcase name='a'/>", "no XML"),
        (b"", "no XML"),
        (b"not xml", "no XML"),
        (b"<html/>", "its root is 'html'"),
        (b'<?xml version="1.0" encoding="nonsense"?><testsuites/>', "no XML"),
        (b"<testsuites>\x00</testsuites>", "no XML"),
    ],
)
def test_hostile_xml_is_refused(raw: bytes, reason: str) -> None:
    with pytest.raises(BadReport, match=reason):
        read_junit(raw)


def test_what_a_report_says_about_itself_is_not_believed() -> None:
    raw = b"""<testsuites tests="99" failures="0"><testsuite tests="99">
        <testcase name="a"><error/></testcase></testsuite></testsuites>"""
    assert outcomes(read_junit(raw)) == [("a", "failed")]


def test_a_failed_test_stays_failed_whatever_follows() -> None:
    raw = b"""<testsuite><testcase name="a"><failure message="no"/><skipped/></testcase>
        <testcase name="b"><skipped/><error/></testcase></testsuite>"""
    assert outcomes(read_junit(raw)) == [("a", "failed"), ("b", "failed")]


@pytest.mark.parametrize("raw", [b"[]", b"{}", b"nonsense", b'{"testResults": 1}', b"[" * 100_000])
def test_hostile_json_is_refused(raw: bytes) -> None:
    with pytest.raises(BadReport):
        readers.read_jest(raw)


def test_odd_entries_of_a_report_are_no_success() -> None:
    odd = b'{"assertionResults": [2, {"status": "odd", "failureMessages": 3}]}'
    raw = b'{"testResults": [1, ' + odd + b', {"status": "failed"}]}'
    assert [c.outcome for c in readers.read_jest(raw)] == ["skipped", "failed"]
    assert [c.outcome for c in readers.read_cases(b'{"cases": [{}, 1, {"outcome": "odd"}]}')[0]] == ["failed", "failed"]


def test_only_an_ordinary_file_of_bounded_size_is_read(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "large").write_bytes(b"x" * 11)
    assert readers.read_file(tmp_path / "nothing") is None
    for name, reason in (("link", "cannot be read"), ("pipe", "ordinary"), ("folder", "ordinary"), ("large", "larger")):
        with pytest.raises(BadReport, match=reason):
            readers.read_file(tmp_path / name, 10)


# -- the verdict --------------------------------------------------------------------------------------------------


def case(name: str, outcome: str) -> Case:
    return Case(name=name, outcome=outcome, error="boom\nmore")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cases", "passed", "detail"),
    [
        ([], False, "no test was run"),
        (["skipped", "skipped"], False, "no test was run (2 skipped)"),
        (["passed", "skipped"], True, "1 tests passed, 1 skipped"),
        (["passed", "failed"], False, "1 of 2 tests failed: t1: boom"),
        (["failed"] * 5, False, "5 of 5 tests failed: t0: boom; t1: boom; t2: boom; …"),
    ],
)
def test_when_it_is_a_yes(cases: list[str], passed: bool, detail: str) -> None:
    report = Report(cases=tuple(case(f"t{n}", outcome) for n, outcome in enumerate(cases)))
    assert verdict(report) == (passed, detail)


def test_the_evidence_has_the_names_of_the_contract() -> None:
    one = Report(cases=(case("a", "passed"),), seconds=1.0, coverage=80.0)
    both = joined([one, Report(cases=(case("b", "failed"), case("c", "skipped")), seconds=2.0)])
    found = document(both, passed=False)
    assert found["failures"] == [{"test": "b", "error": "boom\nmore", "stack": ""}]
    wanted = {"passed": False, "totalTests": 3, "passedTests": 1, "failedTests": 1, "duration": 3.0, "coverage": 80.0}
    assert {key: found[key] for key in wanted} == wanted
    assert joined([one, one]).coverage is None, "nobody knows how to add two"
