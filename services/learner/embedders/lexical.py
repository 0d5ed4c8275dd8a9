"""Words and their parts as a sparse vector: no model, no meaning. Qdrant weighs them by rarity (IDF).

A feature is a word, or three neighbouring characters of one; its place is the CRC-32 of it. Two features may share a
place; among 2^32 of them that is rare enough not to matter.
"""

from __future__ import annotations

import math
import re
import zlib
from collections import Counter
from collections.abc import Sequence

from services.learner.embedders import Sparse, Vector

PARTS = 0.5
"""The weight of three characters against that of a word; see docs/learning.md."""
_WORD = re.compile(r"[^\W\d_]+|\d+")
_HUMP = re.compile(r"(?<=[a-z\d])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_STOP = frozenset(
    re.findall(
        r"\w+",
        "a an and are as at be by for from has in into is it its of on or that the this to up was were will with",
    )
)


class Lexical:
    """Compares what is written."""

    name = "lexical-1"
    semantic = False
    threshold = 0.2

    def size(self) -> None:
        """Sparse."""

    def embed(self, texts: Sequence[str]) -> list[Vector]:
        """One vector for each text; empty for a text without words."""
        return [_vector(text) for text in texts]


def words(text: str) -> list[str]:
    """The words of a text in small letters: humps and underscores part them, the commonest are left out."""
    return [word for word in map(str.lower, _WORD.findall(_HUMP.sub(" ", text))) if word not in _STOP]


def _vector(text: str) -> Sparse:
    weights: Counter[int] = Counter()
    for word, count in Counter(words(text)).items():
        often = 1 + math.log(count)
        weights[zlib.crc32(word.encode())] += often  # type: ignore[assignment]
        padded = f"^{word}$"
        for start in range(len(padded) - 2):
            weights[zlib.crc32(padded[start : start + 3].encode())] += PARTS * often  # type: ignore[assignment]
    length = math.sqrt(sum(w * w for w in weights.values()))
    places = sorted(weights)
    return Sparse(tuple(places), tuple(weights[p] / length for p in places))
