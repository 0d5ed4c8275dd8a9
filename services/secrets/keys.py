"""The keys of the vault: named by the environment, or in a file beside it that only its owner may read.

The first key encrypts, all of them decrypt; that is what makes a rotation safe to interrupt.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from events.log.access import write_private

VARIABLE = "NIGHTSHIFT_SECRET_KEY"
FILE_VARIABLE = "NIGHTSHIFT_SECRET_KEY_FILE"
NEW_KEY = "openssl rand -base64 32 | tr '+/' '-_'"


class KeyProblem(Exception):
    """There is no usable key; says why and what to do."""


@dataclass(frozen=True, slots=True)
class Keys:
    """Where the keys are."""

    path: Path | None
    """None: the environment holds them, and nobody can write them."""

    @classmethod
    def of(cls, folder: Path) -> Keys:
        """The keys for the vault in a folder. Raises KeyProblem if the environment names them twice."""
        given, file = os.environ.get(VARIABLE), os.environ.get(FILE_VARIABLE)
        if given and file:
            raise KeyProblem(f"{VARIABLE} and {FILE_VARIABLE} are both set; unset one of them")
        return cls(None if given else Path(file) if file else folder / "key")

    def read(self) -> list[str]:
        """All keys, the newest first; none if there is no file yet. Raises KeyProblem."""
        if self.path is None:
            return _split(os.environ[VARIABLE], VARIABLE)
        try:
            mode, text = self.path.stat().st_mode, self.path.read_text()
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:
            raise KeyProblem(f"the key file {self.path} cannot be read: {error}") from error
        if mode & 0o077:
            raise KeyProblem(f"others may read the key file {self.path}: chmod 600 {self.path}")
        return _split(text, str(self.path))

    @property
    def ours(self) -> bool:
        """The engine may write them; otherwise whoever runs it does."""
        return self.path is not None and os.access(self.path if self.path.exists() else self.path.parent, os.W_OK)

    def write(self, keys: list[str]) -> None:
        """Put these keys in the file's place, all or nothing, durably."""
        assert self.path is not None
        replace_private(self.path, "".join(f"{key}\n" for key in keys))


def replace_private(path: Path, text: str) -> None:
    """As `write_private` does; the name, too, is on the disk when this returns. Whoever calls holds the lock."""
    for left in path.parent.glob(f"{path.name}.*.new"):  # by a process that was killed here
        left.unlink()
    write_private(path, text)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _split(text: str, place: str) -> list[str]:
    keys = text.replace(",", " ").split()
    if not keys:
        raise KeyProblem(f"there is no key in {place}: write one there (make one: {NEW_KEY})")
    return keys
