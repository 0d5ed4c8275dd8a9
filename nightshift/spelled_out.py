"""Keeps secrets out of submissions: what is submitted is in the log for ever, and tasks may read it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from nightshift.output import fail
from services.secrets.keys import KeyProblem
from services.secrets.redactor import Redactor
from services.secrets.vault import Vault, VaultProblem


def refuse_secrets(home: Path, tenant: str, documents: Mapping[str, str], options: Mapping[str, str]) -> None:
    """End with a remedy if a document or an option holds the value of a secret that this machine's vault has."""
    try:
        values = Vault(home / "secrets").values(tenant)
    except (KeyProblem, VaultProblem, OSError) as error:
        sys.stderr.write(f"nightshift: the plan was not searched for secrets: {error}\n")
        return
    redactor = Redactor(values.items())
    places = [(name, text, True) for name, text in documents.items()]
    places += [(name, text, False) for name, text in options.items()]
    for name, text, numbered in places:
        found = redactor.locate([text.encode("utf-8", "surrogatepass")])
        if found:
            secret, line = found
            fail(
                f"{name}{f':{line}' if numbered else ''} holds the secret {secret}; nothing was submitted",
                remedy=f"grant it by name, so that its value stays in the vault: `secrets: [{secret}]` on the task",
            )
