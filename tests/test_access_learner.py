"""Who may ask the learner, and that its answers and facts lead nowhere else (hazard H1)."""

from __future__ import annotations

from pathlib import Path

import pytest
from nats.aio.msg import Msg

from events.log.access import BOOTSTRAP
from tests.servers import stored
from tests.test_access import EXECUTION, VERDICT, attackers, refused, settled


@pytest.fixture(params=[False, True], ids=["one account", "isolated"])
def isolated(request: pytest.FixtureRequest) -> bool:
    """Both ways to arrange the services."""
    return bool(request.param)


async def test_h1_a_tenant_asks_the_learner_in_its_own_name_only(tmp_path: Path, isolated: bool) -> None:
    users = ("tenant-a", "tenant-b", "operator", "projections", "learner")
    async with attackers(tmp_path, *users, isolated=isolated) as (_, (one, other, operator, projections, learner)):
        heard: list[str] = []

        async def answer(message: Msg) -> None:
            heard.append(message.subject)
            await learner.publish(message.reply, message.subject.encode())

        async def answer_queries(message: Msg) -> None:
            await projections.publish(message.reply, b"projections")

        await learner.subscribe("learn.>", cb=answer)
        await projections.subscribe("qry.>", cb=answer_queries)
        await settled(learner, projections)
        assert (await one.request("learn.a.recommend", b"{}")).data == b"learn.a.recommend"
        assert (await other.request("learn.b.recommend", b"{}")).data == b"learn.b.recommend"
        assert (await operator.request("learn.a.resolutions", b"{}")).data == b"learn.a.resolutions"
        assert (await one.request("qry.a.status", b"{}")).data == b"projections", "each topic has its own answerer"
        for client, subject in ((one, "learn.b.recommend"), (one, "learn.~all.rebuild"), (other, "learn.a.health")):
            assert await refused(client, subject), subject
        assert heard == ["learn.a.recommend", "learn.b.recommend", "learn.a.resolutions"]


async def test_h1_the_learner_says_what_it_learned_and_nothing_else(tmp_path: Path, isolated: bool) -> None:
    async with attackers(tmp_path, BOOTSTRAP, "learner", isolated=isolated) as (_, (admin, learner)):
        for entity, name in [
            ("t1", "TaskVerified"), ("t1", "TaskReady"), ("t1", "LessonLearned"), ("-", "LessonLearned"),
            ("~branch", "LessonLearned"), ("~in", "LessonLearned"), ("~in", "PlanSubmitted"),
            ("~lessons", "TaskVerified"),
        ]:  # fmt: skip
            await learner.publish(f"evt.a.{EXECUTION}.{entity}.{name}", b"{}")
        for subject in ("timer.set.x", "log.x", "$O.evidence.C.x", f"tail.{VERDICT}"):
            await learner.publish(subject, b"{}")
        await settled(learner)
        assert await stored(admin) == []
        good = f"evt.a.{EXECUTION}.~lessons.LessonLearned"
        assert (await learner.request(good, b"{}")).data.startswith(b'{"stream"')
