"""Real git in temporary folders: a user's repository, the engine's repository, a count of processes."""

import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from services.workspace import Repository, Workspace, git

_ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
    "GIT_AUTHOR_DATE": "1700000000 +0000",
    "GIT_COMMITTER_DATE": "1700000000 +0000",
}


@pytest.fixture
def user_git() -> Callable[..., str]:
    """Run git as the user, or as a task, would: with all that is configured in the repository."""

    def run(folder: Path, *arguments: str) -> str:
        command = ["git", "-c", "protocol.file.allow=always", "-C", str(folder), *arguments]
        return subprocess.run(command, check=True, env=_ENVIRONMENT, capture_output=True, text=True).stdout.strip()

    return run


@pytest.fixture
def make_source(tmp_path: Path, user_git: Callable[..., str]) -> Callable[..., Path]:
    """Make a repository of the user with one commit."""

    def make(name: str = "source", files: Mapping[str, str] | None = None) -> Path:
        source = tmp_path / name
        source.mkdir(parents=True)
        user_git(source, "init", "--quiet", "--initial-branch=main")
        for path, text in (files or {"README.md": "hello\n", "src/app.py": "print(1)\n"}).items():
            (source / path).parent.mkdir(parents=True, exist_ok=True)
            (source / path).write_text(text)
        user_git(source, "add", "--all")
        user_git(source, "commit", "--quiet", "--message=first")
        return source

    return make


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository.open(tmp_path / "engine", name="project", durable=False)


@pytest.fixture
async def base(repository: Repository) -> str:
    return await repository.empty_commit()


@pytest.fixture
async def workspace(repository: Repository, base: str) -> Workspace:
    return await Workspace.create(repository, repository.root / "work" / "task-1", base)


@pytest.fixture
def commit_files(repository: Repository, tmp_path: Path) -> Callable[..., object]:
    """Make a commit with just these files in the engine's repository."""
    made = 0

    async def commit(files: Mapping[str, str], *parents: str) -> str:
        nonlocal made
        made += 1
        scratch = await Workspace.create(
            repository, repository.root / "scratch" / str(made), await repository.empty_commit()
        )
        for path, text in files.items():
            (scratch.path / path).parent.mkdir(parents=True, exist_ok=True)
            (scratch.path / path).write_text(text)
        tree = await scratch.snapshot()
        return await repository.commit(tree, parents=parents, message="files", author_time=1, trailers={})

    return commit


@pytest.fixture
async def processes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The git commands that are started from now on."""
    await git.git_version()
    started: list[str] = []
    spawn = git._spawn

    async def spy(command: list[str], *arguments: object, **options: object) -> git.Output:
        started.append(next((word for word in command[1:] if word != "-c" and "=" not in word), ""))
        return await spawn(command, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(git, "_spawn", spy)
    monkeypatch.setattr(git, "_versions", {git._executable(): (2, 99, 0)})
    return started
