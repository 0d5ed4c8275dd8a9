"""The engine's ends of a command's pipes, read and written from the event loop without threads."""

from __future__ import annotations

import array
import asyncio
import fcntl
import os
import termios
from collections.abc import Callable
from io import FileIO
from typing import Any

from services.sandbox import OnOutput

CHUNK = 64 * 1024
"""Bytes taken from a pipe at a time, at most."""


async def pump(reader: int, on_output: OnOutput, ended: asyncio.Future[None]) -> None:
    """Hand over what arrives, chunk by chunk, until end of file, or until `ended` and all that was there then is taken.

    So a process that escaped with the pipe in its hands cannot keep us. Raises what `on_output` raises.
    """
    loop = asyncio.get_running_loop()

    def arm(wake: Callable[..., None]) -> None:
        loop.add_reader(reader, wake)
        ended.add_done_callback(wake)

    def disarm(wake: Callable[..., None]) -> None:
        loop.remove_reader(reader)
        ended.remove_done_callback(wake)

    left: int | None = None
    while left is None or left > 0:
        if left is None and ended.done():
            left = _waiting(reader)
            continue
        try:
            chunk = os.read(reader, CHUNK if left is None else min(left, CHUNK))
        except BlockingIOError:
            if left is not None:
                return
            await wait_for_call(arm, disarm)
            continue
        if not chunk:
            return
        if left is not None:
            left -= len(chunk)
        await on_output(chunk)
        await asyncio.sleep(0)  # a fast writer must not keep the loop to itself


async def feed(stream: FileIO, data: bytes) -> None:
    """Write all of `data` as fast as it is read, then close `stream`. A reader that goes away is no error."""
    writer = stream.fileno()
    loop = asyncio.get_running_loop()
    rest = memoryview(data)
    try:
        while rest:
            try:
                rest = rest[os.write(writer, rest[:CHUNK]) :]
            except BlockingIOError:
                await wait_for_call(lambda wake: loop.add_writer(writer, wake), lambda _: loop.remove_writer(writer))
    except BrokenPipeError:
        pass
    finally:
        stream.close()


async def wait_for_call(
    arm: Callable[[Callable[..., None]], Any], disarm: Callable[[Callable[..., None]], Any]
) -> None:
    """Wait until the callback given to `arm` is called; `disarm` gets the same one."""
    ready = asyncio.get_running_loop().create_future()

    def wake(*_: object) -> None:
        if not ready.done():
            ready.set_result(None)

    arm(wake)
    try:
        await ready
    finally:
        disarm(wake)


def _waiting(reader: int) -> int:
    """Bytes in the pipe."""
    count = array.array("i", [0])
    fcntl.ioctl(reader, termios.FIONREAD, count, True)
    return count[0]
