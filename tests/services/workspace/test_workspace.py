"""A task's working folder: made, used by a task as it likes, and taken away."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from services.workspace import GitFailed, OutsideRoot, Repository, Workspace

Git = Callable[..., str]
CommitFiles = Callable[..., Awaitable[str]]


async def test_create_gives_the_files_and_a_repository_of_its_own(
    repository: Repository, commit_files: CommitFiles, user_git: Git
) -> None:
    commit = await commit_files({"a/b.txt": "1\n", "run.sh": "echo"})
    workspace = await Workspace.create(repository, repository.root / "deep" / "er" / "1", commit)
    assert (workspace.path / "a/b.txt").read_text() == "1\n"
    assert user_git(workspace.path, "status", "--porcelain") == ""
    assert user_git(workspace.path, "rev-parse", "HEAD") == commit
    assert user_git(workspace.path, "config", "user.email") == "nightshift@localhost"
    assert user_git(workspace.path, "rev-parse", "--absolute-git-dir") == str(workspace.path / ".git")


async def test_few_processes(
    repository: Repository, base: str, commit_files: CommitFiles, processes: list[str]
) -> None:
    full = await commit_files({"a": "1"})
    processes.clear()
    empty_workspace = await Workspace.create(repository, repository.root / "w" / "1", base)
    await empty_workspace.snapshot()
    assert processes == []
    workspace = await Workspace.create(repository, repository.root / "w" / "2", full)
    assert processes == ["read-tree"]
    (workspace.path / "b").write_text("2")
    tree = await workspace.snapshot()
    await repository.commit(tree, parents=[full], message="m", author_time=0, trailers={})
    assert processes[1:] == ["ls-files", "update-index", "write-tree"]


async def test_what_a_task_does_with_git_stays_in_its_folder(
    repository: Repository, base: str, workspace: Workspace, user_git: Git
) -> None:
    await repository.set_branch("main", base)
    before = {path: path.lstat().st_mtime_ns for path in repository.git_dir.rglob("*")}
    (workspace.path / "a").write_text("1")
    user_git(workspace.path, "add", "a")
    user_git(workspace.path, "commit", "--quiet", "--message=mine")
    user_git(workspace.path, "checkout", "--quiet", "-B", "main")
    user_git(workspace.path, "tag", "v1")
    user_git(workspace.path, "config", "core.bare", "false")
    user_git(workspace.path, "gc", "--quiet", "--prune=now")
    assert {path: path.lstat().st_mtime_ns for path in repository.git_dir.rglob("*")} == before
    assert await repository.branch("main") == base


async def test_existing_path_is_refused(repository: Repository, base: str, workspace: Workspace) -> None:
    with pytest.raises(FileExistsError):
        await Workspace.create(repository, workspace.path, base)
    assert (workspace.path / ".git" / "HEAD").exists()


async def test_failed_creation_leaves_nothing(repository: Repository) -> None:
    with pytest.raises(GitFailed):
        await Workspace.create(repository, repository.root / "w" / "1", "1" * 40)
    assert list((repository.root / "w").iterdir()) == []
    assert [path.name for path in repository.scratch.iterdir()] == ["fetch.config"]


async def test_path_outside_the_root_is_refused(repository: Repository, base: str, tmp_path: Path) -> None:
    (repository.root / "link").symlink_to(tmp_path)
    for path in (tmp_path / "w", repository.root, repository.root / "link" / "w", repository.root / ".." / "w"):
        with pytest.raises(OutsideRoot):
            await Workspace.create(repository, path, base)
        with pytest.raises(OutsideRoot):
            await Workspace(repository, path, base).remove()
    elsewhere = await Workspace.create(repository, tmp_path / "other" / "w", base, root=tmp_path / "other")
    await elsewhere.remove()
    assert not (tmp_path / "other" / "w").exists()


@pytest.mark.parametrize("name", ["new\nline", 'quo"te', "#hash", "back\\slash", "ünï code"])
async def test_root_with_a_difficult_name(name: str, tmp_path: Path, user_git: Git) -> None:
    repository = Repository.open(tmp_path / name, name="x", durable=False)
    workspace = await Workspace.create(repository, repository.root / "w", await repository.empty_commit())
    (workspace.path / "a").write_text("1")
    tree = await workspace.snapshot()
    commit = await repository.commit(tree, parents=[], message="m", author_time=0, trailers={})
    second = await Workspace.create(repository, repository.root / "w2", commit)
    assert user_git(second.path, "log", "--format=%H") == commit


async def test_remove_follows_no_link_and_needs_no_permission(workspace: Workspace, tmp_path: Path) -> None:
    outside = tmp_path / "precious"
    outside.mkdir()
    (outside / "file").write_text("1")
    mode = outside.stat().st_mode
    (workspace.path / "to-folder").symlink_to(outside)
    (workspace.path / "to-file").symlink_to(outside / "file")
    (workspace.path / "sub").mkdir()
    (workspace.path / "sub" / "up").symlink_to("../../..")
    os.link(outside / "file", workspace.path / "hard")
    os.mkfifo(workspace.path / "fifo")
    for mode_of_folder in (0o000, 0o500, 0o300):
        folder = workspace.path / f"locked-{mode_of_folder}"
        (folder / "in" / "ner").mkdir(parents=True)
        (folder / "in" / "file").write_text("1")
        (folder / "in").chmod(mode_of_folder)
        folder.chmod(mode_of_folder)
    workspace.path.chmod(0o500)
    await workspace.remove()
    assert not workspace.path.exists()
    assert (outside / "file").read_text() == "1"
    assert outside.stat().st_mode == mode
    assert [path.name for path in workspace.repository.scratch.iterdir()] == ["fetch.config"]
    await workspace.remove()


async def test_remove_copes_with_folders_deeper_than_any_path(workspace: Workspace) -> None:
    folder = os.open(workspace.path, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=folder)
        inner = os.open("d", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = inner
    os.close(folder)
    await workspace.remove()
    assert not workspace.path.exists()


async def test_remove_copes_with_files_that_vanish(workspace: Workspace) -> None:
    for number in range(500):
        (workspace.path / f"d{number}").mkdir()
        (workspace.path / f"d{number}" / "f").touch()
    await asyncio.gather(*(workspace.remove() for _ in range(4)))
    assert not workspace.path.exists()


async def test_folder_that_became_a_link_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    workspace.path.rename(tmp_path / "moved")
    workspace.path.symlink_to(tmp_path / "precious")
    with pytest.raises(OutsideRoot):
        await workspace.snapshot()
    with pytest.raises(OutsideRoot):
        await workspace.remove()
    assert (tmp_path / "precious").exists()


async def test_eight_at_once(repository: Repository, commit_files: CommitFiles) -> None:
    base = await commit_files({f"d{number}/f": f"{number}" for number in range(20)})

    async def attempt(number: int) -> tuple[str, str]:
        workspace = await Workspace.create(repository, repository.root / "work" / str(number), base)
        (workspace.path / "same").write_text("same")
        tree = await workspace.snapshot()
        await repository.set_branch(f"nightshift/{number}", base)
        await workspace.remove()
        return tree, await repository.commit(tree, parents=[base], message="m", author_time=0, trailers={})

    assert len(set(await asyncio.gather(*map(attempt, range(8))))) == 1


def test_two_processes_at_once(tmp_path: Path) -> None:
    """Each fetches, creates, lands on one branch and removes; both end, and agree on the ids."""
    code = """
import asyncio, pathlib, sys
from services.workspace import Repository, Workspace
async def main(root, me):
    repository = Repository.open(root, name="x")
    base = await repository.empty_commit()
    for number in range(6):
        workspace = await Workspace.create(repository, root / "work" / f"{me}-{number}", base)
        (workspace.path / "a").write_text(str(number))
        tree = await workspace.snapshot()
        commit = await repository.commit(tree, parents=[base], message="m", author_time=number, trailers={})
        await repository.set_branch("nightshift/b", commit)
        await workspace.remove()
        print(commit)
asyncio.run(main(pathlib.Path(sys.argv[1]), sys.argv[2]))
"""
    command = [sys.executable, "-W", "error", "-c", code, str(tmp_path / "engine")]
    running = [subprocess.Popen([*command, me], stdout=subprocess.PIPE, stderr=subprocess.PIPE) for me in "ab"]
    outputs = [process.communicate() for process in running]
    assert [process.returncode for process in running] == [0, 0], outputs
    assert len({output for output, _ in outputs}) == 1


async def test_taken_up_again_after_a_restart(repository: Repository, workspace: Workspace) -> None:
    (workspace.path / "a").write_text("1")
    again = Workspace(Repository.open(repository.root, name=repository.name), workspace.path, workspace.commit)
    assert await again.snapshot() == await workspace.snapshot()
