"""What a snapshot holds: the files as they are, by the rules of `.gitignore`, and nothing of the task's own git."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from services.workspace import Repository, Unrecordable, Workspace

Git = Callable[..., str]
CommitFiles = Callable[..., Awaitable[str]]
Held = Callable[[str], dict[str, str]]


@pytest.fixture
def held(repository: Repository, user_git: Git) -> Held:
    """Path to mode of all that a tree holds."""

    def read(tree: str) -> dict[str, str]:
        lines = user_git(repository.git_dir, "ls-tree", "-r", "-z", tree).split("\0")
        return {path: about[:6] for about, _, path in (line.partition("\t") for line in lines if line)}

    return read


async def test_all_kinds_of_files(workspace: Workspace, held: Held) -> None:
    names = [
        "plain",
        "-dash",
        "--help",
        "new\nline",
        "tab\t",
        "ünï",
        "sp ace",
        ":(glob)x",
        "a*",
        '"q"',
        "b\\c",
        "d/e/f",
    ]
    for name in names:
        (workspace.path / name).parent.mkdir(parents=True, exist_ok=True)
        (workspace.path / name).write_text(name)
    (workspace.path / "run").write_text("x")
    (workspace.path / "run").chmod(0o755)
    (workspace.path / "link").symlink_to("/etc/passwd")
    (workspace.path / "dangling").symlink_to("nowhere")
    (workspace.path / "to-dir").symlink_to("d")
    (workspace.path / "empty" / "folder").mkdir(parents=True)
    expected = dict.fromkeys(names, "100644") | {"run": "100755"}
    expected |= dict.fromkeys(["link", "dangling", "to-dir"], "120000")
    assert held(await workspace.snapshot()) == expected


def non_utf8(folder: Path) -> Path:
    return Path(os.fsdecode(os.fsencode(folder) + b"/\xff\xfe"))


async def test_name_that_is_no_utf8(workspace: Workspace, repository: Repository, base: str) -> None:
    non_utf8(workspace.path).write_text("1")
    tree = await workspace.snapshot()
    (change,) = await repository.changed_files(base, tree)
    assert os.fsencode(change.path) == b"\xff\xfe"


async def test_round_trip_is_exact(workspace: Workspace, repository: Repository) -> None:
    (workspace.path / "a").write_bytes(b"crlf\r\n\0")
    (workspace.path / "link").symlink_to("/etc/passwd")
    tree = await workspace.snapshot()
    assert await workspace.snapshot() == tree
    commit = await repository.commit(tree, parents=[], message="m", author_time=0, trailers={})
    copy = await Workspace.create(repository, repository.root / "copy", commit)
    assert (copy.path / "a").read_bytes() == b"crlf\r\n\0"
    assert os.readlink(copy.path / "link") == "/etc/passwd"
    assert await copy.snapshot() == tree


async def test_changes_against_the_commit(repository: Repository, commit_files: CommitFiles, held: Held) -> None:
    files = dict.fromkeys(["keep", "gone", "mode", "file-to-dir", "file-to-link", "dir/a", "dir/b", "d2/x", "was"], "1")
    commit = await commit_files(files)
    workspace = await Workspace.create(repository, repository.root / "w", commit)
    assert await workspace.snapshot() == await repository.tree_of(commit)
    path = workspace.path
    for name in ("gone", "file-to-dir", "file-to-link", "dir/a", "dir/b", "d2/x"):
        (path / name).unlink()
    (path / "mode").chmod(0o755)
    (path / "file-to-dir").mkdir()
    (path / "file-to-dir" / "in").write_text("1")
    (path / "file-to-link").symlink_to("keep")
    (path / "dir").rmdir()
    (path / "dir").write_text("a file now")
    (path / "d2").rmdir()
    (path / "was").rename(path / "is")
    expected = {"keep": "100644", "mode": "100755", "file-to-dir/in": "100644", "file-to-link": "120000"}
    assert held(await workspace.snapshot()) == expected | {"dir": "100644", "is": "100644"}


async def test_change_of_equal_size_at_once_is_seen(repository: Repository, commit_files: CommitFiles) -> None:
    commit = await commit_files({"a": "old"})
    for number in range(10):
        workspace = await Workspace.create(repository, repository.root / "w" / str(number), commit)
        status = (workspace.path / "a").stat()
        (workspace.path / "a").write_text("new")
        os.utime(workspace.path / "a", ns=(status.st_atime_ns, status.st_mtime_ns))
        assert await workspace.snapshot() != await repository.tree_of(commit)


async def test_gitignore_counts_and_force_overrules(workspace: Workspace, held: Held) -> None:
    (workspace.path / ".gitignore").write_text("dist/\n*.log\n")
    for name in ("dist/a.js", "dist/sub/b.js", "x.log", "[1].log", "deep/y.log", "main.py"):
        (workspace.path / name).parent.mkdir(parents=True, exist_ok=True)
        (workspace.path / name).write_text("1")
    normal = {".gitignore", "main.py"}
    assert set(held(await workspace.snapshot())) == normal
    for force, more in {
        ("dist",): {"dist/a.js", "dist/sub/b.js"},
        ("dist/*.js",): {"dist/a.js"},
        ("*.log",): {"x.log", "[1].log"},
        ("**/*.log",): {"x.log", "[1].log", "deep/y.log"},
        ("[1].log",): {"[1].log"},
        ("nope", "no/*.pe", "main.py", "x.log"): {"x.log"},
        (":(exclude)*", "-x"): set(),
    }.items():
        assert set(held(await workspace.snapshot(force=force))) == normal | more
    assert set(held(await workspace.snapshot())) == normal


@pytest.mark.parametrize("pattern", ["/etc/passwd", "../x", "a/../../x", "", "nul\0"])
async def test_force_stays_inside(pattern: str, workspace: Workspace) -> None:
    with pytest.raises(ValueError, match="below the working folder"):
        await workspace.snapshot(force=[pattern])


async def test_tracked_files_stay_even_if_ignored(
    repository: Repository, commit_files: CommitFiles, held: Held
) -> None:
    commit = await commit_files({"x.log": "1"})
    workspace = await Workspace.create(repository, repository.root / "w", commit)
    (workspace.path / ".gitignore").write_text("*.log\n")
    (workspace.path / "x.log").write_text("2")
    tree = await workspace.snapshot()
    assert set(held(tree)) == {".gitignore", "x.log"}
    assert [change.status for change in await repository.changed_files(commit, tree)] == ["A", "M"]


async def test_sockets_and_fifos_are_ignored(repository: Repository, commit_files: CommitFiles, held: Held) -> None:
    workspace = await Workspace.create(
        repository, repository.root / "w", await commit_files({"a": "1", "b": "1", "c/d": "1"})
    )
    os.mkfifo(workspace.path / "fifo")
    for name in ("a", "b"):
        (workspace.path / name).unlink()
    os.mkfifo(workspace.path / "a")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(workspace.path / "b")[-100:] if len(str(workspace.path)) < 90 else "\0nightshift-test")
        assert set(held(await workspace.snapshot())) == {"c/d"}


_SNAPSHOT = """
import asyncio, pathlib, sys
from services.workspace import Repository, Workspace
root, path, commit = sys.argv[1:]
repository = Repository.open(pathlib.Path(root), name="project", durable=False)
try:
    print("taken:", asyncio.run(Workspace(repository, pathlib.Path(path), commit).snapshot()))
except Exception as error:
    print(type(error).__name__, error)
"""

_WITHOUT_ROOTS_RIGHTS = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
"""Takes from root what lets it read everything."""


@pytest.mark.parametrize("kind", ["file", "folder", "embedded"])
def test_what_cannot_be_read_is_an_error(kind: str, workspace: Workspace, user_git: Git) -> None:
    secret = workspace.path / "secret"
    if kind == "file":
        secret.write_text("1")
    else:
        (secret / "inner").mkdir(parents=True)
        (secret / "inner" / "file").write_text("1")
        if kind == "embedded":
            user_git(secret, "init", "--quiet")
            secret = secret / "inner"
    secret.chmod(0)
    command = _WITHOUT_ROOTS_RIGHTS if os.geteuid() == 0 else []
    command = [*command, sys.executable, "-c", _SNAPSHOT, str(workspace.repository.root), str(workspace.path)]
    said = subprocess.run([*command, workspace.commit], capture_output=True, text=True, check=True).stdout
    secret.chmod(0o700)
    assert said.startswith("Unrecordable" if kind == "embedded" else "GitFailed")
    assert re.search("secret.*[Pp]ermission denied", said, re.DOTALL)


async def test_path_that_git_refuses_is_named(workspace: Workspace) -> None:
    (workspace.path / "sub" / ".GIT").mkdir(parents=True)
    (workspace.path / "sub" / ".GIT" / "config").write_text("1")
    with pytest.raises(Unrecordable, match=r"sub/\.GIT/config: git refuses this path"):
        await workspace.snapshot()


async def test_two_thousand_files(workspace: Workspace, repository: Repository, base: str) -> None:
    for number in range(2000):
        (workspace.path / f"d{number % 50}").mkdir(exist_ok=True)
        (workspace.path / f"d{number % 50}" / f"{number}.txt").write_text(f"{number}\n")
    tree = await workspace.snapshot()
    assert len(await repository.changed_files(base, tree)) == 2000
    commit = await repository.commit(tree, parents=[base], message="m", author_time=0, trailers={})
    copy = await Workspace.create(repository, repository.root / "copy", commit)
    assert await copy.snapshot() == tree
