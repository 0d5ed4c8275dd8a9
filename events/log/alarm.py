"""A timer that is set much more often than it rings: it is left running and looks at the clock when it does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Alarm:
    """Calls a function once the moment that was set last has come; of the running loop.

    Setting and cancelling a timer of the loop for each message costs more than the message. This one costs a timer
    only when it has run out, or when it is to ring earlier than it would.
    """

    def __init__(self, ring: Callable[[], object]) -> None:
        self._ring = ring
        self._loop = asyncio.get_running_loop()
        self._due = 0.0
        self._handle: asyncio.TimerHandle | None = None

    def within(self, seconds: float) -> None:
        """Ring so many seconds from now, and not at the moment that was set before."""
        self._due = self._loop.time() + seconds
        if self._handle is not None and self._handle.when() > self._due:
            self._handle.cancel()
            self._handle = None
        if self._handle is None:
            self._handle = self._loop.call_at(self._due, self._look)

    def cancel(self) -> None:
        """Do not ring."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _look(self) -> None:
        if self._loop.time() < self._due:
            self._handle = self._loop.call_at(self._due, self._look)
            return
        self._handle = None
        self._ring()
