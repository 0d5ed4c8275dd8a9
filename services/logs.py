"""What the engine says about itself: lines that name the execution, the task and the trace they are about.

``speak_of`` holds for the asyncio task that calls it and for those that it starts, which is how services deal with
one message each.
"""

from __future__ import annotations

import datetime
import json
import logging
from contextvars import ContextVar
from dataclasses import dataclass

from events.log.spans import context_of
from schemas.names import BRANCH, EXECUTION, INBOX
from schemas.settings import Settings


@dataclass(frozen=True, slots=True)
class About:
    """What is being dealt with."""

    tenant: str
    execution: str
    task: str
    trace: str


_about: ContextVar[About | None] = ContextVar("about", default=None)


def speak_of(tenant: str, execution: str, entity: str, trace: str = "") -> None:
    """From here on, whatever this asyncio task logs is about this. ``trace`` is a traceparent or empty."""
    task = "" if entity in (EXECUTION, BRANCH, INBOX) else entity
    _about.set(About(tenant, execution, task, trace))


def fields() -> dict[str, str]:
    """What the lines logged now are about, by name; empty if that is nothing in particular."""
    about = _about.get()
    if about is None:
        return {}
    found = {
        "tenant": about.tenant, "execution": about.execution, "task": about.task,
        "trace_id": context_of(about.tenant, about.execution, about.trace).trace,
    }  # fmt: skip
    return {name: value for name, value in found.items() if value}


class TextFormatter(logging.Formatter):
    """A line for people, with what it is about behind it."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        about = " ".join(f"{name}={value}" for name, value in fields().items())
        return super().formatMessage(record) + (f" [{about}]" if about else "")


class JsonFormatter(logging.Formatter):
    """One JSON object a line, for collectors such as Loki."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        line = {
            "at": at.isoformat(timespec="microseconds").replace("+00:00", "Z"), "level": record.levelname,
            "logger": record.name, "message": record.getMessage(), **fields(),
        }  # fmt: skip
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def configure(settings: Settings) -> None:
    """Log to standard error, as the settings say."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if settings.log_format == "json" else TextFormatter())
    logging.basicConfig(level=settings.log_level, handlers=[handler])
