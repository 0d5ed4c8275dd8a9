"""Boxes whose text begins with a number (``1.2``, ``14.1.1.3``, ``3.14.6.``): the tree they form, and what hangs on it.

Shared by Kiro, OpenSpec, hierarchical lists and ai-dev-tasks. Nesting is in the number; indentation says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from schemas.formats.draft import Draft, add_criterion
from schemas.formats.markings import plain_title
from schemas.formats.order import settle
from schemas.formats.outline import Row, block_end, field, joined, marked_done
from schemas.reading import PhaseRead, TaskRead
from schemas.values import SourceStatus

_NUMBER = re.compile(
    r"(?:\*\*|__)?(?:(?:task|step|subtask)[ \t]+)?(\d{1,4}(?:\.\d{1,4}){0,6}(?:\.?[a-zA-Z](?![\w.]))?)([.):]?)"
    r"(?:\*\*|__|(\*))?([.:)]?)(\*?)(?=\s|$|\()[ \t]*(?:[-–—:][ \t]+)?(.*)$",
    re.IGNORECASE,
)
_NAMED = re.compile(r"(?:\*\*|__)?(?:task|step|subtask)[ \t]", re.IGNORECASE)
_HEADING = re.compile(
    r"[^\w`]{0,8}(?:(phase|section|task|step|milestone|stage|part|epic|sprint|第)[ \t]*)?"
    r"(\d{1,4}(?:\.\d{1,4}){0,6})(\.?)(?![\w-])[ \t]*([:.)\-–—、]?)[ \t]*(.*)$",
    re.IGNORECASE,
)
_SUMMARY = re.compile(
    r"(?:\*\*|__)?(?:task|section|step|phase)[ \t]+(\d{1,4}(?:\.\d{1,4}){0,6})[ \t]+(?:is[ \t]+)?"
    r"(?:complete|completed|done)\b(?:\*\*|__)?",
    re.IGNORECASE,
)
_CHECKS = re.compile(
    r"test|verif|validat|criteri|checklist|acceptance|definition of done|review|quality|success|sign-?off|gate|"
    r"\bdone\b",
    re.IGNORECASE,
)
_DULL = re.compile(
    r"(?:implementation|development|project|the)?\s*(?:tasks?|task list|plan|todos?|to-?do list|checklist|"
    r"implementation|breakdown|implementation plan)\s*$",
    re.IGNORECASE,
)
_NEEDS = re.compile(
    r"\b(?:requires?|depends?[ ]+(?:up)?on|blocked[ ]+by|waits[ ]+for|prerequisites?|dependenc(?:y|ies))\b"
    r"[*_]{0,2}:?[*_]{0,2}[ ]+(?:(?:completion[ ]+of|tasks?|steps?|items?|both|all[ ]+of)[ ]+){0,3}(?=\d{1,4}\b)",
    re.IGNORECASE,
)
_ANCHOR = re.compile(
    r"(?<![\w.§#-])\d{1,4}(?:\.\d{1,4})*(?!\.?\w)(?:[ ]?(?:-|–|—|to|through)[ ]?\d{1,4}(?:\.\d{1,4})+)?"
)
_JOINT = re.compile(r"[ ]*(?:,[ ]*(?:and[ ]+|or[ ]+)?|and[ ]+|&[ ]*|/[ ]*|plus[ ]+)(?:(?:tasks?|steps?)[ ]+)?")
_CODE = re.compile(r"`[^`]{0,500}`")

Decorate = Callable[[TaskRead, str, Row], str]
"""Takes a format's own marks off a title, and notes them on the task."""


def number_of(row: Row) -> tuple[str, str, bool] | None:
    """The number, the rest and whether a star marks it optional; None if the box has no number."""
    found = _NUMBER.match(row.text) if row.box else None
    if found is None or _SUMMARY.match(row.text):
        return None
    id = found.group(1)
    if "." not in id and not (found.group(2) or found.group(4) or _NAMED.match(row.text)):
        return None
    return id, found.group(6).strip(), bool(found.group(3) or found.group(5)) and not row.text.startswith("**")


def heading_number(row: Row) -> tuple[str, str] | None:
    """The number and title of a heading such as "## 1. Setup", "### 11.1.1 Model", "# Phase 11: Validation"."""
    found = _HEADING.match(row.text) if row.kind == "heading" else None
    if found is None:
        return None
    word, id, dot, mark, rest = found.groups()
    if not (word or "." in id or dot or mark):
        return None
    return id, rest.strip() or row.text


class Numbered:
    """Reads all numbered boxes of a draft."""

    def __init__(
        self, draft: Draft, decorate: Decorate | None = None, *, prose: bool = False, every_box: bool = False
    ) -> None:
        self.draft = draft
        self.decorate = decorate
        self.every_box = every_box
        self.prose = prose
        """Dependencies also stand in running text: "Requires 4.1.1."."""
        self.numbers = {index: found for index, row in enumerate(draft.table) if (found := number_of(row))}
        self.ids = {id for id, _, _ in self.numbers.values()}
        over = {named[0] for row in draft.table if (named := heading_number(row))}
        self.above = {above for id in self.ids for above in _prefixes(id)}
        self.above -= {f"{id}.0" for id in over}
        self.latest: dict[str, TaskRead] = {}
        self.sections: dict[str, PhaseRead] = {}
        self.phase: PhaseRead | None = None
        self.label = ""
        self.unnumbered = 0

    def read(self) -> None:
        """Tasks, containers and phases in file order."""
        table = self.draft.table
        summaries = {m.group(1) for row in table if row.box and (m := _SUMMARY.match(row.text))}
        index = 0
        while index < len(table):
            row = table[index]
            if row.kind == "heading":
                self._heading(index, row, summaries)
            elif index in self.numbers:
                index = self._numbered(index)
                continue
            elif row.box:
                index = self._other_box(index, row)
                continue
            elif row.kind == "text" and (row.text.endswith((":", ":**", "：")) or row.text.startswith("**")):
                self.label = row.text
            index += 1
        settle(self.draft)

    # --- headings --------------------------------------------------------------------------------------------------

    def _heading(self, index: int, row: Row, summaries: set[str]) -> None:
        self.label = row.text
        found = heading_number(row)
        if found is None:
            if row.level > 1 and not _DULL.match(row.text) and self._boxes_below(index):
                self.phase = self.draft.phase("-".join(re.findall(r"\w+", row.text.casefold())[:6]), row.text, row.line)
            elif row.level == 2 and self.phase is not None:
                self.phase = None if self.sections else self.phase
            return
        id, title = found
        if id in self.above and id not in self.ids and (id.count(".") >= 2 or id in summaries):
            task = self.draft.task(id, title, row, phase=self._phase_of(id), parent=self._parent(id), container=True)
            self.latest[id] = task
            self.draft.describe(task, index, self._first_box(index))
            return
        status: SourceStatus = "completed" if marked_done(row.text) else "pending"
        self.phase = self.draft.phase(id, title, row.line, status=status)
        self.sections[id] = self.phase

    def _boxes_below(self, index: int) -> bool:
        """Numbered boxes stand below a heading before the next one."""
        for position in range(index + 1, len(self.draft.table)):
            if position in self.numbers:
                return True
            if self.draft.table[position].kind == "heading":
                return False
        return False

    def _first_box(self, index: int) -> int:
        position = index + 1
        while position < len(self.draft.table):
            row = self.draft.table[position]
            if row.kind == "heading" or row.box:
                break
            position += 1
        return position

    def _phase_of(self, id: str) -> PhaseRead | None:
        for above in _prefixes(id):
            if above in self.sections:
                return self.sections[above]
        return self.phase

    def _parent(self, id: str) -> str | None:
        for above in _prefixes(id):
            if above != id and above in self.latest:
                return self.latest[above].id
        return None

    # --- boxes -----------------------------------------------------------------------------------------------------

    def _numbered(self, index: int) -> int:
        table = self.draft.table
        row = table[index]
        id, title, optional = self.numbers[index]
        end = block_end(table, index)
        end = next((position for position in range(index + 1, end) if position in self.numbers), end)
        container = id in self.above
        phase = self._phase_of(id)
        task = self.draft.task(id, title, row, phase=phase, parent=self._parent(id), container=container)
        if optional or (row.box and row.box.optional):
            task.status = "completed" if task.status == "completed" else "skipped"
        self.latest[id] = task
        title = _wrapped_title(table, index, end, title) if self.prose else title
        task.title = plain_title(self.decorate(task, title, row) if self.decorate else title)
        self.draft.describe(task, index, end)
        for position in range(index + 1, end):
            if table[position].box:
                add_criterion(task.criteria, table[position].text, category="part")
        if self.prose:
            self._prose(task, index, end)
        return end

    def _prose(self, task: TaskRead, index: int, end: int) -> None:
        """Clauses "Requires 1.1.1 and 2.1.3." in bullets and running text; only ids up to the full stop count."""
        known = {clause.line for clause in self.draft.clauses[-50:] if clause.owner is task}
        position = index
        while position < end:
            row = self.draft.table[position]
            following = position + 1
            while following < end and self.draft.table[following].kind == "text":
                if self.draft.table[following].after_blank:
                    break
                following += 1
            if row.line not in known and (field(row.text) or ("",))[0] not in ("success", "see"):
                text = _CODE.sub("`", " ".join(one.text for one in self.draft.table[position:following]))
                for found in _NEEDS.finditer(text):
                    self._clause(task, text[found.end() :], row.line)
                if row.item and re.match(r"(?:\*\*)?requires?\b", text, re.IGNORECASE) and not _NEEDS.search(text):
                    message = f"{task.id!r} requires something without an id: {text[:80]!r}"
                    self.draft.note(
                        "info", "dependency-in-words", message, row.line, "name a task's id if it has to wait"
                    )
            position = following

    def _clause(self, task: TaskRead, text: str, line: int) -> None:
        stop = re.search(r"[.;](?=\s|$)|[(（]", text)
        clause = text[: stop.start()] if stop else text
        ids = []
        position = 0
        while found := _ANCHOR.match(clause, position):
            ids.append(found.group())
            joint = _JOINT.match(clause, found.end())
            if joint is None:
                break
            position = joint.end()
        if ids:
            self.draft.depends(task, ", ".join(ids), line)

    def _other_box(self, index: int, row: Row) -> int:
        """A box without a number: a parent's state, a check of its section, or a task whose number was forgotten."""
        table = self.draft.table
        summary = _SUMMARY.match(row.text)
        if summary:
            id = summary.group(1)
            task = self.latest.get(id)
            if task is None:
                task = self.draft.task(id, row.text, row, phase=self._phase_of(id), container=id in self.above)
                self.latest[id] = task
            task.box, task.status = row.place, row.box.status if row.box else task.status
            return index + 1
        end = block_end(table, index)
        end = next((position for position in range(index + 1, end) if position in self.numbers), end)
        over = " ".join(table[one].text for one in self.draft.sections.over(index)[-1:])
        checks = _CHECKS.search(self.label) or _CHECKS.search(over) or not self._among_tasks(index)
        if checks and not self.every_box:
            place = self.phase.criteria if self.phase else self.draft.reading.criteria
            add_criterion(place, joined(table, index, end), category="verification")
            return index + 1
        self.unnumbered += 1
        prefix = f"{self.phase.id}/" if self.phase else "task-"
        task = self.draft.task(f"{prefix}u{self.unnumbered}", row.text, row, phase=self.phase)
        self.draft.describe(task, index, end)
        message = f"this box has no number, unlike the others; the task is called {task.id!r}"
        self.draft.note("info", "no-id", message, row.line, "number it, or move it under a heading of checks")
        return end

    def _among_tasks(self, index: int) -> bool:
        """A numbered box stands next to it, under the same heading."""
        for step in (-1, 1):
            position = index + step
            while 0 <= position < len(self.draft.table) and abs(position - index) < 60:
                if position in self.numbers:
                    return True
                if self.draft.table[position].kind == "heading":
                    break
                position += step
        return False


def _wrapped_title(table: list[Row], index: int, end: int, title: str) -> str:
    """The title with the lines it is hard-wrapped over."""
    whole = joined(table, index, end)
    return title + whole[len(table[index].text) :]


def _prefixes(id: str) -> list[str]:
    """The ids above an id, the nearest first; ``1.0`` stands above ``1.1``."""
    parts = id.split(".")
    found = []
    for length in range(len(parts) - 1, 0, -1):
        above = ".".join(parts[:length])
        found.append(above)
        if f"{above}.0" != id:
            found.append(f"{above}.0")
    return found
