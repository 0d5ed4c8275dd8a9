"""Find the project's own programs and run them in the sandbox; the one place here that starts anything."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from services.sandbox import Command
from services.sandbox.capture import Capture
from services.sandbox.terms import widened
from services.secrets.grants import Screened
from services.verifier.runners.around import around

if TYPE_CHECKING:
    from services.verifier.checks import Place

ENVIRONMENTS = (".venv/bin", "venv/bin", "node_modules/.bin")
"""Where a project keeps its own programs, relative to its folder."""
KEEP_CLEAN = {"PYTHONDONTWRITEBYTECODE": "1"}
"""So that nothing is written into the project's own environment."""
MANY = 20
"""Links after which a chain of them is not followed any more."""
_PROBE = "import sys; sys.path[:] = [p for p in sys.path if p]; import {}; print(getattr({}, '__version__', ''))"


class Missing(ValueError):
    """A program that is needed is not there; the message holds the remedy."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ran:
    """How a program ended."""

    exit_code: int | None
    output: bytes
    """Standard output and error together, as kept."""
    trouble: str = ""
    """Why it did not end by itself: time, a signal, the sandbox."""
    seconds: float = 0.0

    @property
    def text(self) -> str:
        """The output as text."""
        return self.output.decode("utf-8", "replace")

    @property
    def last(self) -> str:
        """The last line with anything in it."""
        return next((line.strip()[:200] for line in reversed(self.text.splitlines()) if line.strip()), "")


async def run_tool(
    place: Place, argv: tuple[str, ...], *, cwd: Path, seconds: float, env: Mapping[str, str] | None = None
) -> Ran:
    """Run one program in the sandbox, which shows it the project's environments as well. Raises SandboxError."""
    sandbox, limits, access = await place.confine()
    project = around(place).project
    tools = [project / name.split("/")[0] for name in ENVIRONMENTS] if project is not None else []
    shown = (*tools, *(folder for tool in tools for folder in installation(tool)), place.files.parent / "node_modules")
    capture = Capture(place.scratch / f"tool-{secrets.token_hex(8)}")
    screened = Screened(place.secrets.redactor, capture.take)
    with capture:
        running = await sandbox.start(
            Command(
                argv=argv,
                cwd=cwd,
                env={**place.env, **KEEP_CLEAN, **(env or {})},
                wall_seconds=seconds,
                limits=limits,
                access=widened(access, read=shown, write=(cwd, around(place).tmp)),
            ),
            screened.take,
        )
        ended = await running.wait()
        await screened.close()
        kept = capture.finish()
    trouble = ""
    if ended.timed_out:
        trouble = f"took longer than {seconds:g} s"
    elif ended.error or ended.exit_code is None:
        trouble = ended.error or f"killed by signal {ended.signal}"
    return Ran(exit_code=ended.exit_code, output=kept.read(), trouble=trouble, seconds=ended.wall_seconds)


def installation(environment: Path) -> list[Path]:
    """What the Python of a virtual environment needs to start, where it is installed out of the way, such as by uv."""
    found: list[Path] = []
    python = environment / "bin" / "python"
    for _ in range(MANY):
        if not python.is_symlink():
            break
        python = python.parent / python.readlink()
        if python.parent.name == "bin":
            found += [python.parent, python.parent.parent / "lib"]
    return [folder for folder in dict.fromkeys(found) if folder.is_dir()]


def fresh_folder(place: Place) -> Path:
    """A new folder outside the workspace, with a name that nobody can have known."""
    folder = around(place).tmp / f"report-{secrets.token_hex(16)}"
    folder.mkdir(mode=0o700)
    return folder


def search_path(path: str, project: Path | None) -> list[Path]:
    """Where programs are looked up: the project's own environments, then PATH, absolute folders only."""
    own = [project / name for name in ENVIRONMENTS] if project is not None else []
    return [folder for folder in own if folder.is_dir()] + [
        Path(entry) for entry in path.split(os.pathsep) if os.path.isabs(entry)
    ]


def program(place: Place, *names: str) -> Path | None:
    """The first of these programs that is there; never one from the checkout itself, which the task wrote."""
    folders = search_path(place.env.get("PATH", os.defpath), around(place).project)
    return find_program([f for f in folders if not f.is_relative_to(place.files)], *names)


def find_program(folders: list[Path], *names: str) -> Path | None:
    """The first of these programs in the first folder that has one."""
    for folder in folders:
        for name in names:
            found = shutil.which(name, path=str(folder))
            if found:
                return Path(found)
    return None


async def python_with(place: Place, *modules: str) -> Path | None:
    """The first Python on the search path that can import these modules, without looking into the checkout."""
    about, path = around(place), place.env.get("PATH", os.defpath)
    key = ("python", path, str(about.project), *modules)
    kept = about.remembered(*key)
    if isinstance(kept, Path) and kept.exists():
        return kept
    for interpreter in pythons(search_path(path, about.project)):
        ran = await run_tool(place, (str(interpreter), "-c", probe(*modules)), cwd=fresh_folder(place), seconds=60.0)
        if ran.exit_code == 0:
            about.remember(interpreter, *key)
            return interpreter
    return None


def pythons(folders: list[Path]) -> list[Path]:
    """Every Python in these folders, each folder's best one, in order, few."""
    found = [find_program([folder], "python3", "python") for folder in folders]
    return list(dict.fromkeys(path for path in found if path is not None))[:5]


def probe(*modules: str) -> str:
    """A program for Python that prints the version of the first module, or fails if it lacks one."""
    return _PROBE.format(", ".join(modules), modules[0])


def link_modules(place: Place) -> None:
    """Let node find the project's installed packages from every checkout: a link above them, not in them."""
    project, link = around(place).project, place.files.parent / "node_modules"
    if project is not None and (project / "node_modules").is_dir() and not link.is_symlink():
        link.symlink_to(project / "node_modules")
