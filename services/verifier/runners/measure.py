"""Find the value that a command printed, for the target of its criterion."""

from __future__ import annotations

import json
import re
from typing import Any

from schemas.targets import BadTarget, Measured, Target, read_measured

LINES = 50
"""Lines from the end of the output in which ``name=value`` is looked for."""
_BARE = re.compile(r"\s*[-+]?[\d.,]+(?:[eE][-+]?\d+)?\s*(?:%|[A-Za-zµ]{1,3})?\s*")


def find_measured(name: str, output: str) -> Measured | None:
    """The value of ``name`` in what was printed; None if there is none.

    It is looked for in a JSON object that is the last line or all of it (``p95``, or ``latency.p95`` inside), then in
    the last lines as ``p95=180ms`` or ``p95: 180 ms``. Without a name it is the last line, if that is a number.
    Raises BadTarget for a number that is none.
    """
    lines = [line for line in output.splitlines() if line.strip()]
    if not lines:
        return None
    if not name:
        return read_measured(lines[-1]) if _BARE.fullmatch(lines[-1]) else None
    for text in (lines[-1], output):
        found = _of_json(name, text)
        if found is not None:
            return found
    pattern = re.compile(rf"(?<![\w.]){re.escape(name)}\s*[=:]\s*([^\s,;]+(?:\s*(?:%|[a-zA-Zµ]{{1,3}}))?)(?![\w])")
    for line in reversed(lines[-LINES:]):
        matches = pattern.findall(line[-2000:])
        if matches and (number := read_measured(matches[-1])) is not None:
            return number
    return None


def _of_json(name: str, text: str) -> Measured | None:
    try:
        data: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict):
        return None
    if name not in data:
        for part in name.split("."):
            data = data.get(part) if isinstance(data, dict) else None
    else:
        data = data[name]
    if isinstance(data, bool) or not isinstance(data, int | float | str):
        return None
    return read_measured(str(data))


def hold(target: Target, text: str, measured: Measured | None, before: Measured | None = None) -> tuple[bool, str]:
    """Whether the target holds, and the reason in words. ``text`` is the target as written.

    What was not measured does not hold, except where a sentence named only a number ("at least 80 %"): nobody can say
    what of the output it means. Where there was no value before the task, this one is the first.
    """
    if measured is None and not target.name:
        return True, f"{text} names nothing that is measured, so it was not compared"
    if measured is None:
        return (
            False,
            f"{target.name} was not measured: print {target.name}=VALUE last, or JSON, or say where in measure",
        )
    what = target.name or "the number"
    if target.limit is None and before is None:
        return True, f"{what} is {measured}; there was none before the task"
    compared = f" (before: {before})" if target.limit is None else ""
    try:
        if target.holds(measured, before):
            return True, f"{what} is {measured}{compared}"
    except BadTarget as error:
        return False, str(error)
    return False, f"{what} is {measured}, not {text}{compared}"
