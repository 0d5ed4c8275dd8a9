"""A server of one's own: its configuration, its secrets, and making its streams. ``python -m nightshift.deployment``.

``conf`` prints the configuration (``deploy/nats.conf`` is that for one tenant), ``secrets`` the variables that it looks
up, ``bootstrap`` makes streams and consumers, ``ping`` tells by its exit code whether a server lets us in. The last two
connect to ``NIGHTSHIFT_NATS_URL``.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import nats.errors
from nats.aio.client import Client

from events.log.access import BOOTSTRAP, Env, ServerConfig, render, users, write_private
from events.log.streams import DEFAULT_TENANT, EVENTS_MAX_BYTES, BootstrapError, bootstrap

STORE = "/data/jetstream"
HEADING = """\
# Written by `python -m nightshift.deployment conf`; change nightshift/deployment.py or events/log/access.py instead.
# Passwords come from the environment: `python -m nightshift.deployment secrets`.
"""


def variable(user: str) -> str:
    """The environment variable that holds a user's password."""
    return f"NIGHTSHIFT_PASSWORD_{user.upper().replace('-', '_')}"


def configuration(tenants: Sequence[str] = (DEFAULT_TENANT,)) -> str:
    """The configuration of a server for these tenants. Raises ValueError if two share a variable's name."""
    names = {user: Env(variable(user)) for user in users(tenants)}
    if len(set(names.values())) < len(names):
        raise ValueError("two tenants differ only in '-' and '_': their passwords would share one variable")
    config = ServerConfig(host="0.0.0.0", port=4222, store=STORE, passwords=names, tenants=tuple(tenants))
    return HEADING + render(config)


def write_configuration(path: Path, tenants: Sequence[str] = (DEFAULT_TENANT,)) -> None:
    """Write the configuration; it holds no secret."""
    path.write_text(configuration(tenants))


def new_secrets(tenants: Sequence[str] = (DEFAULT_TENANT,)) -> str:
    """Fresh passwords for everybody, one variable a line. The server reads ``p…`` as text, never as a number."""
    return "".join(f"{variable(user)}=p{secrets.token_hex(24)}\n" for user in users(tenants))


async def _silence(error: Exception) -> None:
    """What goes wrong is raised as well; said once it is enough."""


async def _connected(url: str, tenants: Sequence[str] | None, replicas: int, max_bytes: int) -> None:
    """Connect, and bootstrap if tenants are given. Raises BootstrapError, OSError, nats.errors.Error."""
    user = urlsplit(url).username or BOOTSTRAP
    client = Client()
    try:
        await client.connect(
            url, inbox_prefix=f"_INBOX_{user}", allow_reconnect=False, connect_timeout=5, error_cb=_silence
        )
        await client.flush(timeout=5)
        if tenants is not None:
            await bootstrap(client, replicas=replicas, max_bytes=max_bytes, tenants=tuple(tenants))
    finally:
        await client.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Exit codes: 0 done, 2 bad usage, 3 the server is unreachable or refuses."""
    parser = argparse.ArgumentParser(prog="python -m nightshift.deployment", description=(__doc__ or "").split("\n")[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb in ("conf", "secrets", "bootstrap"):
        verbs.add_parser(verb).add_argument("tenants", nargs="*", default=[DEFAULT_TENANT])
    verbs.choices["conf"].add_argument("--output", type=Path, help="a file instead of standard output")
    verbs.choices["secrets"].add_argument("--output", type=Path, help="a file only its owner can read")
    verbs.choices["bootstrap"].add_argument("--replicas", type=int, default=1)
    verbs.choices["bootstrap"].add_argument("--max-bytes", type=int, default=EVENTS_MAX_BYTES)
    verbs.add_parser("ping")
    chosen = parser.parse_args(arguments)
    if chosen.verb in ("conf", "secrets"):
        try:
            text = configuration(chosen.tenants) if chosen.verb == "conf" else new_secrets(chosen.tenants)
        except ValueError as error:
            parser.error(str(error))
        if chosen.output is None:
            print(text, end="")
        elif chosen.verb == "secrets":
            write_private(chosen.output, text)
        else:
            chosen.output.write_text(text)
        return 0
    url = os.environ.get("NIGHTSHIFT_NATS_URL")
    if not url:
        parser.error("NIGHTSHIFT_NATS_URL is not set: name the server and the user in it")
    tenants, replicas, max_bytes = None, 1, EVENTS_MAX_BYTES
    if chosen.verb == "bootstrap":
        tenants, replicas, max_bytes = chosen.tenants, chosen.replicas, chosen.max_bytes
    try:
        asyncio.run(_connected(url, tenants, replicas, max_bytes))
    except (BootstrapError, OSError, nats.errors.Error) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
