"""The launcher's main loop: fork keepers on request, and clear up after those that were killed."""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import sys
import time
from contextlib import suppress
from typing import Any

from . import DROP, READY, REQUEST, START, keeper, receive, tree

PATIENCE = 2.0
"""Seconds for keepers to end by themselves when the engine is gone."""
NO_COMMAND = -1
"""The control socket of the keeper that still waits for a command."""
SLOWEST = 0.1
"""Seconds between two rounds at orphans that do not die, at most."""


def main() -> None:
    """Serve the engine whose pid and socket are the last two arguments, until it is gone and nothing is left."""
    engine, descriptor = int(sys.argv[-2]), int(sys.argv[-1])
    os.chdir("/")
    os.set_inheritable(descriptor, False)
    ignore_no_signal()
    tree.adopt_orphans()
    watched = _watch_process(engine)
    if os.getppid() != engine:
        return
    gc.freeze()  # forks then share what is there
    gc.disable()
    Launcher(socket.socket(fileno=descriptor), watched).serve()


def ignore_no_signal() -> None:
    """Give what is ignored a handler that does nothing, and block nothing: the same for us, but exec resets handlers.

    Python ignores SIGPIPE and SIGXFSZ; whoever started the engine may have ignored more.
    """
    for number in signal.valid_signals():
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _watch_process(pid: int) -> list[int]:
    """A descriptor that becomes readable when the process ends, where the kernel has it."""
    try:
        return [os.pidfd_open(pid)]
    except (AttributeError, OSError):
        return []  # then the end of the sockets alone must tell


class Launcher:
    """The keepers that live, each with the launcher's copy of its control socket, and what killed keepers have left.

    One keeper is forked ahead and waits for its command: forking costs more than all the rest of a start.
    """

    def __init__(self, engine: socket.socket, watched: list[int]) -> None:
        self.engine = engine
        self.watched = watched
        self.keepers: dict[int, int] = {}
        self.spare = 0
        self.channel: socket.socket | None = None
        self.lost: list[int] = []
        self.lifeline, self.heart = os.pipe()
        self.wake, self.waker = os.pipe()
        for end in (self.wake, self.waker):
            os.set_blocking(end, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self.waker, warn_on_full_buffer=False)

    def serve(self) -> None:
        """Return when the engine is gone and no keeper and no orphan is left."""
        poll = select.poll()
        for descriptor in (self.engine.fileno(), self.wake, *self.watched):
            poll.register(descriptor, select.POLLIN)
        self.engine.sendall(READY)
        gone_at = 0.0
        pause: float | None = None
        self.fork()
        while True:
            self.reap()
            orphans = self.sweep()
            pause = min(SLOWEST, (pause or 0.001) * 2) if orphans else None
            if gone_at:
                self.dismiss()
                if not self.keepers and not orphans:
                    return
                self.hurry(gone_at)
                pause = pause or SLOWEST
            elif not self.spare and not poll.poll(0):
                self.fork()
            for descriptor, _ in poll.poll(None if pause is None else pause * 1000):
                if descriptor == self.wake:
                    os.read(self.wake, 4096)
                elif not self.receive(descriptor):
                    gone_at = time.monotonic()
                    for known in (self.engine.fileno(), *self.watched):
                        poll.unregister(known)
                    break

    def receive(self, descriptor: int) -> bool:
        """Take a request. False when the engine is gone."""
        if descriptor != self.engine.fileno():
            return False
        try:
            request, received = receive(self.engine)
        except OSError:
            return False
        if len(request) < REQUEST.size:
            return False
        operation, pid = REQUEST.unpack(request)
        if operation == START:
            self.start(received)
        elif operation == DROP and pid in self.keepers:
            os.kill(pid, signal.SIGKILL)
        return True

    def start(self, received: list[int]) -> None:
        """Give a command to a keeper."""
        for descriptor in received[1:]:
            os.set_inheritable(descriptor, False)
        control = received[0]
        try:
            if not self.spare or not self.hand_over(received):
                self.dismiss()
                self.fork()
                self.hand_over(received)
            self.keepers[self.spare] = control
            self.dismiss()
        except OSError as error:
            self.tell(control, {"failed": f"no keeper can be forked: {error.strerror}"})
            os.close(control)
        for descriptor in received[1:]:
            os.close(descriptor)

    def hand_over(self, received: list[int]) -> bool:
        """Send a command's descriptors to the spare keeper. False when somebody has killed it."""
        assert self.channel is not None
        try:
            socket.send_fds(self.channel, [START], received)
        except BrokenPipeError:
            return False
        return True

    def dismiss(self) -> None:
        """Let go of the spare keeper; when it has no command by now, it ends."""
        if self.channel is not None:
            self.channel.close()
        self.spare, self.channel = 0, None

    def fork(self) -> None:
        """Fork the spare keeper. Raises OSError."""
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            ours.close()
            self.become_keeper(theirs)
        theirs.close()
        self.spare, self.channel = pid, ours
        self.keepers[pid] = NO_COMMAND

    def become_keeper(self, channel: socket.socket) -> None:
        """In the fork: let go of all that is the launcher's, wait for a command, keep it, exit."""
        status = 1
        try:
            self.engine.close()
            os.dup2(0, 2)
            controls = [control for control in self.keepers.values() if control != NO_COMMAND]
            for descriptor in (self.heart, self.wake, self.waker, *controls, *self.lost):
                os.close(descriptor)
            keeper.keep(channel, [self.lifeline, *self.watched])
            status = 0
        finally:
            os._exit(status)

    def reap(self) -> None:
        """Collect the dead."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            control = self.keepers.pop(pid, None)
            if pid == self.spare:
                self.dismiss()
            if control is None or control == NO_COMMAND:
                continue
            if status == 0:
                os.close(control)
            else:
                self.lost.append(control)

    def sweep(self) -> bool:
        """Kill what has lost its keeper. True while something is left; when nothing is, say so to those who wait."""
        me = os.getpid()
        if any(pid not in self.keepers for pid in tree.children(me)):
            tree.kill(me, spare=self.keepers)
            return True
        for control in self.lost:
            self.tell(control, {"lost": True})
            os.close(control)
        self.lost.clear()
        return False

    def tell(self, control: int, message: dict[str, Any]) -> None:
        """Say something in the place of a keeper."""
        with suppress(OSError):
            os.write(control, json.dumps(message).encode() + b"\n")

    def hurry(self, gone_at: float) -> None:
        """The engine is gone: keepers end by themselves, unless somebody has stopped them."""
        impatient = time.monotonic() - gone_at > PATIENCE
        for pid in self.keepers:
            os.kill(pid, signal.SIGKILL if impatient else signal.SIGCONT)
