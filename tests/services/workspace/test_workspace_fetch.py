"""Copying commits from the user's repository, which is only ever read."""

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from services.workspace import GitFailed, Repository, Workspace

Git = Callable[..., str]
MakeSource = Callable[..., Path]


def fingerprint(folder: Path) -> str:
    """A digest of all names, kinds, modes, times and bytes below a folder."""
    digest = hashlib.sha256()
    for path in [folder, *sorted(folder.rglob("*"))]:
        status = path.lstat()
        digest.update(os.fsencode(path) + f"{status.st_mode} {status.st_mtime_ns} {status.st_ino}".encode())
        if path.is_file() and not path.is_symlink():
            digest.update(path.read_bytes())
    return digest.hexdigest()


def as_is(source: Path, git: Git) -> Path:
    return source


def detached(source: Path, git: Git) -> Path:
    git(source, "checkout", "--quiet", "--detach")
    return source


def worktree(source: Path, git: Git) -> Path:
    git(source, "worktree", "add", "--quiet", "-b", "side", str(source.parent / "tree"))
    (source.parent / "tree" / "side.txt").write_text("side")
    git(source.parent / "tree", "add", "side.txt")
    git(source.parent / "tree", "commit", "--quiet", "--message=side")
    return source.parent / "tree"


def bare(source: Path, git: Git) -> Path:
    git(source, "clone", "--quiet", "--bare", str(source), str(source.parent / "bare.git"))
    return source.parent / "bare.git"


def shallow(source: Path, git: Git) -> Path:
    git(source, "commit", "--quiet", "--allow-empty", "--message=second")
    git(source, "clone", "--quiet", "--depth=1", f"file://{source}", str(source.parent / "shallow"))
    return source.parent / "shallow"


def git_dir_itself(source: Path, git: Git) -> Path:
    return source / ".git"


@pytest.mark.parametrize("shape", [as_is, detached, worktree, bare, shallow, git_dir_itself])
@pytest.mark.parametrize("name", ["source", "with space/ünïcode 🌙:x", "new\nline'\""])
async def test_head_of_any_source(
    shape: Callable[[Path, Git], Path],
    name: str,
    make_source: MakeSource,
    user_git: Git,
    repository: Repository,
) -> None:
    source = shape(make_source(name), user_git)
    before = fingerprint(source)
    commit = await repository.fetch(str(source))
    assert commit == user_git(source, "rev-parse", "HEAD")
    assert commit == await repository.fetch(str(source))
    workspace = await Workspace.create(repository, repository.root / "work" / "1", commit)
    assert (workspace.path / "README.md").read_text() == "hello\n"
    assert user_git(workspace.path, "status", "--porcelain") == ""
    assert user_git(workspace.path, "log", "--format=%H") == user_git(source, "log", "--format=%H")
    assert fingerprint(source) == before


async def test_branch_tag_and_commit(make_source: MakeSource, user_git: Git, repository: Repository) -> None:
    source = make_source()
    first = user_git(source, "rev-parse", "HEAD")
    user_git(source, "tag", "--annotate", "--message=one", "v1")
    user_git(source, "checkout", "--quiet", "-b", "feature/x")
    user_git(source, "commit", "--quiet", "--allow-empty", "--message=second")
    second = user_git(source, "rev-parse", "HEAD")
    user_git(source, "checkout", "--quiet", "main")
    assert await repository.fetch(str(source)) == first
    assert await repository.fetch(str(source), "v1") == first
    assert await repository.fetch(str(source), "feature/x") == second
    assert await repository.fetch(str(source), second) == second
    assert await repository.fetch(f"file://{source}", "main") == first
    assert user_git(repository.git_dir, "tag", "--list") == ""


async def test_commit_that_no_branch_holds_any_more(
    make_source: MakeSource, user_git: Git, repository: Repository
) -> None:
    source = make_source()
    user_git(source, "commit", "--quiet", "--amend", "--message=other")
    old = user_git(source, "rev-parse", "HEAD@{1}")
    assert await repository.fetch(str(source), old) == old


async def test_moved_branch_is_fetched_again(make_source: MakeSource, user_git: Git, repository: Repository) -> None:
    source = make_source()
    await repository.fetch(str(source))
    user_git(source, "commit", "--quiet", "--amend", "--message=other")
    assert await repository.fetch(str(source)) == user_git(source, "rev-parse", "HEAD")


async def test_uncommitted_work_and_locks_of_the_user_are_left_alone(
    make_source: MakeSource, repository: Repository
) -> None:
    source = make_source()
    (source / "README.md").write_text("half done")
    (source / ".git" / "index.lock").write_text("")
    before = fingerprint(source)
    workspace = await Workspace.create(repository, repository.root / "w", await repository.fetch(str(source)))
    assert (workspace.path / "README.md").read_text() == "hello\n"
    await workspace.remove()
    assert fingerprint(source) == before


async def test_nothing_configured_in_the_source_runs(
    make_source: MakeSource, user_git: Git, repository: Repository, tmp_path: Path
) -> None:
    source = make_source(files={"a.x": "1", ".gitattributes": "* filter=evil diff=evil\n"})
    script = tmp_path / "evil"
    script.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\ncat\n")
    script.chmod(0o755)
    for hook in ("post-checkout", "pre-auto-gc", "reference-transaction", "post-index-change"):
        shutil.copy(script, source / ".git" / "hooks" / hook)
    for key in ("core.fsmonitor", "uploadpack.packObjectsHook", "filter.evil.smudge", "filter.evil.clean"):
        user_git(source, "config", key, str(script))
    before = fingerprint(source)
    workspace = await Workspace.create(repository, repository.root / "w", await repository.fetch(str(source)))
    assert (workspace.path / "a.x").read_text() == "1"
    assert fingerprint(source) == before
    assert not (tmp_path / "ran").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to somebody else")
async def test_source_of_somebody_else(make_source: MakeSource, repository: Repository) -> None:
    source = make_source()
    for path in [source, *source.rglob("*")]:
        os.chown(path, 12345, 12345)
    assert len(await repository.fetch(str(source))) == 40


async def test_source_without_a_commit(tmp_path: Path, user_git: Git, repository: Repository) -> None:
    user_git(tmp_path, "init", "--quiet", "fresh")
    with pytest.raises(GitFailed, match="commit something first"):
        await repository.fetch(str(tmp_path / "fresh"))


async def test_what_is_not_there_is_named(make_source: MakeSource, tmp_path: Path, repository: Repository) -> None:
    source = make_source()
    for wanted in ("nope", "1" * 40):
        with pytest.raises(GitFailed, match="Name a branch, a tag or a full 40-digit commit id"):
            await repository.fetch(str(source), wanted)
    with pytest.raises(GitFailed, match="top folder of a git repository"):
        await repository.fetch(str(tmp_path))
    with pytest.raises(ValueError, match="neither an existing folder"):
        await repository.fetch(str(tmp_path / "nope"))


@pytest.mark.parametrize("source", ["ext::sh -c touch% ran", "--upload-pack=touch ran", "fd::7", "-x:y"])
async def test_source_is_never_a_program(source: str, repository: Repository) -> None:
    with pytest.raises(ValueError, match="neither an existing folder"):
        await repository.fetch(source)


@pytest.mark.parametrize("wanted", ["main:refs/heads/x", "+main", "^main", "--all", "refs/heads/*", "a b"])
async def test_reference_is_only_a_name(wanted: str, make_source: MakeSource, repository: Repository) -> None:
    with pytest.raises(ValueError, match="cannot be the name"):
        await repository.fetch(str(make_source()), wanted)


async def test_blob_is_no_commit(make_source: MakeSource, user_git: Git, repository: Repository) -> None:
    source = make_source()
    user_git(source, "tag", "thing", user_git(source, "rev-parse", "HEAD:README.md"))
    with pytest.raises(GitFailed, match="Name a commit"):
        await repository.fetch(str(source), "thing")
