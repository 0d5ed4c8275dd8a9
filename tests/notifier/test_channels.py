"""Channels against loopback servers that speak the real protocols."""

from __future__ import annotations

import json
import os
import stat
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from schemas.notify import Channel
from schemas.settings import Settings
from services.notifier.channels import Absent, Attachment, ChannelError, Message, Sender
from services.notifier.channels import build as build_module
from services.notifier.channels.apprised import ntfy_url
from services.notifier.channels.build import channels_of, secrets_of, sender_of
from services.notifier.channels.voice import Voice, notify_url
from services.notifier.channels.webhook import signature
from services.notifier.threads import in_thread
from tests.notifier.receivers import receiver, smtp_server, voice_server

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
"""Apprise imports it."""

PAGE = Attachment(name="report.html", media="text/html", data=b"<!DOCTYPE html><p>done")
MESSAGE = Message(
    id="m1", tenant="acme", severity="error", title="Nightshift: Ship", text="FAILED 1 Build: exit code 2",
    speech="Attention please, task Build of plan Ship has failed.", at="2026-09-21T14:13:20.000+00:00",
    notices=({"kind": "task_failed", "id": "e1"},), attachments=(PAGE,),
)  # fmt: skip


def sender(
    name: str = "x", *, home: Path = Path("."), settings: dict[str, Any] | None = None, **channel: Any
) -> Sender:
    made = Settings.model_validate({"home": home, **(settings or {})})
    return sender_of(name, Channel.model_validate(channel), made)


# -- voice ----------------------------------------------------------------------------------------------------------


def test_voice_speaks() -> None:
    with voice_server() as server:
        sender(kind="voice", url=server.url, voice_id="v1").send(MESSAGE, 5.0)
    (got,) = server.posts
    assert got.path == "/notify"
    assert got.json() == {
        "message": MESSAGE.speech, "title": "Autonomous Execution", "voice_id": "v1", "priority": "high",
    }  # fmt: skip


@pytest.mark.parametrize("placeholder", ["YOUR_VOICE_ID_HERE", "{DAIDENTITY.VOICEID}", "", None])
def test_a_placeholder_is_no_voice(placeholder: str | None) -> None:
    with voice_server() as server:
        sender(kind="voice", url=server.url, voice_id=placeholder).send(MESSAGE, 5.0)
    assert "voice_id" not in server.posts[0].json()


@pytest.mark.parametrize(
    ("url", "full"),
    [
        ("http://h:8888", "http://h:8888/notify"),
        ("http://h:8888/", "http://h:8888/notify"),
        ("http://h/say", "http://h/say"),
    ],
)
def test_the_founding_variable_names_the_server_only(url: str, full: str) -> None:
    assert notify_url(url) == full


def test_a_voice_nobody_asked_for_is_looked_for_once_and_missed_by_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver(lambda got: (404, {})) as stranger:
        voice = Voice(stranger.url, optional=True)
        for _ in range(3):
            with pytest.raises(Absent):
                voice.send(MESSAGE, 5.0)
    assert [got.method for got in stranger.got] == ["GET"]
    with voice_server() as server:
        monkeypatch.setattr(build_module, "DEFAULT_URL", server.url)
        found = sender(kind="voice")
        found.send(MESSAGE, 5.0)
        found.send(MESSAGE, 5.0)
    assert [got.path for got in server.got] == ["/health", "/notify", "/notify"]


@pytest.mark.parametrize(
    ("status", "headers", "again", "after"),
    [(400, {}, False, None), (404, {}, False, None), (429, {"Retry-After": "17"}, True, 17.0), (429, {}, True, None),
     (500, {}, True, None), (502, {}, True, None), (307, {"Location": "/elsewhere"}, False, None)],
)  # fmt: skip
def test_what_a_server_answers(status: int, headers: dict[str, str], again: bool, after: float | None) -> None:
    with receiver(lambda got: (status, headers)) as server, pytest.raises(ChannelError) as raised:
        sender(kind="voice", url=f"{server.url}/secret-path").send(MESSAGE, 5.0)
    assert (raised.value.again, raised.value.after) == (again, after)
    assert "secret-path" not in str(raised.value)
    assert len(server.got) == 1


def test_a_server_that_is_not_there_or_hangs() -> None:
    with receiver() as server:
        dead = server.url
    with pytest.raises(ChannelError, match="cannot be reached"):
        sender(kind="voice", url=dead).send(MESSAGE, 5.0)
    with receiver() as server:
        server.answer = lambda got: (server.gone.wait(30), (200, {}))[1]
        with pytest.raises(ChannelError, match=r"no answer within 0.2 s"):
            sender(kind="voice", url=server.url).send(MESSAGE, 0.2)


# -- webhook ----------------------------------------------------------------------------------------------------------


def test_a_webhook_is_signed_over_its_time_and_body() -> None:
    with receiver() as server:
        sender(kind="webhook", url=f"{server.url}/hook", secret="s3cret").send(MESSAGE, 5.0)
    (got,) = server.posts
    stamp = got.headers["Nightshift-Timestamp"]
    assert abs(int(stamp) - time.time()) < 60
    assert got.headers["Nightshift-Signature"] == signature("s3cret", stamp, got.body)
    assert signature("s3cret", stamp, got.body + b" ") != signature("s3cret", stamp, got.body)
    assert signature("s3cret", str(int(stamp) + 1), got.body) != got.headers["Nightshift-Signature"]
    assert got.headers["Nightshift-Notice"] == "m1"
    assert got.json() == MESSAGE.body()


def test_the_signature_is_the_documented_one() -> None:
    """Computed with ``openssl dgst -sha256 -hmac s3cret`` over ``1790000000.{}``."""
    assert signature("s3cret", "1790000000", b"{}") == (
        "v1=0d84afbca530158326e0549a7a1c3579755f9b8ba4cceba2c143dbe14147b60f"
    )


# -- what Apprise speaks ----------------------------------------------------------------------------------------------


def test_ntfy() -> None:
    with receiver() as server:
        sender(kind="ntfy", url=server.url, topic="night").send(MESSAGE, 5.0)
    (got,) = server.posts
    body = got.json()
    assert (body["topic"], body["title"], body["message"]) == ("night", MESSAGE.title, MESSAGE.text)


def test_ntfy_by_the_founding_variable_with_a_topics_url(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver() as server:
        monkeypatch.setenv("NTFY_TOPIC", f"{server.url}/night")
        settings = Settings()
        channel = channels_of(settings)["ntfy"]
        sender_of("ntfy", channel, settings).send(MESSAGE, 5.0)
        assert secrets_of(channel) == (f"{server.url}/night",)
    assert server.posts[0].json()["topic"] == "night"


@pytest.mark.parametrize(
    ("topic", "server", "token", "url"),
    [
        ("night", None, None, "ntfys://ntfy.sh/night"),
        ("night", "http://h:80", None, "ntfy://h:80/night"),
        ("https://h/night", None, None, "ntfys://h/night"),
        ("night", None, "tk_x", "ntfys://tk_x@ntfy.sh/night"),
        ("a b", "https://u:p@h", None, "ntfys://u:p@h/a%20b"),
    ],
)
def test_addresses_of_ntfy(topic: str, server: str | None, token: str | None, url: str) -> None:
    assert ntfy_url(topic, server=server, token=token) == url


def test_discord_with_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    from apprise.plugins.discord import NotifyDiscord

    with receiver() as server:
        monkeypatch.setattr(NotifyDiscord, "notify_url", f"{server.url}/api/webhooks")
        hook = f"https://discord.com/api/webhooks/{'1' * 18}/{'t' * 60}"
        sender(kind="discord", url=hook).send(MESSAGE, 5.0)
        sender(kind="discord", url=hook, attach=False).send(MESSAGE, 5.0)
    bodies = [got.body.decode() for got in server.posts]
    assert all(got.path.startswith(f"/api/webhooks/{'1' * 18}/{'t' * 60}") for got in server.posts)
    assert MESSAGE.text in bodies[0]
    assert sum(PAGE.data.decode() in body for body in bodies) == 1
    assert "report.html" in "".join(bodies)


def test_mail_with_the_report() -> None:
    with smtp_server() as server:
        url = f"mailto://127.0.0.1:{server.port}?from=night@example.org&to=ada@example.org&mode=insecure"
        sender(kind="email", url=url).send(MESSAGE, 5.0)
    ((to, mail),) = server.mails
    assert to == ["ada@example.org"]
    assert "Nightshift" in mail
    assert "report.html" in mail


def test_anything_else_that_apprise_speaks() -> None:
    with receiver() as server:
        sender(kind="apprise", url=f"json://127.0.0.1:{server.port}/x?+X-Key=k").send(MESSAGE, 5.0)
    (got,) = server.posts
    assert got.headers["X-Key"] == "k"
    assert (got.json()["message"], got.json()["type"]) == (MESSAGE.text, "failure")


def test_what_apprise_is_refused_is_a_failure_that_names_no_address() -> None:
    with receiver(lambda got: (503, {})) as server, pytest.raises(ChannelError) as raised:
        sender(kind="apprise", url=f"json://user:pass@127.0.0.1:{server.port}/x").send(MESSAGE, 5.0)
    assert raised.value.again
    assert "503" in str(raised.value)
    assert "pass" not in str(raised.value)
    with pytest.raises(ChannelError, match="does not know this address") as raised:
        sender(kind="apprise", url="nothing://x").send(MESSAGE, 5.0)
    assert not raised.value.again


# -- this machine -----------------------------------------------------------------------------------------------------


def test_a_log_file(tmp_path: Path) -> None:
    channel = sender(kind="log", home=tmp_path, file="sub/notices.jsonl")
    channel.send(MESSAGE, 5.0)
    channel.send(MESSAGE, 5.0)
    lines = (tmp_path / "sub" / "notices.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [MESSAGE.body(), MESSAGE.body()]
    (tmp_path / "file").write_text("")
    with pytest.raises(ChannelError, match="cannot be written"):
        sender(kind="log", home=tmp_path, file="file/notices.jsonl").send(MESSAGE, 5.0)


def test_the_desktop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "notify-send"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@" > "$0.got"\ntest "$2" = --app-name=Nightshift\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    sender(kind="desktop").send(MESSAGE, 5.0)
    got = (tmp_path / "notify-send.got").read_text().splitlines()
    assert got == ["--urgency=normal", "--app-name=Nightshift", "--", MESSAGE.title, MESSAGE.text]
    program.write_text("#!/bin/sh\necho no bus >&2\nexit 1\n")
    with pytest.raises(ChannelError, match="no bus"):
        sender(kind="desktop").send(MESSAGE, 5.0)
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    with pytest.raises(ChannelError, match="install libnotify"):
        sender(kind="desktop").send(MESSAGE, 5.0)


# -- which there are, and threads --------------------------------------------------------------------------------------


def test_variables_switch_channels_on_and_what_is_written_down_outranks_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISCORD_WEBHOOK", "https://discord.com/api/webhooks/1/t")
    monkeypatch.setenv("VOICE_SERVER_URL", "http://h:1")
    found = channels_of(Settings(home=tmp_path))
    assert {"voice", "discord"} <= set(found)
    voice = sender_of("voice", found["voice"], Settings(home=tmp_path))
    assert isinstance(voice, Voice)
    assert (voice.url, voice.optional) == ("http://h:1/notify", False)
    off = Settings.model_validate(
        {"home": tmp_path, "notify": {"channels": {"discord": {"kind": "log", "enabled": False}}}}
    )
    assert "discord" not in channels_of(off)
    assert channels_of(Settings.model_validate({"notify": {"enabled": False}})) == {}


def test_the_settings_never_show_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISCORD_WEBHOOK", "https://discord.com/api/webhooks/1/hush")
    monkeypatch.setenv("NTFY_TOPIC", "hush")
    assert "hush" not in repr(Settings())


async def test_whatever_a_blocking_call_raises_is_an_exception() -> None:
    def leave() -> None:
        raise SystemExit(3)

    with pytest.raises(RuntimeError, match="SystemExit: 3"):
        await in_thread(leave, name="x")
    assert await in_thread(lambda: threading.current_thread().daemon, name="x")
