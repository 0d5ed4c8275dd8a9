"""Plans without task headings: numbered lists, "Tasks:" labels, phases with numbers, and steps in prose."""

from __future__ import annotations

import re

from schemas.formats.draft import Draft, add_criterion
from schemas.formats.outline import Row, block_end, field, joined
from schemas.reading import PhaseRead, TaskRead

_PHASE = re.compile(
    r"[^\w`]{0,6}(?:phase|stage|milestone|week|sprint|part)[ \t]+(\d{1,3}(?:\.\d{1,3})*|[A-Z])\b"
    r"[ \t]*[:.)\-–—]{0,2}[ \t]*(.*)$",
    re.IGNORECASE,
)
_TASKS = re.compile(
    r"(?:\w+[ \t]+){0,2}(?:tasks|steps|to-?do|plan|work items|implementation)[ \t]*[:：]?$", re.IGNORECASE
)
_CHECKS = re.compile(
    r"(?:\w+[ \t]+){0,2}(?:verification|deliverables?|acceptance criteria|success criteria|done when|validation|"
    r"exit criteria|definition of done|testing)[ \t]*[:：]?$",
    re.IGNORECASE,
)
_OTHER = re.compile(
    r"(?:\w+[ \t]+){0,3}(?:goals?|risks?|notes?|context|background|overview|assumptions?|questions?|references?|"
    r"non-goals?|out of scope|constraints?|summary|architecture|timeline|resources?|alternatives?|motivation)"
    r"[ \t]*[:：]?$",
    re.IGNORECASE,
)
_STEP = re.compile(
    r"(?:\*\*)?step[ \t]+(\d{1,3}[a-z]?)(?:\*\*)?[ \t]*[:.)\-–—]{1,2}(?:\*\*)?[ \t]*(.*)$", re.IGNORECASE
)
_NUMBERS = re.compile(r"(?:(?<=\s)|^)(\d{1,2})[.)][ \t]+(?=\S)")


def _label(row: Row) -> str:
    """A line that only names what follows: a heading, or bold text with a colon."""
    if row.kind == "heading":
        return row.text.strip(" *:：")
    text = row.text.strip()
    bare = text.strip("*_ ")
    return bare.rstrip(":： *") if bare.endswith((":", "：")) and len(bare) < 80 else ""


class Bare:
    """Reads what has no task headings."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self.table = draft.table
        self.phase: PhaseRead | None = None
        self.mode = "tasks"
        self.counts: dict[str, int] = {}
        self.last: TaskRead | None = None

    @staticmethod
    def recognise(table: list[Row]) -> float:
        """Numbers under phases or under a "Tasks" label; a lone numbered list is a weak sign."""
        if any(row.box for row in table):
            return 0.0
        numbers = sum(1 for row in table if row.kind == "number" and row.indent <= 3)
        phases = sum(1 for row in table if row.kind == "heading" and _PHASE.match(row.text))
        labels = sum(1 for row in table if (text := _label(row)) and _TASKS.match(text))
        if numbers and (phases >= 2 or labels):
            return 0.45 if phases >= 2 and labels else 0.35
        if numbers >= 2 and len(table) <= 200 and sum(1 for row in table if row.kind == "heading") <= 12:
            return 0.12
        if len(table) <= 5 and any(_enumerated(row) for row in table):
            return 0.15
        return 0.08 if labels and len(table) <= 200 else 0.0

    def read(self) -> None:
        """Numbers of the outermost level are tasks, what is nested their details."""
        labelled = any((text := _label(row)) and _TASKS.match(text) for row in self.table)
        numbers = [row.indent for row in self.table if row.kind == "number"]
        self.mode = "other" if labelled else "tasks"
        index = 0
        while index < len(self.table):
            row = self.table[index]
            label = _label(row)
            if row.kind == "heading" and (named := _PHASE.match(row.text)):
                self.phase = self.draft.phase(named.group(1), named.group(2) or row.text, row.line)
                self.mode = "other" if labelled else "tasks"
            elif label and not (row.kind == "number" and self.mode == "tasks"):
                self._mode(label, row, labelled)
            elif _enumerated(row) and len(numbers) <= 1:
                for number, text in _enumerated(row):
                    self.draft.describe(self.draft.task(number, text, row, phase=self.phase), index, index + 1)
            elif self.mode == "tasks" and self._is_task(row, numbers, labelled):
                index = self._task(index, row.text)
                continue
            elif self.mode == "checks" and row.item:
                place = self.phase.criteria if self.phase else self.draft.reading.criteria
                add_criterion(place, joined(self.table, index, block_end(self.table, index)), category="verification")
            elif self.phase is not None and not self.phase.goal and (pair := field(row.text)) and pair[0] == "goal":
                self.phase.goal = pair[1]
            index += 1
        if not self.draft.reading.tasks:
            self._prose()
        if self.draft.reading.tasks:
            message = "the tasks carry no ids; they are called by phase and position"
            self.draft.note("info", "made-ids", message, self.draft.reading.tasks[0].line)

    def _mode(self, label: str, row: Row, labelled: bool) -> None:
        if _CHECKS.match(label):
            self.mode = "checks"
        elif _TASKS.match(label):
            self.mode = "tasks"
        elif _OTHER.match(label) or row.kind == "heading":
            self.mode = "other" if labelled or _OTHER.match(label) else "tasks"

    def _task(self, index: int, title: str) -> int:
        end = block_end(self.table, index)
        group = self.phase.id if self.phase else ""
        self.counts[group] = self.counts.get(group, 0) + 1
        id = f"{group}.{self.counts[group]}" if group else str(self.counts[group])
        head, colon, rest = title.partition(":** ")
        task = self.draft.task(id, f"{head}:**" if colon else title, self.table[index], phase=self.phase)
        self.draft.describe(task, index, end)
        if colon:
            task.title = task.title.rstrip(":")
            task.description = "\n".join(text for text in (rest, task.description) if text)
        return end

    def _prose(self) -> None:
        """ "Step 1: …" in prose."""
        for index, row in enumerate(self.table):
            found = _STEP.match(row.text)
            if found:
                task = self.draft.task(found.group(1), found.group(2) or row.text, row, phase=self.phase)
                end = index + 1
                while end < len(self.table) and not _STEP.match(self.table[end].text):
                    end += 1
                self.draft.describe(task, index, end)

    @staticmethod
    def _is_task(row: Row, numbers: list[int], labelled: bool) -> bool:
        if row.kind == "number":
            return row.indent == min(numbers)
        return not numbers and labelled and row.kind == "bullet" and row.indent <= 3


def _enumerated(row: Row) -> list[tuple[str, str]]:
    """The parts of "1. Do x. 2. Do y." in one line; none if it is not such a line."""
    if row.kind not in ("number", "text"):
        return []
    text = f"{row.label}. {row.text}" if row.kind == "number" else row.text
    places = list(_NUMBERS.finditer(text))
    if len(places) < 2 or [int(one.group(1)) for one in places] != list(range(1, len(places) + 1)):
        return []
    ends = [*(one.start() for one in places[1:]), len(text)]
    return [(one.group(1), text[one.end() : end].strip().rstrip(".")) for one, end in zip(places, ends, strict=True)]
