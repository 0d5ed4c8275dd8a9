"""A markdown plan as rows: headings, boxes, list items, table lines and text, and which lines belong to which item.

Shared by the readers of markdown task lists. Only structure counts: fences, comments and front matter give no rows,
but stand in the description of the item that holds them.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass
from typing import Literal

from schemas.formats.document import Document
from schemas.formats.markings import Box, box, plain_title

Kind = Literal["heading", "box", "bullet", "number", "table", "text"]

_HEADING = re.compile(r" {0,3}(#{1,6})[ \t]+(\S.*)$")
_ITEM = re.compile(r"([ \t>]*)(?:([-*+•–])|(\d{1,9}[.)]))[ \t]+(\S.*)$")
_FIELD = re.compile(
    r"(?:[*_]{1,3})?([^\W\d_][\w /&'()-]{0,39}?)[ \t]*(?:[*_]{1,3}[ \t]*[:：]|[:：][*_]{0,3}(?=[ \t]|$))[ \t]*(.*)$"
)
_RULE = re.compile(r"[ \t]*(?:-[ \t]*){3,}$|[ \t]*(?:\*[ \t]*){3,}$|[ \t]*(?:_[ \t]*){3,}$")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of structure that is not blank."""

    line: int
    indent: int
    """Columns before the first mark or letter, a tab counting 4."""
    kind: Kind
    text: str
    """Without the heading, list and box marks."""
    level: int = 0
    """Of a heading, 1 to 6."""
    label: str = ""
    """Of a numbered item, ``3``."""
    box: Box | None = None
    after_blank: bool = False
    """A blank line, a fence or a comment stands before it."""

    @property
    def place(self) -> tuple[int, int] | None:
        """Line and column of the character between the brackets."""
        return (self.box.line, self.box.column) if self.box else None

    @property
    def item(self) -> bool:
        """A list item of any kind."""
        return self.kind in ("box", "bullet", "number")


_RECENT: dict[str, list[Row]] = {}
"""Rows of the last documents, by digest: every format looks at them when it is asked whether it knows a document."""


def rows(document: Document) -> list[Row]:
    """All rows of a document in order; not to be changed. Linear in its size. JSON has none."""
    if document.name.endswith((".json", ".jsonl", ".ndjson")):
        return []
    known = _RECENT.get(document.sha256)
    if known is not None:
        return known
    found = _all_rows(document)
    while len(_RECENT) >= 4:
        _RECENT.pop(next(iter(_RECENT)), None)
    _RECENT[document.sha256] = found
    return found


def _all_rows(document: Document) -> list[Row]:
    found: list[Row] = []
    last = 0
    for number, text in document.structure():
        if not text.strip() or _RULE.match(text):
            continue
        found.append(_row(number, text, number > last + 1))
        last = number
    return found


def _row(number: int, text: str, after_blank: bool) -> Row:
    heading = _HEADING.match(text)
    if heading:
        title = heading.group(2).rstrip()
        title = title.rstrip("#").rstrip() if title.endswith((" #", "##")) else title
        return Row(number, 0, "heading", title, level=len(heading.group(1)), after_blank=after_blank)
    ticked = box(text, number)
    if ticked:
        return Row(number, ticked.indent, "box", ticked.text, box=ticked, after_blank=after_blank)
    item = _ITEM.match(text)
    if item:
        indent = len(item.group(1).expandtabs(4))
        kind: Kind = "number" if item.group(3) else "bullet"
        label = (item.group(3) or "").rstrip(".)")
        return Row(number, indent, kind, item.group(4).rstrip(), label=label, after_blank=after_blank)
    stripped = text.strip()
    expanded = text.expandtabs(4)
    kind = "table" if stripped.startswith("|") else "text"
    return Row(number, len(expanded) - len(expanded.lstrip()), kind, stripped, after_blank=after_blank)


def block_end(table: list[Row], index: int) -> int:
    """The index of the first row after ``index`` that does not belong to that list item."""
    indent = table[index].indent
    position = index + 1
    while position < len(table):
        row = table[position]
        if row.kind == "heading" or (row.item and row.indent <= indent):
            break
        if row.indent <= indent and row.after_blank:
            break
        position += 1
    return position


def section_end(table: list[Row], index: int) -> int:
    """The index of the next heading of the same or a higher level; the end if there is none."""
    level = table[index].level
    position = index + 1
    while position < len(table) and not (table[position].kind == "heading" and table[position].level <= level):
        position += 1
    return position


def verbatim(document: Document, first: int, last: int) -> str:
    """Lines ``first`` to ``last`` as written, blank lines and rules at the ends left out."""
    start, end = first - 1, min(last, len(document.lines))
    while start < end and _blank(document.lines[start]):
        start += 1
    while end > start and _blank(document.lines[end - 1]):
        end -= 1
    return "\n".join(document.lines[start:end])


def _blank(text: str) -> bool:
    return not text.strip() or _RULE.match(text) is not None


def last_line(document: Document, table: list[Row], end: int) -> int:
    """The last line before the row at index ``end``."""
    return table[end].line - 1 if end < len(table) else len(document.lines)


def joined(table: list[Row], start: int, end: int) -> str:
    """The text of a hard-wrapped item: its own row and the text rows that follow."""
    parts = [table[start].text]
    for row in table[start + 1 : end]:
        if row.kind != "text" or row.after_blank:
            break
        parts.append(row.text)
    return " ".join(parts)


def field(text: str) -> tuple[str, str] | None:
    """``**Key:** value``, ``**Key**: value``, ``_Key: value_`` or ``Key: value``: the key in lower case, the value."""
    found = _FIELD.match(text.strip())
    if found is None:
        return None
    value = found.group(2).strip()
    if text.lstrip().startswith("_") and value.endswith("_"):
        value = value[:-1].rstrip()
    return " ".join(found.group(1).casefold().split()), value


def headings(table: list[Row]) -> list[int]:
    """The indexes of all headings."""
    return [index for index, row in enumerate(table) if row.kind == "heading"]


class Sections:
    """Which headings stand over a row."""

    def __init__(self, table: list[Row]) -> None:
        self._starts: list[int] = []
        self._paths: list[tuple[int, ...]] = []
        path: list[int] = []
        for index in headings(table):
            while path and table[path[-1]].level >= table[index].level:
                path.pop()
            path.append(index)
            self._starts.append(index)
            self._paths.append(tuple(path))

    def over(self, index: int) -> tuple[int, ...]:
        """Indexes of the headings over a row, the outermost first; of a heading, with itself."""
        position = bisect_left(self._starts, index + 1)
        return self._paths[position - 1] if position else ()


def cells(text: str) -> list[str]:
    """The cells of a table line; ``\\|`` and bars in code do not divide."""
    parts: list[str] = []
    current: list[str] = []
    code = False
    previous = ""
    for character in text.strip().removeprefix("|"):
        if character == "`":
            code = not code
        if character == "|" and not code and previous != "\\":
            parts.append("".join(current).strip())
            current = []
        else:
            current.append(character)
        previous = character
    rest = "".join(current).strip()
    if rest:
        parts.append(rest)
    return parts


def tables(table: list[Row]) -> list[tuple[list[str], list[tuple[Row, list[str]]]]]:
    """All tables: the cells of the head in lower case, and the rows with their cells."""
    found: list[tuple[list[str], list[tuple[Row, list[str]]]]] = []
    index = 0
    while index < len(table):
        if table[index].kind != "table":
            index += 1
            continue
        end = index + 1
        while end < len(table) and table[end].kind == "table" and not table[end].after_blank:
            end += 1
        lines = [(row, cells(row.text)) for row in table[index:end]]
        body = [(row, parts) for row, parts in lines[1:] if any(part.strip(" :-") for part in parts)]
        found.append(([plain_title(part).casefold().strip("# ") or part for part in lines[0][1]], body))
        index = end
    return found


def title_of(table: list[Row], fallback: str = "") -> str:
    """The first heading of level 1, or the only one of the highest level."""
    found = [row for row in table if row.kind == "heading"]
    top = min((row.level for row in found), default=0)
    tops = [row for row in found if row.level == top]
    return plain_title(tops[0].text) if tops and (top == 1 or len(tops) == 1) else fallback


_DONE = re.compile(r"(?:[-–—:(\[✅✓✔]\ufe0f?[ \t]{0,3})(?:complete|completed|done|shipped)\b[^\w]{0,4}$", re.IGNORECASE)


def marked_done(text: str) -> bool:
    """A heading that says it is finished: a tick at either end, or "— COMPLETE" behind it."""
    bare = text.strip(" *\ufe0f")
    return bare[:1] in ("✅", "✓", "✔") or bare[-1:] in ("✅", "✓", "✔") or _DONE.search(bare[-40:]) is not None


def unique(taken: dict[str, int], id: str) -> str:
    """The id itself, or with ``~2``, ``~3``, … behind it."""
    own = id
    while own in taken:
        taken[id] += 1
        own = f"{id}~{taken[id]}"
    taken[own] = 1
    return own


def continued(table: list[Row], at: int, stop: int) -> int:
    """How many text rows continue a row."""
    count = 0
    for row in table[at + 1 : stop]:
        if row.kind != "text" or row.after_blank:
            break
        count += 1
    return count
