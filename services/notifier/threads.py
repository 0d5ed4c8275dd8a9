"""Blocking calls of channels: each in a thread of its own, with a limit, and never in the way of the program's end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def in_thread(call: Callable[[], T], *, name: str) -> T:
    """Run a blocking call without the pool that everybody else uses. Cancelling leaves the thread to its own end.

    Whatever the call raises, SystemExit included, is raised here as an Exception.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: Exception | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def work() -> None:
        result, error = None, None
        try:
            result = call()
        except Exception as raised:
            error = raised
        except BaseException as raised:
            error = RuntimeError(f"{type(raised).__name__}: {raised}")
        try:
            loop.call_soon_threadsafe(settle, result, error)
        except RuntimeError:  # the loop was closed meanwhile: nobody waits any more
            return

    threading.Thread(target=work, name=f"notify-{name}", daemon=True).start()
    return await future
