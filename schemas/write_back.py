"""Marking progress in the author's own file (RE-3): one box, one status word, and not a byte more.

Pure: bytes in, bytes out. The caller re-reads the file just before and writes the answer. What the author changed
meanwhile is never overwritten: the line must still read as it did when the plan was read, else there is a Conflict.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_LINE_END = re.compile(rb"\r\n|\r|\n")
_BOM = b"\xef\xbb\xbf"
_TICKED = frozenset("xX")

_SCALAR = r"(?P<value>true|false|null|-?\d+|\"(?:[^\"\\]|\\.)*\"|'[^']*'|[^\s\"'#,\[\]{}&*!|>%@`][^#,\[\]{}]*?)"
_DONE = {
    "ralph": (("passes", "true"),),
    "taskmaster": (("status", "done"),),
    "backlog": (("status", "Done"),),
}
"""What a finished task says, by format: the key, and the word for it."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """The file no longer says what was read; nothing was changed."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class StatusPlace:
    """A line on which a task's status stands as one plain value."""

    line: int
    key: str
    expected_line: str
    word: str
    """What the value has to become."""


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
        return Conflict(line, f"line {line} was {_quoted(expected_line)} and is now {_quoted(text)}")
    if text[column] in _TICKED:
        return raw
    offset = _offset(body, column)
    width = body.index(b"]", offset) - offset
    return raw[: start + offset] + b"x" + raw[start + offset + width :]


def status_place(raw: bytes, *, format: str, line: int, last_line: int | None = None) -> StatusPlace | None:
    """Where the task that begins at ``line`` says how it stands, if one value can be replaced there safely.

    Looked for up to ``last_line`` (the line before the next task). None: another format, no such key as a plain
    value, or more than one on the line (a file written in one line), so that nothing may be touched.
    """
    for key, word in _DONE.get(format, ()):
        for number, text in _lines(raw, line, last_line):
            found = list(_pattern(key).finditer(text))
            if len(found) > 1:
                return None
            if found:
                return StatusPlace(number, key, text, word)
    return None


def set_status(raw: bytes, place: StatusPlace) -> bytes | Conflict:
    """Replace the one value at ``place`` by the word for done, with the quotes it had."""
    where = _place(raw, place.line)
    if where is None:
        return Conflict(place.line, f"the file has no line {place.line} any more")
    start, end = where
    body = raw[start:end]
    text = body.decode("utf-8", "replace")
    wanted = _replaced(place.expected_line, place)
    if wanted is None:
        return Conflict(place.line, f"the line that was read has no single value for {place.key}")
    if text == wanted:
        return raw
    if text != place.expected_line:
        return Conflict(place.line, f"line {place.line} was {_quoted(place.expected_line)} and is now {_quoted(text)}")
    found = list(re.finditer(_pattern(place.key).pattern.encode(), body, re.MULTILINE))
    if len(found) != 1:
        return Conflict(place.line, f"line {place.line} has no single value for {place.key}")
    old = found[0].group("value")
    return raw[: start + found[0].start("value")] + _dressed(old, place.word) + raw[start + found[0].end("value") :]


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


def _lines(raw: bytes, first: int, last: int | None) -> Iterable[tuple[int, str]]:
    body = raw[len(_BOM) :] if raw.startswith(_BOM) else raw
    for number, text in enumerate(_LINE_END.split(body), 1):
        if last is not None and number > last:
            return
        if number >= first:
            yield number, text.decode("utf-8", "replace")


def _offset(body: bytes, column: int) -> int:
    """The byte at which a character stands, also behind bytes that are not UTF-8."""
    for found in re.finditer(rb"\[", body):
        if len(body[: found.end()].decode("utf-8", "replace")) == column:
            return found.end()
    raise AssertionError("the caller has seen the bracket")


def _pattern(key: str) -> re.Pattern[str]:
    """``key: value`` or ``"key": value`` in one line, the value a plain scalar."""
    quoted = rf"\"{key}\"[ \t]*:[ \t]*{_SCALAR}(?=[ \t]*(?:[,}}\]]|$))"
    bare = rf"^(?:[ \t]*(?:-[ \t]+)?){key}[ \t]*:[ \t]+{_SCALAR.replace('?P<value>', '?:')}(?=[ \t]*(?:#|$))"
    del bare
    return re.compile(quoted, re.MULTILINE)


def _replaced(text: str, place: StatusPlace) -> str | None:
    found = list(_pattern(place.key).finditer(text))
    if len(found) != 1:
        return None
    new = _dressed(found[0].group("value").encode(), place.word).decode()
    return text[: found[0].start("value")] + new + text[found[0].end("value") :]


def _dressed(old: bytes, word: str) -> bytes:
    quote = old[:1] if old[:1] in (b'"', b"'") else b""
    return quote + word.encode() + quote


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _code(text: str) -> str:
    plain = _one_line(text).replace("`", "'")
    return f"`{plain}`"


def _quoted(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:59] + "…")
