"""What a GSD plan says must hold afterwards: truths, artifacts, key links (FORMATS 1.2 and 4.3)."""

from __future__ import annotations

import re
from typing import Any

from schemas.formats.gsd_checks import PlanFile, checked, items, listed
from schemas.formats.markings import is_path, paths_in
from schemas.formats.positions import scalar_text
from schemas.values import Criterion

_HEADING = re.compile(r"(#{1,6})[ \t]+(.*?)[ \t#]*$")
_SECTIONS = {"truths": "truths", "artifacts": "artifacts", "key links": "key_links", "success criteria": "success"}


def must_haves(plan: PlanFile) -> list[Criterion]:
    """From front matter, or from a section of the body; one criterion for each entry, plus one for its exports."""
    given = plan.front.data.get("must_haves")
    if not isinstance(given, dict) or not given:
        return _from_body(plan)
    line = plan.front.lines.get("must_haves", 1)
    found = [checked(plan, text, line, "truths") for text in listed_texts(given.get("truths"))]
    for number, artifact in enumerate(_entries(given.get("artifacts"))):
        place = plan.front.paths.get(("must_haves", "artifacts", number), line)
        found.extend(_artifact(plan, artifact, place))
    for number, link in enumerate(_entries(given.get("key_links"))):
        place = plan.front.paths.get(("must_haves", "key_links", number), line)
        found.append(_link(plan, link, place))
    return found


def listed_texts(value: object) -> list[str]:
    """Texts of a list; a mapping among them (an unquoted colon) is put together again."""
    if isinstance(value, str):
        return [value]
    found = []
    for item in value if isinstance(value, list) else []:
        if isinstance(item, dict):
            found.append(", ".join(f"{key}: {scalar_text(part)}" for key, part in item.items()))
        elif isinstance(item, str | int | float):
            found.append(scalar_text(item))
    return found


def _entries(value: object) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for item in value if isinstance(value, list) else []:
        if isinstance(item, dict):
            found.append(item)
        elif isinstance(item, str):
            found.append({"path": item} if is_path(item) else {"text": item})
    return found


def _artifact(plan: PlanFile, entry: dict[str, Any], line: int) -> list[Criterion]:
    path = scalar_text(entry.get("path")).strip() if isinstance(entry.get("path"), str) else ""
    text = scalar_text(entry.get("provides") or entry.get("text") or entry.get("description") or path)
    if not path:
        return [checked(plan, text, line, "artifacts")]
    contains = listed(entry.get("contains"))
    literal = entry["contains"] if isinstance(entry.get("contains"), str) else None
    literal = contains[0] if len(contains) == 1 else literal
    lines = entry.get("min_lines")
    absent = entry.get("contains_not") or entry.get("not_contains")
    found = [
        Criterion(
            id="", kind="file", text=f"{path}: {text}" if text != path else path, category="artifacts", path=path,
            contains=literal,
            absent=pattern(plan, absent if isinstance(absent, str) else "|".join(map(re.escape, listed(absent))), line),
            min_lines=lines if isinstance(lines, int) and not isinstance(lines, bool) and lines >= 0 else None,
        )
    ]  # fmt: skip
    wanted = [*([] if literal else contains), *listed(entry.get("exports"))]
    if wanted:
        lookaheads = "".join(f"(?=.*?{re.escape(word)})" for word in wanted[:50])
        found.append(
            Criterion(
                id="", kind="regex", text=f"{path} has {', '.join(wanted)}", category="exports",
                pattern=rf"(?s)\A{lookaheads}", source=path,
            )
        )  # fmt: skip
    return found


def _link(plan: PlanFile, entry: dict[str, Any], line: int) -> Criterion:
    one, other = scalar_text(entry.get("from") or ""), scalar_text(entry.get("to") or "")
    via = scalar_text(entry.get("via") or entry.get("text") or "")
    text = f"{one} → {other}" + (f": {via}" if via else "") if one or other else via
    expression = pattern(plan, entry.get("pattern"), line)
    source = one if is_path(one) else ""
    if expression and source:
        return Criterion(id="", kind="regex", text=text, category="key_links", pattern=expression, source=source)
    return Criterion(id="", kind="manual", text=text, category="key_links")


def pattern(plan: PlanFile, value: object, line: int) -> str | None:
    """A regular expression that compiles; others are taken literally and reported."""
    if not isinstance(value, str) or not value:
        return None
    try:
        if len(value) > 1000:
            raise ValueError("longer than 1000 characters")
        re.compile(value)
    except (re.error, ValueError, RecursionError, OverflowError) as error:
        message = f"{value[:60]!r} is no regular expression ({error}); it is taken literally"
        plan.diagnostics.append(
            plan.document.note("warning", "bad-regex", message, line, "escape its special characters")
        )
        return re.escape(value[:1000])
    return value


def _from_body(plan: PlanFile) -> list[Criterion]:
    """Sections "Artifacts", "Key Links", "Truths" and "Success Criteria" below headings."""
    found: list[Criterion] = []
    category, start = "", 0
    body: list[str] = []

    def flush() -> None:
        if category:
            for text in items("\n".join(body)):
                paths = paths_in(text) if category == "artifacts" else []
                if paths:
                    found.extend(_artifact(plan, {"path": paths[0], "provides": text}, start))
                else:
                    found.append(checked(plan, text, start, category))

    for number, text in plan.document.structure():
        heading = _HEADING.match(text)
        if heading:
            flush()
            words = heading.group(2).partition("(")[0].strip(" *:").lower()
            category, start, body = _SECTIONS.get(words, ""), number, []
        elif category:
            body.append(text)
    flush()
    return found
