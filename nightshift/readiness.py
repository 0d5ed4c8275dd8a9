"""What a plan's checks need on this machine, said before anything starts (RE-1)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from schemas.reading import Reading
from schemas.values import Criterion, Policy

if TYPE_CHECKING:
    from services.verifier.runners.available import Available


def readiness(reading: Reading, base: Path, repo: Path | None = None) -> list[Available]:
    """The runners and tools that a plan in the folder ``base`` asks for, and which of them are here.

    Empty for a plan whose checks need none, and for one that names no repository of this machine.
    """
    policy = reading.policy or Policy()
    criteria = _criteria(reading)
    if policy.tests == "off" and not policy.quality and not any(c.kind in ("tests", "quality") for c in criteria):
        return []
    folder = repo or (base / reading.repo.path if reading.repo else None)
    if folder is None or not folder.is_dir():
        return []
    from services.verifier.runners.available import available

    return available(folder.resolve(), criteria, policy, reading.env.get("PATH") or os.environ.get("PATH", os.defpath))


def missing(reading: Reading, base: Path, repo: Path | None = None) -> list[Available]:
    """Those of them that are not here."""
    return [each for each in readiness(reading, base, repo) if each.version is None]


def lines(found: list[Available]) -> list[str]:
    """One line with all of them, and one with a remedy for each that is missing."""
    if not found:
        return []
    missing = [f"  {each.name}: {each.remedy}" for each in found if each.version is None]
    return [f"runners: {', '.join(map(str, found))}", *missing]


def _criteria(reading: Reading) -> list[Criterion]:
    groups = [reading.criteria, *(p.criteria for p in reading.phases), *(t.criteria for t in reading.tasks)]
    return [criterion for group in groups for criterion in group]
