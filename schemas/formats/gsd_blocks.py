"""The angle-bracket blocks of GSD plans. They look like XML and are not: text in them is anything (FORMATS 4.3)."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import deque
from dataclasses import dataclass, field
from itertools import islice

from schemas.formats.document import Document
from schemas.reading import Diagnostic

_OPEN = re.compile(r"([ \t]*)<task(?:[ \t]+([^<>]*(?:\"[^\"]*\"|'[^']*')?[^<>]*))?>")
_CLOSE = re.compile(r"[ \t]*</task>")
_TASKS = re.compile(r"[ \t]*<tasks\b[^<>]*>")
_TASKS_END = re.compile(r"[ \t]*</tasks>")
_ATTRIBUTE = re.compile(r"([A-Za-z_][\w:-]*)[ \t]*=[ \t]*(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'>]+))")
ELEMENTS = (
    "name", "title", "files", "read_first", "behavior", "action", "implementation", "verify", "verification",
    "acceptance_criteria", "done", "context", "decision", "options", "what-built", "how-to-verify", "resume-signal",
    "instructions", "outcome", "requirements", "interfaces", "notes", "description",
)  # fmt: skip
_ELEMENT = re.compile(rf"<({'|'.join(ELEMENTS)})(?:[ \t][^<>]*)?>")


@dataclass(slots=True)
class Block:
    """A ``<task>`` or ``<feature>`` with its attributes and inner elements."""

    line: int
    end: int
    attributes: dict[str, str] = field(default_factory=dict)
    elements: dict[str, str] = field(default_factory=dict)
    """The first of each name; text as written."""
    lines: dict[str, int] = field(default_factory=dict)
    body: str = ""

    def get(self, *names: str) -> str:
        """The first element that there is, stripped."""
        return next((self.elements[name].strip() for name in names if self.elements.get(name, "").strip()), "")


def sections(document: Document, start: int = 1) -> dict[str, tuple[str, int]]:
    """Top-level blocks such as ``<objective>``: name to text and line; opened and closed at the start of lines."""
    found: dict[str, tuple[str, int]] = {}
    wanted = re.compile(r"<([a-z][a-z_]{2,40})>[ \t]*(.*)$")
    number = max(start, document.front_matter_end + 1)
    hidden = _Hidden(document)
    ends: dict[str, list[int]] = {}
    for index, text in enumerate(document.lines, 1):
        if text.startswith("</") and (name := text[2:].partition(">")[0]):
            ends.setdefault(name, []).append(index)
    while number <= len(document.lines):
        text = document.lines[number - 1]
        opened = wanted.match(text)
        if opened is None:
            number = hidden.after(number)
            continue
        name, rest = opened.group(1), opened.group(2)
        if f"</{name}>" in rest:
            found.setdefault(name, (rest.partition(f"</{name}>")[0], number))
            number += 1
            continue
        places = ends.get(name, [])
        first = bisect_right(places, number)
        if first == len(places):
            number += 1
            continue
        end = places[-1] if name == "tasks" else places[first]
        body = "\n".join([rest, *document.lines[number : end - 1]])
        found.setdefault(name, (body.strip("\n"), number))
        number = end + 1
    return found


def task_blocks(document: Document, diagnostics: list[Diagnostic]) -> list[Block]:
    """All ``<task>`` blocks, inside ``<tasks>`` when there is one."""
    first, last = _region(document)
    hidden = _Hidden(document)
    found = []
    number = first
    while number <= last:
        text = document.lines[number - 1]
        opened = _OPEN.match(text) if "<task" in text else None
        if opened is None:
            number = hidden.after(number)
            continue
        end = _end(document, number, last, hidden)
        attributes = _attributes(opened.group(2) or "")
        if end is None:
            end = next((n for n in range(number + 1, last + 1) if _OPEN.match(document.lines[n - 1])), last + 1) - 1
            diagnostics.append(
                document.note("warning", "unclosed-task", "this <task> is never closed", number, "add </task>")
            )
        inside = [text[opened.end() :], *document.lines[number : end - 1]]
        if _CLOSE.match(document.lines[end - 1]) is None and end > number:
            inside.append(document.lines[end - 1])
        found.append(parse(Block(number, end, attributes, body="\n".join(inside))))
        number = max(end, number) + 1
    return found


def _region(document: Document) -> tuple[int, int]:
    mask = document.outside_fences()
    first, last = 1, len(document.lines)
    for number, text in enumerate(document.lines, 1):
        if "<tasks" in text and mask[number - 1] and _TASKS.match(text):
            first = number
            break
    else:
        return document.front_matter_end + 1, last
    ends = [n for n, text in enumerate(document.lines, 1) if n > first and "</tasks" in text and _TASKS_END.match(text)]
    return first, ends[-1] if ends else last


class _Hidden:
    """Fences and comments as they open where one reads, so that an open fence in one task cannot hide the next."""

    def __init__(self, document: Document) -> None:
        self.lines = document.lines
        self.comments = {comment.start: comment.end for comment in document.comments() if comment.end > comment.start}
        self.closers: dict[str, deque[int]] = {"`": deque(), "~": deque()}
        for number, text in enumerate(document.lines, 1):
            bare = text.strip()
            if len(bare) >= 3 and bare[0] in "`~" and not bare.strip(bare[0]):
                self.closers[bare[0]].append(number)

    def after(self, number: int) -> int:
        """The next line to read: behind the fence or comment that opens in this line, if one does and closes."""
        if number in self.comments:
            return self.comments[number] + 1
        bare = self.lines[number - 1].strip()
        if bare[:3] not in ("```", "~~~") or "`" in bare.lstrip("`"):
            return number + 1
        width = len(bare) - len(bare.lstrip(bare[0]))
        places = self.closers[bare[0]]
        while places and places[0] <= number:
            places.popleft()
        end = next((n for n in islice(places, 1000) if len(self.lines[n - 1].strip()) >= width), None)
        return number + 1 if end is None else end + 1


def _end(document: Document, start: int, last: int, hidden: _Hidden) -> int | None:
    """The line of the closing tag: the first at the start of a line that is not in a fence opened inside."""
    lines = document.lines
    if "</task>" in lines[start - 1]:
        return start
    number = start + 1
    fallback: int | None = None
    while number <= last:
        text = lines[number - 1]
        if "</task" in text and _CLOSE.match(text):
            return number
        if "<task" in text and _OPEN.match(text):
            return fallback
        following = hidden.after(number)
        if following > last + 1:
            following = number + 1
        if fallback is None and following > number + 1:
            inside = range(number + 1, following)
            fallback = next((n for n in inside if "</task" in lines[n - 1] and _CLOSE.match(lines[n - 1])), None)
        number = following
    return fallback


def _attributes(text: str) -> dict[str, str]:
    return {name: one or two or three for name, one, two, three in _ATTRIBUTE.findall(text[:2000])}


def parse(block: Block) -> Block:
    """Find the inner elements: each from its first opening to its first closing tag, one after the other."""
    body, position, line, counted = block.body, 0, block.line, 0
    while opened := _ELEMENT.search(body, position):
        name = opened.group(1)
        closing = body.find(f"</{name}>", opened.end())
        end = len(body) if closing < 0 else closing
        line += body.count("\n", counted, opened.start())
        counted = opened.start()
        if name not in block.elements:
            block.elements[name] = body[opened.end() : end]
            block.lines[name] = line
        position = end + len(name) + 3 if closing >= 0 else opened.end()
    return block


def inner(text: str, name: str) -> str | None:
    """The text of an element inside another, or None."""
    _, opened, rest = text.partition(f"<{name}>")
    return rest.partition(f"</{name}>")[0].strip() if opened else None
