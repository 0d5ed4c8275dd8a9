"""The catalogue: everything that can happen is exported, explained, said by somebody, and can be read for ever."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import inspect
import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

import events
import projections
import schemas
import services
from events import CATALOGUE
from events.event import event
from events.log import Recorded
from events.log.wire import ID, VERSION, decode, encode
from events.schema import catalogue, schema_of, write_all
from events.upcasts import version
from schemas.names import BRANCH, EXECUTION, INBOX, LESSONS, NOTICES
from tests.controls import EXECUTION_ID, START_NS, TENANT
from tests.examples import examples
from tests.worlds import draft

ROOT = Path(__file__).parent.parent
GOLDEN = Path(__file__).parent / "golden"
ENTITY = {
    "execution": EXECUTION,
    "branch": BRANCH,
    "inbox": INBOX,
    "lessons": LESSONS,
    "notices": NOTICES,
    "task": "2.3.1",
}
EVERY = sorted(CATALOGUE)


@pytest.mark.parametrize("name", EVERY)
def test_a_fact_is_exported_explained_and_said_by_somebody(name: str) -> None:
    entry = CATALOGUE[name]
    assert getattr(events, name) is entry.cls
    assert name in events.__all__
    assert entry.cls.__name__ == name
    assert len(inspect.getdoc(entry.cls) or "") > 20
    assert entry.by
    assert len(set(entry.by)) == len(entry.by)
    assert ("people" in entry.by) == (entry.on == "inbox")
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(examples()[name], dataclasses.fields(entry.cls)[0].name, None)


def test_everything_exported_is_there_and_in_order() -> None:
    assert sorted(events.__all__) == sorted(set(events.__all__))
    for name in events.__all__:
        assert getattr(events, name).__doc__


def test_only_the_verifier_unlocks() -> None:
    assert CATALOGUE["TaskVerified"].by == ("verifier",)
    assert CATALOGUE["TaskReady"].by == ("planner",)
    assert CATALOGUE["TaskStarted"].by == ("executor",)


def test_two_facts_cannot_have_one_name_and_none_is_unexplained() -> None:
    before = dict(CATALOGUE)
    with pytest.raises(TypeError, match="two facts are called TaskReady"):
        event("task", "planner")(type("TaskReady", (), {"__doc__": "Again."}))
    with pytest.raises(TypeError, match="no docstring"):
        event("task", "planner")(type("TaskPolished", (), {}))
    assert before == CATALOGUE


# -- what was written once is read for ever -------------------------------------------------------------------------


def golden_files() -> list[Path]:
    return sorted(GOLDEN.glob("*.json"))


def stored(name: str, written: int, body: bytes) -> Recorded:
    """The body as it would come from the log."""
    ours = draft(examples()[name], ENTITY[CATALOGUE[name].on], tenant=TENANT, execution=EXECUTION_ID)
    _, headers = encode(ours)
    headers[VERSION] = str(written)
    return decode(sequence=1, at_ns=START_NS, subject=ours.subject, headers=headers, body=body)


@pytest.mark.parametrize("file", golden_files(), ids=lambda file: file.stem)
def test_what_was_ever_written_is_read_today(file: Path) -> None:
    name, written = re.fullmatch(r"(\w+)\.v(\d+)", file.stem).groups()  # type: ignore[union-attr]
    assert name in CATALOGUE, "a fact is never taken out of the catalogue: its history must stay readable"
    found = stored(name, int(written), file.read_bytes())
    assert (found.standing, found.reason) == ("ok", "")
    if int(written) == version(name):
        assert found.fact == examples()[name]
        assert lost(json.loads(file.read_bytes()), msgspec.to_builtins(found.fact)) == []


def lost(then: Any, now: Any, path: str = "") -> list[str]:
    """What was written and is not read any more. Fields that came later are no loss."""
    if isinstance(then, dict) and isinstance(now, dict):
        return [x for key, value in then.items() for x in lost(value, now.get(key, "nothing"), f"{path}.{key}")]
    if isinstance(then, list) and len(then) == len(now):
        return [x for n, (a, b) in enumerate(zip(then, now, strict=True)) for x in lost(a, b, f"{path}[{n}]")]
    return [] if then == now else [path]


@pytest.mark.parametrize("name", EVERY)
def test_every_version_has_a_golden_file(name: str) -> None:
    """To make one: write ``msgspec.json.encode`` of its example to the file named; never change one that is there."""
    wanted = [GOLDEN / f"{name}.v{number}.json" for number in range(1, version(name) + 1)]
    assert [file for file in wanted if not file.exists()] == []


def test_there_is_an_example_of_everything() -> None:
    assert sorted(examples()) == EVERY


# -- the contract for others ----------------------------------------------------------------------------------------


def test_the_written_schemas_are_current(tmp_path: Path) -> None:
    """If not: ``python -c 'from events.schema import *; write_all(Path("schemas/events"))'``."""
    fresh = {file.name: file.read_text() for file in write_all(tmp_path)}
    kept = {file.name: file.read_text() for file in (ROOT / "schemas" / "events").glob("*.json")}
    assert sorted(fresh) == sorted(kept)
    assert [name for name in fresh if fresh[name] != kept[name]] == []


@pytest.mark.parametrize("name", EVERY)
def test_a_schema_names_every_field(name: str) -> None:
    schema = schema_of(name)
    inner = schema["$defs"][name]
    assert set(inner["properties"]) == {f.name for f in dataclasses.fields(CATALOGUE[name].cls)}
    assert (inner.get("additionalProperties") is False) == (CATALOGUE[name].on == "inbox")
    assert schema["description"]
    assert schema["x-version"] == version(name)
    assert schema["x-said-by"] == list(CATALOGUE[name].by)


def test_the_catalogue_as_data() -> None:
    found = {entry["name"]: entry for entry in catalogue()}
    assert sorted(found) == EVERY
    assert found["TaskVerified"] == {
        "name": "TaskVerified", "on": "task", "by": ["verifier"], "version": 1,
        "doc": "The task is done: this tree was judged, by these checks, with this evidence.",
    }  # fmt: skip


# -- the names of our packages are ours -----------------------------------------------------------------------------


@pytest.mark.parametrize("package", ["events", "services", "projections", "schemas", "nightshift"])
def test_nobody_else_brings_a_package_of_our_name(package: str) -> None:
    """A dependency with a package called ``events`` would be imported instead of ours (STYLE 9)."""
    claims = importlib.metadata.packages_distributions().get(package, [])
    assert set(claims) <= {"nightshift"}


@pytest.mark.parametrize("module", [events, services, projections, schemas])
def test_our_packages_are_where_we_are(module: object) -> None:
    assert Path(str(getattr(module, "__file__", ""))).is_relative_to(ROOT)


def test_ids_do_not_depend_on_what_is_said() -> None:
    one = draft(examples()["TaskReady"], "1")
    assert encode(one)[1][ID] == one.id
    assert dataclasses.replace(one, fact=dataclasses.replace(one.fact, attempt=9)).id == one.id
