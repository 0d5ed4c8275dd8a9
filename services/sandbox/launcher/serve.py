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

from . import BUSY, DROP, FORK, KEEPER, MESSAGE, READY, cgroup, isolate, keeper, tree

PATIENCE = 2.0
"""Seconds for keepers to end by themselves when the engine is gone."""
SLOWEST = 0.1
"""Seconds between two rounds at orphans that do not die, at most."""


def main() -> None:
    """Serve the engine whose pid and socket are among the last arguments, until it is gone and nothing is left."""
    engine, descriptor, setup = int(sys.argv[-3]), int(sys.argv[-2]), json.loads(sys.argv[-1])
    os.chdir("/")
    os.set_inheritable(descriptor, False)
    ignore_no_signal()
    tree.adopt_orphans()
    watched = _watch_process(engine)
    if os.getppid() != engine:
        return
    refusal = isolate.attempt(setup["view"]) if setup["view"] else 0
    if refusal:
        setup["view"] = None
    cgroup.sweep(setup["cgroups"])
    gc.freeze()  # forks then share what is there
    gc.disable()
    Launcher(socket.socket(fileno=descriptor), watched, setup).serve(refusal)


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
    """The keepers that live, each with the launcher's copy of its socket, and the sockets of those that were killed."""

    def __init__(self, engine: socket.socket, watched: list[int], setup: dict[str, Any]) -> None:
        self.engine = engine
        self.setup = setup
        self.graves: list[int] = []
        self.watched = watched
        self.keepers: dict[int, socket.socket] = {}
        self.lost: list[socket.socket] = []
        self.lifeline, self.heart = os.pipe()
        self.wake, self.waker = os.pipe()
        for end in (self.wake, self.waker):
            os.set_blocking(end, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self.waker, warn_on_full_buffer=False)

    def serve(self, refusal: int) -> None:
        """Return when the engine is gone and no keeper and no orphan is left.

        `refusal` is the errno for which there are no namespaces, 0 if there are or none are wanted.
        """
        poll = select.poll()
        for descriptor in (self.engine.fileno(), self.wake, *self.watched):
            poll.register(descriptor, select.POLLIN)
        self.engine.sendall(MESSAGE.pack(READY, refusal))
        gone_at = 0.0
        pause: float | None = None
        while True:
            self.reap()
            orphans = self.sweep()
            self.graves = [pid for pid in self.graves if not cgroup.remove(self.setup["cgroups"], pid)]
            pause = min(SLOWEST, (pause or 0.001) * 2) if orphans or self.graves else None
            if gone_at:
                late = time.monotonic() - gone_at > PATIENCE  # what is left of empty groups, the next launcher sweeps
                if not self.keepers and not orphans and (late or not self.graves):
                    return
                self.hurry(gone_at)
                pause = pause or SLOWEST
            for descriptor, _ in poll.poll(None if pause is None else pause * 1000):
                if descriptor == self.wake:
                    os.read(self.wake, 4096)
                elif not self.obey(descriptor):
                    gone_at = time.monotonic()
                    for known in (self.engine.fileno(), *self.watched):
                        poll.unregister(known)
                    break

    def obey(self, descriptor: int) -> bool:
        """Do what the engine asks for. False when it is gone."""
        if descriptor != self.engine.fileno():
            return False
        try:
            message = self.engine.recv(MESSAGE.size)
            if len(message) < MESSAGE.size:
                return False
            word, pid = MESSAGE.unpack(message)
            if word == FORK:
                self.fork()
            elif word == DROP and pid in self.keepers:
                os.kill(pid, signal.SIGKILL)
        except OSError:
            return False
        return True

    def fork(self) -> None:
        """Fork a keeper and tell the engine. Raises OSError when the engine is gone."""
        try:
            theirs, control = socket.socketpair()
            with theirs:
                pid = os.fork()
                if pid == 0:
                    theirs.close()
                    self.become_keeper(control)
                self.keepers[pid] = control
                socket.send_fds(self.engine, [MESSAGE.pack(KEEPER, pid)], [theirs.fileno()])
        except OSError as error:
            self.engine.sendall(MESSAGE.pack(BUSY, error.errno or 0))

    def become_keeper(self, control: socket.socket) -> None:
        """In the fork: let go of all that is the launcher's, keep a command, exit."""
        status = 1
        try:
            self.engine.close()
            os.dup2(0, 2)
            for descriptor in (self.heart, self.wake, self.waker):
                os.close(descriptor)
            for other in (*self.keepers.values(), *self.lost):
                other.close()
            keeper.keep(control, [self.lifeline, *self.watched], self.setup)
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
            if control is None:
                continue
            if self.setup["cgroups"]:
                self.graves.append(pid)
            if status == 0:
                control.close()
            else:
                self.lost.append(control)

    def sweep(self) -> bool:
        """Kill what has lost its keeper. True while something is left; when nothing is, say so to those who wait."""
        me = os.getpid()
        if any(pid not in self.keepers for pid in tree.children(me)):
            tree.kill(me, spare=self.keepers)
            return True
        for control in self.lost:
            with suppress(OSError), control:
                control.send(json.dumps({"lost": True}).encode() + b"\n")
        self.lost.clear()
        return False

    def hurry(self, gone_at: float) -> None:
        """The engine is gone: keepers end by themselves, unless somebody has stopped them."""
        impatient = time.monotonic() - gone_at > PATIENCE
        for pid in self.keepers:
            os.kill(pid, signal.SIGKILL if impatient else signal.SIGCONT)
