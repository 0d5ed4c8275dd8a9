"""The level `landlock`: the kernel's own rules, and namespaces with a root of their own where they are to be had."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from services.sandbox import Access, Command, OnOutput, SandboxUnavailable
from services.sandbox.launcher import landlock
from services.sandbox.process import ProcessRunning, ProcessSandbox
from services.sandbox.view import USER, hidden, places, system

SIGNALS_SINCE = 6
"""The ABI of Landlock from which signals are confined without a process namespace."""
ALONE_READ = ("/proc", "/sys/devices/system/cpu")
"""Further reads where there is no root of its own. Other processes' secrets in /proc stay closed all the same."""


def _users() -> dict[str, str]:
    """Who there is inside, for programs that ask for their own name."""
    user, group = inner_user()
    return {
        "/etc/passwd": f"root:x:0:0:root:/root:/bin/sh\ntask:x:{user}:{group}:task:/tmp:/bin/sh\n"
        "nobody:x:65534:65534:nobody:/nonexistent:/bin/false\n",
        "/etc/group": f"root:x:0:\ntask:x:{group}:\nnogroup:x:65534:\n",
    }


def inner_user() -> tuple[int, int]:
    """User and group inside: the engine's own, but never root."""
    return os.geteuid() or USER, os.getegid() or USER


class LandlockSandbox:
    """Runs commands that can write only what is granted, and reach nobody outside."""

    level = "landlock"

    def __init__(
        self, state: Path, search: str, cgroups: Mapping[str, str] | None = None, *, namespaces: bool = True
    ) -> None:
        """`state` is the engine's state folder, `search` the PATH whose tools commands may run.

        Without `namespaces`, Landlock's rules alone must do, as on hosts that have none.
        """
        self._kept = hidden(state)
        self._view = system(search, self._kept)
        base = state / "sandbox" / "root"
        base.mkdir(parents=True, exist_ok=True)
        self._base = str(base.resolve())
        self._cgroups = dict(cgroups or {})
        user, group = inner_user()
        common = {
            "base": self._base, "user": user, "group": group, "links": self._view.links, "files": _users(),
            "show": {path: os.path.isdir(path) for path in self._view.show},
        }  # fmt: skip
        self._namespaces = namespaces
        self._closed = ProcessSandbox(cgroups, {**common, "closed": True} if namespaces else None)
        self._open = ProcessSandbox(cgroups, {**common, "closed": False} if namespaces else None)

    async def start(self, command: Command, on_output: OnOutput) -> ProcessRunning:
        """See `Sandbox`."""
        access = command.access
        closed = access.network == "none"
        inner = self._closed if closed and not access.ports else self._open
        refusal = await inner.refusal()
        if refusal and landlock.abi() < SIGNALS_SINCE:
            raise SandboxUnavailable(f"there are no namespaces here: {os.strerror(refusal)}")
        return await inner.start(
            command, on_output, self._confined(access, closed, isolated=self._namespaces and not refusal)
        )

    async def close(self) -> None:
        """See `Sandbox`."""
        await self._closed.close()
        await self._open.close()

    async def missing(self) -> str:
        """Which namespaces cannot be had, and why; empty if all can. Raises SandboxUnavailable."""
        refusal = await self._closed.refusal()
        if not refusal:
            return ""
        return f"no namespaces ({errno.errorcode.get(refusal, refusal)}: {os.strerror(refusal)})"

    def _confined(self, access: Access, closed: bool, *, isolated: bool) -> dict[str, Any]:
        write, shown = places(access.write), places(access.read)
        together = sorted((shown | write).items(), key=lambda item: len(item[0]))
        read = [*shown.values()]
        if not isolated:
            read += [*self._view.show, *ALONE_READ]
        return {
            "base": self._base if isolated else "", "places": dict(together), "read": read, "write": [*write],
            "closed": closed, "ports": list(access.ports),
        }  # fmt: skip
