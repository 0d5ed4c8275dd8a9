"""The sandboxes that this machine has, for tests; those it has not are skipped with the reason."""

from __future__ import annotations

import io
import os
import sys
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from schemas.grants import LEVELS, Level
from services.sandbox import Access, Command, Ended, Sandbox
from services.sandbox.levels import Levels

IMAGE = "nightshift-tests:skeleton"
SYSTEM = (Path("/usr"),)
"""What containers of the skeleton image get from the host, read-only: they hold nothing of their own."""
PYTHON = "/usr/bin/python3"

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="sandboxes are held together by Linux")
every_level = pytest.mark.parametrize("level", LEVELS)


def docker_engine() -> str | None:
    """The address of a Docker engine for tests, with the skeleton image in it; None without one."""
    address = os.environ.get("DOCKER_HOST")
    if not address:
        return None
    import docker

    client = docker.DockerClient(base_url=address)
    try:
        if not client.images.list(name=IMAGE):
            client.api.import_image_from_data(_skeleton(), repository=IMAGE.split(":")[0], tag=IMAGE.split(":")[1])
    finally:
        client.close()
    return address


def _skeleton() -> bytes:
    """A root without files: folders, the usual links into /usr, and users. The engine puts its init into /sbin."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name in ("usr", "sbin", "tmp", "var/tmp", "proc", "sys", "dev", "etc"):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(folder)
        for name in ("bin", "lib", "lib64"):
            if os.path.islink(f"/{name}"):
                link = tarfile.TarInfo(name)
                link.type, link.linkname = tarfile.SYMTYPE, os.readlink(f"/{name}")
                tar.addfile(link)
        text = b"root:x:0:0:root:/root:/bin/sh\ntask:x:1000:1000:task:/tmp:/bin/sh\n"
        users = tarfile.TarInfo("etc/passwd")
        users.size = len(text)
        tar.addfile(users, io.BytesIO(text))
    return data.getvalue()


@asynccontextmanager
async def levels(state: Path, search: str = os.defpath) -> AsyncIterator[Levels]:
    """The levels of an engine with this state folder."""
    host = docker_engine()
    found = Levels(state, image=IMAGE if host else None, host=host, search=search)
    try:
        yield found
    finally:
        await found.close()


async def sandbox_of(found: Levels, level: Level) -> Sandbox:
    """The sandbox of one level; skips the test where there is none."""
    offer = await found.offer(level)
    if offer.missing:
        pytest.skip(f"no sandbox {level}: {offer.missing}")
    return found.made(level)


def sleepers(marker: str) -> list[int]:
    """Processes with an argument that nobody else has."""
    return [p.pid for p in psutil.process_iter(["cmdline"]) if marker in (p.info["cmdline"] or [])]


async def run(sandbox: Sandbox, *argv: str, cwd: Path, access: Access | None = None, **more: Any) -> tuple[Ended, str]:
    """Run a command to its end in a folder that it may write; a container gets the host's programs as well."""
    output = bytearray()

    async def collect(chunk: bytes) -> None:
        output.extend(chunk)

    running = await sandbox.start(command(sandbox, *argv, cwd=cwd, access=access, **more), collect)
    ended = await running.wait()
    return ended, output.decode(errors="replace")


def command(sandbox: Sandbox, *argv: str, cwd: Path, access: Access | None = None, **more: Any) -> Command:
    """A command with what it needs to run at all."""
    access = access or Access()
    access = replace(access, write=(*access.write, cwd), own=(cwd,))
    if sandbox.level == "docker":
        access = replace(access, read=(*access.read, *SYSTEM))
    more = {"env": {"PATH": os.defpath}, "wall_seconds": 60.0} | more
    return Command(argv=argv, cwd=cwd, access=access, **more)
