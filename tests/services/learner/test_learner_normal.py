"""Lines without what differs from run to run, and without secrets; the outputs are of real programs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.learner.extract import errors
from services.learner.normal import EXCERPT, excerpt, normalised, plain, scrub, signature

SAME = [
    (
        "FileNotFoundError: [Errno 2] No such file or directory: '/home/ada/project/1.3/files/data/in.csv'",
        "FileNotFoundError: [Errno 2] No such file or directory: '/srv/x/in.csv'",
    ),
    ("a/b/main.c:12:5: error: 'x' undeclared", "main.c:3:11: error: 'x' undeclared"),
    (
        "2026-01-02T03:04:05.123Z ERROR job 8c1f6b1e-6a36-4a5b-9c3d-0a1b2c3d4e5f failed after 12.5s",
        "2026-11-30 13:14:15,678 ERROR job 00000000-6a36-4a5b-9c3d-0a1b2c3d4e5f failed after 3s",
    ),
    ("commit 3f2a9c1d is bad at 0xdeadbeef", "commit 00aa11bb22 is bad at 0x1"),
    ("Jan 12 03:04:05 host kernel: oom", "Dec  1 13:14:15 host kernel: oom".replace("  ", " ")),
    ("cannot open /tmp/pytest-of-ada/pytest-31/x0/a.txt", "cannot open /var/tmp/a.txt"),
    ("curl: (7) Failed to connect to 127.0.0.1 port 9000", "curl: (7) Failed to connect to 10.0.0.3 port 9001"),
    ("\x1b[31merror: no\x1b[0m", "error: no"),
    ("fetch https://ada:hunter2@git.example.com:8443/x.git failed", "fetch https://git.example.com/y.git failed"),
]
DIFFERENT = [
    ("error[E0308]: mismatched types", "error[E0277]: mismatched types"),
    ("exit code 1", "exit code 137"),
    ("npm ERR! code E404", "npm ERR! code E401"),
    ("the server answered status 404", "the server answered status 503"),
    ("ModuleNotFoundError: No module named 'yaml'", "ModuleNotFoundError: No module named 'attr'"),
    ("No such file: 'in.csv'", "No such file: 'out.csv'"),
]
SECRETS = [
    "export AWS_SECRET_ACCESS_KEY=hunter2hunter2",
    "curl -H 'Authorization: Bearer hunter2hunter2' https://x",
    "mysql -u root --password=hunter2hunter2",
    "mysql --password hunter2hunter2 -u root",
    "git clone https://ada:hunter2hunter2@example.com/x.git",
    '{"api_key": "hunter2hunter2"}',
    "login with ghp_hunter2hunter2hunter2",
    "DB_PASSWORD: hunter2hunter2",
    "eyJhunter2hunter2.hunter2hunter2.hunter2",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIhunter2/abc+\nhunter2\n-----END RSA PRIVATE KEY-----",
    "token Xhunter2AAAAaaaa1111BBBBbbbb2222CCCCcccc",
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_the_same_mistake_has_one_signature(one: str, other: str) -> None:
    assert normalised(one) == normalised(other)
    assert signature(one) == signature(other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_other_mistakes_have_others(one: str, other: str) -> None:
    assert signature(one) != signature(other)


@pytest.mark.parametrize("line", SECRETS)
def test_what_looks_like_a_secret_is_not_kept(line: str) -> None:
    for kept in (scrub(line), excerpt(line), normalised(line)):
        assert "hunter2" not in kept
    assert "<secret>" in scrub(line)


@pytest.mark.parametrize(
    "line",
    [
        'FATAL: password authentication failed for user "bob"', "token expired for user bob", "Basic usage of make",
        "tests/test_secrets.py::test_rotation PASSED", "see docs/api-keys/rotation-of-the-signing-keys-in-2026.md",
    ],
)  # fmt: skip
def test_words_about_secrets_are_none(line: str) -> None:
    assert scrub(line) == line


@given(st.text(max_size=600))
def test_normalising_ends_and_is_bounded(text: str) -> None:
    line = normalised(text)
    assert len(line) <= EXCERPT
    assert "\x1b" not in line
    assert len(excerpt(text)) <= EXCERPT


def test_a_progress_line_is_what_stands_at_the_end() -> None:
    assert plain("10 %\r50 %\rdone\r\nnext") == "done\nnext"


def run(folder: Path, *command: str, **files: str) -> str:
    """What a program prints in a folder with these files."""
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "LC_ALL": "C"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode != 0
    return done.stdout + done.stderr


PROGRAMS: list[tuple[list[str], dict[str, str], str]] = [
    (
        [sys.executable, "app.py"],
        {"app__py": "import json\n\n\njson.loads('[1, 2')\n"},
        "json.decoder.JSONDecodeError: ",
    ),
    (
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_a.py"],
        {"test_a__py": "def test_a(tmp_path):\n    (tmp_path / 'x').read_text()\n"},
        "FileNotFoundError: [Errno 2] No such file or directory: 'x'",
    ),
    (["git", "clone", "nowhere", "there"], {}, "fatal: repository 'nowhere' does not exist"),
    (["sh", "-c", "no-such-program --flag"], {}, "no-such-program: not found"),
    (["make"], {"Makefile": "all:\n\t@echo 'main.c:3:1: error: expected expression'; exit 2\n"}, "error: expected"),
    (["make"], {"Makefile": "all:\n\t@exit 3\n"}, "make: *** [Makefile:<n>: all] Error 3"),
    (["ls", "missing/file.txt"], {}, "cannot access 'file.txt': No such file or directory"),
]


@pytest.mark.parametrize(("command", "files", "expected"), PROGRAMS, ids=lambda v: str(v)[:30])
def test_signatures_of_real_programs_are_stable_across_runs(
    tmp_path: Path, command: list[str], files: dict[str, str], expected: str
) -> None:
    here = errors(run(tmp_path / "one", *command, **files))
    there = errors(run(tmp_path / "another" / "place-0123456789abcdef", *command, **files))
    assert [e.signature for e in here] == [e.signature for e in there]
    assert any(expected in e.text for e in here), [e.text for e in here]
