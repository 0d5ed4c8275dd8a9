"""JSON with positions: as :mod:`schemas.formats.positions`, with errors by line and column.

Comments, trailing commas and repeated keys are accepted, each with a diagnostic.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from json.decoder import scanstring  # type: ignore[attr-defined]

from schemas.formats.positions import Builder, Located, Stop, plain_scalar

_SPACE = re.compile(r"[ \t\r\n\ufeff]*")
_WORD = re.compile(r"[-+.0-9A-Za-z_$]{1,400}")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_HINT = "check commas, quotes and brackets just before this place"


def load_json(text: str, *, file: str, first_line: int = 1) -> Located:
    """Read one JSON value. Problems become diagnostics; after an error ``data`` is None."""
    reader = _Reader(text, file, first_line)
    try:
        reader.read()
    except Stop:
        reader.builder.result.data = None
    return reader.builder.result


class _Reader:
    def __init__(self, text: str, file: str, first_line: int) -> None:
        self.text = text
        self.first_line = first_line
        self.builder = Builder(file)
        self.starts = [0]
        self.starts.extend(found.end() for found in re.finditer("\n", text))
        self.comments = 0

    def line(self, offset: int) -> int:
        return bisect_right(self.starts, offset) - 1 + self.first_line

    def column(self, offset: int) -> int:
        return offset - self.starts[bisect_right(self.starts, offset) - 1] + 1

    def fail(self, offset: int, what: str) -> Stop:
        message = f"this is not JSON: {what} (column {self.column(offset)})"
        return self.builder.stop("bad-json", message, self.line(offset), _HINT)

    def skip(self, offset: int) -> int:
        """Over blanks and comments."""
        while True:
            offset = _SPACE.match(self.text, offset).end()  # type: ignore[union-attr]
            if self.text.startswith("//", offset):
                end = self.text.find("\n", offset)
                after = len(self.text) if end < 0 else end
            elif self.text.startswith("/*", offset):
                end = self.text.find("*/", offset + 2)
                if end < 0:
                    raise self.fail(offset, "a comment is never closed")
                after = end + 2
            else:
                return offset
            self.comments += 1
            if self.comments == 1:
                line = self.line(offset)
                self.builder.report("warning", "json-comment", "JSON has no comments; they are passed over", line)
            offset = after

    def read(self) -> None:
        """Value by value; ``ends`` holds the closing brackets that are owed."""
        builder, ends = self.builder, list[str]()
        offset = self.skip(0)
        if offset == len(self.text):
            raise self.fail(offset, "there is nothing in it")
        while True:
            offset, opened = self._value(offset, ends)
            if opened:
                closed = self.skip(offset)
                if not self.text.startswith(ends[-1], closed):
                    offset = self._key(closed) if ends[-1] == "}" else closed
                    continue
                offset = closed + 1
                ends.pop()
                builder.close()
            offset = self._after_value(offset, ends)
            if offset < 0:
                return

    def _after_value(self, offset: int, ends: list[str]) -> int:
        """Past commas and closing brackets to the next value; -1 at the end of everything."""
        while True:
            offset = self.skip(offset)
            if not ends:
                if offset < len(self.text):
                    raise self.fail(offset, "something follows the end of the value")
                return -1
            here = self.text[offset : offset + 1]
            if here == ends[-1]:
                ends.pop()
                self.builder.close()
                offset += 1
                continue
            if here != ",":
                found = f"found {here!r}" if here else "the text ends"
                raise self.fail(offset, f"expected ',' or {ends[-1]!r}, but {found}")
            comma, offset = offset, self.skip(offset + 1)
            if self.text.startswith(ends[-1], offset):
                line = self.line(comma)
                message = f"a comma before {ends[-1]!r} (column {self.column(comma)}) is passed over"
                self.builder.report("warning", "json-comma", message, line, "remove the comma")
                continue
            return self._key(offset) if ends[-1] == "}" else offset

    def _key(self, offset: int) -> int:
        if not self.text.startswith('"', offset):
            raise self.fail(offset, "expected a key in double quotes")
        name, end = self._string(offset)
        colon = self.skip(end)
        if not self.text.startswith(":", colon):
            raise self.fail(colon, f"expected ':' after the key {name[:40]!r}")
        self.builder.key(name, self.line(offset))
        return self.skip(colon + 1)

    def _value(self, offset: int, ends: list[str]) -> tuple[int, bool]:
        here = self.text[offset : offset + 1]
        line = self.line(offset)
        if here in ("{", "["):
            self.builder.open({} if here == "{" else [], line)
            ends.append("}" if here == "{" else "]")
            return offset + 1, True
        if here == '"':
            text, end = self._string(offset)
            self.builder.scalar(text, line)
            return end, False
        found = _WORD.match(self.text, offset)
        word = found.group() if found else here
        if word in ("true", "false", "null"):
            self.builder.scalar({"true": True, "false": False, "null": None}[word], line)
        elif _NUMBER.fullmatch(word):
            self.builder.scalar(plain_scalar(word), line)
        else:
            raise self.fail(offset, f"expected a value, but found {word[:20]!r}" if word else "the text ends too soon")
        return offset + len(word), False

    def _string(self, offset: int) -> tuple[str, int]:
        try:
            text, end = scanstring(self.text, offset + 1, False)
        except ValueError as error:
            reason = str(error).partition(":")[0].lower()
            raise self.fail(getattr(error, "pos", offset), f"a text is broken: {reason}") from None
        if not text.isascii():
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return str(text), int(end)
