"""What linters, type checkers and scanners find, and which of it a task introduced. Pure.

Introduced is what was not there before. A finding is known by file, rule and message, never by its line, so code that
only moves brings nothing new; the second of two equal findings is new where there was one.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from schemas.values import value
from services.verifier.runners.report import BadReport

MAX_FINDINGS = 20_000
"""Findings of one run that are looked at."""

_LINE = re.compile(r"\b(lines?|column|offset|at)(\s+|:)\d+")
_WHERE = re.compile(r":\d+(:\d+)?\b")


@value
class Finding:
    """Something that a gate does not like."""

    file: str
    rule: str
    message: str
    line: int | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        """What it is known by: places in the message are left out."""
        return self.file, self.rule, _WHERE.sub("", _LINE.sub(r"\1", self.message))

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where}: {self.rule} {self.message}".strip()


def introduced(before: Iterable[Finding], after: Sequence[Finding]) -> list[Finding]:
    """What is in ``after`` and was not there before; of equal ones the last."""
    known = Counter(finding.key for finding in before)
    new = []
    for finding in after:
        if known[finding.key]:
            known[finding.key] -= 1
        else:
            new.append(finding)
    return new


Parse = Callable[[bytes, Path], list[Finding]]


def read_ruff(raw: bytes, root: Path) -> list[Finding]:
    """``ruff check --output-format json``."""
    return [
        Finding(
            file=_relative(item.get("filename"), root), rule=str(item.get("code") or "syntax"),
            message=str(item.get("message", "")), line=_line(_mapping(item.get("location")).get("row")),
        )
        for item in _mappings(_load(raw))
    ]  # fmt: skip


def read_mypy(raw: bytes, root: Path) -> list[Finding]:
    """``mypy --output json``: an object on each line; notes are no findings."""
    found: list[Finding] = []
    for line in raw.splitlines():
        if line.startswith(b"{") and len(found) < MAX_FINDINGS:
            item = _mapping(_load(line))
            if item.get("severity") == "error":
                file, code = _relative(item.get("file"), root), str(item.get("code") or "mypy")
                message = str(item.get("message", ""))
                found.append(Finding(file=file, rule=code, message=message, line=_line(item.get("line"))))
    return found


def read_pyright(raw: bytes, root: Path) -> list[Finding]:
    """``pyright --outputjson``; lines count from 0 there."""
    items = _mappings(_mapping(_load(raw)).get("generalDiagnostics"))
    found = []
    for item in items:
        if item.get("severity") == "error":
            start = _line(_mapping(_mapping(item.get("range")).get("start")).get("line"))
            found.append(
                Finding(
                    file=_relative(item.get("file"), root), rule=str(item.get("rule") or "pyright"),
                    message=str(item.get("message", "")), line=None if start is None else start + 1,
                )
            )  # fmt: skip
    return found


def read_eslint(raw: bytes, root: Path) -> list[Finding]:
    """``eslint --format json``: errors, not warnings."""
    return [
        Finding(
            file=_relative(file.get("filePath"), root), rule=str(item.get("ruleId") or "syntax"),
            message=str(item.get("message", "")), line=_line(item.get("line")),
        )
        for file in _mappings(_load(raw))
        for item in _mappings(file.get("messages"))
        if item.get("severity") == 2
    ]  # fmt: skip


def read_prettier(raw: bytes, root: Path) -> list[Finding]:
    """``prettier --list-different``: a path on each line."""
    lines = raw.decode("utf-8", "replace").splitlines()[:MAX_FINDINGS]
    return [Finding(file=line.strip(), rule="format", message="is not formatted") for line in lines if line.strip()]


def read_pip_audit(raw: bytes, root: Path) -> list[Finding]:
    """``pip-audit --format json``."""
    return [
        Finding(file=str(item.get("name")), rule=str(vulnerability.get("id")), message=str(item.get("version", "")))
        for item in _mappings(_mapping(_load(raw)).get("dependencies"))
        for vulnerability in _mappings(item.get("vulns"))
    ]


def read_npm_audit(raw: bytes, root: Path) -> list[Finding]:
    """``npm audit --json``. Raises BadReport where npm could not ask for advisories."""
    data = _mapping(_load(raw))
    if not isinstance(data.get("vulnerabilities"), dict):
        raise BadReport(str(data.get("message") or "no advisories in the answer")[:300])
    return [
        Finding(file=str(name), rule=str(_mapping(item).get("severity")), message=str(_mapping(item).get("range", "")))
        for name, item in data["vulnerabilities"].items()
    ]


def read_own(raw: bytes, root: Path) -> list[Finding]:
    """What our own driver for documentation writes."""
    return [
        Finding(
            file=str(item.get("file")), rule=str(item.get("rule")), message=str(item.get("message")),
            line=_line(item.get("line")),
        )
        for item in _mappings(_load(raw))
    ]  # fmt: skip


def _load(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise BadReport(f"its output is no JSON: {error}") from error


def _mapping(found: object) -> dict[str, Any]:
    return found if isinstance(found, dict) else {}


def _mappings(found: object) -> list[dict[str, Any]]:
    return [item for item in found[:MAX_FINDINGS] if isinstance(item, dict)] if isinstance(found, list) else []


def _line(found: object) -> int | None:
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def _relative(path: object, root: Path) -> str:
    """A path as the repository names it, whether or not a link led to the root."""
    text = str(path)
    if not os.path.isabs(text):
        return os.path.normpath(text)
    real = os.path.realpath(root)
    return os.path.relpath(text, real if text.startswith(real + os.sep) else root)
