"""What a plan may say about its sandbox, how that adds up, and which level a task gets."""

import os
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from schemas.grants import DEFAULTS, LEVELS, Isolation, Level, TaskLimits, resolved
from schemas.isolation import document_of, isolation_of
from schemas.plan import PolicyModel, TaskModel
from services.sandbox import Access, Limits, Sandbox
from services.sandbox.cgroups import parents
from services.sandbox.launcher import cgroup, landlock
from services.sandbox.levels import LevelMissing, Levels, Offer
from services.sandbox.terms import GrantRefused, terms
from services.sandbox.view import carve, hidden, places, system
from tests.sandboxes import PYTHON, levels, linux_only, run

GIB = 1024**3


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512MiB", 512 * 1024**2),
        ("2GB", 2 * 10**9),
        ("1.5g", 1_500_000_000),
        (4096, 4096),
        ("none", 0),
        ("64 k", 64000),
    ],
)
def test_sizes(text: str | int, size: int) -> None:
    assert isolation_of(PolicyModel.model_validate({"limits": {"memory": text}})).limits.memory == size


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ({"limits": {"memory": "a lot"}}, "'a lot' is no size; write it like 512MiB, 2GB, or none"),
        ({"limits": {"memory": -1}}, "greater than or equal to 0"),
        ({"limits": {"ram": 1}}, "Extra inputs are not permitted"),
        ({"read": ["data"]}, "'data' is no absolute path"),
        ({"write": ["/srv/../etc"]}, "is no absolute path without '..'"),
        ({"network": "some"}, "'none' or 'host'"),
        ({"network": [70000]}, "less than or equal to 65535"),
    ],
)
def test_what_makes_no_sense_is_refused(said: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        PolicyModel.model_validate(said)


def test_what_is_said_can_be_written_again() -> None:
    said = {"limits": {"memory": 100, "cpu": 0.5}, "network": [443, 5432], "read": ["/srv/a"], "write": ["/srv/b"]}
    value = isolation_of(TaskModel.model_validate({"id": "t", "run": "true", **said}))
    assert document_of(value) == said
    assert document_of(Isolation()) == {}
    assert isolation_of(PolicyModel.model_validate({"network": 443})).ports == (443,)


def test_a_task_speaks_before_its_policy_and_the_defaults_come_last() -> None:
    policy = Isolation(limits=TaskLimits(memory=GIB, processes=0), network="host", read=("/a",))
    task = Isolation(limits=TaskLimits(memory=2 * GIB, cpu=1.5), ports=(443,), read=("/b",))
    found = resolved(policy, task)
    assert found.limits == replace(DEFAULTS, memory=2 * GIB, processes=0, cpu=1.5)
    assert (found.network, found.ports, found.read) == ("none", (443,), ("/a", "/b"))
    assert resolved(policy, Isolation()).network == "host"
    assert resolved(Isolation(), Isolation()) == Isolation(limits=DEFAULTS, network="none")


def test_the_terms_of_a_task(tmp_path: Path) -> None:
    limits, access = terms(Isolation(), Isolation(limits=TaskLimits(cpu_time=1.2, processes=0)), tmp_path)
    assert limits == Limits(cpu_seconds=2, file_bytes=2 * GIB, tree_memory_bytes=2 * GIB)
    assert (access.network, access.ports, access.read, access.write) == ("none", (), (), ())


def test_no_plan_opens_what_is_not_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, state = tmp_path / "user", tmp_path / "user" / ".local" / "state" / "nightshift"
    for folder in (state / "server", home / ".ssh", home / "data"):
        folder.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    (home / "data" / "way-in").symlink_to(home / ".ssh")
    for path in (
        state, state / "server" / "nats.conf", home / ".ssh" / "id", home, "/", home / "data" / "way-in", "/dev/sda",
        "/proc/1", "/etc/shadow", "/etc", "/run/docker.sock",
    ):  # fmt: skip
        with pytest.raises(GrantRefused, match="cannot be granted"):
            terms(Isolation(), Isolation(read=(str(path),)), state)
        with pytest.raises(GrantRefused, match="cannot be granted"):
            terms(Isolation(write=(str(path),)), Isolation(), state)
    assert terms(Isolation(read=(str(home / "data"),)), Isolation(), state)[1].read == (home / "data",)


def test_what_must_stay_hidden_is_cut_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("tool/bin", "tool/lib", "tool/state/x", "home/.local/bin", "home/.local/share/keyrings"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    kept = hidden(tmp_path / "tool" / "state")
    assert carve(str(tmp_path / "tool"), kept) == [str(tmp_path / "tool" / part) for part in ("bin", "lib")]
    view = system(f"{tmp_path}/tool/bin:{tmp_path}/home/.local/bin:relative", kept)
    mine = [path.removeprefix(str(tmp_path)) for path in view.show if path.startswith(str(tmp_path))]
    assert mine == ["/tool/bin", "/tool/lib", "/home/.local/bin"]
    assert "/etc/shadow" not in view.show
    assert not any(path in ("/", "/etc", "/root", "/home") for path in view.show)


def test_what_a_shim_starts_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for folder in (".pyenv/shims", ".pyenv/versions/3", ".cargo/bin", ".rustup/toolchains", ".config"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / ".pyenv/version").write_text("3\n")
    view = system(f"{tmp_path}/.pyenv/shims:{tmp_path}/.cargo/bin", hidden(tmp_path / "state"))
    mine = [path.removeprefix(str(tmp_path)) for path in view.show if path.startswith(str(tmp_path))]
    assert mine == ["/.pyenv/shims", "/.pyenv/version", "/.pyenv/versions", "/.cargo/bin", "/.rustup"]


@linux_only
async def test_a_tool_that_lies_in_a_temporary_folder_can_be_run(tmp_path: Path) -> None:
    """The folders that every command has for itself do not cover what it is shown there."""
    (tmp_path / "tool/bin").mkdir(parents=True)
    tool = tmp_path / "tool/bin/greet"
    tool.write_text("#!/bin/sh\ntouch /tmp/mine || exit 1\necho hello\n")
    tool.chmod(0o755)
    (tmp_path / "files").mkdir()
    async with levels(tmp_path / "state", search=f"{tool.parent}:{os.defpath}") as found:
        for level in ("landlock", "bwrap"):
            if (await found.offer(level)).missing:
                continue
            env = {"PATH": f"{tool.parent}:{os.defpath}"}
            ended, output = await run(found.made(level), "greet", cwd=tmp_path / "files", env=env)
            assert (ended.exit_code, output) == (0, "hello\n"), level
    assert not Path("/tmp/mine").exists()


@linux_only
@pytest.mark.skipif(landlock.abi() < 4, reason="the kernel's Landlock has no rules for TCP")
async def test_single_ports_open_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as granted, socket.create_server(("127.0.0.1", 0)) as other:
        ports = [server.getsockname()[1] for server in (granted, other)]
        script = f"""
import socket
for port in {ports}:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        print("connected")
    except PermissionError:
        print("refused")
try:
    socket.create_server(("127.0.0.1", 0))
except PermissionError:
    print("no listening")
"""
        async with levels(tmp_path / "state") as found:
            sandbox = await found.choose("landlock", ports=True)
            access = Access(ports=(ports[0],))
            _, output = await run(sandbox, PYTHON, "-c", script, cwd=tmp_path / "files", access=access)
    assert output.split("\n") == ["connected", "refused", "no listening", ""]


class Nothing:
    """Stands for a sandbox that is only chosen here."""

    def __init__(self, level: Level) -> None:
        self.level = level


def host(*there: Level, default: Level | None = None) -> Levels:
    """A host that has these levels."""
    levels = Levels(Path("/nowhere"), default=default)
    for level in LEVELS:
        missing = "" if level in there else "not installed"
        levels._offers[level] = Offer(level=level, missing=missing, remedy="install it")
        levels._made[level] = Nothing(level)  # type: ignore[assignment]
    return levels


@pytest.mark.parametrize(
    ("there", "default", "minimum", "chosen"),
    [
        (("process", "landlock"), None, None, "landlock"),
        (("process",), None, None, "process"),
        (("process", "landlock"), None, "process", "landlock"),
        (("process", "landlock"), "process", None, "process"),
        (("process", "landlock"), "process", "landlock", "landlock"),
        (("process", "landlock", "docker"), None, "bwrap", "docker"),
        (("process", "landlock", "bwrap", "docker"), "landlock", "bwrap", "bwrap"),
        (("process", "landlock", "bwrap", "docker"), "docker", "bwrap", "docker"),
        (("process", "landlock"), None, "docker", None),
        (("process", "docker"), "landlock", None, None),
        (("process",), None, "landlock", None),
    ],
)
async def test_never_weaker_than_demanded(
    there: tuple[Level, ...], default: Level | None, minimum: Level | None, chosen: Level | None
) -> None:
    levels = host(*there, default=default)
    if chosen is None:
        with pytest.raises(LevelMissing, match=r"this host has no sandbox .*: not installed; install it"):
            await levels.choose(minimum)
    else:
        sandbox: Sandbox = await levels.choose(minimum)
        assert sandbox.level == chosen


async def test_single_ports_need_a_level_that_can_open_them() -> None:
    assert (await host("process", "landlock").choose(None, ports=True)).level == "landlock"
    with pytest.raises(LevelMissing, match="cannot open single ports"):
        await host("process", "landlock", "bwrap").choose("bwrap", ports=True)


def test_the_folders_of_control_groups_are_read_from_the_kernels_tables(tmp_path: Path) -> None:
    mounts = tmp_path / "mount points"
    for name in ("v1/memory/job/7", "v1/cpu,cpuacct/job", "v2/user/me"):
        (mounts / name).mkdir(parents=True)
    root = str(mounts).replace(" ", "_")
    mounts.rename(root)

    def mountinfo(*lines: str) -> dict[str, str]:
        (tmp_path / "mountinfo").write_text("\n".join(lines) + "\n")
        return {name: path.removeprefix(root) for name, path in parents(tmp_path).items()}

    (tmp_path / "cgroup").write_text("4:memory:/job/7\n3:cpu,cpuacct:/job\n2:pids:/\n0::/user/me\n")
    first = [f"1 2 0:1 / {root}/v1/memory rw - cgroup cgroup rw,memory",
             f"1 2 0:2 / {root}/v1/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct"]  # fmt: skip
    assert mountinfo(*first) == {
        "memory": "/v1/memory/job/7", "cpu": "/v1/cpu,cpuacct/job", "cpuacct": "/v1/cpu,cpuacct/job",
    }  # fmt: skip
    assert mountinfo(f"1 2 0:1 /job {root}/v1/memory rw - cgroup cgroup rw,memory") == {}
    (tmp_path / "cgroup").write_text("0::/user/me\n")
    second = f"1 2 0:3 / {root}/v2 rw - cgroup2 cgroup2 rw"
    assert mountinfo(second) == {}, "nothing is passed on to groups below"
    Path(root, "v2/cgroup.subtree_control").write_text("cpu memory pids\n")
    assert mountinfo(second) == {"memory": "/v2", "pids": "/v2", "cpu": "/v2"}
    Path(root, "v2/user/me/cgroup.subtree_control").write_text("memory\n")
    assert mountinfo(second) == {"memory": "/v2/user/me"}


@pytest.mark.parametrize("files", [["cgroup.procs", "tasks"], ["cgroup.procs"]])
def test_a_keeper_joins_as_a_single_thread_where_that_can_be_said(
    files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`cgroup.procs` of version 1 waits until all processors have passed by, with forks of the whole machine behind."""
    mkdir = os.mkdir

    def as_the_kernel_does(path: str, *args: Any) -> None:
        mkdir(path, *args)
        for name in files:
            Path(path, name).touch()

    monkeypatch.setattr(os, "mkdir", as_the_kernel_does)
    group = cgroup.Group({"memory": str(tmp_path)})
    said = {name: Path(group.folders["memory"], name).read_text() for name in files}
    assert said == dict.fromkeys(files, "") | {files[-1]: "0"}


def test_a_granted_path_is_seen_as_it_is_named_and_as_it_is(tmp_path: Path) -> None:
    real = tmp_path / "real"
    (real / "deep").mkdir(parents=True)
    (real / "file").touch()
    (tmp_path / "link").symlink_to("real")
    (real / "other").symlink_to("file")
    found = places(
        [tmp_path / "link" / "deep", tmp_path / "link", real / "other", real / "deep" / "..", real / "missing"]
    )
    named = {"link/deep": "real/deep", "link": "real", "real/other": "real/file"}
    expected = {str(tmp_path / name): str(tmp_path / where) for name, where in named.items()}
    expected |= {where: where for where in expected.values()}
    assert found == expected
    assert list(found) == sorted(found, key=len), "parents before what is in them"
