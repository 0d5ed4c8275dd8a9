"""The keeper: stays above one command and all that descends from it, until nothing is left, and reports."""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import socket
import time
from contextlib import suppress
from typing import Any

from . import cgroup, child, isolate, receive, tree

SETTLE = 0.1
"""Seconds for what outlives the program to end by itself, such as the `tee` of a process substitution."""
KILLING = 10.0
"""Seconds of sending SIGKILL before something must be in the way (a process in an endless system call)."""


def keep(control: socket.socket, lifelines: list[int], setup: dict[str, Any]) -> None:
    """Wait for a command on `control`, run it, report on it, and return when nothing of it is left.

    `lifelines` are descriptors that become readable when the launcher or the engine is gone; then all is killed at
    once, just as when `control` reaches its end.
    """
    os.setsid()
    tree.adopt_orphans()
    keeper = Keeper(control, lifelines)
    keeper.warm_up()
    keeper.prepare(setup)
    descriptors = keeper.greet()
    if not descriptors:
        return
    try:
        keeper.run(*descriptors)
    except BaseException as error:
        keeper.tell({"broken": f"{type(error).__name__}: {error}"})
        raise


class Keeper:
    """One command and what is known of it."""

    def __init__(self, control: socket.socket, lifelines: list[int]) -> None:
        self.control = control
        self.lifelines = lifelines
        self.heard = b""
        self.wake, writer = os.pipe()
        for end in (self.wake, writer):
            os.set_blocking(end, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # a handler, so that the wakeup descriptor is written to
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        self.poll = select.poll()
        for descriptor in (control.fileno(), self.wake, *lifelines):
            self.poll.register(descriptor, select.POLLIN)
        self.nothing = os.open(os.devnull, os.O_RDONLY)
        self.pid = 0
        self.status: int | None = None
        self.started_at = self.ended_at = 0.0
        self.kill_at: float | None = None
        self.killed = self.timed_out = False
        self.leftovers: set[int] = set()
        self.error: str | None = None
        self.group: cgroup.Group | None = None
        self.first = 0
        self.alive = -1
        self.unfit = ""

    def prepare(self, setup: dict[str, Any]) -> None:
        """Do ahead of the command what does not depend on it. What fails is told to whoever brings one."""
        try:
            if setup["cgroups"]:
                self.group = cgroup.Group(setup["cgroups"])
            if setup["view"]:
                isolate.enter(setup["view"])
                ending, self.alive = os.pipe()
                self.first = os.fork()
                if self.first == 0:
                    isolate.first(ending)
                os.close(ending)
        except OSError as error:
            self.unfit = f"the sandbox cannot be set up: {error.strerror or error}"

    def warm_up(self) -> None:
        """Do once for nothing what a command needs: after a fork, the first use of any memory is slow."""
        json.loads(json.dumps(self.report() | {"start_ticks": tree.start_ticks(os.getpid())}))
        self.reap()

    def greet(self) -> list[int]:
        """Wait for the command; returns the descriptors that come with it, none when there is nothing to do."""
        while True:
            ready = [descriptor for descriptor, _ in self.poll.poll()]
            if any(descriptor in self.lifelines for descriptor in ready):
                self.tell({"refused": "launcher lost"})
                return []
            if self.control.fileno() in ready:
                try:
                    self.heard, descriptors = receive(self.control, 65536)
                except OSError:
                    return []
                return descriptors

    def run(self, output: int, stdin: int = -1) -> None:
        """Run the command that the engine sends, with these descriptors."""
        command = self.hear()
        if command is None:
            return
        failed = self.start(command, output, self.nothing if stdin < 0 else stdin)
        os.close(output)
        if stdin >= 0:
            os.close(stdin)
        if failed:
            self.let_go()
            self.tell({"failed": failed})
        else:
            self.tell({"started": self.pid, "pgid": self.pid, "start_ticks": tree.start_ticks(self.pid)})
            self.watch()
            self.tell(self.report())

    def tell(self, message: dict[str, Any]) -> None:
        """Send a message. To nobody, when the engine is gone."""
        with suppress(OSError):
            self.control.send(json.dumps(message).encode() + b"\n")

    def hear(self) -> dict[str, Any] | None:
        """Wait for a message; None when the engine is gone."""
        while b"\n" not in self.heard:
            try:
                data = self.control.recv(1 << 20)
            except OSError:
                data = b""
            if not data:
                return None
            self.heard += data
        line, _, self.heard = self.heard.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message

    def start(self, command: dict[str, Any], output: int, stdin: int) -> str:
        """Fork the command; returns why it could not be executed, or nothing."""
        self.command = command
        me = 0 if self.first else os.getpid()  # a parent outside of the namespace has no number in it
        if self.unfit:
            return self.unfit
        try:
            if self.group:
                self.group.limit(command["limits"])
        except OSError as error:
            return f"cannot set the limits of the control group: {error.strerror}"
        failures, failure = os.pipe()
        self.started_at = time.monotonic()
        try:
            self.pid = os.fork()
        except OSError as error:
            return f"cannot fork: {error.strerror}"
        if self.pid == 0:
            child.become(command, stdin, output, failure, me)
        os.close(failure)
        text = b""
        while chunk := os.read(failures, 4096):
            text += chunk
        os.close(failures)
        if text:
            os.waitpid(self.pid, 0)
        return text.decode(errors="replace")

    def reap(self) -> bool:
        """Collect the dead. True when nobody is left."""
        while True:
            try:
                pid, status, _ = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return True
            if pid == 0:
                return False
            if pid == self.pid:
                self.status, self.ended_at = status, time.monotonic()
                self.let_go()

    def let_go(self) -> None:
        """The first process of the namespace may end when nobody else is left there."""
        if self.alive >= 0:
            os.close(self.alive)
            self.alive = -1

    def watch(self) -> None:
        """Return when nothing of the command is left, or when KILLING was not enough."""
        wall = self.command["wall_seconds"]
        expires_at = None if wall is None else self.started_at + wall
        while not self.reap():
            while b"\n" in self.heard:
                self.obey(self.hear())
            now = time.monotonic()
            if self.status is not None and self.kill_at is None and self.command["kill_leftovers"]:
                self.kill_at = now + SETTLE
            if expires_at is not None and now >= expires_at and self.kill_at is None:
                self.timed_out = True
                self.stop(self.command["grace_seconds"])
            if self.kill_at is not None and now >= self.kill_at:
                self.destroy()
                return
            at = self.kill_at if self.kill_at is not None else expires_at
            self.listen(None if at is None else max(0.0, at - now))
        if not tree.LINUX:
            self.destroy()

    def listen(self, seconds: float | None) -> None:
        """Wait for a death, a message, the loss of the engine or the launcher, or the time."""
        for descriptor, _ in self.poll.poll(None if seconds is None else seconds * 1000 + 1):
            if descriptor == self.wake:
                os.read(self.wake, 4096)
            elif descriptor == self.control.fileno():
                self.obey(self.hear())
            else:
                self.error = "launcher lost"  # or the engine, but then nobody reads this
                self.stop(0.0)

    def obey(self, message: dict[str, Any] | None) -> None:
        """Do what the engine wants; when it is gone, end all at once."""
        self.stop(0.0 if message is None else message["kill"])

    def stop(self, grace: float) -> None:
        """Ask all to end, and kill them after `grace` seconds; an earlier time stands."""
        at = time.monotonic() + grace
        self.kill_at = at if self.kill_at is None else min(self.kill_at, at)
        if not self.killed and grace > 0:
            tree.terminate(os.getpid(), self.pid)
        self.killed = True

    def destroy(self) -> None:
        """Kill all that is left, overtaking those who fork meanwhile."""
        deadline = time.monotonic() + KILLING
        tree.get_ahead()
        wake = select.poll()
        wake.register(self.wake, select.POLLIN)
        while True:
            self.leftovers |= tree.kill(os.getpid(), group=self.pid, deadline=deadline) - {self.first}
            if self.reap():
                return
            if time.monotonic() > deadline:
                self.error = f"{len(tree.descendants(os.getpid()))} processes could not be killed"
                return
            if wake.poll(1):
                os.read(self.wake, 4096)

    def report(self) -> dict[str, Any]:
        """How it ended."""
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        code = None if self.status is None else os.waitstatus_to_exitcode(self.status)
        found = {
            "exit_code": code if code is not None and code >= 0 else None,
            "signal": -code if code is not None and code < 0 else None,
            "timed_out": self.timed_out,
            "killed": self.killed,
            "wall_seconds": (self.ended_at or time.monotonic()) - self.started_at,
            "cpu_seconds": usage.ru_utime + usage.ru_stime,
            "max_rss_bytes": usage.ru_maxrss * (1024 if tree.LINUX else 1),
            "leftovers": 0 if self.killed else len(self.leftovers),
            "error": self.error,
        }
        return found | self.group.report() if self.group else found
