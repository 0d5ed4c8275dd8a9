"""Vectors by fastembed, which fetches its model at first use: ``pip install fastembed``. The one door to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from services.learner.embedders import EmbedderFailed, Vector


class FastEmbed:
    """A model of fastembed's list."""

    semantic = True
    threshold = 0.5

    def __init__(self, model: str) -> None:
        self.name = model
        self._model: Any = None
        self._size = 0

    def size(self) -> int:
        """The model's. Raises EmbedderFailed."""
        if not self._size:
            vector = self.embed(["size"])[0]
            assert isinstance(vector, list)
            self._size = len(vector)
        return self._size

    def embed(self, texts: Sequence[str]) -> list[Vector]:
        """One vector for each text. Raises EmbedderFailed if the library or the model cannot be had."""
        try:
            if self._model is None:
                from fastembed import TextEmbedding

                self._model = TextEmbedding(self.name)
            return [[float(x) for x in vector] for vector in self._model.embed(list(texts))]
        except ImportError as error:
            raise EmbedderFailed("fastembed is not installed: pip install fastembed") from error
        except (OSError, ValueError, RuntimeError) as error:
            raise EmbedderFailed(f"fastembed cannot use the model {self.name}: {error}") from error
