"""A slow disk under a server that runs: strace holds up each of its fsyncs, as a disk would that is busy."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from pathlib import Path

DELAY = 0.03
"""Seconds that each fsync takes longer."""


async def slowed(pids: list[int], seconds: float, trace: Path) -> int:
    """Hold up what the processes write for a while; gives how many writes were held up: none where strace may not."""
    program = shutil.which("strace")
    if program is None or not pids:
        await asyncio.sleep(seconds)
        return 0
    calls = "fsync,fdatasync"
    words = ["-f", "-qq", "-o", str(trace), "-e", f"trace={calls}"]
    words += ["-e", f"inject={calls}:delay_enter={DELAY * 1e6:.0f}", *(w for pid in pids for w in ("-p", str(pid)))]
    quiet = asyncio.subprocess.DEVNULL
    tracer = await asyncio.create_subprocess_exec(program, *words, stdin=quiet, stdout=quiet, stderr=quiet)
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await tracer.wait()
    finally:
        with contextlib.suppress(ProcessLookupError):
            tracer.terminate()  # it lets go of what it traces
        await tracer.wait()
    return trace.read_text(errors="replace").count("(DELAYED)") if trace.exists() else 0
