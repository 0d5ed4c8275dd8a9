"""Who may do what on the server: computed from the catalogue, and written as its configuration (hazard H1).

Inside the account ENGINE every service has a user that may publish exactly the facts it says, read the log, and pull
from its own durables. A tenant has an account of its own: whatever it sends passes through a service import, which puts
``_R_.…`` in place of its reply subject, so that no answer can be led into the log.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from events import CATALOGUE
from events.log.isolation import ENGINE, ISOLATED, isolate
from events.log.streams import CONSUMERS, DEFAULT_TENANT, EVENTS, EVIDENCE, LOGS, artifacts
from schemas.names import BRANCH, EXECUTION, INBOX, LESSONS, NOTICES, tenant_id

Profile = Literal["durable", "fast"]

SERVICES = ("planner", "executor", "verifier", "notifier", "learner", "projections", "postgres")
OPERATOR = "operator"
"""The local command line."""
BOOTSTRAP = "bootstrap"
"""The only user that may make and change streams and consumers."""
SYSTEM = "system"
"""The server's own account: its state, reloading it."""
MAX_PAYLOAD = 8 * 1024 * 1024
"""Bytes of one message (hazard H16)."""

DURABLES = {
    "planner": ("planner", "timers", "due"),
    "executor": ("executor",),
    "verifier": ("verifier",),
    "notifier": ("notifier", "notices-due"),
    "learner": ("learner",),
}
"""Which durables a service pulls from."""

ANSWERS = {"projections": ("qry.>",), "learner": ("learn.>",)}
"""Which questions a service answers."""

OURS = {"execution": EXECUTION, "branch": BRANCH, "lessons": LESSONS, "notices": NOTICES}
"""Entities of the engine that are no tasks, by the kind that the catalogue names."""

BATCHES = {"max_inflight_per_stream": 5000, "max_inflight_total": 20000, "timeout": "2s"}
"""Atomic batches begun and not ended. With the server's 50 and 10 s a tenant's 50 messages stop every other batch."""


class Env(str):
    """The name of an environment variable that the server itself looks up when it reads its configuration."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Permissions:
    """What a user may publish and subscribe to; ``never`` is what a wildcard of ``publish`` must not cover."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    never: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Cluster:
    """This server's place among others: its own port, and everybody's ``host:port``."""

    name: str
    port: int
    routes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerConfig:
    """Everything that the configuration of one server depends on. ``passwords`` has one for each of ``users``."""

    port: int
    store: str
    """The folder of the JetStream store."""
    passwords: Mapping[str, str]
    tenants: tuple[str, ...] = (DEFAULT_TENANT,)
    host: str = "127.0.0.1"
    name: str = "nightshift"
    profile: Profile = "durable"
    max_file: int | None = None
    """Bytes of disk that streams may reserve; three quarters of what is free where it is missing."""
    http: str | None = None
    """``host:port`` of the monitoring pages, which know no passwords."""
    log_file: str | None = None
    cluster: Cluster | None = None
    isolated: bool = ISOLATED
    """Whether every service has an account of its own (events/log/isolation.py)."""


def tenant_user(tenant: str) -> str:
    """The user of a tenant."""
    return f"tenant-{tenant}"


def tenant_account(tenant: str) -> str:
    """The account of a tenant."""
    return f"T_{tenant}"


def users(tenants: Iterable[str]) -> list[str]:
    """Everybody who has a password."""
    return [*SERVICES, OPERATOR, BOOTSTRAP, SYSTEM, *(tenant_user(tenant) for tenant in tenants)]


def _facts(service: str) -> Permissions:
    """The facts that a service says, each on its own kind of entity only."""
    publish: list[str] = []
    never: list[str] = []
    for name, entry in sorted(CATALOGUE.items()):
        if service not in entry.by:
            continue
        if entry.on == "task":
            publish.append(f"evt.*.*.*.{name}")
            never += [f"evt.*.*.{entity}.{name}" for entity in OURS.values()]
        else:
            publish.append(f"evt.*.*.{OURS[entry.on]}.{name}")
    if never:
        never.append(f"evt.*.*.{INBOX}.*")
    return Permissions(tuple(publish), (), tuple(never))


def _reads(*streams: str) -> list[str]:
    return [f"$JS.API.DIRECT.GET.{stream}{rest}" for stream in streams for rest in ("", ".>")]


def _writes(*buckets: str) -> list[str]:
    return [f"$O.{bucket}.{kind}.>" for bucket in buckets for kind in ("C", "M")]


def _pulls(service: str) -> list[str]:
    return [
        subject
        for stream, consumer in CONSUMERS
        if consumer.name in DURABLES.get(service, ())
        for subject in (f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer.name}", f"$JS.ACK.{stream}.{consumer.name}.>")
    ]


def service_permissions(service: str, tenants: Iterable[str]) -> Permissions:
    """What a service may do. Raises KeyError for a service that is not one of SERVICES."""
    own = [artifacts(tenant) for tenant in tenants]
    kept = [f"OBJ_{bucket}" for bucket in own]
    more: dict[str, list[str]] = {
        "planner": ["timer.set.>", *_reads(*kept)],
        "executor": ["log.>", *_writes(*own), *_reads(*kept)],
        "notifier": ["timer.notices.set.>", *_writes(*own), *_reads(*kept)],
        "verifier": [*_writes(*own, EVIDENCE), *_reads(*kept, f"OBJ_{EVIDENCE}")],
        "learner": ["_R_.>", f"_INBOX_{OPERATOR}.>", *_reads(*kept)],
        "projections": ["_R_.>", f"_INBOX_{OPERATOR}.>", *_reads(LOGS, *kept, f"OBJ_{EVIDENCE}")],
        "postgres": [],
    }
    facts = _facts(service)
    return Permissions(
        publish=(
            *facts.publish,
            *_reads(EVENTS),
            *_pulls(service),
            *more[service],
        ),
        subscribe=(f"_INBOX_{service}.>", "tail.evt.>", *ANSWERS.get(service, ())),
        never=facts.never,
    )


def operator_permissions(tenants: Iterable[str]) -> Permissions:
    """The local command line: says what people say, for every tenant, asks, watches, and keeps oversized plans."""
    own = [artifacts(tenant) for tenant in tenants]
    kept = [f"OBJ_{bucket}" for bucket in own]
    return Permissions(
        publish=(f"evt.*.*.{INBOX}.*", "qry.>", "learn.>", *_writes(*own), *_reads(*kept)),
        subscribe=(f"_INBOX_{OPERATOR}.>", "tail.evt.>"),
    )


def bootstrap_permissions() -> Permissions:
    """Full administration of streams and consumers, and nothing said."""
    return Permissions(publish=("$JS.API.>",), subscribe=(f"_INBOX_{BOOTSTRAP}.>",))


def tenant_permissions(tenant: str) -> Permissions:
    """What a tenant's user may do inside its own account; the account's imports bound it a second time."""
    return Permissions(
        publish=(f"evt.{tenant}.*.{INBOX}.*", f"qry.{tenant}.>", f"learn.{tenant}.>"),
        subscribe=("_INBOX.>", f"tail.evt.{tenant}.>"),
    )


def _user(name: str, password: str, permissions: Permissions) -> dict[str, Any]:
    publish: dict[str, Any] = {"allow": list(permissions.publish)}
    if permissions.never:
        publish["deny"] = list(permissions.never)
    subscribe = {"allow": list(permissions.subscribe)}
    return {"user": name, "password": password, "permissions": {"publish": publish, "subscribe": subscribe}}


def _exchange(tenant: str) -> list[tuple[str, str]]:
    """What passes between the engine and a tenant, as kind and subject."""
    return [
        ("service", f"evt.{tenant}.*.{INBOX}.*"),
        ("service", f"qry.{tenant}.>"),
        ("service", f"learn.{tenant}.>"),
        ("stream", f"tail.evt.{tenant}.>"),
    ]


def accounts(passwords: Mapping[str, str], tenants: tuple[str, ...]) -> dict[str, Any]:
    """Every account with its users, exports and imports. Raises KeyError if a password is missing."""
    engine = [(name, service_permissions(name, tenants)) for name in SERVICES]
    engine += [(OPERATOR, operator_permissions(tenants)), (BOOTSTRAP, bootstrap_permissions())]
    found: dict[str, Any] = {
        "SYS": {"users": [{"user": SYSTEM, "password": passwords[SYSTEM]}]},
        ENGINE: {
            "jetstream": "enabled",
            "users": [_user(name, passwords[name], permissions) for name, permissions in engine],
            "exports": [
                {kind: subject, "accounts": [tenant_account(tenant)]}
                for tenant in tenants
                for kind, subject in _exchange(tenant)
            ],
        },
    }
    for tenant in tenants:
        name = tenant_user(tenant_id(tenant))
        found[tenant_account(tenant)] = {
            "users": [_user(name, passwords[name], tenant_permissions(tenant))],
            "imports": [{kind: {"account": ENGINE, "subject": subject}} for kind, subject in _exchange(tenant)],
        }
    return found


def render(config: ServerConfig) -> str:
    """The server's configuration file. Pure. Raises KeyError if a password is missing."""
    store: dict[str, Any] = {"store_dir": config.store, "limits": {"batch": BATCHES}}
    if config.max_file is not None:
        store["max_file"] = config.max_file
    if config.profile == "durable":
        store["sync_interval"] = "always"
    top: dict[str, Any] = {
        "server_name": config.name,
        "host": config.host,
        "port": config.port,
        "max_payload": MAX_PAYLOAD,
        "jetstream": store,
    }
    if config.http:
        top["http"] = config.http
    if config.log_file:
        top |= {"log_file": config.log_file, "logfile_size_limit": 16 * 1024 * 1024, "logfile_max_num": 3}
    if config.cluster:
        host, routes = config.host, [f"nats://{route}" for route in config.cluster.routes]
        top["cluster"] = {"name": config.cluster.name, "host": host, "port": config.cluster.port, "routes": routes}
    who = accounts(config.passwords, config.tenants)
    top |= {"system_account": "SYS", "accounts": isolate(who, stays=BOOTSTRAP) if config.isolated else who}
    return "".join(f"{key}: {_text(value, 0)}\n" for key, value in top.items())


def _text(value: Any, depth: int) -> str:
    """A value in the server's configuration language."""
    inner = "  " * (depth + 1)
    if isinstance(value, Env):
        return f"${value}"
    if isinstance(value, dict):
        lines = "".join(f"{inner}{key}: {_text(item, depth + 1)}\n" for key, item in value.items())
        return f"{{\n{lines}{'  ' * depth}}}"
    if isinstance(value, list):
        return "[\n" + "".join(f"{inner}{_text(item, depth + 1)}\n" for item in value) + "  " * depth + "]"
    return json.dumps(value, ensure_ascii=False)


def with_passwords(known: Mapping[str, str], tenants: Iterable[str]) -> dict[str, str]:
    """The known passwords, and a random one for everybody else who needs one."""
    return {user: known.get(user) or secrets.token_urlsafe(24) for user in users(tenants)}


def read_credentials(path: Path) -> dict[str, str]:
    """The passwords kept in a file; none if there is no such file. Raises ValueError if it is damaged."""
    try:
        kept = json.loads(path.read_text())["passwords"]
    except FileNotFoundError:
        return {}
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged; delete it to get new passwords ({error})") from error
    return {str(user): str(password) for user, password in kept.items()}


def write_private(path: Path, text: str) -> None:
    """Replace a file at once by one that only its owner may read, and make sure that it is on the disk."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        os.fchmod(descriptor, 0o600)
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    fresh.replace(path)


def write_credentials(path: Path, passwords: Mapping[str, str]) -> None:
    """Keep the passwords, readable by their owner only."""
    write_private(path, json.dumps({"passwords": dict(passwords)}, indent=1) + "\n")
