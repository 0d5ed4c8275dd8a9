"""The short way of reading an event agrees with the long one, whatever a message is (H1, H13, H18)."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from events import CATALOGUE, TaskReady
from events.log import Draft, Recorded
from events.log.bulk import plain
from events.log.connection import nanoseconds, parse_headers
from events.log.wire import ACTOR, CAUSE, CORRELATION, ID, KEY, SERVER_MARKS, TRACE, VERSION, decode, encode
from events.upcasts import UPCASTS
from projections.rows import row
from schemas.names import BRANCH, EXECUTION, INBOX, LESSONS, NOTICES, BadName
from tests.controls import EXECUTION_ID, TENANT
from tests.examples import examples
from tests.worlds import draft

ENTITY = {
    "execution": EXECUTION, "branch": BRANCH, "lessons": LESSONS, "notices": NOTICES, "task": "2.3.1.4", "inbox": INBOX,
}  # fmt: skip
PLACE: dict[str, Any] = {"tenant": TENANT, "execution": EXECUTION_ID}
GUARD = {
    "Nats-Expected-Last-Subject-Sequence": "4", "Nats-Expected-Last-Subject-Sequence-Subject": f"evt.{TENANT}.x.1.>",
    "Nats-Batch-Id": "ab", "Nats-Batch-Sequence": "1", "Nats-Batch-Commit": "1",
}  # fmt: skip
TRACEPARENT = f"00-{'a' * 32}-{'b' * 16}-01"


def told(ours: Draft, expected: bool = True) -> list[tuple[str, str]]:
    """The headers of a message as the server gives them."""
    _, headers = encode(ours)
    marks = {
        "Nats-Stream": "EVENTS", "Nats-Subject": ours.subject, "Nats-Sequence": "7",
        "Nats-Time-Stamp": "2026-01-31T08:00:00.123456789Z", "Nats-Num-Pending": "3", "Nats-Last-Sequence": "6",
    }  # fmt: skip
    return list((headers | (GUARD if expected else {}) | marks).items())


def raw(headers: list[tuple[str, str]]) -> bytes:
    return ("NATS/1.0\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers) + "\r\n").encode()


def long_way(block: bytes, body: bytes) -> Recorded:
    found, twice = parse_headers(block)
    return decode(
        sequence=int(found["Nats-Sequence"]), at_ns=nanoseconds(found["Nats-Time-Stamp"]),
        subject=found["Nats-Subject"], headers=found, body=body, smuggled=twice,
    )  # fmt: skip


def agreed(block: bytes, body: bytes) -> bool:
    """Whether the short way took it; then the long one must say the same of it."""
    short = plain(block, body)
    if short is None:
        return False
    recorded = long_way(block, body)
    assert recorded.standing == "ok", recorded.reason
    assert row(short) == row(recorded)
    assert short.fact == recorded.fact
    return True


@pytest.mark.parametrize("name", sorted(CATALOGUE))
@pytest.mark.parametrize("trace", ["", TRACEPARENT])
def test_every_fact_of_the_engine_goes_the_short_way(name: str, trace: str) -> None:
    ours = draft(examples()[name], ENTITY[CATALOGUE[name].on], expected=111, trace=trace, **PLACE)
    ordinary = CATALOGUE[name].on != "inbox" and name not in UPCASTS
    for expected in (True, False):
        assert agreed(raw(told(ours, expected)), encode(ours)[0]) == ordinary
    for kind, entity in ENTITY.items():
        elsewhere = draft(examples()[name], entity, **PLACE)
        assert agreed(raw(told(elsewhere)), encode(elsewhere)[0]) == (ordinary and kind == CATALOGUE[name].on)


@pytest.mark.parametrize("fraction", ["", ".1", ".12", ".1234567", ".999999999", ".000000999"])
def test_a_moment_is_the_same_to_the_microsecond(fraction: str) -> None:
    ours = draft(TaskReady(attempt=1), "1", **PLACE)
    headers = dict(told(ours)) | {"Nats-Time-Stamp": f"2026-02-28T23:59:59{fraction}Z"}
    assert agreed(raw(list(headers.items())), encode(ours)[0])


@given(
    entity=st.text(st.characters(codec="utf-8"), min_size=1, max_size=20),
    attempt=st.integers(0, 10**9 - 1), expected=st.integers(0, 10**18), cause=st.text(min_size=1, max_size=300),
    actor=st.text(min_size=1, max_size=20),
)  # fmt: skip
def test_any_place_is_read_alike(entity: str, attempt: int, expected: int, cause: str, actor: str) -> None:
    entity = unicodedata.normalize("NFC", entity)
    assume(entity not in ENTITY.values())
    assume(not {"\r", "\n"} & set(cause + actor))
    ours = draft(
        TaskReady(attempt=1), entity, attempt=attempt, expected=expected, cause=cause, **PLACE, actor=actor
    )  # fmt: skip
    try:
        headers = told(ours)
    except BadName:
        return
    agreed(raw(headers), encode(ours)[0])


NAMES = [ID, VERSION, CAUSE, CORRELATION, ACTOR, KEY, TRACE, *GUARD, *sorted(SERVER_MARKS), "Nats-Num-Pending", "X"]
SUBJECT = f"evt.{TENANT}.{EXECUTION_ID}.1.TaskReady"
HOSTILE = [
    "", " ", "0", "1", "2", "-1", "01.5", "1.05", "0.0", "1.", "٣.1", "1.9999999999999999999", "+1", "1_0", "~in",
    "evt.a.b.c", f"{SUBJECT}.x", SUBJECT.replace(".1.", ".%31."), SUBJECT.replace(".1.", ".~in."),
    SUBJECT.replace(EXECUTION_ID, EXECUTION_ID.upper()), SUBJECT.replace(TENANT, "Tenant"),
    SUBJECT.replace("TaskReady", "TaskVerified"), "ä", "a\tb", "a\x00b", "99" * 16, "a b", " a ", "x" * 300,
]  # fmt: skip
BODIES = [
    b"", b"{}", b"null", b"[]", b'{"attempt":"1"}', b'{"attempt":1,"more":2}', b'{"attempt":1.0}', b'{"attempt":1}x',
    b'{"attempt":1,"attempt":2}', b'\xff{"attempt":1}', b'{"attempt":1e400}', b"[" * 20_000,
    b'{"attempt":' + b"9" * 40 + b"}",
]  # fmt: skip


@given(data=st.data())
def test_a_hostile_message_is_read_alike(data: st.DataObject) -> None:
    ours = draft(TaskReady(attempt=1), "1", expected=3, attempt=1, **PLACE)
    headers = told(ours)
    for _ in range(data.draw(st.integers(1, 3))):
        where = data.draw(st.integers(0, len(headers) - 1))
        match data.draw(st.sampled_from(["change", "insert", "drop", "repeat", "swap"])):
            case "change":
                headers[where] = (headers[where][0], data.draw(st.sampled_from(HOSTILE)))
            case "insert":
                headers.insert(where, (data.draw(st.sampled_from(NAMES)), data.draw(st.sampled_from(HOSTILE))))
            case "drop" if headers[where][0] not in SERVER_MARKS:  # the server adds them to whatever it gives
                headers.pop(where)
            case "repeat":
                headers.insert(where, data.draw(st.sampled_from(headers)))
            case "swap":
                other = data.draw(st.integers(0, len(headers) - 1))
                headers[where], headers[other] = headers[other], headers[where]
    body = data.draw(st.sampled_from([encode(ours)[0], *BODIES]))
    try:
        long_way(raw(headers), body)
    except ValueError:  # marks of a server that none writes
        assert plain(raw(headers), body) is None
        return
    agreed(raw(headers), body)


@given(where=st.integers(0, 10_000), byte=st.integers(0, 255))
def test_a_damaged_byte_is_read_alike(where: int, byte: int) -> None:
    ours = draft(examples()["TaskVerified"], "1", **PLACE)
    block, body = bytearray(raw(told(ours))), bytearray(encode(ours)[0])
    target = block if where % 2 else body
    target[where // 2 % len(target)] = byte
    try:
        long_way(bytes(block), bytes(body))
    except (ValueError, KeyError):  # it is a mark of the server that is damaged
        return
    agreed(bytes(block), bytes(body))


def test_an_id_that_was_made_for_another_spelling_of_a_number_is_not_ours() -> None:
    """The long way reads numbers before it derives the id, so the short one must take one spelling only."""
    ours = draft(TaskReady(attempt=1), "1", expected=5, attempt=1, **PLACE)
    headers = dict(told(ours))
    for key in ("01.5", "1.05", "00001.5"):
        block = raw(list((headers | {KEY: key}).items()))
        assert plain(block, encode(ours)[0]) is None
        assert long_way(block, encode(ours)[0]).standing == "ok"
