"""GSD ROADMAP.md: what it says, phase by phase (FORMATS 4.2). Assembling tasks from it is done in :mod:`gsd`."""

from __future__ import annotations

import re

from schemas.formats.document import Document
from schemas.formats.gsd_parts import (
    PHASE_ID,
    PLAN_ID,
    PlanLine,
    Roadmap,
    RoadmapPhase,
    normal,
    phase_in,
    title_and_mark,
)
from schemas.formats.markings import Box, box, dependency_clauses, natural_key, plain_title, status_emoji, status_of
from schemas.values import SourceStatus

_HEADING = re.compile(r"(#{1,6})[ \t]+(.*?)[ \t#]*$")
_LABEL = re.compile(
    r"[ \t]*(?:[-*][ \t]+)?(?:\*\*([^*:\n]{2,60})(?::\*\*|\*\*[ \t]*(?:\([^()\n]{0,80}\))?[ \t]*:)|"
    r"(Plans|Goal|Depends on|Dependencies|Status|Requirements|Success Criteria|Mode)[ \t]*(?:\([^()\n]{0,80}\))?:)"
    r"[ \t]*(.*)$"
)
_PLAN = re.compile(
    rf"(?:plan[ \t]+)?[`*\[]{{0,3}}(?:({PLAN_ID})|({PHASE_ID})-PLAN-(\d{{1,4}}))"
    r"((?:-[A-Za-z][\w.]*)*?)(?:-PLAN)?(?:\.md)?"
    r"[`*\]]{0,3}(?:\([^()\s]{0,300}\))?[`*]{0,2}(?:[ \t]*(?::|[-–—]{1,2}[ \t])[ \t]*(.*)|[ \t]*(\(.*)|[ \t]*)$",
    re.IGNORECASE,
)
_ITEM = re.compile(r"([ \t]*)(?:[-*+•]|\d{1,3}[.)])[ \t]+(.*)$")
_LIST = rf"{PHASE_ID}(?:(?:,|,?[ \t]and|[ \t]&)[ \t]+{PHASE_ID})*"
_DEPENDS = re.compile(
    r"[ \t]*(?:[-*+][ \t]+)?(?:\*\*[^*\n]{0,60}\*\*:?[ \t]*)?(?:\*\*)?Phases?[ \t]+"
    rf"({_LIST})(?:\*\*)?(?:[ \t]*\([^()\n]{{0,120}}\))?:?[ \t]+"
    r"((?:both[ \t]+|all[ \t]+)?(?:depends?[ \t]+on|requires?|needs?|waits?[ \t]+for)[ \t]+.*)$",
    re.IGNORECASE,
)
_PARALLEL = re.compile(
    rf"[ \t]*(?:[-*+][ \t]+)?Phases[ \t]+({_LIST})[ \t]+can[ \t]+(?:all[ \t]+)?"
    r"(?:run|be done|proceed|execute)[ \t]+in[ \t]+parallel",
    re.IGNORECASE,
)
_WAVE = re.compile(
    r"[ \t]*[-*+]?[ \t]*\**Wave[ \t]+(\d{1,3})\**[ \t]*(?:\([^()\n]*\))?\**:?\**[ \t]*(.*)$", re.IGNORECASE
)
_WAVE_TAG = re.compile(r"\(\s*wave[ \t]+(\d{1,3})\b[^)]*\)", re.IGNORECASE)
_ORDER = re.compile(r"(?:→|->|‚Üí)")
_SUBSECTIONS = re.compile(
    r"(?:success criteria|acceptance criteria|plans?|goal|depends on|dependencies|requirements|approach|deliver\w*|"
    r"status|notes?)\b",
    re.IGNORECASE,
)
_KNOWN = re.compile(
    r"(?:goal|depend|requirements?|plans?\b|status|mode|success criteria|acceptance criteria)", re.IGNORECASE
)


def scan(document: Document) -> Roadmap:
    """Read the roadmap line by line."""
    return _Scanner(document).run()


class _Scanner:
    def __init__(self, document: Document) -> None:
        self.document = document
        self.found = Roadmap()
        self.phase: RoadmapPhase | None = None
        self.level = 0
        self.mode = ""
        """"criteria" while items of a criteria list may follow; "plans" below a Plans label."""
        self.indent = 0
        self.columns: list[str] = []
        self.tables: dict[str, SourceStatus] = {}
        self.loose: list[PlanLine] = []

    def run(self) -> Roadmap:
        for number, text in self.document.structure():
            heading = _HEADING.match(text)
            if heading:
                self._heading(number, len(heading.group(1)), heading.group(2))
            elif text.strip():
                self._line(number, text)
        return self._settle()

    def _settle(self) -> Roadmap:
        """Drop what was only mentioned, put the phases in numeric order, add the states of tables."""
        real = [p for p in self.found.phases.items() if p[1].heading is not None or p[1].check_status is not None]
        self.found.phases = dict(sorted(real, key=lambda item: natural_key(item[0])))
        listed = {normal(line.id) for phase in self.found.phases.values() for line in phase.plans}
        for line in self.loose:  # below a checklist line; a section that lists it again counts more
            phase = self.found.phases.get(normal(line.id.rpartition("-")[0]))
            if phase is not None and normal(line.id) not in listed:
                phase.plans.append(line)
        for name, status in self.tables.items():
            if name in self.found.phases:
                self.found.phases[name].table = status
        return self.found

    def _get(self, name: str, line: int) -> RoadmapPhase:
        return self.found.phases.setdefault(normal(name), RoadmapPhase(name, line=line))

    def _heading(self, number: int, level: int, text: str) -> None:
        self.mode, self.columns = "", []
        found = phase_in(text) if 2 <= level <= 4 else None
        if found is not None:
            name, rest = found
            phase = self._get(name, number)
            if phase.heading is not None:
                self.found.repeated.append((name, number))
            else:
                title, mark = title_and_mark(rest)
                phase.id, phase.heading, phase.line = name, number, number
                phase.title = title or phase.title
                phase.mark = mark or status_emoji(text.partition("hase")[0])
                self.found.headings.append(name)
            self.phase, self.level = phase, level
            return
        bare = text.strip("*: \t")
        if level == 1 and not self.found.title:
            self.found.title = plain_title(text)
        if self.phase is not None and (level > self.level or (level == self.level and _SUBSECTIONS.match(bare))):
            low = bare.lower()
            if low.startswith(("success criteria", "acceptance criteria")):
                self.mode, self.indent = "criteria", -1
            elif low.startswith("plan"):
                self.mode = "plans"
            elif low.startswith("depend"):
                self.mode = "depends"
            return
        self.phase = None
        self.mode = "order" if bare.lower().startswith("execution order") else ""

    def _line(self, number: int, text: str) -> None:
        if text.lstrip().startswith("|"):
            self._row(text)
            return
        ticked = box(text, number)
        shown = (
            ticked.text
            if ticked
            else text.strip().lstrip("-*+ \t")
            if status_emoji(text.strip().lstrip("-*+ ")[:1])
            else ""
        )
        found = phase_in(shown) if shown else None
        if found is not None and (ticked or text.lstrip()[:1] in "-*+"):
            self._check(number, ticked, shown, *found)
            return
        if ticked and self._plan(number, text, ticked):
            return
        if self.mode == "criteria" and not self._known_label(text) and self._criterion(number, text):
            return
        if self._plan(number, text, ticked) or self._label(number, text) or self._wave(text):
            return
        self._relation(number, text)
        if self.mode == "depends" and self.phase is not None and (item := _ITEM.match(text)):
            self._depends(self.phase, item.group(2), number)
        elif self.phase is not None and not ticked and not _ITEM.match(text) and self.mode == "":
            self.phase.notes.append(text.strip())

    def _check(self, number: int, ticked: Box | None, shown: str, name: str, rest: str) -> None:
        phase = self._get(name, number)
        status = ticked.status if ticked else status_emoji(shown[:2])
        if phase.check_status is None:
            phase.check, phase.check_status = ticked, status
            self.found.checklist.append(name)
        head, closed, tail = rest.partition("**")
        if not closed or not head.strip():
            cut = re.search(r"[ \t](?:-{1,2}|[–—])[ \t]|[ \t]\(\d+/", rest)
            head, tail = (rest[: cut.start()], rest[cut.start() :]) if cut else (rest, "")
        title, _ = title_and_mark(head)
        if phase.heading is None:
            phase.id, phase.title = name, phase.title or title
        phase.summary = phase.summary or re.sub(r"\((?:completed|inserted)[^()]*\)", "", tail, flags=re.I).strip(
            " \t-–—:*"
        )
        self.mode = ""

    def _criterion(self, number: int, text: str) -> bool:
        item = _ITEM.match(text)
        phase = self.phase
        if phase is None:
            return False
        if item is None:
            if text[:1] in " \t" and phase.criteria and self.indent >= 0 and not _LABEL.match(text):
                last, line = phase.criteria[-1]
                phase.criteria[-1] = (f"{last} {text.strip()}", line)
                return True
            self.mode = ""
            return False
        indent = len(item.group(1).expandtabs(4))
        if self.indent < 0:
            self.indent = indent
        if indent > self.indent + 1 and phase.criteria:
            last, line = phase.criteria[-1]
            phase.criteria[-1] = (f"{last}\n{text.strip()}", line)
            return True
        ticked = box(text)
        phase.criteria.append(((ticked.text if ticked else item.group(2)).strip(), number))
        return True

    def _known_label(self, text: str) -> bool:
        label = _LABEL.match(text)
        return label is not None and _KNOWN.match((label.group(1) or label.group(2)).strip()) is not None

    def _label(self, number: int, text: str) -> bool:
        label = _LABEL.match(text)
        if label is None:
            return False
        name, value = (label.group(1) or label.group(2)).strip().lower(), label.group(3).strip()
        if name.startswith("execution order"):
            self.mode = "order"
            self._relation(number, value)
            return True
        phase = self.phase
        if phase is None:
            return False
        self.mode = ""
        if name == "goal":
            phase.goal = phase.goal or value
        elif name in ("depends on", "dependencies", "dependency", "depends"):
            if value:
                self._depends(phase, value, number)
            else:
                self.mode = "depends"
        elif name.startswith(("success criteria", "acceptance criteria")):
            self.mode, self.indent = "criteria", -1
            if value:
                phase.criteria.extend((part, number) for part in _commas(value))
        elif name == "plans":
            self.mode = "plans"
        elif name == "requirements":
            phase.requirements = phase.requirements or value
        elif name == "status":
            phase.mark = phase.mark or status_of(value)
        else:
            phase.notes.append(text.strip())
        return True

    def _depends(self, phase: RoadmapPhase, value: str, number: int) -> None:
        clauses = dependency_clauses(f"Depends on: {value}")
        phase.depends.extend((clause, number) for clause in clauses)

    def _plan(self, number: int, text: str, ticked: Box | None) -> bool:
        item = _ITEM.match(text)
        if item is None or (ticked is None and (self.phase is None or self.mode != "plans")):
            return False
        shown = ticked.text if ticked else item.group(2)
        found = _PLAN.match(shown.replace("**", ""))
        if found is None:
            return False
        name = found.group(1) or f"{found.group(2)}-{found.group(3)}"
        title = plain_title(found.group(5) or found.group(6) or "")
        title = re.sub(r"[ \t]*[-–—]+[ \t]*completed[ \t]+\d{4}-\d\d-\d\d$", "", title, flags=re.I)
        wave = _WAVE_TAG.search(title)
        if wave:
            title = (title[: wave.start()] + title[wave.end() :]).strip()
        slug = (found.group(4) or "").removesuffix(".md").removesuffix("-PLAN").strip("-").replace("-", " ")
        line = PlanLine(name, title or slug, number, ticked, int(wave.group(1)) if wave else None)
        if self.phase is None:
            self.loose.append(line)
        else:
            self.phase.plans.append(line)
        return True

    def _wave(self, text: str) -> bool:
        found = _WAVE.match(text)
        if found is None or self.phase is None:
            return False
        head, opened, tail = found.group(2).partition("(")
        names = {normal(name) for name in re.findall(PLAN_ID, head)}
        for plan in self.phase.plans:
            if normal(plan.id) in names:
                plan.wave = plan.wave or int(found.group(1))
                if opened and (depends := re.search(r"depends?\s+(?:only\s+)?on\s+(.*)", tail, re.IGNORECASE)):
                    wanted = re.findall(PLAN_ID, depends.group(1))
                    everything = depends.group(1).lower().startswith("all")
                    plan.depends = [p.id for p in self.phase.plans if p is not plan] if everything else wanted
        return True

    def _relation(self, number: int, text: str) -> None:
        """Edges told outside the sections: "Phase 4 depends on Phase 2 (…)", "Phases 1, 2 can run in parallel"."""
        found = _DEPENDS.match(text)
        if found:
            for clause in dependency_clauses(
                "Depends on: " + re.sub(r"^.*?(?:on|for|requires?|needs?)\s+", "", found.group(2), flags=re.I)
            ):
                for name in re.findall(PHASE_ID, found.group(1)):
                    self._get_later(name, clause, number)
        side = _PARALLEL.match(text)
        if side:
            for name in re.findall(PHASE_ID, side.group(1)):
                self._get_later(name, "", number)
        if (self.mode == "order" or "execut" in text.lower()) and len(_ORDER.findall(text)) >= 1:
            chain = [re.findall(PHASE_ID, part) for part in _ORDER.split(text.rpartition(":")[2])]
            if all(chain) and not self.found.order:
                self.found.order = [name for part in chain for name in part]

    def _get_later(self, name: str, clause: str, number: int) -> None:
        """Kept with the phase, which may come further down; one that never comes is dropped in :func:`settle`."""
        phase = self.found.phases.get(normal(name)) or self.found.phases.setdefault(normal(name), RoadmapPhase(name))
        if clause:
            phase.depends.append((clause, number))
        else:
            phase.free = True

    def _row(self, text: str) -> None:
        """A row of a table whose first cell names a phase and that has a Status column."""
        cells = [cell.strip().strip("*").strip() for cell in text.strip().strip("|").split("|")]
        if not self.columns:
            self.columns = [cell.lower() for cell in cells]
            return
        if "status" not in self.columns or "phase" not in " ".join(self.columns) + " #":
            return
        found = re.match(rf"(?:Phase[ \t]+)?({PHASE_ID})(?:[.:)]?[ \t]|[.:)]?$)", cells[0])
        if found is None or normal(found.group(1)) in self.tables:
            return
        place = self.columns.index("status")
        words = [cells[place]] if place < len(cells) and status_of(cells[place]) else cells[2:]
        status = next((status for word in words if (status := status_of(word))), None)
        if status is not None:
            self.tables[normal(found.group(1))] = status


def _commas(text: str) -> list[str]:
    """Items of a criteria line: split at commas outside parentheses and quotes."""
    parts, depth, current, quoted = [], 0, "", False
    for character in text:
        if character in '"`':
            quoted = not quoted
        depth += (character in "([") - (character in ")]")
        if character in ",;" and depth <= 0 and not quoted:
            parts.append(current)
            current = ""
        else:
            current += character
    parts.append(current)
    return [part.strip() for part in parts if part.strip()]
