"""What a home keeps of its server: where it listens, who has a password, its configuration."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from events.log.access import (
    Profile,
    ServerConfig,
    read_credentials,
    render,
    with_passwords,
    write_credentials,
    write_private,
)
from events.log.isolation import ISOLATED
from events.log.streams import GIB
from nightshift.server_process import HOST, ServerError
from schemas.names import tenant_id

MAX_FILE = 1024 * GIB
"""What streams may reserve: no bound, because the disk is one, and the planner watches it (hazard H22)."""


@dataclass(slots=True)
class State:
    """What is kept between starts, beside the credentials."""

    port: int
    max_bytes: int
    tenants: tuple[str, ...]


def folder(home: Path) -> Path:
    """Where a home keeps its server."""
    return home / "server"


def read_state(home: Path) -> State | None:
    """What the last start left; None before the first. Raises ServerError if it is damaged."""
    path = folder(home) / "server.json"
    try:
        kept = json.loads(path.read_text())
        return State(int(kept["port"]), int(kept["max_bytes"]), tuple(tenant_id(t) for t in kept["tenants"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise ServerError(f"{path} is damaged ({error}): delete it, and name every tenant again") from error


def write(home: Path, state: State, profile: Profile, *, isolated: bool = ISOLATED) -> None:
    """Write credentials, state and configuration; passwords that exist stay as they are. Raises ServerError."""
    place = folder(home)
    known = passwords(home)
    everybody = known | with_passwords(known, state.tenants)
    if everybody != known:
        write_credentials(place / "credentials.json", everybody)
    config = ServerConfig(
        port=state.port,
        host=HOST,
        store=str(place / "store"),
        passwords=everybody,
        tenants=state.tenants,
        profile=profile,
        isolated=isolated,
        max_file=MAX_FILE,
        log_file=str(place / "server.log"),
    )
    write_private(place / "nats.conf", render(config))
    write_private(place / "server.json", json.dumps(asdict(state)) + "\n")


def passwords(home: Path) -> dict[str, str]:
    """Everybody's password; nobody's before the first start. Raises ServerError if the file is damaged."""
    try:
        return read_credentials(folder(home) / "credentials.json")
    except ValueError as error:
        raise ServerError(str(error)) from error


def server_url(home: Path, user: str) -> str:
    """The URL with which a user connects to the server of a home, from any process. Raises ServerError."""
    state = read_state(home)
    if state is None:
        raise ServerError(f"{home} has no server yet: start the engine once")
    known = passwords(home)
    if user not in known:
        raise ServerError(f"the server has no user {user!r}; there are {', '.join(sorted(known))}")
    return f"nats://{user}:{known[user]}@{HOST}:{state.port}"
