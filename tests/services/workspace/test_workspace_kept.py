"""What is kept of an attempt that went wrong: files to look at, which start nothing and hold no secret."""

import asyncio
import json
import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from services.workspace import kept as module
from services.workspace.kept import DAY, Kept, TooMuch, kept, kept_of, remove_place


def attempt(home: Path, name: str = "t.1.aaaa1111") -> Path:
    folder = home / "work" / "acme" / "e-1" / name
    for inner in ("files/src", "home", "tmp"):
        (folder / inner).mkdir(parents=True)
    (folder / "files" / "src" / "a.py").write_text("half done\n")
    (folder / "home" / "token").write_text("TOKEN")
    (folder / "context.json").write_text("{}")
    return folder


def refuse(name: str, path: Path) -> str:
    if "TOKEN" in name:
        return "the name of a file"
    return f"{name}: a secret" if path.is_file() and not path.is_symlink() and "TOKEN" in path.read_text() else ""


def test_only_the_files_are_kept_and_a_note(tmp_path: Path) -> None:
    folder = attempt(tmp_path, "2%2E1.3.aaaa1111")
    assert Kept(tmp_path, 3).keep(folder, {"task": "2.1", "base": "b1"}) == (
        tmp_path / "kept" / "acme" / "e-1" / "2%2E1.3.aaaa1111" / "files"
    )
    assert not folder.exists()
    (where,) = kept_of(tmp_path, "e-1")
    assert (where["task"], where["attempt"]) == ("2.1", 3)
    files = Path(where["path"])
    assert (files / "src" / "a.py").read_text() == "half done\n"
    assert sorted(path.name for path in files.parent.iterdir()) == ["files", "kept.json"]
    assert json.loads((files.parent / "kept.json").read_text()) == {"task": "2.1", "base": "b1", "left_out": []}
    assert stat.S_IMODE((tmp_path / "kept").stat().st_mode) == 0o700
    assert kept_of(tmp_path, "e-2") == []
    for name in ("somebody's.own.folder", "two words.1.aaaa1111", "mine"):
        (tmp_path / "kept" / "acme" / "e-2" / name).mkdir(parents=True)
    assert kept_of(tmp_path, "e-2") == []


def test_no_file_name_or_link_with_a_secret_is_kept(tmp_path: Path) -> None:
    folder = attempt(tmp_path)
    files = folder / "files"
    (files / "TOKEN-folder" / "deep").mkdir(parents=True)
    (files / "src" / "b.txt").write_text("it is TOKEN")
    (files / "src" / "closed.txt").write_text("TOKEN")
    (files / "src" / "closed.txt").chmod(0)
    Kept(tmp_path, 3).keep(folder, {}, refuse)
    (where,) = kept_of(tmp_path, "e-1")
    assert [path.name for path in sorted(Path(where["path"]).rglob("*"))] == ["src", "a.py"]
    left_out = json.loads((Path(where["path"]).parent / "kept.json").read_text())["left_out"]
    assert sorted(left_out) == ["src/b.txt: a secret", "src/closed.txt: a secret", "the name of a file"]


def test_what_cannot_be_searched_is_not_kept_where_there_are_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_SEARCHED", 20)
    for name, given in (("t.1.aaaa1111", refuse), ("t.2.bbbb2222", None)):
        folder = attempt(tmp_path, name)
        (folder / "files" / "large.bin").write_bytes(bytes(21))
        Kept(tmp_path, 3).keep(folder, {}, given)
    one, two = (Path(each["path"]) for each in kept_of(tmp_path, "e-1"))
    assert (one / "src" / "a.py").exists()
    assert not (one / "large.bin").exists()
    assert (two / "large.bin").exists()


def test_nothing_starts_when_a_person_looks_around_with_git(tmp_path: Path, user_git: Callable[..., str]) -> None:
    folder = attempt(tmp_path)
    files, proof = folder / "files", tmp_path / "ran"
    for place, bare in (("", []), ("src/inner", []), ("bare", ["--bare"])):
        (files / place).mkdir(exist_ok=True)
        user_git(files / place, "init", "--quiet", *bare)
        config = files / place / ("config" if bare else ".git/config")
        with config.open("a") as file:
            file.write(f"[core]\n\tbare = false\n\tworktree = {files}\n\tfsmonitor = touch {proof}\n")
    user_git(files, "status")
    assert proof.exists(), "git runs what a task wrote there"
    proof.unlink()
    Kept(tmp_path, 3).keep(folder, {})
    (where,) = kept_of(tmp_path, "e-1")
    for place in ("", "src", "src/inner", "bare", "bare/refs"):
        subprocess.run(["git", "-C", f"{where['path']}/{place}", "status"], capture_output=True, check=False)
    assert not proof.exists()


def test_devices_go_and_everything_else_can_be_read(tmp_path: Path) -> None:
    folder = attempt(tmp_path)
    files = folder / "files"
    os.mkfifo(files / "fifo")
    (files / "link").symlink_to("/etc/hostname")
    (files / "src" / "a.py").chmod(0o4000)
    (files / "src").chmod(0)
    outside = tmp_path / "somebody-elses"
    outside.write_text("theirs")
    outside.chmod(0o200)
    (files / "hard").hardlink_to(outside)
    Kept(tmp_path, 3).keep(folder, {})
    (where,) = kept_of(tmp_path, "e-1")
    path = Path(where["path"])
    assert sorted(each.name for each in path.iterdir()) == ["hard", "link", "src"]
    assert stat.S_IMODE((path / "src" / "a.py").stat().st_mode) == 0o400
    assert stat.S_IMODE(outside.stat().st_mode) == 0o200


def test_what_is_too_much_stays_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = attempt(tmp_path)
    assert Kept(tmp_path, 0).keep(folder, {}) is None
    assert Kept(tmp_path, 3, lambda: True).keep(folder, {}) is None
    monkeypatch.setattr(module, "MOST_FILES", 1)
    with pytest.raises(TooMuch):
        Kept(tmp_path, 3).keep(folder, {})
    assert (folder / "files" / "src" / "a.py").exists()
    assert kept(tmp_path) == []


def several(home: Path) -> list[Path]:
    for number in (1, 2, 3):
        Kept(home, 3).keep(attempt(home, f"t.{number}.aaaa111{number}"), {})
        folder = home / "kept" / "acme" / "e-1" / f"t.{number}.aaaa111{number}"
        at = folder.stat().st_mtime - (4 - number) * DAY
        os.utime(folder, (at, at))
    return kept(home)


async def test_what_is_kept_goes_when_its_days_are_over(tmp_path: Path) -> None:
    several(tmp_path)
    stranger = tmp_path / "kept" / "acme" / "e-1" / "t.0.link"
    stranger.symlink_to(tmp_path)
    tidying = asyncio.create_task(Kept(tmp_path, 2.5).tidy())
    async with asyncio.timeout(10):
        while len(kept(tmp_path)) != 2:  # noqa: ASYNC110  # a thread removes it
            await asyncio.sleep(0.01)
    tidying.cancel()
    assert [each["attempt"] for each in kept_of(tmp_path, "e-1")] == [2, 3]
    assert kept(tmp_path, older=1.5 * DAY) == kept(tmp_path)[:1]
    stranger.unlink()
    for folder in kept(tmp_path):
        remove_place(tmp_path, folder)
    assert list((tmp_path / "kept").iterdir()) == []


def test_with_the_disk_short_the_oldest_goes_first_and_no_more_than_needed(tmp_path: Path) -> None:
    oldest, *others = several(tmp_path)
    Kept(tmp_path, 30, oldest.exists).make_room()
    assert kept(tmp_path) == others
    Kept(tmp_path, 30, lambda: True).make_room()
    assert kept(tmp_path) == []


async def test_room_is_made_while_the_engine_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK", 0.01)
    several(tmp_path)
    full = False

    def short() -> bool:
        if not full:
            return False
        if len(kept(tmp_path)) == 3:
            raise OSError("the disk does not answer")
        return True

    tidying = asyncio.create_task(Kept(tmp_path, 30, short).tidy())
    async with asyncio.timeout(10):
        await asyncio.sleep(0.05)
        assert len(kept(tmp_path)) == 3
        full = True
        await asyncio.sleep(0.05)
        remove_place(tmp_path, kept(tmp_path)[0])
        while kept(tmp_path):  # noqa: ASYNC110  # a thread removes it
            await asyncio.sleep(0.01)
    tidying.cancel()
