"""A look now and then at executions about which nothing was said for a while, whether something is due all the same.

The planner acts on triggers. Two things wait for the next one, and a trigger may be long in coming while a task runs or
is judged: a session's limit that a start has reached, and a slot that an ended task has left before its verdict. And
should there be a mistake in how triggers are kept in hand, an execution goes on a minute or two late, instead of
standing still until somebody wakes up. What was done so has the cause ``quiet:N``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from events.fold import ExecutionFold
from events.log import LogUnavailable
from schemas.names import EXECUTION
from services.folds import Folds
from services.logs import speak_of
from services.planner.decide import decide

log = logging.getLogger(__name__)

EVERY = 60.0
"""Seconds between two looks; an execution is quiet when nothing was said about it in between."""

Settle = Callable[[ExecutionFold, str], Awaitable[None]]
"""Does all that is due on a fold, in the name of a cause."""


async def look_again(folds: Folds, settle: Settle) -> None:
    """For ever: go on with every quiet execution for which something is due."""
    seen: dict[tuple[str, str], int] = {}
    while True:
        await asyncio.sleep(EVERY)
        before, seen = seen, {}
        for fold in folds.live():
            key = (fold.tenant, fold.id)
            seen[key] = fold.sequence
            if before.get(key) == fold.sequence and not fold.newer:
                await _go_on(fold, settle)
            await asyncio.sleep(0)


async def _go_on(fold: ExecutionFold, settle: Settle) -> None:
    """Do what is due, if anything is. What cannot be done was set aside as a dead letter, and is left to people."""
    speak_of(fold.tenant, fold.id, EXECUTION)
    try:
        if not decide(fold):
            return
        log.info("something is due for %s, about which nothing was said since sequence %d", fold.id, fold.sequence)
        await settle(fold, f"quiet:{fold.sequence}")
    except (LogUnavailable, TimeoutError) as error:
        log.warning("what is due for %s waits for the log: %s", fold.id, error)
    except Exception:
        log.exception("what is due for %s cannot be done; nightshift dead-letters may say more", fold.id)
