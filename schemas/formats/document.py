"""A plan file as it was read: bytes, text, lines, and which lines are structure.

Nothing here knows a plan format. Lines are counted from 1 in everything a person sees.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token

from schemas.reading import Diagnostic, Severity
from schemas.values import Source

MAX_BYTES = 16 * 1024 * 1024
MAX_LINES = 200_000
MAX_LINE = 64 * 1024
"""Characters in one line; JSON is exempt, for it is often written in one line."""

_FENCE = re.compile(r"[ \t>]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)*(`{3,}|~{3,})([^\n]*)")
_STRUCTURE = re.compile(r"(?:#{1,6}\s+\S|[-*+]\s+\[[^\[\]]\])")


class TooLarge(ValueError):
    """A file is bigger than any plan; reading it would only cost memory."""


@dataclass(frozen=True, slots=True)
class Fence:
    """A fenced block: ``start`` and ``end`` are the lines of its marks (``end`` is the last line if never closed)."""

    start: int
    end: int
    marker: str
    info: str
    closed: bool


@dataclass(frozen=True, slots=True)
class Comment:
    """An HTML comment from the line of ``<!--`` to the line of ``-->``."""

    start: int
    end: int
    closed: bool


@dataclass(slots=True, kw_only=True)
class Document:
    """One file and, for folder formats, the files beside it."""

    path: str
    """As given, for messages."""
    name: str
    """The base name."""
    raw: bytes
    text: str
    """Decoded; no byte order mark; every line end is one line feed."""
    lines: list[str]
    """Without line ends; line n is ``lines[n - 1]``."""
    sha256: str
    diagnostics: list[Diagnostic] = field(default_factory=list)
    siblings: dict[str, Document] = field(default_factory=dict)
    """For folder formats: relative path (with slashes) to document."""
    directory: bool = False
    """A folder: no text of its own, only siblings."""
    cache: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """For format modules: what recognising found out and reading can use."""
    _tokens: list[Token] | None = field(default=None, repr=False, compare=False)
    _layout: _Layout | None = field(default=None, repr=False, compare=False)

    @classmethod
    def load(cls, path: Path) -> Document:
        """Read a file. Raises OSError, or TooLarge before reading more than is sensible."""
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        return cls._make(str(path), path.name, raw)

    @classmethod
    def of(cls, name: str, text: str | bytes) -> Document:
        """A document from text that is already here; ``name`` may be a path. Raises TooLarge."""
        raw = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
        return cls._make(name, name.replace("\\", "/").rstrip("/").rpartition("/")[2], raw)

    @classmethod
    def folder(cls, path: str, siblings: dict[str, Document]) -> Document:
        """A folder as a document without text."""
        document = cls.of(path, b"")
        document.siblings, document.directory = siblings, True
        return document

    @classmethod
    def _make(cls, path: str, name: str, raw: bytes) -> Document:
        if len(raw) > MAX_BYTES:
            raise TooLarge(f"{path} is larger than {MAX_BYTES // 2**20} MiB; no plan is that long")
        diagnostics: list[Diagnostic] = []
        body = raw[3:] if raw.startswith(b"\xef\xbb\xbf") else raw
        try:
            text = body.decode("utf-8")
        except UnicodeDecodeError as error:
            text = body.decode("utf-8", "replace")
            line = body.count(b"\n", 0, error.start) + 1
            diagnostics.append(
                Diagnostic(
                    "warning", "bad-encoding", "bytes that are not UTF-8 were replaced by �", path, line,
                    "save the file as UTF-8",
                )
            )  # fmt: skip
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        lines = text.split("\n")
        if lines and not lines[-1]:
            lines.pop()
        if "\0" in text:
            line = text.count("\n", 0, text.index("\0")) + 1
            diagnostics.append(Diagnostic("warning", "nul-byte", "the file holds NUL bytes", path, line, "remove them"))
        if len(lines) > MAX_LINES:
            raise TooLarge(f"{path} has {len(lines)} lines; at most {MAX_LINES} are read")
        if not name.endswith((".json", ".jsonl", ".ndjson")):
            for number, line_text in enumerate(lines, 1):
                if len(line_text) > MAX_LINE:
                    raise TooLarge(f"{path}:{number}: a line of {len(line_text)} characters; at most {MAX_LINE}")
        digest = hashlib.sha256(raw).hexdigest()
        return cls(path=path, name=name, raw=raw, text=text, lines=lines, sha256=digest, diagnostics=diagnostics)

    @property
    def source(self) -> Source:
        """Path and digest, for the plan's list of files."""
        return Source(path=self.path, sha256=self.sha256)

    def line(self, number: int) -> str:
        """The text of a line, counted from 1; empty outside the file."""
        return self.lines[number - 1] if 1 <= number <= len(self.lines) else ""

    def note(self, severity: Severity, code: str, message: str, line: int | None = None, hint: str = "") -> Diagnostic:
        """A diagnostic about this file (made, not stored)."""
        return Diagnostic(severity, code, message, self.path, line, hint)

    def tokens(self) -> list[Token]:
        """CommonMark block tokens with tables. Inline text is in ``content`` of inline tokens, not parsed further."""
        if self._tokens is None:
            parser = MarkdownIt("commonmark").enable("table").disable(["inline", "text_join"])
            start = self.front_matter_end
            blanked = "\n" * start + "\n".join(self.lines[start:])
            self._tokens = parser.parse(blanked)
        return self._tokens

    @property
    def front_matter_end(self) -> int:
        """How many lines the front matter takes, with both its marks; 0 when there is none."""
        return self._scan().front_matter

    def outside_fences(self) -> list[bool]:
        """For each line (index 0 is line 1): is it structure, so not in front matter, a fence or an HTML comment?"""
        return self._scan().mask

    def structure(self) -> list[tuple[int, str]]:
        """The lines that are structure, with their numbers."""
        mask = self._scan().mask
        return [(n, text) for n, text in enumerate(self.lines, 1) if mask[n - 1]]

    def fences(self) -> list[Fence]:
        """All fenced blocks in order."""
        return self._scan().fences

    def comments(self) -> list[Comment]:
        """All HTML comments that take at least one whole line, in order."""
        return self._scan().comments

    def suspicions(self, is_structure: Callable[[str], bool] | None = None) -> list[Diagnostic]:
        """Fences that seem to have swallowed real structure (FORMATS 2.2).

        Suspicious is a fence that never closes, or holds another opening fence of its own kind, and has a line at
        column 0 for which ``is_structure`` holds. By default any heading or check box counts.
        """
        matches = is_structure or (lambda text: _STRUCTURE.match(text) is not None)
        found = []
        for fence in self._scan().fences:
            if fence.closed and not self._reopens(fence):
                continue
            for number in range(fence.start + 1, fence.end + (not fence.closed)):
                text = self.line(number)
                if text and not text[0].isspace() and matches(text):
                    message = f"the code fence opened here swallows what looks like structure in line {number}"
                    hint = "close the fence, or use four backticks around text that holds three"
                    found.append(self.note("warning", "fence-swallows", message, fence.start, hint))
                    break
        return found

    def _reopens(self, fence: Fence) -> bool:
        opening = fence.marker[0] * 3
        for number in range(fence.start + 1, fence.end):
            text = self.line(number).lstrip()
            if text.startswith(opening) and text.strip(fence.marker[0] + " \t"):
                return True
        return False

    def _scan(self) -> _Layout:
        if self._layout is None:
            self._layout = _scan(self.lines)
        return self._layout


@dataclass(frozen=True, slots=True)
class _Layout:
    front_matter: int
    mask: list[bool]
    fences: list[Fence]
    comments: list[Comment]


def front_matter_length(lines: list[str]) -> int:
    """Lines of front matter: a first line ``---`` up to and with the next ``---``. Not closed: 0."""
    if not lines or lines[0].rstrip() != "---":
        return 0
    for index in range(1, len(lines)):
        if lines[index].rstrip() == "---":
            return index + 1
    return 0


def _scan(lines: list[str]) -> _Layout:
    """One pass over the lines. A comment hides fences and a fence hides comments, whichever opens first."""
    front = front_matter_length(lines)
    mask = [False] * front + [True] * (len(lines) - front)
    fences: list[Fence] = []
    comments: list[Comment] = []
    fence: tuple[int, str, str] | None = None
    comment = 0
    last_close = max((n for n, text in enumerate(lines, 1) if "-->" in text), default=0)
    for number in range(front + 1, len(lines) + 1):
        text = lines[number - 1]
        if fence is not None:
            mask[number - 1] = False
            if _closes(text, fence[1]):
                fences.append(Fence(fence[0], number, fence[1], fence[2], True))
                fence = None
            continue
        position = 0
        if comment:
            mask[number - 1] = False
            end = text.find("-->")
            if end < 0:
                continue
            comments.append(Comment(comment, number, True))
            comment, position = 0, end + 3
        else:
            opened = _opens(text)
            if opened:
                mask[number - 1] = False
                fence = (number, *opened)
                continue
        opened_at = _comments_in(text, position, number, mask, comments)
        # one in running text that never closes is no comment; one that stands alone hides the rest, as browsers do
        comment = opened_at if number < last_close or not mask[number - 1] else 0
    if fence is not None:
        fences.append(Fence(fence[0], len(lines), fence[1], fence[2], False))
    if comment:
        comments.append(Comment(comment, len(lines), False))
    return _Layout(front, mask, fences, comments)


def _opens(text: str) -> tuple[str, str] | None:
    if "```" not in text and "~~~" not in text:
        return None
    found = _FENCE.match(text)
    if found is None:
        return None
    marker, info = found.group(1), found.group(2).strip()
    if marker[0] == "`" and "`" in info:
        return None
    return marker, info


def _closes(text: str, marker: str) -> bool:
    stripped = text.strip().lstrip("> \t")
    return len(stripped) >= len(marker) and not stripped.strip(marker[0])


def _comments_in(text: str, position: int, number: int, mask: list[bool], comments: list[Comment]) -> int:
    """Handle the comments that begin in this line; the answer is the line number if one stays open."""
    if "<!--" not in text:
        return 0
    kept = []
    while True:
        start = text.find("<!--", position)
        if start < 0:
            kept.append(text[position:])
            break
        before = text[position:start]
        if before.count("`") % 2:  # inside inline code
            kept.append(text[position : start + 4])
            position = start + 4
            close = text.find("`", position)
            if close >= 0:
                kept.append(text[position : close + 1])
                position = close + 1
            continue
        kept.append(before)
        end = text.find("-->", start + 4)
        if end < 0:
            if not "".join(kept).strip():
                mask[number - 1] = False
            return number
        position = end + 3
    if not "".join(kept).strip():
        mask[number - 1] = False
        comments.append(Comment(number, number, True))
    return 0
