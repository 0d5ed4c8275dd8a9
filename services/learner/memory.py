"""What was learned, to be found again: a Qdrant collection. The one door to qdrant_client, opened late.

A projection of the log's ``LessonLearned`` and nothing else. How far it has read stands in the collection itself, so
whatever happens to the one happens to the other; a point's id follows from what it is about, so reading twice changes
nothing. The vectors are named after who made them; another embedder means a rebuild.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from services.learner.embedders import Embedder, Sparse, Vector
from services.learner.rarity import nearest

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

COLLECTION = "execution_patterns"
POSITION = "00000000-0000-5000-8000-000000000000"
"""The point that says how far the log has been read; it has no vector, so nothing finds it."""
FIELDS = {
    "tenant": "keyword", "execution_id": "keyword", "task_type": "keyword", "signatures": "keyword", "success": "bool",
}  # fmt: skip
"""Fields of the payload that are filtered by, and their kinds."""
INDEXING = 20_000
"""Points from which on a server builds its index (founding document)."""
TIMEOUT = 20
MANY = 4
"""Questions at a time from which on a folder's lessons are gone through once for all of them."""
T = TypeVar("T")


class NotInstalled(Exception):
    """qdrant-client is not installed: pip install 'nightshift[learn]'"""

    def __str__(self) -> str:
        return self.__doc__ or ""


class MemoryUnavailable(Exception):
    """The collection cannot be reached, or somebody else has it open."""


@dataclass(frozen=True, slots=True)
class Position:
    """How far which log has been read."""

    log: str
    """When its first event was stored."""
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class Kept:
    """One lesson as it is kept."""

    id: str
    text: str
    """What is embedded."""
    payload: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Hit:
    """One lesson that was found."""

    similarity: float
    payload: Mapping[str, Any]


def installed() -> bool:
    """Whether qdrant-client is there; imports nothing."""
    return importlib.util.find_spec("qdrant_client") is not None


class Memory:
    """The collection. Every call blocks; all must come from one thread."""

    def __init__(self, client: QdrantClient, embedder: Embedder, *, place: str, local: bool) -> None:
        self.embedder = embedder
        self.place = place
        self.vector = re.sub(r"[^A-Za-z0-9._-]+", "-", embedder.name)
        """The name of the vectors in the collection."""
        self._client = client
        self._local = local

    @classmethod
    def open(cls, place: Path | str, embedder: Embedder) -> Memory:
        """Open a folder, or a server by its URL, and make the collection if it is missing.

        Raises NotInstalled, MemoryUnavailable, EmbedderFailed.
        """
        if not installed():
            raise NotInstalled
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # threads that spin take the processors from the tasks
        from qdrant_client import QdrantClient

        local = isinstance(place, Path)
        try:
            if isinstance(place, Path):
                place.mkdir(parents=True, exist_ok=True)
                client = QdrantClient(path=str(place))
            else:
                client = QdrantClient(url=place, timeout=TIMEOUT, check_compatibility=False)
            memory = cls(client, embedder, place=str(place), local=local)
        except (RuntimeError, ValueError, OSError) as error:
            raise MemoryUnavailable(f"{place}: {error}") from error
        try:
            memory._prepare()
        except BaseException:
            client.close()
            raise
        return memory

    def close(self) -> None:
        """Let go of the folder or the connection."""
        self._client.close()

    # -- filling ------------------------------------------------------------------------------------------------------

    def position(self) -> Position | None:
        """How far the log has been read; None for an empty collection."""
        found = self._try(lambda: self._client.retrieve(COLLECTION, [POSITION], with_payload=True))
        if not found:
            return None
        payload = found[0].payload or {}
        return Position(str(payload["log"]), int(payload["sequence"]))

    def keep(self, lessons: Sequence[Kept], position: Position) -> None:
        """Keep lessons, each in the place of what has its id, and then say how far the log has been read.

        Raises MemoryUnavailable, EmbedderFailed.
        """
        from qdrant_client import models

        vectors = self.embedder.embed([lesson.text for lesson in lessons]) if lessons else []
        points = [
            models.PointStruct(id=lesson.id, vector={self.vector: _vector(vector)}, payload=dict(lesson.payload))
            for lesson, vector in zip(lessons, vectors, strict=True)
        ]
        if points:
            self._try(lambda: self._client.upsert(COLLECTION, points, wait=True))
        mark = models.PointStruct(
            id=POSITION,
            vector={},
            payload={"log": position.log, "sequence": position.sequence, "embedder": self.embedder.name},
        )
        self._try(lambda: self._client.upsert(COLLECTION, [mark], wait=True))

    def clear(self) -> None:
        """Forget everything; the log has it all."""
        self._try(lambda: self._client.delete_collection(COLLECTION))
        self._prepare()

    # -- asking -------------------------------------------------------------------------------------------------------

    def similar(
        self,
        tenant: str,
        texts: Sequence[str],
        *,
        limit: int = 3,
        success: bool | None = None,
        task_type: str | None = None,
        without: str | None = None,
    ) -> list[list[Hit]]:
        """For each text the most similar lessons of one tenant, best first; none below the embedder's threshold.

        ``without``: an execution that is left out. Raises MemoryUnavailable, EmbedderFailed.
        """
        from qdrant_client import models

        conditions = {"tenant": tenant, "success": success, "task_type": task_type}
        wanted = {key: value for key, value in conditions.items() if value is not None}
        vectors = self.embedder.embed(texts)
        sparse = [vector for vector in vectors if isinstance(vector, Sparse)]
        if self._local and len(sparse) == len(texts) >= MANY:
            return self._nearest_of_all(sparse, wanted, without, limit)
        must = [_is(key, value) for key, value in wanted.items()]
        condition = models.Filter(must=must, must_not=[_is("execution_id", without)] if without else None)
        return [self._nearest(vector, condition, limit) for vector in vectors]

    def _nearest_of_all(
        self, asked: Sequence[Sparse], wanted: Mapping[str, Any], without: str | None, limit: int
    ) -> list[list[Hit]]:
        """The same for many questions, with one look at each lesson."""
        points, _ = self._try(
            lambda: self._client.scroll(
                COLLECTION, limit=sys.maxsize - 1, with_payload=list(FIELDS), with_vectors=[self.vector]
            )
        )
        points = [point for point in points if point.vector]  # all but the position
        kept = [self._sparse(point) for point in points]
        chosen = [
            number
            for number, payload in enumerate(point.payload or {} for point in points)
            if all(payload.get(key) == value for key, value in wanted.items())
            and (not without or payload.get("execution_id") != without)
        ]
        ranked = [
            [(points[number].id, round(min(1.0, cosine), 4)) for number, cosine in hits]
            for hits in nearest(asked, kept, chosen, limit)
        ]
        found = [[hit for hit in hits if hit[1] >= self.embedder.threshold] for hits in ranked]
        ids = list({id for hits in found for id, _ in hits})
        whole = {p.id: p.payload or {} for p in self._try(lambda: self._client.retrieve(COLLECTION, ids))}
        return [[Hit(cosine, whole[id]) for id, cosine in hits] for hits in found]

    def _sparse(self, point: Any) -> Sparse:
        vector = point.vector[self.vector]
        return Sparse(tuple(vector.indices), tuple(vector.values))

    def _nearest(self, vector: Vector, condition: Any, limit: int) -> list[Hit]:
        sparse = isinstance(vector, Sparse)
        if isinstance(vector, Sparse) and not vector.indices:
            return []
        found = self._try(
            lambda: self._client.query_points(
                COLLECTION,
                query=_vector(vector),
                using=self.vector,
                query_filter=condition,
                limit=limit,
                with_payload=True,
                with_vectors=[self.vector] if sparse else False,
            )
        ).points
        hits = [Hit(self._similarity(vector, point), point.payload or {}) for point in found]
        return [hit for hit in hits if hit.similarity >= self.embedder.threshold]

    def _similarity(self, asked: Vector, point: Any) -> float:
        """The cosine. Rarity decides the order of sparse ones, but its scale depends on all that is kept."""
        if not isinstance(asked, Sparse):
            return round(min(1.0, max(0.0, float(point.score))), 4)
        kept = point.vector[self.vector]
        weights = dict(zip(kept.indices, kept.values, strict=True))
        cosine: float = sum(v * weights.get(i, 0.0) for i, v in zip(asked.indices, asked.values, strict=True))
        return round(min(1.0, cosine), 4)

    def with_signature(self, tenant: str, signature: str, *, limit: int = 200) -> list[Mapping[str, Any]]:
        """Lessons of one tenant in which an error occurred. Raises MemoryUnavailable."""
        from qdrant_client import models

        condition = models.Filter(must=[_is("tenant", tenant), _is("signatures", signature)])
        found, _ = self._try(
            lambda: self._client.scroll(COLLECTION, scroll_filter=condition, limit=limit, with_payload=True)
        )
        return [point.payload or {} for point in found]

    def count(self, tenant: str | None = None) -> int:
        """How many lessons are kept, of one tenant or of all. Raises MemoryUnavailable."""
        from qdrant_client import models

        condition = (
            models.Filter(must=[_is("tenant", tenant)])
            if tenant is not None
            else models.Filter(must_not=[models.HasIdCondition(has_id=[POSITION])])
        )
        return int(self._try(lambda: self._client.count(COLLECTION, count_filter=condition, exact=True)).count)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        """Make the collection, unless there is one with this embedder's vectors. One of another's is made anew."""
        if self._try(lambda: self._client.collection_exists(COLLECTION)):
            if self._fits():
                return
            self._try(lambda: self._client.delete_collection(COLLECTION))
        from qdrant_client import models

        size = self.embedder.size()
        dense = {self.vector: models.VectorParams(size=size, distance=models.Distance.COSINE)} if size else {}
        rare = {self.vector: models.SparseVectorParams(modifier=models.Modifier.IDF)}
        self._try(
            lambda: self._client.create_collection(
                COLLECTION,
                vectors_config=dense,
                sparse_vectors_config=None if size else rare,
                optimizers_config=None if self._local else models.OptimizersConfigDiff(indexing_threshold=INDEXING),
            )
        )
        if not self._local:
            for key, kind in FIELDS.items():
                self._index(key, models.PayloadSchemaType(kind))

    def _index(self, key: str, kind: Any) -> None:
        """Make a field of the payload quick to filter by; a server only."""
        self._try(lambda: self._client.create_payload_index(COLLECTION, key, kind))

    def _fits(self) -> bool:
        """Whether the collection's vectors are this embedder's, by name and size."""
        params = self._try(lambda: self._client.get_collection(COLLECTION)).config.params
        size = self.embedder.size()
        if size is None:
            return self.vector in (params.sparse_vectors or {})
        dense = params.vectors
        return isinstance(dense, dict) and self.vector in dense and dense[self.vector].size == size

    def _try(self, call: Callable[[], T]) -> T:
        """Any call. What the client raises in its many ways becomes MemoryUnavailable."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # local mode says that it is not meant for millions
                return call()
        except Exception as error:
            if type(error).__module__.split(".")[0] not in ("qdrant_client", "httpx", "httpcore", "grpc", "sqlite3"):
                raise
            raise MemoryUnavailable(f"{self.place}: {type(error).__name__}: {_first_line(error)}") from error


def _is(key: str, value: Any) -> Any:
    from qdrant_client import models

    return models.FieldCondition(key=key, match=models.MatchValue(value=value))


def _vector(vector: Vector) -> Any:
    from qdrant_client import models

    if isinstance(vector, Sparse):
        return models.SparseVector(indices=list(vector.indices), values=list(vector.values))
    return list(vector)


def _first_line(error: Exception) -> str:
    text = str(error)
    with suppress(IndexError):
        return text.strip().splitlines()[0]
    return text
