"""How long is left. "Now" is when the newest event was stored, never a clock (hazard H19).

    of one task   its estimate; else the mean of the tenant's verified tasks with the same title; else what the learner
                  suggested from similar ones; else the mean of this execution's verified tasks; less what has passed
                  since it started; 0 once it only has to be judged
    of them all   max(sum of all / slots in use, longest chain of dependencies), slots = min(max_parallel, tasks left)

It is None while it cannot be known: a task without any of the four, or nothing goes on before a person acts.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any

ENDED = frozenset({"completed", "failed", "cancelled", "rejected"})
WAITING_FOR_PEOPLE = frozenset({"awaiting_approval", "blocked"})
LEFT = frozenset({"pending", "ready", "running", "executed", "faulted", "waiting"})
"""States of tasks that still take time."""

Row = Mapping[str, Any]
Means = Callable[[Sequence[str]], Mapping[str, float]]
"""Mean seconds of the tenant's verified tasks, by title."""


def eta(run: Row, tasks: Sequence[Row], means: Means, now: datetime.datetime | None) -> float | None:
    """Seconds until the execution has ended."""
    if run["state"] in ENDED:
        return 0.0
    if run["state"] in WAITING_FOR_PEOPLE or not tasks:
        return None
    left = [t for t in tasks if t["state"] in LEFT]
    titles = sorted({t["title"] for t in left if t["estimate"] is None and t["title"]})
    by_title = means(titles) if titles else {}
    verified = [t["seconds"] for t in tasks if t["state"] == "verified" and t["seconds"] is not None]
    mean = sum(verified) / len(verified) if verified else None
    seconds: dict[str, float] = {}
    for t in left:
        expected = next(
            (e for e in (t["estimate"], by_title.get(t["title"]), t["suggested"], mean) if e is not None), None
        )
        rest = _rest(t, expected, now)
        if rest is None:
            return None
        seconds[t["task"]] = rest
    return together(seconds, {t["task"]: t["needs"] for t in left}, run["max_parallel"] or 1)


def together(seconds: Mapping[str, float], needs: Mapping[str, Sequence[str]], slots: int) -> float | None:
    """Seconds for all these tasks on so many slots: the work divided by them, or the longest chain if that is more."""
    if not seconds:
        return 0.0
    graph = {name: [n for n in needs[name] if n in seconds] for name in seconds}
    end: dict[str, float] = {}
    try:
        for name in TopologicalSorter(graph).static_order():
            end[name] = seconds[name] + max((end[n] for n in graph[name]), default=0.0)
    except CycleError:
        return None
    return round(max(sum(seconds.values()) / max(1, min(slots, len(seconds))), max(end.values())), 3)


def _rest(task: Row, expected: float | None, now: datetime.datetime | None) -> float | None:
    if task["state"] == "executed":
        return 0.0
    if expected is None:
        return None
    if task["state"] == "running" and task["started_at"] and now:
        passed = float((now - task["started_at"]).total_seconds())
        return max(0.0, expected - max(0.0, passed))
    return float(expected)
