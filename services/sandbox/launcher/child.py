"""From a fresh fork to the command: everything between fork and exec."""

from __future__ import annotations

import os
import resource
from typing import Any, NoReturn

from . import isolate, kernel, landlock, tree

LIMITS = (
    ("cpu_seconds", resource.RLIMIT_CPU, 1),
    ("file_bytes", resource.RLIMIT_FSIZE, 0),
    ("processes", resource.RLIMIT_NPROC, 0),
    ("open_files", resource.RLIMIT_NOFILE, 0),
    ("data_bytes", resource.RLIMIT_DATA, 0),
    ("memory_bytes", resource.RLIMIT_AS, 0),  # last: from here on this process cannot grow much either
)
"""Field of `Limits`, what the kernel calls it, and by how much the hard limit is above the soft one."""


def become(command: dict[str, Any], stdin: int, output: int, failure: int, parent: int) -> NoReturn:
    """Become the command. When that cannot be done, write the reason to `failure` and exit; never returns.

    `failure` must close on exec, as must every other descriptor: end of file without a text means success. No
    signal may be ignored or blocked here, because exec would keep that.
    """
    argv, env, cwd = command["argv"], command["env"], command["cwd"]
    step = "cannot prepare the process"
    try:
        os.setsid()
        tree.die_with_parent()
        if os.getppid() != parent:
            os._exit(1)
        for target, source in enumerate((stdin, output, output)):
            os.dup2(source, target)
        os.umask(0o022)
        tree.die_first()
        confined = command["confined"]
        if confined is not None and confined["base"]:
            step = "cannot build the sandbox"
            isolate.settle(confined["base"], confined["places"], confined["write"])
        step = f"cannot enter the folder {cwd!r}"
        os.chdir(cwd)
        step = "cannot set the limits"
        limit(command["limits"])
        tree.renounce_privileges()
        if confined is not None:
            step = "cannot confine the process"
            confine(confined)
        step = f"cannot execute {argv[0]!r}"
        os.execvpe(argv[0], argv, env)
    except OSError as error:
        os.write(failure, f"{step}: {error.strerror}".encode())
    except BaseException as error:
        os.write(failure, f"{step}: {error}".encode())
    os._exit(127)


def confine(confined: dict[str, Any]) -> None:
    """Give up all rights but those granted. Raises OSError."""
    kernel.drop_capabilities()
    if confined["base"]:
        read, write, devices = ["/"], [*confined["write"], *isolate.SCRATCH], ["/dev"]
    else:
        read, write = confined["read"], confined["write"]
        devices = [*(f"/dev/{name}" for name in isolate.DEVICES), "/dev/pts", "/dev/ptmx"]
    closed = confined["closed"] and not confined["base"]  # a network of its own is closed, and free inside
    landlock.restrict(
        read=read, write=write, devices=devices, closed=closed or bool(confined["ports"]), ports=confined["ports"]
    )


def limit(wanted: dict[str, int | None]) -> None:
    """Set the limits of this process, none above what it has now. No core files in any case."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for name, kind, margin in LIMITS:
        value = wanted[name]
        if value is None:
            continue
        hard = resource.getrlimit(kind)[1]
        soft, ceiling = value, value + margin
        if hard != resource.RLIM_INFINITY:
            soft, ceiling = min(soft, hard), min(ceiling, hard)
        resource.setrlimit(kind, (soft, ceiling))
