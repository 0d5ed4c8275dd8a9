"""The nearest of many sparse vectors for many questions at once, rare features first: pure.

The order is Qdrant's with the modifier IDF. Its local mode goes through everything that is kept for each question, at
some 60 µs a lesson, and holds up the engine meanwhile; this goes through it once.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from services.learner.embedders import Sparse


def nearest(
    asked: Sequence[Sparse], kept: Sequence[Sparse], chosen: Iterable[int], limit: int
) -> list[list[tuple[int, float]]]:
    """For each question the numbers of the nearest vectors, best first, with their cosines.

    Only those that are ``chosen``, by their numbers, are found; how rare a feature is depends on all that are kept.
    """
    often = Counter(feature for vector in kept for feature in vector.indices)
    holders: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for number in chosen:
        for feature, weight in zip(kept[number].indices, kept[number].values, strict=True):
            holders[feature].append((number, weight))
    found = []
    for question in asked:
        scores: dict[int, float] = defaultdict(float)
        cosines: dict[int, float] = defaultdict(float)
        for feature, weight in zip(question.indices, question.values, strict=True):
            rare = math.log((len(kept) - often[feature] + 0.5) / (often[feature] + 0.5) + 1)
            for number, other in holders.get(feature, ()):
                scores[number] += rare * weight * other
                cosines[number] += weight * other
        best = sorted(scores, key=lambda number: -scores[number])[:limit]
        found.append([(number, cosines[number]) for number in best])
    return found
