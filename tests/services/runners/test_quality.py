"""Quality gates with real tools: what was there before is no reason, what is new is one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from schemas.values import Criterion, Policy
from services.verifier.runners import quality as gate_module
from services.verifier.runners.around import Baselines
from services.verifier.runners.judging import by_policy, judge_all
from tests.judging import judging

RUFF = {"ruff.toml": '[lint]\nselect = ["F"]\n'}
MYPY = {"mypy.ini": "[mypy]\n"}
UNUSED = "import os\n"
MISTYPED = 'x: int = "a"\n'


@pytest.mark.parametrize(
    ("gate", "settings", "bad", "rule"), [("ruff", RUFF, UNUSED, "F401"), ("mypy", MYPY, MISTYPED, "assignment")]
)
async def test_only_what_is_introduced_counts(
    gate: str, settings: dict[str, str], bad: str, rule: str, tmp_path: Path
) -> None:
    old = {**settings, "a.py": "A = 1\n" + bad}
    moved = {**settings, "a.py": "A = 1\n\n\n" + bad + "B = 2\n"}
    async with judging(tmp_path / "old", moved, before=old) as place:
        same = await place.judge("quality", gates=(gate,))
    assert (same.result, same.detail) == ("pass", "nothing new; 1 were there before")
    async with judging(tmp_path / "new", {**old, "b.py": bad}, before=old) as place:
        new = await place.judge("quality", gates=(gate,))
        evidence = place.evidence(new)
    assert new.result == "fail"
    assert new.detail.startswith(f"1 new: b.py:1: {rule}"), new.detail
    assert (evidence["count"], evidence["before"], len(evidence["after"])) == (1, 1, 2)


async def test_a_second_equal_finding_in_the_same_file_is_new(tmp_path: Path) -> None:
    old = {**RUFF, "a.py": "def f():\n    return y\n"}
    new = {**RUFF, "a.py": "def f():\n    return y\ndef g():\n    return y\n"}
    async with judging(tmp_path, new, before=old) as place:
        result = await place.judge("quality", gates=("ruff",))
    assert result.detail == "1 new: a.py:4: F821 Undefined name `y`; 1 were there before"


async def test_what_was_judged_is_the_baseline_of_what_comes_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = {**RUFF, "a.py": UNUSED}, {**RUFF, "a.py": UNUSED, "b.py": UNUSED}
    looked = []
    look = gate_module.look

    async def counted(place: object, name: str, root: Path, seconds: float) -> object:
        looked.append(root.name)
        return await look(place, name, root, seconds)  # type: ignore[arg-type]

    monkeypatch.setattr(gate_module, "look", counted)
    kept = Baselines()
    async with judging(tmp_path / "1", first, before=RUFF, baselines=kept) as place:
        assert (await place.judge("quality", gates=("ruff",))).result == "fail"
    async with judging(tmp_path / "2", second, before=first, baselines=kept) as place:
        assert (await place.judge("quality", gates=("ruff",))).detail.startswith("1 new: b.py")
    assert looked == ["files", "before", "files"], "the tree that was judged first was not looked at again"


async def test_a_tool_that_cannot_work_is_no(tmp_path: Path) -> None:
    async with judging(tmp_path, {"ruff.toml": "this is no toml", "a.py": ""}) as place:
        result = await place.judge("quality", gates=("ruff",))
    assert result.result == "fail"
    assert "ruff ended with exit code 2" in result.detail


async def test_a_missing_tool_is_no_with_a_remedy_and_one_of_the_task_is_not_taken(tmp_path: Path) -> None:
    fake = {"package.json": "{}", "eslint.config.js": "", "node_modules/.bin/eslint": "#!/bin/sh\necho '[]'\n"}
    async with judging(tmp_path, fake, path="/usr/bin/nothing") as place:
        (place.place.files / "node_modules/.bin/eslint").chmod(0o755)
        result = await place.judge("quality", gates=("eslint",))
    assert result.result == "fail"
    assert "eslint is not there: run npm install" in result.detail


async def test_the_projects_own_tools_come_first(tmp_path: Path) -> None:
    """A tool in the project's environment outranks PATH: here one that finds something everywhere."""
    says = '[{"filename": "a.py", "code": "OWN", "message": "x", "location": {"row": 1}}]'
    tool = tmp_path / "project/.venv/bin/ruff"
    tool.parent.mkdir(parents=True)
    tool.write_text(f"#!/bin/sh\ntest -e b.py && echo '{says}'\nexit 1\n")
    tool.chmod(0o755)
    async with judging(tmp_path / "x", {**RUFF, "b.py": ""}, before=RUFF, project=tmp_path / "project") as place:
        result = await place.judge("quality", gates=("ruff",))
    assert result.detail.startswith("1 new: a.py:1: OWN x")


# -- secrets ------------------------------------------------------------------------------------------------------

TOKEN = "ghp_" + "R4nd0mZq8Lw2Xc7Vb5Nm1As9Df3Gh6Jk0Pu4"


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (f"token = '{TOKEN}'", "github-token"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----", "private-key"),
        ("aws = 'AKIA" + "Z7QX2W5R3TN6VB4K'", "aws-access-key"),
        ("db = 'postgres://app:" + "q8Zr2LwX7c@db.local/app'", "password-in-url"),
        ('API_KEY: "' + 'f3Zq8Lw2Xc7Vb5Nm1As9"', "assigned-secret"),
    ],
)
async def test_a_new_secret_is_found_and_not_repeated(text: str, rule: str, tmp_path: Path) -> None:
    async with judging(tmp_path, {"a.py": "", "b.py": f"\n{text}\n"}, before={"a.py": ""}) as place:
        result = await place.judge("quality", gates=("secrets",))
        kept = b"".join(place.kept.values()).decode()
    assert result.result == "fail"
    assert f"b.py:2: {rule}" in result.detail
    for secret in (TOKEN, "q8Zr2LwX7c", "f3Zq8Lw2Xc7Vb5Nm1As9", "Z7QX2W5R3TN6VB4K"):
        assert secret not in result.detail + kept


@pytest.mark.parametrize(
    "text",
    [
        'password = "changeme-please"',
        'token = "${GITHUB_TOKEN}"',
        'secret = "aaaaaaaaaaaaaaaaaaaa"',
        "postgres://app:<password>@db/app",
        "the token is a password",
    ],
)
async def test_what_only_looks_like_a_secret_is_none(text: str, tmp_path: Path) -> None:
    async with judging(tmp_path, {"a.py": text}, before={"a.py": ""}) as place:
        assert (await place.judge("quality", gates=("secrets",))).detail == "nothing new"


async def test_a_secret_that_was_there_is_not_new_in_its_file(tmp_path: Path) -> None:
    async with judging(tmp_path, {"a.py": f"x = 1\nt = '{TOKEN}'\n"}, before={"a.py": f"t = '{TOKEN}'\n"}) as place:
        assert (await place.judge("quality", gates=("secrets",))).detail == "nothing new; 1 were there before"


# -- the others ---------------------------------------------------------------------------------------------------


async def test_new_public_names_without_a_docstring_are_found(tmp_path: Path) -> None:
    old = {"a.py": '"""A."""\ndef old(): ...\n'}
    new = {"a.py": '"""A."""\ndef old(): ...\nclass New:\n    """N."""\n    def f(self): ...\n    def _g(self): ...\n'}
    async with judging(tmp_path, {**new, "tests/test_a.py": "def test_a(): ...\n"}, before=old) as place:
        result = await place.judge("quality", gates=("documentation",))
    assert result.detail == "1 new: a.py:5: undocumented function New.f; 1 were there before"


@pytest.mark.parametrize(
    ("script", "result", "detail"),
    [
        ("exit 0", "pass", "exit code 0"),
        ("echo too bad; exit 3", "fail", "exit code 3: too bad"),
        (None, "fail", ".ai-validation/check_quality.sh is not there"),
    ],
)
async def test_the_projects_own_gate(script: str | None, result: str, detail: str, tmp_path: Path) -> None:
    files = {"a": ""} | ({".ai-validation/check_quality.sh": f"{script}\n"} if script else {})
    async with judging(tmp_path, files) as place:
        found = await place.judge("quality", gates=("gate",))
    assert found.result == result
    assert found.detail.startswith(detail)


async def test_an_audit_that_nobody_answers_is_not_judged(tmp_path: Path) -> None:
    """The tool cannot reach its advisories: a fake that fails as npm does without a network."""
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "npm").write_text('#!/bin/sh\necho \'{"message": "request to https://registry/ failed"}\'\nexit 1\n')
    (tools / "npm").chmod(0o755)
    files = {"package-lock.json": "{}"}
    async with judging(tmp_path / "x", files, before={}, path=f"{tools}:/bin:/usr/bin") as place:
        alone = await judge_all([Criterion(id="q", kind="quality", gates=("audit",))], place.place)
        policy = await judge_all(by_policy(Policy(quality=("auto",)), ()), place.place)
    assert [r.result for r in alone] == ["fail"], "a criterion of which nothing could be judged does not hold"
    assert [(r.criterion, r.result) for r in policy] == [("policy.quality.audit", "skipped")]
    assert "request to https://registry/ failed" in policy[0].detail


async def test_what_one_audit_finds_counts_although_the_other_cannot_ask(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    says = '{"vulnerabilities": {"left-pad": {"severity": "high", "range": "<2"}}}'
    (tools / "npm").write_text(f"#!/bin/sh\ntest -e package-lock.json && echo '{says}'\nexit 1\n")
    (tools / "npm").chmod(0o755)
    files = {"package-lock.json": "{}", "requirements.txt": "x==1\n"}
    async with judging(tmp_path / "x", files, before={}, path=f"{tools}:/bin:/usr/bin") as place:
        found = await place.judge("quality", gates=("auto", "audit"))
    assert found.result == "fail"
    assert found.detail.startswith("1 new: left-pad: high <2")


async def test_auto_takes_what_the_project_configures(tmp_path: Path) -> None:
    files = {**RUFF, **MYPY, ".ai-validation/check_quality.sh": "exit 0\n", "a.py": "A = 1\n"}
    async with judging(tmp_path, files) as place:
        own = [Criterion(id="q", kind="quality", gates=("auto",))]
        results = await judge_all(own, place.place)
    assert [(r.criterion, r.text, r.result) for r in results] == [
        ("q.ruff", "ruff", "pass"), ("q.mypy", "mypy", "pass"), ("q.gate", "gate", "pass"),
    ]  # fmt: skip


async def test_a_criterion_that_checks_nothing_does_not_hold(tmp_path: Path) -> None:
    async with judging(tmp_path, {"a": ""}) as place:
        own = await judge_all([Criterion(id="q", kind="quality", gates=("auto",))], place.place)
        policy = await judge_all(by_policy(Policy(tests="auto", quality=("auto",)), ()), place.place)
    assert [r.result for r in own] == ["fail"]
    assert [(r.criterion, r.result) for r in policy] == [("policy.tests", "skipped")]


async def test_policy_does_not_let_a_task_take_the_tests_away(tmp_path: Path) -> None:
    async with judging(tmp_path, {"a": ""}, before={"a": "", "test_a.py": "def test_a(): ...\n"}) as place:
        results = await judge_all(by_policy(Policy(tests="auto"), ()), place.place)
    assert [(r.criterion, r.result) for r in results] == [("policy.tests", "fail")]


async def test_a_repository_that_is_too_large_is_no_and_nothing_breaks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.verifier.runners.project.MAX_FILES", 2)
    async with judging(tmp_path, {"a": "", "b": "", "c": ""}) as place:
        results = await judge_all(by_policy(Policy(tests="auto", quality=("auto",)), ()), place.place)
    assert [r.result for r in results] == ["fail", "fail"]
    assert all("holds more than 2 files" in r.detail for r in results)


async def test_names_that_are_no_text_spoil_nothing(tmp_path: Path) -> None:
    async with judging(tmp_path, {"a\udcff.py": f"t = '{TOKEN}'\n"}, before={}) as place:
        result = await place.judge("quality", gates=("secrets",))
        assert place.evidence(result)["count"] == 1
    result.detail.encode()


def test_policy_asks_for_nothing_twice() -> None:
    tests, ruff = Criterion(id="1", kind="tests", tests="auto"), Criterion(id="2", kind="quality", gates=("ruff",))
    assert by_policy(Policy(), ()) == []
    assert by_policy(Policy(tests="auto", quality=("ruff",)), (tests, ruff)) == []
    assert [c.gates for c in by_policy(Policy(quality=("auto", "ruff")), (ruff,))] == [("auto",)]


NODE = shutil.which("node")
COVERED = {
    "package.json": '{"type": "module", "scripts": {"test": "node --test"}}',
    "a.js": "export const one = () => 1\nexport function two() {\n  return 2\n}\n",
}
ONE = "import test from 'node:test'\nimport {one} from './a.js'\ntest('one', () => { one() })\n"


@pytest.mark.skipif(NODE is None, reason="node is not here")
async def test_coverage_is_enough_or_not_below_what_it_was(tmp_path: Path) -> None:
    long = "export function long(x) {\n" + "  x += 1\n" * 40 + "  return x\n}\n"
    before = {**COVERED, "a.test.js": ONE, "b.js": ""}
    below = {**before, "a.js": COVERED["a.js"] + long}
    async with judging(tmp_path / "1", before) as place:
        enough = await place.judge("quality", gates=("coverage",))
    async with judging(tmp_path / "2", below, before=before) as place:
        less = await place.judge("quality", gates=("coverage",))
    async with judging(tmp_path / "3", {**below, "b.js": "//"}, before=below) as place:
        same = await place.judge("quality", gates=("coverage",))
    assert enough.tests is not None
    assert less.tests is not None
    assert less.tests.coverage is not None
    assert less.tests.coverage < 50
    assert (less.result, same.result) == ("fail", "pass")
    assert "before the task" in less.detail
