"""Which tests belong to a task, and what a project uses: tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.verifier.runners import find
from services.verifier.runners.project import Project, gates_of, runner_of
from tests.judging import write

TESTS = {
    "tests/unit/test_parser.py": "python",
    "tests/integration/parser_test.py": "python",
    "web/login.test.ts": "javascript",
    "web/login.spec.jsx": "javascript",
    "web/__tests__/menu.js": "javascript",
    "e2e/checkout.e2e.ts": "javascript",
    "pkg/store_test.go": "go",
    "tests/outer.rs": "rust",
    "app/tests.py": "python",
}
NO_TESTS = [
    "src/parser.py", "src/latest.py", "contest.py", "web/login.ts", "pkg/store.go", "src/lib.rs", "testdata.json",
    "node_modules/x/a.test.js", ".venv/lib/test_x.py", "docs/test_plan.md",
]  # fmt: skip


def test_tests_are_known_by_their_names() -> None:
    assert find.tests_among([*TESTS, *NO_TESTS]) == dict(sorted(TESTS.items()))


def test_kinds_are_known_by_their_folders() -> None:
    assert [find.kind_of(path) for path in TESTS] == ["unit", "integration", "", "", "", "e2e", "", "", ""]


@pytest.mark.parametrize(
    ("about", "files"),
    [
        ({"changed": ["src/parser.py"]}, ["tests/integration/parser_test.py", "tests/unit/test_parser.py"]),
        ({"changed": ["pkg/store.go"]}, ["pkg/store_test.go"]),
        ({"changed": ["src/store/__init__.py"]}, ["pkg/store_test.go"]),
        ({"changed": ["src/index.ts", "tests/conftest.py"]}, sorted(TESTS)),
        ({"changed": ["web/login.ts", "docs/menu.md"]}, ["web/login.spec.jsx", "web/login.test.ts"]),
        ({"changed": ["tests/outer.rs"]}, ["tests/outer.rs"]),
        ({"named": ["web/menu.js"]}, ["web/__tests__/menu.js"]),
        ({"title": "Rewrite the Parser"}, ["tests/integration/parser_test.py", "tests/unit/test_parser.py"]),
        ({"title": "Add tests for the stores"}, ["pkg/store_test.go"]),
        ({"plan": "docs/plans/003-checkout/tasks.md"}, ["e2e/checkout.e2e.ts"]),
        ({"plan": "web/tasks.md"}, ["web/__tests__/menu.js", "web/login.spec.jsx", "web/login.test.ts"]),
    ],
)
def test_which_tests_belong_to_a_task(about: dict[str, object], files: list[str]) -> None:
    given = {"title": "", "plan": None, "changed": []} | about
    found = find.belonging(sorted(TESTS), **given)  # type: ignore[arg-type]
    assert list(found.files) == files
    assert found.everything == (files == sorted(TESTS))


def test_where_nothing_belongs_to_it_everything_is_run() -> None:
    found = find.belonging(
        sorted(TESTS), title="Update the unit test file", plan="docs/plan.md", changed=["src/other.py"]
    )
    assert (list(found.files), found.everything) == (sorted(TESTS), True)


@pytest.mark.parametrize(
    ("wanted", "files"),
    [
        ("tests/unit/test_parser.py", ["tests/unit/test_parser.py"]),
        ("src/latest.py", ["src/latest.py"]),
        ("tests", ["tests/integration/parser_test.py", "tests/outer.rs", "tests/unit/test_parser.py"]),
        ("./web/", ["web/__tests__/menu.js", "web/login.spec.jsx", "web/login.test.ts"]),
        (".", sorted(TESTS)),
        ("web/*.test.ts", ["web/login.test.ts"]),
        ("*/test_*.py", []),
        ("**/test_*.py", [".venv/lib/test_x.py", "tests/unit/test_parser.py"]),
        ("tests/**", ["tests/integration/parser_test.py", "tests/outer.rs", "tests/unit/test_parser.py"]),
        ("../elsewhere.py", []),
    ],
)
def test_what_an_author_names(wanted: str, files: list[str]) -> None:
    assert list(find.matching(sorted(TESTS), [*TESTS, *NO_TESTS], wanted)) == files


@pytest.mark.parametrize(
    ("files", "language", "runner"),
    [
        ({"pytest.ini": "", "test_a.py": "import unittest"}, "python", "pytest"),
        ({"pyproject.toml": "[tool.pytest.ini_options]\n", "test_a.py": "import unittest"}, "python", "pytest"),
        ({"setup.cfg": "[tool:pytest]\n", "test_a.py": "import unittest"}, "python", "pytest"),
        ({"tests/conftest.py": "", "test_a.py": "import unittest"}, "python", "pytest"),
        ({"test_a.py": "import unittest"}, "python", "unittest"),
        ({"test_a.py": "from unittest import mock\nimport pytest"}, "python", "pytest"),
        ({"test_a.py": "def test_a(): ..."}, "python", "pytest"),
        ({"package.json": '{"devDependencies": {"vitest": "4"}}'}, "javascript", "vitest"),
        ({"package.json": '{"scripts": {"test": "jest --silent"}}'}, "javascript", "jest"),
        ({"package.json": "{}", "jest.config.cjs": ""}, "javascript", "jest"),
        ({"package.json": '{"scripts": {"test": "node --test"}}'}, "javascript", "node"),
        ({"package.json": "{}", "a.test.mjs": "import test from 'node:test'"}, "javascript", "node"),
        ({"package.json": '{"scripts": {"test": "mocha"}}'}, "javascript", None),
        ({"package.json": "not json"}, "javascript", None),
        ({"package.json": "[1]", "pyproject.toml": "not toml"}, "javascript", None),
        ({"go.mod": ""}, "go", "go"),
        ({"Cargo.toml": ""}, "rust", "cargo"),
    ],
)
def test_what_runs_the_tests(files: dict[str, str], language: str, runner: str | None, tmp_path: Path) -> None:
    write(tmp_path, files)
    project = Project(tmp_path)
    assert runner_of(project, language, "", list(find.tests_among(files))) == runner  # type: ignore[arg-type]


def test_the_nearest_manifest_says_where_a_runner_is_started(tmp_path: Path) -> None:
    write(
        tmp_path, {"package.json": "", "web/package.json": "", "web/src/a.test.ts": "", "b.test.ts": "", "t/a.py": ""}
    )
    project = Project(tmp_path)
    assert project.folder_of("web/src/a.test.ts", "javascript") == "web"
    assert project.folder_of("b.test.ts", "javascript") == ""
    assert project.folder_of("t/a.py", "python") == ""


def test_gates_are_known_by_their_configuration(tmp_path: Path) -> None:
    assert gates_of(Project(tmp_path)) == {}
    write(
        tmp_path,
        {
            "pyproject.toml": "[tool.ruff]\n[tool.coverage.run]\n[tool.interrogate]\n", "setup.cfg": "[mypy]\n",
            "pyrightconfig.json": "{}", "eslint.config.mjs": "", ".prettierrc": "", "package-lock.json": "{}",
            ".secrets.baseline": "{}", ".ai-validation/check_quality.sh": "",
        },
    )  # fmt: skip
    assert gates_of(Project(tmp_path)) == {
        "ruff": "pyproject.toml", "mypy": "setup.cfg", "pyright": "pyrightconfig.json", "eslint": "eslint.config.mjs",
        "prettier": ".prettierrc", "secrets": ".secrets.baseline", "audit": "package-lock.json",
        "documentation": "pyproject.toml", "coverage": "pyproject.toml", "gate": ".ai-validation/check_quality.sh",
    }  # fmt: skip


def test_configuration_behind_a_link_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("[tool.ruff]\n")
    (tmp_path / "repo").mkdir()
    (tmp_path / "repo/pyproject.toml").symlink_to(tmp_path / "secret")
    assert Project(tmp_path / "repo").text("pyproject.toml") == ""
