"""YAML and JSON as plain data, with the line of every key and item.

Both readers work on a stack of their own, so that nesting cannot exhaust Python's, and stop at fixed limits.
Scalars follow the YAML 1.2 core schema, narrowed: only ``true``, ``false``, ``null``, decimal integers without
leading zeros and decimal fractions are anything but text. ``01``, ``yes``, ``1:30``, ``1e5`` and dates stay text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from schemas.reading import Diagnostic, Severity

MAX_DEPTH = 100
MAX_NODES = 2_000_000
"""Values after aliases are expanded: what a traversal would meet."""
MAX_ALIASES = 10_000

Key = tuple[str | int, ...]

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_FRACTION = re.compile(r"-?(?:0|[1-9][0-9]{0,17})\.[0-9]{1,30}")
_TAG = "tag:yaml.org,2002:"
_KNOWN_TAGS = frozenset(_TAG + name for name in ("str", "int", "float", "bool", "null", "map", "seq", "timestamp"))


class Written(float):
    """A fraction that remembers how it was written, for ``2.10`` may be an id."""

    text: str

    def __new__(cls, text: str) -> Written:
        made = super().__new__(cls, text)
        made.text = text
        return made

    def __reduce__(self) -> tuple[type[Written], tuple[str]]:
        return (Written, (self.text,))


def scalar_text(value: object) -> str:
    """A scalar as the author wrote it; the empty text for null."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.text if isinstance(value, Written) else str(value)


def plain_scalar(text: str) -> str | int | float | bool | None:
    """The value of an unquoted scalar."""
    if text in ("true", "True", "TRUE"):
        return True
    if text in ("false", "False", "FALSE"):
        return False
    if text in ("", "~", "null", "Null", "NULL"):
        return None
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FRACTION.fullmatch(text):
        return Written(text)
    return text


@dataclass(slots=True)
class Located:
    """Plain data and where it stands."""

    data: Any
    lines: dict[Key, int] = field(default_factory=dict)
    """Key path to line. A mapping's entry stands where its key stands."""
    diagnostics: list[Diagnostic] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Nothing forbids using the data."""
        return not any(d.severity == "error" for d in self.diagnostics)

    def line(self, path: Key) -> int | None:
        """The line of a path, or of its nearest ancestor that has one."""
        for length in range(len(path), -1, -1):
            found = self.lines.get(path[:length])
            if found is not None:
                return found
        return None


class Stop(Exception):
    """Reading cannot go on; the reason is already among the diagnostics."""


@dataclass(slots=True)
class _Open:
    value: dict[str, Any] | list[Any]
    path: Key
    line: int
    anchor: str | None = None
    key: str | None = None
    key_line: int = 0
    merge: bool = False
    size: int = 1
    defaults: list[dict[str, Any]] = field(default_factory=list)


class Builder:
    """Builds data from a stream of events, counting nodes and depth and noting lines."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.result = Located(None)
        self.stack: list[_Open] = []
        self.nodes = 0
        self.aliases = 0
        self.anchors: dict[str, tuple[Any, int]] = {}
        self.pending: set[str] = set()

    def report(self, severity: Severity, code: str, message: str, line: int, hint: str = "") -> None:
        """Add a diagnostic."""
        self.result.diagnostics.append(Diagnostic(severity, code, message, self.file, line, hint))

    def stop(self, code: str, message: str, line: int, hint: str = "") -> Stop:
        """An error after which nothing can be read."""
        self.report("error", code, message, line, hint)
        self.result.data = None
        return Stop(message)

    def awaits_key(self) -> bool:
        """The innermost open thing is a mapping between entries."""
        return bool(self.stack) and isinstance(self.stack[-1].value, dict) and self.stack[-1].key is None

    def key(self, text: str, line: int, *, merge: bool = False) -> None:
        """A mapping's key; its value comes next."""
        top = self.stack[-1]
        top.key, top.key_line, top.merge = text, line, merge

    def open(self, value: dict[str, Any] | list[Any], line: int, anchor: str | None = None) -> None:
        """A mapping or list begins."""
        if len(self.stack) >= MAX_DEPTH:
            raise self.stop("too-deep", f"more than {MAX_DEPTH} levels of nesting", line)
        path = self._path(line)
        if anchor:
            self.pending.add(anchor)
        self.stack.append(_Open(value, path, line, anchor))

    def close(self) -> None:
        """The innermost mapping or list ends."""
        done = self.stack.pop()
        if isinstance(done.value, dict):
            for defaults in done.defaults:
                for name, value in defaults.items():
                    done.value.setdefault(name, value)
        if done.anchor:
            self.pending.discard(done.anchor)
            self.anchors[done.anchor] = (done.value, done.size)
        self._put(done.value, done.line, done.size)

    def scalar(self, value: object, line: int, anchor: str | None = None) -> None:
        """A value that holds nothing else."""
        self._path(line)
        if anchor:
            self.anchors[anchor] = (value, 1)
        self._put(value, line, 1)

    def alias(self, anchor: str, line: int) -> None:
        """The value of an anchor once more."""
        self.aliases += 1
        if anchor in self.pending:
            raise self.stop("alias-loop", f"*{anchor} stands inside what it refers to", line)
        if self.aliases > MAX_ALIASES:
            raise self.stop("too-many-aliases", f"more than {MAX_ALIASES} aliases", line)
        if anchor not in self.anchors:
            raise self.stop("unknown-alias", f"*{anchor} refers to nothing above it", line)
        value, size = self.anchors[anchor]
        self._path(line)
        self._put(value, line, size, cost=size)

    def _path(self, line: int) -> Key:
        path: Key = ()
        if self.stack:
            top = self.stack[-1]
            if isinstance(top.value, dict):
                path, line = (*top.path, top.key or ""), top.key_line
            else:
                path = (*top.path, len(top.value))
        if len(path) <= 8:
            self.result.lines[path] = line
        return path

    def _put(self, value: Any, line: int, size: int, cost: int = 1) -> None:
        self.nodes += cost
        if self.nodes > MAX_NODES:
            raise self.stop("too-big", f"more than {MAX_NODES} values", line)
        if not self.stack:
            self.result.data = value
            return
        top = self.stack[-1]
        top.size += size
        if isinstance(top.value, list):
            top.value.append(value)
            return
        key, top.key = top.key or "", None
        if top.merge:
            top.merge = False
            wanted = value if isinstance(value, list) else [value]
            top.defaults.extend(item for item in wanted if isinstance(item, dict))
            return
        if key in top.value:
            message = f"the key {key[:60]!r} stands twice; the last one counts"
            self.report("warning", "duplicate-key", message, top.key_line, "keep one of them")
        top.value[key] = value


def load_yaml(text: str, *, file: str, first_line: int = 1) -> Located:
    """Read one YAML document. Problems become diagnostics; after an error ``data`` is None."""
    builder = Builder(file)
    try:
        _yaml_events(text, builder, first_line)
    except Stop:
        builder.result.data = None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = first_line + mark.line if mark else first_line
        where = f" (column {mark.column + 1})" if mark else ""
        problem = " ".join(part for part in (error.context, error.problem) if part)
        hint = "quote text that holds ': ', '#', quotes or brackets; indent with spaces, not tabs"
        builder.stop("bad-yaml", f"this is not YAML: {problem}{where}", line, hint)
    except yaml.YAMLError as error:
        builder.stop("bad-yaml", f"this is not YAML: {' '.join(str(error).split())[:200]}", first_line)
    except (ValueError, RecursionError) as error:
        builder.stop("bad-yaml", f"this is not YAML: {error}", first_line)
    return builder.result


_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _yaml_events(text: str, builder: Builder, first_line: int) -> None:
    documents = 0
    for event in yaml.parse(text, Loader=_Loader):
        line = first_line + event.start_mark.line  # type: ignore[union-attr]
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                builder.report("warning", "more-documents", "only the first YAML document is read", line)
                return
        elif isinstance(event, yaml.AliasEvent):
            if builder.awaits_key():
                raise builder.stop("bad-key", "an alias cannot be a key", line)
            builder.alias(event.anchor or "", line)
        elif isinstance(event, yaml.ScalarEvent):
            _yaml_scalar(event, builder, line)
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            if builder.awaits_key():
                raise builder.stop("bad-key", "a key must be plain text", line, "quote it, or name it")
            _check_tag(event.tag, builder, line)
            builder.open({} if isinstance(event, yaml.MappingStartEvent) else [], line, event.anchor)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            builder.close()


def _yaml_scalar(event: yaml.ScalarEvent, builder: Builder, line: int) -> None:
    _check_tag(event.tag, builder, line)
    plain = event.style in (None, "") and event.tag is None
    if builder.awaits_key():
        builder.key(event.value, line, merge=plain and event.value == "<<")
        return
    builder.scalar(plain_scalar(event.value) if plain else event.value, line, event.anchor)


def _check_tag(tag: str | None, builder: Builder, line: int) -> None:
    if tag is not None and tag not in _KNOWN_TAGS and tag != "!":
        short = tag.removeprefix(_TAG)
        raise builder.stop("bad-tag", f"the tag {short[:60]!r} is not allowed in a plan", line, "write plain values")
