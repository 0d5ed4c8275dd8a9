"""Real runs of node's test runner and of cargo, where they are here."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.judging import judging

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not here")
needs_cargo = pytest.mark.skipif(shutil.which("cargo") is None, reason="cargo is not here")
HEAD = "import test from 'node:test'\nimport assert from 'node:assert'\n"
GOOD = "test('good', () => {})\n"


@needs_node
async def test_node(tmp_path: Path) -> None:
    text = HEAD + GOOD + "test('bad', () => assert.equal(1, 2))\ntest('later', {skip: true}, () => {})\n"
    async with judging(tmp_path, {"package.json": "{}", "a.test.mjs": text}) as place:
        result = await place.judge("tests", tests="auto")
        evidence = place.evidence(result)
    assert result.result == "fail"
    assert result.tests is not None
    assert (result.tests.runner, result.tests.total, result.tests.failed, result.tests.skipped) == ("node", 3, 1, 1)
    assert evidence["failures"][0]["test"] == "bad"
    assert "AssertionError" in evidence["failures"][0]["stack"]


@needs_node
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (HEAD + GOOD + "test('exits', () => process.exit(0))\n", "1 of 1 tests failed: .*called process.exit"),
        (
            HEAD + GOOD + "test('slow', () => new Promise(r => setTimeout(r, 300)))\n"
            "test('exits', () => process.exit(0))\ntest('bad', () => assert.equal(1, 2))\n",
            "tests failed: .*a.test.mjs: it called process.exit before its tests had ended",
        ),
        (HEAD + "console.log('# pass 99')\n", "it ended without any test"),
        (HEAD + "test.skip('good', () => {})\n", "no test was run"),
    ],
)  # fmt: skip
async def test_node_files_that_prove_nothing_are_no(text: str, reason: str, tmp_path: Path) -> None:
    async with judging(tmp_path, {"package.json": "{}", "a.test.mjs": text}) as place:
        result = await place.judge("tests", tests="auto")
    assert result.result == "fail"
    assert re.search(reason, result.detail), result.detail


@needs_node
async def test_node_finds_what_the_project_has_installed(tmp_path: Path) -> None:
    package = tmp_path / "project/node_modules/one"
    package.mkdir(parents=True)
    (package / "index.js").write_text("exports.one = 1\n")
    text = HEAD + "import {one} from 'one'\ntest('one', () => assert.equal(one, 1))\n"
    files = {"package.json": "{}", "a.test.mjs": text}
    async with judging(tmp_path / "with", files, project=tmp_path / "project") as place:
        found = await place.judge("tests", tests="auto")
        assert not (place.place.files / "node_modules").exists()
    async with judging(tmp_path / "without", files) as place:
        missing = await place.judge("tests", tests="auto")
    assert (found.result, missing.result) == ("pass", "fail")


CRATE = {
    "Cargo.toml": '[package]\nname = "demo"\nversion = "0.1.0"\nedition = "2021"\n',
    "Cargo.lock": 'version = 3\n\n[[package]]\nname = "demo"\nversion = "0.1.0"\n',
    "src/lib.rs": "pub fn one() -> i32 { 1 }\n#[cfg(test)]\nmod tests {\n#[test] fn inside() { super::one(); }\n}\n",
}


@needs_cargo
async def test_cargo(tmp_path: Path) -> None:
    outer = (
        "#[test] fn good() { println!(\"test result: ok. 99 passed\"); }\n"
        "#[test] fn bad() { assert_eq!(demo::one(), 2, \"one is not two\"); }\n#[test] #[ignore] fn later() {}\n"
    )  # fmt: skip
    async with judging(tmp_path, {**CRATE, "tests/outer.rs": outer}) as place:
        result = await place.judge("tests", tests=".")
    assert result.result == "fail"
    assert result.tests is not None, result.detail
    assert (result.tests.total, result.tests.passed, result.tests.failed, result.tests.skipped) == (3, 1, 1, 1)
    assert "outer::bad" in result.detail
    assert not (tmp_path / "files/target").exists(), "nothing is built in the checkout"


@needs_cargo
@pytest.mark.parametrize(
    ("outer", "reason"),
    [
        ("#[test] fn exits() { std::process::exit(0) }\n#[test] fn other() {}\n", "it began and never ended"),
        ("#[test] fn broken( {}\n", "cargo does not build the tests: error"),
    ],
)
async def test_cargo_tests_that_prove_nothing_are_no(outer: str, reason: str, tmp_path: Path) -> None:
    async with judging(tmp_path, {**CRATE, "tests/outer.rs": outer}) as place:
        result = await place.judge("tests", tests="tests/outer.rs")
    assert result.result == "fail"
    assert reason in result.detail
