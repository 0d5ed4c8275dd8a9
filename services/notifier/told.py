"""What people have been told about an execution: a fold of its entity ``~notices``."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from events.fold import ExecutionFold
from events.log import EventLog, Recorded, guard
from events.notice import NoticeFailed, NoticeSent, NoticeSuppressed, ProgressMarked
from schemas.names import NOTICES

KEPT = 1024
"""Executions whose notices stay in memory."""


@dataclass(slots=True)
class Notices:
    """What the log says that was told, and where."""

    settled: dict[str, set[str]] = field(default_factory=dict)
    """Keys that need no further telling, by channel: sent, suppressed, or given up."""
    marks: int = 0
    mark: str = ""
    """The id of the newest ProgressMarked, and where it stands."""
    marked_at: int = 0
    sequence: int = 0

    def is_settled(self, channel: str, key: str) -> bool:
        """Whether this needs no telling there."""
        return key in self.settled.get(channel, ())

    def apply(self, recorded: Recorded) -> None:
        """Fold one message of the entity, in order."""
        self.sequence = recorded.sequence
        if recorded.standing != "ok":
            return
        match recorded.fact:
            case NoticeFailed(given_up=False):
                pass
            case NoticeSent() | NoticeSuppressed() | NoticeFailed() as fact:
                self.settled.setdefault(fact.channel, set()).update(told.key for told in fact.about)
            case ProgressMarked():
                self.marks += 1
                self.mark = recorded.id
                self.marked_at = recorded.sequence
            case _:
                pass


class Telling:
    """Notices by execution: read when they are needed, and read on when the fold shows that there is more (H9)."""

    def __init__(self, log: EventLog) -> None:
        self.log = log
        self._known: OrderedDict[tuple[str, str], Notices] = OrderedDict()

    async def of(self, fold: ExecutionFold) -> Notices:
        """Everything that the fold has seen of the entity. A replica that lags is asked again by whoever conflicts."""
        key = (fold.tenant, fold.id)
        notices = self._known.setdefault(key, Notices())
        self._known.move_to_end(key)
        while len(self._known) > KEPT:
            self._known.popitem(last=False)
        if notices.sequence < fold.guard_of(NOTICES):
            after = notices.sequence
            found = [r async for r in self.log.read(guard(fold.tenant, fold.id, NOTICES), after=after)]
            for recorded in found:
                if recorded.sequence > notices.sequence:
                    notices.apply(recorded)
        return notices
