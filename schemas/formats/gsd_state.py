"""GSD STATE.md and REQUIREMENTS.md: compared with the roadmap, never a source of state (FORMATS 4.4)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from schemas.formats.document import Document
from schemas.formats.front_matter import read_front_matter
from schemas.formats.gsd_parts import normal
from schemas.formats.markings import boxes
from schemas.reading import Diagnostic
from schemas.values import SourceStatus

REQUIREMENT = r"[A-Z][A-Z0-9]*(?:-[A-Z][A-Z0-9]*)*-\d{1,4}[a-z]?"
_REQUIREMENT = re.compile(rf"(?:\*\*|`)?({REQUIREMENT})(?:\*\*|`)?[ \t]*(?:\*\*)?(?::|[-–—]+)(?:\*\*)?[ \t]*(.*)$")
_RANGE = re.compile(
    rf"({REQUIREMENT})[ \t]*(?:\.\.\.?|…|–|—|[ \t]to[ \t]|[ \t]through[ \t]|-)"
    r"[ \t]*(?:([A-Z][A-Z0-9-]*-)?(\d{1,4}))(?![\d-])"
)
_POSITION = re.compile(r"^[ \t*]*Phase[*:]*:?[ \t*]*(\d[\d.]*)[ \t]+of[ \t]+(\d+)", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Requirement:
    """A requirement with its box."""

    id: str
    text: str
    line: int
    status: SourceStatus


def requirements(document: Document) -> list[Requirement]:
    """Requirements with a box; later versions' items have none and are not part of the work."""
    found = []
    for ticked in boxes(document):
        match = _REQUIREMENT.match(ticked.text)
        if match:
            found.append(Requirement(match.group(1), match.group(2).strip(), ticked.line, ticked.status))
    return found


def requirement_ids(text: str) -> list[str]:
    """Requirement ids in a list, ranges such as ``EXIST-01 through EXIST-12`` or ``EXTRACT-01..07`` written out."""
    found: dict[str, None] = {}
    position = 0
    while position <= len(text):
        span = _RANGE.search(text, position)
        end = span.start() if span else len(text)
        for name in re.findall(REQUIREMENT, text[position:end]):
            found[name] = None
        if span is None:
            break
        head, digits = re.fullmatch(r"(.*?)(\d+)[a-z]?", span.group(1)).groups()  # type: ignore[union-attr]
        low, high = int(digits), int(span.group(3))
        for number in range(low, min(high, low + 500) + 1):
            found[f"{head}{number:0{len(digits)}d}"] = None
        position = span.end()
    return list(found)


def disagreements(
    document: Document, *, phases: int, done_phases: int, plans: int, done_plans: int
) -> list[Diagnostic]:
    """Where STATE.md tells other counts than the roadmap. Percentages are never looked at."""
    front = read_front_matter(document)
    progress = front.data.get("progress")
    found = []
    if isinstance(progress, dict):
        counted = {
            "total_phases": phases,
            "completed_phases": done_phases,
            "total_plans": plans,
            "completed_plans": done_plans,
        }
        for key, real in counted.items():
            told = progress.get(key)
            if isinstance(told, int) and not isinstance(told, bool) and told != real:
                message = (
                    f"STATE.md says {key.replace('_', ' ')}: {told}, but the roadmap has {real}; the roadmap counts"
                )
                line = front.paths.get(("progress", key), front.lines.get("progress"))
                found.append(document.note("warning", "state-disagrees", message, line, "bring STATE.md up to date"))
    position = _POSITION.search(document.text)
    if position and phases and int(position.group(2)) != phases:
        line = document.text.count("\n", 0, position.start()) + 1
        message = f"STATE.md says {position.group(2)} phases, but the roadmap has {phases}; the roadmap counts"
        found.append(document.note("warning", "state-disagrees", message, line, "bring STATE.md up to date"))
    return found


def uncovered(document: Document, named: dict[str, list[str]]) -> list[Diagnostic]:
    """Requirements in no phase, and phases that name requirements which are not there."""
    known = {requirement.id: requirement for requirement in requirements(document)}
    wanted = {name for names in named.values() for name in names}
    found = []
    if wanted:
        for requirement in known.values():
            if requirement.id not in wanted and requirement.status != "completed":
                message = f"the requirement {requirement.id} is in no phase"
                found.append(document.note("warning", "requirement-in-no-phase", message, requirement.line, "plan it"))
    text = document.text
    for phase, names in named.items():
        missing = [name for name in names if name not in known and name not in text]
        if missing and known:
            message = f"phase {phase} names {', '.join(missing[:10])}, which REQUIREMENTS.md does not have"
            found.append(document.note("info", "unknown-requirement", message, None))
    return found


def same_phase(one: str, other: str) -> bool:
    """Two spellings of a phase's number."""
    return normal(one) == normal(other)
