"""The process sandbox leaves nothing behind: whatever a command forks, whoever is killed."""

import asyncio
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from services.sandbox import Command, SandboxUnavailable, process
from services.sandbox.launcher import tree
from services.sandbox.process import ProcessRunning, ProcessSandbox
from services.sandbox.survivors import kill_marked

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="process trees are held together by Linux")

ROOT = Path(__file__).parents[2]
PYTHON = (sys.executable, "-S", "-I", "-c")
HOSTILE = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    os.closerange(0, 256)
    sleep = "import time; time.sleep(60)"
    os.execve(sys.executable, [sys.executable, "-S", "-I", "-c", sleep, sys.argv[1] + "-daemon"], {})
time.sleep(60)
"""
"""Ignores SIGTERM, and so does its daemon: two forks, a session of its own, no descriptors, no environment."""
CHAINS = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
end = time.monotonic() + 20
for chain in range(4):
    if os.fork() == 0:
        while time.monotonic() < end:
            if os.fork():
                os._exit(0)
            if chain % 2:
                os.setsid()
        os._exit(0)
time.sleep(60)
"""
"""Four chains of processes: each forks the next and is gone, two of them into a new session every time."""
ENGINE = """
import asyncio, sys
from pathlib import Path
from services.sandbox import Command
from services.sandbox.process import ProcessSandbox

async def ignore(chunk): pass
async def main():
    sandbox = ProcessSandbox()
    argv = (sys.executable, "-S", "-I", "-c", sys.argv[1], sys.argv[2])
    await sandbox.start(Command(argv=argv, cwd=Path("/"), env={}), ignore)
    await asyncio.sleep(60)
asyncio.run(main())
"""


@pytest.fixture
def marker() -> Iterator[str]:
    """A word for the arguments of a test's processes."""
    marker = f"marker-{uuid.uuid4()}"
    yield marker
    for each in bearing(marker):
        each.kill()


@pytest.fixture
async def sandbox() -> AsyncIterator[ProcessSandbox]:
    sandbox = ProcessSandbox()
    yield sandbox
    await sandbox.close()
    assert psutil.Process().children(recursive=True) == []


async def ignore(chunk: bytes) -> None:
    """Take output and forget it."""


async def start(sandbox: ProcessSandbox, *argv: str, **more: Any) -> ProcessRunning:
    return await sandbox.start(Command(argv=argv, cwd=Path("/"), env={"PATH": os.defpath}, **more), ignore)


def bearing(marker: str) -> list[psutil.Process]:
    """The living processes with this word in their arguments."""
    found = []
    for each in psutil.process_iter():
        with suppress(psutil.Error):
            if any(marker in part for part in each.cmdline()) and each.status() != psutil.STATUS_ZOMBIE:
                found.append(each)
    return found


def lives(one: psutil.Process) -> bool:
    """Whether it runs: whoever inherits the dead may take time to collect them."""
    with suppress(psutil.NoSuchProcess):
        return one.is_running() and one.status() != psutil.STATUS_ZOMBIE
    return False


async def until(condition: Callable[[], bool], seconds: float = 10) -> float:
    """Wait for a condition; returns how long it took."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, "in vain"
        await asyncio.sleep(0.005)
    return time.monotonic() - started


async def start_hostile(sandbox: ProcessSandbox, marker: str, **more: Any) -> ProcessRunning:
    running = await start(sandbox, *PYTHON, HOSTILE, marker, **more)
    await until(lambda: len(bearing(marker)) == 2 and len(bearing(marker + "-daemon")) == 1)
    return running


def family(running: ProcessRunning) -> tuple[psutil.Process, psutil.Process]:
    """The keeper of a command, and the launcher."""
    keeper = psutil.Process(running.pid).parent()
    assert keeper is not None
    launcher = keeper.parent()
    assert launcher is not None
    return keeper, launcher


async def test_the_time_is_up_for_the_whole_tree(sandbox: ProcessSandbox, marker: str) -> None:
    running = await start_hostile(sandbox, marker, wall_seconds=1.0, grace_seconds=0.3)
    ended = await running.wait()
    assert bearing(marker) == []
    assert (ended.timed_out, ended.killed, ended.signal, ended.error) == (True, True, signal.SIGKILL, None)
    assert 1.3 <= ended.wall_seconds < 3


async def test_grace_lets_a_command_end_in_order(sandbox: ProcessSandbox) -> None:
    running = await start(sandbox, "sh", "-c", "trap 'exit 7' TERM; sleep 30 & wait", wall_seconds=0.2)
    ended = await running.wait()
    assert (ended.exit_code, ended.timed_out, ended.killed) == (7, True, True)
    assert ended.wall_seconds < 4  # and not only after the grace


async def test_a_second_kill_shortens_the_grace(sandbox: ProcessSandbox, marker: str) -> None:
    running = await start_hostile(sandbox, marker)
    await running.kill(60)
    await running.kill(0)
    ended = await asyncio.wait_for(running.wait(), 5)
    assert (ended.killed, ended.timed_out, bearing(marker)) == (True, False, [])
    await running.kill()  # no effect


async def test_chains_of_forks_are_overtaken(sandbox: ProcessSandbox, marker: str) -> None:
    for _ in range(3):
        running = await start(sandbox, *PYTHON, CHAINS, marker)
        await until(lambda: len(bearing(marker)) >= 3)
        started = time.monotonic()
        await running.kill(0)
        ended = await running.wait()
        assert (ended.error, bearing(marker)) == (None, [])
        assert time.monotonic() - started < 5


async def test_a_daemon_left_behind_is_killed_and_counted(sandbox: ProcessSandbox, marker: str) -> None:
    text = HOSTILE.replace("time.sleep(60)\n", "sys.exit(5)\n")
    running = await start(sandbox, *PYTHON, text, marker)
    ended = await running.wait()
    assert (ended.exit_code, ended.leftovers, ended.killed, bearing(marker)) == (5, 1, False, [])
    running = await start(sandbox, "sh", "-c", "sleep 60 & sleep 60 & echo x")  # they hold the pipe
    assert (await asyncio.wait_for(running.wait(), 5)).leftovers == 2
    running = await start(sandbox, "sh", "-c", "sleep 0.02 &")  # ends by itself soon after
    assert (await running.wait()).leftovers == 0


async def test_leftovers_can_be_waited_for(sandbox: ProcessSandbox, tmp_path: Path) -> None:
    text = f"(sleep 0.4; touch {tmp_path}/late) & exit 3"
    ended = await (await start(sandbox, "sh", "-c", text, kill_leftovers=False)).wait()
    assert (ended.exit_code, ended.leftovers, (tmp_path / "late").exists()) == (3, 0, True)
    ended = await (await start(sandbox, "sh", "-c", "sleep 60 & exit 3", kill_leftovers=False, wall_seconds=0.1)).wait()
    assert (ended.exit_code, ended.timed_out) == (3, True)


async def test_a_keeper_killed_by_its_own_task(sandbox: ProcessSandbox, marker: str) -> None:
    running = await start_hostile(sandbox, marker)
    keeper, _ = family(running)
    text = f"read go; kill -9 {keeper.pid} $PPID; sleep 60"  # stdin comes when the start has been reported
    suicidal = await start(sandbox, "sh", "-c", text, marker, stdin=b"go\n")
    for each in (running, suicidal):
        ended = await asyncio.wait_for(each.wait(), 5)
        assert (ended.error, ended.exit_code, ended.killed) == ("keeper lost", None, True)
    assert bearing(marker) == []  # at once: the end is told when the launcher has cleared up
    assert (await (await start(sandbox, "true")).wait()).exit_code == 0


async def test_a_launcher_killed(sandbox: ProcessSandbox, marker: str) -> None:
    running = await start_hostile(sandbox, marker)
    _, launcher = family(running)
    launcher.send_signal(signal.SIGKILL)
    ended = await asyncio.wait_for(running.wait(), 5)
    assert (ended.error, ended.killed, bearing(marker)) == ("launcher lost", True, [])
    another = await start(sandbox, "sleep", "0.1")
    assert family(another)[1].pid != launcher.pid
    assert (await another.wait()).exit_code == 0


async def test_starting_right_after_the_launcher_was_killed(sandbox: ProcessSandbox) -> None:
    for _ in range(10):
        running = await start(sandbox, "sleep", "60")
        family(running)[1].send_signal(signal.SIGKILL)
        with suppress(SandboxUnavailable):  # it may be given to a keeper that is about to learn
            ended = await (await start(sandbox, "true")).wait()
            assert (ended.exit_code, ended.error) in ((0, None), (0, "launcher lost"), (None, "launcher lost"))
        assert (await running.wait()).error == "launcher lost"


async def test_a_keeper_that_was_stopped_is_dropped(
    sandbox: ProcessSandbox, marker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "KILLING", 0.1)
    monkeypatch.setattr(process, "MARGIN", 0.1)
    running = await start_hostile(sandbox, marker)
    keeper, launcher = family(running)
    keeper.suspend()
    launcher.suspend()
    await running.kill(0)
    ended = await asyncio.wait_for(running.wait(), 5)
    assert (ended.error, bearing(marker)) == ("keeper lost", [])


@pytest.mark.parametrize("stopped", [False, True])
async def test_an_engine_killed_takes_everything_with_it(marker: str, stopped: bool) -> None:
    engine = subprocess.Popen([sys.executable, "-c", ENGINE, HOSTILE, marker], cwd=ROOT)  # noqa: ASYNC220
    try:
        await until(lambda: len(bearing(marker + "-daemon")) == 1)
        below = psutil.Process(engine.pid).children(recursive=True)
        if stopped:
            for keeper in psutil.Process(engine.pid).children()[0].children():
                keeper.suspend()
    finally:
        engine.kill()
        engine.wait()
    took = await until(lambda: not any(lives(each) for each in below), 1)
    assert len(below) >= 5  # launcher, keeper, the keeper forked ahead, task, daemon
    sys.stdout.write(f"gone {took * 1000:.0f} ms after the engine\n")
    assert bearing(marker) == []


async def test_a_start_that_is_cancelled_leaves_nothing(sandbox: ProcessSandbox, marker: str) -> None:
    for milliseconds in range(12):
        with suppress(TimeoutError):
            async with asyncio.timeout(milliseconds / 2000):
                running = await start(sandbox, *PYTHON, HOSTILE, marker)
                await running.kill(0)
                await running.wait()
    running = await start_hostile(sandbox, marker)
    running.task.cancel()
    await until(lambda: bearing(marker) == [])
    assert (await (await start(sandbox, "true")).wait()).exit_code == 0


async def test_a_keeper_holds_nothing_of_another(sandbox: ProcessSandbox) -> None:
    keepers = [family(await start(sandbox, "sleep", "60"))[0] for _ in range(4)]
    assert len({keeper.num_fds() for keeper in keepers}) == 1


async def test_survivors_are_found_by_their_mark(marker: str) -> None:
    def survivor(value: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(["sleep", "60"], env={"LEASE": value}, start_new_session=True)

    survivors = [survivor(marker), survivor(marker)]
    others = [survivor(marker + "x"), survivor("x" + marker)]
    assert await kill_marked("LEASE", marker) == 2
    assert [each.wait(5) for each in survivors] == [-signal.SIGKILL] * 2
    assert [each.poll() for each in others] == [None, None]
    for each in others:
        each.kill()
        each.wait()
    text = "import asyncio; from services.sandbox.survivors import *; print(asyncio.run(kill_marked('LEASE', 'mine')))"
    argv = [sys.executable, "-c", text]
    assert subprocess.check_output(argv, cwd=ROOT, env={"LEASE": "mine"}, timeout=20) == b"0\n"  # noqa: ASYNC221
    with pytest.raises(ValueError, match="cannot mark"):
        await kill_marked("LEASE", "")


def test_children_are_found_without_the_kernels_lists() -> None:
    child = subprocess.Popen(["sleep", "60"])
    try:
        assert tree._children_by_scan(os.getpid()) == tree.children(os.getpid()) == [child.pid]
    finally:
        child.kill()
        child.wait()
