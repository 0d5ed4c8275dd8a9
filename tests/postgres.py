"""A real PostgreSQL server for tests: on loopback, in a folder of its own, gone afterwards."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from nightshift.server_process import free_port


def binaries() -> Path | None:
    """The folder of the newest server that is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[-3]))
    if found:
        return found[-1].parent
    known = shutil.which("initdb")
    return Path(known).parent if known else None


needs_postgres = pytest.mark.skipif(binaries() is None, reason="PostgreSQL is not installed")


class Server:
    """A server that can be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        found = binaries()
        assert found is not None
        self._bin = found
        self._folder = folder
        self.port = free_port()

    def dsn(self, database: str = "postgres") -> str:
        """How to connect."""
        return f"host=127.0.0.1 port={self.port} dbname={database} user=tester"

    def initialise(self) -> None:
        """Make the cluster."""
        self._run(
            "initdb", "-D", str(self._folder / "data"), "-U", "tester", "--auth=trust", "-E", "UTF8", "--no-locale"
        )

    def start(self) -> None:
        """Start, and wait until it lets people in."""
        options = f"-p {self.port} -k {self._folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        self._run(
            "pg_ctl", "-D", str(self._folder / "data"), "-o", options, "-l", str(self._folder / "log"), "-w", "start"
        )

    def stop(self, how: str = "fast") -> None:
        """Stop: ``fast``, or ``immediate`` as after a crash."""
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-m", how, "-w", "stop")

    def database(self, name: str) -> str:
        """Make a database; how to connect to it."""
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            connection.execute(f'create database "{name}"')
        return self.dsn(name)

    def _run(self, *words: str) -> None:
        who = (
            {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
        )
        done = subprocess.run(
            [str(self._bin / words[0]), *words[1:]], cwd=self._folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=60, check=False, **who,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout


@contextlib.contextmanager
def postgres() -> Iterator[Server]:
    """A server; it refuses to run as root, so root lends its folder to nobody."""
    folder = Path(tempfile.mkdtemp(prefix="ns-pg-"))
    if os.geteuid() == 0:
        os.chown(folder, pwd.getpwnam("nobody").pw_uid, -1)
    server = Server(folder)
    try:
        server.initialise()
        server.start()
        yield server
    finally:
        with contextlib.suppress(AssertionError):
            server.stop("immediate")
        shutil.rmtree(folder, ignore_errors=True)
