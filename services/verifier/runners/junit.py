"""Read JUnit XML that may come from a hostile task: no document type, hence no entities; bounded size, depth and count.

The attributes of suites are not believed; the test cases are counted.
"""

from __future__ import annotations

import re
from typing import Literal
from xml.parsers import expat

from services.verifier.runners.report import MAX_TEXT, BadReport, Case

MAX_BYTES = 32 * 1024 * 1024
MAX_DEPTH = 64
MAX_CASES = 200_000

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_Bad = ("failure", "error")


class _Reader:
    def __init__(self) -> None:
        self.cases: list[Case] = []
        self.depth = 0
        self.root = ""
        self.name: str | None = None
        self.seconds = 0.0
        self.outcome: Literal["passed", "failed", "skipped"] = "passed"
        self.error = ""
        self.text: list[str] | None = None
        self.length = 0
        self.stack = ""

    def doctype(self, *_: object) -> None:
        raise BadReport("it declares a document type, which no runner does")

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self.depth += 1
        self.root = self.root or tag
        if self.depth > MAX_DEPTH:
            raise BadReport(f"it is nested more than {MAX_DEPTH} deep")
        if tag == "testcase":
            where = attributes.get("file") or attributes.get("classname") or ""
            name = attributes.get("name", "")
            self.name = f"{where}::{name}" if where and where != "test" else name
            self.seconds = _seconds(attributes.get("time", ""))
            self.outcome, self.error, self.stack, self.length = "passed", "", "", 0
        elif self.name is not None and tag in _Bad:
            self.outcome = "failed"
            self.error = self.error or attributes.get("message", "")[:MAX_TEXT]
            self.text = []
        elif self.name is not None and tag == "skipped" and self.outcome == "passed":
            self.outcome = "skipped"

    def data(self, text: str) -> None:
        if self.text is not None and self.length < MAX_TEXT:
            self.text.append(text[: MAX_TEXT - self.length])
            self.length += len(text)

    def end(self, tag: str) -> None:
        self.depth -= 1
        if tag in _Bad and self.text is not None:
            self.stack = self.stack or _COLOUR.sub("", "".join(self.text)).strip()
            self.text = None
        elif tag == "testcase" and self.name is not None:
            if len(self.cases) >= MAX_CASES:
                raise BadReport(f"it holds more than {MAX_CASES} tests")
            self.cases.append(
                Case(
                    name=self.name[:500], outcome=self.outcome, error=self.error or self.stack[:500],
                    stack=self.stack, seconds=self.seconds,
                )
            )  # fmt: skip
            self.name = None


def read_junit(raw: bytes) -> tuple[Case, ...]:
    """The test cases of a report. Raises BadReport."""
    if len(raw) > MAX_BYTES:
        raise BadReport(f"it is larger than {MAX_BYTES // 1024**2} MiB")
    reader, parser = _Reader(), expat.ParserCreate()
    parser.StartDoctypeDeclHandler = reader.doctype
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.data
    try:
        parser.Parse(raw, True)
    except (expat.ExpatError, LookupError, ValueError) as error:
        raise error if isinstance(error, BadReport) else BadReport(f"it is no XML: {error}") from error
    if reader.root not in ("testsuites", "testsuite"):
        raise BadReport(f"its root is {reader.root!r}, not testsuites")
    return tuple(reader.cases)


def _seconds(text: str) -> float:
    try:
        found = float(text.replace(",", ""))
    except ValueError:
        return 0.0
    return found if 0 <= found < 1e9 else 0.0
