"""Front matter: strictly as YAML first, then line by line, for real files break YAML (FORMATS 2.3)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from schemas.formats.document import Document
from schemas.formats.positions import Key, load_yaml, plain_scalar
from schemas.reading import Diagnostic

_KEY = re.compile(r"""(["']?)([^\s"':#\-][^:"']{0,80}?)\1[ \t]*:(?:[ \t]+(.*))?$""")
_ITEM = re.compile(r"-(?:[ \t]+(.*))?$")


@dataclass(slots=True)
class FrontMatter:
    """What stands between the first ``---`` and the next. Falsy when there is none."""

    data: dict[str, Any] = field(default_factory=dict)
    """Text such as ``01`` stays text; other numbers, true, false and null are values."""
    lines: dict[str, int] = field(default_factory=dict)
    """The line of each top key."""
    body: int = 1
    """The first line after it."""
    present: bool = False
    strict: bool = True
    """False: it was not YAML and was read line by line."""
    diagnostics: list[Diagnostic] = field(default_factory=list)
    paths: dict[Key, int] = field(default_factory=dict)
    """Deeper key paths and their lines, as far as known."""

    def __bool__(self) -> bool:
        return self.present


def read_front_matter(document: Document) -> FrontMatter:
    """Read a document's front matter. Never raises."""
    length = document.front_matter_end
    if not length:
        return FrontMatter()
    lines = document.lines[1 : length - 1]
    located = load_yaml("\n".join(lines) + "\n", file=document.path, first_line=2)
    result = FrontMatter(body=length + 1, present=True)
    if located.ok and isinstance(located.data, dict | None):
        result.data = located.data or {}
        result.paths = located.lines
        result.diagnostics.extend(located.diagnostics)
        result.lines = {str(path[0]): line for path, line in located.lines.items() if len(path) == 1}
        return result
    reason = located.diagnostics[-1] if located.diagnostics else None
    result.strict = False
    message = "the front matter is not valid YAML and was read line by line"
    if reason is not None:
        message += f" ({reason.message.removeprefix('this is not YAML: ')})"
    hint = "quote values that hold ': ' or backslashes"
    line = reason.line if reason else 1
    result.diagnostics.append(document.note("warning", "lenient-front-matter", message, line, hint))
    _lenient(lines, document, result)
    return result


@dataclass(slots=True)
class _Level:
    indent: int
    value: dict[str, Any] | list[Any]
    pending: str | None = None
    """The key whose value may follow on deeper lines."""


def _lenient(lines: list[str], document: Document, result: FrontMatter) -> None:
    """Keys, scalars, inline lists, dash lists and nested mappings by indentation; what else occurs is passed over."""
    stack = [_Level(0, result.data)]
    for number, raw in enumerate(lines, 2):
        text = raw.expandtabs(2)
        stripped = text.strip()
        if not stripped or stripped.startswith("#"):
            continue
        indent = len(text) - len(text.lstrip())
        item = _ITEM.match(stripped)
        while len(stack) > 1 and (
            indent < stack[-1].indent
            or (indent == stack[-1].indent and bool(item) != isinstance(stack[-1].value, list))
        ):
            stack.pop()
        if item:
            _lenient_item(stack, indent, item.group(1) or "")
            continue
        found = _KEY.match(stripped)
        if found is None:
            continue
        top = _mapping_at(stack, indent)
        key, value = found.group(2).strip(), (found.group(3) or "").strip()
        if len(stack) == 1:
            if key in top:
                message = f"the key {key[:60]!r} stands twice; the last one counts"
                result.diagnostics.append(document.note("warning", "duplicate-key", message, number))
            result.lines[key] = number
            result.paths[(key,)] = number
        top[key] = lenient_value(value)
        stack[-1].pending = None if value else key


def _mapping_at(stack: list[_Level], indent: int) -> dict[str, Any]:
    """The mapping that a key at this indentation belongs to; opens one below a key that waits for its value."""
    top = stack[-1]
    if isinstance(top.value, dict):
        if indent > top.indent and top.pending is not None and len(stack) < 20:
            opened: dict[str, Any] = {}
            top.value[top.pending] = opened
            top.pending = None
            stack.append(_Level(indent, opened))
            return opened
        return top.value
    if indent > top.indent and top.value and isinstance(top.value[-1], dict) and len(stack) < 20:
        stack.append(_Level(indent, top.value[-1]))
        return top.value[-1]
    while len(stack) > 1 and not isinstance(stack[-1].value, dict):
        stack.pop()
    bottom = stack[-1].value
    return bottom if isinstance(bottom, dict) else {}


def _lenient_item(stack: list[_Level], indent: int, text: str) -> None:
    top = stack[-1]
    if isinstance(top.value, dict):
        if top.pending is None or len(stack) >= 20:
            return
        opened: list[Any] = []
        top.value[top.pending] = opened
        top.pending = None
        top = _Level(indent, opened)
        stack.append(top)
    if not isinstance(top.value, list):
        return
    found = _KEY.match(text)
    if found and not text.startswith(('"', "'", "[", "{", "`")):
        entry: dict[str, Any] = {found.group(2).strip(): lenient_value((found.group(3) or "").strip())}
        top.value.append(entry)
    else:
        top.value.append(lenient_value(text.strip()))


def lenient_value(text: str) -> Any:
    """A scalar or inline list, quotes taken off and backslashes left alone; a comment after it is cut."""
    if text[:1] in ('"', "'"):
        end = text.rfind(text[0])
        return text[1:end] if end > 0 else text[1:]
    comment = text.find(" #")
    if comment >= 0:
        text = text[:comment].rstrip()
    if text.startswith("[") and text.endswith("]"):
        return [lenient_value(part) for part in split_outside_quotes(text[1:-1])]
    if text in ("{}", "|", ">", "|-", ">-"):
        return {} if text == "{}" else ""
    return plain_scalar(text)


def split_outside_quotes(text: str, separator: str = ",") -> list[str]:
    """Split at separators that are outside quotes; blank parts are left out."""
    parts: list[str] = []
    current: list[str] = []
    quote = ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character == separator:
            parts.append("".join(current).strip())
            current = []
            continue
        current.append(character)
    parts.append("".join(current).strip())
    return [part for part in parts if part]
