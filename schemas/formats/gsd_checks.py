"""One GSD plan file as read, and how its sentences become checks (FORMATS 1.2 and 4.3)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from schemas.formats.checks import is_command, unmask
from schemas.formats.document import Document
from schemas.formats.front_matter import FrontMatter
from schemas.formats.markings import box, criterion, machine_path
from schemas.formats.positions import scalar_text
from schemas.reading import Diagnostic, TaskRead
from schemas.values import Criterion

_ITEM = re.compile(r"([ \t]*)(?:[-*+•]|\d{1,3}[.)])[ \t]+(.*)$")


@dataclass(slots=True)
class PlanFile:
    """A plan as its file tells it."""

    id: str
    phase: str
    """The number of its phase, as written."""
    title: str
    document: Document
    front: FrontMatter
    tasks: list[TaskRead] = field(default_factory=list)
    depends: list[str] | None = None
    """As written; None: the file says nothing about it."""
    wave: int | None = None
    parallel: bool = False
    requirements: list[str] = field(default_factory=list)
    diagnostics: list[Diagnostic] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.diagnostics.extend(self.front.diagnostics)


def listed(value: object) -> list[str]:
    """A list of texts from a list, an inline text with commas, or nothing."""
    if isinstance(value, list):
        return [scalar_text(item) for item in value if isinstance(item, str | int | float)]
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return [scalar_text(value)] if isinstance(value, int | float) and not isinstance(value, bool) else []


def checked(plan: PlanFile, text: str, line: int, category: str) -> Criterion:
    """A criterion from words, with what is to be said about its command."""
    value = criterion(text, category=category)
    bare = text.strip().strip("`")
    return noted(plan, value, value.command or "", line, is_command(bare) and unmask(bare).masked)


def noted(plan: PlanFile, value: Criterion, command: str, line: int, masked: bool) -> Criterion:
    """Warn about commands that cannot fail and about paths of the author's machine."""
    if masked:
        if value.expect is not None:
            remedy = f"it passes only if it prints {value.expect} last"
        else:
            remedy = (
                "it is run with pipefail" if value.kind == "command" else "it proves nothing, so a person has to judge"
            )
        message = f"the command's exit code is 0 even when it fails; {remedy}"
        plan.diagnostics.append(
            plan.document.note("warning", "masked-exit", message, line, "let the command itself fail")
        )
    path = machine_path(command) if value.kind == "command" else None
    if path:
        message = f"the command holds a path of its author's machine: {path}"
        plan.diagnostics.append(
            plan.document.note("warning", "machine-path", message, line, "use paths relative to the repository")
        )
    return value


def items(text: str) -> list[str]:
    """The items of a list, boxes taken off and deeper lines joined; text without a list is one item."""
    found: list[str] = []
    base = -1
    loose: list[str] = []
    fence = ""
    for line in text.splitlines():
        bare = line.strip()
        if bare[:3] in ("```", "~~~"):
            fence = "" if fence else bare[:3]
            continue
        item = _ITEM.match(line) if not fence else None
        indent = len(item.group(1).expandtabs(4)) if item else 0
        if item and (base < 0 or indent <= base + 1):
            base = indent if base < 0 else min(base, indent)
            ticked = box(line)
            found.append(ticked.text if ticked else item.group(2).strip())
        elif bare and found:
            found[-1] += ("\n" if fence else " ") + bare
        elif bare:
            loose.append(bare)
    if found:
        return [part for part in found if part]
    if len(loose) > 1 and all(is_command(line) for line in loose):
        return loose
    return [" ".join(loose)] if loose else []
