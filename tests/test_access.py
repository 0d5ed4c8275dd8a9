"""Who may do what (hazard H1): computed permissions, and the walls between tenants and the engine, tried by attack."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error

from events import CATALOGUE
from events.log.access import (
    BOOTSTRAP,
    SERVICES,
    Env,
    Permissions,
    ServerConfig,
    accounts,
    operator_permissions,
    read_credentials,
    render,
    service_permissions,
    tenant_permissions,
    users,
    with_passwords,
    write_credentials,
)
from events.log.isolation import ENGINE, isolate
from events.log.streams import CONSUMERS
from nightshift.server import EmbeddedServer
from tests.servers import connected, embedded, stored

EXECUTION = "0195f000-0000-7000-8000-000000000001"
TENANTS = ("a", "b")
VERDICT = f"evt.a.{EXECUTION}.t1.TaskVerified"


def covers(pattern: str, subject: str) -> bool:
    """Whether a permission covers a subject, by the server's rules."""
    tokens = [r"[^.]+" if token == "*" else r".+" if token == ">" else re.escape(token) for token in pattern.split(".")]
    return re.fullmatch(r"\.".join(tokens), subject) is not None


def may(permissions: Permissions, subject: str) -> bool:
    """Whether somebody may publish there."""
    allowed = any(covers(pattern, subject) for pattern in permissions.publish)
    return allowed and not any(covers(pattern, subject) for pattern in permissions.never)


@contextlib.asynccontextmanager
async def attackers(home: Path, *names: str, isolated: bool) -> AsyncIterator[tuple[EmbeddedServer, list[Client]]]:
    """A server with two tenants, and connections for the users named."""
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(embedded(home, tenants=TENANTS, isolated=isolated))
        yield server, [await stack.enter_async_context(connected(server.credentials(name))) for name in names]


async def settled(*clients: Client) -> None:
    """Wait until the server has dealt with everything sent, answers included."""
    for client in clients:
        await client.flush()
    await asyncio.sleep(0.1)


async def refused(client: Client, subject: str, body: bytes = b"{}") -> bool:
    """Whether a request gets no answer at all."""
    try:
        await client.request(subject, body, timeout=0.15)
    except (TimeoutError, Error):
        return True
    return False


@pytest.fixture(params=[False, True], ids=["one account", "isolated"])
def isolated(request: pytest.FixtureRequest) -> bool:
    """Both ways to arrange the services."""
    return bool(request.param)


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_says_exactly_its_own_facts_on_their_own_kind_of_entity(service: str) -> None:
    permissions = service_permissions(service, TENANTS)
    places = {"task": "t1", "execution": "-", "branch": "~branch", "inbox": "~in", "lessons": "~lessons"}
    for (name, entry), (kind, entity) in itertools.product(CATALOGUE.items(), places.items()):
        expected = service in entry.by and entry.on == kind and kind != "inbox"
        assert may(permissions, f"evt.a.{EXECUTION}.{entity}.{name}") is expected, (service, name, kind)


def test_only_the_verifier_says_that_a_task_is_verified() -> None:
    assert [service for service in SERVICES if may(service_permissions(service, TENANTS), VERDICT)] == ["verifier"]
    assert not may(operator_permissions(TENANTS), VERDICT)
    assert not may(tenant_permissions("a"), VERDICT)


def test_nobody_but_bootstrap_administers_and_nobody_answers_at_will() -> None:
    text = render(ServerConfig(port=1, store="s", passwords=with_passwords({}, TENANTS), tenants=TENANTS))
    assert "allow_responses" not in text
    everybody = [service_permissions(service, TENANTS) for service in SERVICES]
    for permissions in [*everybody, operator_permissions(TENANTS), tenant_permissions("a")]:
        for verb in ("STREAM.CREATE.X", "STREAM.PURGE.EVENTS", "CONSUMER.CREATE.EVENTS.x", "STREAM.MSG.GET.EVENTS"):
            assert not may(permissions, f"$JS.API.{verb}")


def test_inboxes_do_not_overlap() -> None:
    inboxes = [
        subject
        for service in SERVICES
        for subject in service_permissions(service, TENANTS).subscribe
        if subject.startswith("_")
    ]
    assert inboxes == [f"_INBOX_{service}.>" for service in SERVICES]


def test_isolation_leaves_only_bootstrap_beside_the_log() -> None:
    found = isolate(accounts(with_passwords({}, TENANTS), TENANTS), stays=BOOTSTRAP)
    assert [user["user"] for user in found[ENGINE]["users"]] == [BOOTSTRAP]
    assert all("accounts" in export for account in found.values() for export in account.get("exports", []))
    named = {user["user"] for account in found.values() for user in account["users"]}
    assert named == set(users(TENANTS))


def test_a_missing_password_is_an_error_and_placeholders_are_not_quoted() -> None:
    with pytest.raises(KeyError):
        render(ServerConfig(port=1, store="s", passwords={}))
    names = {user: Env(f"PW_{number}") for number, user in enumerate(users(("default",)))}
    assert "password: $PW_0\n" in render(ServerConfig(port=1, store="s", passwords=names))


def test_credentials_are_private_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "credentials.json"
    assert read_credentials(path) == {}
    first = with_passwords({}, ("a",))
    write_credentials(path, first)
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_credentials(path) == first
    second = with_passwords(first, TENANTS)
    assert {user: second[user] for user in first} == first
    assert len(set(second.values())) == len(second)
    path.write_text("{")
    with pytest.raises(ValueError, match="damaged"):
        read_credentials(path)


async def test_h1_services_cannot_administer(tmp_path: Path, isolated: bool) -> None:
    names = [*SERVICES, "operator", "tenant-a"]
    async with attackers(tmp_path, BOOTSTRAP, *names, isolated=isolated) as (_, (admin, *clients)):
        push = {"stream_name": "EVENTS", "config": {"name": "z", "deliver_subject": VERDICT, "ack_policy": "none"}}
        tries = {
            "STREAM.CREATE.X": {"name": "X", "subjects": ["x"]},
            "STREAM.UPDATE.EVENTS": {"name": "EVENTS", "subjects": ["evt.>"]},
            "STREAM.PURGE.EVENTS": {},
            "STREAM.DELETE.EVENTS": {},
            "STREAM.MSG.DELETE.EVENTS": {"seq": 1},
            "STREAM.MSG.GET.EVENTS": {"seq": 1},
            "CONSUMER.CREATE.EVENTS.z": push,
            "CONSUMER.DURABLE.CREATE.EVENTS.z": push,
            "CONSUMER.DELETE.EVENTS.planner": {},
        }
        found = await asyncio.gather(
            *(refused(c, f"$JS.API.{verb}", json.dumps(body).encode()) for c in clients for verb, body in tries.items())
        )
        assert all(found)
        state = json.loads((await admin.request("$JS.API.INFO", b"")).data)
        assert (state["streams"], state["consumers"]) == (6, len(CONSUMERS))


async def test_h1_a_service_cannot_say_what_others_say(tmp_path: Path, isolated: bool) -> None:
    async with attackers(tmp_path, BOOTSTRAP, "executor", isolated=isolated) as (_, (admin, executor)):
        for entity, name in [
            ("t1", "TaskVerified"), ("t1", "TaskReady"), ("-", "PlanAccepted"), ("~branch", "BranchAdvanced"),
            ("~in", "PlanSubmitted"), ("~in", "AttemptFailed"), ("-", "AttemptFailed"), ("~branch", "AttemptFailed"),
        ]:  # fmt: skip
            await executor.publish(f"evt.a.{EXECUTION}.{entity}.{name}", b"{}")
        await executor.publish(f"tail.{VERDICT}", b"{}")
        await executor.publish("timer.set.x", b"{}")
        await executor.publish("$O.evidence.C.x", b"{}")
        await executor.publish(f"evt.a.{EXECUTION}.t1.AttemptFailed", b"{}", headers={"Nats-Trace-Dest": VERDICT})
        await settled(executor)
        assert await stored(admin) == []
        assert (await executor.request(f"evt.a.{EXECUTION}.t1.AttemptFailed", b"{}")).data.startswith(b'{"stream"')


TENANT_TRICKS: list[tuple[str, bytes, str]] = [
    (f"evt.a.{EXECUTION}.~in.PlanSubmitted", b"{}", VERDICT),
    (f"evt.a.{EXECUTION}.~in.PlanSubmitted", b"{}", f"evt.b.{EXECUTION}.~in.CancelRequested"),
    (f"evt.a.{EXECUTION}.~in.PlanSubmitted", b"{}", f"tail.{VERDICT}"),
    (f"evt.a.{EXECUTION}.~in.PlanSubmitted", b"{}", "$JS.API.STREAM.PURGE.EVENTS"),
    (f"evt.a.{EXECUTION}.t1.TaskVerified", b"{}", ""),
    (f"evt.a.{EXECUTION}.-.PlanAccepted", b"{}", ""),
    (f"evt.b.{EXECUTION}.~in.PlanSubmitted", b"{}", ""),
    (f"evt.*.{EXECUTION}.~in.PlanSubmitted", b"{}", ""),
    ("qry.a.status", b"{}", VERDICT),
    ("$JS.API.DIRECT.GET.EVENTS", b'{"seq": 1}', VERDICT),
    ("$JS.API.CONSUMER.MSG.NEXT.EVENTS.planner", b"1", VERDICT),
    ("$JS.API.CONSUMER.CREATE.EVENTS.z", b'{"stream_name": "EVENTS", "config": {"deliver_subject": "%b"}}', VERDICT),
    ("$JS.ACK.EVENTS.planner.1.1.1.1.0", b"+NXT", VERDICT),
    ("$JS.ENGINE.API.STREAM.INFO.EVENTS", b"", VERDICT),
    ("$SYS.REQ.SERVER.PING", b"", VERDICT),
]


async def test_h1_a_tenant_cannot_put_anything_beside_its_own_inbox(tmp_path: Path, isolated: bool) -> None:
    users_here = (BOOTSTRAP, "tenant-a", "projections")
    async with attackers(tmp_path, *users_here, isolated=isolated) as (_, (admin, tenant, projections)):
        seen: list[Msg] = []

        async def answer(message: Msg) -> None:
            seen.append(message)
            await projections.publish(message.reply, b"an answer")

        await projections.subscribe("qry.>", cb=answer)
        await projections.flush()
        for subject, body, reply in TENANT_TRICKS:
            await tenant.publish(subject, body, reply=reply)
            await tenant.publish(subject, body, reply=reply, headers={"Nats-Trace-Dest": VERDICT})
        await settled(tenant, projections)
        landed = await stored(admin)
        assert landed
        assert {message.subject for message in landed} == {f"evt.a.{EXECUTION}.~in.PlanSubmitted"}
        assert {message.body for message in landed} == {b"{}"}
        assert [message.reply.startswith("_R_.") for message in seen] == [True]


async def test_h1_tenants_do_not_see_each_other(tmp_path: Path, isolated: bool) -> None:
    users_here = ("tenant-a", "tenant-b", "operator", "projections")
    async with attackers(tmp_path, *users_here, isolated=isolated) as (_, (one, other, operator, projections)):

        async def answer(message: Msg) -> None:
            await projections.publish(message.reply, message.subject.encode())

        await projections.subscribe("qry.>", cb=answer)
        tails: dict[str, list[str]] = {"one": [], "other": [], "operator": []}
        for name, client in (("one", one), ("other", other), ("operator", operator)):
            for pattern in ("tail.evt.>", "tail.evt.a.>", "tail.evt.b.>", "evt.>", ">"):

                async def note(message: Msg, name: str = name) -> None:
                    tails[name].append(message.subject)

                await client.subscribe(pattern, cb=note)
        await settled(one, other, operator, projections)
        for client, tenant in ((one, "a"), (other, "b")):
            request = await client.request(f"evt.{tenant}.{EXECUTION}.~in.PlanSubmitted", b"{}")
            assert json.loads(request.data)["stream"] == "EVENTS"
            assert (await client.request(f"qry.{tenant}.status", b"")).data == f"qry.{tenant}.status".encode()
        assert (await operator.request("qry.b.status", b"")).data == b"qry.b.status"
        assert await refused(one, "qry.b.status")
        assert await refused(one, "qry.status")
        await settled(one, other, operator)
        assert set(tails["one"]) == {f"tail.evt.a.{EXECUTION}.~in.PlanSubmitted"}
        assert set(tails["other"]) == {f"tail.evt.b.{EXECUTION}.~in.PlanSubmitted"}
        assert {s.split(".")[2] for s in tails["operator"]} == {"a", "b"}


async def test_h1_headers_that_steer_the_server_do_not_reach_beyond_a_message(tmp_path: Path) -> None:
    async with attackers(tmp_path, BOOTSTRAP, "tenant-a", isolated=False) as (_, (admin, tenant)):
        subject = f"evt.a.{EXECUTION}.~in.PlanSubmitted"
        for headers, code in [
            ({"Nats-Rollup": "all"}, 10111),
            ({"Nats-Rollup": "sub"}, 10111),
            ({"Nats-TTL": "1"}, 10166),
            ({"Nats-Incr": "1"}, 10168),
            ({"Nats-Schedule": "@at 2020-01-01T00:00:00Z", "Nats-Schedule-Target": VERDICT}, 10188),
        ]:
            answer = json.loads((await tenant.request(subject, b"{}", headers=headers)).data)
            assert answer["error"]["err_code"] == code
        assert await stored(admin) == []
