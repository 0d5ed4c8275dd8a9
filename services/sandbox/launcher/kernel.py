"""System calls that Python has no function for, by number: the same on all architectures named in `NUMBERS`."""

from __future__ import annotations

import ctypes
import os
import struct
import sys

LINUX = sys.platform == "linux"
NUMBERS = {"x86_64": 155, "aarch64": 41, "riscv64": 41, "loongarch64": 41}
"""The number of pivot_root by machine. The newer calls (Landlock, mount_setattr) have one number everywhere."""

NEWNS, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET = (
    0x00020000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000,
)  # fmt: skip
RDONLY, NOSUID, NODEV, NOEXEC = 1, 2, 4, 8
BIND, REC, PRIVATE, DETACH = 0x1000, 0x4000, 1 << 18, 2
AT_RECURSIVE = 0x8000
_MOUNT_SETATTR = 442
_SET_SECUREBITS = 28
_NO_ROOT = 0b10101111
"""User 0 gains nothing by being 0, capabilities are not kept or made ambient; all locked (linux/securebits.h)."""
_CAPABILITY_VERSION = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True) if LINUX else None
if _libc is not None:
    _libc.syscall.restype = ctypes.c_long


def known() -> bool:
    """Whether this machine's numbers are known."""
    return LINUX and os.uname().machine in NUMBERS


def invoke(name: str, *arguments: object) -> int:
    """Call a function of the C library that sets errno. Raises OSError, which names the function."""
    assert _libc is not None
    result: int = getattr(_libc, name)(*arguments)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def syscall(name: str, number: int, *arguments: object) -> int:
    """Make a system call. Raises OSError, which names it."""
    assert _libc is not None
    result = int(_libc.syscall(ctypes.c_long(number), *arguments))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")
    return result


def unshare(flags: int) -> None:
    """Leave namespaces for new ones. Raises OSError."""
    invoke("unshare", ctypes.c_int(flags))


def mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    """Mount. Raises OSError, which names the target."""
    try:
        invoke(
            "mount", os.fsencode(source), os.fsencode(target), kind.encode() if kind else None,
            ctypes.c_ulong(flags), options.encode() or None,
        )  # fmt: skip
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror} at {target}") from None


def bind(source: str, target: str) -> None:
    """Show a file or folder, with what is mounted in it, in another place as well. Raises OSError."""
    mount(source, target, None, BIND | REC)


def read_only(target: str, value: bool = True, *, recursive: bool = True) -> None:
    """Make a mount read-only, or writable again; with `recursive` all mounts below as well. Raises OSError."""
    wanted = struct.pack("=QQQQ", RDONLY if value else 0, 0 if value else RDONLY, 0, 0)
    syscall(
        "mount_setattr", _MOUNT_SETATTR, ctypes.c_int(-100), os.fsencode(target),
        ctypes.c_uint(AT_RECURSIVE if recursive else 0), wanted, ctypes.c_size_t(len(wanted)),
    )  # fmt: skip


def pivot_root(new: str, old: str) -> None:
    """Make `new` the root, and show what was the root at `old` below it. Raises OSError."""
    syscall("pivot_root", NUMBERS[os.uname().machine], os.fsencode(new), os.fsencode(old))


def unmount(target: str) -> None:
    """Take a mount out of sight; it goes when nobody uses it any more. Raises OSError."""
    invoke("umount2", os.fsencode(target), ctypes.c_int(DETACH))


def drop_capabilities() -> None:
    """Hold no capability any more, and gain none by executing: root is then an ordinary user. Raises OSError."""
    if os.geteuid() == 0 or _holds_any():
        invoke("prctl", ctypes.c_int(_SET_SECUREBITS), ctypes.c_ulong(_NO_ROOT), *[ctypes.c_ulong(0)] * 3)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    invoke("capset", header, (ctypes.c_uint32 * 6)())


def _holds_any() -> bool:
    header, data = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0), (ctypes.c_uint32 * 6)()
    invoke("capget", header, data)
    return any(data)
