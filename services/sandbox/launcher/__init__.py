"""The launcher: a small process that forks, so that the engine need not. Imports nothing but light standard modules.

The engine starts it once (`serve`). Every command has a keeper (`keeper`), a fork of the launcher, which forks the
command (`child`) and stays above its whole tree (`tree`). In the launcher's own process this package is called
`launcher`, without its parents, and sees the standard library only.

On its socket the launcher reads requests, `REQUEST` each. Engine and keeper talk over a socket per command in lines of
JSON. The engine sends the command, then `{"kill": grace}` at will. The keeper sends `{"keeper": pid}`, then
`{"started": pid, ...}` or `{"failed": text}`, then the end. When a keeper is killed, the launcher kills what the keeper
has left behind and then says `{"lost": true}` in its place.
"""

import array
import socket
import struct

REQUEST = struct.Struct("=cI")
"""An operation and the pid of a keeper (0 for START)."""
START = b"S"
"""Comes with descriptors: the control socket, the output, and stdin unless that is empty."""
DROP = b"D"
"""Kill this keeper, which no longer answers."""
READY = b"R"
"""The launcher's only word to the engine."""


def receive(channel: socket.socket) -> tuple[bytes, list[int]]:
    """Take one request with its descriptors, which do not outlive an exec. Empty at the end. Raises OSError."""
    descriptors = array.array("i")
    space = socket.CMSG_SPACE(3 * descriptors.itemsize)
    data, ancillary, _, _ = channel.recvmsg(REQUEST.size, space, getattr(socket, "MSG_CMSG_CLOEXEC", 0))
    for _, _, part in ancillary:
        descriptors.frombytes(part)
    return data, list(descriptors)
