"""``python -m bench.retrieval``: how well each embedder that runs here finds the task that is meant (docs/learning.md).

Everything goes through the real collection, as lessons do. The threshold of an embedder is where the sum of two shares
is largest: right answers kept, and wrong ones (for tasks that never ran, or in front of the right one) left out.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.goals import GOALS, STRANGERS
from services.learner.decide import point_id, text_of
from services.learner.embedders import Embedder, choose, minilm_is_installed
from services.learner.memory import Kept, Memory, Position

TENANT, EXECUTION = "bench", "0192f0c1-0000-7000-8000-000000000001"


@dataclass(frozen=True, slots=True)
class Score:
    """What one embedder achieved."""

    name: str
    first: float
    among_three: float
    reciprocal: float
    """Mean of 1/rank (MRR)."""
    threshold: float
    kept: float
    """Share of right first answers at or above the threshold."""
    refused: float
    """Share of strangers for which nothing is at or above it."""
    milliseconds: float
    """Of the processor for a query, embedding included."""


@contextmanager
def filled(embedder: Embedder, folder: Path) -> Iterator[Memory]:
    """A memory with a lesson for each goal."""
    memory = Memory.open(folder, embedder)
    try:
        lessons = [
            Kept(
                point_id(TENANT, EXECUTION, str(number), 1),
                text_of(title, description, "verified"),
                {"tenant": TENANT, "execution_id": EXECUTION, "task": str(number)},
            )
            for number, (title, description, *_) in enumerate(GOALS)
        ]
        memory.keep(lessons, Position("bench", len(lessons)))
        yield memory
    finally:
        memory.close()


def measure(embedder: Embedder, folder: Path) -> Score:
    """Ask for every paraphrase and every stranger."""
    kept_threshold = embedder.threshold
    type(embedder).threshold = 0.0  # type: ignore[misc]  # see everything
    try:
        with filled(embedder, folder) as memory:
            asked = [(str(n), text) for n, (_, _, *texts) in enumerate(GOALS) for text in texts]
            memory.similar(TENANT, [asked[0][1]])
            began = time.process_time()
            answers = [memory.similar(TENANT, [text], limit=len(GOALS))[0] for _, text in asked]
            took = (time.process_time() - began) / len(asked) * 1000
            strange = [hits[0].similarity if hits else 0.0 for hits in memory.similar(TENANT, STRANGERS, limit=1)]
    finally:
        type(embedder).threshold = kept_threshold  # type: ignore[misc]
    ranks, right, wrong = [], [], list(strange)
    for (goal, text), hits in zip(asked, answers, strict=True):
        order = [hit.payload["task"] for hit in hits]
        rank = order.index(goal) + 1 if goal in order else 0
        ranks.append(rank)
        if rank == 1:
            right.append(hits[0].similarity)
        elif hits:
            wrong.append(hits[0].similarity)
        if os.environ.get("VERBOSE") and rank != 1:
            found = GOALS[int(order[0])][0] if order else "nothing"
            print(f"  {embedder.name}: {text!r} found {found!r} first; the right one is {rank or 'not among them'}")
    steps = sorted({round(s, 2) for s in right + wrong})
    threshold = max(steps, key=lambda t: _share(right, t) + 1 - _share(wrong, t))
    return Score(
        embedder.name, _part(ranks, 1), _part(ranks, 3), sum(1 / r for r in ranks if r) / len(ranks), threshold,
        _share(right, embedder.threshold), 1 - _share(strange, embedder.threshold), took,
    )  # fmt: skip


def _part(ranks: list[int], within: int) -> float:
    return sum(0 < rank <= within for rank in ranks) / len(ranks)


def _share(values: list[float], at_least: float) -> float:
    return sum(value >= at_least for value in values) / len(values) if values else 0.0


def main() -> None:
    """Print the table."""
    names = ["lexical", *(["minilm"] if minilm_is_installed() else [])]
    url = os.environ.get("NIGHTSHIFT_EMBEDDINGS_URL")
    if url:
        names.append("openai")
    model, key = os.environ.get("NIGHTSHIFT_EMBEDDINGS_MODEL"), os.environ.get("NIGHTSHIFT_EMBEDDINGS_KEY", "")
    print(f"{len(GOALS)} goals, {2 * len(GOALS)} paraphrases, {len(STRANGERS)} strangers\n")
    print("| embedder | top 1 | top 3 | MRR | best threshold | in use: right kept | strangers refused | CPU ms/query |")
    print("|---|---|---|---|---|---|---|---|")
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            s = measure(choose(name, url=url, model=model, key=key), Path(folder) / "memory")
        print(
            f"| {s.name} | {s.first:.0%} | {s.among_three:.0%} | {s.reciprocal:.2f} | {s.threshold:.2f} "
            f"| {s.kept:.0%} | {s.refused:.0%} | {s.milliseconds:.1f} |"
        )


if __name__ == "__main__":
    main()
