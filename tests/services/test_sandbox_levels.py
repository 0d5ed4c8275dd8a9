"""What every sandbox promises, tried with each level that this machine has."""

import asyncio
import hashlib
import os
import signal
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from schemas.grants import Level
from services.sandbox import Access, Limits, Sandbox, SandboxUnavailable, StartFailed
from services.sandbox.cgroups import parents
from services.sandbox.levels import Levels
from tests.sandboxes import PYTHON, command, every_level, levels, linux_only, run, sandbox_of, sleepers

pytestmark = [linux_only, every_level]

MIB = 1024 * 1024


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir()
    return folder


@pytest.fixture
async def found(state: Path) -> AsyncIterator[Levels]:
    async with levels(state) as found:
        yield found
    assert psutil.Process().children(recursive=True) == []


@pytest.fixture
async def sandbox(found: Levels, level: Level) -> Sandbox:
    return await sandbox_of(found, level)


@pytest.fixture
def ws(tmp_path: Path) -> Path:
    """A folder to work in."""
    folder = tmp_path / "files"
    folder.mkdir()
    return folder


@pytest.fixture
def marker() -> str:
    """A number of seconds to sleep that nobody else sleeps."""
    return f"{600 + uuid.uuid4().int % 100_000_000}"


async def until(true: Callable[[], bool]) -> None:
    """Wait until something in the world outside is so."""
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 - no event tells of it
            await asyncio.sleep(0.02)


async def ignore(chunk: bytes) -> None:
    """Take output and forget it."""


async def test_exit_codes_and_deaths_by_signal_are_told_apart(sandbox: Sandbox, ws: Path) -> None:
    for code in (0, 3, 127, 255):
        ended, _ = await run(sandbox, "/bin/sh", "-c", f"exit {code}", cwd=ws)
        assert (ended.exit_code, ended.signal, ended.error, ended.killed) == (code, None, None, False)
    ended, _ = await run(sandbox, "/bin/sh", "-c", "kill -SEGV $$", cwd=ws)
    assert (ended.exit_code, ended.signal) == (None, signal.SIGSEGV)


async def test_what_cannot_be_started_has_not_run(sandbox: Sandbox, ws: Path) -> None:
    gone = ws / "gone"
    with pytest.raises(StartFailed, match=r"cannot enter the folder '.*gone': No such file or directory"):
        await sandbox.start(replace(command(sandbox, "true", cwd=ws), cwd=gone), ignore)
    with pytest.raises(StartFailed, match="embedded null"):
        await sandbox.start(command(sandbox, "a\0b", cwd=ws), ignore)
    if sandbox.level == "docker":  # the container's shell is what runs then, and says so
        ended, output = await run(sandbox, "no-such-program", cwd=ws)
        assert (ended.exit_code, "not found" in output) == (127, True)
    else:
        with pytest.raises(StartFailed, match="cannot execute 'no-such-program'"):
            await sandbox.start(command(sandbox, "no-such-program", cwd=ws), ignore)


async def test_the_environment_is_what_was_given(sandbox: Sandbox, ws: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "of the engine")
    script = "import os; print(sorted(os.environ)); print(os.getcwd()); print(os.environ['GIVEN'] == 'x' * 9999)"
    env = {"GIVEN": "x" * 9999, "PATH": "/usr/bin"}
    _, output = await run(sandbox, PYTHON, "-I", "-c", script, cwd=ws, env=env)
    names, folder, whole = output.splitlines()
    assert set(eval(names)) - {"HOME", "HOSTNAME", "PWD", "LC_CTYPE", "OLDPWD", "_", "SHLVL"} == {"GIVEN", "PATH"}
    assert (folder, whole) == (str(ws), "True")


async def test_what_it_writes_is_there_afterwards_and_the_engines_own(sandbox: Sandbox, ws: Path) -> None:
    ended, output = await run(sandbox, "/bin/sh", "-c", "mkdir a && echo hello > a/b && chmod 755 a/b", cwd=ws)
    assert (ended.exit_code, output) == (0, "")
    assert (ws / "a/b").read_text() == "hello\n"
    assert (ws / "a/b").stat().st_uid == os.geteuid()


async def test_stdin_arrives_whole(sandbox: Sandbox, ws: Path) -> None:
    data = os.urandom(3_000_000)
    ended, output = await run(sandbox, "sha256sum", cwd=ws, stdin=data)
    assert (ended.exit_code, output.split()[0]) == (0, hashlib.sha256(data).hexdigest())
    ended, output = await run(sandbox, "cat", cwd=ws)
    assert (ended.exit_code, output) == (0, "")


async def test_both_outputs_arrive_in_the_order_written(sandbox: Sandbox, ws: Path) -> None:
    _, output = await run(sandbox, "/bin/sh", "-c", "for i in 1 2 3; do echo out$i; echo err$i >&2; done", cwd=ws)
    assert output == "out1\nerr1\nout2\nerr2\nout3\nerr3\n"


async def test_much_output_arrives_whole(sandbox: Sandbox, ws: Path) -> None:
    _, output = await run(sandbox, "/bin/sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x; echo end", cwd=ws)
    assert (len(output), output[-5:]) == (3_000_004, "xend\n")


async def test_the_time_is_up_for_the_whole_tree(sandbox: Sandbox, ws: Path, marker: str) -> None:
    script = f"(trap '' TERM; sleep {marker}) & setsid sleep {marker} & sleep {marker}"
    ended, _ = await run(sandbox, "/bin/sh", "-c", script, cwd=ws, wall_seconds=1.0, grace_seconds=0.2)
    assert (ended.timed_out, ended.killed) == (True, True)
    assert sleepers(marker) == []


async def test_it_can_be_asked_to_end(sandbox: Sandbox, ws: Path) -> None:
    ready = asyncio.Event()
    said = bytearray()

    async def take(chunk: bytes) -> None:
        said.extend(chunk)
        ready.set()

    script = "trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.05; done"
    running = await sandbox.start(command(sandbox, "/bin/sh", "-c", script, cwd=ws), take)
    async with asyncio.timeout(30):
        await ready.wait()
    await running.kill(20)
    ended = await running.wait()
    if sandbox.level != "bwrap":  # bubblewrap itself is asked as well, ends, and takes all with it
        assert (ended.exit_code, said.startswith(b"ready\n"), said.endswith(b"bye\n")) == (7, True, True)
    assert (ended.killed, ended.timed_out) == (True, False)


async def test_nothing_outlives_the_program(sandbox: Sandbox, ws: Path, marker: str) -> None:
    script = f"setsid sleep {marker} >/dev/null 2>&1 </dev/null & echo done"
    ended, output = await run(sandbox, "/bin/sh", "-c", script, cwd=ws)
    assert (ended.exit_code, output) == (0, "done\n")
    assert sleepers(marker) == []


async def test_an_output_that_is_refused_ends_it(sandbox: Sandbox, ws: Path, marker: str) -> None:
    async def refuse(chunk: bytes) -> None:
        raise RuntimeError("no more room")

    script = f"echo a; sleep {marker}"
    running = await sandbox.start(command(sandbox, "/bin/sh", "-c", script, cwd=ws), refuse)
    with pytest.raises(RuntimeError, match="no more room"):
        await running.wait()
    assert sleepers(marker) == []


async def test_memory_is_limited_for_the_tree_and_told(sandbox: Sandbox, ws: Path) -> None:
    """Two processes, each below the limit, are above it together."""
    if sandbox.level != "docker" and "memory" not in parents():
        pytest.skip("no control groups that can be made here")
    half = f"{PYTHON} -c 'x = bytearray({70 * MIB}); import time; time.sleep(1.5)'"
    limits = Limits(tree_memory_bytes=100 * MIB)
    ended, _ = await run(sandbox, "/bin/sh", "-c", f"{half} & {half}; wait", cwd=ws, limits=limits)
    assert ended.out_of_memory
    small = Limits(tree_memory_bytes=400 * MIB)
    ended, _ = await run(sandbox, "/bin/sh", "-c", f"{half} & {half}; wait", cwd=ws, limits=small)
    assert (ended.out_of_memory, ended.exit_code) == (False, 0)
    assert 140 * MIB < ended.peak_memory_bytes < 400 * MIB


async def test_processes_are_limited_for_the_tree(sandbox: Sandbox, ws: Path) -> None:
    if sandbox.level != "docker" and "pids" not in parents():
        pytest.skip("no control groups that can be made here")
    script = "import os, time\nn = 0\ntry:\n  while n < 200:\n    if os.fork() == 0: time.sleep(60)\n    n += 1\n"
    script += "except BlockingIOError: pass\nprint(n)"
    ended, output = await run(sandbox, PYTHON, "-c", script, cwd=ws, limits=Limits(tree_processes=40))
    assert ended.exit_code == 0
    assert 30 <= int(output) <= 40


async def test_the_size_of_a_file_is_limited(sandbox: Sandbox, ws: Path) -> None:
    limits = Limits(file_bytes=5 * MIB)
    ended, _ = await run(sandbox, "/bin/sh", "-c", "exec head -c 50000000 /dev/zero > big", cwd=ws, limits=limits)
    assert ended.exit_code != 0
    assert (ws / "big").stat().st_size == 5 * MIB


async def test_processor_time_is_limited_and_measured(sandbox: Sandbox, ws: Path) -> None:
    script = "import time\nend = time.monotonic() + 1.6\nwhile time.monotonic() < end: pass\nprint(time.process_time())"
    ended, _ = await run(sandbox, PYTHON, "-c", script, cwd=ws)
    assert ended.cpu_seconds > 0.2
    if sandbox.level == "docker" or "cpu" in parents():
        ended, output = await run(sandbox, PYTHON, "-c", script, cwd=ws, limits=Limits(cpus=0.2))
        assert float(output) < 0.9  # of 1.6 seconds, at a fifth of a processor


async def test_only_what_is_granted_can_be_read_and_written(sandbox: Sandbox, ws: Path, tmp_path: Path) -> None:
    if sandbox.level == "process":
        pytest.skip("the level process has no grants")
    for name in ("given", "shared", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    for path in (tmp_path / "shared", tmp_path / "shared" / "file"):
        path.chmod(0o777)  # a container's user is another, and what a plan grants is not the engine's to lend
    owner = (tmp_path / "shared").stat().st_uid
    access = Access(read=(tmp_path / "given",), write=(tmp_path / "shared",))
    script = f"""
    cat {tmp_path}/given/file {tmp_path}/shared/file
    echo new > {tmp_path}/shared/file
    echo bad > {tmp_path}/given/file
    cat {tmp_path}/other/file
    echo bad > {tmp_path}/other/file
    """
    _, output = await run(sandbox, "/bin/sh", "-c", script, cwd=ws, access=access)
    assert output.startswith("givenshared")
    assert output.count("\n") == 3, "one complaint for each of the three that are not granted"
    texts = [(tmp_path / name / "file").read_text() for name in ("given", "shared", "other")]
    assert texts == ["given", "new\n", "other"]
    assert (tmp_path / "shared").stat().st_uid == owner


async def test_a_closed_network_still_has_its_own_loopback(sandbox: Sandbox, ws: Path) -> None:
    script = """
import socket, threading
server = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=lambda: server.accept()[0].sendall(b"hello"), daemon=True).start()
print(socket.create_connection(server.getsockname()).recv(5))
"""
    ended, output = await run(sandbox, PYTHON, "-c", script, cwd=ws)
    assert (ended.exit_code, output) == (0, "b'hello'\n")


async def test_a_network_that_is_granted_is_there(sandbox: Sandbox, ws: Path) -> None:
    connected = asyncio.Event()
    server = await asyncio.start_server(lambda r, w: (connected.set(), w.close()), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    script = f"import socket; socket.create_connection(('127.0.0.1', {port}), timeout=5)"
    async with server:
        ended, output = await run(sandbox, PYTHON, "-c", script, cwd=ws, access=Access(network="host"))
        await asyncio.sleep(0)
        assert (ended.exit_code, output) == (0, "")
        async with asyncio.timeout(5):
            await connected.wait()


async def test_survivors_are_found_by_their_mark(found: Levels, sandbox: Sandbox, ws: Path, marker: str) -> None:
    env = {"PATH": os.defpath, "NIGHTSHIFT_LEASE": marker}
    running = await sandbox.start(command(sandbox, "sleep", marker, cwd=ws, env=env), ignore)
    await until(lambda: bool(sleepers(marker)))
    assert await found.kill_marked("NIGHTSHIFT_LEASE", marker) >= 1
    ended = await running.wait()
    assert ended.exit_code is None or sandbox.level in ("docker", "bwrap")
    assert sleepers(marker) == []
    assert await found.kill_marked("NIGHTSHIFT_LEASE", marker) == 0


async def test_a_start_that_is_cancelled_leaves_nothing(sandbox: Sandbox, ws: Path, marker: str) -> None:
    for steps in (1, 5, 30):
        starting = asyncio.create_task(sandbox.start(command(sandbox, "sleep", marker, cwd=ws), ignore))
        for _ in range(steps):
            await asyncio.sleep(0)
        starting.cancel()
        try:
            running = await starting
        except asyncio.CancelledError:
            continue
        await running.kill(0)  # it was faster
        await running.wait()
    await until(lambda: not sleepers(marker))


async def test_a_closed_sandbox_has_killed_what_ran_and_starts_nothing(sandbox: Sandbox, ws: Path, marker: str) -> None:
    running = await sandbox.start(command(sandbox, "sleep", marker, cwd=ws), ignore)
    await sandbox.close()
    assert (await running.wait()).killed
    assert sleepers(marker) == []
    with pytest.raises(SandboxUnavailable, match="closed"):
        await sandbox.start(command(sandbox, "true", cwd=ws), ignore)
