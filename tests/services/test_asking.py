"""An `http` criterion reaches what the task itself may reach, and nothing else."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from schemas.accept import accept
from schemas.formats import read_text
from schemas.grants import Isolation
from schemas.values import Criterion, Plan
from services.verifier import asking
from services.verifier.asking import NotGranted, ask

HOST = Isolation(network="host")


class Site:
    """Answers by path; notes every question."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.elsewhere = ""
        self.leave = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(handler) -> None:
                self.asked.append(handler.path)
                to = {"/near": "/well", "/far": self.elsewhere, "/secure": self.elsewhere.replace("http", "https")}
                handler.send_response(302 if handler.path in to else 200 if handler.path == "/well" else 404)
                if handler.path in to:
                    handler.send_header("Location", to[handler.path])
                handler.end_headers()
                handler.wfile.write(b"all is well")
                while handler.path == "/drip" and not self.leave.wait(0.02):
                    handler.wfile.write(b".")

            def log_message(handler, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,)).start()

    def close(self) -> None:
        self.leave.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def sites() -> Iterator[tuple[Site, Site]]:
    here, there = Site(), Site()
    here.elsewhere = f"{there.url}/well"
    yield here, there
    for site in (here, there):
        site.close()


def check(url: str, **fields: Any) -> Criterion:
    return Criterion(id="c1", kind="http", url=url, **{"timeout": 5.0, **fields})


async def test_without_a_grant_nothing_is_asked(sites: tuple[Site, Site]) -> None:
    here, _ = sites
    for reach in (Isolation(), Isolation(network="none"), Isolation(ports=(1, 443))):
        with pytest.raises(NotGranted, match=rf"port {here.port} of 127.0.0.1: grant `network: \[{here.port}\]`"):
            await ask(check(f"{here.url}/well"), reach)
    with pytest.raises(NotGranted, match=r"port 80 of 169\.254\.169\.254"):
        await ask(check("http://169.254.169.254/latest/meta-data/"), Isolation(ports=(443,)))
    with pytest.raises(NotGranted, match="port 443"):
        await ask(check("https://localhost/"), Isolation(ports=(80,)))
    assert here.asked == []


@pytest.mark.parametrize("reach", ["host", "port"])
async def test_with_a_grant_status_and_content_decide(sites: tuple[Site, Site], reach: str) -> None:
    here, _ = sites
    granted = HOST if reach == "host" else Isolation(ports=(here.port,))
    assert (await ask(check(f"{here.url}/well", contains="is well"), granted)).result == "pass"
    assert (await ask(check(f"{here.url}/well", contains="ill"), granted)).detail == "it answers 200, without 'ill'"
    assert (await ask(check(f"{here.url}/nope"), granted)).detail == "it answers 404, not 200"
    assert (await ask(check(f"{here.url}/nope", status=404), granted)).result == "pass"


async def test_no_redirect_leads_elsewhere(sites: tuple[Site, Site]) -> None:
    here, there = sites
    assert (await ask(check(f"{here.url}/near"), Isolation(ports=(here.port,)))).result == "pass"
    for path in ("/far", "/secure"):
        for reach in (HOST, Isolation(ports=(here.port, there.port))):
            answer = await ask(check(here.url + path), reach)
            assert answer.detail == "it answers 302, which leads elsewhere and is not followed, not 200"
    assert (await ask(check(f"{here.url}/far", status=302), HOST)).result == "pass"
    assert there.asked == []


@pytest.mark.parametrize(
    "form", ["http://127.0.0.1:{a}@127.0.0.1:{b}/well", "http://127.0.0.1:{b}\\@127.0.0.1:{a}/well"]
)
async def test_no_spelling_gets_around_the_port(sites: tuple[Site, Site], form: str) -> None:
    here, there = sites
    with contextlib.suppress(ValueError, OSError):
        await ask(check(form.format(a=here.port, b=there.port)), Isolation(ports=(here.port,)))
    assert there.asked == []


async def test_a_proxy_is_not_a_way_around(sites: tuple[Site, Site], monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = sites
    monkeypatch.setenv("http_proxy", there.url)
    monkeypatch.setenv("no_proxy", "")
    assert (await ask(check(f"{here.url}/well"), Isolation(ports=(here.port,)))).result == "pass"
    assert there.asked == []


async def test_an_answer_without_end_is_given_up(sites: tuple[Site, Site]) -> None:
    with pytest.raises(TimeoutError):
        await ask(check(f"{sites[0].url}/drip", timeout=0.3), HOST)


async def test_nobody_there_is_a_no() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        answer = await ask(check(f"http://127.0.0.1:{taken.getsockname()[1]}/"), HOST)
    assert answer.result == "fail"
    assert answer.detail.startswith("no answer: ")
    assert asking.MAX_SECONDS == 60


PLAN = """
plan: Health
{policy}
gates: [{{use: service_health, url: "http://localhost:8000/up", when: pre_execution}}]
tasks:
  - {{id: asks, run: "true", {task} verify: [{{http: "https://example.org/x"}}]}}
"""


@pytest.mark.parametrize(
    ("policy", "task", "wrong"),
    [
        ("", "", ["task 'asks'", "gate"]),
        ("policy: {network: host}", "", []),
        ("policy: {network: [8000]}", "network: [443],", []),
        ("policy: {network: [8000]}", "", ["task 'asks'"]),
        ("", "network: host,", ["gate"]),
    ],
)
def test_a_plan_that_asks_more_than_it_may_is_rejected_when_it_is_read(
    policy: str, task: str, wrong: list[str]
) -> None:
    answer = accept(read_text("plan.yaml", PLAN.format(policy=policy, task=task)), plan_id="p")
    if not wrong:
        assert isinstance(answer, Plan)
        return
    assert not isinstance(answer, Plan)
    assert {d.code for d in answer} == {"no-network"}
    assert len(answer) == len(wrong)
    assert all(any(word in d.message for d in answer) for word in wrong)
