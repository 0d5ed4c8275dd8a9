"""Marking progress in the author's own file (RE-3): one box, one status word, and not a byte more.

Pure: bytes in, bytes out. The caller re-reads the file just before and writes the answer. What the author changed
meanwhile is never overwritten: the line must still read as it did when the plan was read, else there is a Conflict.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from schemas.formats.document import Document, TooLarge
from schemas.formats.positions_json import load_json

_LINE_END = re.compile(rb"\r\n|\r|\n")
_BOM = b"\xef\xbb\xbf"
_TICKED = frozenset("xX")

_JSON = r"\"{key}\"[ \t]*:[ \t]*(?P<value>true|false|null|\"(?:[^\"\\]|\\.)*\")(?=[ \t]*(?:[,}}\]]|$))"
_YAML = r"^{key}[ \t]*:[ \t]+(?P<value>\"[^\"]*\"|'[^']*'|[^ \t\"'#\[{{&*!|>%@`][^#]*?)(?=[ \t]*(?:#|$))"
_FORMATS = {
    "ralph": ("passes", "true", _JSON),
    "taskmaster": ("status", "done", _JSON),
    "backlog": ("status", "Done", _YAML),
}
"""What a finished task says, by format: the key, the word for it, and how the two stand in a line."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """The file no longer says what was read; nothing was changed."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class StatusPlace:
    """A line on which a task's state stands as one plain value."""

    line: int
    expected_line: str
    format: str


def tick(raw: bytes, *, line: int, column: int, expected_line: str) -> bytes | Conflict:
    """Tick the box whose mark stands at ``column`` (characters, from 0) of ``line`` (from 1).

    Exactly that character becomes ``x``; line ends, byte order mark and broken bytes stay. A box that is already
    ticked in a line that is otherwise as expected is left alone: ticking twice is the same as once.
    """
    place = _place(raw, line)
    if place is None:
        return Conflict(line, f"the file has no line {line} any more")
    start, end = place
    body = raw[start:end]
    text = body.decode("utf-8", "replace")
    if not 0 < column < len(expected_line) - 1 or expected_line[column - 1] + expected_line[column + 1] != "[]":
        return Conflict(line, f"no check box stands at column {column} of the line that was read")
    if text != expected_line:
        same = len(text) == len(expected_line) and text[:column] + text[column + 1 :] == (
            expected_line[:column] + expected_line[column + 1 :]
        )
        if same and text[column] in _TICKED:
            return raw
        return Conflict(line, _differs(line, expected_line, text))
    if text[column] in _TICKED:
        return raw
    offset = _offset(body, column)
    width = body.index(b"]", offset) - offset
    return raw[: start + offset] + b"x" + raw[start + offset + width :]


def status_place(raw: bytes, *, format: str, line: int) -> StatusPlace | None:
    """Where the task that begins at ``line`` says how it stands, if one value can be replaced there safely.

    None: another format, no such value, or more than one on its line (a file written in one line): nothing may be
    touched.
    """
    if format not in _FORMATS:
        return None
    try:
        document = Document.of("plan.md" if format == "backlog" else "plan.json", raw)
    except TooLarge:
        return None
    key = _FORMATS[format][0]
    number = _front_matter_line(document, key) if format == "backlog" else _json_line(document, key, line)
    if number is None:
        return None
    text = document.line(number)
    return StatusPlace(number, text, format) if len(list(_pattern(format).finditer(text))) == 1 else None


def set_status(raw: bytes, place: StatusPlace) -> bytes | Conflict:
    """Replace the one value at ``place`` by the word for done, with the quotes it had.

    Done already, in a line that is otherwise as expected: the bytes as they are.
    """
    where = _place(raw, place.line)
    if where is None:
        return Conflict(place.line, f"the file has no line {place.line} any more")
    start, end = where
    text = raw[start:end].decode("utf-8", "replace")
    wanted = _done(place.expected_line.encode("utf-8", "surrogatepass"), place.format)
    if wanted is None:
        return Conflict(place.line, "the line that was read holds no single state")
    if text == wanted.decode("utf-8", "replace"):
        return raw
    changed = _done(raw[start:end], place.format)
    if text != place.expected_line or changed is None:
        return Conflict(place.line, _differs(place.line, place.expected_line, text))
    return raw[:start] + changed + raw[end:]


def outcome_section(
    *,
    task: str,
    title: str,
    outcome: str,
    commit: str | None = None,
    evidence: Iterable[str] = (),
    duration: float | None = None,
    attempts: int | None = None,
    note: str = "",
) -> str:
    """The section of ``task_outcomes.md`` for one task. ``duration`` in seconds. Ends with a line feed.

    Everything is kept on its own line, so that no text of a plan or of an agent can pose as a section.
    """
    lines = [f"## {_one_line(f'{task} {title}')}", "", f"- Outcome: {_one_line(outcome)}"]
    if commit:
        lines.append(f"- Commit: {_code(commit)}")
    if duration is not None:
        lines.append(f"- Duration: {spoken_duration(duration)}")
    if attempts is not None:
        lines.append(f"- Attempts: {attempts}")
    if note.strip():
        lines.append(f"- Note: {_one_line(note)}")
    proofs = [_one_line(item) for item in evidence if item.strip()]
    lines += ["- Evidence:", *(f"  - {item}" for item in proofs)] if proofs else ["- Evidence: none"]
    return "\n".join(lines) + "\n"


def spoken_duration(seconds: float) -> str:
    """``75`` is ``1 min 15 s``; the smallest part is dropped from an hour on."""
    whole = round(max(seconds, 0.0))
    if 0 < seconds < 1:
        return f"{seconds:.1f} s"
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    if hours:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    if minutes:
        return f"{minutes} min {left} s" if left else f"{minutes} min"
    return f"{left} s"


def _place(raw: bytes, line: int) -> tuple[int, int] | None:
    """Start and end of a line, without its line end and the byte order mark."""
    start = len(_BOM) if raw.startswith(_BOM) else 0
    number = 1
    for end in _LINE_END.finditer(raw, start):
        if number == line:
            return start, end.start()
        start, number = end.end(), number + 1
    return (start, len(raw)) if number == line and start < len(raw) else None


def _json_line(document: Document, key: str, line: int) -> int | None:
    """The line of a key of the one object that begins at ``line``."""
    located = load_json(document.text, file=document.path)
    found: list[int] = []
    for path, number in located.lines.items() if located.ok else ():
        value = located.data
        for step in path if number == line else ():
            value = value[step]
        if number == line and isinstance(value, dict) and key in value and (*path, key) in located.lines:
            found.append(located.lines[(*path, key)])
    return found[0] if len(found) == 1 else None


def _front_matter_line(document: Document, key: str) -> int | None:
    front = range(2, document.front_matter_end)
    found = [number for number in front if re.match(rf"{key}[ \t]*:", document.line(number))]
    return found[0] if len(found) == 1 else None


def _offset(body: bytes, column: int) -> int:
    """The byte at which a character stands, also behind bytes that are not UTF-8."""
    try:
        return len(body.decode("utf-8")[:column].encode("utf-8"))
    except UnicodeDecodeError:
        ends = (found.end() for found in re.finditer(rb"\[", body))
        return next(end for end in ends if len(body[:end].decode("utf-8", "replace")) == column)


def _pattern(format: str) -> re.Pattern[str]:
    key, _, form = _FORMATS[format]
    return re.compile(form.format(key=key))


def _done(body: bytes, format: str) -> bytes | None:
    """The line with the word for done, in the quotes that the value had; None if it holds no single value."""
    found = list(re.finditer(_pattern(format).pattern.encode(), body))
    if len(found) != 1:
        return None
    old, word = found[0].group("value"), _FORMATS[format][1].encode()
    quote = old[:1] if old[:1] in (b'"', b"'") else b""
    return body[: found[0].start("value")] + quote + word + quote + body[found[0].end("value") :]


def _differs(line: int, expected: str, text: str) -> str:
    return f"line {line} was {_quoted(expected)} and is now {_quoted(text)}"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _code(text: str) -> str:
    plain = _one_line(text).replace("`", "'")
    return f"`{plain}`"


def _quoted(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:59] + "…")
