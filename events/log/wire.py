"""One event on the wire: subject, headers, body (DESIGN 2).

Reading has three outcomes (hazard H18): a fact; something *newer* than this code, on which it must not decide; or
something *quarantined*: garbage, or a message that nobody was entitled to write.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any

import msgspec

from events import CATALOGUE
from events.log import Draft, Recorded
from events.upcasts import UPCASTS, lift, version
from schemas.names import (
    BRANCH,
    EXECUTION,
    INBOX,
    LESSONS,
    NOTICES,
    BadName,
    entity_of,
    event_id,
    execution_id,
    tenant_id,
)

ID = "Nats-Msg-Id"
VERSION = "Nightshift-Version"
CAUSE = "Nightshift-Cause"
CORRELATION = "Nightshift-Correlation"
ACTOR = "Nightshift-Actor"
KEY = "Nightshift-Key"
TRACE = "traceparent"
_OWN = (ID, VERSION, CAUSE, CORRELATION, ACTOR, KEY, TRACE)
"""All that is read of the headers."""
KEPT = 2048
"""Messages that stay decoded."""
KEPT_BYTES = 4 * 1024
"""Bytes of a body above which a message does not stay decoded."""
SERVER_MARKS = frozenset({"Nats-Stream", "Nats-Subject", "Nats-Sequence", "Nats-Time-Stamp"})
"""Headers that only the server adds, when it reads; stored ones betray a re-appended message (hazard H1)."""

_ENTITY = {"execution": EXECUTION, "branch": BRANCH, "inbox": INBOX, "lessons": LESSONS, "notices": NOTICES}
_KIND = {entity: kind for kind, entity in _ENTITY.items()}
_KEY = re.compile(r"(\d{1,9})\.(\d{1,19})")
_GIVEN = re.compile(r"[!-~]{1,128}")
_TRACE = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
"""What somebody from outside may have every event of the execution carry (W3C Trace Context)."""
_ENCODER = msgspec.json.Encoder()


def encode(draft: Draft) -> tuple[bytes, dict[str, str]]:
    """The body and a fresh set of headers. Built once; a retry sends the same bytes."""
    headers = {
        ID: draft.id,
        VERSION: str(version(draft.name)),
        CAUSE: draft.cause,
        CORRELATION: draft.correlation,
        ACTOR: draft.actor,
        KEY: f"{draft.attempt}.{draft.ordinal}",
    }
    if draft.trace:
        headers[TRACE] = draft.trace
    return _ENCODER.encode(draft.fact), headers


def decode(
    *, sequence: int, at_ns: int, subject: str, headers: Mapping[str, str], body: bytes, smuggled: bool = False
) -> Recorded:
    """Read a stored message. Never raises: what cannot be read is set aside with its reason.

    ``smuggled`` says that the message was stored with headers that only the server adds. The services of one process
    are each handed the same message, so the newest ones are kept, by everything that decides what comes of them.
    """
    given = tuple(map(headers.get, _OWN))
    if len(body) > KEPT_BYTES:
        return _decode(sequence, at_ns, subject, given, body, smuggled)
    return _decode_once(sequence, at_ns, subject, given, body, smuggled)


def _decode(
    sequence: int, at_ns: int, subject: str, given: tuple[str | None, ...], body: bytes, smuggled: bool
) -> Recorded:
    headers = {name: value for name, value in zip(_OWN, given, strict=True) if value is not None}
    tokens = subject.split(".")
    tenant, execution, token, name = (
        (tokens[1], tokens[2], tokens[3], tokens[4]) if len(tokens) == 5 else ("", "", "", "")
    )
    place: dict[str, Any] = {"sequence": sequence, "at_ns": at_ns, "subject": subject, "body": body, "name": name}

    def aside(reason: str, entity: str = token) -> Recorded:
        return Recorded(
            tenant=tenant, execution=execution, entity=entity, standing="quarantined", reason=reason, **place
        )

    try:
        entity = entity_of(token)
        tenant_id(tenant)
        execution_id(execution)
    except BadName as error:
        return aside(str(error))
    if smuggled:
        return aside("it was stored with headers that only the server adds", entity)
    entry = CATALOGUE.get(name)
    if entity == INBOX:
        if entry is None or entry.on != "inbox":
            return aside(f"{name} is nothing that people can say", entity)
        return _said(place, tenant, execution, headers, body)
    return _engine(place, tenant, execution, entity, headers, body)


_decode_once = lru_cache(maxsize=KEPT)(_decode)


@cache
def decoder_of(cls: type[Any]) -> msgspec.json.Decoder[Any]:
    """One for each class of the catalogue: making it costs more than using it."""
    return msgspec.json.Decoder(cls)


def place_of(entity: str) -> str:
    """What kind of entity it is, as ``on`` of the catalogue names them."""
    return _KIND.get(entity, "task")


def _said(place: dict[str, Any], tenant: str, execution: str, headers: Mapping[str, str], body: bytes) -> Recorded:
    """Read what somebody said: doubtful input, so nothing unknown is let through."""
    name = place["name"]
    cls = CATALOGUE[name].cls
    common = place | {"tenant": tenant, "execution": execution, "entity": INBOX}
    given = headers.get(ID, "")
    identity = given if _GIVEN.fullmatch(given) else f"said-{place['sequence']}"
    try:
        raw = msgspec.json.decode(body)
        if not isinstance(raw, dict):
            raise msgspec.ValidationError("the body is not a JSON object")
        unknown = sorted(set(raw) - {f.name for f in dataclasses.fields(cls)})
        if unknown:
            raise msgspec.ValidationError(f"unknown field {unknown[0]!r}")
        fact: Any = msgspec.convert(raw, cls)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError) as error:
        return Recorded(standing="quarantined", reason=f"the {name} cannot be read: {error}", id=identity, **common)
    request = getattr(fact, "request", None)
    claimed = getattr(fact, "actor", None)
    conversation = headers.get(CORRELATION) or getattr(fact, "conversation_id", None) or ""
    trace = headers.get(TRACE, "")
    return Recorded(
        fact=fact,
        id=identity,
        cause=f"request:{request}" if request else "",
        correlation=conversation if _fits_a_header(conversation) else execution,
        actor=f"{tenant}/{claimed}" if claimed else tenant,
        trace=trace if _TRACE.fullmatch(trace) else "",
        **common,
    )


def _fits_a_header(text: str) -> bool:
    """Whether a header would bring it back as it is; every event of the execution will carry it."""
    return 0 < len(text) <= 200 and text.isprintable() and text == text.strip()


def _engine(
    place: dict[str, Any], tenant: str, execution: str, entity: str, headers: Mapping[str, str], body: bytes
) -> Recorded:
    """Read what a service said: its headers must be there, and its id must belong to exactly this place."""
    name = place["name"]
    common = place | {"tenant": tenant, "execution": execution, "entity": entity}
    missing = [h for h in (ID, CAUSE, CORRELATION, ACTOR, KEY) if not headers.get(h)]
    if missing:
        return Recorded(standing="quarantined", reason=f"an engine event without {missing[0]}", **common)
    key = _KEY.fullmatch(headers[KEY])
    written = headers.get(VERSION, "1")
    if not key or not (written.isascii() and written.isdecimal()) or int(written) < 1:
        return Recorded(standing="quarantined", reason="an engine event with a damaged header", **common)
    expected = event_id(
        cause=headers[CAUSE], name=name, tenant=tenant, execution=execution, entity=entity,
        attempt=int(key[1]), ordinal=int(key[2]),
    )  # fmt: skip
    if headers[ID] != expected:
        return Recorded(standing="quarantined", reason="its id does not belong to this subject", **common)
    common |= {
        "id": headers[ID], "cause": headers[CAUSE], "correlation": headers[CORRELATION], "actor": headers[ACTOR],
        "attempt": int(key[1]), "version": int(written), "trace": headers.get(TRACE, ""),
    }  # fmt: skip
    entry = CATALOGUE.get(name)
    if entry is None:
        return Recorded(standing="newer", reason=f"this version does not know the event {name}", **common)
    if int(written) > version(name):
        return Recorded(standing="newer", reason=f"{name} is of version {written}, newer than this code", **common)
    if entry.on == "inbox" or (entry.on == "task") == (entity in _ENTITY.values()):
        return Recorded(standing="quarantined", reason=f"{name} does not happen to {entity}", **common)
    if entry.on != "task" and _ENTITY[entry.on] != entity:
        return Recorded(standing="quarantined", reason=f"{name} does not happen to {entity}", **common)
    try:
        fact: Any
        if name in UPCASTS:
            fact = msgspec.convert(lift(name, msgspec.json.decode(body), int(written)), entry.cls)
        else:
            fact = decoder_of(entry.cls).decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError, LookupError, TypeError, AttributeError) as error:
        return Recorded(standing="quarantined", reason=f"the {name} cannot be read: {error}", **common)
    return Recorded(fact=fact, **common)
