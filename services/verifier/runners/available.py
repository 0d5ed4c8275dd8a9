"""Which runners and tools a plan will need in a repository, and which of them are there: asked before the start."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from schemas.values import Criterion, Policy, value
from services.verifier.runners.find import tests_among
from services.verifier.runners.gates import TOOLS
from services.verifier.runners.project import GATE_SCRIPT, Project, gates_of, requirements, runner_of
from services.verifier.runners.running import REMEDIES
from services.verifier.runners.tools import KEEP_CLEAN, find_program, probe, pythons, search_path

PROBE_TIME = 20.0
"""Seconds that a program may take to say its version."""
_VERSION = re.compile(r"\d+(?:\.\d+)+")
_MODULES = ("pytest", "unittest", "coverage")


@value
class Available:
    """A program that the checks of a plan need."""

    name: str
    version: str | None
    """None: it is not there. Empty: it does not say."""
    remedy: str = ""

    def __str__(self) -> str:
        found = f"{self.name} {self.version}" if self.version else self.name
        return f"{self.name} missing" if self.version is None else f"{found} found"


def available(root: Path, criteria: Iterable[Criterion], policy: Policy, path: str) -> list[Available]:
    """What the criteria and the policy of a plan need in a repository. Starts each program once, to ask its version."""
    needed = _needed(Project(root), list(criteria), policy)
    folders = search_path(path, root)
    return [_look(name, remedy, folders, root) for name, remedy in needed.items()]


def _needed(project: Project, criteria: list[Criterion], policy: Policy) -> dict[str, str]:
    """Names with remedies, in the order in which they are shown."""
    found: dict[str, str] = {}
    gates = {gate for c in criteria for gate in c.gates} | set(policy.quality)
    if "auto" in gates:
        gates |= set(gates_of(project))
    runners = {c.runner for c in criteria if c.runner}
    if policy.tests == "auto" or "coverage" in gates or any(c.kind == "tests" and not c.runner for c in criteria):
        by_language: dict[tuple[str, str], list[str]] = {}
        tests = tests_among(project.files)
        for test, language in tests.items():
            by_language.setdefault((language, project.folder_of(test, language)), []).append(test)
        for (_, folder), files in by_language.items():
            runner = runner_of(project, tests[files[0]], folder, files)
            runners |= {runner} if runner else set()
    found.update({name: REMEDIES[name] for name in REMEDIES if name in runners})
    if "coverage" in gates and runners & {"pytest", "unittest"}:
        found["coverage"] = REMEDIES["coverage"]
    for gate in sorted(gates):
        if gate in TOOLS:
            found[gate] = TOOLS[gate].remedy
    if "audit" in gates:
        tools = {"npm": "package-lock.json" in project.files, "pip-audit": bool(requirements(project))}
        found.update({tool: TOOLS[tool].remedy for tool, used in tools.items() if used})
    if "gate" in gates:
        found[GATE_SCRIPT] = f"write {GATE_SCRIPT}, or take `gate` out of the quality gates"
    return found


def _look(name: str, remedy: str, folders: list[Path], root: Path) -> Available:
    if name == GATE_SCRIPT:
        return Available(name=name, version="" if (root / name).is_file() else None, remedy=remedy)
    if name in _MODULES:
        for interpreter in pythons(folders):
            said = _ask([str(interpreter), "-c", probe(name)])
            if said is not None:
                return Available(name=name, version=said)
        return Available(name=name, version=None, remedy=remedy)
    program = find_program(folders, name)
    said = _ask([str(program), "version" if name == "go" else "--version"]) if program else None
    return Available(name=name, version=said, remedy="" if said is not None else remedy)


def _ask(argv: list[str]) -> str | None:
    """The version a program says; empty if it says none, None if it does not run."""
    try:
        with tempfile.TemporaryDirectory() as nowhere:
            done = subprocess.run(
                argv, cwd=nowhere, capture_output=True, text=True, errors="replace", timeout=PROBE_TIME, check=False,
                stdin=subprocess.DEVNULL, env={**os.environ, **KEEP_CLEAN},
            )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = _VERSION.search(done.stdout)
    return None if done.returncode else found[0] if found else ""
