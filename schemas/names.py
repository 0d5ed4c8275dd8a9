"""Names on the wire: subject tokens and ids (DESIGN 2, hazard H13).

A token is NFC-normalised UTF-8 in which every byte outside ``[A-Za-z0-9_-]`` is written ``%XX``.
Tokens that start with ``~`` and the lone ``-`` are reserved for the engine.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
import uuid
from functools import lru_cache

MAX_TOKEN = 120
"""Longest encoded token, in bytes; a longer name is a plan error."""

EXECUTION = "-"
"""The entity that is the execution itself."""
BRANCH = "~branch"
"""The entity that is the execution's branch."""
INBOX = "~in"
"""The entity for what people say; the only unguarded one."""
LESSONS = "~lessons"
"""The entity for what is learned, with a guard of its own: the learner overtakes nobody else."""
NOTICES = "~notices"
"""The entity for what people were told about the execution."""

SECRET_NAME = "[A-Za-z_][A-Za-z0-9_]{0,99}"
"""What a secret may be called, and a variable of the environment that holds one."""

_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
_ENCODED = re.compile(r"(?:[A-Za-z0-9_-]|%[0-9A-F]{2})+")
_RESERVED = frozenset({EXECUTION, BRANCH, INBOX, LESSONS, NOTICES})


class BadName(ValueError):
    """A name cannot stand in a subject."""


def encode(name: str) -> str:
    """Write a name as one subject token. Raises BadName if it is empty, too long, or the name of an entity of ours."""
    if not name:
        raise BadName("a name must not be empty")
    if name in _RESERVED:
        raise BadName(f"the name {name!r} is the engine's own")
    raw = unicodedata.normalize("NFC", name).encode("utf-8", "strict")
    token = "".join(chr(b) if b in _PLAIN else f"%{b:02X}" for b in raw)
    if len(token) > MAX_TOKEN:
        raise BadName(f"the name {name[:40]!r}… takes {len(token)} bytes on the wire; at most {MAX_TOKEN} are possible")
    return token


@lru_cache(maxsize=65536)
def decode(token: str) -> str:
    """Read a token back. Strict: raises BadName for anything that ``encode`` would not have written."""
    if not _ENCODED.fullmatch(token):
        raise BadName(f"{token!r} is not an encoded name")
    raw = bytearray()
    position = 0
    while position < len(token):
        if token[position] == "%":
            raw.append(int(token[position + 1 : position + 3], 16))
            position += 3
        else:
            raw.append(ord(token[position]))
            position += 1
    try:
        name = raw.decode("utf-8", "strict")
    except UnicodeDecodeError as error:
        raise BadName(f"{token!r} is not UTF-8") from error
    if encode(name) != token:
        raise BadName(f"{token!r} is not the canonical form of {name!r}")
    return name


@lru_cache(maxsize=65536)
def entity_token(entity: str) -> str:
    """The token of an entity: reserved ones as they are, task ids encoded."""
    return entity if entity in _RESERVED else encode(entity)


@lru_cache(maxsize=65536)
def entity_of(token: str) -> str:
    """The entity that a token names. Raises BadName."""
    if token in _RESERVED:
        return token
    return decode(token)


def execution_id(text: str) -> str:
    """Check an execution id that comes from outside: it must be a canonical UUID. Raises BadName."""
    try:
        canonical = str(uuid.UUID(text))
    except (ValueError, AttributeError, TypeError) as error:
        raise BadName(f"the execution id {text!r} is not a UUID") from error
    if canonical != text:
        raise BadName(f"the execution id {text!r} must be written {canonical!r}")
    return canonical


def branch_name(execution: str) -> str:
    """The one branch that an execution has."""
    return f"nightshift/{execution}"


def tenant_id(text: str) -> str:
    """Check a tenant name: 1 to 40 of ``[a-z0-9_-]``, starting with a letter or digit. Raises BadName."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,39}", text):
        raise BadName(f"the tenant {text!r} must be 1 to 40 lower-case letters, digits, '-' or '_'")
    return text


@lru_cache(maxsize=8192, typed=True)
def event_id(
    *, cause: str, name: str, tenant: str, execution: str, entity: str, attempt: int = 0, ordinal: int = 0
) -> str:
    """Derive an event's id from why and where it happened: never drawn, never from the body (hazard H4).

    A SHA-256 over length-prefixed parts, shortened to 128 bits and written as 32 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for part in (cause, name, tenant, execution, entity, str(attempt), str(ordinal)):
        raw = part.encode()
        digest.update(len(raw).to_bytes(4, "big"))
        digest.update(raw)
    return digest.hexdigest()[:32]
