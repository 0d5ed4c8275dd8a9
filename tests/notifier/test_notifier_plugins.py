"""Plugins of other packages: found, told, failing by themselves; and subscribers that know nothing of us."""

from __future__ import annotations

import asyncio
import importlib
import json
import subprocess
import sys
import time
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from events import NoticeFailed, NoticeSent, TaskFailed
from events.log.access import tenant_user
from events.log.connection import connect
from events.log.jetstream import JetStreamLog
from services.notifier.channels import ChannelError
from services.notifier.channels import plugins as plugins_module
from services.notifier.channels.build import channels_of
from services.notifier.channels.plugins import GROUP, Plugin, installed
from tests.notifier.test_channels import MESSAGE
from tests.notifier.town import settings, town
from tests.servers import embedded
from tests.worlds import draft

ROOT = Path(__file__).parent.parent.parent
QUICK = {"gather": 0.02, "window": 0.0, "limit": 1000}


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example package, installed by pip into a folder of its own."""
    folder = tmp_path_factory.mktemp("plugin")
    command = [
        sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index",
        "--disable-pip-version-check", "--target", str(folder), str(ROOT / "examples" / "notifier-plugin"),
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, timeout=90)
    return folder


@pytest.fixture
def scribe(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package can be imported."""
    monkeypatch.syspath_prepend(str(package))
    importlib.invalidate_caches()


@pytest.mark.usefixtures("scribe")
async def test_a_plugin_of_another_package_is_found_and_told(tmp_path: Path) -> None:
    assert "scribe" in installed()
    assert "scribe" in channels_of(settings(tmp_path, plugins=True))
    options = {"file": str(tmp_path / "scribe.txt")}
    made = settings(tmp_path, channels={"scribe": {"kind": "plugin", "options": options, **QUICK}}, plugins=True)
    async with town(made) as found:
        await found.begin()
        await found.say(TaskFailed(attempts=3, reason="exit code 2"), "1")
        await found.settled()
    (line,) = (tmp_path / "scribe.txt").read_text().splitlines()
    assert json.loads(line)["text"] == "FAILED 1 Build part 1: exit code 2"


def module(monkeypatch: pytest.MonkeyPatch, **names: Any) -> None:
    """A package of these callables is installed: their names are plugins."""
    made = ModuleType("strange_notifiers")
    for name, value in names.items():
        setattr(made, name, value)
    monkeypatch.setitem(sys.modules, "strange_notifiers", made)
    points = {name: EntryPoint(name, f"strange_notifiers:{name}", GROUP) for name in names}
    monkeypatch.setattr(plugins_module, "installed", lambda: points)


async def rude(notice: Any) -> None:
    raise SystemExit(1)


async def busy(notice: Any) -> None:
    time.sleep(0.6)  # noqa: ASYNC251  # what a bad plugin does


async def asleep(notice: Any) -> None:
    await asyncio.sleep(30)


async def kind(notice: Any) -> None:
    notice["title"] = "changed"


def test_a_plugin_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    module(monkeypatch, plain=lambda notice: None, broken=3)
    for name, reason in [
        ("plain", "not an async callable"),
        ("broken", "not an async callable"),
        ("nobody", "is installed"),
    ]:
        with pytest.raises(ChannelError, match=reason) as raised:
            Plugin(name, {}).send(MESSAGE, 1.0)
        assert not raised.value.again
    missing = EntryPoint("missing", "no_such_package:tell", GROUP)
    with pytest.raises(ChannelError, match="cannot be imported: ModuleNotFoundError"):
        Plugin("missing", {}, missing).send(MESSAGE, 1.0)


async def test_a_plugin_that_fails_or_hangs_is_alone_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module(monkeypatch, rude=rude, busy=busy, asleep=asleep, kind=kind)
    names = ("rude", "busy", "asleep", "kind")
    channels = {name: {"kind": "plugin", "tries": 1, "timeout": 0.3, **QUICK} for name in names}
    beats = 0

    async def heart() -> None:
        nonlocal beats
        while True:
            await asyncio.sleep(0.01)
            beats += 1

    async with town(settings(tmp_path, channels=channels)) as found:
        beating = asyncio.create_task(heart())
        await found.begin()
        await found.say(TaskFailed(attempts=3, reason="exit code 2"), "1")
        await found.settled()
        beating.cancel()
        notices = {n.channel: n for n in await found.notices()}
    assert isinstance(notices["kind"], NoticeSent)
    reasons = {name: n.reason for name, n in notices.items() if isinstance(n, NoticeFailed)}
    assert set(reasons) == {"rude", "busy", "asleep"} or set(reasons) == {"rude", "asleep"}
    assert "SystemExit" in reasons["rude"]
    assert "within 0.3 s" in reasons["asleep"]
    assert beats > 10, "a plugin stopped the loop that everybody shares"


async def test_a_plain_subscriber_hears_of_failures(tmp_path: Path) -> None:
    script = ROOT / "examples" / "plain-subscriber" / "tell.py"
    assert len(script.read_text().splitlines()) <= 20
    async with embedded(tmp_path, isolated=True) as server:
        url = server.credentials(tenant_user("default"))
        process = await asyncio.create_subprocess_exec(sys.executable, str(script), url, stdout=asyncio.subprocess.PIPE)
        planner = await connect(server.credentials("planner"), name="test")
        heard: list[bytes] = []

        async def read() -> None:
            assert process.stdout is not None
            async for line in process.stdout:
                heard.append(line)  # noqa: PERF401  # it never ends

        reading = asyncio.create_task(read())
        try:
            log, last = JetStreamLog(planner), 0
            async with asyncio.timeout(30):
                while not heard:  # until it has subscribed, nobody hears
                    fact = draft(TaskFailed(attempts=3, reason="exit code 2"), "1", expected=last, cause=f"c{last}")
                    last = (await log.append(fact))[0].sequence
                    await asyncio.sleep(0.1)
        finally:
            process.terminate()
            await process.wait()
            await reading
            await planner.close()
    assert heard[0].startswith(b"failed: 1 {")
    assert b"exit code 2" in heard[0]
