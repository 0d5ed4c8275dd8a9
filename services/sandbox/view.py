"""What every program may read in order to run: system folders and tools, and never the engine's state or secrets."""

from __future__ import annotations

import os
import pwd
import stat
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

SYSTEM = (
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/opt",
    "/nix/store",
    "/run/current-system/sw",
)
SETTINGS = (
    "alternatives", "bash.bashrc", "ca-certificates", "ca-certificates.conf", "crypto-policies", "debian_version",
    "environment", "fonts", "gai.conf", "gitconfig", "host.conf", "hosts", "inputrc", "java", "ld.so.cache",
    "ld.so.conf", "ld.so.conf.d", "localtime", "magic", "mime.types", "nsswitch.conf", "os-release", "pki", "profile",
    "profile.d", "protocols", "resolv.conf", "services", "shells", "ssl", "terminfo", "timezone",
)  # fmt: skip
"""Of /etc. Not passwd, which the sandbox makes itself, and nothing that may hold a password."""
SECRETS = (
    ".aws", ".azure", ".bash_history", ".cargo/credentials", ".cargo/credentials.toml", ".config", ".docker",
    ".gem/credentials", ".git-credentials", ".gnupg", ".kube", ".local/share/keyrings", ".local/state",
    ".m2/settings.xml", ".my.cnf", ".mozilla", ".netrc", ".npmrc", ".password-store", ".pgpass", ".pypirc", ".ssh",
    ".terraform.d", ".vault-token", ".zsh_history",
)  # fmt: skip
"""Of a home folder."""
HOST = (
    "/boot", "/dev", "/etc/gshadow", "/etc/shadow", "/etc/ssh", "/etc/ssl/private", "/etc/sudoers", "/proc",
    "/run/containerd", "/run/docker.sock", "/run/podman", "/run/user", "/run/dbus", "/sys", "/var/lib/docker",
)  # fmt: skip
"""Devices, sockets of whoever could do anything for us, and passwords: no plan may ask for these."""
PARTS = (
    "bin",
    "sbin",
    "lib",
    "lib64",
    "libexec",
    "include",
    "share",
    "conf",
    "jmods",
    "version",
    "versions",
    "shims",
    "pyvenv.cfg",
)
"""Of a folder in which a tool is installed, beside the `bin` that is in the PATH. `version` is what pyenv and the like
start where nothing else names one."""
USER = 1000
"""Number of the user and group inside the sandboxes that have users of their own, unless the engine has another."""


@dataclass(slots=True)
class View:
    """Paths that every command may read."""

    show: list[str] = field(default_factory=list)
    """Real paths, no links."""
    links: dict[str, str] = field(default_factory=dict)
    """Symbolic links to be made, and what they say."""


def homes() -> set[str]:
    """The home folders of the engine's user."""
    found = {os.path.realpath(Path.home())}
    with suppress(KeyError):
        found.add(os.path.realpath(pwd.getpwuid(os.geteuid()).pw_dir))
    return found - {"/"}


def hidden(state: Path) -> list[str]:
    """Real paths that no grant opens: the engine's own state, the user's secrets, and the host's."""
    found = [os.path.realpath(path) for path in (state, *HOST)]
    found += [os.path.realpath(f"{home}/{name}") for home in homes() for name in SECRETS]
    return sorted(set(found))


def places(paths: Iterable[Path]) -> dict[str, str]:
    """Where granted paths are to be seen, and what they really are: a path that leads over links is seen as both.

    Those that do not exist are left out. Parents come before what is in them.
    """
    found = {}
    folders: dict[str, str] = {}
    for path in paths:
        above, name = os.path.split(path)
        if above not in folders:  # most of them lie in one
            folders[above] = os.path.realpath(above)
        real = os.path.join(folders[above], name)
        try:
            if name in ("", "..") or stat.S_ISLNK(os.lstat(real).st_mode):
                real = os.path.realpath(path, strict=True)
        except OSError:
            continue
        found[real] = found[os.path.abspath(path)] = real
    return dict(sorted(found.items(), key=lambda item: len(item[0])))


def below(path: str, folder: str) -> bool:
    """Whether a path is a folder or something in it."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def forbidden(granted: Iterable[Path], kept: Sequence[str]) -> str | None:
    """The first grant that would open what must stay hidden, or that no path can be; None if all are sound."""
    for path in granted:
        real = os.path.realpath(path)
        if any(below(real, each) or (below(each, real) and os.path.lexists(each)) for each in kept):
            return str(path)
    return None


def carve(path: str, kept: Sequence[str]) -> list[str]:
    """A folder, or what is in it, without what must stay hidden."""
    if any(below(path, each) for each in kept):
        return []
    if not any(below(each, path) for each in kept):
        return [path]
    try:
        names = sorted(os.listdir(path))
    except OSError:
        return []
    return [part for name in names if not os.path.islink(f"{path}/{name}") for part in carve(f"{path}/{name}", kept)]


def system(search: str, kept: Sequence[str]) -> View:
    """The system's folders, and those of the tools that the PATH `search` and this interpreter lead to."""
    view = View()
    for path in (*SYSTEM, *(f"/etc/{name}" for name in SETTINGS)):
        if os.path.islink(path):
            view.links[path] = os.readlink(path)
            _add(view, os.path.realpath(path), kept)
        else:
            _add(view, path, kept)
    for folder in (*search.split(os.pathsep), os.path.dirname(sys.executable)):
        if os.path.isabs(folder) and os.path.isdir(folder):
            _tools(view, folder, kept)
    return view


def _tools(view: View, folder: str, kept: Sequence[str]) -> None:
    """A folder of programs, what is installed with it, and where its links lead."""
    real = os.path.realpath(folder)
    if _shown(view, real):
        return
    _installation(view, real, kept)
    if folder != real:
        view.links.setdefault(folder, real)
    with suppress(OSError), os.scandir(real) as entries:
        for entry in entries:
            if entry.is_symlink() and os.path.isfile(target := os.path.realpath(entry.path)):
                place = os.path.dirname(target)
                if not _shown(view, place):
                    _installation(view, place, kept)


def _installation(view: View, folder: str, kept: Sequence[str]) -> None:
    _add(view, folder, kept)
    prefix = os.path.dirname(folder)
    if os.path.basename(folder) in ("bin", "sbin", "shims") and prefix not in homes():
        mixed = any(prefix in (f"{home}/.local", f"{home}/.cargo") for home in homes())
        for part in PARTS:
            if not (mixed and part == "share"):
                _add(view, f"{prefix}/{part}", kept)
        if os.path.basename(prefix) == ".cargo":
            _add(view, f"{os.path.dirname(prefix)}/.rustup", kept)  # what cargo and rustc really are


def _add(view: View, path: str, kept: Sequence[str]) -> None:
    if os.path.exists(path) and not os.path.islink(path) and not _shown(view, path):
        view.show += carve(path, kept)


def _shown(view: View, path: str) -> bool:
    return any(below(path, each) for each in view.show)
