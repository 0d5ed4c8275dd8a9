"""The process sandbox runs commands as asked: environment, streams, limits, ends."""

import asyncio
import hashlib
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from services.sandbox import Command, Ended, Limits, SandboxUnavailable, StartFailed
from services.sandbox.capture import Capture
from services.sandbox.pipes import pump
from services.sandbox.process import ProcessSandbox

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="process trees are held together by Linux")

PYTHON = (sys.executable, "-S", "-I", "-c")


@pytest.fixture
async def sandbox() -> AsyncIterator[ProcessSandbox]:
    """A sandbox, which leaves no process and no descriptor behind."""
    descriptors = len(os.listdir("/proc/self/fd"))
    sandbox = ProcessSandbox()
    yield sandbox
    await sandbox.close()
    assert psutil.Process().children(recursive=True) == []
    assert len(os.listdir("/proc/self/fd")) == descriptors


async def run(sandbox: ProcessSandbox, *argv: str, **more: Any) -> tuple[Ended, bytes]:
    """Run a command to its end."""
    output = bytearray()

    async def collect(chunk: bytes) -> None:
        output.extend(chunk)

    running = await sandbox.start(command(*argv, **more), collect)
    return await running.wait(), bytes(output)


def command(*argv: str, cwd: Path = Path("/"), env: dict[str, str] | None = None, **more: Any) -> Command:
    return Command(argv=argv, cwd=cwd, env={"PATH": os.defpath} if env is None else env, **more)


async def ignore(chunk: bytes) -> None:
    """Take output and forget it."""


async def test_exit_codes_and_deaths_by_signal_are_told_apart(sandbox: ProcessSandbox) -> None:
    for code in (0, 3, 127, 255):
        ended, _ = await run(sandbox, "sh", "-c", f"exit {code}")
        assert (ended.exit_code, ended.signal, ended.error, ended.killed) == (code, None, None, False)
    ended, _ = await run(sandbox, "sh", "-c", "kill -SEGV $$")
    assert (ended.exit_code, ended.signal) == (None, signal.SIGSEGV)


async def test_a_command_that_cannot_be_executed_says_why(sandbox: ProcessSandbox, tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("no program")
    for argv, cwd, text in (
        (("no-such-program",), tmp_path, "cannot execute 'no-such-program': No such file or directory"),
        (("./plain",), tmp_path, "cannot execute './plain': Permission denied"),
        (("true",), tmp_path / "gone", "cannot enter the folder '.*gone': No such file or directory"),
        (("a\0b",), tmp_path, "cannot execute .*embedded null"),
    ):
        with pytest.raises(StartFailed, match=text):
            await sandbox.start(command(*argv, cwd=cwd), ignore)
    with pytest.raises(ValueError, match="argv is empty"):
        command()


async def test_the_command_gets_a_clean_start(
    sandbox: ProcessSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "of the engine")
    os.set_inheritable(leak := os.open("/", os.O_RDONLY), True)
    env = {"GIVEN": "1", "BYTES": "\udcff", "LONG": "x" * 100_000}
    _, output = await run(sandbox, "/usr/bin/env", "-0", env=env)
    assert set(output.split(b"\0")) == {b"GIVEN=1", b"BYTES=\xff", b"LONG=" + b"x" * 100_000, b""}
    _, output = await run(sandbox, "sh", "-c", "pwd; umask; ulimit -c; echo /proc/self/fd/*", cwd=tmp_path)
    descriptors = " ".join(f"/proc/self/fd/{number}" for number in range(4))  # 3 is the folder that is being read
    assert output.decode().split("\n")[:4] == [str(tmp_path), "0022", "0", descriptors]
    _, output = await run(sandbox, "grep", "-E", "SigBlk|SigIgn|NoNewPrivs", "/proc/self/status")
    own = ~(0b11 << 31)  # signals 32 and 33 are the C library's own: nobody can set them, all inherit them
    assert [int(line.split()[1], 16) & own for line in output.splitlines()] == [0, 0, 1]
    os.close(leak)


async def test_the_lease_of_a_command_is_known(sandbox: ProcessSandbox) -> None:
    running = await sandbox.start(command("sleep", "30"), ignore)
    fields = Path(f"/proc/{running.pid}/stat").read_text().rpartition(")")[2].split()
    assert (running.pgid, running.start_ticks) == (int(fields[2]), int(fields[19]))
    assert os.getsid(running.pid) == running.pid
    await running.kill(0)
    ended = await running.wait()
    assert (ended.signal, ended.killed, ended.timed_out) == (signal.SIGKILL, True, False)


@pytest.mark.parametrize("size", [1, 5_000_000])
async def test_stdin_arrives_whole_or_not_at_all(sandbox: ProcessSandbox, size: int) -> None:
    data = os.urandom(1000) * (size // 1000 + 1)
    ended, output = await run(sandbox, "sha256sum", stdin=data)
    assert output.split()[0].decode() == hashlib.sha256(data).hexdigest()
    assert ended.exit_code == 0
    for deaf in ("exec 0<&-; exit 4", "sleep 0.05; exit 4"):
        ended, _ = await run(sandbox, "sh", "-c", deaf, stdin=data)
        assert (ended.exit_code, ended.killed) == (4, False)


async def test_stdin_is_at_its_end_when_nothing_is_given(sandbox: ProcessSandbox) -> None:
    ended, output = await run(sandbox, "cat", wall_seconds=5)
    assert (ended.exit_code, output) == (0, b"")


async def test_stdout_and_stderr_arrive_in_the_order_written(sandbox: ProcessSandbox) -> None:
    _, output = await run(sandbox, "sh", "-c", "for i in 1 2 3; do echo out$i; echo err$i >&2; done")
    assert output == b"out1\nerr1\nout2\nerr2\nout3\nerr3\n"


async def test_a_slow_consumer_holds_the_command_back_and_loses_nothing(
    sandbox: ProcessSandbox, tmp_path: Path
) -> None:
    go = asyncio.Event()
    sizes = []

    async def slow(chunk: bytes) -> None:
        sizes.append(len(chunk))
        await go.wait()

    text = "head -c 1000000 /dev/zero; touch done"
    running = await sandbox.start(command("sh", "-c", text, cwd=tmp_path), slow)
    await asyncio.sleep(0.2)
    assert not (tmp_path / "done").exists()
    go.set()
    ended = await running.wait()
    assert (ended.exit_code, sum(sizes), max(sizes) <= 65536) == (0, 1_000_000, True)


async def test_a_consumer_that_fails_ends_the_command(sandbox: ProcessSandbox) -> None:
    async def full(chunk: bytes) -> None:
        raise OSError("disk full")

    running = await sandbox.start(command("sh", "-c", "echo x; sleep 30"), full)
    with pytest.raises(OSError, match="disk full"):
        await running.wait()


async def test_200_mb_of_output_do_not_grow_the_engine(sandbox: ProcessSandbox, tmp_path: Path) -> None:
    me = psutil.Process()
    before = me.memory_info().rss
    most = before

    async def keep(chunk: bytes) -> None:
        nonlocal most
        await capture.take(chunk)
        most = max(most, me.memory_info().rss) if capture.total_bytes % 100 == 0 else most

    with Capture(tmp_path / "output") as capture:
        running = await sandbox.start(command("head", "-c", "200000000", "/dev/zero"), keep)
        started = time.monotonic()
        assert (await running.wait()).exit_code == 0
        captured = capture.finish()
    most = max(most, me.memory_info().rss)
    sys.stdout.write(f"200 MB in {time.monotonic() - started:.2f} s, {(most - before) / 1e6:.1f} MB more\n")
    assert most - before < 8_000_000
    assert captured.total_bytes == 200_000_000
    assert captured.dropped_bytes == 200_000_000 - 2 * 8 * 1024 * 1024


async def test_output_is_drained_after_the_end_though_somebody_holds_the_pipe() -> None:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    ended = asyncio.get_running_loop().create_future()
    chunks = []

    async def collect(chunk: bytes) -> None:
        chunks.append(chunk)
        os.write(writer, b"still here")  # for ever

    os.write(writer, b"x" * 50_000)
    ended.set_result(None)
    await asyncio.wait_for(pump(reader, collect, ended), 5)
    assert b"".join(chunks) == b"x" * 50_000
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("total", [0, 30, 31, 49, 50, 51, 80, 1000, 1013])
@pytest.mark.parametrize("step", [1, 7, 500])
@pytest.mark.parametrize(("head", "held"), [(0, 0), (30, 0), (30, 25), (0, 25)])
def test_a_capture_keeps_both_ends_and_says_what_is_missing(
    tmp_path: Path, total: int, step: int, head: int, held: int
) -> None:
    data = bytes(65 + i % 26 for i in range(total))
    with Capture(tmp_path / "output", head_bytes=head, tail_bytes=20, held_bytes=held) as capture:
        for start in range(0, total, step):
            capture.write(data[start : start + step])
        captured = capture.finish()
    missing = max(0, total - head - 20)
    marker = b"\n" * bool(head) + f"[nightshift: {missing} bytes left out here]\n".encode()
    expected = data[:head] + marker + data[-20:] if missing else data
    assert captured.read() == expected
    assert (captured.total_bytes, captured.dropped_bytes, captured.size) == (total, missing, len(expected))
    assert captured.sha256 == hashlib.sha256(expected).hexdigest()
    assert captured.tail(7) == expected.decode()[-7:]
    assert os.listdir(tmp_path) == (["output"] if total > min(head, held) else []), "little output makes no file"


async def test_limits_bind(sandbox: ProcessSandbox, tmp_path: Path) -> None:
    ended, _ = await run(
        sandbox, "dd", "if=/dev/zero", "of=big", cwd=tmp_path, limits=Limits(file_bytes=1_000_000), wall_seconds=20
    )
    assert (ended.signal, (tmp_path / "big").stat().st_size) == (signal.SIGXFSZ, 1_000_000)
    ended, output = await run(sandbox, *PYTHON, "bytearray(1 << 30)", limits=Limits(memory_bytes=256 << 20))
    assert (ended.exit_code, b"MemoryError" in output) == (1, True)
    text = "while :; do :; done"
    ended, _ = await run(sandbox, "sh", "-c", text, limits=Limits(cpu_seconds=1), wall_seconds=20)
    assert ended.signal == signal.SIGXCPU
    assert 0.8 < ended.cpu_seconds < 2.5
    _, output = await run(sandbox, "sh", "-c", "ulimit -n", limits=Limits(open_files=77, processes=5000))
    assert output == b"77\n"


async def test_what_was_used_is_reported(sandbox: ProcessSandbox) -> None:
    ended, _ = await run(sandbox, *PYTHON, "x = bytearray(b'x' * (64 << 20)); import time; time.sleep(0.1)")
    assert 64 << 20 < ended.max_rss_bytes < 256 << 20
    assert 0.1 <= ended.wall_seconds < 5
    assert ended.cpu_seconds > 0.01


async def test_fifty_commands_at_once(sandbox: ProcessSandbox) -> None:
    started = time.monotonic()
    results = await asyncio.gather(*(run(sandbox, "sh", "-c", f"sleep 0.5; echo {i}; exit {i}") for i in range(50)))
    assert [(ended.exit_code, int(output)) for ended, output in results] == [(i, i) for i in range(50)]
    assert time.monotonic() - started < 10  # one after the other takes 25


async def test_a_closed_sandbox_has_killed_what_ran_and_starts_nothing(sandbox: ProcessSandbox) -> None:
    running = await sandbox.start(command("sleep", "30"), ignore)
    await sandbox.close()
    assert (await running.wait()).killed
    with pytest.raises(SandboxUnavailable, match="closed"):
        await sandbox.start(command("true"), ignore)


async def test_overhead_is_printed(sandbox: ProcessSandbox) -> None:
    bare, started, whole = [], [], []
    await run(sandbox, "true")
    for _ in range(100):
        before = time.perf_counter()
        process = await asyncio.create_subprocess_exec(
            "/bin/true", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        await process.wait()
        bare.append(time.perf_counter() - before)
        before = time.perf_counter()
        running = await sandbox.start(command("/bin/true"), ignore)
        started.append(time.perf_counter() - before)
        await running.wait()
        whole.append(time.perf_counter() - before)
    medians = [statistics.median(each) * 1000 for each in (bare, whole, started)]
    launcher = psutil.Process().children()[0]
    rss = launcher.memory_info().rss / 1e6
    sys.stdout.write("bare {:.2f} ms, sandbox {:.2f} ms, of this start {:.2f} ms".format(*medians))
    sys.stdout.write(f", launcher {rss:.1f} MB\n")
    assert rss < 15
