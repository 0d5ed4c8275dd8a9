"""One event on the wire: what is written is read, and what nobody was entitled to write is set aside (H1, H13, H18)."""

from __future__ import annotations

import json
import unicodedata
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from events import CATALOGUE, ApprovalGiven, PlanSubmitted, TaskReady, TaskVerified
from events.log import Draft, Recorded, guard
from events.log.connection import parse_headers, status_of
from events.log.wire import ACTOR, CAUSE, CORRELATION, ID, KEY, SERVER_MARKS, TRACE, VERSION, decode, encode
from schemas.names import BRANCH, EXECUTION, INBOX, LESSONS, MAX_TOKEN, NOTICES, BadName
from schemas.names import encode as token_of
from tests.controls import EXECUTION_ID, START_NS, TENANT
from tests.examples import examples
from tests.worlds import draft

ENTITY = {"execution": EXECUTION, "branch": BRANCH, "lessons": LESSONS, "notices": NOTICES, "task": "2.3.1.4"}
ENGINE = sorted(name for name, entry in CATALOGUE.items() if entry.on != "inbox")
SAID = sorted(name for name, entry in CATALOGUE.items() if entry.on == "inbox")
PLACE: dict[str, Any] = {"tenant": TENANT, "execution": EXECUTION_ID}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def ready(entity: str = "1", **more: Any) -> Draft:
    return draft(TaskReady(attempt=1), entity, **(PLACE | more))


def read(subject: str, body: bytes, headers: dict[str, str], **more: Any) -> Recorded:
    return decode(sequence=7, at_ns=START_NS, subject=subject, headers=headers, body=body, **more)


def altered(ours: Draft, **headers: str | None) -> Recorded:
    """Our message with other headers; None takes one away."""
    names = {"id": ID, "version": VERSION, "cause": CAUSE, "correlation": CORRELATION, "actor": ACTOR, "key": KEY}
    body, written = encode(ours)
    for name, value in headers.items():
        written.pop(names[name])
        if value is not None:
            written[names[name]] = value
    return read(ours.subject, body, written)


@pytest.mark.parametrize("name", ENGINE)
def test_every_fact_of_the_engine_comes_back(name: str) -> None:
    ours = draft(examples()[name], ENTITY[CATALOGUE[name].on], expected=111, trace="00-trace", **PLACE)
    found = read(ours.subject, *encode(ours))
    assert (found.standing, found.fact, found.id) == ("ok", ours.fact, ours.id)
    assert (found.entity, found.name, found.attempt, found.trace) == (ours.entity, name, ours.attempt, "00-trace")
    assert (found.cause, found.correlation, found.actor) == (ours.cause, ours.correlation, ours.actor)


@pytest.mark.parametrize("name", ENGINE)
def test_every_fact_happens_to_its_own_kind_of_entity_only(name: str) -> None:
    for kind, entity in ENTITY.items():
        ours = draft(examples()[name], entity, **PLACE)
        assert (read(ours.subject, *encode(ours)).standing == "ok") == (CATALOGUE[name].on == kind)


@given(
    entity=st.text(st.characters(codec="utf-8"), min_size=1, max_size=20),
    attempt=st.integers(0, 10**9 - 1),
    expected=st.integers(0, 10**18),
    cause=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1),
)
def test_any_place_comes_back(entity: str, attempt: int, expected: int, cause: str) -> None:
    entity = unicodedata.normalize("NFC", entity)
    assume(entity not in (EXECUTION, BRANCH, INBOX, NOTICES))
    ours = ready(entity=entity, attempt=attempt, expected=expected, cause=cause)
    try:
        subject = ours.subject
    except BadName:
        assert 3 * len(entity.encode()) > MAX_TOKEN
        return
    found = read(subject, *encode(ours))
    assert (found.entity, found.standing, found.attempt, found.cause, found.id) == (
        entity,
        "ok",
        attempt,
        cause,
        ours.id,
    )


@pytest.mark.parametrize("gone", ["id", "cause", "correlation", "actor", "key"])
def test_h01_an_engine_event_without_our_headers_is_set_aside(gone: str) -> None:
    for value in (None, ""):
        found = altered(ready(), **{gone: value})
        assert found.standing == "quarantined"
        assert "an engine event without" in found.reason
        assert found.fact is None


@pytest.mark.parametrize("key", ["1", "1.2.3", "-1.0", "a.0", "1. 0", "1.0 ", f"1.{'9' * 20}", "1e3.0"])
def test_h01_a_damaged_key_is_set_aside(key: str) -> None:
    assert altered(ready(), key=key).standing == "quarantined"


@pytest.mark.parametrize("version", ["0", "-1", "x", "1.0", ""])
def test_h01_a_damaged_version_is_set_aside(version: str) -> None:
    assert altered(ready(), version=version).standing == "quarantined"


@pytest.mark.parametrize("change", ["id", "cause", "key"])
def test_h01_what_an_id_covers_cannot_be_changed(change: str) -> None:
    found = altered(ready(), **{change: "9.9" if change == "key" else "99" * 16})
    assert (found.standing, found.reason) == ("quarantined", "its id does not belong to this subject")


@pytest.mark.parametrize(
    "other", [{"entity": "2"}, {"tenant": "globex"}, {"execution": EXECUTION_ID.replace("1", "2")}, {"entity": "1.1"}]
)
def test_h01_a_genuine_event_is_nothing_elsewhere(other: dict[str, Any]) -> None:
    ours = ready()
    assert read(replace(ours, **other).subject, *encode(ours)).standing == "quarantined"
    assert read(ours.subject.replace("TaskReady", "TaskHeld"), *encode(ours)).standing == "quarantined"


@pytest.mark.parametrize("mark", sorted(SERVER_MARKS))
def test_h01_a_mark_of_the_server_that_was_stored_betrays_its_author(mark: str) -> None:
    """What a reader gets: the stored headers, then the server's own."""
    ours = ready()
    body, headers = encode(ours)
    block = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    honest = "Nats-Stream: EVENTS\r\nNats-Subject: s\r\nNats-Sequence: 7\r\nNats-Time-Stamp: t\r\n"
    found, twice = parse_headers(f"NATS/1.0\r\n{block}{honest}\r\n".encode())
    assert not twice
    assert read(ours.subject, body, found, smuggled=twice).standing == "ok"
    found, twice = parse_headers(f"NATS/1.0\r\n{mark}: forged\r\n{block}{honest}\r\n".encode())
    assert twice
    assert (found["Nats-Sequence"], found["Nats-Subject"], found["Nats-Time-Stamp"]) == ("7", "s", "t")
    aside = read(ours.subject, body, found, smuggled=twice)
    assert (aside.standing, aside.entity, aside.fact) == ("quarantined", "1", None)


def test_the_first_of_equal_headers_counts_and_of_what_the_server_counts_the_last() -> None:
    found, twice = parse_headers(
        b"NATS/1.0\r\nA: 1\r\nA: 2\r\nNats-Num-Pending: 9\r\nNats-Num-Pending: 0\r\nB:3\r\nC\r\n"
    )
    assert found == {"A": "1", "Nats-Num-Pending": "0", "B": "3"}
    assert not twice
    assert status_of(b"NATS/1.0 404 No Messages\r\n\r\n") == 404
    assert status_of(b"NATS/1.0\r\nA: 1\r\n\r\n") == status_of(b"") == 0


@pytest.mark.parametrize("token", ["a%2e", "%41", "~else", "", "*", ">", "%2D", "%7Ein", "x" * 121])
def test_h13_a_token_that_we_would_not_write_is_set_aside(token: str) -> None:
    body, headers = encode(ready())
    found = read(f"evt.{TENANT}.{EXECUTION_ID}.{token}.TaskReady", body, headers)
    assert (found.standing, found.entity, found.execution) == ("quarantined", token, EXECUTION_ID)


@pytest.mark.parametrize("subject", ["evt", "evt.a.b.c", f"evt.{TENANT}.{EXECUTION_ID}.1.TaskReady.x", "", "...."])
def test_h13_other_subjects_are_set_aside(subject: str) -> None:
    assert read(subject, *encode(ready())).standing == "quarantined"


def test_what_people_say_has_no_guard() -> None:
    with pytest.raises(ValueError, match="unguarded"):
        guard(TENANT, EXECUTION_ID, INBOX)
    assert guard(TENANT, EXECUTION_ID, "2.3") == f"evt.{TENANT}.{EXECUTION_ID}.{token_of('2.3')}.>"


# -- what people say ------------------------------------------------------------------------------------------------


def say(name: str, body: bytes, **headers: str) -> Recorded:
    return read(f"evt.{TENANT}.{EXECUTION_ID}.{INBOX}.{name}", body, headers)


@pytest.mark.parametrize("name", SAID)
def test_what_people_say_is_read_and_nothing_unknown_is_let_through(name: str) -> None:
    said = examples()[name]
    body, _ = encode(draft(said, EXECUTION, **PLACE))
    found = say(name, body)
    assert (found.standing, found.fact, found.actor) == ("ok", said, f"{TENANT}/ada")
    assert (found.id, found.cause) == ("said-7", f"request:{said.request}")
    extra = json.dumps(json.loads(body) | {"admin": True}).encode()
    refused = say(name, extra)
    assert (refused.standing, refused.id) == ("quarantined", "said-7")
    assert "unknown field 'admin'" in refused.reason


def test_an_engine_event_said_by_people_is_nothing() -> None:
    verified = draft(examples()["TaskVerified"], INBOX, **PLACE)
    found = read(verified.subject, *encode(verified))
    assert (found.standing, found.id, found.fact) == ("quarantined", "", None)
    assert isinstance(verified.fact, TaskVerified)


@pytest.mark.parametrize(("given_id", "kept"), [("11-22", True), ("", False), ("a b", False), ("x" * 129, False)])
def test_an_id_of_theirs_is_kept_if_it_is_one(given_id: str, kept: bool) -> None:
    found = read(f"evt.{TENANT}.{EXECUTION_ID}.{INBOX}.PlanSubmitted", b'{"plan":{}}', {ID: given_id})
    assert found.id == (given_id if kept else "said-7")


@pytest.mark.parametrize("name", [*SAID, "TaskReady", "PlanAccepted", "TaskPolished"])
@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b"\xff", b'{"request":1}', b"[" * 5000, b'"x"', b'{"a":NaN}']
)
def test_h16_garbage_is_set_aside_and_named(name: str, body: bytes) -> None:
    entity = INBOX if name in SAID else EXECUTION if name == "PlanAccepted" else "1"
    ours = ready(entity="1" if entity == INBOX else entity)
    headers = encode(ours)[1]
    headers[ID] = replace(ours, fact=type(name, (), {})()).id
    found = read(f"evt.{TENANT}.{EXECUTION_ID}.{entity}.{name}", body, headers)
    assert found.standing == ("newer" if name == "TaskPolished" else "quarantined")
    assert found.fact is None
    assert found.body == body
    assert name in found.reason


@given(
    name=st.sampled_from(sorted(CATALOGUE)), content=JSON | st.fixed_dictionaries({"attempt": JSON, "request": JSON})
)
@example("PlanSubmitted", {"plan": {"a": 10**400}})
@example("ApprovalGiven", {"request": "r", "task": "1", "granted": "yes"})
def test_reading_never_raises(name: str, content: Any) -> None:
    on = CATALOGUE[name].on
    entity = INBOX if on == "inbox" else ENTITY[on]
    ours = ready(entity="1" if entity == INBOX else entity)
    _, headers = encode(ours)
    headers[ID] = replace(ours, fact=type(name, (), {})()).id
    subject = f"evt.{TENANT}.{EXECUTION_ID}.{token_of(entity) if on == 'task' else entity}.{name}"
    found = read(subject, json.dumps(content).encode(), headers)
    assert found.standing in ("ok", "quarantined")
    assert (found.fact is not None) == (found.standing == "ok")


@given(
    subject=st.text(st.sampled_from("evt.acme*>~-%0Ain "), max_size=60),
    headers=st.dictionaries(st.sampled_from([ID, VERSION, KEY, CAUSE, CORRELATION, ACTOR, TRACE]), st.text(max_size=8)),
    body=st.binary(max_size=20),
)
def test_reading_garbage_never_raises(subject: str, headers: dict[str, str], body: bytes) -> None:
    assert read(subject, body, headers).standing == "quarantined"


def test_who_said_it_is_the_tenant_and_a_claim() -> None:
    assert say("ApprovalGiven", b'{"request":"r","task":"1"}').actor == TENANT
    assert say("ApprovalGiven", b'{"request":"r","task":"1","actor":"root"}').actor == f"{TENANT}/root"
    assert isinstance(say("ApprovalGiven", b'{"request":"r","task":"1"}').fact, ApprovalGiven)
    assert isinstance(say("PlanSubmitted", b"{}").fact, PlanSubmitted)
