"""The voice server: ``POST /notify``. It answers when it has finished speaking, and takes 10 requests a minute."""

from __future__ import annotations

import json
import time
from urllib.parse import urlsplit

from services.notifier.channels import Absent, ChannelError, Message
from services.notifier.channels.http import request

DEFAULT_URL = "http://localhost:8888/notify"
TITLE = "Autonomous Execution"
PLACEHOLDERS = ("", "YOUR_VOICE_ID_HERE")
LOOKED = 300.0
"""Seconds for which a server that was not there is believed to be still away; a look counts against its limit."""
PRIORITY = {"info": "normal", "warning": "normal", "error": "high", "critical": "high"}


def notify_url(url: str) -> str:
    """The address of ``/notify``; the founding variable VOICE_SERVER_URL names the server only."""
    parts = urlsplit(url)
    return url if parts.path.strip("/") else parts._replace(path="/notify").geturl()


class Voice:
    """Speaks. ``optional``: nobody asked for it, so a server that does not answer is no failure."""

    def __init__(
        self, url: str, *, voice_id: str | None = None, title: str | None = None, optional: bool = False
    ) -> None:
        self.url = notify_url(url)
        self.voice_id = None if (voice_id or "") in PLACEHOLDERS or "{" in (voice_id or "") else voice_id
        self.title = title or TITLE
        self.optional = optional
        self._there = False
        self._absent_until = 0.0

    def present(self) -> bool:
        """Whether a voice server answers at its address: ``GET /health`` with 2xx; others live on that port as well."""
        try:
            request(urlsplit(self.url)._replace(path="/health").geturl(), None, timeout=2.0, method="GET")
        except ChannelError:
            return False
        return True

    def send(self, message: Message, timeout: float) -> None:
        """Have it spoken, to the end."""
        if self.optional and not self._there:
            if time.monotonic() < self._absent_until:
                raise Absent
            self._there = self.present()
            if not self._there:
                self._absent_until = time.monotonic() + LOOKED
                raise Absent
        body = {"message": message.speech, "title": self.title, "priority": PRIORITY[message.severity]}
        if self.voice_id:
            body["voice_id"] = self.voice_id
        try:
            request(self.url, json.dumps(body).encode(), headers={"Content-Type": "application/json"}, timeout=timeout)
        except ChannelError:
            self._there = False
            raise
