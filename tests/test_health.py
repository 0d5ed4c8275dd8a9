"""Health pages and log lines, as those who supervise services see them."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from events.log import Consumer, Delivery, LogUnavailable, Recorded
from events.log.memory import MemoryLog
from events.log.spans import context_of
from nightshift.server_process import free_port
from services.folds import Folds
from services.health import HealthError, HealthPage
from services.logs import JsonFormatter, TextFormatter, speak_of
from services.shell import Context, Reactor
from tests.controls import EXECUTION_ID
from tests.test_processes import submit, world

TRACE = f"00-{'ab' * 16}-{'cd' * 8}-01"


def get(port: int, path: str = "/health") -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as page:
            return page.status, json.load(page)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error) if path == "/health" else None


async def well() -> dict[str, Any]:
    return {"last": 7}


async def gone() -> dict[str, Any]:
    raise LogUnavailable("nobody answers")


async def broken() -> dict[str, Any]:
    raise RuntimeError("the planner ended by itself")


@pytest.mark.parametrize(
    ("check", "answer"),
    [
        (well, (200, {"ok": True, "last": 7})),
        (gone, (503, {"ok": False, "reason": "nobody answers"})),
        (broken, (503, {"ok": False, "reason": "the planner ended by itself"})),
    ],
)
async def test_the_page_says_how_it_is(check: Any, answer: tuple[int, Any]) -> None:
    page = HealthPage("127.0.0.1", 0, check)
    try:
        assert await asyncio.to_thread(get, page.port) == answer
        assert (await asyncio.to_thread(get, page.port, "/etc/passwd"))[0] == 404
    finally:
        await page.close()


async def test_a_loop_that_hangs_is_seen_to_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.health.PATIENCE", 0.1)
    monkeypatch.setattr("services.health.GRACE", 0.1)
    page = HealthPage("127.0.0.1", 0, well)
    try:
        found: list[tuple[int, Any]] = []
        asking = threading.Thread(target=lambda: found.append(get(page.port)))
        asking.start()
        asking.join()  # the event loop stands still meanwhile
        assert found == [(503, {"ok": False, "reason": "no answer within 0.1 s"})]
    finally:
        await page.close()


async def test_a_taken_port_is_named() -> None:
    page = HealthPage("127.0.0.1", 0, well)
    try:
        with pytest.raises(HealthError, match="NIGHTSHIFT_HEALTH_PORT"):
            HealthPage("127.0.0.1", page.port, well)
    finally:
        await page.close()


def probe(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "services", "health", *words], env={**os.environ, **more}, capture_output=True,
        text=True, timeout=60, check=False,
    )  # fmt: skip


async def soon(port: int) -> tuple[int, dict[str, Any]]:
    """What a page says, once there is one and all is well; at the latest after some seconds."""
    for _ in range(200):
        try:
            code, answer = await asyncio.to_thread(get, port)
            if code == 200:
                return code, answer
        except urllib.error.URLError:
            pass
        await asyncio.sleep(0.05)
    return await asyncio.to_thread(get, port)


@pytest.mark.whole
async def test_every_service_has_a_page_and_a_probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ports = {}
    async with world(tmp_path / "home") as (here, client):
        for name in ("planner", "executor", "verifier", "projections"):
            ports[name] = free_port()
            monkeypatch.setenv("NIGHTSHIFT_HEALTH_PORT", str(ports[name]))
            here.start(name)
        await submit(client, {"plan": "One", "tasks": [{"id": "a", "run": "true"}]})
        await here.until("ExecutionCompleted")
        last = here.history[-1].sequence
        for name, port in ports.items():
            code, answer = await soon(port)  # a plan may be over before the last of them has a page
            assert (code, answer["ok"], answer["services"]) == (200, True, [name])
            assert answer["last"] >= last
        done = await asyncio.to_thread(probe, NIGHTSHIFT_HEALTH_PORT=str(ports["planner"]))
        assert (done.returncode, json.loads(done.stdout)["services"]) == (0, ["planner"])
        here.processes["planner"].send_signal(signal.SIGSTOP)
        here.processes["verifier"].kill()
        for name in ("planner", "verifier"):
            url = f"http://127.0.0.1:{ports[name]}/health"
            done = await asyncio.to_thread(probe, url)
            assert (done.returncode, url in done.stderr) == (1, True)
    monkeypatch.delenv("NIGHTSHIFT_HEALTH_PORT")
    assert probe().returncode == 2


# -- log lines ------------------------------------------------------------------------------------------------------


def line(formatter: logging.Formatter) -> str:
    return formatter.format(
        logging.makeLogRecord({"name": "x", "levelname": "ERROR", "msg": "it broke: %s", "args": ("a",)})
    )


async def test_lines_name_what_they_are_about() -> None:
    async def handling(task: str) -> tuple[str, str]:
        speak_of("acme", EXECUTION_ID, task, TRACE)
        await asyncio.sleep(0)
        return line(JsonFormatter()), await asyncio.create_task(inner())

    async def inner() -> str:
        return line(TextFormatter())

    found = await asyncio.gather(*(asyncio.create_task(handling(f"t{n}")) for n in range(2)))
    for number, (as_json, as_text) in enumerate(found):
        assert json.loads(as_json).items() >= {
            "level": "ERROR", "message": "it broke: a", "tenant": "acme", "execution": EXECUTION_ID,
            "task": f"t{number}", "trace_id": "ab" * 16,
        }.items()  # fmt: skip
        assert as_text.endswith(f"[tenant=acme execution={EXECUTION_ID} task=t{number} trace_id={'ab' * 16}]")
    assert "execution" not in json.loads(line(JsonFormatter()))


async def test_an_error_of_a_service_is_found_by_execution_and_trace(caplog: pytest.LogCaptureFixture) -> None:
    lines: list[str] = []

    class Keeping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(JsonFormatter().format(record))

    async def react(recorded: Recorded, delivery: Delivery) -> None:
        raise ValueError("a mistake")

    log = MemoryLog()
    folds = Folds(log)
    context = Context("planner", "planner", log, folds)
    reactor = Reactor(context, Consumer(name="planner", filters=("evt.*.*.~in.*",)), react)
    keeping = Keeping()
    logging.getLogger("services.shell").addHandler(keeping)
    running = asyncio.create_task(reactor.run())
    try:
        await log.publish_raw(f"evt.acme.{EXECUTION_ID}.~in.PauseRequested", b'{"request": "r"}', {})
        async with asyncio.timeout(10):
            while not lines:  # noqa: ASYNC110  # a handler fills it
                await asyncio.sleep(0.01)
    finally:
        logging.getLogger("services.shell").removeHandler(keeping)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    found = json.loads(lines[0])
    assert found["execution"] == EXECUTION_ID
    assert found["trace_id"] == context_of("acme", EXECUTION_ID).trace
    assert "ValueError: a mistake" in found["error"]


def test_settings_choose_the_format() -> None:
    code = (
        "import logging\nfrom services.logs import configure\nfrom schemas.settings import Settings\n"
        "configure(Settings())\nlogging.getLogger('x').error('é')"
    )
    environment = {**os.environ, "NIGHTSHIFT_LOG_FORMAT": "json"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stderr)["message"] == "é"
