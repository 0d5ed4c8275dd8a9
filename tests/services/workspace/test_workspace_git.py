"""Running git: which one, in what environment, for how long, and what is said when it fails."""

import asyncio
import os
import time
from pathlib import Path

import pytest

from services.workspace import GitFailed, GitTooOld, Repository, git, git_version


async def test_version_is_three_numbers() -> None:
    version = await git_version()
    assert version >= git.OLDEST
    assert len(version) == 3


async def test_missing_git_says_what_to_install(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(GitFailed, match="Install git"):
        await repository.branch("main")


async def test_old_git_is_refused(repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "bin" / "git"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\necho git version 2.30.2\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", str(old.parent))
    with pytest.raises(GitTooOld, match=r"2\.30\.2.*\n.*2\.38\.0"):
        await repository.branch("main")


async def test_git_is_never_looked_up_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "git").write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    (tmp_path / "git").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f".:{os.environ['PATH']}")
    await git_version()
    assert not (tmp_path / "ran").exists()


async def test_variables_of_our_process_do_not_leak(
    repository: Repository, base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trap = tmp_path / "trap"
    trap.mkdir()
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_OBJECT_DIRECTORY", "GIT_INDEX_FILE", "GIT_COMMON_DIR"):
        monkeypatch.setenv(name, str(trap / name))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.hooksPath")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", str(trap))
    monkeypatch.setenv("GIT_TRACE", str(trap / "trace"))
    await repository.set_branch("main", base)
    assert await repository.branch("main") == base
    assert list(trap.iterdir()) == []
    output = await repository.run("config", "--list", "--show-scope")
    assert {line.split("\t")[0] for line in output.stdout.decode().splitlines()} == {"local", "command"}


async def test_time_limit_kills_git_and_its_children(repository: Repository, tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(GitFailed, match=r"killed after 0\.3 seconds") as caught:
        await repository.run("-c", "alias.wait=!sleep 77.125", "wait", time_limit=0.3)
    assert caught.value.code is None
    assert time.monotonic() - started < 10
    assert not _running("77.125")


async def test_cancelling_kills_git_and_its_children(repository: Repository) -> None:
    waiting = asyncio.create_task(repository.run("-c", "alias.wait=!sleep 78.125", "wait"))
    while not _running("78.125"):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not _running("78.125")


async def test_failure_carries_command_code_and_last_lines(repository: Repository) -> None:
    with pytest.raises(GitFailed) as caught:
        await repository.run("cat-file", "-t", "0" * 40)
    assert caught.value.command.startswith("git cat-file -t")
    assert caught.value.code == 128
    assert "could not get object info" in caught.value.stderr


@pytest.mark.parametrize(
    ("stderr", "remedy"),
    [
        ("error: unable to write file: No space left on device", "disk is full"),
        ('error: open("x"): Permission denied', "engine's user"),
        ("fatal: Unable to create '/e/x.lock': File exists.", "delete the lock file"),
    ],
)
def test_known_failures_have_a_remedy(stderr: str, remedy: str) -> None:
    assert remedy in str(GitFailed(["git", "x"], 128, stderr))


def test_passwords_are_not_shown() -> None:
    failed = GitFailed(["git", "fetch", "https://ada:hunter2@example.org/x"], 128, "fatal: https://t0ken@example.org/x")
    assert "hunter2" not in str(failed)
    assert "t0ken" not in str(failed)
    assert "https://***@example.org/x" in failed.stderr


def _running(argument: str) -> bool:
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            state = (process / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if words[:1] == [b"sleep"] and argument.encode() in words and state != "Z":
            return True
    return False
