"""What a project uses, by its own configuration files: runners of tests and quality gates."""

from __future__ import annotations

import json
import os
import posixpath
import re
import tomllib
from collections.abc import Collection
from functools import cached_property
from pathlib import Path
from typing import Any

from services.verifier.runners.find import SKIPPED, Language
from services.verifier.runners.readers import read_file
from services.verifier.runners.report import BadReport

MAX_FILES = 200_000
"""Files of a checkout that are looked at."""
MAX_CONFIGURATION = 1024 * 1024
GATE_SCRIPT = ".ai-validation/check_quality.sh"
"""The project's own gate: exit code 0 passes."""

_IMPORTS = re.compile(r"^\s*(?:import|from)\s+(pytest|unittest|_pytest)\b", re.MULTILINE)
_MANIFEST: dict[Language, str] = {"javascript": "package.json", "go": "go.mod", "rust": "Cargo.toml", "python": ""}
_REQUIREMENTS = re.compile(r"(^|/)(requirements[^/]*|dev-requirements)\.(txt|in)$")


class Project:
    """A checkout, read as doubtful: links are not followed, broken files count as empty."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @cached_property
    def files(self) -> frozenset[str]:
        """Every file by its path, without installed packages and build results. Raises ValueError for too many."""
        found: set[str] = set()
        for folder, folders, names in os.walk(self.root):
            folders[:] = [name for name in folders if name not in SKIPPED]
            inside = os.path.relpath(folder, self.root)
            found.update(name if inside == "." else f"{inside}/{name}" for name in names)
            if len(found) > MAX_FILES:
                raise ValueError(f"the repository holds more than {MAX_FILES} files")
        return frozenset(found)

    def text(self, path: str) -> str:
        """The text of a file; empty if there is none that can be read."""
        if path not in self.files:
            return ""
        try:
            return (read_file(self.root / path, MAX_CONFIGURATION) or b"").decode("utf-8", "replace")
        except BadReport:
            return ""

    @cached_property
    def pyproject(self) -> dict[str, Any]:
        """The ``tool`` tables of pyproject.toml."""
        try:
            tools = tomllib.loads(self.text("pyproject.toml")).get("tool", {})
        except (tomllib.TOMLDecodeError, RecursionError):
            return {}
        return tools if isinstance(tools, dict) else {}

    def package(self, folder: str = "") -> dict[str, Any]:
        """package.json of a folder."""
        try:
            found = json.loads(self.text(posixpath.join(folder, "package.json")) or "{}")
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def packages(self, folder: str = "") -> set[str]:
        """The names of the packages that package.json asks for."""
        package = self.package(folder)
        lists = [package.get(key) for key in ("dependencies", "devDependencies", "peerDependencies")]
        return {name for each in lists if isinstance(each, dict) for name in each}

    def has(self, *patterns: str) -> str | None:
        """The first file at the top that matches one of the regular expressions."""
        top = sorted(path for path in self.files if "/" not in path)
        return next((path for pattern in patterns for path in top if re.fullmatch(pattern, path)), None)

    def folder_of(self, path: str, language: Language) -> str:
        """The nearest folder above a file that holds the manifest of its language; the top if none does."""
        folder = posixpath.dirname(path)
        while folder and posixpath.join(folder, _MANIFEST[language]) not in self.files:
            folder = posixpath.dirname(folder)
        return folder if _MANIFEST[language] else ""


def runner_of(project: Project, language: Language, folder: str, tests: Collection[str]) -> str | None:
    """The runner that a project uses for these tests; None if nothing says."""
    if language == "go":
        return "go"
    if language == "rust":
        return "cargo"
    return _javascript(project, folder, tests) if language == "javascript" else _python(project, tests)


def _python(project: Project, tests: Collection[str]) -> str:
    configured = "pytest" in project.pyproject or project.has(r"\.?pytest\.ini")
    if configured or "[tool:pytest]" in project.text("setup.cfg") or "[pytest]" in project.text("tox.ini"):
        return "pytest"
    if any(path == "conftest.py" or path.endswith("/conftest.py") for path in project.files):
        return "pytest"
    imports = [set(_IMPORTS.findall(project.text(path))) for path in tests]
    return "unittest" if imports and all(found == {"unittest"} for found in imports) else "pytest"


def _javascript(project: Project, folder: str, tests: Collection[str]) -> str | None:
    packages, package = project.packages(folder), project.package(folder)
    scripts = package.get("scripts")
    script = str(scripts.get("test", "")) if isinstance(scripts, dict) else ""
    words = set(re.findall(r"[\w-]+", script))
    for name in ("vitest", "jest"):
        configured = any(re.fullmatch(rf"(.*/)?{name}\.config\.[cm]?[jt]s(on)?", path) for path in project.files)
        if name in words or name in packages or name in package or configured:
            return name
    if re.search(r"\bnode\b.*--test\b", script) or any("node:test" in project.text(path) for path in tests):
        return "node"
    return None


def gates_of(project: Project) -> dict[str, str]:
    """The gates that a project uses, each with the file that says so."""
    setup, package = project.text("setup.cfg"), project.package()
    found: dict[str, str | None] = {
        "ruff": project.has(r"\.?ruff\.toml") or _table(project, "ruff"),
        "mypy": project.has(r"\.?mypy\.ini") or _table(project, "mypy") or ("setup.cfg" if "[mypy" in setup else None),
        "pyright": project.has(r"pyrightconfig\.json") or _table(project, "pyright"),
        "eslint": project.has(r"eslint\.config\.[cm]?[jt]s", r"\.eslintrc(\.\w+)?")
        or ("package.json" if "eslintConfig" in package else None),
        "prettier": project.has(r"\.prettierrc(\.\w+)?", r"prettier\.config\.[cm]?[jt]s")
        or ("package.json" if "prettier" in package else None),
        "secrets": project.has(r"\.secrets\.baseline", r"\.?gitleaks\.toml"),
        "audit": project.has(r"package-lock\.json") or next(iter(requirements(project)), None),
        "documentation": _table(project, "interrogate") or _table(project, "pydocstyle"),
        "coverage": project.has(r"\.coveragerc") or _table(project, "coverage"),
        "gate": GATE_SCRIPT if GATE_SCRIPT in project.files else None,
    }
    return {name: source for name, source in found.items() if source}


def requirements(project: Project) -> list[str]:
    """The lists of Python packages."""
    return sorted(path for path in project.files if _REQUIREMENTS.search(path))


def _table(project: Project, name: str) -> str | None:
    return "pyproject.toml" if name in project.pyproject else None
