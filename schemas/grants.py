"""What a task may use and reach, as accepted. Sizes are bytes; 0 is "no limit", None is "not said"."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Literal, cast, get_args

Level = Literal["process", "landlock", "bwrap", "docker"]
LEVELS = cast(tuple[Level, ...], get_args(Level))
"""The sandboxes, from the weakest to the strongest (docs/adr/0014-sandbox-levels.md)."""
Network = Literal["none", "host"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskLimits:
    """Limits of one task's whole tree of processes."""

    memory: int | None = None
    cpu: float | None = None
    """Processors' worth of time."""
    cpu_time: float | None = None
    """Seconds of processor time of any single process."""
    processes: int | None = None
    file_size: int | None = None
    """The largest that any single file may become."""
    open_files: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Isolation:
    """What a plan says about all its tasks, or about one."""

    limits: TaskLimits = field(default_factory=TaskLimits)
    network: Network | None = None
    ports: tuple[int, ...] = ()
    """TCP ports that may be connected to, where the network is not `host`."""
    read: tuple[str, ...] = ()
    """Absolute paths that may be read besides what every program needs."""
    write: tuple[str, ...] = ()
    """Absolute paths that may be written."""

    def reaches(self, port: int) -> bool:
        """Whether a TCP port outside may be connected to."""
        return self.network == "host" or port in self.ports


DEFAULTS = TaskLimits(memory=2 * 1024**3, cpu=0, cpu_time=0, processes=512, file_size=2 * 1024**3, open_files=0)
"""What holds where neither task nor policy says anything. The 2 GB of a customer's execution
(EX-18) are a limit above these, for all its tasks together."""


def resolved(policy: Isolation, task: Isolation) -> Isolation:
    """What holds for a task: what it says itself, then what its policy says, then `DEFAULTS`. Paths are joined."""
    limits = DEFAULTS
    for said in (policy.limits, task.limits):
        given = {f.name: value for f in fields(said) if (value := getattr(said, f.name)) is not None}
        limits = replace(limits, **given)
    speaks = task if task.network or task.ports else policy
    return Isolation(
        limits=limits, network=speaks.network or "none", ports=speaks.ports,
        read=(*policy.read, *task.read), write=(*policy.write, *task.write),
    )  # fmt: skip
