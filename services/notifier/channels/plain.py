"""Channels of this machine: a log file, and the desktop."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import msgspec

from services.notifier.channels import ChannelError, Message
from services.notifier.channels.apprised import Apprised

URGENCY = {"info": "low", "warning": "normal", "error": "normal", "critical": "critical"}
DESKTOPS = {"darwin": "macosx://", "win32": "windows://"}


class LogFile:
    """One JSON object a line."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def send(self, message: Message, timeout: float) -> None:
        """Append it."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                file.write(msgspec.json.encode(message.body()) + b"\n")
        except OSError as error:
            raise ChannelError(f"the file cannot be written: {error.strerror}") from error


class Desktop:
    """The notification area: ``notify-send`` where there is one, Apprise's own ways elsewhere."""

    def send(self, message: Message, timeout: float) -> None:
        """Show it."""
        if sys.platform in DESKTOPS:
            Apprised(DESKTOPS[sys.platform]).send(message, timeout)
            return
        program = shutil.which("notify-send")
        if program is None:
            raise ChannelError("there is no notify-send here: install libnotify", again=False)
        command = [program, f"--urgency={URGENCY[message.severity]}", "--app-name=Nightshift", "--"]
        try:
            done = subprocess.run(
                [*command, message.title, message.text], timeout=timeout, check=False,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise ChannelError(f"notify-send did not end within {timeout:g} s") from error
        if done.returncode != 0:
            raise ChannelError(f"notify-send: {done.stderr.decode(errors='replace').strip()[:200]}")
