"""A task that tries to make the engine's git run something, read outside, or record a lie."""

import os
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from services.workspace import Repository, Unrecordable, Workspace

Git = Callable[..., str]
CommitFiles = Callable[..., Awaitable[str]]


@pytest.fixture
def evil(tmp_path: Path) -> Path:
    """A program that leaves a mark when it is run."""
    script = tmp_path / "evil.sh"
    script.write_text(f"#!/bin/sh\necho $0 $@ >> {tmp_path}/ran\ncat\n")
    script.chmod(0o755)
    return script


def poison(git_dir: Path, evil: Path) -> None:
    """Configure everything that git may run."""
    keys = ["core.fsmonitor", "filter.evil.clean", "filter.evil.smudge", "filter.evil.process", "core.sshCommand"]
    keys += ["diff.evil.textconv", "diff.evil.command", "diff.external", "core.pager", "merge.evil.driver"]
    sections: dict[str, str] = {}
    for key in keys:
        section, name = key.rsplit(".", 1)
        head, _, sub = section.partition(".")
        title = f'[{head} "{sub}"]' if sub else f"[{head}]"
        sections[title] = sections.get(title, "") + f"\t{name} = {evil}\n"
    text = "".join(f"{title}\n{body}" for title, body in sections.items())
    (git_dir / "config").write_text(f"[core]\n\trepositoryformatversion = 0\n\tbare = false\n{text}")
    (git_dir / "info").mkdir(exist_ok=True)
    (git_dir / "info" / "attributes").write_text("* filter=evil diff=evil merge=evil\n")
    (git_dir / "info" / "exclude").write_text("*\n")
    hooks = git_dir / "hooks"
    hooks.mkdir(exist_ok=True)
    for name in ("post-checkout", "post-index-change", "reference-transaction", "pre-commit", "fsmonitor-watchman"):
        shutil.copy(evil, hooks / name)


async def test_nothing_the_task_configured_runs(
    repository: Repository, commit_files: CommitFiles, user_git: Git, evil: Path, tmp_path: Path
) -> None:
    attributes = "* filter=evil diff=evil merge=evil\n"
    base = await commit_files({".gitattributes": attributes, "a": "1\n", "b": "1\n"})
    workspace = await Workspace.create(repository, repository.root / "w", base)
    poison(workspace.path / ".git", evil)
    (workspace.path / "a").write_text("2\n")
    (workspace.path / "new").write_text("3\n")
    first = await workspace.snapshot(force=["*"])
    other = await commit_files({".gitattributes": attributes, "a": "1\n", "b": "2\n"})
    assert isinstance(await repository.merge(base, first, other), str)
    await repository.changed_files(base, first)
    assert [(change.path, change.added) for change in await repository.changed_files(base, first)] == [
        ("a", 1),
        ("new", 1),
    ]
    commit = await repository.commit(first, parents=[base], message="m", author_time=0, trailers={})
    await repository.set_branch("b", commit)
    await Workspace.create(repository, repository.root / "w2", commit)
    assert not (tmp_path / "ran").exists()
    user_git(workspace.path, "add", "-f", "a")  # the traps are real: the task's own git falls into them
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("shape", ["file", "link", "gone", "garbage", "bare link"])
async def test_git_folder_of_the_task_is_never_looked_at(
    shape: str, repository: Repository, commit_files: CommitFiles, user_git: Git, tmp_path: Path, evil: Path
) -> None:
    base = await commit_files({"a": "1"})
    expected = await repository.tree_of(await commit_files({"a": "1", "b": "2"}))
    workspace = await Workspace.create(repository, repository.root / "w", base)
    user_git(tmp_path, "init", "--quiet", "elsewhere")
    poison(tmp_path / "elsewhere" / ".git", evil)
    own = workspace.path / ".git"
    shutil.rmtree(own)
    match shape:
        case "file":
            own.write_text(f"gitdir: {tmp_path}/elsewhere/.git\n")
        case "link":
            own.symlink_to(tmp_path / "elsewhere" / ".git")
        case "garbage":
            own.write_text("\0garbage")
        case "bare link":
            own.symlink_to(repository.git_dir)
    (workspace.path / "b").write_text("2")
    assert await workspace.snapshot() == expected
    await workspace.remove()
    assert (tmp_path / "elsewhere" / ".git" / "config").exists()
    assert (repository.git_dir / "HEAD").exists()
    assert not (tmp_path / "ran").exists()


async def test_folder_swapped_for_a_link_is_not_followed(
    repository: Repository, commit_files: CommitFiles, tmp_path: Path
) -> None:
    workspace = await Workspace.create(
        repository, repository.root / "w", await commit_files({"d/a": "1", "d/e/b": "1"})
    )
    (workspace.path / ".gitignore").write_text("d\n")
    (workspace.path / "d").rename(tmp_path / "outside")  # so that even the times of the files are the same
    (workspace.path / "d").symlink_to(tmp_path / "outside")
    (tmp_path / "outside" / "secret").write_text("1")
    tree = await workspace.snapshot()
    assert tree == await repository.tree_of(await commit_files({".gitignore": "d\n"}))
    forced = await workspace.snapshot(force=["d"])
    assert [c.path for c in await repository.changed_files(tree, forced)] == ["d"]


@pytest.mark.parametrize("name", [".gitignore", ".gitattributes"])
async def test_rules_are_not_read_through_a_link(name: str, workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "rules").write_text("a text\n")
    (workspace.path / name).symlink_to(tmp_path / "rules")
    (workspace.path / "a").write_text("1\r\n")
    tree = await workspace.snapshot()
    paths = {change.path for change in await workspace.repository.changed_files(workspace.commit, tree)}
    assert paths == {name, "a"}


@pytest.mark.parametrize("commits", [0, 1])
async def test_embedded_repository_becomes_files(
    commits: int, repository: Repository, workspace: Workspace, user_git: Git, evil: Path, tmp_path: Path
) -> None:
    sub = workspace.path / "vendor" / "lib"
    (sub / "deep").mkdir(parents=True)
    for name in ("a", "deep/b", "skip.log", "deep/-c\n"):
        (sub / name).write_text("1")
    (sub / "link").symlink_to("/etc")
    (sub / ".gitignore").write_text("*.log\n")
    for folder in (sub, sub / "deep"):
        user_git(folder, "init", "--quiet")
        if commits:
            user_git(folder, "add", "--all")
            user_git(folder, "commit", "--quiet", "--message=x")
        poison(folder / ".git", evil)
    (sub / "a").write_text("2")
    tree = await workspace.snapshot()
    found = {change.path: change.status for change in await repository.changed_files(workspace.commit, tree)}
    assert found == {f"vendor/lib/{name}": "A" for name in ("a", "deep/b", "deep/-c\n", "link", ".gitignore")}
    assert b"160000" not in (await repository.run("ls-tree", "-r", tree)).stdout
    assert not (tmp_path / "ran").exists()


async def test_repository_made_in_a_tracked_folder(
    repository: Repository, commit_files: CommitFiles, user_git: Git, evil: Path, tmp_path: Path
) -> None:
    base = await commit_files({"lib/a": "1", "b": "1"})
    workspace = await Workspace.create(repository, repository.root / "w", base)
    user_git(workspace.path / "lib", "init", "--quiet")
    user_git(workspace.path / "lib", "add", "--all")
    user_git(workspace.path / "lib", "commit", "--quiet", "--message=x")
    poison(workspace.path / "lib" / ".git", evil)
    (workspace.path / "lib" / "a").write_text("2")
    (workspace.path / "lib" / "new").write_text("2")
    tree = await workspace.snapshot()
    assert [(c.path, c.status) for c in await repository.changed_files(base, tree)] == [
        ("lib/a", "M"),
        ("lib/new", "A"),
    ]
    assert not (tmp_path / "ran").exists()


async def test_submodule_of_the_source(
    repository: Repository, make_source: Callable[..., Path], user_git: Git, evil: Path, tmp_path: Path
) -> None:
    library, source = make_source("library"), make_source("source")
    user_git(source, "submodule", "--quiet", "add", str(library), "vendor")
    user_git(source, "commit", "--quiet", "--message=submodule")
    base = await repository.fetch(str(source))
    workspace = await Workspace.create(repository, repository.root / "w", base)
    vendor = workspace.path / "vendor"
    assert list(vendor.iterdir()) == []
    assert await workspace.snapshot() == await repository.tree_of(base)
    (vendor / "lost").write_text("1")
    with pytest.raises(Unrecordable, match="vendor: there are files in the folder of a submodule"):
        await workspace.snapshot()
    (vendor / "lost").unlink()
    user_git(workspace.path, "submodule", "--quiet", "update", "--init")
    modules = workspace.path / ".git" / "modules" / "vendor"
    assert await workspace.snapshot() == await repository.tree_of(base)
    os.utime(vendor / "README.md")
    user_git(vendor, "commit", "--quiet", "--allow-empty", "--message=inside")
    poison(modules, evil)
    with pytest.raises(Unrecordable, match="vendor: this submodule has commits of its own"):
        await workspace.snapshot()
    shutil.rmtree(vendor)
    assert [c.path for c in await repository.changed_files(base, await workspace.snapshot())] == ["vendor"]
    assert not (tmp_path / "ran").exists()
