"""What a plan grants, out of the vault: variables for its programs, and a redactor for everything that they say."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from schemas.values import Grant, Plan, Task
from services.secrets.keys import KeyProblem
from services.secrets.redactor import Redactor
from services.secrets.vault import Vault, VaultProblem


class SecretProblem(Exception):
    """What a plan grants cannot be given; says why and what to do. Trying again does not help."""


class SecretFound(Exception):
    """A file holds a secret; says which and where."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The secrets that a plan names anywhere, as far as they are there."""

    values: dict[str, str]
    redactor: Redactor

    def environment(self, grants: Iterable[Grant]) -> dict[str, str]:
        """The variables of some grants. Raises SecretProblem for a secret that is not there."""
        wanted = list(grants)
        missing = sorted({grant.name for grant in wanted} - set(self.values))
        if missing:
            raise SecretProblem(
                f"the plan names a secret that is not in the vault of this machine: {', '.join(missing)}; "
                f"keep it there with: nightshift secret set {missing[0]}"
            )
        return {grant.env: self.values[grant.name] for grant in wanted}

    def for_task(self, plan: Plan, task: Task) -> dict[str, str]:
        """The variables of a task. Raises SecretProblem; also for what only its checks need, before anything runs."""
        self.environment(grant for criterion in task.verify for grant in criterion.secrets)
        return self.environment((*plan.secrets, *task.secrets))

    def look(self, name: str, path: Path) -> None:
        """See that a file or link of a result, its name included, holds no secret. Raises SecretFound, OSError."""
        if not self.redactor:
            return
        self.look_at_name(name)
        if path.is_symlink():
            self.look_into(name, [os.fsencode(path.readlink())])
        elif path.is_file():
            with path.open("rb") as file:
                self.look_into(name, iter(lambda: file.read(1 << 20), b""))

    def look_at_name(self, name: str) -> None:
        """See that a name holds no secret. Raises SecretFound."""
        found = self.redactor.locate([os.fsencode(name)])
        if found:
            raise SecretFound(
                f"the result holds the secret {found[0]} in the name of a file: {self.redactor.text(name)}"
            )

    def look_into(self, name: str, blocks: Iterable[bytes]) -> None:
        """See that what is called so holds no secret. Raises SecretFound."""
        found = self.redactor.locate(blocks)
        if found:
            raise SecretFound(f"the result holds the secret {found[0]} in {name}:{found[1]}")

    def refusal(self, name: str, path: Path) -> str:
        """Why a file, link or folder may not be kept: it holds a secret; nothing if it does not. Raises OSError."""
        try:
            self.look(name, path)
        except SecretFound as found:
            return str(found)
        return ""


NOTHING = Opened({}, Redactor(()))
"""No secrets."""


class Secrets:
    """Opens what plans name, and remembers it, so that nothing of it gets into this process's own words."""

    def __init__(self, home: Path) -> None:
        self.vault = Vault(home / "secrets")
        self._opened: dict[tuple[tuple[str, str], ...], Opened] = {}
        self._seen: dict[str, str] = {}
        """Names by values, those included that were replaced since."""
        self._everything = Redactor(())
        self._named: tuple[Plan, frozenset[str]] | None = None
        """The plan that was asked about last, and the names in it."""
        self._lock = threading.Lock()

    async def open(self, tenant: str, plan: Plan) -> Opened:
        """The secrets that a plan names. Raises SecretProblem if the vault cannot be opened."""
        if self._named is None or self._named[0] is not plan:  # one look at a plan, not one for each of its tasks
            self._named = plan, frozenset(named(plan))
        names = self._named[1]
        return await asyncio.to_thread(self._open, tenant, names) if names else NOTHING

    def _open(self, tenant: str, names: frozenset[str]) -> Opened:
        try:
            values = {name: value for name, value in self.vault.values(tenant).items() if name in names}
        except (KeyProblem, VaultProblem, OSError) as error:
            raise SecretProblem(f"the secrets of the plan cannot be read: {error}") from error
        key = tuple(sorted(values.items()))
        with self._lock:
            if key not in self._opened:
                if len(self._opened) > 100:
                    self._opened.clear()
                redactor = Redactor(key)
                redactor.opening(b"")  # what is slow to make is made here, in a thread
                self._opened[key] = Opened(values, redactor)
                self._remember(values)
            return self._opened[key]

    def _remember(self, values: dict[str, str]) -> None:
        self._seen |= {value: name for name, value in values.items()}
        self._everything = Redactor((name, value) for value, name in self._seen.items())

    def clean(self, text: str) -> str:
        """A text without anything that this process has ever opened."""
        return self._everything.text(text)


def named(plan: Plan) -> Iterator[str]:
    """The names of all secrets in a plan."""
    for grants in (plan.secrets, *(task.secrets for task in plan.tasks)):
        yield from (grant.name for grant in grants)
    for judged in (*(task.verify for task in plan.tasks), *(gate.criteria for gate in plan.gates)):
        yield from (grant.name for criterion in judged for grant in criterion.secrets)


class Screened:
    """Output on its way: what was taken out of it never reaches ``take``."""

    def __init__(self, redactor: Redactor, take: Callable[[bytes], Awaitable[None]]) -> None:
        self._screen = redactor.screen()
        self._take = take

    async def take(self, chunk: bytes) -> None:
        """Take a chunk: the `on_output` of a sandbox."""
        await self._on(self._screen.feed(chunk))

    async def close(self) -> None:
        """Let go of what was held back."""
        await self._on(self._screen.close())

    async def _on(self, cleaned: bytes) -> None:
        if cleaned:
            await self._take(cleaned)
