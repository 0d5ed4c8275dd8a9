"""A workspace that nobody changed costs no git process, and whatever changed in it is seen, however it is hidden."""

import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from services.workspace import OutsideRoot, Repository, Workspace
from services.workspace.untouched import MOST_FILES, untouched

CommitFiles = Callable[..., Awaitable[str]]
FILES = {"a": "1\n", "d/e/f": "2\n", "d/g": "3\n", ".gitignore": "ignored\n"}


@pytest.fixture
async def settled(repository: Repository, commit_files: CommitFiles) -> Workspace:
    """A workspace in which changes from now on show by the times of the files."""
    workspace = await Workspace.create(repository, repository.root / "settled", await commit_files(FILES))
    settle(workspace)
    return workspace


def settle(workspace: Workspace) -> None:
    """Wait until the clock that stamps files has moved on."""
    youngest = max(path.lstat().st_ctime_ns for path in workspace.path.rglob("*"))
    workspace.settle()
    while workspace._index.stat().st_mtime_ns <= youngest:
        time.sleep(0.002)
        workspace.settle()


async def test_what_nobody_changed_needs_no_process(
    settled: Workspace, repository: Repository, processes: list[str]
) -> None:
    (settled.path / ".git" / "info" / "mine").write_text("not looked at")
    processes.clear()
    assert await settled.snapshot(force=["ignored"]) == await repository.tree_of(settled.commit)
    assert processes == []


def rewrite_in_place(folder: Path) -> None:
    """As long as before, and as old as before."""
    status = (folder / "a").stat()
    (folder / "a").write_text("9\n")
    os.utime(folder / "a", ns=(status.st_atime_ns, status.st_mtime_ns))


def replace_by_another(folder: Path) -> None:
    status = (folder / "a").stat()
    (folder / "new").write_text("9\n")
    os.utime(folder / "new", ns=(status.st_atime_ns, status.st_mtime_ns))
    (folder / "new").rename(folder / "a")


def link_in_its_place(folder: Path) -> None:
    (folder / "a").unlink()
    (folder / "a").symlink_to("d/g")


def link_for_a_folder(folder: Path) -> None:
    (folder / "d").rename(folder.parent / "elsewhere")
    (folder / "d").symlink_to(folder.parent / "elsewhere")


CHANGES: dict[str, Callable[[Path], object]] = {
    "rewritten with its old time": rewrite_in_place,
    "another file with the old time": replace_by_another,
    "a program now": lambda folder: (folder / "a").chmod(0o755),
    "gone": lambda folder: (folder / "d" / "g").unlink(),
    "a link now": link_in_its_place,
    "a folder that is a link now": link_for_a_folder,
    "a new file": lambda folder: (folder / "d" / "e" / "new").write_text("4\n"),
    "a file in a new folder": lambda folder: ((folder / "n").mkdir(), (folder / "n" / "o").write_text("5\n")),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_every_change_is_seen(settled: Workspace, repository: Repository, change: str) -> None:
    CHANGES[change](settled.path)
    assert await settled.snapshot() != await repository.tree_of(settled.commit)


async def test_ignored_output_is_seen(settled: Workspace, repository: Repository) -> None:
    (settled.path / "ignored").write_text("built")
    assert await settled.snapshot() == await repository.tree_of(settled.commit)
    assert await settled.snapshot(force=["ignored"]) != await repository.tree_of(settled.commit)


async def test_a_file_as_young_as_the_index_is_left_to_git(settled: Workspace) -> None:
    index = settled._index
    assert untouched(settled.path, index)
    youngest = max((settled.path / name).stat().st_ctime_ns for name in FILES)
    os.utime(index, ns=(youngest, youngest))
    assert not untouched(settled.path, index), "what was written in the same tick has the same time"


@pytest.mark.parametrize("damage", [b"", b"DIRC", b"DIRC\0\0\0\2\0\0\0\1", b"DIRC\0\0\0\4\0\0\0\0" + 20 * b"\0"])
async def test_an_index_of_another_form_is_left_to_git(settled: Workspace, damage: bytes) -> None:
    settled._index.write_bytes(damage)
    settle(settled)
    assert not untouched(settled.path, settled._index)


async def test_what_is_not_to_be_looked_at_is_left_to_git(settled: Workspace, repository: Repository) -> None:
    await repository.run("update-index", "--assume-unchanged", "a", work_tree=settled.path, index=settled._index)
    settle(settled)
    assert not untouched(settled.path, settled._index)


async def test_a_large_tree_is_left_to_git(repository: Repository, commit_files: CommitFiles) -> None:
    commit = await commit_files({f"f{number}": "x" for number in range(MOST_FILES + 1)})
    workspace = await Workspace.create(repository, repository.root / "large", commit)
    settle(workspace)
    assert not untouched(workspace.path, workspace._index)


async def test_an_empty_folder_that_became_a_link_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    workspace.path.rename(tmp_path / "moved")
    workspace.path.symlink_to(tmp_path / "empty")
    with pytest.raises(OutsideRoot):
        await workspace.snapshot()


@pytest.mark.parametrize("pattern", ["/etc", "../x", ""])
async def test_a_pattern_that_leads_out_is_refused_though_nothing_changed(workspace: Workspace, pattern: str) -> None:
    with pytest.raises(ValueError, match="below the working folder"):
        await workspace.snapshot(force=[pattern])
