"""From what a plan says to what a sandbox enforces."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from schemas.grants import Isolation, resolved
from services.sandbox import Access, Limits, SandboxError
from services.sandbox.view import forbidden, hidden


class GrantRefused(SandboxError):
    """A plan asks for a path that no task may have."""


def terms(policy: Isolation, task: Isolation, state: Path) -> tuple[Limits, Access]:
    """What holds for a task of a plan. Raises GrantRefused for a path that no plan may open."""
    found = resolved(policy, task)
    read, write = tuple(map(Path, found.read)), tuple(map(Path, found.write))
    check_grants((*read, *write), state)
    said = found.limits
    limits = Limits(
        cpu_seconds=math.ceil(said.cpu_time) if said.cpu_time else None, file_bytes=said.file_size or None,
        open_files=said.open_files or None, tree_memory_bytes=said.memory or None,
        tree_processes=said.processes or None, cpus=said.cpu or None,
    )  # fmt: skip
    return limits, Access(read=read, write=write, network=found.network or "none", ports=found.ports)


def check_grants(paths: Iterable[Path], state: Path) -> None:
    """Raises GrantRefused for a path that holds, or lies in, the engine's state, a user's secrets, or the host's."""
    asked = list(paths)
    found = forbidden(asked, hidden(state)) if asked else None
    if found is not None:
        raise GrantRefused(
            f"{found} cannot be granted: it holds, or is part of, the engine's state, a user's secrets or what is the "
            "host's own (devices, sockets, passwords); name exactly the folders that the task needs"
        )


def widened(access: Access, *, read: Iterable[Path] = (), write: Iterable[Path] = ()) -> Access:
    """The same with further paths, which are the engine's own to give."""
    own = tuple(write)
    return replace(access, read=(*access.read, *read), write=(*access.write, *own), own=(*access.own, *own))
