"""Our own plan format. (Being written.)"""

from __future__ import annotations

from schemas.formats.document import Document
from schemas.reading import Reading

NAME = "gsd"


def recognise(document: Document) -> float:
    """Not yet."""
    return 0.0


def read(document: Document) -> Reading:
    """Not yet."""
    return Reading(format=NAME, confidence=0.0)
