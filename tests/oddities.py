"""Facts without a row in the state tables that may be all the same.

An event about several tasks (the branch goes back, everything is cancelled) moves them without touching their guards.
So a decision about one of them that was made just before can be stored just after it. It changes nothing, and is
counted.
"""

from __future__ import annotations

from collections.abc import Iterable

from events.log import Recorded

SEVERAL = ("BranchRolledBack", "BranchReverted")


class Moved:
    """Which tasks events about several of them moved, and where those stand."""

    def __init__(self) -> None:
        self._all = 0
        self._one: dict[str, int] = {}

    def heed(self, recorded: Recorded) -> None:
        """The next message of the execution."""
        if recorded.standing == "ok" and recorded.name in SEVERAL:
            self._one.update(dict.fromkeys(recorded.fact.invalidated, recorded.sequence))
        elif recorded.standing == "ok" and recorded.name == "ExecutionCancelled":
            self._all = recorded.sequence

    def since(self, entity: str, sequence: int) -> bool:
        """Whether a task was moved since the last message about itself, which stands at ``sequence``."""
        return max(self._all, self._one.get(entity, 0)) > sequence


def unexcused(history: Iterable[Recorded], oddities: Iterable[int]) -> list[int]:
    """Those sequences of facts without a row that nothing excuses."""
    moved, last, wrong = Moved(), dict[str, int](), []
    odd = set(oddities)
    for recorded in history:
        if recorded.sequence in odd and not moved.since(recorded.entity, last.get(recorded.entity, 0)):
            wrong.append(recorded.sequence)
        last[recorded.entity] = recorded.sequence
        moved.heed(recorded)
    return wrong
