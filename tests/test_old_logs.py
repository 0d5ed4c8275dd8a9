"""A log as an earlier version wrote it is read, folded, projected and replayed by this one (hazard H18)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from events.fold import ExecutionFold
from events.log import Recorded
from events.log.access import OPERATOR
from events.log.wire import decode
from nightshift.server import EmbeddedServer
from projections.replay import compare
from projections.store import Store
from schemas.names import INBOX
from tests.cli import Nightshift
from tests.controls import STREAM, in_batches
from tests.servers import connected

LOGS = Path(__file__).parent / "golden" / "logs"
VERSIONS = sorted(path.name.removesuffix(".jsonl") for path in LOGS.glob("*.jsonl"))
versions = pytest.mark.parametrize("version", VERSIONS)


def messages(version: str) -> Iterator[dict[str, Any]]:
    with (LOGS / f"{version}.jsonl").open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def records(version: str) -> list[Recorded]:
    return [
        decode(sequence=m["seq"], at_ns=m["at_ns"], subject=m["subject"], headers=m["headers"], body=m["body"].encode())
        for m in messages(version)
    ]


@versions
def test_h18_it_folds_to_what_it_folded_to_then(version: str) -> None:
    folds: dict[str, ExecutionFold] = {}
    for recorded in records(version):
        assert (recorded.standing, recorded.reason) == ("ok", "")
        folds.setdefault(recorded.execution, ExecutionFold(recorded.tenant, recorded.execution)).apply(recorded)
    found = {
        name: {
            "state": fold.state, "head": fold.head, "oddities": fold.oddities,
            "tasks": {n: [t.state, t.attempt, t.failures, t.interruptions] for n, t in fold.tasks.items()},
        }
        for name, fold in folds.items()
    }  # fmt: skip
    assert found == json.loads((LOGS / f"{version}.folds.json").read_text())


@versions
def test_h18_its_rows_do_not_depend_on_how_it_is_cut_into_batches(version: str, tmp_path: Path) -> None:
    told = records(version)
    with Store(tmp_path / "whole.duckdb") as whole, Store(tmp_path / "cut.duckdb") as cut:
        whole.apply(STREAM, told)
        for batch in in_batches(told, 7):
            cut.apply(STREAM, batch)
        assert compare(whole, cut) == []
        states = dict(whole.rows("select execution, state from executions"))
    assert states == {n: f["state"] for n, f in json.loads((LOGS / f"{version}.folds.json").read_text()).items()}


@pytest.mark.whole
@versions
async def test_h18_a_server_that_holds_it_passes_replay_check(version: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    server = EmbeddedServer(home, "fast")
    await server.start()
    try:
        async with AsyncExitStack() as stack:
            clients = {
                user: await stack.enter_async_context(connected(server.credentials(user)))
                for user in (OPERATOR, "planner", "executor", "verifier")
            }
            for message in messages(version):
                said_by_people = message["subject"].split(".")[3] == INBOX
                author = OPERATOR if said_by_people else message["headers"]["Nightshift-Actor"].partition("@")[0]
                body, headers = message["body"].encode(), message["headers"]
                answer = await clients[author].request(message["subject"], body, headers=headers)
                if answer.data:  # the first of a batch is answered with nothing
                    assert json.loads(answer.data)["seq"] == message["seq"]
    finally:
        await server.stop()
    nightshift = Nightshift(home)
    assert "events replayed: the same rows" in nightshift("replay", "--check").stdout
    folds = json.loads((LOGS / f"{version}.folds.json").read_text())
    assert {e["execution"]: e["state"] for e in nightshift.json("status")} == {n: f["state"] for n, f in folds.items()}
