"""Commands about secrets. Values go in, by standard input or a prompt; none ever comes out."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from nightshift.output import fail, print_json
from nightshift.session import settings_of
from schemas.names import BadName
from services.secrets.keys import KeyProblem
from services.secrets.vault import BadSecret, Vault, VaultProblem

WEAK = 8
"""Characters below which a secret is found where it is not meant."""

app = typer.Typer(
    name="secret",
    help="What tasks may see and nobody may read: kept encrypted, granted by a plan's `secrets:`.",
    no_args_is_help=True,
)
Name = Annotated[str, typer.Argument(help="As plans name it: letters, digits and _.")]
Tenant = Annotated[str | None, typer.Option(help="Whose.", metavar="T")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@contextmanager
def _explained() -> Iterator[Vault]:
    try:
        yield Vault(settings_of().home / "secrets")
    except (BadSecret, BadName, KeyProblem, VaultProblem) as error:
        fail(str(error))
    except OSError as error:
        fail(f"the vault cannot be used: {error}")


@app.command("set", context_settings={"allow_extra_args": True})
def set_(context: typer.Context, name: Name, tenant: Tenant = None) -> None:
    """Keep a value, from standard input or a prompt, under a name; an earlier one is replaced.

    One line break at the end of standard input does not belong to the value.
    """
    if context.args:
        fail(
            "a value is no argument: everybody on this machine could see it, and it stays in the shell's history",
            remedy=f"give it on standard input or at the prompt: nightshift secret set {name}",
        )
    with _explained() as vault:
        value = _typed(name) if sys.stdin.isatty() else _piped()
        vault.set(settings_of(tenant).tenant, name, value)
        if len(value.strip()) < WEAK:
            sys.stderr.write(
                f"nightshift: {name} is short: wherever its characters occur by chance they are taken out\n"
            )
        print(f"{name} is kept")


def _typed(name: str) -> str:
    value: str = typer.prompt(f"Value of {name}", hide_input=True, confirmation_prompt=True, err=True)
    return value


def _piped() -> str:
    raw = sys.stdin.buffer.read()
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise BadSecret(f"the value is not UTF-8 (byte {error.start}); encode it, in base64 say") from error
    return text.removesuffix("\n").removesuffix("\r")


@app.command("list")
def list_(tenant: Tenant = None, json_: Json = False) -> None:
    """The names, and when each was set."""
    with _explained() as vault:
        names = vault.names(settings_of(tenant).tenant)
    if json_:
        print_json([{"name": name, "set": at} for name, at in names.items()])
        return
    for name, at in names.items():
        print(f"{name:<30} {at}")
    if not names:
        sys.stderr.write("there are no secrets\n")


@app.command("remove")
def remove(name: Name, tenant: Tenant = None) -> None:
    """Forget a secret."""
    with _explained() as vault:
        if not vault.remove(settings_of(tenant).tenant, name):
            fail(f"there is no secret {name!r}", remedy="nightshift secret list")
    print(f"{name} is gone")


@app.command("rotate")
def rotate() -> None:
    """Encrypt all secrets, of all tenants, with a new key, and forget the old one. May be interrupted and repeated."""
    with _explained() as vault:
        count = vault.rotate()
        print(f"{count} secret{'' if count == 1 else 's'} encrypted with the new key")
