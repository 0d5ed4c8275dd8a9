"""Answers of these checks: yes, no or not judged, with a document as evidence."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from events.task import Artifact
from events.verdict import Result
from schemas.values import Criterion
from services.verifier.runners.around import FOUND

if TYPE_CHECKING:
    from services.verifier.checks import Place


_UNPRINTABLE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")


def answer(criterion: Criterion, passed: bool | None, detail: str) -> Result:
    """Yes or no, None for not judged; an anti-criterion turns yes and no round."""
    gate = criterion.gates[-1] if criterion.gates else FOUND
    text = criterion.text or (criterion.words if gate == FOUND else gate)
    detail = _UNPRINTABLE.sub("", detail).encode("utf-8", "replace").decode()
    if passed is None:
        return Result(criterion=criterion.id, kind=criterion.kind, text=text, result="skipped", detail=detail)
    good = passed != criterion.negate
    return Result(
        criterion=criterion.id, kind=criterion.kind, text=text, result="pass" if good else "fail", detail=detail
    )


def broken(criterion: Criterion, detail: str) -> Result:
    """No, also for an anti-criterion: the check itself proved nothing."""
    return replace(answer(criterion, False, detail), result="fail")


async def keep(place: Place, document: dict[str, Any]) -> Artifact:
    """Store a document as evidence."""
    raw = json.dumps(document, indent=1, ensure_ascii=False).encode("utf-8", "replace")
    return await place.store(raw, len(raw), "application/json")
