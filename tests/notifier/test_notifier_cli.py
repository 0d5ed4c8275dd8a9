"""Reports and channels as a user has them: real processes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli import Nightshift, until
from tests.notifier.receivers import receiver

pytestmark = pytest.mark.whole
PLAN = {
    "plan": "A short night",
    "tasks": [
        {"id": "good", "run": "echo good > good.txt", "verify": [{"file": "good.txt"}], "phase": "One"},
        {"id": "bad", "run": "echo why-it-broke; exit 3"},
        {"id": "late", "run": "true", "needs": ["bad"]},
    ],
    "policy": {"max_attempts": 1, "unverified": "accept", "on_exhausted": "fail"},
}
"""One task that is verified, one that fails, one that is skipped."""


@pytest.fixture
def nightshift(tmp_path: Path) -> Nightshift:
    home = tmp_path / "home"
    home.mkdir()
    return Nightshift(home)


def configure(nightshift: Nightshift, text: str) -> None:
    (nightshift.home / "nightshift.toml").write_text(
        "[notify.channels.voice]\nkind = 'voice'\nenabled = false\n" + text
    )


def test_a_run_tells_and_reports(nightshift: Nightshift, tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps(PLAN))
    with receiver(lambda got: (503 if got.path == "/dead" else 200, {})) as server:
        configure(
            nightshift,
            f"[notify.channels.hook]\nkind = 'webhook'\nurl = '{server.url}/hook'\nsecret = 's3cret'\n"
            f"[notify.channels.dead]\nkind = 'webhook'\nurl = '{server.url}/dead'\nsecret = 's3cret'\ntries = 1\n",
        )
        nightshift("run", plan, code=1)
        told = [n for got in server.posts if got.path == "/hook" for n in got.json()["notices"]]
    assert [n["text"] for n in told if n["kind"] == "task_failed"] == ["FAILED bad: exit code 3"]
    assert sum(n["kind"] == "execution_failed" for n in told) == 1, "the end was told before the program ended"
    (row,) = nightshift.json("status")
    execution = row["execution"]
    status = nightshift.json("status", execution)
    assert status["notices"]["sent"] >= 2
    assert {lost["channel"] for lost in status["notices"]["given_up"]} == {"dead"}
    assert "nobody was told on dead: the server answers 503" in nightshift("status", execution).stdout
    with nightshift.up():
        assert "notices do not arrive on the channel dead: " in nightshift("doctor").stdout

    text = nightshift("report", execution[:8]).stdout
    assert text.startswith("# A short night: failed\n")
    nightshift("report", execution, "--html", tmp_path / "r" / "report.html")
    page = (tmp_path / "r" / "report.html").read_text()
    assert "why-it-broke" in page
    assert "skipped" in page
    found = nightshift.json("query", "select report_sha256 as sha from notices where report_sha256 is not null limit 1")
    assert len(found[0]["sha"]) == 64
    missing = nightshift("report", "ffffffff", code=2)
    assert "there is no execution" in missing.stderr


def test_channels_are_listed_and_tried(nightshift: Nightshift) -> None:
    with receiver(lambda got: (404 if got.path == "/gone" else 200, {})) as server:
        configure(
            nightshift,
            f"[notify.channels.hook]\nkind = 'webhook'\nurl = '{server.url}/hook'\nsecret = 's3cret'\n"
            "roles = ['manager']\n"
            f"[notify.channels.gone]\nkind = 'webhook'\nurl = '{server.url}/gone'\nsecret = 's3cret'\n",
        )
        listed = nightshift("notify", "channels").stdout
        assert "hook             webhook  follows all       read by manager" in listed
        assert server.url not in listed
        assert [c["channel"] for c in nightshift.json("notify", "channels")] == ["hook", "gone"]
        assert "hook took it" in nightshift("notify", "test", "hook").stdout
        failed = nightshift("notify", "test", "gone", code=1)
        assert "gone did not take it: the server answers 404" in failed.stderr
        assert "there are: hook, gone" in nightshift("notify", "test", "nobody", code=2).stderr
    assert [got.json()["title"] for got in server.posts] == ["Nightshift: test"] * 2


def test_a_wrong_setting_is_named_and_no_secret_is_shown(nightshift: Nightshift) -> None:
    configure(nightshift, "[notify.channels.hook]\nkind = 'webhook'\nurl = 'http://h/hush'\n")
    failed = nightshift("notify", "channels", code=2)
    assert "notify.channels.hook: " in failed.stderr
    assert "a webhook needs secret" in failed.stderr
    assert "hush" not in failed.stderr
    (nightshift.home / "nightshift.toml").write_text("[notify\n")
    assert "nightshift.toml cannot be read" in nightshift("status", code=2).stderr


def test_an_engine_in_the_background_tells_while_it_runs(nightshift: Nightshift, tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps({"plan": "Asks", "tasks": [{"id": "a", "agent": "true", "prompt": "x"}]}))
    configure(nightshift, "[notify.channels.file]\nkind = 'log'\n")
    log = nightshift.home / "notices.jsonl"
    with nightshift.up():
        nightshift("submit", plan)
        until(lambda: log.exists() and "NEEDS YOUR WORD on a" in log.read_text())
