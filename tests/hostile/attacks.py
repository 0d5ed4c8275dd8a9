"""What a hostile task tries, and how one sees from outside whether it got through."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from services.sandbox import Limits

MIB = 1024 * 1024
SECRET = "hunter2-4711"
LIMITS = Limits(tree_memory_bytes=300 * MIB, tree_processes=60, file_bytes=50 * MIB)


@dataclass
class Victims:
    """Everything outside the workspace that a task must not reach."""

    root: Path
    """Test folder: `outside`, `home`, `state` and `repo` are the host's; `files` is the workspace."""
    heard: list[str] = field(default_factory=list)
    """Which listeners got something."""
    listeners: list[socket.socket] = field(default_factory=list)
    engine: subprocess.Popen[bytes] | None = None
    """A process of the engine's user, with a secret in its environment and in its memory."""

    def open(self) -> None:
        """Put everything there."""
        for name in ("outside", "home/.ssh", "home/.aws", "state/server", "files"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        (self.root / "outside/file").write_text("untouched")
        (self.root / "home/.ssh/id_ed25519").write_text(SECRET)
        (self.root / "home/.aws/credentials").write_text(SECRET)
        (self.root / "state/server/nats.conf").write_text(f"password: {SECRET}")
        (self.root / "state/engine.json").write_text(f'{{"url": "nats://engine:{SECRET}@127.0.0.1"}}')
        subprocess.run(["git", "init", "-q", "--bare", str(self.root / "repo")], check=True)
        program = "import os, time; kept = os.environ['TOKEN'] * 2; time.sleep(600)"
        self.engine = subprocess.Popen([sys.executable, "-I", "-c", program], env={"TOKEN": SECRET})
        self._listen("tcp", socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0))
        self._listen("udp", socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0))
        self._listen("named", socket.AF_UNIX, socket.SOCK_STREAM, str(self.root / "outside/socket"))
        self._listen("abstract", socket.AF_UNIX, socket.SOCK_STREAM, f"\0nightshift-{os.getpid()}-{id(self)}")

    def close(self) -> None:
        """Take everything away."""
        if self.engine is not None:
            self.engine.kill()
            self.engine.wait()
        for listener in self.listeners:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def names(self) -> dict[str, str]:
        """What a script may refer to."""
        assert self.engine is not None
        addresses = {name: self.listeners[number].getsockname() for number, name in enumerate(("tcp", "udp"))}
        return {
            "OUT": str(self.root / "outside"), "HOME_DIR": str(self.root / "home"), "STATE": str(self.root / "state"),
            "REPO": str(self.root / "repo"), "ENGINE": str(self.engine.pid), "TCP": str(addresses["tcp"][1]),
            "UDP": str(addresses["udp"][1]), "ABSTRACT": str(self.listeners[3].getsockname()[1:].decode()),
        }  # fmt: skip

    def _listen(self, name: str, family: int, kind: int, address: object) -> None:
        listener = socket.socket(family, kind)
        listener.bind(address)  # type: ignore[arg-type]
        if kind == socket.SOCK_STREAM:
            listener.listen()
        self.listeners.append(listener)

        def serve() -> None:
            with suppress(OSError):
                while True:
                    if kind == socket.SOCK_STREAM:
                        listener.accept()[0].close()
                    elif not listener.recvfrom(100)[0]:
                        return
                    self.heard.append(name)

        threading.Thread(target=serve, daemon=True).start()


@dataclass(frozen=True)
class Attack:
    """A script for the system's Python, and what shows that it got through."""

    name: str
    script: str
    succeeded: Callable[[Victims, str], bool]


def _shell(text: str) -> str:
    return f"import os, subprocess; subprocess.run({text!r}, shell=True)"


def _file(text: str) -> Callable[[Victims, str], bool]:
    return lambda victims, _: text in (victims.root / "outside/file").read_text()


def _told(victims: Victims, output: str) -> bool:
    return SECRET in output


def _heard(name: str) -> Callable[[Victims, str], bool]:
    def check(victims: Victims, output: str) -> bool:
        until = time.monotonic() + 0.3  # whoever listens does so in a thread
        while name not in victims.heard and time.monotonic() < until:
            time.sleep(0.02)
        return name in victims.heard

    return check


_PTRACE = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
print("attached" if libc.ptrace(16, int(os.environ["ENGINE"]), None, None) == 0 else ctypes.get_errno())
"""
_MEMORY = """
import os, re
pid = os.environ["ENGINE"]
for line in open(f"/proc/{pid}/maps"):
    start, end = (int(part, 16) for part in line.split()[0].split("-"))
    if " rw-p " in line:
        with open(f"/proc/{pid}/mem", "rb", 0) as memory:
            memory.seek(start)
            for found in re.findall(rb"hunter2-\\d+", memory.read(end - start)):
                print(found.decode())
"""
_FORKS = """
import os, time
grown = 0
while grown < 3000:
    try:
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
    except OSError:
        break
    grown += 1
print("grown", grown)
"""


def _ends(process: subprocess.Popen[bytes]) -> bool:
    """A signal that was sent is not always heard at once."""
    try:
        process.wait(1.0)
    except subprocess.TimeoutExpired:
        return False
    return True


ATTACKS = (
    Attack("write outside the workspace", _shell("echo bad > $OUT/file"), _file("bad")),
    Attack("write through a symbolic link", _shell("ln -s $OUT link; echo bad > link/file"), _file("bad")),
    Attack("write through `..`", _shell("echo bad > $(pwd)/../outside/file"), _file("bad")),
    Attack("write through a hard link", _shell("ln $OUT/file hard && echo bad > hard"), _file("bad")),
    Attack(
        "delete outside the workspace", _shell("rm -rf $OUT/file"),
        lambda victims, _: not (victims.root / "outside/file").exists(),
    ),
    Attack(
        "change modes outside the workspace", _shell("chmod 777 $OUT/file"),
        lambda victims, _: (victims.root / "outside/file").stat().st_mode & 0o777 == 0o777,
    ),
    Attack("read the user's keys", _shell("cat $HOME_DIR/.ssh/* $HOME_DIR/.aws/*"), _told),
    Attack("read the engine's NATS credentials", _shell("cat $STATE/server/nats.conf $STATE/engine.json"), _told),
    Attack("read the engine's environment", _shell("cat /proc/$ENGINE/environ"), _told),
    Attack("read the engine's memory", _MEMORY, _told),
    Attack("ptrace the engine", _PTRACE, lambda victims, output: "attached" in output),
    Attack(
        "kill the engine", _shell("kill -9 $ENGINE"),
        lambda victims, _: victims.engine is not None and _ends(victims.engine),
    ),
    Attack(  # to what it is already; root needs no capability for this one
        "change the kernel's settings",
        _shell("f=/proc/sys/kernel/core_pattern; v=$(cat $f) && echo \"$v\" > $f && echo changed"),
        lambda victims, output: "changed" in output,
    ),
    Attack("TCP to the host", "import os, socket; socket.create_connection(('127.0.0.1', int(os.environ['TCP'])))",
           _heard("tcp")),
    Attack(
        "UDP to the host",
        "import os, socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', int(os.environ['UDP'])))",
        _heard("udp"),
    ),
    Attack(
        "a named socket of the host",
        "import os, socket; socket.socket(socket.AF_UNIX).connect(os.environ['OUT'] + '/socket')", _heard("named"),
    ),
    Attack(
        "an abstract socket of the host",
        "import os, socket; socket.socket(socket.AF_UNIX).connect('\\0' + os.environ['ABSTRACT'])", _heard("abstract"),
    ),
    Attack(
        "git push",
        _shell(
            "git init -q . && git -c user.name=x -c user.email=x@x commit -q --allow-empty -m x && "
            "git push -q $REPO HEAD:refs/heads/stolen"
        ),
        lambda victims, _: (victims.root / "repo/refs/heads/stolen").exists(),
    ),
    Attack("fork bomb", _FORKS, lambda victims, output: "grown" in output and int(output.split()[-1]) > 60),
    Attack(
        "memory bomb", "x = []\nfor _ in range(20): x.append(bytearray(50 << 20))\nprint('grown')",
        lambda victims, output: "grown" in output,
    ),
    Attack(
        "10 GB file", "import os; open('big', 'wb').close(); os.truncate('big', 10 << 30)",
        lambda victims, _: (victims.root / "files/big").stat().st_size > 50 * MIB,
    ),
)  # fmt: skip
