"""The launcher: a small process that forks, so that the engine need not. Imports nothing but light standard modules.

The engine starts it once (`serve`). Every command has a keeper (`keeper`), a fork of the launcher, which forks the
command (`child`) and stays above its whole tree (`tree`). In the launcher's own process this package is called
`launcher`, without its parents, and sees the standard library only.

The engine asks for keepers and drops those that do not answer (`MESSAGE` with FORK or DROP); the launcher answers FORK
with KEEPER, the keeper's pid and a socket to it. On that, both sides talk in lines of JSON. The engine sends the
command, with the descriptors for its output and, unless that is empty, its stdin; later `{"kill": grace}` at will. The
keeper sends `{"started": pid, ...}` and later the end, or else `{"failed": text}`, or `{"refused": text}` when nothing
has run because the launcher is gone. When a keeper is killed, the launcher kills what it has left behind and then says
`{"lost": true}` in its place.
"""

import array
import socket
import struct

MESSAGE = struct.Struct("=cI")
"""A word and the pid of a keeper (0 where there is none)."""
FORK, DROP = b"F", b"D"
"""What the engine says."""
READY, KEEPER, BUSY = b"R", b"K", b"B"
"""What the launcher says; BUSY: it cannot fork, for the errno that is in the place of the pid."""


def receive(channel: socket.socket, size: int) -> tuple[bytes, list[int]]:
    """Take up to `size` bytes with at most two descriptors, which do not outlive an exec. Raises OSError."""
    descriptors = array.array("i")
    space = socket.CMSG_SPACE(2 * descriptors.itemsize)
    data, ancillary, _, _ = channel.recvmsg(size, space, getattr(socket, "MSG_CMSG_CLOEXEC", 0))
    for _, _, part in ancillary:
        descriptors.frombytes(part)
    return data, list(descriptors)
