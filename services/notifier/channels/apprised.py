"""Everything that Apprise speaks, ntfy, Discord and e-mail among it. The one module that imports it, when needed."""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import quote, urlsplit

from services.notifier.channels import Attachment, ChannelError, Message

LEVELS = {"info": "info", "warning": "warning", "error": "failure", "critical": "failure"}


class Apprised:
    """One address in Apprise's notation."""

    def __init__(self, url: str, *, attach: bool = False) -> None:
        self.url = url
        self.attach = attach
        self._apprise: Any = None

    def send(self, message: Message, timeout: float) -> None:
        """Have Apprise deliver it."""
        import apprise

        if self._apprise is None:
            joined = "&" if "?" in self.url else "?"
            prepared = apprise.Apprise()
            with _quiet("apprise"):
                taken = prepared.add(f"{self.url}{joined}cto={timeout:g}&rto={timeout:g}")
            if not taken:
                raise ChannelError("Apprise does not know this address, or lacks a library for it", again=False)
            self._apprise = prepared
        files = [_attach(a) for a in message.attachments if self.attach]
        with _quiet("apprise") as said:
            taken = self._apprise.notify(
                body=message.text, title=message.title, notify_type=LEVELS[message.severity],
                body_format="text", attach=files or None,
            )  # fmt: skip
        if not taken:
            raise ChannelError(said.last or "the service did not take it")


def _attach(attachment: Attachment) -> Any:
    from apprise.attachment.memory import AttachMemory

    make: Any = AttachMemory
    return make(attachment.data, name=attachment.name, mimetype=attachment.media)


class _quiet(logging.Handler):
    """Keeps what Apprise logs out of ours (it names addresses), but the service's own refusal for the reason."""

    def __init__(self, name: str) -> None:
        super().__init__(logging.WARNING)
        self._logger = logging.getLogger(name)
        self.last = ""

    def emit(self, record: logging.LogRecord) -> None:
        words = record.getMessage().split("error=")
        self.last = f"the service answers {words[1].rstrip('.').strip()}" if len(words) > 1 else self.last

    def __enter__(self) -> _quiet:
        self._before = self._logger.propagate
        self._logger.propagate = False
        self._logger.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self)
        self._logger.propagate = self._before


def ntfy_url(topic: str, *, server: str | None = None, token: str | None = None) -> str:
    """Apprise's notation for a topic, which may itself be given as ``https://server/topic``."""
    if "://" in topic:
        server, _, topic = topic.rstrip("/").rpartition("/")
    if server is None:
        server = "https://ntfy.sh"
    parts = urlsplit(server)
    scheme = "ntfy" if parts.scheme == "http" else "ntfys"
    who = f"{quote(token, safe='')}@" if token else f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
    return f"{scheme}://{who}{parts.netloc.rpartition('@')[2]}/{quote(topic, safe='')}"
