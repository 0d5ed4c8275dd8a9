"""What a running command takes from the machine, measured from outside: nothing that it says about itself counts."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from services.sandbox.launcher import tree

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Taken:
    """CPU time of a command's whole tree so far, its dead included, and the memory that it holds now."""

    cpu_seconds: float
    memory_bytes: int
    """Resident sets added up: what processes share counts for each."""


@runtime_checkable
class Measurable(Protocol):
    """A running command that knows better than the process tree what it takes, such as a container."""

    async def measure(self) -> Taken | None:
        """What it takes now; None when nobody can say. May be called from the start until after the end."""
        ...


def of_tree(pid: int, start_ticks: int) -> Taken | None:
    """What a command and all below its keeper take, where `pid` and `start_ticks` are the command's; None if gone.

    The keeper adopts and collects whoever loses its parent, so that the CPU time of the dead is found in its own
    figures. Linux only; elsewhere None.
    """
    if not tree.LINUX:
        return None
    own = tree.stat(pid)
    if not own or (start_ticks and int(own[19]) != start_ticks):
        return None
    keeper = int(own[1])
    above = tree.stat(keeper)
    if not above:
        return None
    ticks, pages = int(above[13]) + int(above[14]), 0
    for each in tree.descendants(keeper):
        fields = tree.stat(each)
        if fields:
            ticks += sum(map(int, fields[11:15]))
            pages += int(fields[21])
    return Taken(ticks / TICKS, pages * PAGE)
