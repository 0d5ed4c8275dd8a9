"""How facts written by older code are read: the mechanism, with a lift that is there for the test only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from events import TaskReady
from events.log.wire import VERSION, decode, encode
from events.schema import schema_of
from events.upcasts import UPCASTS, lift, upcast, version
from tests.worlds import MemoryWorld, draft, everything


@pytest.fixture
def renamed() -> Iterator[None]:
    """Version 1 called the attempt ``try``, version 2 counted from 0."""
    assert "TaskReady" not in UPCASTS

    @upcast("TaskReady")
    def the_try_is_called_attempt(body: dict[str, Any]) -> dict[str, Any]:
        return {"attempt": body["try"]}

    @upcast("TaskReady")
    def attempts_count_from_one(body: dict[str, Any]) -> dict[str, Any]:
        return {**body, "attempt": body["attempt"] + 1}

    try:
        yield
    finally:
        del UPCASTS["TaskReady"]


def read(body: bytes, written: str | None) -> Any:
    ours = draft(TaskReady(attempt=1), "1")
    _, headers = encode(ours)
    headers.pop(VERSION)
    if written is not None:
        headers[VERSION] = written
    return decode(sequence=1, at_ns=1, subject=ours.subject, headers=headers, body=body)


@pytest.mark.usefixtures("renamed")
@pytest.mark.parametrize(
    ("body", "written"),
    [(b'{"try": 4}', None), (b'{"try": 4}', "1"), (b'{"attempt": 4}', "2"), (b'{"attempt": 5}', "3")],
)
def test_every_version_is_read_as_the_newest(body: bytes, written: str | None) -> None:
    found = read(body, written)
    assert (found.standing, found.fact) == ("ok", TaskReady(attempt=5))
    assert found.version == int(written or 1)
    assert found.body == body


@pytest.mark.usefixtures("renamed")
@pytest.mark.parametrize(
    ("body", "written", "standing"),
    [
        (b'{"try": 4}', "3", "quarantined"),
        (b'{"attempt": 4}', "1", "quarantined"),
        (b"[]", "1", "quarantined"),
        (b"null", "1", "quarantined"),
        (b'{"try": "four"}', "2", "quarantined"),
        (b'{"try": null}', "1", "quarantined"),
        (b'{"attempt": "x"}', "2", "quarantined"),
        (b'{"attempt": 5}', "4", "newer"),
    ],
)
def test_what_cannot_be_lifted_is_set_aside(body: bytes, written: str, standing: str) -> None:
    found = read(body, written)
    assert found.standing == standing
    assert found.fact is None
    assert found.reason


@pytest.mark.usefixtures("renamed")
def test_the_version_is_the_number_of_lifts_and_one() -> None:
    assert version("TaskReady") == 3
    assert version("TaskHeld") == 1
    assert encode(draft(TaskReady(attempt=5), "1"))[1][VERSION] == "3"
    assert schema_of("TaskReady")["x-version"] == 3
    assert lift("TaskReady", {"try": 4}, 1) == {"attempt": 5}
    assert lift("TaskHeld", {"reason": "r"}, 1) == {"reason": "r"}


async def test_an_old_log_is_read_by_new_code(request: pytest.FixtureRequest) -> None:
    world = MemoryWorld()
    await world.log.append(draft(TaskReady(attempt=1), "1"))
    old = draft(TaskReady(attempt=1), "2")
    request.getfixturevalue("renamed")
    _, headers = encode(old)
    await world.raw(old.subject, msgspec.json.encode({"try": 6}), headers | {VERSION: "1"})
    assert [r.fact for r in await everything(world.log)] == [TaskReady(attempt=1), TaskReady(attempt=7)]
