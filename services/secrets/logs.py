"""What the engine says about itself, without secrets."""

from __future__ import annotations

import logging
from collections.abc import Callable


class CleanFormatter(logging.Formatter):
    """Another formatter's lines, tracebacks included, after cleaning."""

    def __init__(self, inner: logging.Formatter, clean: Callable[[str], str]) -> None:
        super().__init__()
        self.inner = inner
        self.clean = clean

    def format(self, record: logging.LogRecord) -> str:
        return self.clean(self.inner.format(record))


def protect(clean: Callable[[str], str]) -> None:
    """Clean what the handlers of the root logger write, from now on."""
    for handler in logging.getLogger().handlers:
        formatter = handler.formatter or logging.Formatter()
        inner = formatter.inner if isinstance(formatter, CleanFormatter) else formatter
        handler.setFormatter(CleanFormatter(inner, clean))
