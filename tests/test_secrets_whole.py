"""A planted secret is found nowhere on the disk after a run that said it in every way (issue 5, acceptance 6)."""

from __future__ import annotations

import base64
import json
import os
import pty
import signal
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.secrets.vault import Vault
from tests.cli import COMMAND, Nightshift
from tests.spellings import SPELLINGS

pytestmark = pytest.mark.whole

ROOT = Path(__file__).resolve().parent.parent
TOKEN = "tk_Zq7!x/P+9&\"w'\\%Lm=3 vQ"
KEY = "-----BEGIN KEY-----\n" + base64.encodebytes(bytes(range(100, 200))).decode() + "-----END KEY-----\n"


class Watched(Nightshift):
    """Temporary files go below the test's folder, and the engine says all it can."""

    @property
    def environment(self) -> dict[str, str]:
        temporary = self.home.parent / "tmp"
        temporary.mkdir(exist_ok=True)
        return {**super().environment, "TMPDIR": str(temporary), "NIGHTSHIFT_LOG_LEVEL": "DEBUG"}

    def keep(self, name: str, value: str, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """``secret set``."""
        return subprocess.run(
            [*COMMAND, "secret", "set", name, *words], input=value, env=self.environment, text=True,
            capture_output=True, check=code == 0, timeout=60,
        )  # fmt: skip


@pytest.fixture
def nightshift(tmp_path: Path) -> Watched:
    return Watched(tmp_path / "home")


def stored(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Every file, git's objects unpacked as well, and every name."""
    for path in folder.rglob("*"):
        yield path, bytes(str(path.relative_to(folder)), "utf-8", "surrogateescape")
        if not path.is_file():
            continue
        data = path.read_bytes()
        yield path, data
        if "objects" in path.parts and path.parent.name not in ("info", "pack"):
            yield path, zlib.decompress(data)


def needles(secret: str) -> dict[str, bytes]:
    """What must not be found; without the edges of base64, which are half a neighbour's."""
    found = {}
    for name, spell in SPELLINGS.items():
        spelled = spell(secret).strip()
        found[name] = spelled[-24:-4] if "wrapped" in name else spelled[4:-4] if "base64" in name else spelled
    return found


def leaking(way: str) -> dict[str, Any]:
    return {"run": f"{sys.executable} -m tests.leaking {way}", "env": {"PYTHONPATH": str(ROOT)}, "secrets": ["TOKEN"]}


def leaking_plan() -> dict[str, Any]:
    said = f"PYTHONPATH={ROOT} {sys.executable} -m tests.leaking"
    return {
        "plan": "Says too much",
        "policy": {
            "max_attempts": 2, "on_exhausted": "fail", "backoff": {"first": "1ms"}, "halt_after": 100,
            "read": [str(ROOT / "tests")],
        },
        "tasks": [
            {"id": "spelled", **leaking("spelled")},
            {"id": "slowly", **leaking("slowly")},
            {"id": "across", **leaking("across")},
            {"id": "between", **leaking("between")},
            {"id": "fails", **leaking("fails")},
            {"id": "late", **leaking("slowly"), "timeout": "150ms", "max_attempts": 1},
            {"id": "judged", "run": "true", "secrets": ["TOKEN"], "verify": [
                {"command": f"{said} spelled", "secrets": ["TOKEN"]},
                {"command": 'test -z "$TOKEN"'},
                {"command": f"{said} fails", "secrets": ["TOKEN"]},
                {"command": 'printf %s "$MINE"; exit 3', "secrets": [{"TOKEN": "MINE"}]},
            ]},
            {"id": "found", "run": 'printf "said: %s" "$TOKEN"', "secrets": "TOKEN", "max_attempts": 1, "verify": [
                {"regex": "said: .*", "in": "output"}, {"regex": "said: .*", "in": "output", "negate": True}]},
            {"id": "file", "run": 'mkdir -p a; printf "1\n2\n%s" "$TOKEN" > a/b.txt', "secrets": ["TOKEN"]},
            {"id": "encoded", "run": 'printf "%s" "$TOKEN" | base64 > c.txt', "secrets": ["TOKEN"], "max_attempts": 1},
            {"id": "named", "run": 'touch "$(printf %s "$TOKEN" | od -An -tx1 | tr -d " \\n")"', "secrets": ["TOKEN"],
             "max_attempts": 1},
            {"id": "linked", "run": 'ln -s "$TOKEN" link', "secrets": ["TOKEN"], "max_attempts": 1},
            {"id": "lines", "run": 'printf "%s" "$PEM"; printf "%s" "$PEM" | base64; exit 4', "secrets": {"KEY": "PEM"},
             "max_attempts": 1},
            {"id": "outside", "run": 'printf %s "$TOKEN" > "$HOME/x"; printf %s "$TOKEN" > "$TMPDIR/y"; env',
             "secrets": ["TOKEN"]},
            {"id": "untold", "run": 'test -z "$TOKEN"'},
            {"id": "absent", "run": "true", "secrets": ["NOT_THERE"]},
        ],
    }  # fmt: skip


@pytest.mark.timeout(300)
def test_a_planted_secret_is_nowhere_on_the_disk(nightshift: Watched, tmp_path: Path) -> None:
    nightshift.keep("TOKEN", TOKEN + "\n")
    nightshift.keep("KEY", KEY)
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps(leaking_plan()))
    with nightshift.up():
        execution = nightshift("submit", plan).stdout.strip()
        nightshift("watch", execution, code=1, timeout=200)
        status = nightshift.json("status", execution)
        history = nightshift.history(execution)
        assert "[secret TOKEN]" in nightshift("logs", execution, "spelled").stdout
        nightshift("replay", "--check")
    states = {task["id"]: task["state"] for task in status["tasks"]}
    done = {"spelled", "slowly", "across", "between", "outside", "untold"}
    assert {name for name, state in states.items() if state == "verified"} == done
    reasons = {row["task"]: row["data"]["reason"] for row in history if row["event"] == "AttemptFailed"}
    assert reasons["file"] == "the result holds the secret TOKEN in a/b.txt:3"
    assert reasons["encoded"] == "the result holds the secret TOKEN in c.txt:1"
    assert reasons["named"] == "the result holds the secret TOKEN in the name of a file: [secret TOKEN]"
    assert reasons["linked"] == "the result holds the secret TOKEN in link:1"
    assert "nightshift secret set NOT_THERE" in reasons["absent"]
    attempts = [row["task"] for row in history if row["event"] == "TaskStarted"]
    assert attempts.count("absent") == 1
    assert attempts.count("file") == 2
    failed = next(row for row in history if row["event"] == "AttemptFailed" and row["task"] == "fails")
    assert failed["data"]["tail"].endswith("the server refused the token [secret TOKEN]\n")
    verdict = next(row for row in history if row["event"] == "AttemptRejected" and row["task"] == "judged")
    results = {result["criterion"]: result for result in verdict["data"]["results"]}
    assert [results[f"c{number}"]["result"] for number in (1, 2, 3, 4)] == ["pass", "pass", "fail", "fail"]
    assert results["c3"]["detail"].endswith("the server refused the token [secret TOKEN]")
    assert results["c4"]["detail"] == "exit code 3: [secret TOKEN]"
    found = next(row for row in history if row["event"] == "AttemptRejected" and row["task"] == "found")
    assert "found 'said: [secret TOKEN]'" in json.dumps(found["data"])
    assert not {name for name in states if states[name] == "running"}
    kept = {each["task"]: Path(each["path"]) for each in status["kept"]}
    assert {"fails", "file", "encoded", "named", "linked", "lines"} <= set(kept)
    assert list(kept["file"].iterdir()) == [kept["file"] / "a"], "the file with the secret is not kept"
    assert not list((kept["file"] / "a").iterdir())
    assert "b.txt" in (kept["file"].parent / "kept.json").read_text()

    everything = list(stored(tmp_path))
    assert any(b"a visible line before" in data for _, data in everything), "the search does not see what was kept"
    lines = KEY.splitlines()[1:-1]
    wanted = {f"TOKEN, {name}": needle for name, needle in needles(TOKEN).items()}
    wanted |= {f"KEY, {name}": needle for line in lines for name, needle in needles(line).items()}
    leaks = [
        (str(path.relative_to(tmp_path)), name)
        for path, data in everything
        for name, needle in wanted.items()
        if needle in data
    ]
    assert not leaks


def test_a_plan_that_spells_a_secret_out_is_not_submitted(nightshift: Watched, tmp_path: Path) -> None:
    nightshift.keep("TOKEN", "a-planted-secret-111")
    plan = tmp_path / "plan.yaml"
    plan.write_text("plan: P\ntasks:\n  - id: a\n    run: 'true'\n    env: {TOKEN: a-planted-secret-111}\n")
    said = nightshift("run", plan, code=2).stderr
    assert "plan.yaml:5 holds the secret TOKEN" in said
    assert "secrets: [TOKEN]" in said
    plan.write_text("plan: P\ntasks:\n  - {id: a, run: 'true'}\n")
    assert "--env X holds the secret TOKEN" in nightshift("run", plan, "--env", "X=a-planted-secret-111", code=2).stderr
    plan.unlink()
    assert not [path for path, data in stored(tmp_path) if b"a-planted-secret" in data]


def test_secrets_from_the_command_line(nightshift: Watched) -> None:
    assert nightshift.keep("TOKEN", "a-planted-secret-111\n").stdout == "TOKEN is kept\n"
    assert nightshift.keep("OTHER", "short", "--tenant", "acme").stderr.startswith("nightshift: OTHER is short")
    refused = nightshift.keep("WEAK", "abc", code=2)
    assert refused.returncode == 2
    assert "fewer than 4" in refused.stderr
    listed = nightshift.json("secret", "list")
    assert [entry["name"] for entry in listed] == ["TOKEN"]
    assert "TOKEN" in nightshift("secret", "list").stdout
    assert nightshift("secret", "rotate").stdout == "2 secrets encrypted with the new key\n"
    assert "is gone" in nightshift("secret", "remove", "TOKEN").stdout
    assert "there is no secret" in nightshift("secret", "remove", "TOKEN", code=2).stderr
    assert [entry["name"] for entry in nightshift.json("secret", "list", "--tenant", "acme")] == ["OTHER"]


def test_a_value_at_the_prompt_is_not_shown(nightshift: Watched) -> None:
    child, terminal = pty.fork()
    if not child:
        os.execve(sys.executable, [*COMMAND, "secret", "set", "TYPED"], nightshift.environment)
    shown = b""
    try:
        for prompt in (b"Value of TYPED: ", b"Repeat for confirmation: "):  # the blank comes once nothing is shown
            while prompt not in shown:
                shown += os.read(terminal, 1024)
            os.write(terminal, b"a-typed-secret-111\n")
        while b"is kept" not in shown:
            shown += os.read(terminal, 1024)
    finally:
        os.close(terminal)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -signal.SIGHUP)
    assert b"a-typed" not in shown
    assert Vault(nightshift.home / "secrets").values("default") == {"TYPED": "a-typed-secret-111"}
    refused = nightshift("secret", "set", "X", "on-the-command-line", code=2).stderr
    assert "a value is no argument" in refused
    assert "on-the-command-line" not in refused
