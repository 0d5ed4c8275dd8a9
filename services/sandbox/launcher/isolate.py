"""Namespaces of one command, and the view: a root of its own in which only what is granted exists.

The keeper enters user, process, network and IPC namespaces ahead of the command, builds what is the same for all
commands on `base`, and starts the first process of the new process namespace. The command adds its own folders and
makes that root its own. The keeper itself stays outside the process namespace, so it sees and kills as ever.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import socket
import struct
from contextlib import suppress
from typing import Any, NoReturn

from . import kernel, tree

DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
SCRATCH = ("/tmp", "/var/tmp", "/dev/shm")
"""Folders in memory, which are the command's alone."""
_OLD = "/.old"
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _UP = 0x8913, 0x8914, 1


def enter(setup: dict[str, Any]) -> None:
    """In the keeper: new namespaces, and the common part of the view. Raises OSError, which names the step."""
    user, group = os.geteuid(), os.getegid()
    flags = kernel.NEWUSER | kernel.NEWNS | kernel.NEWPID | kernel.NEWIPC | kernel.NEWUTS
    kernel.unshare(flags | (kernel.NEWNET if setup["closed"] else 0))
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{setup['user']} {user} 1")
    _write("/proc/self/gid_map", f"{setup['group']} {group} 1")
    with suppress(OSError):  # older kernels; then nested namespaces stay possible, without any rights to begin with
        _write("/proc/sys/user/max_user_namespaces", "0")
    if setup["closed"]:
        _loopback_up()
    _build(setup)


def attempt(setup: dict[str, Any]) -> int:
    """Try all of it in a process that ends at once. 0 if it works, otherwise the errno of what does not."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    status = errno.EIO
    try:
        enter(setup)
        inner = os.fork()
        if inner == 0:
            settle(setup["base"], {}, [])
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(inner, 0)[1])
    except OSError as error:
        status = error.errno or errno.EIO
    finally:
        os._exit(status)


def first(alive: int) -> NoReturn:
    """Be the first process of the namespace: collect the dead until `alive` closes, then end when nobody is left."""
    tree.die_with_parent()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, lambda *_: _collect())
    os.dup2(alive, 3)
    os.closerange(4, 1 << 20)
    os.read(3, 1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)
    os._exit(0)


def settle(base: str, places: dict[str, str], write: list[str]) -> None:
    """In the command's process: make the view its root, with these places in it. Raises OSError.

    `places` are paths and what is to be seen there, parents first; only those in `write` can be written.
    """
    kernel.unshare(kernel.NEWNS)
    kernel.read_only(base, False, recursive=False)
    os.chdir(base)
    kernel.pivot_root(".", _OLD[1:])
    os.chdir("/")
    kernel.mount("proc", "/proc", "proc", kernel.RDONLY | kernel.NOSUID | kernel.NODEV | kernel.NOEXEC)
    made = {""}
    for path, real in places.items():
        _point(path, os.path.isdir(_OLD + real), made)
        kernel.bind(_OLD + real, path)
        if path not in write:
            kernel.read_only(path)
    kernel.unmount(_OLD)
    os.rmdir(_OLD)
    kernel.read_only("/", recursive=False)


def _build(setup: dict[str, Any]) -> None:
    base = setup["base"]
    kernel.mount("none", "/", None, kernel.REC | kernel.PRIVATE)
    kernel.mount("tmpfs", base, "tmpfs", kernel.NOSUID | kernel.NODEV, "mode=755,size=16m")
    os.chdir(base)
    made = {""}
    for path, text in setup["links"].items():
        _parent(path, made)
        os.symlink(text, path[1:])
    for path, text in setup["files"].items():
        _parent(path, made)
        _write(path[1:], text, os.O_CREAT)
    for path in SCRATCH:  # before what is shown, which may lie in one of them
        _folder(path, made)
        kernel.mount("tmpfs", path[1:], "tmpfs", kernel.NOSUID | kernel.NODEV, "mode=1777")
    for path, folder in setup["show"].items():
        _point(path, folder, made)
        kernel.bind(path, path[1:])
    _folder("/dev/pts", made)
    for path in (f"/dev/{name}" for name in DEVICES):
        _point(path, False, made)
        kernel.bind(path, path[1:])
    for name, text in (("fd", "/proc/self/fd"), ("ptmx", "pts/ptmx")):
        os.symlink(text, f"dev/{name}")
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        os.symlink(f"/proc/self/fd/{number}", f"dev/{name}")
    for path in ("/proc", _OLD):
        os.mkdir(path[1:])
    kernel.read_only(base)
    for path in SCRATCH:
        kernel.read_only(path[1:], False, recursive=False)
    options = "newinstance,ptmxmode=0666,mode=620"
    kernel.mount("devpts", "dev/pts", "devpts", kernel.NOSUID | kernel.NOEXEC, options)
    os.chdir("/")


def _point(path: str, folder: bool, made: set[str]) -> None:
    """Make sure that there is something to mount on, at a path of the view, which is the current folder."""
    if folder:
        _folder(path, made)
    else:
        _parent(path, made)
        with suppress(FileExistsError):
            os.mknod(path[1:])


def _parent(path: str, made: set[str]) -> None:
    _folder(path[: path.rindex("/")], made)


def _folder(path: str, made: set[str]) -> None:
    if path not in made:
        _parent(path, made)
        made.add(path)
        with suppress(FileExistsError):
            os.mkdir(path[1:])


def _write(path: str, text: str, flags: int = 0) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | flags, 0o644)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _collect() -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = fcntl.ioctl(any_socket, _SIOCGIFFLAGS, struct.pack("16sh22x", b"lo", 0))
        flags = struct.unpack("16sh22x", request)[1]
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", flags | _UP))
