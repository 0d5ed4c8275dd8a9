"""Requirements and acceptance criteria of a PRD: FR tables, AC headings with Given/When/Then, lists (FORMATS 5.2)."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from schemas.formats.draft import Draft
from schemas.formats.markings import criterion, plain_title
from schemas.formats.outline import Row, block_end, joined, section_end, tables

_ID = re.compile(
    r"\W{0,6}((?:FR|NFR|REQ|AC|SC|R)[-_]?\d{1,4}(?:\.\d{1,3}){0,3}[a-z]?)\b[*_]{0,3}[ \t]*[:.)\-–—|]{0,2}[ \t]*(.*)$"
)
_GHERKIN = re.compile(r"[*_]{0,3}(?:given|when|then|and|but)\b", re.IGNORECASE)
_ACCEPTANCE = re.compile(r"acceptance criteria|success criteria|acceptance tests?|definition of done", re.IGNORECASE)
_KINDS = {
    "FR": "requirement",
    "R": "requirement",
    "REQ": "requirement",
    "NFR": "quality",
    "AC": "acceptance",
    "SC": "success",
}


class Requirements:
    """Collects each requirement and criterion once, whatever repeats it."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self.seen: set[str] = set()

    def read(self, stated: list[Any]) -> None:
        """From front matter (``stated``), headings, tables, lists and bold lines, in this order of trust."""
        for entry in stated:
            if isinstance(entry, dict) and isinstance(entry.get("id"), str) and entry.get("text"):
                self._add(entry["id"], str(entry["text"]))
        for head, body in tables(self.draft.table):
            if any("requirement" in cell or cell in ("id", "criterion", "description") for cell in head):
                for _, parts in body:
                    found = _ID.match(parts[0])
                    if found and len(parts) > 1:
                        self._add(found.group(1), plain_title(parts[1]))
        table = self.draft.table
        index = 0
        while index < len(table):
            row = table[index]
            found = _ID.match(row.text) if row.kind not in ("table",) else None
            if found and self._names(row, found):
                index = self._stated(index, found)
                continue
            if row.kind == "heading" and _ACCEPTANCE.search(row.text):
                index = self._list(index)
                continue
            index += 1

    @staticmethod
    def _names(row: Row, found: re.Match[str]) -> bool:
        """It defines the requirement, it does not only mention it."""
        return row.kind == "heading" or row.item or row.text.startswith("**")

    def _stated(self, index: int, found: re.Match[str]) -> int:
        """A heading or item with an id: its Given/When/Then lines are its text."""
        table = self.draft.table
        row = table[index]
        end = section_end(table, index) if row.kind == "heading" else block_end(table, index)
        end = next((at for at in range(index + 1, end) if _ID.match(table[at].text) and table[at].item), end)
        lines = [found.group(2).strip() or row.text]
        position = index + 1
        while position < end and not (table[position].kind == "heading" and _ID.match(table[position].text)):
            text = plain_title(table[position].text)
            if _GHERKIN.match(table[position].text) or found.group(1).upper().startswith("AC"):
                lines.append(text)
            position += 1
        if row.kind != "heading":
            lines = [joined(table, index, end)[found.start(2) :].strip() or row.text, *lines[1:]]
        self._add(found.group(1), "\n".join(lines))
        return index + 1 if row.kind == "heading" else max(end, index + 1)

    def _list(self, index: int) -> int:
        """Items below "Acceptance Criteria" that carry no id of their own."""
        table = self.draft.table
        end = section_end(table, index)
        position = index + 1
        while position < end:
            row = table[position]
            if row.kind == "heading" or _ID.match(row.text):
                return position
            if row.item:
                stop = block_end(table, position)
                self._add("", joined(table, position, stop))
                position = stop
                continue
            position += 1
        return end

    def _add(self, id: str, text: str) -> None:
        if id and id in self.seen:
            return
        self.seen.add(id)
        criteria = self.draft.reading.criteria
        kind = re.match(r"[A-Z]+", id)
        category = _KINDS.get(kind.group() if kind else "AC", "acceptance")
        made = criterion(text.strip(), id=id or f"c{len(criteria) + 1}", category=category)
        first = text.partition("\n")[0]
        if made.kind != "manual" and (first != text or _GHERKIN.match(first)):
            made = replace(made, kind="manual")
        criteria.append(made)
