"""Names on the wire: one token each, there and back, and nothing else is read (hazard H13)."""

from __future__ import annotations

import unicodedata
import uuid
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.names import (
    BRANCH,
    EXECUTION,
    INBOX,
    MAX_TOKEN,
    NOTICES,
    BadName,
    decode,
    encode,
    entity_of,
    entity_token,
    event_id,
    execution_id,
    tenant_id,
)

TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30)


def as_stored(name: str) -> str:
    return unicodedata.normalize("NFC", name)


@given(TEXTS)
@example("2.3.1.4")
@example("a>*")
@example("\u00e9")
@example("e\u0301")
@example("\x00")
@example("--")
def test_a_name_comes_back_as_it_was_composed(name: str) -> None:
    try:
        token = encode(name)
    except BadName:
        raw = as_stored(name).encode()
        assert name in (EXECUTION, BRANCH, INBOX, NOTICES) or 3 * len(raw) > MAX_TOKEN
        return
    assert decode(token) == as_stored(name)
    assert len(token) <= MAX_TOKEN
    assert token.isascii()
    assert not set(token) & set(".*> \t\r\n~/")
    assert entity_of(entity_token(name)) == as_stored(name)


@given(TEXTS, TEXTS)
def test_two_names_have_one_token_only_if_they_are_equal(one: str, other: str) -> None:
    try:
        same = encode(one) == encode(other)
    except BadName:
        return
    assert same == (as_stored(one) == as_stored(other))


@given(st.text(st.sampled_from("abZ09_-%2dDEfFcC3~. "), min_size=1, max_size=12))
@example("%C3%A9")
@example("e%CC%81")
@example("%2D")
@example("%7Ein")
def test_only_what_was_encoded_is_decoded(token: str) -> None:
    try:
        name = decode(token)
    except BadName:
        return
    assert encode(name) == token


@pytest.mark.parametrize(
    "token", ["", "a.b", "%", "%4", "%41", "%2e", "%C3", "%FF", "~in", "%7Ein", "e%CC%81", "%2D", "a b", "ä"]
)
def test_other_tokens_are_refused(token: str) -> None:
    with pytest.raises(BadName):
        decode(token)


@pytest.mark.parametrize("name", ["", EXECUTION, BRANCH, INBOX, NOTICES, "x" * 121, "." * 41])
def test_some_names_are_impossible(name: str) -> None:
    with pytest.raises(BadName):
        encode(name)


def test_the_longest_name() -> None:
    assert len(encode("x" * 120)) == len(encode("." * 40)) == MAX_TOKEN


def test_reserved_entities_are_tokens_themselves() -> None:
    for entity in (EXECUTION, BRANCH, INBOX, NOTICES):
        assert entity_token(entity) == entity
        assert entity_of(entity) == entity
    with pytest.raises(BadName):
        entity_of("~else")


def test_a_lone_surrogate_is_a_bad_name_and_no_accident() -> None:
    with pytest.raises(ValueError, match="surrogate"):
        encode("\ud800")


@given(st.uuids())
def test_an_execution_is_a_canonical_uuid(identity: uuid.UUID) -> None:
    assert execution_id(str(identity)) == str(identity)
    for other in (identity.hex, f"{{{identity}}}", f"urn:uuid:{identity}", f" {identity}"):
        with pytest.raises(BadName):
            execution_id(other)
    if str(identity).upper() != str(identity):
        with pytest.raises(BadName):
            execution_id(str(identity).upper())


@pytest.mark.parametrize("name", ["a", "default", "7of9", "a-b_c", "x" * 40])
def test_a_tenant(name: str) -> None:
    assert tenant_id(name) == name


@pytest.mark.parametrize("name", ["", "A", "-a", "_a", "a.b", "a*", ">", "x" * 41, "ä", "a\n", "a b", "~all"])
def test_no_tenant(name: str) -> None:
    with pytest.raises(BadName):
        tenant_id(name)


WHERE: dict[str, Any] = {"cause": "c", "name": "TaskReady", "tenant": "t", "execution": "e", "entity": "1"}


def test_h04_every_part_makes_another_id() -> None:
    ids = {event_id(**WHERE), event_id(**WHERE, attempt=1), event_id(**WHERE, ordinal=1)}
    ids |= {event_id(**(WHERE | {part: "other"})) for part in WHERE}
    assert len(ids) == 3 + len(WHERE)
    assert event_id(**WHERE) == event_id(**WHERE)
    assert all(len(identity) == 32 and set(identity) <= set("0123456789abcdef") for identity in ids)


@given(st.lists(st.text(max_size=4), min_size=5, max_size=5), st.lists(st.text(max_size=4), min_size=5, max_size=5))
@example(["ab", "c", "", "", ""], ["a", "bc", "", "", ""])
def test_h04_parts_do_not_run_into_each_other(one: list[str], other: list[str]) -> None:
    keys = list(WHERE)
    same = event_id(**_where(keys, one)) == event_id(**_where(keys, other))
    assert same == (one == other)


def _where(keys: list[str], values: list[str]) -> dict[str, Any]:
    return dict(zip(keys, values, strict=True))
