"""Facts of what people were told about an execution: the entity ``~notices``. Only the notifier says them."""

from __future__ import annotations

from typing import Literal

from events.event import event
from schemas.values import value


@value
class Told:
    """One thing that a notice is about, so that nobody is told of it twice on the same channel."""

    key: str
    """The id of the event it is about, or what else is told once only, such as ``phase:2``."""
    kind: str
    task: str | None = None


@event("notices", "notifier")
class NoticeSent:
    """A channel took a message; what it covers is not sent there again, whatever restarts or is replayed."""

    channel: str
    about: tuple[Told, ...]
    severity: Literal["info", "warning", "error", "critical"]
    title: str
    text: str
    tries: int = 1
    seconds: float = 0.0
    """From the oldest event it covers to the channel's answer."""
    maybe_again: bool = False
    """An earlier try may have arrived: whoever made it died before it could say so."""
    report: str | None = None
    """SHA-256 of the report that it names, in the tenant's artifacts."""


@event("notices", "notifier")
class NoticeFailed:
    """A channel did not take a message."""

    channel: str
    about: tuple[Told, ...]
    reason: str
    tries: int
    given_up: bool
    """Whether it stays at that; otherwise it is tried again."""


@event("notices", "notifier")
class NoticeSuppressed:
    """Something was deliberately not told: it was too old by then, or there was too much of it."""

    channel: str
    about: tuple[Told, ...]
    reason: str


@event("notices", "notifier")
class ProgressMarked:
    """The execution is still running at the moment when people are told how far it is; the id names the next timer."""

    number: int
    done: int
    total: int
