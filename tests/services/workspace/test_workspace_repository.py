"""The engine's repository: commits, merges, comparisons and branches."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from services.workspace import Change, Conflict, GitFailed, Repository, Workspace, locks

Git = Callable[..., str]
CommitFiles = Callable[..., Awaitable[str]]

EMPTY_COMMIT = "88c53c69e48025abdf955b687b16d6191b08973e"
"""Part of the contract: every installation must compute this id, for ever."""


def test_opening_again_changes_nothing(tmp_path: Path) -> None:
    first = Repository.open(tmp_path, name="x")
    head = (first.git_dir / "HEAD").stat().st_mtime_ns
    assert Repository.open(tmp_path, name="x") == first
    assert (first.git_dir / "HEAD").stat().st_mtime_ns == head


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "../x", "nul\0"])
def test_name_is_a_plain_file_name(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="plain file name"):
        Repository.open(tmp_path, name=name)


def test_many_processes_open_at_once(tmp_path: Path) -> None:
    code = "import sys, pathlib; from services.workspace import Repository as R; sys.stdin.read(); "
    code += "[R.open(pathlib.Path(sys.argv[1]) / str(i), name='x') for i in range(30)]"
    command = [sys.executable, "-c", code, str(tmp_path)]
    running = [subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(4)]
    for process in running:
        assert process.stdin is not None
        process.stdin.close()
    for process in running:
        with process:
            assert process.stderr is not None
            error = process.stderr.read()
        assert process.returncode == 0, error.decode()
    assert {entry.name for entry in tmp_path.glob("*/*")} == {"x.git"}


async def test_git_accepts_what_we_wrote(repository: Repository, base: str, user_git: Git) -> None:
    tree = await repository.tree_of(base)
    await repository.commit(tree, parents=[base], message="two\n\nlines", author_time=5, trailers={"Task": "1.2"})
    assert user_git(repository.git_dir, "fsck", "--strict", "--no-dangling") == ""
    with pytest.raises(subprocess.CalledProcessError):
        user_git(repository.git_dir, "repack", "-a", "-d")  # workspaces borrow its objects


async def test_empty_commit_is_the_same_everywhere(tmp_path: Path) -> None:
    found = {await Repository.open(tmp_path / name, name="x").empty_commit() for name in "abc"}
    assert found == {EMPTY_COMMIT}


async def test_commit_is_a_function_of_its_arguments(repository: Repository, base: str, user_git: Git) -> None:
    tree = await repository.tree_of(base)
    trailers = {"Nightshift-Execution": "0198", "Nightshift-Task": "1.2.3 ä"}
    ids = {
        await repository.commit(tree, parents=[base], message="Do it\n", author_time=1700000000, trailers=trailers)
        for _ in range(2)
    }
    (commit,) = ids
    shown = user_git(repository.git_dir, "log", "-1", "--format=%an|%ae|%cn|%at|%ct|%s|%(trailers:only)|%P", commit)
    assert shown == (
        "Nightshift|nightshift@localhost|Nightshift|1700000000|1700000000|Do it|"
        f"Nightshift-Execution: 0198\nNightshift-Task: 1.2.3 ä\n|{base}"
    )
    others = [
        await repository.commit(tree, parents=[], message="Do it", author_time=1700000000, trailers=trailers),
        await repository.commit(tree, parents=[base], message="Do it", author_time=1700000001, trailers=trailers),
        await repository.commit(tree, parents=[base], message="Do it", author_time=1700000000, trailers={}),
    ]
    assert len({commit, *others}) == 4


@pytest.mark.parametrize("trailers", [{"A": "x\nB: y"}, {"a b": "x"}, {"": "x"}, {"-x": "y"}])
async def test_trailers_are_one_line_each(trailers: dict[str, str], repository: Repository, base: str) -> None:
    with pytest.raises(ValueError, match="cannot be a trailer"):
        await repository.commit(
            await repository.tree_of(base), parents=[], message="m", author_time=0, trailers=trailers
        )


async def test_commit_of_what_is_not_there(repository: Repository, base: str) -> None:
    with pytest.raises(GitFailed, match="1111 missing"):
        await repository.commit("1" * 40, parents=[base], message="m", author_time=0, trailers={})
    with pytest.raises(GitFailed, match="1111 missing"):
        await repository.set_branch("x", "1" * 40)
    with pytest.raises(ValueError, match="not a full git object id"):
        await repository.commit("HEAD", parents=[], message="m", author_time=0, trailers={})


async def test_clean_merge(repository: Repository, commit_files: CommitFiles) -> None:
    base = await commit_files({"a": "1\n2\n3\n4\n5\n6\n7\n8\n9\n", "b": "1\n"})
    ours = await commit_files({"a": "ours\n2\n3\n4\n5\n6\n7\n8\n9\n", "b": "1\n"})
    theirs = await commit_files({"a": "1\n2\n3\n4\n5\n6\n7\n8\ntheirs\n", "c": "new\n"})
    expected = await commit_files({"a": "ours\n2\n3\n4\n5\n6\n7\n8\ntheirs\n", "c": "new\n"})
    assert await repository.merge(base, ours, theirs) == await repository.tree_of(expected)
    trees = [await repository.tree_of(side) for side in (base, ours, theirs)]
    assert await repository.merge(*trees) == await repository.tree_of(expected)


async def test_merge_needs_no_process_when_one_side_is_the_base(
    repository: Repository, commit_files: CommitFiles, processes: list[str]
) -> None:
    a, b = await commit_files({"a": "1"}), await commit_files({"a": "2"})
    again = await commit_files({"a": "1"}, b)
    tree_a, tree_b = await repository.tree_of(a), await repository.tree_of(b)
    processes.clear()
    assert await repository.merge(a, a, b) == tree_b
    assert await repository.merge(a, b, a) == tree_b
    assert await repository.merge(a, b, b) == tree_b
    assert await repository.merge(a, again, b) == tree_b
    assert await repository.merge(b, again, a) == tree_a
    assert processes == []


async def test_conflict_names_files_and_reasons(repository: Repository, commit_files: CommitFiles) -> None:
    base = await commit_files({"a\nb ü": "1\n", "gone": "1\n", "same": "1\n"})
    ours = await commit_files({"a\nb ü": "2\n", "gone": "2\n", "same": "1\n"})
    theirs = await commit_files({"a\nb ü": "3\n", "same": "1\n"})
    result = await repository.merge(base, ours, theirs)
    assert isinstance(result, Conflict)
    assert set(result.files) == {"a\nb ü", "gone"}
    assert any("content" in message for message in result.messages)
    assert any("modify/delete" in message for message in result.messages)


async def test_changed_files(repository: Repository, workspace: Workspace) -> None:
    for name, data in {"keep": b"1\n", "gone": b"1\n2\n", "text": b"1\n2\n", "type": b"x", "bin": b"\0\1"}.items():
        (workspace.path / name).write_bytes(data)
    before = await workspace.snapshot()
    (workspace.path / "gone").unlink()
    (workspace.path / "text").write_text("1\n3\n4\n")
    (workspace.path / "bin").write_bytes(b"\0\2")
    (workspace.path / "type").unlink()
    (workspace.path / "type").symlink_to("keep")
    (workspace.path / "new\nline\tü").write_text("1\n")
    after = await workspace.snapshot()
    changes = {change.path: change for change in await repository.changed_files(before, after)}
    assert changes.pop("type").status == "T"
    assert changes == {
        "bin": Change("bin", "M", None, None),
        "gone": Change("gone", "D", 0, 2),
        "new\nline\tü": Change("new\nline\tü", "A", 1, 0),
        "text": Change("text", "M", 2, 1),
    }
    assert await repository.changed_files(after, after) == []


async def test_export_is_files_only(repository: Repository, commit_files: CommitFiles, tmp_path: Path) -> None:
    commit = await commit_files({"a/b": "1"})
    for number, what in enumerate((commit, await repository.tree_of(commit))):
        await repository.export(what, tmp_path / "out" / str(number))
        assert [path.name for path in (tmp_path / "out" / str(number)).rglob("*")] == ["a", "b"]
    with pytest.raises(FileExistsError):
        await repository.export(commit, tmp_path / "out" / "0")
    assert list(repository.scratch.glob("export-*")) == []


async def test_branch(repository: Repository, base: str, commit_files: CommitFiles, user_git: Git) -> None:
    other = await commit_files({"a": "1"})
    name = "nightshift/0198"
    assert await repository.branch(name) is None
    for commit in (base, base, other, base):
        assert await repository.set_branch(name, commit, await repository.branch(name))
        assert await repository.branch(name) == commit
    user_git(repository.git_dir, "pack-refs", "--all")
    assert await repository.branch(name) == base
    assert await repository.set_branch(name, other, base)
    assert await repository.branch(name) == other
    with pytest.raises(GitFailed):
        await repository.set_branch("../../config", base)


async def test_branch_is_set_by_one_of_many_at_once(
    repository: Repository, base: str, commit_files: CommitFiles
) -> None:
    other = await commit_files({"a": "1"})
    done = await asyncio.gather(*(repository.set_branch("b", commit) for commit in [base, other] * 10))
    assert done.count(True) == 1
    assert await repository.branch("b") == [base, other][done.index(True) % 2]


@pytest.mark.parametrize("packed", [False, True])
async def test_whoever_slept_meanwhile_does_not_set_a_branch_back(
    repository: Repository, base: str, commit_files: CommitFiles, user_git: Git, *, packed: bool
) -> None:
    """A verifier that was stopped between reading the log and moving the ref, and woke up after others had gone on."""
    older, newer = await commit_files({"a": "1"}), await commit_files({"a": "2"})
    await repository.set_branch("b", base)
    seen = await repository.branch("b")
    assert await repository.set_branch("b", older, seen)
    assert await repository.set_branch("b", newer, older)
    if packed:
        user_git(repository.git_dir, "pack-refs", "--all")
    assert not await repository.set_branch("b", older, seen)
    assert not await repository.set_branch("b", older)
    assert not await repository.set_branch("other", older, seen)
    assert await repository.branch("b") == newer


async def test_branch_cut_short_by_a_power_failure_is_repaired(repository: Repository, base: str) -> None:
    await repository.set_branch("b", base)
    (repository.git_dir / "refs/heads/b").write_text("")
    assert await repository.branch("b") is None
    assert await repository.set_branch("b", base)
    assert await repository.branch("b") == base


async def test_lock_of_a_killed_git_is_removed(
    repository: Repository, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "STALE_AFTER", 0.2)
    holder = _hold_ref_lock(repository, base)
    os.kill(holder.pid, signal.SIGKILL)
    holder.communicate()
    assert (repository.git_dir / "refs/heads/b.lock").exists()
    await repository.set_branch("b", base)
    assert await repository.branch("b") == base
    assert not (repository.git_dir / "refs/heads/b.lock").exists()


async def test_lock_of_a_living_git_is_respected(
    repository: Repository, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "STALE_AFTER", 0.1)
    monkeypatch.setattr(locks, "PATIENCE", 1.5)
    holder = _hold_ref_lock(repository, base)
    with pytest.raises(GitFailed, match="Another git is at work"):
        await repository.set_branch("b", base)
    assert (repository.git_dir / "refs/heads/b.lock").exists()
    holder.communicate(b"commit\n")
    await repository.set_branch("b", base)


def _hold_ref_lock(repository: Repository, commit: str) -> "subprocess.Popen[bytes]":
    """A git of the engine that stands between taking the lock of branch b and moving it."""
    command = f"exec 9>'{repository.scratch}/update-ref.flock'; flock -s 9; "
    command += f"exec git --git-dir='{repository.git_dir}' update-ref --stdin"
    holder = subprocess.Popen(["sh", "-c", command], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdin is not None
    assert holder.stdout is not None
    holder.stdin.write(f"start\nupdate refs/heads/b {commit}\nprepare\n".encode())
    holder.stdin.flush()
    assert holder.stdout.readline() == b"start: ok\n"
    assert holder.stdout.readline() == b"prepare: ok\n"
    return holder
