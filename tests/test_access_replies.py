"""Reply subjects as a weapon (hazard H1), raw subjects (H13): exactly what can be brought into the log, and what not.

With the services in one account a reply subject reaches the log; these tests pin down what lands, and that a reader can
tell. With an account for each service (events/log/isolation.py) nothing lands.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from events import TaskReady, TaskVerified
from events.log import Draft, guard
from events.log.access import BOOTSTRAP
from events.log.streams import events_stream
from events.log.wire import ID, decode, encode
from tests.servers import SMALL, Stored, stored
from tests.test_access import EXECUTION, VERDICT, attackers, settled

GET = "$JS.API.DIRECT.GET"
NEXT = "$JS.API.CONSUMER.MSG.NEXT.EVENTS.executor"
OWN = f"evt.a.{EXECUTION}.t1.AttemptFailed"
READY = f"evt.a.{EXECUTION}.t1.TaskReady"
MARKS = ("Nats-Stream", "Nats-Subject", "Nats-Sequence", "Nats-Time-Stamp")


def draft(fact: object) -> Draft:
    """A sound draft about task t1."""
    return Draft(
        tenant="a", execution=EXECUTION, entity="t1", fact=fact, cause="c", correlation=EXECUTION, actor="x", attempt=1
    )


def verdict() -> tuple[bytes, dict[str, str]]:
    """A TaskVerified that is right in everything but its author."""
    fact = TaskVerified(attempt=1, lease="l", tree=None, commit=None, head=None, results=())
    return encode(draft(fact))


def standing(message: Stored) -> str:
    """How the reader judges a stored message."""
    headers = dict(message.headers)
    marked = any(mark in headers for mark in MARKS)
    return decode(
        sequence=message.sequence, at_ns=0, subject=message.subject, headers=headers, body=message.body, smuggled=marked
    ).standing


async def put_forgery(executor: Client) -> None:
    """Keep a forged verdict, with forged marks of the server, where the executor may write: in a bucket."""
    body, headers = verdict()
    forged = {"Nats-Stream": "EVENTS", "Nats-Subject": VERDICT, "Nats-Sequence": "4711", "Nats-Time-Stamp": "x"}
    await executor.request("$O.artifacts-a.C.x", body, headers=headers | forged)


async def all_tricks(executor: Client, operator: Client, target: str) -> None:
    """Lead every answer that an executor or the command line can provoke to a subject."""
    await put_forgery(executor)
    for subject, body in [
        (OWN, b"{}"),
        (f"{GET}.EVENTS", b'{"seq": 1}'),
        (f"{GET}.EVENTS", b'{"seq": 1, "batch": 2, "next_by_subj": "evt.>"}'),
        (f"{GET}.EVENTS.{OWN}", b""),
        (f"{GET}.OBJ_artifacts-a", b'{"seq": 1}'),
        ("$JS.API.STREAM.INFO.EVENTS", b""),
        (NEXT, b'{"batch": 1, "no_wait": true}'),
        ("$JS.ACK.EVENTS.executor.1.1.1.1.0", b"+ACK"),
        ("$JS.ACK.EVENTS.executor.1.1.1.1.0", b"+NXT"),
        ("$O.artifacts-a.C.y", b"y"),
        (f"log.a.{EXECUTION}.t1.1", b"y"),
    ]:
        await executor.publish(subject, body, reply=target)
    for subject in (f"evt.a.{EXECUTION}.~in.CancelRequested", "$O.artifacts-a.C.z", "qry.a.status"):
        await operator.publish(subject, b"{}", reply=target)
    await settled(executor, operator)


async def test_h1_in_one_account_answers_land_in_the_log_and_readers_set_them_aside(tmp_path: Path) -> None:
    users = (BOOTSTRAP, "executor", "operator")
    async with attackers(tmp_path, *users, isolated=False) as (_, (admin, executor, operator)):
        await all_tricks(executor, operator, VERDICT)
        landed = [message for message in await stored(admin) if message.subject == VERDICT]
        assert len(landed) > 5
        assert {standing(message) for message in landed} == {"quarantined"}
        body, headers = verdict()
        forged = next(message for message in landed if message.body == body)
        assert dict(forged.headers)[ID] == headers[ID]
        # The server adds its marks behind those that the attacker wrote, so the last of equal names is the true one.
        assert [value for name, value in forged.headers if name == "Nats-Stream"] == ["EVENTS", "OBJ_artifacts-a"]
        assert [value for name, value in forged.headers if name == "Nats-Sequence"] == ["4711", "1"]
        acks = [message for message in landed if message.body.startswith(b'{"stream":"EVENTS","seq":')]
        assert any(message.headers == () for message in acks)


async def test_h1_isolated_services_bring_nothing_into_the_log(tmp_path: Path) -> None:
    users = (BOOTSTRAP, "executor", "operator")
    async with attackers(tmp_path, *users, isolated=True) as (_, (admin, executor, operator)):
        await all_tricks(executor, operator, VERDICT)
        assert {m.subject for m in await stored(admin)} == {OWN, f"evt.a.{EXECUTION}.~in.CancelRequested"}


@pytest.mark.parametrize("isolated", [False, True])
async def test_h1_the_tail_can_be_spoken_on_in_one_account_only(tmp_path: Path, isolated: bool) -> None:
    users = ("executor", "operator", "planner")
    async with attackers(tmp_path, *users, isolated=isolated) as (_, (executor, operator, planner)):
        heard: list[Msg] = []

        async def note(message: Msg) -> None:
            heard.append(message)

        await planner.subscribe("tail.evt.>", cb=note)
        await planner.flush()
        await all_tricks(executor, operator, f"tail.{VERDICT}")
        true: list[Msg] = []
        false: list[Msg] = []
        for message in heard:
            marks: Mapping[str, str] = message.headers or {}
            genuine = marks.get("Nats-Stream") == "EVENTS" and message.subject == f"tail.{marks.get('Nats-Subject')}"
            (true if genuine else false).append(message)
        assert {m.subject for m in true} == {f"tail.{OWN}", f"tail.evt.a.{EXECUTION}.~in.CancelRequested"}
        assert bool(false) is not isolated
        if false:  # among them answers without any headers, and the forged verdict with the attacker's own bytes
            assert any(not m.headers for m in false)
            assert any(m.data == verdict()[0] for m in false)


@pytest.mark.parametrize("user", ["tenant-a", "executor"])
async def test_h1_forged_marks_stand_before_the_true_ones(tmp_path: Path, user: str) -> None:
    """A tenant can write the server's marks on what it says; nats-py keeps the last of equal names, the true one."""
    async with attackers(tmp_path, BOOTSTRAP, "planner", user, isolated=False) as (_, (admin, planner, liar)):
        heard: list[Msg] = []

        async def note(message: Msg) -> None:
            heard.append(message)

        await planner.subscribe("tail.evt.>", cb=note)
        await planner.flush()
        subject = f"evt.a.{EXECUTION}.~in.PlanSubmitted" if user == "tenant-a" else OWN
        lies = dict(zip(MARKS, ("EVENTS", VERDICT, "4711", "2020-01-01T00:00:00Z"), strict=True))
        await liar.request(subject, b"{}", headers=lies)
        await settled(planner)
        assert [dict(m.headers) for m in await stored(admin)] == [lies]
        page = await planner.request(f"{GET}.EVENTS", b'{"seq": 1}')
        for message in (heard[0], page):
            assert message.headers is not None
            assert (message.headers["Nats-Subject"], message.headers["Nats-Sequence"]) == (subject, "1")


@pytest.mark.parametrize("guarded", [False, True])
async def test_h1_a_pull_can_store_a_message_a_second_time_unless_it_was_guarded(tmp_path: Path, guarded: bool) -> None:
    """Behind the dedupe window MSG.NEXT stores a perfect copy: same subject, id and bytes. Its own guard refuses it."""
    async with attackers(tmp_path, BOOTSTRAP, "planner", "executor", isolated=False) as (_, (admin, planner, executor)):
        short = events_stream(max_bytes=SMALL) | {"duplicate_window": 100_000_000}
        await admin.request("$JS.API.STREAM.UPDATE.EVENTS", json.dumps(short).encode())
        body, headers = encode(draft(TaskReady(attempt=1)))
        if guarded:
            headers["Nats-Expected-Last-Subject-Sequence"] = "0"
            headers["Nats-Expected-Last-Subject-Sequence-Subject"] = guard("a", EXECUTION, "t1")
        await planner.request(READY, body, headers=headers)
        await asyncio.sleep(0.3)
        await executor.publish(NEXT, b"1", reply=VERDICT)
        await settled(executor)
        found = await stored(admin)
        assert [m.subject for m in found] == [READY] * (1 if guarded else 2)
        assert {(m.headers, m.body) for m in found} == {(tuple(headers.items()), body)}
        assert {standing(m) for m in found} == {"ok"}


@pytest.mark.parametrize("isolated", [False, True])
async def test_services_work_in_either_arrangement(tmp_path: Path, isolated: bool) -> None:
    users = ("planner", "executor", "verifier")
    async with attackers(tmp_path, *users, isolated=isolated) as (_, (planner, executor, verifier)):
        heard: list[Msg] = []

        async def note(message: Msg) -> None:
            heard.append(message)

        await executor.subscribe("tail.evt.>", cb=note)
        inbox = executor.new_inbox()
        pulled = await executor.subscribe(inbox)
        await executor.flush()
        await executor.publish(NEXT, b'{"batch": 3, "expires": 5000000000}', reply=inbox)
        for number in "123":
            await planner.request(READY, number.encode())
        for number in "123":
            message = await pulled.next_msg(5)
            assert (message.subject, message.data) == (READY, number.encode())
            assert (await executor.request(message.reply, b"+WPI")).data == b""
            assert (await executor.request(message.reply, b"+ACK")).data == b""
        inbox = verifier.new_inbox()
        page = await verifier.subscribe(inbox)
        await verifier.publish(f"{GET}.EVENTS", b'{"seq": 1, "batch": 10, "next_by_subj": "evt.>"}', reply=inbox)
        assert [(await page.next_msg(5)).data for _ in range(4)] == [b"1", b"2", b"3", b""]
        batch = {"Nats-Batch-Id": "b", "Nats-Batch-Sequence": "1"}
        advanced = f"evt.a.{EXECUTION}.~branch.BranchAdvanced"
        assert (await verifier.request(VERDICT, b"{}", headers=batch)).data == b""
        batch |= {"Nats-Batch-Sequence": "2", "Nats-Batch-Commit": "1"}
        assert json.loads((await verifier.request(advanced, b"{}", headers=batch)).data)["count"] == 2
        assert json.loads((await verifier.request("$O.evidence.C.x", b"e")).data)["seq"] == 1
        assert (await verifier.request(f"{GET}.OBJ_evidence.$O.evidence.C.x", b"")).data == b"e"
        await settled(executor)
        assert [m.subject for m in heard] == [f"tail.{s}" for s in (READY, READY, READY, VERDICT, advanced)]


def test_a_sound_forgery_is_told_by_nothing_but_the_marks() -> None:
    body, headers = verdict()
    stolen = Stored(1, VERDICT, tuple(headers.items()), body)
    assert standing(stolen) == "ok"
    assert standing(Stored(1, VERDICT, (*headers.items(), ("Nats-Stream", "OBJ_x")), body)) == "quarantined"


async def test_a_tenants_open_batches_do_not_stop_the_engines(tmp_path: Path) -> None:
    async with attackers(tmp_path, "tenant-a", "planner", isolated=False) as (_, (tenant, planner)):
        for number in range(300):
            headers = {"Nats-Batch-Id": f"b{number}", "Nats-Batch-Sequence": "1"}
            await tenant.publish(f"evt.a.{EXECUTION}.~in.X", b"{}", headers=headers)
        await tenant.flush()
        headers = {"Nats-Batch-Id": "own", "Nats-Batch-Sequence": "1", "Nats-Batch-Commit": "1"}
        answer = await planner.request(f"evt.a.{EXECUTION}.t1.TaskReady", b"{}", headers=headers, timeout=5)
        assert json.loads(answer.data)["count"] == 1


LITERAL = ["*", ">"]


async def test_h13_what_a_raw_client_can_store(tmp_path: Path) -> None:
    async with attackers(tmp_path, BOOTSTRAP, "tenant-a", isolated=False) as (_, (admin, tenant)):
        accepted = [f"evt.a.{token}.~in.PlanSubmitted" for token in LITERAL]
        accepted += [f"evt.a.{EXECUTION}.~in.{token}" for token in LITERAL]
        accepted += ["evt.a.not-a-uuid.~in.PlanSubmitted", f"evt.a.{EXECUTION}.~in.%zz"]
        dropped = [
            f"evt.*.{EXECUTION}.~in.X", f"evt.>.{EXECUTION}.~in.X", f"evt.a.{EXECUTION}.*.X", f"evt.a.{EXECUTION}.>",
            f"evt.a.{EXECUTION}.2.3.1.4.X", f"evt.a.{EXECUTION}.~in.A.B.C.D", "evt.a.~in.X", "evt.a..~in.X",
        ]  # fmt: skip
        for subject in accepted + dropped:
            await tenant.publish(subject, b"h13")
        await settled(tenant)
        found = await stored(admin)
        assert [message.subject for message in found] == accepted
        assert found[0] == Stored(1, accepted[0], (), b"h13")
