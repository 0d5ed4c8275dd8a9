"""The gates that run a program of the project: how each is called, and who reads what it says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from schemas.values import value
from services.verifier.runners import findings, readers
from services.verifier.runners.findings import Finding, Parse
from services.verifier.runners.project import Project, requirements
from services.verifier.runners.report import BadReport
from services.verifier.runners.tools import Missing, fresh_folder, link_modules, program, python_with, run_tool

if TYPE_CHECKING:
    from services.verifier.checks import Place

HERE = Path(__file__).parent


@value
class Tool:
    """A program that looks at a whole checkout and finds something or not."""

    program: str
    arguments: Callable[[Project, Path], tuple[str, ...]]
    """From the checkout and a folder for what must not be written there."""
    parse: Parse
    remedy: str
    node: bool = False


def _mypy(project: Project, folder: Path) -> tuple[str, ...]:
    settings = project.pyproject.get("mypy")
    named = isinstance(settings, dict) and not {"files", "packages", "modules"}.isdisjoint(settings)
    texts = [project.text(name) for name in ("mypy.ini", ".mypy.ini", "setup.cfg")]
    named = named or any(line.split("=")[0].strip() in ("files", "packages") for t in texts for line in t.splitlines())
    return ("--output=json", "--no-error-summary", f"--cache-dir={folder / 'cache'}", *(() if named else (".",)))


def _pip_audit(project: Project, folder: Path) -> tuple[str, ...]:
    listed = [word for path in requirements(project) for word in ("-r", path)]
    return ("--format=json", "--progress-spinner=off", *(listed or (".",)))


TOOLS: dict[str, Tool] = {
    "ruff": Tool(
        program="ruff", arguments=lambda *_: ("check", "--output-format=json", "--no-cache", "."),
        parse=findings.read_ruff, remedy="install ruff in the project's .venv, or put it on PATH",
    ),
    "mypy": Tool(
        program="mypy", arguments=_mypy, parse=findings.read_mypy,
        remedy="install mypy (1.11 or newer) in the project's .venv, or put it on PATH",
    ),
    "pyright": Tool(
        program="pyright", arguments=lambda *_: ("--outputjson",), parse=findings.read_pyright,
        remedy="install pyright in the project, or put it on PATH",
    ),
    "eslint": Tool(
        program="eslint", arguments=lambda *_: (".", "--format=json"), parse=findings.read_eslint, node=True,
        remedy="run npm install in the project, or put eslint on PATH",
    ),
    "prettier": Tool(
        program="prettier", arguments=lambda *_: ("--list-different", "."), parse=findings.read_prettier, node=True,
        remedy="run npm install in the project, or put prettier on PATH",
    ),
    "pip-audit": Tool(
        program="pip-audit", arguments=_pip_audit, parse=findings.read_pip_audit,
        remedy="install pip-audit in the project's .venv, or put it on PATH",
    ),
    "npm": Tool(
        program="npm", arguments=lambda *_: ("audit", "--json"), parse=findings.read_npm_audit, node=True,
        remedy="put npm on PATH",
    ),
}  # fmt: skip


async def look(place: Place, name: str, root: Path, seconds: float) -> list[Finding]:
    """What a tool finds in a checkout. Raises Missing, and BadReport if it did not do its work."""
    tool = TOOLS[name]
    found = program(place, tool.program)
    if found is None:
        raise Missing(f"{tool.program} is not there: {tool.remedy}")
    if tool.node:
        link_modules(place)
    folder = fresh_folder(place)
    argv = (str(found), *await asyncio.to_thread(tool.arguments, Project(root), folder))
    return await _read(place, name, argv, tool.parse, root, folder / "output", seconds)


async def undocumented(place: Place, root: Path, paths: list[str], seconds: float) -> list[Finding]:
    """Public names of these Python files that say nothing about themselves."""
    interpreter = await python_with(place, "ast")
    if interpreter is None:
        raise Missing("python is not there: put a python3 on PATH")
    output = fresh_folder(place) / "output"
    argv = (str(interpreter), "-I", "-c", (HERE / "driver_documentation.py").read_text(), *paths)
    return await _read(place, "documentation", argv, findings.read_own, root, output, seconds)


async def _read(
    place: Place, name: str, argv: tuple[str, ...], parse: Parse, root: Path, output: Path, seconds: float
) -> list[Finding]:
    """Run it with its standard output in a file, apart from what it complains about."""
    shell = ("/bin/sh", "-c", 'out=$1; shift; exec "$@" >"$out"', "sh", str(output), *argv)
    ran = await run_tool(place, shell, cwd=root, seconds=seconds)
    if ran.trouble:
        raise BadReport(f"{name} {ran.trouble}")
    raw = readers.read_file(output) or b""
    if not raw.strip() and ran.exit_code == 0:
        return []
    try:
        found = parse(raw, root)
    except BadReport as error:
        raise BadReport(f"{name} ended with exit code {ran.exit_code}: {ran.last or error}") from error
    if ran.exit_code != 0 and not found and ran.exit_code != 1:
        raise BadReport(f"{name} ended with exit code {ran.exit_code}: {ran.last}")
    return found
