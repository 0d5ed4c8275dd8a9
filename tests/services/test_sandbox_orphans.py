"""What is left when an engine dies, and what holds where there are no control groups."""

import asyncio
import gc
import os
import signal
import socket
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from services.sandbox import Limits
from services.sandbox.landlock import LandlockSandbox
from services.sandbox.launcher import landlock
from services.sandbox.levels import Levels
from tests.sandboxes import IMAGE, PYTHON, command, docker_engine, levels, linux_only, run, sandbox_of, sleepers

pytestmark = linux_only

ROOT = Path(__file__).resolve().parents[2]
ENGINE = """
import asyncio, sys
from pathlib import Path
from tests.sandboxes import command, levels, sandbox_of

async def main(state, marker):
    async with levels(Path(state)) as found:
        sandbox = await sandbox_of(found, sys.argv[3])
        async def ignore(chunk): pass
        running = await sandbox.start(command(sandbox, "sleep", marker, cwd=Path(state).parent / "files"), ignore)
        print("running", flush=True)
        await running.wait()

asyncio.run(main(*sys.argv[1:3]))
"""

RESERVES = "import mmap; mmap.mmap(-1, 1 << 36, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=0)"


@pytest.fixture
def marker() -> str:
    return f"{600 + uuid.uuid4().int % 100_000_000}"


async def ignore(chunk: bytes) -> None:
    """Take output and forget it."""


def killed_engine(state: Path, marker: str, level: str) -> None:
    """An engine that is killed while its command runs."""
    (state.parent / "files").mkdir(exist_ok=True)
    words = [sys.executable, "-c", ENGINE, str(state), marker, level]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE) as engine:
        assert engine.stdout is not None
        assert engine.stdout.readline() == b"running\n"
        engine.send_signal(signal.SIGKILL)


@pytest.mark.parametrize("level", ["process", "landlock", "bwrap"])
async def test_processes_die_with_their_engine(level: str, tmp_path: Path, marker: str) -> None:
    async with levels(tmp_path / "other") as found:
        await sandbox_of(found, level)  # type: ignore[arg-type]
    killed_engine(tmp_path / "state", marker, level)
    async with asyncio.timeout(20):
        while sleepers(marker):  # noqa: ASYNC110 - no event tells of it
            await asyncio.sleep(0.02)


async def test_containers_of_a_dead_engine_are_removed_by_the_next_and_no_others(tmp_path: Path, marker: str) -> None:
    if docker_engine() is None:
        pytest.skip("no Docker engine: DOCKER_HOST is not set")
    state, living = tmp_path / "state", f"{marker}1"
    async with levels(state) as mine:
        sandbox = await sandbox_of(mine, "docker")
        (tmp_path / "files").mkdir()
        running = await sandbox.start(command(sandbox, "sleep", living, cwd=tmp_path / "files"), ignore)
        killed_engine(state, marker, "docker")
        assert sleepers(marker), "a container goes on without its engine"
        async with levels(state) as successor:
            assert not (await successor.offer("docker")).missing
        assert sleepers(marker) == []
        assert sleepers(living), "its engine lives"
        await running.kill(0)
        await running.wait()
    assert sleepers(living) == []
    import docker

    client = docker.DockerClient(base_url=docker_engine())
    mine_still = {"label": f"nightshift.owner={socket.gethostname()}:{state}"}
    assert client.containers.list(all=True, filters=mine_still) == []  # the image is other tests' as well
    client.close()


@pytest.mark.skipif(not landlock.abi(), reason="the kernel has no Landlock")
async def test_without_control_groups_each_process_is_limited(tmp_path: Path) -> None:
    sandbox = LandlockSandbox(tmp_path / "state", os.defpath)
    try:
        limits = Limits(tree_memory_bytes=100 * 1024 * 1024, tree_processes=20)
        ended, output = await run(
            sandbox, PYTHON, "-c", "bytearray(200 << 20)", cwd=tmp_path, limits=limits, access=None
        )
        assert (ended.exit_code, "MemoryError" in output, ended.peak_memory_bytes) == (1, True, 0)
        ended, _ = await run(sandbox, PYTHON, "-c", RESERVES, cwd=tmp_path, limits=limits)
        assert ended.exit_code == 0, "address space that is only reserved does not count"
        if os.geteuid() != 0:
            script = "import os, time\nn = 0\ntry:\n  while n < 99:\n    if os.fork() == 0: time.sleep(9)\n    n += 1\n"
            _, output = await run(
                sandbox, PYTHON, "-c", script + "except OSError: print(n)", cwd=tmp_path, limits=limits
            )
            assert 10 <= int(output) <= 20
    finally:
        await sandbox.close()


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")  # the SDK's
async def test_a_container_engine_that_dies_is_told(tmp_path: Path, marker: str) -> None:
    """A stand-in for the address of the real engine that closes every connection from a moment on."""
    address = docker_engine()
    if address is None or not address.startswith("unix://"):
        pytest.skip("no Docker engine on a local socket: DOCKER_HOST is not set")
    open_wires: set[asyncio.StreamWriter] = set()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_unix_connection(address.removeprefix("unix://"))
        open_wires.update((writer, back))

        async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            while data := await source.read(65536):
                target.write(data)
            if target.can_write_eof():
                target.write_eof()

        await asyncio.gather(pump(reader, back), pump(there, writer), return_exceptions=True)
        writer.close()
        back.close()

    path = tmp_path / "relay"
    server = await asyncio.start_unix_server(relay, path)
    found = Levels(tmp_path / "state", image=IMAGE, host=f"unix://{path}")
    (tmp_path / "files").mkdir()
    sandbox = await sandbox_of(found, "docker")
    running = await sandbox.start(command(sandbox, "sleep", marker, cwd=tmp_path / "files"), ignore)
    server.close()
    for wire in open_wires:
        wire.close()
    path.unlink(missing_ok=True)
    async with asyncio.timeout(60):
        ended = await running.wait()
    assert "the container was lost" in (ended.error or "")
    await found.close()
    async with levels(tmp_path / "other") as again:
        await sandbox_of(again, "docker")
        import docker

        client = docker.DockerClient(base_url=address)
        for container in client.containers.list(filters={"ancestor": IMAGE}):
            if marker in container.attrs["Config"]["Cmd"]:
                container.remove(force=True)
        client.close()
    assert sleepers(marker) == []
    del running, sandbox, found
    gc.collect()  # while the warnings of this test are still ignored
