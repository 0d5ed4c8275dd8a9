"""Where this engine may make control groups: the parent folder for each controller, in version 1 or version 2."""

from __future__ import annotations

import os
import sys
from pathlib import Path

CONTROLLERS = ("memory", "pids", "cpu", "cpuacct")


def parents(proc: Path = Path("/proc/self")) -> dict[str, str]:
    """Folders by controller in which groups can be made; empty where there are none, or no right to.

    Version 1: below this process's own group. Version 2: below its own group too if that passes its controllers on,
    and otherwise, for root, at the top, because a group that holds processes cannot pass any on.
    """
    if sys.platform != "linux":
        return {}
    try:
        own = [line.split(":", 2) for line in (proc / "cgroup").read_text().splitlines()]
        mounts = [line.split() for line in (proc / "mountinfo").read_text().splitlines()]
    except OSError:
        return {}
    found: dict[str, str] = {}
    for _, names, group in own:
        if not names:
            found = {**_second(mounts, group), **found}
            continue
        for name in set(names.split(",")) & set(CONTROLLERS):
            folder = next((_inside(m, group) for m in mounts if "cgroup" in m and name in m[-1].split(",")), None)
            if folder and os.access(folder, os.W_OK):
                found[name] = folder
    return found


def _second(mounts: list[list[str]], group: str) -> dict[str, str]:
    """Version 2."""
    for mount in (m for m in mounts if "cgroup2" in m):
        for folder in (_inside(mount, group), mount[4]):
            try:
                passed = (Path(folder) / "cgroup.subtree_control").read_text().split()
            except OSError:
                continue
            if os.access(folder, os.W_OK) and "memory" in passed:
                return {name: folder for name in CONTROLLERS if name in passed}
    return {}


def _inside(mount: list[str], group: str) -> str:
    """The folder of a group in a mount, which may show a part of the hierarchy only."""
    root, point = mount[3], mount[4]
    below = group.removeprefix(root) if root != "/" and group.startswith(root) else group
    return os.path.normpath(f"{point}/{below.lstrip('/')}")
