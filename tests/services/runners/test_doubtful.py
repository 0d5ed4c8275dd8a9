"""Whatever a runner or a tool writes: its readers answer or refuse, and nothing else happens."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.verifier.runners import findings, readers
from services.verifier.runners.junit import read_junit
from services.verifier.runners.report import BadReport

ROOT = Path("/repository")
KEYS = st.sampled_from(
    ["testResults", "assertionResults", "failureMessages", "status", "name", "duration", "cases", "outcome", "error",
     "Action", "Test", "Package", "ImportPath", "Output", "Elapsed", "total", "lines", "pct", "filename", "code",
     "message", "location", "row", "file", "severity", "line", "generalDiagnostics", "range", "start", "rule",
     "filePath", "messages", "ruleId", "dependencies", "vulns", "id", "version", "vulnerabilities", "range"]
)  # fmt: skip
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8),
    st.sampled_from(["passed", "failed", "pass", "fail", "output", "build-fail", "error", "\udcff"]),
)  # fmt: skip
TREES = st.recursive(
    VALUES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6), max_leaves=25
)
XML = st.lists(
    st.sampled_from(
        ["<testsuites>", "</testsuites>", "<testsuite tests='9'>", "</testsuite>", "<testcase name='a' time='nan'>",
         "<testcase/>", "</testcase>", "<failure message='x'>", "</failure>", "<skipped/>", "<error>", "</error>",
         "text", "&amp;", "&x;", "<![CDATA[", "]]>", "<!DOCTYPE a>", "<!-- -->", "<?pi?>", "\udcff"]
    )
).map(lambda parts: "".join(parts).encode("utf-8", "surrogatepass"))  # fmt: skip

READERS: list[Any] = [
    readers.read_jest, readers.read_cases, readers.read_summary, lambda raw: readers.read_go(raw.splitlines()),
    readers.read_lcov, readers.read_go_cover,
    lambda raw: readers.read_libtest("a: test\n", raw, "---- a stdout ----\n"),
    *(lambda raw, read=read: read(raw, ROOT) for read in (
        findings.read_ruff, findings.read_mypy, findings.read_pyright, findings.read_eslint, findings.read_prettier,
        findings.read_pip_audit, findings.read_npm_audit, findings.read_own,
    )),
]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(raw=st.binary(max_size=200) | XML)
def test_xml(raw: bytes) -> None:
    with contextlib.suppress(BadReport):
        for case in read_junit(raw):
            assert case.outcome in ("passed", "failed", "skipped")
            assert 0 <= case.seconds < 1e9


@pytest.mark.parametrize("number", range(len(READERS)))
@settings(max_examples=80, deadline=None)
@given(raw=st.binary(max_size=100) | TREES.map(lambda tree: json.dumps(tree).encode()))
def test_json_and_lines(number: int, raw: bytes) -> None:
    with contextlib.suppress(BadReport):
        READERS[number](raw)


@settings(max_examples=200, deadline=None)
@given(
    before=st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 3)), max_size=6),
    moved=st.integers(0, 50),
    more=st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 3)), max_size=4),
)
def test_what_was_there_is_never_new_and_what_came_always_is(
    before: list[tuple[str, int]], moved: int, more: list[tuple[str, int]]
) -> None:
    def found(pairs: list[tuple[str, int]], lines: int) -> list[findings.Finding]:
        return [
            findings.Finding(file=file, rule="R", message=f"kind {kind} at line {number + lines}", line=number + lines)
            for number, (file, kind) in enumerate(pairs)
        ]

    assert len(findings.introduced(found(before, 0), found(before + more, moved))) == len(more)
    assert findings.introduced(found(before + more, 0), found(before, moved)) == []
