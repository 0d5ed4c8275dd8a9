"""Sandboxes: run one command with its whole process tree under control, and leave nothing of it behind.

This page is the interface, the same for all levels: `process`, `landlock`, `bwrap`, `docker`, each in a module of its
name. `services.sandbox.levels` chooses between them. What each level stops is in docs/sandboxes.md.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

OnOutput = Callable[[bytes], Awaitable[None]]
"""Takes a chunk of output, 1 byte to 64 KiB. While it is awaited the command blocks on its pipe."""


class SandboxError(Exception):
    """A sandbox could not do what it was asked for."""


class StartFailed(SandboxError):
    """The command was not executed: the program or the folder is missing, or a limit was refused. Nothing has run."""


class SandboxUnavailable(SandboxError):
    """The sandbox itself is not there: it is closed, or its own processes do not start or were killed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What a process of the command may use. None leaves what the engine itself has.

    The first five are counted per process, not per tree, except `processes`, which the kernel counts per user and not
    at all for root; none is raised above the engine's own. The last three are the whole tree's, by control groups or by
    a container engine; see each for what holds where there are none.
    """

    cpu_seconds: int | None = None
    """SIGXCPU at this many seconds, SIGKILL one second later."""
    memory_bytes: int | None = None
    """Address space: beyond it, allocations fail."""
    file_bytes: int | None = None
    """SIGXFSZ when a file would grow beyond it. Pipes do not count."""
    processes: int | None = None
    open_files: int | None = None
    tree_memory_bytes: int | None = None
    """Memory of the whole tree; where there are no control groups, the data of each single process."""
    tree_processes: int | None = None
    """Without control groups it binds only in namespaces of an engine that does not run as root."""
    cpus: float | None = None
    """Processors' worth of time; without control groups there is no such limit."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Access:
    """What a command may reach besides what every program needs to run. The level `process` cannot enforce it."""

    read: tuple[Path, ...] = ()
    write: tuple[Path, ...] = ()
    own: tuple[Path, ...] = ()
    """Those of `write` that are the engine's own: a container's user owns them for the time of the command."""
    network: Literal["none", "host"] = "none"
    ports: tuple[int, ...] = ()
    """TCP ports that it may connect to, though the network is `none`: for the level `landlock` only."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """One program to run. Raises ValueError for an empty argv or times below zero."""

    argv: tuple[str, ...]
    """Program and arguments; a program without a slash is looked up in the PATH of `env`. There is no shell."""
    cwd: Path
    env: Mapping[str, str]
    """The whole environment: nothing is inherited."""
    stdin: bytes = b""
    """What the program can read before end of file."""
    limits: Limits = field(default_factory=Limits)
    access: Access = field(default_factory=Access)
    wall_seconds: float | None = None
    """Time from the start until it is killed, with its whole tree."""
    grace_seconds: float = 5.0
    """Time between SIGTERM and SIGKILL."""
    kill_leftovers: bool = True
    """Kill what still runs when the program has ended. False: wait for it, as long as `wall_seconds` allows."""

    def __post_init__(self) -> None:
        if not self.argv or not self.argv[0]:
            raise ValueError("a command needs a program: argv is empty")
        if self.grace_seconds < 0 or (self.wall_seconds is not None and self.wall_seconds < 0):
            raise ValueError("the times of a command must not be below zero")


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """How a command ended. Nothing of it is left, unless `error` says otherwise."""

    exit_code: int | None = None
    """None when a signal ended it, or when nobody knows."""
    signal: int | None = None
    timed_out: bool = False
    """`wall_seconds` were over, so it was killed."""
    killed: bool = False
    """It was killed from outside: on request, for time, or because a part of the sandbox was lost."""
    wall_seconds: float = 0.0
    """From the start to the end of the program itself."""
    cpu_seconds: float = 0.0
    """User and system time of the whole tree."""
    max_rss_bytes: int = 0
    """The largest resident set of one process. Never below about 10 MB, the size of the fork it began as."""
    peak_memory_bytes: int = 0
    """The most memory of the whole tree at a time, file cache included; 0 where nobody counts it."""
    out_of_memory: bool = False
    """The kernel ended something in it because the tree's memory was used up."""
    leftovers: int = 0
    """Processes that outlived the program and had to be killed. 0 when all were killed anyway (`killed`)."""
    error: str | None = None
    """What went wrong in the sandbox itself, such as "keeper lost"; the other fields may then be unknown."""


class Running(Protocol):
    """A command that has been started."""

    @property
    def pid(self) -> int: ...
    @property
    def pgid(self) -> int: ...
    @property
    def start_ticks(self) -> int:
        """Start of the program in clock ticks since boot: tells it from a later process with its pid. 0 if unknown."""
        ...

    async def kill(self, grace: float | None = None) -> None:
        """Ask for the end of the whole tree: SIGTERM, SIGKILL after `grace` seconds (default: the command's).

        Returns at once; `wait` tells when it is done. A second call can shorten the grace. After the end: no effect.
        """
        ...

    async def wait(self) -> Ended:
        """Wait until nothing is left and all output has been taken. Cancelling the wait does not stop the command.

        Raises what `on_output` raised; the command has been killed then.
        """
        ...


class Sandboxes(Protocol):
    """The sandboxes of a host."""

    async def choose(self, minimum: str | None, *, ports: bool = False) -> Sandbox:
        """One at least as strong as `minimum`. Raises SandboxError, whose text names the remedy, if there is none."""
        ...

    async def kill_marked(self, variable: str, value: str) -> int:
        """Kill what a dead engine has left running with `variable` set to `value`; returns how many were found."""
        ...


class Sandbox(Protocol):
    """A way to run commands."""

    level: str

    async def start(self, command: Command, on_output: OnOutput) -> Running:
        """Start a command; stdout and stderr arrive together, in the order written. No shell, no terminal.

        Raises StartFailed when the command could not be executed, SandboxUnavailable when the sandbox is not there.
        """
        ...

    async def close(self) -> None:
        """Kill all that runs, and release everything."""
        ...
