"""Channels: how a message gets to people. Each module speaks one protocol; ``build`` makes them from the settings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from schemas.notify import Severity

SHORTEST = 4
"""Characters of a secret that is looked for in texts; what is shorter would be found in every word."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Attachment:
    """A file that goes along."""

    name: str
    media: str
    data: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """What a channel is to deliver."""

    id: str
    """The same for a repetition of the same message; who receives may drop it."""
    tenant: str
    severity: Severity
    title: str
    text: str
    speech: str
    """The same in 8 to 16 words."""
    at: str
    """When the newest event happened (RFC 3339)."""
    notices: tuple[dict[str, Any], ...] = field(default_factory=tuple)
    """Each thing that it covers: kind, execution, task, event, id, and the fields of templates."""
    attachments: tuple[Attachment, ...] = ()

    def body(self) -> dict[str, Any]:
        """As programs get it: webhooks and plugins."""
        return {
            "id": self.id, "tenant": self.tenant, "severity": self.severity, "title": self.title, "text": self.text,
            "speech": self.speech, "at": self.at, "notices": list(self.notices),
        }  # fmt: skip


class ChannelError(Exception):
    """A message was not taken. ``again``: trying again makes sense; ``after``: not before so many seconds."""

    def __init__(self, reason: str, *, again: bool = True, after: float | None = None) -> None:
        super().__init__(reason)
        self.again = again
        self.after = after


class Absent(Exception):
    """Nobody asked for this channel and it is not there: nothing is lost and nobody has to know."""


class Sender(Protocol):
    """Delivers messages; blocking, in a thread of its own."""

    def send(self, message: Message, timeout: float) -> None:
        """Deliver, or raise ChannelError or Absent. ``timeout`` in seconds."""
        ...


def redacted(text: str, secrets: Iterable[str]) -> str:
    """A text without any of the secrets."""
    for secret in secrets:
        if len(secret) >= SHORTEST:
            text = text.replace(secret, "***")
    return text
