"""Streams, buckets and durables: made as they have to be, once, on one server and on three."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from events import CATALOGUE
from events.log import streams
from events.log.access import BOOTSTRAP
from events.log.streams import CONSUMERS, BootstrapError, bootstrap, consumer_config, stream_configs
from tests.servers import SMALL, cluster, connected, embedded
from tests.test_access import EXECUTION, covers

READY = f"evt.default.{EXECUTION}.t1.TaskReady"


async def ask(client: Client, verb: str, body: object = None) -> dict[str, Any]:
    """One request to the JetStream API."""
    answer = await client.request(f"$JS.API.{verb}", json.dumps(body).encode() if body else b"", timeout=5)
    found: dict[str, Any] = json.loads(answer.data)
    return found


@pytest.fixture
async def admin(tmp_path: Path) -> AsyncIterator[Client]:
    """The bootstrap user of a server that is bootstrapped."""
    async with embedded(tmp_path) as server, connected(server.credentials(BOOTSTRAP)) as client:
        yield client


def test_filters_of_a_consumer_are_apart_and_name_facts() -> None:
    for stream, consumer in CONSUMERS:
        for one, other in combinations(consumer.filters, 2):
            assert not covers(one, other), consumer.name
            assert not covers(other, one), consumer.name
        names = [subject.rsplit(".", 1)[1] for subject in consumer.filters if stream == streams.EVENTS]
        assert set(names) - {"*"} <= set(CATALOGUE)
        assert not [name for name in names if name in CATALOGUE and CATALOGUE[name].on == "inbox"]


def test_facts_are_waited_for_where_they_happen() -> None:
    """Whatever a filter waits for on any entity must not be what people say: that has a filter of its own."""
    for names in (streams.PLANNER_REACTS_TO, streams.EXECUTOR_REACTS_TO, streams.VERIFIER_REACTS_TO):
        assert {CATALOGUE[name].on for name in names} <= {"task", "execution", "branch"}
        assert len(names) == len(set(names))


async def test_everything_is_as_wanted(admin: Client) -> None:
    for wanted in stream_configs(max_bytes=SMALL):
        current = (await ask(admin, f"STREAM.INFO.{wanted['name']}"))["config"]
        assert {key: current.get(key) for key in wanted} == wanted
        assert not current["deny_purge"]
    for stream, consumer in CONSUMERS:
        config = consumer_config(consumer)
        current = (await ask(admin, f"CONSUMER.INFO.{stream}.{consumer.name}"))["config"]
        assert {key: current.get(key) for key in config} == config
    events = (await ask(admin, "STREAM.INFO.EVENTS"))["config"]
    assert (events["deny_delete"], events["discard"], events["max_age"]) == (True, "new", 0)
    assert (await ask(admin, "STREAM.MSG.DELETE.EVENTS", {"seq": 1}))["error"]["err_code"] == 10057


async def test_a_second_bootstrap_changes_nothing(admin: Client) -> None:
    asked: list[str] = []
    request = admin.request

    async def note(subject: str, *args: Any, **kwargs: Any) -> Msg:
        asked.append(subject)
        return await request(subject, *args, **kwargs)

    admin.request = note  # type: ignore[method-assign]
    await bootstrap(admin, max_bytes=SMALL)
    assert asked
    assert all(".INFO." in subject for subject in asked)


async def test_bootstrap_brings_back_what_somebody_changed(admin: Client) -> None:
    events = (await ask(admin, "STREAM.INFO.EVENTS"))["config"]
    await ask(admin, "STREAM.UPDATE.EVENTS", events | {"max_bytes": 1 << 20, "description": "kept"})
    executor = consumer_config(streams.EXECUTOR) | {"ack_wait": 1_000_000_000}
    await ask(admin, "CONSUMER.CREATE.EVENTS.executor", {"stream_name": "EVENTS", "config": executor})
    await ask(admin, "CONSUMER.DELETE.EVENTS.verifier")
    await bootstrap(admin, max_bytes=SMALL, tenants=("default", "new"))
    events = (await ask(admin, "STREAM.INFO.EVENTS"))["config"]
    assert (events["max_bytes"], events["description"]) == (SMALL, "kept")
    assert (await ask(admin, "CONSUMER.INFO.EVENTS.executor"))["config"]["ack_wait"] == 8_000_000_000
    assert "config" in await ask(admin, "CONSUMER.INFO.EVENTS.verifier")
    assert (await ask(admin, "STREAM.INFO.OBJ_artifacts-new"))["config"]["allow_rollup_hdrs"]


async def test_what_cannot_be_changed_is_named(admin: Client) -> None:
    await ask(admin, "STREAM.DELETE.TIMERS")
    wrong = {"name": "TIMERS", "subjects": ["timer.>"], "retention": "limits", "storage": "memory"}
    assert "config" in await ask(admin, "STREAM.CREATE.TIMERS", wrong)
    with pytest.raises(BootstrapError, match=r"TIMERS.*storage is 'memory' instead of 'file'.*server refuses"):
        await bootstrap(admin, max_bytes=SMALL)


async def test_a_full_log_refuses_rather_than_forgets(tmp_path: Path) -> None:
    async with (
        embedded(tmp_path) as server,
        connected(server.credentials(BOOTSTRAP)) as admin,
        connected(server.credentials("planner")) as planner,
    ):
        await bootstrap(admin, max_bytes=64 * 1024)
        answers = [json.loads((await planner.request(READY, b"x" * 30_000)).data) for _ in range(4)]
        assert [bool(answer.get("seq")) for answer in answers] == [True, True, False, False]
        assert answers[-1]["error"]["err_code"] == 10077
        assert (await ask(admin, "STREAM.INFO.EVENTS"))["state"]["first_seq"] == 1


async def test_a_user_that_may_not_administer_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "PATIENCE", 0.2)
    monkeypatch.setattr(streams, "REQUEST_TIMEOUT", 0.1)
    async with embedded(tmp_path) as server, connected(server.credentials("executor")) as executor:
        with pytest.raises(BootstrapError, match="may not ask it"):
            await bootstrap(executor, max_bytes=SMALL)


@pytest.mark.cluster
@pytest.mark.parametrize("isolated", [False, True])
async def test_three_servers(tmp_path: Path, isolated: bool) -> None:
    async with cluster(tmp_path, isolated=isolated) as nodes, connected(nodes.url(BOOTSTRAP, 1)) as admin:
        info = await ask(admin, "STREAM.INFO.EVENTS")
        assert info["config"]["num_replicas"] == 3
        assert len(info["cluster"]["replicas"]) == 2
        await bootstrap(admin, replicas=3, max_bytes=SMALL)
        async with (
            connected(nodes.url("planner", 0)) as planner,
            connected(nodes.url("executor", 1)) as executor,
            connected(nodes.url("verifier", 2)) as verifier,
        ):
            tail = await verifier.subscribe("tail.evt.>")
            inbox = executor.new_inbox()
            pulled = await executor.subscribe(inbox)
            await asyncio.gather(verifier.flush(), executor.flush())
            await asyncio.sleep(0.3)  # interest travels between servers
            await executor.publish(
                "$JS.API.CONSUMER.MSG.NEXT.EVENTS.executor", b'{"batch": 50, "expires": 9000000000}', reply=inbox
            )
            for number in range(50):
                answer = json.loads((await planner.request(READY, b"%d" % number, timeout=5)).data)
                assert answer["seq"] == number + 1
            for number in range(50):
                message = await pulled.next_msg(5)
                assert message.data == b"%d" % number
                await executor.request(message.reply, b"+ACK", timeout=5)
            page_inbox = verifier.new_inbox()
            page = await verifier.subscribe(page_inbox)
            body = b'{"seq": 1, "batch": 100, "next_by_subj": "evt.>"}'
            await verifier.publish("$JS.API.DIRECT.GET.EVENTS", body, reply=page_inbox)
            found = [await page.next_msg(5) for _ in range(51)]
            assert found[-1].headers is not None
            assert found[-1].headers["Status"] == "204"
            assert [(await tail.next_msg(5)).data for _ in range(50)] == [b"%d" % number for number in range(50)]
