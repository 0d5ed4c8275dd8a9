"""Read the other reports: jest's JSON, go's stream of events, libtest's log, our own for unittest; and coverage."""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from services.verifier.runners.junit import MAX_BYTES
from services.verifier.runners.report import MAX_TEXT, BadReport, Case

Outcome = Literal["passed", "failed", "skipped"]


def read_file(path: Path, limit: int = MAX_BYTES) -> bytes | None:
    """A report's bytes; None if there is none. What is no ordinary file, or too large, raises BadReport."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BadReport(f"it cannot be read: {error.strerror}") from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise BadReport("it is no ordinary file")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            raw = file.read(limit + 1)
    finally:
        os.close(descriptor)
    if len(raw) > limit:
        raise BadReport(f"it is larger than {limit // 1024**2} MiB")
    return raw


def load(raw: bytes) -> Any:
    """JSON of doubtful origin. Raises BadReport."""
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise BadReport(f"it is no JSON: {error}") from error


def read_cases(raw: bytes) -> tuple[tuple[Case, ...], float | None]:
    """What our own driver for unittest writes: the tests and the coverage."""
    data = load(raw)
    if not isinstance(data, dict) or not isinstance(data.get("cases"), list):
        raise BadReport("it is not what the driver writes")
    return tuple(_case(item) for item in data["cases"] if isinstance(item, dict)), number(data.get("coverage"))


def _case(item: dict[str, Any]) -> Case:
    outcome: Outcome = item["outcome"] if item.get("outcome") in ("passed", "skipped") else "failed"
    error, stack = str(item.get("error", ""))[:MAX_TEXT], str(item.get("stack", ""))[:MAX_TEXT]
    seconds = number(item.get("seconds")) or 0.0
    return Case(name=str(item.get("name", "")), outcome=outcome, error=error, stack=stack, seconds=seconds)


def read_jest(raw: bytes) -> tuple[Case, ...]:
    """Jest's ``--json``. A file that could not be loaded counts as a failed test."""
    data = load(raw)
    suites = data.get("testResults") if isinstance(data, dict) else None
    if not isinstance(suites, list):
        raise BadReport("it holds no testResults")
    found = []
    for suite in _mappings(suites):
        name, tests = str(suite.get("name", "")), _mappings(suite.get("assertionResults"))
        for test in tests:
            messages = test.get("failureMessages")
            state, words = test.get("status"), "\n".join(map(str, messages)) if isinstance(messages, list) else ""
            outcome: Outcome = "passed" if state == "passed" else "failed" if state == "failed" else "skipped"
            title = str(test.get("fullName") or test.get("title"))
            seconds = (number(test.get("duration")) or 0.0) / 1000
            found.append(Case(name=title, outcome=outcome, error=words[:500], stack=words[:MAX_TEXT], seconds=seconds))
        if suite.get("status") == "failed" and not any(t.get("status") == "failed" for t in tests):
            words = str(suite.get("message", ""))
            found.append(Case(name=os.path.basename(name), outcome="failed", error=words[:500], stack=words[:MAX_TEXT]))
    return tuple(found)


def _mappings(found: object) -> list[dict[str, Any]]:
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


_GO: dict[str, Outcome] = {"pass": "passed", "fail": "failed", "skip": "skipped"}


def read_go(lines: Iterable[bytes]) -> tuple[Case, ...]:
    """``go test -json``: a package that fails without a failed test (it did not build, it exited) counts as one."""
    found: list[Case] = []
    output: dict[tuple[str, str], list[str]] = {}
    failed_in: set[str] = set()
    packages: dict[str, str] = {}
    for line in lines:
        if not line.startswith(b"{"):
            continue
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if not isinstance(event, dict):
            continue
        action, test = str(event.get("Action", "")), str(event.get("Test", ""))
        package = str(event.get("Package") or event.get("ImportPath") or "")
        said = output.setdefault((package, test), [])
        if action in ("output", "build-output") and len(said) < 200:
            said.append(str(event.get("Output", ""))[:1000])
        elif action in _GO and test:
            words = "".join(said)
            outcome = _GO[action]
            if outcome == "failed":
                failed_in.add(package)
            error = words if outcome == "failed" else ""
            found.append(
                Case(
                    name=f"{package}.{test}", outcome=outcome, error=_telling(error), stack=error[:MAX_TEXT],
                    seconds=number(event.get("Elapsed")) or 0.0,
                )
            )  # fmt: skip
        elif action in ("fail", "build-fail"):
            packages[package] = "".join(said)
    for package, words in packages.items():
        if package.split(" ")[0] not in failed_in:
            found.append(Case(name=package, outcome="failed", error=_telling(words), stack=words[:MAX_TEXT]))
    return tuple(found)


def _telling(words: str) -> str:
    """The first line of go's output that is no frame."""
    frames = ("===", "---", "FAIL", "#")
    lines = (line.strip() for line in words.splitlines())
    return next((line[:500] for line in lines if line and not line.startswith(frames)), words[:200])


_LIBTEST: dict[str, Outcome] = {"ok": "passed", "failed": "failed", "ignored": "skipped"}


def read_libtest(listed: str, log: bytes, output: str) -> tuple[Case, ...]:
    """One test program of cargo: what it lists, and the log it wrote. A listed test without an entry has failed."""
    names = [line[: -len(": test")] for line in listed.splitlines() if line.endswith(": test")]
    ended: dict[str, Outcome] = {}
    for line in log.decode("utf-8", "replace").splitlines():
        word, _, name = line.partition(" ")
        name = name.partition(" - ")[0] if word == "ignored" else name  # the reason for ignoring it follows
        if word in _LIBTEST:
            ended[name.split(" <", 1)[0]] = _LIBTEST[word]
    found = []
    for name in names:
        outcome = ended.get(name, "failed")
        words = "" if outcome != "failed" else _panic(output, name) or "it began and never ended"
        found.append(Case(name=name, outcome=outcome, error=words[:500], stack=words[:MAX_TEXT]))
    return tuple(found)


def _panic(output: str, name: str) -> str:
    """What libtest printed about a failed test."""
    _, found, rest = output.partition(f"---- {name} stdout ----\n")
    return rest.partition("\n---- ")[0].partition("\nfailures:\n")[0].strip() if found else ""


def read_summary(raw: bytes) -> float | None:
    """The lines covered, in per cent, by ``coverage-summary.json`` of vitest and jest."""
    data = load(raw)
    total = data.get("total") if isinstance(data, dict) else None
    lines = total.get("lines") if isinstance(total, dict) else None
    return number(lines.get("pct")) if isinstance(lines, dict) else None


def read_lcov(raw: bytes) -> float | None:
    """The lines covered, in per cent, by an lcov file."""
    found = covered = 0
    for line in raw.splitlines():
        if line.startswith(b"DA:"):
            found += 1
            covered += line.split(b",")[1:2] != [b"0"]
    return round(100 * covered / found, 2) if found else None


def read_go_cover(raw: bytes) -> float | None:
    """The statements covered, in per cent, by a go cover profile."""
    statements: dict[bytes, tuple[int, bool]] = {}
    for line in raw.splitlines()[1:]:
        words = line.rsplit(b" ", 2)
        if len(words) == 3 and words[1].isdigit() and words[2].isdigit():
            before = statements.get(words[0], (0, False))[1]
            statements[words[0]] = (int(words[1]), before or words[2] != b"0")
    total = sum(count for count, _ in statements.values())
    return round(100 * sum(count for count, hit in statements.values() if hit) / total, 2) if total else None


def number(found: object) -> float | None:
    """A finite number of zero or more, or None."""
    if isinstance(found, int | float) and not isinstance(found, bool) and math.isfinite(found) and found >= 0:
        return float(found)
    return None
