"""Which skipped tasks come back when what they waited for is opened again. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from events.fold import LOST, ExecutionFold


def released(fold: ExecutionFold, names: Iterable[str]) -> tuple[str, ...]:
    """The tasks that are opened again, and those that were skipped only because of them, however far behind."""
    opened = dict.fromkeys(names)
    waiting = list(opened)
    while waiting:
        for dependent in fold.dependents.get(waiting.pop(), ()):
            task = fold.tasks[dependent]
            still_lost = any(fold.tasks[n].state in LOST and n not in opened for n in task.spec.needs)
            if task.state == "skipped" and dependent not in opened and not still_lost:
                opened[dependent] = None
                waiting.append(dependent)
    return tuple(opened)
