"""Words and values of GSD files: phase and plan ids, titles with marks, and what a roadmap says (FORMATS 4)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from schemas.formats.markings import Box, status_emoji, status_of
from schemas.values import SourceStatus

PHASE_ID = r"(?:[A-Za-z][A-Za-z0-9]{0,11}-)?\d{1,5}(?:\.\d{1,4}){0,3}[A-Za-z]?"
PLAN_ID = rf"{PHASE_ID}-\d{{1,4}}[a-z]?"

_PHASE = re.compile(
    rf"[^\w\n#|]{{0,12}}(?:\[[ xX~]\][ \t]*)?(?:\*\*)?Phase[ \t]+({PHASE_ID})(?:\*\*)?(.*)$", re.IGNORECASE
)
_SEPARATED = re.compile(r"[ \t]*(?::|：|[ \t]-{1,2}[ \t]|[ \t]?[–—][ \t]?)[ \t]*")
_END_MARK = re.compile(
    r"[ \t]*(?:[-–—]+[ \t]*)?[\[(]?\b(complete[d]?|done|shipped|in progress|planned|not started|deferred|skipped|"
    r"blocked|pending|inserted)\b(?:[ \t]+(?:on[ \t]+)?\d{4}-\d\d-\d\d)?[\])]?[ \t]*$",
    re.IGNORECASE,
)
_DASHED_OR_BRACKETED = re.compile(r"[-–—\[(]")
_COUNT = re.compile(r"[ \t]*\((?:\d+|\?|TBD)/(?:\d+|\?|TBD)(?: plans?)?(?: complete)?\)", re.IGNORECASE)


@dataclass(slots=True)
class PlanLine:
    """A plan as a phase lists it."""

    id: str
    title: str
    line: int
    box: Box | None
    wave: int | None = None
    depends: list[str] | None = None
    """References written in a wave list; None: nothing is written."""


@dataclass(slots=True)
class RoadmapPhase:
    """One phase, from its checklist line and its section."""

    id: str
    title: str = ""
    line: int = 0
    heading: int | None = None
    check: Box | None = None
    check_status: SourceStatus | None = None
    goal: str = ""
    summary: str = ""
    mark: SourceStatus | None = None
    """From the heading or the Status line."""
    table: SourceStatus | None = None
    depends: list[tuple[str, int]] = field(default_factory=list)
    """Clauses with their lines."""
    free: bool = False
    """It is said that it depends on nothing."""
    requirements: str = ""
    criteria: list[tuple[str, int]] = field(default_factory=list)
    plans: list[PlanLine] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Roadmap:
    """The whole file."""

    title: str = ""
    phases: dict[str, RoadmapPhase] = field(default_factory=dict)
    """By normalised id, in the order of the file."""
    headings: list[str] = field(default_factory=list)
    checklist: list[str] = field(default_factory=list)
    repeated: list[tuple[str, int]] = field(default_factory=list)
    """Headings of a phase that already had one."""
    order: list[str] = field(default_factory=list)
    """Ids in an "Execution Order" chain."""


def normal(name: str) -> str:
    """A phase or plan id for comparing: without leading zeros in any part, upper case."""
    return re.sub(r"(?<![\d.])0+(?=\d)|(?<=\.)0+(?=[1-9])", "", name).upper()


def phase_in(text: str) -> tuple[str, str] | None:
    """The phase that a heading or list line is about: id and what follows the separator."""
    found = _PHASE.match(text)
    if found is None:
        return None
    rest = found.group(2)
    separator = _SEPARATED.match(rest)
    if separator:
        return found.group(1), rest[separator.end() :]
    bare = rest.strip(" \t*")
    if bare.startswith("("):
        _, closed, after = bare.partition(")")
        separator = _SEPARATED.match(after)
        return (found.group(1), after[separator.end() :]) if closed and separator else (found.group(1), bare)
    if not bare or status_emoji(bare[:2]):
        return found.group(1), bare
    return None


def title_and_mark(text: str) -> tuple[str, SourceStatus | None]:
    """A title without the marks at its end, and the state they tell. The title itself stays as it is."""
    title, mark = text.strip().replace("**", ""), status_emoji(text[:3])
    while True:
        shorter = _COUNT.sub("", title).rstrip()
        while shorter and (emoji := status_emoji(shorter.rstrip("\ufe0f ")[-1:])):
            mark = mark or emoji
            shorter = shorter.rstrip("\ufe0f ")[:-1].rstrip(" -–—")
        ending = _END_MARK.search(shorter[-60:])
        if (
            ending
            and (_DASHED_OR_BRACKETED.search(ending.group()) or ending.group(1).isupper())
            and len(ending.group()) < len(shorter)
        ):
            mark = mark or status_of(ending.group(1))
            shorter = shorter[: len(shorter) - len(ending.group())].rstrip()
        if shorter == title:
            return title, mark
        title = shorter
