"""The checks that touch the world: commands, files, patterns, HTTP. Each gives a yes or no with evidence.

To add a type of criterion: a kind in schemas/values.py, how it is written in schemas/plan.py, and a function here.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from events.task import Artifact
from events.verdict import Result
from schemas.grants import Isolation
from schemas.values import Criterion
from services.sandbox import Access, Command, Limits, Sandbox, SandboxError
from services.sandbox.capture import Capture
from services.secrets.grants import NOTHING, Opened, Screened, SecretProblem
from services.verifier.runners.around import Around, around
from services.verifier.runners.results import answer as _result
from services.verifier.runners.results import broken

log = logging.getLogger(__name__)

MAX_FILE = 64 * 1024 * 1024
"""Bytes of a file that a criterion looks at."""
MAX_MEASURED = 64 * 1024
"""Characters from the end of a command's output in which a measured value is looked for."""
PATTERN_TIME = 10.0
"""Seconds a regular expression from a plan may take."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where criteria are judged: a clean checkout, and what the task printed."""

    files: Path
    scratch: Path
    env: dict[str, str]
    output: Callable[[], Awaitable[bytes]]
    keep: Callable[[bytes], Awaitable[str]]
    """Stores evidence and gives its digest."""
    confine: Callable[[], Awaitable[tuple[Sandbox, Limits, Access]]]
    """Where commands run and on which terms; asked for only when there is one. Raises SandboxError."""
    around: Around | None = None
    """What tests and quality gates must know about the task; None where nothing is checked out."""
    reach: Isolation = field(default_factory=Isolation)
    """The network that the task is granted."""
    secrets: Opened = NOTHING
    """What the plan is granted, and what takes it out again."""

    async def store(self, data: bytes, total: int, media: str = "text/plain") -> Artifact:
        """Keep evidence, without secrets; ``total`` bytes there were."""
        cleaned = await asyncio.to_thread(self.secrets.redactor.clean, data)
        return Artifact(sha256=await self.keep(cleaned), size=len(cleaned), total=total, media=media)


Check = Callable[[Criterion, Place], Awaitable[Result]]


async def judge(criterion: Criterion, place: Place) -> Result:
    """Judge one criterion. A check that itself breaks is a no, with the reason."""
    started = time.monotonic()
    try:
        result = await CHECKS[criterion.kind](criterion, place)
    except (OSError, ValueError, TimeoutError, SandboxError, SecretProblem) as error:
        result = broken(criterion, f"could not be judged: {error}")
    detail = place.secrets.redactor.text(result.detail)
    return replace(result, detail=detail, seconds=round(time.monotonic() - started, 6))


def inside(root: Path, path: str) -> Path:
    """A path of the checkout. Raises ValueError if it leads out of it, also through a link."""
    target = (root / path).resolve()
    if not target.is_relative_to(root.resolve()):
        raise ValueError(f"{path!r} leads out of the workspace")
    return target


async def command(criterion: Criterion, place: Place) -> Result:
    """Run it; the exit code decides, and the last line of output where one is expected."""
    assert criterion.command is not None
    result, text = await _command(criterion, place, place.files)
    if result.result == "fail" or criterion.target is None or criterion.negate:
        return result
    return await _measured(criterion, place, result, text)


async def _command(criterion: Criterion, place: Place, cwd: Path) -> tuple[Result, str]:
    """The result by exit code and last line, and the end of what was printed."""
    number = len(list(place.scratch.iterdir()))
    env = place.env | place.secrets.environment(criterion.secrets)
    capture = Capture(place.scratch / f"output-{number}")
    screened = Screened(place.secrets.redactor, capture.take)
    sandbox, limits, access = await place.confine()
    running = await sandbox.start(
        Command(
            argv=("/bin/sh", "-c", criterion.command or ""),
            cwd=cwd,
            env=env,
            wall_seconds=criterion.timeout,
            limits=limits,
            access=access,
        ),
        screened.take,
    )
    ended = await running.wait()
    await screened.close()
    kept = capture.finish()
    tail = kept.tail(400).strip()
    evidence = None
    if kept.size:
        evidence = await place.store(kept.read(), kept.total_bytes)
    if ended.timed_out:
        passed, detail = False, f"took longer than {criterion.timeout:g} s"
    elif ended.out_of_memory and ended.exit_code != criterion.exit_code:
        passed, detail = False, "out of memory (policy.limits.memory)"
    elif ended.error or ended.exit_code is None:
        passed, detail = False, ended.error or f"killed by signal {ended.signal}"
    else:
        passed, detail = ended.exit_code == criterion.exit_code, f"exit code {ended.exit_code}"
        last = tail.splitlines()[-1].strip() if tail else ""
        if passed and criterion.expect is not None and last != criterion.expect:
            passed, detail = False, f"its last line is {last!r}, not {criterion.expect!r}"
    if not passed and tail:
        detail += f": {tail.splitlines()[-1][:200]}"
    result = replace(_result(criterion, passed, detail), exit_code=ended.exit_code, evidence=evidence)
    return result, kept.tail(MAX_MEASURED)


async def _measured(criterion: Criterion, place: Place, result: Result, text: str) -> Result:
    """Hold what the command printed against the target; where that is the value before the task, measure this too."""
    from schemas.targets import Measured, read_measured, read_target
    from services.verifier.runners.measure import find_measured, hold

    async def value(printed: str) -> Measured | None:
        if criterion.measure is None:
            return find_measured(target.name, printed)
        found = await asyncio.to_thread(_search, criterion.measure, printed)
        return None if found is None else read_measured(found)

    target = read_target(criterion.target or "")
    measured, before = await value(text), None
    if target.limit is None and measured is not None:
        earlier, printed = await _command(criterion, place, await around(place).checkout())
        if earlier.result == "pass":
            before = await value(printed)
    holds, detail = hold(target, criterion.target or "", measured, before)
    shown = None if measured is None else str(measured)
    return replace(result, result="pass" if holds else "fail", detail=detail, measured=shown)


async def file(criterion: Criterion, place: Place) -> Result:
    """It is there, says what it should, does not say what it should not, and is long enough."""
    assert criterion.path is not None
    return await asyncio.to_thread(_file, criterion, inside(place.files, criterion.path), place.files)


def _file(criterion: Criterion, target: Path, root: Path) -> Result:
    if not target.exists():
        return _result(criterion, False, f"{criterion.path} is not there{_ignored(root, criterion.path or '')}")
    if target.is_dir():
        names = sorted(p.name for p in target.iterdir() if p.name != ".git")
        if criterion.contains and not any(criterion.contains in name for name in names):
            return _result(criterion, False, f"nothing in {criterion.path}/ is named like {criterion.contains!r}")
        if criterion.absent:
            found = next((n for n in names if _search(criterion.absent, n)), None)
            if found:
                return _result(criterion, False, f"{criterion.path}/ holds {found}")
        if criterion.min_lines and len(names) < criterion.min_lines:
            return _result(criterion, False, f"{criterion.path}/ has {len(names)} entries")
        return _result(criterion, True, f"{criterion.path}/ has {len(names)} entries")
    if target.stat().st_size > MAX_FILE:
        return _result(criterion, False, f"{criterion.path} is larger than {MAX_FILE // 1024**2} MiB")
    text = target.read_text(encoding="utf-8", errors="replace")
    lines = text.count("\n") + (not text.endswith("\n") and bool(text))
    if criterion.contains and criterion.contains not in text:
        return _result(criterion, False, f"{criterion.path} does not contain {criterion.contains!r}")
    if criterion.absent and (found := _search(criterion.absent, text)):
        return _result(criterion, False, f"{criterion.path} still holds {found!r}")
    if criterion.min_lines and lines < criterion.min_lines:
        return _result(criterion, False, f"{criterion.path} has {lines} lines, not {criterion.min_lines}")
    return _result(criterion, True, f"{criterion.path} has {lines} lines")


def _ignored(root: Path, path: str) -> str:
    """A hint where a .gitignore may be why a file did not get into the commit."""
    for ignore in (root / ".gitignore", (root / path).parent / ".gitignore"):
        if ignore.is_file():
            first = path.strip("/").split("/")[0]
            if any(first in line for line in ignore.read_text(errors="replace").splitlines()):
                return "; .gitignore seems to name it: list it under the task's `outputs:`"
    return ""


async def regex(criterion: Criterion, place: Place) -> Result:
    """The pattern is found in what the task printed, or in a file."""
    assert criterion.pattern is not None
    if criterion.source == "output":
        text = (await place.output()).decode("utf-8", "replace")
    else:
        target = inside(place.files, criterion.source)
        if not target.is_file():
            return _result(
                criterion, False, f"{criterion.source} is not there{_ignored(place.files, criterion.source)}"
            )
        if target.stat().st_size > MAX_FILE:
            return _result(criterion, False, f"{criterion.source} is larger than {MAX_FILE // 1024**2} MiB")
        text = await asyncio.to_thread(target.read_text, "utf-8", "replace")
    found = await asyncio.to_thread(_search, criterion.pattern, text)
    detail = f"found {found!r} in {criterion.source}" if found else f"not found in {criterion.source}"
    return _result(criterion, found is not None, detail)


def _search(pattern: str, text: str) -> str | None:
    """Look for a pattern from a plan: doubtful, so in a process of its own that can be ended."""
    compiled = re.compile(pattern, re.MULTILINE)
    if len(text) < 10_000 and not re.search(r"[*+}?]\)*[*+{]|\|", pattern):
        match = compiled.search(text)
        return match[0][:200] if match else None
    return _search_apart(pattern, text)


_SEARCHER = """
import json, re, sys
pattern, text = json.load(sys.stdin)
match = re.search(pattern, text, re.MULTILINE)
json.dump(match[0][:200] if match else None, sys.stdout)
"""


def _search_apart(pattern: str, text: str) -> str | None:
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _SEARCHER], input=json.dumps([pattern, text]), text=True,
            capture_output=True, timeout=PATTERN_TIME, check=True, env={},
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise TimeoutError(f"the pattern {pattern[:60]!r} takes longer than {PATTERN_TIME:g} s") from error
    answer: str | None = json.loads(done.stdout)
    return answer


async def http(criterion: Criterion, place: Place) -> Result:
    """GET the address, if the task could; status and content decide."""
    from services.verifier.asking import ask

    return await ask(criterion, place.reach)


async def tests(criterion: Criterion, place: Place) -> Result:
    """The tests it names are run; loaded when first needed, as all that runs tests."""
    from services.verifier.runners.tests import tests

    return await tests(criterion, place)


async def quality(criterion: Criterion, place: Place) -> Result:
    """One quality gate finds nothing new."""
    from services.verifier.runners.quality import quality

    return await quality(criterion, place)


CHECKS: dict[str, Check] = {
    "command": command,
    "file": file,
    "regex": regex,
    "http": http,
    "tests": tests,
    "quality": quality,
}
