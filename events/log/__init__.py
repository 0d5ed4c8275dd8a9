"""The log: how facts are kept. This is the port; ``memory`` and ``jetstream`` are its twins (DESIGN 2).

``append`` is the only writer. Reading gives every message of an entity, also those that were set aside, because
the guard counts them.
"""

from __future__ import annotations

import asyncio
import datetime
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from schemas.names import EXECUTION, INBOX, NOTICES, entity_token, event_id

Standing = Literal["ok", "quarantined", "newer"]


class LogError(Exception):
    """The log did not do what was asked."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.__doc__ or "")


class Conflict(LogError):
    """Something else was appended to the entity first: fold again and decide again."""

    def __init__(self, subject: str, sequence: int) -> None:
        super().__init__(f"{subject} has moved on to sequence {sequence}")
        self.sequence = sequence


class LogUnavailable(LogError):
    """The log could not be reached, or could not store, for longer than a retry covers. Nothing is known to be lost."""


class IdCollision(LogError):
    """Another event already has this id; a decision derived its ids wrongly."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Draft:
    """A fact about to be appended, with everything that goes beside it. Ids are derived, never drawn (hazard H4)."""

    tenant: str
    execution: str
    entity: str
    fact: Any
    cause: str
    correlation: str
    actor: str
    expected: int = 0
    """The entity's last sequence that the decision was made on."""
    attempt: int = 0
    trace: str = ""
    claim: str = ""
    """Who takes something for itself: the same fact of another copy is then a rival and not a repetition (H5)."""

    @property
    def ordinal(self) -> int:
        """Tells two facts of one cause, name and entity apart: the sequence they were decided on (docs/adr/0002)."""
        if not self.claim:
            return self.expected
        return int.from_bytes(hashlib.sha256(f"{self.expected} {self.claim}".encode()).digest()[:6], "big")

    @property
    def name(self) -> str:
        """The fact's name, the last token of its subject."""
        return type(self.fact).__name__

    @property
    def id(self) -> str:
        """The event id."""
        return event_id(
            cause=self.cause,
            name=self.name,
            tenant=self.tenant,
            execution=self.execution,
            entity=self.entity,
            attempt=self.attempt,
            ordinal=self.ordinal,
        )

    @property
    def subject(self) -> str:
        """Where it is appended."""
        return f"evt.{self.tenant}.{self.execution}.{entity_token(self.entity)}.{self.name}"


@dataclass(frozen=True, slots=True)
class Appended:
    """Where a fact now stands."""

    sequence: int
    id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Recorded:
    """A message of the log as read: a fact, or something that was set aside and why."""

    sequence: int
    at_ns: int
    """When the log stored it, in nanoseconds since 1970 (UTC)."""
    subject: str
    tenant: str
    execution: str
    entity: str
    name: str
    id: str = ""
    cause: str = ""
    correlation: str = ""
    actor: str = ""
    attempt: int = 0
    version: int = 1
    trace: str = ""
    fact: Any = None
    standing: Standing = "ok"
    reason: str = ""
    """Why it was set aside."""
    body: bytes = b""
    """As stored."""

    @property
    def at(self) -> datetime.datetime:
        """When the log stored it, in UTC, to the microsecond."""
        return datetime.datetime.fromtimestamp(self.at_ns // 1000 / 1e6, datetime.UTC)


def guard(tenant: str, execution: str, entity: str) -> str:
    """The one filter that guards an entity (hazard H2). What people say has none; asking for it is a ValueError."""
    if entity == INBOX:
        raise ValueError("what people say is unguarded")
    return f"evt.{tenant}.{execution}.{entity_token(entity)}.>"


def of_execution(tenant: str, execution: str) -> str:
    """The filter for everything of one execution. For reading only, never as a guard."""
    return f"evt.{tenant}.{execution}.>"


@dataclass(frozen=True, kw_only=True, slots=True)
class Timer:
    """A message to come back at a moment, carrying the id of the event that asked for it (hazard H12)."""

    tenant: str
    execution: str
    entity: str
    kind: str
    at_ns: int
    event: str
    sequence: int = 0
    """Where that event stands: whoever deals with the timer must have folded it."""

    @property
    def place(self) -> str:
        """What follows ``timer.set.`` and ``timer.due.``: one place for each event that waits, so that a timer that is
        set late takes the place of none."""
        return f"{self.tenant}.{self.execution}.{entity_token(self.entity)}.{self.kind}.{self.event}"

    @property
    def durable(self) -> str:
        """Who is handed it when it fires: timers of notices have subjects, rights and a durable of their own."""
        return "notices-due" if self.entity == NOTICES else "due"

    def subject(self, step: Literal["set", "due"]) -> str:
        """Where it is set, or where it fires."""
        return f"{'timer.notices' if self.entity == NOTICES else 'timer'}.{step}.{self.place}"


class Delivery(Protocol):
    """One message handed to one worker; unless it is acknowledged it comes again."""

    @property
    def reply(self) -> str:
        """What ``EventLog.hand_back`` needs to have it handed out again."""
        ...

    @property
    def recorded(self) -> Recorded: ...
    @property
    def deliveries(self) -> int:
        """How often it has been handed out, this time included."""
        ...

    async def ack(self) -> None:
        """It is dealt with. Call it only when the fold shows why."""

    async def nak(self, delay: float = 0.0) -> None:
        """Hand it out again, after a delay in seconds."""

    async def progress(self) -> bool:
        """Still working on it. True if the server confirmed that it heard so."""
        ...


class DueTimer(Protocol):
    """A timer that fired; a hint, not a fact."""

    @property
    def timer(self) -> Timer: ...
    async def ack(self) -> None: ...
    async def nak(self, delay: float = 0.0) -> None: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Consumer:
    """A durable reader by name: what it is handed, and how long it may keep silent."""

    name: str
    filters: tuple[str, ...]
    ack_wait: float = 30.0
    max_ack_pending: int = 20_000
    history: bool = True
    """Whether it is handed what was stored before it was made; where not, an old log brings no old news."""


class EventLog(Protocol):
    """The log itself."""

    async def append(self, *drafts: Draft) -> list[Appended]:
        """Append one fact, or several at once or not at all. Raises Conflict, LogUnavailable."""
        ...

    def read(self, filter: str, *, after: int = 0) -> AsyncIterator[Recorded]:
        """Everything stored that matches, in order, from the sequence behind ``after`` to the present end."""
        ...

    def tail(self, *, after: int | None = None) -> AsyncIterator[Recorded]:
        """Everything from now on (or behind ``after``), in order and without gaps, for ever."""
        ...

    async def last_sequence(self) -> int:
        """The newest sequence stored."""
        ...

    async def created(self) -> str:
        """When its first event was stored, which tells one log from another (hazard H20); empty for an empty log."""
        ...

    def consume(
        self, consumer: Consumer, *, want: Callable[[], int], freed: asyncio.Event | None = None
    ) -> AsyncGenerator[Delivery, None]:
        """Messages for a durable consumer, at most ``want()`` more at any moment; set ``freed`` for a new look."""
        ...

    async def hand_back(self, reply: str) -> None:
        """Have a delivery that a dead worker held handed out again at once."""

    def due(self, durable: str = "due") -> AsyncIterator[DueTimer]:
        """Timers that fired, of one durable (``Timer.durable``)."""
        ...

    async def set_timer(self, timer: Timer) -> None:
        """Set or move a timer. Idempotent."""

    async def write_output(self, tenant: str, execution: str, task: str, attempt: int, chunk: bytes) -> None:
        """Append a chunk of a task's output to the tail that people watch."""

    async def put_blob(self, bucket: str, data: bytes) -> str:
        """Keep bytes; returns their SHA-256. Idempotent."""
        ...

    async def get_blob(self, bucket: str, sha256: str) -> bytes:
        """Read bytes back, hashed again. Raises KeyError if they are not there, ValueError if they are damaged."""
        ...


@dataclass(slots=True)
class Batch:
    """What the projector applies at once: consecutive messages, and where the stream stood."""

    stream_created: str
    records: Sequence[Recorded] = field(default_factory=list)


__all__ = [
    "EXECUTION",
    "INBOX",
    "Appended",
    "Batch",
    "Conflict",
    "Consumer",
    "Delivery",
    "Draft",
    "DueTimer",
    "EventLog",
    "IdCollision",
    "LogError",
    "LogUnavailable",
    "Recorded",
    "Timer",
    "guard",
    "of_execution",
]
