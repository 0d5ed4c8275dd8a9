"""Secrets by tenant and name, encrypted in one file (Fernet: AES-128-CBC and HMAC-SHA256, several keys at a time).

Each entry holds its tenant and name inside as well, so that nobody can put one in the place of another. Values come out
only for the engine; no command prints them.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schemas.names import SECRET_NAME, tenant_id
from services.secrets.forms import SHORTEST
from services.secrets.keys import NEW_KEY, VARIABLE, KeyProblem, Keys, replace_private

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

LONGEST = 32 * 1024
"""Bytes of a value; the kernel takes no more than 128 KiB in one variable."""
_VERSION = 1


class VaultProblem(Exception):
    """The vault cannot be read, or cannot take something; says why and what to do."""


class BadSecret(ValueError):
    """This cannot be kept as a secret; says why."""


class Vault:
    """The vault in a folder; any number of processes may use it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "vault.json"

    def set(self, tenant: str, name: str, value: str) -> None:
        """Keep a value under a name, in the place of an earlier one. Raises BadSecret, KeyProblem, VaultProblem."""
        check(name, value)
        tenant = tenant_id(tenant)
        with self._locked(fcntl.LOCK_EX) as keys:
            entries = self._read()
            fernet = _fernet(keys, self._keys_or_new(keys, entries))
            if entries:  # not two halves under two keys
                self._open(fernet, entries, keys)
            plain = json.dumps({"tenant": tenant, "name": name, "value": value}).encode()
            entries[tenant, name] = {
                "set": datetime.now(UTC).isoformat(timespec="seconds"), "token": fernet.encrypt(plain).decode(),
            }  # fmt: skip
            self._write(entries)

    def remove(self, tenant: str, name: str) -> bool:
        """Forget a secret; False if there is none of that name. Needs no key."""
        with self._locked(fcntl.LOCK_EX):
            entries = self._read()
            if entries.pop((tenant_id(tenant), name), None) is None:
                return False
            self._write(entries)
            return True

    def names(self, tenant: str) -> dict[str, str]:
        """The names that a tenant has secrets under, and when each was set (RFC 3339). Needs no key."""
        if not self.path.exists():
            return {}
        with self._locked(fcntl.LOCK_SH):
            return {name: entry["set"] for (owner, name), entry in sorted(self._read().items()) if owner == tenant}

    def values(self, tenant: str) -> dict[str, str]:
        """All secrets of a tenant, by name. Raises KeyProblem, VaultProblem."""
        if not self.path.exists():
            return {}
        with self._locked(fcntl.LOCK_SH) as keys:
            entries = {key: entry for key, entry in self._read().items() if key[0] == tenant}
            if not entries:
                return {}
            opened = self._open(_fernet(keys, self._existing(keys, entries)), entries, keys)
            return {name: value for (_, name), value in opened.items()}

    def rotate(self) -> int:
        """Encrypt everything with a new key and forget the old ones; gives how many secrets there are.

        At every moment the keys on the disk open what is on the disk. Where the engine may not write the keys, the
        first of those that it is given is the new one.
        """
        with self._locked(fcntl.LOCK_EX) as keys:
            entries = self._read()
            known = self._existing(keys, entries)
            if keys.ours:
                from cryptography.fernet import Fernet

                known = [Fernet.generate_key().decode(), *known]
                keys.write(known)
            elif len(known) < 2:
                raise KeyProblem(
                    f"the keys are not the engine's to write: put a new key before the old one, rotate, and then take "
                    f"the old one away ({keys.path or VARIABLE}; make a key: {NEW_KEY})"
                )
            fernet = _fernet(keys, known)
            self._open(fernet, entries, keys)
            for entry in entries.values():
                entry["token"] = fernet.rotate(entry["token"].encode()).decode()
            self._write(entries)
            if keys.ours:
                keys.write(known[:1])
            return len(entries)

    @contextmanager
    def _locked(self, how: int) -> Iterator[Keys]:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, how)
            yield Keys.of(self.folder)
        finally:
            os.close(descriptor)

    def _read(self) -> dict[tuple[str, str], dict[str, str]]:
        try:
            document = json.loads(self.path.read_text())
            version, tenants = document["version"], document["tenants"]
            found = {
                (str(tenant), str(name)): {"set": str(entry["set"]), "token": str(entry["token"])}
                for tenant, entries in tenants.items()
                for name, entry in entries.items()
            }
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise VaultProblem(f"the vault cannot be read: {error}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise VaultProblem(
                f"the vault {self.path} is damaged ({type(error).__name__}: {error}): put a copy of it back, or delete "
                "it and set the secrets again"
            ) from error
        if version != _VERSION:
            raise VaultProblem(
                f"the vault {self.path} is of version {version}: this engine is too old for it; update it"
            )
        return found

    def _write(self, entries: dict[tuple[str, str], dict[str, str]]) -> None:
        tenants: dict[str, dict[str, Any]] = {}
        for (tenant, name), entry in sorted(entries.items()):
            tenants.setdefault(tenant, {})[name] = entry
        replace_private(self.path, json.dumps({"version": _VERSION, "tenants": tenants}, indent=1) + "\n")

    def _existing(self, keys: Keys, entries: dict[tuple[str, str], dict[str, str]]) -> list[str]:
        known = keys.read()
        if not known and entries:
            raise KeyProblem(
                f"the key file {keys.path} is gone, and the vault cannot be opened without it: put it back, or delete "
                f"{self.path} and set the secrets again"
            )
        return known

    def _keys_or_new(self, keys: Keys, entries: dict[tuple[str, str], dict[str, str]]) -> list[str]:
        known = self._existing(keys, entries)
        if not known:
            from cryptography.fernet import Fernet

            known = [Fernet.generate_key().decode()]
            keys.write(known)
        return known

    def _open(
        self, fernet: MultiFernet, entries: dict[tuple[str, str], dict[str, str]], keys: Keys
    ) -> dict[tuple[str, str], str]:
        from cryptography.fernet import InvalidToken

        opened: dict[tuple[str, str], str] = {}
        shut: list[str] = []
        for (tenant, name), entry in entries.items():
            try:
                plain = json.loads(fernet.decrypt(entry["token"].encode()))
            except InvalidToken:
                shut.append(name)
                continue
            if (plain["tenant"], plain["name"]) != (tenant, name):
                raise VaultProblem(f"the vault {self.path} is damaged: {name} holds another secret; set it again")
            opened[tenant, name] = plain["value"]
        if shut and not opened:
            raise KeyProblem(
                f"wrong key: what {keys.path or VARIABLE} holds opens nothing in {self.path}; put the right key there"
            )
        if shut:
            names = ", ".join(shut)
            raise VaultProblem(f"the vault {self.path} is damaged: {names} cannot be opened; remove and set again")
        return opened


def check(name: str, value: str) -> None:
    """Raise BadSecret for a name that no plan can grant, and for a value that cannot be kept or taken out again."""
    if not re.fullmatch(SECRET_NAME, name):
        raise BadSecret(f"{name[:100]!r} is no name of a secret: letters, digits and _, not first a digit, up to 100")
    bare = value.strip()
    if len(bare) < SHORTEST:
        raise BadSecret(f"a secret of fewer than {SHORTEST} characters would be found in everything, so it is refused")
    if len(set(bare)) < 2:
        raise BadSecret("one character again and again is no secret")
    if "\0" in value:
        raise BadSecret("a variable of the environment cannot hold a NUL")
    if len(value.encode()) > LONGEST:
        raise BadSecret(f"a secret of more than {LONGEST:,} bytes is refused")
    if bare.lower() in name.lower():
        raise BadSecret("the name holds the value; choose another name")


def _fernet(keys: Keys, known: list[str]) -> MultiFernet:
    from cryptography.fernet import Fernet, MultiFernet

    try:
        return MultiFernet([Fernet(key) for key in known])
    except ValueError as error:
        raise KeyProblem(
            f"{keys.path or VARIABLE} holds no key ({error}) Put the right one there; a new one is made by: {NEW_KEY}"
        ) from error
