"""OpenSpec ``tasks.md``: ``## 1. Section`` and ``- [ ] 1.1 text``, in order (FORMATS 6.5)."""

from __future__ import annotations

from schemas.formats.checklist import read_boxes
from schemas.formats.document import Document
from schemas.formats.draft import Draft
from schemas.formats.numbered import Numbered, heading_number, number_of
from schemas.formats.order import link, settle
from schemas.formats.outline import rows
from schemas.reading import Reading

NAME = "openspec"


def recognise(document: Document) -> float:
    """By its place, or by numbered sections whose boxes carry the section's number."""
    table = rows(document)
    boxes = [row for row in table if row.box]
    path = "/" + document.path.replace("\\", "/").lower()
    if "/openspec/changes/" in path and document.name.lower() == "tasks.md" and boxes:
        return 0.97
    sections = {headed[0] for row in table if row.level == 2 and (headed := heading_number(row))}
    numbers = [found[0] for row in boxes if (found := number_of(row))]
    if not sections or not numbers:
        return 0.0
    fitting = sum(1 for id in numbers if id.count(".") == 1 and id.split(".")[0] in sections)
    return 0.82 * fitting / len(numbers) if fitting * 3 >= len(boxes) else 0.0


def read(document: Document) -> Reading:
    """Sections are phases; tasks run in the order of the file. Boxes without numbers count too, under a made id."""
    draft = Draft(document, NAME)
    place = document.path.replace("\\", "/").split("/")
    titled = any(row.level == 1 and row.text.casefold() not in ("tasks", "implementation tasks") for row in draft.table)
    if len(place) > 2 and "changes" in place[:-2] and not titled:
        draft.reading.title = place[-2]
    if any(number_of(row) for row in draft.table):
        Numbered(draft, every_box=True).read()
    else:
        read_boxes(draft)
    settle(draft)
    link(draft)
    return draft.reading
