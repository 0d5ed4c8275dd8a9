"""Questions over request and reply: ``{topic}.{tenant}.{verb}``, JSON both ways. Each topic has one who answers:
``qry`` the projections, ``learn`` the learner.

An answer is ``{"ok": …}`` or ``{"error": {"code", "message", "hint"}}``. Any NATS client can ask; a tenant's account
reaches its own questions only.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from events.log import LogError, LogUnavailable
from events.log.connection import LeanClient

log = logging.getLogger(__name__)

Answerer = Callable[[str, str, dict[str, Any]], Awaitable[Any]]
"""Gets tenant, verb and the question's fields; gives anything JSON can hold."""
MAX_ANSWER = 7 * 1024 * 1024
QUERIES = "qry"
"""The topic that the projections answer."""
LEARNING = "learn"
"""The topic that the learner answers."""
EVERYBODY = "~all"
"""The tenant in whose name only the operator can ask: sees all."""


class Refused(LogError):
    """A question has no answer, and why."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.hint = hint


async def answer(client: LeanClient, answerer: Answerer, *, topic: str = QUERIES) -> Callable[[], Awaitable[None]]:
    """Answer questions with a function until the returned one is called."""
    running: set[asyncio.Task[None]] = set()

    async def reply_to(subject: str, reply: str, body: bytes) -> None:
        _, tenant, verb = subject.split(".", 2)
        try:
            asked = msgspec.json.decode(body, type=dict[str, Any]) if body else {}
            raw = msgspec.json.encode({"ok": await answerer(tenant, verb, asked)})
            if len(raw) > MAX_ANSWER:
                raise Refused("too-large", f"the answer takes {len(raw):,} bytes", "ask for less with limit or after")
        except Refused as refused:
            fault = {"code": refused.code, "message": str(refused), "hint": refused.hint}
            raw = msgspec.json.encode({"error": fault})
        except msgspec.DecodeError as error:
            fault = {"code": "undecodable", "message": f"the question cannot be read: {error}", "hint": "send JSON"}
            raw = msgspec.json.encode({"error": fault})
        except Exception as error:
            log.exception("the question %s failed", subject)
            fault = {"code": "internal", "message": f"{type(error).__name__}: {error}", "hint": "see the engine's log"}
            raw = msgspec.json.encode({"error": fault})
        await client.publish(reply, raw)

    def handler(subject: str, reply: str, headers: bytes, body: bytes) -> None:
        if reply:
            task = asyncio.create_task(reply_to(subject, reply, body))
            running.add(task)
            task.add_done_callback(running.discard)

    subscription = await client.listen(f"{topic}.*.*", handler)

    async def end() -> None:
        await client.unlisten(subscription)
        if running:
            await asyncio.wait(set(running), timeout=2.0)

    return end


async def ask(
    client: LeanClient, tenant: str, verb: str, *, topic: str = QUERIES, timeout: float = 30.0, **fields: Any
) -> Any:
    """Ask a question. Raises Refused with the answerer's reason, LogUnavailable if nobody answers."""
    try:
        _, data = await client.ask(f"{topic}.{tenant}.{verb}", msgspec.json.encode(fields), timeout=timeout)
    except TimeoutError as error:
        raise LogUnavailable(f"no answer to {verb} in {timeout:g} s") from error
    answered = msgspec.json.decode(data)
    if "error" in answered:
        fault = answered["error"]
        raise Refused(fault["code"], fault["message"], fault.get("hint", ""))
    return answered["ok"]
