"""The simulator: nights without a violation, the same seed twice, and bugs that are planted and found."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.command import night, nights, simulating, trace
from tests.simulation.mutations import MUTATIONS

SEEDS = 300
"""Nights in CI; ``python -m tests.simulation --n 10000 --jobs 2`` for more."""
ENOUGH = 1000
"""Seeds within which a planted bug must be found; most take fewer than twenty."""
ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("first", range(1, SEEDS, 100))
def test_nothing_is_violated(first: int) -> None:
    tally = nights(first, 100)
    assert not tally.violations, f"python -m tests.simulation --n 1 --seed {tally.violations[0][0]}"
    assert tally.faults > 500
    assert tally.steps > 20_000


@pytest.mark.parametrize("mutation", sorted(MUTATIONS))
def test_a_planted_bug_is_found(mutation: str) -> None:
    tally = nights(1, ENOUGH, mutation)
    assert tally.violations, f"{mutation} lives through {tally.seeds} seeds"


def test_the_same_seed_is_the_same_night_byte_for_byte() -> None:
    script = (
        "from tests.simulation.command import *\n"
        "with simulating():\n"
        "    for seed in (3, 7, 130): print(trace(night(seed)))"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", script], cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]  # fmt: skip
    with simulating():
        here = "".join(trace(night(seed)) + "\n" for seed in (3, 7, 130))
    assert runs[0] == runs[1]
    assert runs[0].decode() == here
    assert len(here) > 10_000


def test_a_failing_seed_says_how_to_see_it_again(capsys: pytest.CaptureFixture[str]) -> None:
    from tests.simulation.command import main

    assert main(["--n", "50", "--mutation", "ack-early"]) == 1
    said = capsys.readouterr().out
    assert "VIOLATION" in said
    command = next(line for line in said.splitlines() if line.startswith("again: "))
    assert said.splitlines()[-1].endswith("1 violations")
    assert main(command.split()[4:]) == 1
