"""The one door to the git program: a clean environment, nothing executed from a repository, errors that help.

No configuration but ours is read, so hooks, filters, text converters, credential helpers, aliases and file system
monitors named by a repository, a workspace, the machine or the user stay names without a program behind them.
"""

import asyncio
import contextlib
import os
import re
import shutil
import signal
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

OLDEST = (2, 38, 0)
"""The first git with `merge-tree --write-tree`."""

TIME_LIMIT = 300.0
"""Seconds one git run may take before its whole process group is killed."""

_SETTINGS = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.untrackedCache=false",
    "core.autocrlf=false",
    "core.attributesFile=/dev/null",
    "core.excludesFile=/dev/null",
    "core.filesRefLockTimeout=500",
    "protocol.ext.allow=never",
    "submodule.recurse=false",
    "gc.auto=0",
    "maintenance.auto=false",
)

_ENVIRONMENT = {
    "HOME": "/nonexistent",
    "LC_ALL": "C",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_NO_LAZY_FETCH": "1",
}

_REMEDIES = (
    (r"No space left on device|Disk quota exceeded", "The disk is full: free some space, then try again."),
    (r"Permission denied|Operation not permitted|could not open directory", "Let the engine's user read and write it."),
    (r"Read-only file system", "The engine's folder must be on a disk that can be written to."),
    (r"couldn't find remote ref HEAD", "The repository has no commit yet: commit something first."),
    (
        r"couldn't find remote ref|not our ref",
        "Name a branch, a tag or a full 40-digit commit id that exists in the source repository.",
    ),
    (r"does not appear to be a git repository|not a git repository", "Give the top folder of a git repository."),
    (r"mismatched algorithms", "The source uses SHA-256 object names; only SHA-1 repositories are supported."),
    (r"\.lock': File exists", "Another git is at work in this repository; if none is, delete the lock file it names."),
    (
        r"Could not resolve host|Could not read from remote|Authentication failed|could not read Username",
        "The source cannot be reached without asking for a password: check the address and the credentials.",
    ),
    (
        r"bad object|unable to read|is corrupt|missing (blob|tree|commit)",
        "Objects are missing or damaged: run git fsck.",
    ),
)


class GitFailed(Exception):
    """Git did not do what it was asked: the command, its exit code, its last lines, and what to do where we know it.

    `code` is None when git did not run to its end.
    """

    def __init__(self, command: Sequence[str], code: int | None, stderr: str, remedy: str | None = None) -> None:
        self.command = " ".join(_without_password(word) for word in command)
        self.code = code
        self.stderr = "\n".join(_without_password(stderr).strip().splitlines()[-8:])
        self.remedy = remedy or next((text for sign, text in _REMEDIES if re.search(sign, stderr)), None)
        ending = "did not finish" if code is None else f"ended with code {code}"
        super().__init__("\n".join(filter(None, (f"{self.command} {ending}", self.stderr, self.remedy))))


class GitTooOld(GitFailed):
    """The git program on this machine is older than `OLDEST`."""


@dataclass(frozen=True, slots=True)
class Output:
    """What a git run left behind; `stderr` is decoded, `stdout` is not."""

    code: int
    stdout: bytes
    stderr: str

    @property
    def line(self) -> str:
        """The output as one line of text, such as an object id."""
        return self.stdout.decode("ascii").strip()

    @property
    def fields(self) -> list[str]:
        """The output of a `-z` option, split; bytes that are no UTF-8 come back as surrogates (PEP 383)."""
        return [os.fsdecode(field) for field in self.stdout.split(b"\0")[:-1]]


async def git_version() -> tuple[int, int, int]:
    """The version of the installed git, such as (2, 39, 5). Raises `GitFailed` when there is none."""
    executable = _executable()
    output = await _spawn([executable, "version"], _environment(), cwd="/", time_limit=30.0)
    match = re.match(rb"git version (\d+)\.(\d+)(?:\.(\d+))?", output.stdout)
    if not match:
        raise GitFailed(["git", "version"], output.code, f"{output.stdout!r} is not a version of git\n{output.stderr}")
    major, minor, patch = (int(part or 0) for part in match.groups())
    return major, minor, patch


async def run(
    *arguments: str,
    git_dir: Path,
    work_tree: Path | None = None,
    index: Path | None = None,
    stdin: bytes | None = None,
    settings: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    accept: Container[int] = (0,),
    keep_open: Sequence[int] = (),
    time_limit: float = TIME_LIMIT,
) -> Output:
    """Run `git <arguments>` on the repository `git_dir` and wait for it, at most `time_limit` seconds.

    `settings` are further `key=value` settings, `environment` further variables, `keep_open` the file descriptors
    that git and its children inherit. Raises `GitFailed` for an exit code that is not in `accept`. When the waiting
    is cancelled, git and all its children are killed first.
    """
    executable = _executable()
    await _require_supported(executable)
    command = [executable]
    for setting in (*_SETTINGS, *settings):
        command += ["-c", setting]
    variables = _environment() | {"GIT_DIR": str(git_dir)} | dict(environment or {})
    if work_tree is not None:
        variables["GIT_WORK_TREE"] = str(work_tree)
    if index is not None:
        variables["GIT_INDEX_FILE"] = str(index)
    cwd = str(work_tree or git_dir)
    output = await _spawn(
        [*command, *arguments], variables, cwd=cwd, stdin=stdin, keep_open=keep_open, time_limit=time_limit
    )
    if output.code not in accept:
        raise GitFailed(["git", *arguments], output.code, output.stderr)
    return output


_versions: dict[str, tuple[int, int, int]] = {}


async def _require_supported(executable: str) -> None:
    if executable not in _versions:
        _versions[executable] = await git_version()
    version = _versions[executable]
    if version < OLDEST:
        found, needed = (".".join(map(str, numbers)) for numbers in (version, OLDEST))
        raise GitTooOld([executable], None, f"{executable} is git {found}", f"Install git {needed} or newer.")


def _executable() -> str:
    found = shutil.which("git", path=_search_path())
    if found is None:
        raise GitFailed(["git"], None, "there is no git program in PATH", "Install git 2.38 or newer.")
    return found


def _search_path() -> str:
    """PATH without the relative entries, which would be looked up in a workspace."""
    return os.pathsep.join(
        entry for entry in os.environ.get("PATH", os.defpath).split(os.pathsep) if os.path.isabs(entry)
    )


def _environment() -> dict[str, str]:
    return _ENVIRONMENT | {"PATH": _search_path()}


async def _spawn(
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    cwd: str,
    stdin: bytes | None = None,
    keep_open: Sequence[int] = (),
    time_limit: float,
) -> Output:
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
            cwd=cwd,
            pass_fds=tuple(keep_open),
            start_new_session=True,
        )
    except OSError as error:
        raise GitFailed(["git", *command[1:]], None, f"cannot start git in {cwd}: {error}") from error
    try:
        async with asyncio.timeout(time_limit):
            stdout, stderr = await process.communicate(stdin)
    except (TimeoutError, asyncio.CancelledError) as stopped:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        if isinstance(stopped, TimeoutError):
            raise GitFailed(["git", *command[1:]], None, f"killed after {time_limit:g} seconds") from stopped
        raise
    return Output(process.returncode or 0, stdout, stderr.decode("utf-8", "replace"))


def _without_password(text: str) -> str:
    return re.sub(r"(\w://)[^/@\s]+@", r"\1***@", text)
