"""Landlock: the kernel's own rules about paths, TCP ports, signals and sockets, for a process that gives up rights.

The access bits and structures are those of linux/landlock.h; what each version of the interface (ABI) adds is in the
kernel's documentation (userspace-api/landlock).
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from collections.abc import Iterable

from . import kernel

_CREATE, _ADD, _RESTRICT = 444, 445, 446
_BENEATH, _PORT = 1, 2

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
BIND_TCP, CONNECT_TCP = 1, 2
ABSTRACT_SOCKETS, SIGNALS = 1, 2
READ = EXECUTE | READ_FILE | READ_DIR
_OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
_ADDED = {1: (1 << 13) - 1, 2: REFER, 3: TRUNCATE, 5: IOCTL_DEV}
"""The file rights that each ABI can govern for the first time."""


def abi() -> int:
    """The version of the kernel's interface; 0 where there is none, or where it is switched off."""
    if not kernel.known():
        return 0
    try:
        return kernel.syscall("landlock", _CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    except OSError:
        return 0


def restrict(
    *, read: Iterable[str], write: Iterable[str], devices: Iterable[str], closed: bool, ports: Iterable[int] = ()
) -> None:
    """Confine this process and all that descend from it. Paths that do not exist are left out. Raises OSError.

    `closed`: no TCP connection but to `ports`, and no listening. Signals and abstract sockets reach only those who are
    confined with it.
    """
    version = abi()
    files = sum(bits for since, bits in _ADDED.items() if since <= version)
    network = BIND_TCP | CONNECT_TCP if closed and version >= 4 else 0
    scoped = ABSTRACT_SOCKETS | SIGNALS if version >= 6 else 0
    attributes = struct.pack("=QQQ", files, network, scoped)[: 8 if version < 4 else 16 if version < 6 else 24]
    ruleset = kernel.syscall(
        "landlock_create_ruleset", _CREATE, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0)
    )
    try:
        for path in read:
            _allow(ruleset, path, READ & files)
        for path in write:
            _allow(ruleset, path, files & ~IOCTL_DEV)
        for path in devices:
            _allow(ruleset, path, (READ_FILE | READ_DIR | WRITE_FILE | IOCTL_DEV) & files)
        for port in ports if network else ():
            _add(ruleset, _PORT, struct.pack("=QQ", CONNECT_TCP, port))
        kernel.syscall("landlock_restrict_self", _RESTRICT, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        target = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(target).st_mode):
            rights &= _OF_FILES
        _add(ruleset, _BENEATH, struct.pack("=Qi", rights, target))
    finally:
        os.close(target)


def _add(ruleset: int, kind: int, rule: bytes) -> None:
    kernel.syscall("landlock_add_rule", _ADD, ctypes.c_int(ruleset), ctypes.c_int(kind), rule, ctypes.c_uint32(0))
