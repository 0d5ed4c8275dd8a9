"""Vectors from an OpenAI-compatible endpoint: ``POST {url}/embeddings`` with model and input, Ollama included."""

from __future__ import annotations

import json
import math
import urllib.error
import urllib.request
from collections.abc import Sequence

from services.learner.embedders import EmbedderFailed, Vector

TIMEOUT = 20.0
TOGETHER = 64
LARGEST_ANSWER = 64 * 1024 * 1024


class Endpoint:
    """Somebody else's model. Texts leave this machine for wherever the URL points to."""

    semantic = True
    threshold = 0.25

    def __init__(self, url: str, model: str, key: str = "") -> None:
        if not url.startswith(("http://", "https://")):
            raise EmbedderFailed(f"the embeddings URL {url!r} is neither http nor https")
        self.url = url.rstrip("/") + "/embeddings"
        self.model = model
        self.name = model
        self._key = key
        self._size: int | None = None

    def size(self) -> int:
        """Asked for once: it is the model's. Raises EmbedderFailed."""
        if self._size is None:
            vector = self.embed(["size"])[0]
            assert isinstance(vector, list)
            self._size = len(vector)
        return self._size

    def embed(self, texts: Sequence[str]) -> list[Vector]:
        """One vector for each text. Raises EmbedderFailed."""
        found: list[Vector] = []
        for start in range(0, len(texts), TOGETHER):
            found += self._ask(texts[start : start + TOGETHER])
        return found

    def _ask(self, texts: Sequence[str]) -> list[Vector]:
        body = json.dumps({"model": self.model, "input": list(texts)}).encode()
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        request = urllib.request.Request(self.url, body, headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
                rows = json.loads(answer.read(LARGEST_ANSWER))["data"]
            ordered = sorted(rows, key=lambda row: row["index"])
            vectors = [[float(x) for x in row["embedding"]] for row in ordered]
        except urllib.error.HTTPError as error:
            text = error.read(500).decode("utf-8", "replace")
            raise EmbedderFailed(f"{self.url} answers {error.code}: {text}") from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise EmbedderFailed(f"{self.url} gives no embeddings: {error}") from error
        if len(vectors) != len(texts):
            raise EmbedderFailed(f"{self.url} gave {len(vectors)} vectors for {len(texts)} texts")
        return [_unit(vector, self.url) for vector in vectors]


def _unit(vector: list[float], url: str) -> Vector:
    length = math.sqrt(sum(x * x for x in vector))
    if not length or not math.isfinite(length):
        raise EmbedderFailed(f"{url} gave a vector without a direction")
    return [x / length for x in vector]
