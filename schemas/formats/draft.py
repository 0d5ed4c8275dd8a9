"""Putting a Reading together from the rows of a markdown plan: tasks, their fields, ids, written dependencies.

What every markdown format shares stands here; what makes a format stands in its own module.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from schemas.formats.document import Document
from schemas.formats.front_matter import read_front_matter
from schemas.formats.markings import (
    BadTier,
    command_in,
    criterion,
    drop_parentheses,
    estimate,
    infer_tier,
    is_none,
    machine_path,
    plain_title,
    references,
    tier_in,
    tier_of,
)
from schemas.formats.outline import (
    Row,
    Sections,
    block_end,
    continued,
    field,
    joined,
    last_line,
    rows,
    title_of,
    unique,
    verbatim,
)
from schemas.formats.touched import file_paths, listed_paths, ticked_paths
from schemas.reading import PhaseRead, Reading, Severity, TaskRead
from schemas.values import Autonomy, Criterion, SourceKind, SourceStatus

_FILES = frozenset({"file", "files", "create", "creates", "modify", "modifies", "test", "tests", "update", "delete",
                    "rename", "location", "path", "paths", "target", "add", "edit", "test file", "test files",
                    "files to create", "files to modify", "files touched", "file path", "new file"})  # fmt: skip
_TIME = frozenset({"estimate", "estimated time", "time estimate", "effort", "duration", "time", "estimated effort",
                   "estimated duration", "est", "est.", "size"})  # fmt: skip
_NEEDS = frozenset({"dependencies", "dependency", "depends on", "depends", "depends_on", "blocked by", "requires",
                    "prerequisites", "prerequisite", "blocked-by", "deps", "after"})  # fmt: skip
_CHECKS = frozenset({"verify", "verification", "validate", "validation", "run", "command", "check", "test command",
                     "success", "acceptance", "acceptance criteria", "success criteria", "done when", "done",
                     "definition of done", "expected outcome", "criteria", "gate", "verification command",
                     "verification commands", "acceptance criterion"})  # fmt: skip
_TIER = frozenset({"context tier", "context_tier", "contexttier", "tier", "context"})
_HUMAN = re.compile(r"[\[(](?:human|manual|wait|by hand)[\])]|\(manual (?:step|task)\)", re.IGNORECASE)
_APPROVAL = re.compile(
    r"\bapproval required\b|\brequires? (?:user |human )?approval\b|[\[(](?:needs )?approval[\])]", re.IGNORECASE
)
_PHASE_NAMED = re.compile(
    r"\bphases?[ \t]+(\d{1,3}(?:\.\d{1,3})*(?:[ \t]*[-–—][ \t]*\d{1,3}(?:\.\d{1,3})*)?)\b"
    r"(?:[ \t]+(?:is[ \t]+)?(?:completed?|done|finished|completion))?",
    re.IGNORECASE,
)
_FAILS = re.compile(r"\W{0,4}(?:FAIL|fails?\b|error\b|not found|the tests? (?:should )?fail)")
_TITLE_TIME = re.compile(r"[(\[](?:est(?:imate[sd]?)?\.?:?\s{0,3})?(~?\d[^()\[\]]{0,30})[)\]]", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Clause:
    """One written reference from a task or phase to something else."""

    owner: TaskRead | PhaseRead
    reference: str
    line: int
    phase: bool = False
    """It names a phase: "Phase 1 complete"."""


class Draft:
    """A Reading that is being put together from one document."""

    def __init__(self, document: Document, name: str, *, source: SourceKind = "TASK_LIST") -> None:
        self.document = document
        self.table = rows(document)
        self.sections = Sections(self.table)
        self.front = read_front_matter(document)
        self.reading = Reading(format=name, confidence=1.0, source=source, files=[document.source])
        self.reading.title = title_of(self.table, document.name)
        self.reading.diagnostics.extend(self.front.diagnostics)
        self.reading.diagnostics.extend(document.suspicions())
        self.clauses: list[Clause] = []
        self.free: set[int] = set()
        """Ids (of objects) of tasks and phases that say they depend on nothing."""
        self.front_tier = self._front_tier()
        self._taken: dict[str, int] = {}
        self._phases: dict[str, int] = {}

    def note(self, severity: Severity, code: str, message: str, line: int | None = None, hint: str = "") -> None:
        """Add a diagnostic."""
        self.reading.diagnostics.append(self.document.note(severity, code, message, line, hint))

    # --- tasks and phases ------------------------------------------------------------------------------------------

    def phase(self, id: str, title: str, line: int, *, goal: str = "", status: SourceStatus = "pending") -> PhaseRead:
        """Add a phase; a repeated id gets a number behind it, without a word: only ids of tasks must be unique."""
        made = PhaseRead(
            id=unique(self._phases, id), title=plain_title(title), goal=goal, file=self.document.path, line=line
        )
        made.status = status
        self.reading.phases.append(made)
        return made

    def task(
        self,
        id: str,
        title: str,
        row: Row,
        *,
        phase: PhaseRead | None = None,
        parent: str | None = None,
        status: SourceStatus | None = None,
        container: bool = False,
    ) -> TaskRead:
        """Add a task. The same id twice: both are kept, the second under a derived id, and it is reported."""
        own = unique(self._taken, id)
        if own != id:
            message = f"the id {id!r} stands twice; this one is called {own!r}"
            self.note("warning", "duplicate-id", message, row.line, "give every task an id of its own")
        task = TaskRead(
            id=own, title=plain_title(title), file=self.document.path, line=row.line, container=container, parent=parent
        )
        task.phase = phase.id if phase else None
        task.box = row.place
        task.status = status or (row.box.status if row.box else "pending")
        self.reading.tasks.append(task)
        return task

    def describe(self, task: TaskRead, start: int, end: int, *, first: int | None = None) -> None:
        """Fill in what the rows from ``start`` (its own) to ``end`` say: text, files, fields, criteria, tier."""
        row = self.table[start]
        begin = first or row.line + 1
        last = last_line(self.document, self.table, end)
        wrapped = joined(self.table, start, end) if row.item else row.text
        task.description = verbatim(self.document, begin, last)
        explicit: list[str] = []
        mentioned: list[str] = []
        position = start + 1
        while position < end:
            position += self._field(task, position, end, explicit, mentioned)
        task.files = list(dict.fromkeys(explicit))
        if not task.files:
            task.files = file_paths(wrapped) or list(dict.fromkeys(mentioned))
            task.files_inferred = bool(task.files)
        self._autonomy(task, wrapped)
        self.guard(task.criteria, row.line)
        time = _TITLE_TIME.search(wrapped)
        if time and not task.estimate_text:
            self._estimate(task, time.group(1))
        self.tier(task, wrapped, row.line)

    def _field(self, task: TaskRead, at: int, end: int, explicit: list[str], mentioned: list[str]) -> int:
        """One row of a task's body; the answer is how many rows were used up."""
        row = self.table[at]
        if row.kind == "heading" or row.box:
            return 1
        found = field(row.text)
        if found is None:
            self._autonomy(task, row.text)
            if row.kind in ("bullet", "number"):
                mentioned.extend(ticked_paths(row.text))
            return 1
        key, value = found
        if key in _FILES:
            explicit.extend(listed_paths(value))
            return 1 if value else self._file_list(at, end, explicit)
        if key in _TIME:
            self._estimate(task, value)
        elif key in _NEEDS:
            text = joined(self.table, at, end)
            self.depends(task, (field(text) or found)[1], row.line)
        elif key in _TIER:
            self._written_tier(task, value, row.line)
        elif key in _CHECKS:
            return self._checks(task, at, end)
        else:
            self._autonomy(task, row.text)
            mentioned.extend(ticked_paths(value))
        return 1

    def _file_list(self, at: int, end: int, explicit: list[str]) -> int:
        """The items below "**Files:**"; those with a label of their own are read by themselves."""
        position = at + 1
        while position < end and self.table[position].kind in ("bullet", "number"):
            found = field(self.table[position].text)
            words = found[1] if found and (found[0] in _FILES or " " not in found[0]) else self.table[position].text
            explicit.extend(listed_paths(words.partition(" - ")[0].partition(" — ")[0]))
            position += 1
        return position - at

    def _checks(self, task: TaskRead, at: int, end: int) -> int:
        """A criterion, or a label over a list of criteria."""
        row = self.table[at]
        stop = min(block_end(self.table, at), end) if row.item else at + 1
        text = joined(self.table, at, max(stop, at + 1))
        key, value = field(text) or ("", text)
        if value.strip("*_ "):
            expected = field(self.table[stop].text) if stop < end else None
            if expected and expected[0].startswith("expect"):
                if _FAILS.match(expected[1]):
                    return 1 + continued(self.table, at, stop)
                value = f"{value} ({expected[0]}: {expected[1]})" if not command_in(text) else value
            wanted = text if key in ("run", "command", "test command") and command_in(text) else value
            add_criterion(task.criteria, wanted.strip(), category=key)
            return 1 + continued(self.table, at, stop)
        used = 1
        for position in range(at + 1, end):
            below = self.table[position]
            if below.kind in ("heading", "box") or (row.item and below.indent <= row.indent):
                break
            if not below.item or (not row.item and field(below.text) is not None and below.after_blank):
                if below.after_blank:
                    break
                used += 1
                continue
            item_end = min(block_end(self.table, position), end)
            add_criterion(task.criteria, joined(self.table, position, item_end), category=key)
            used = position - at + 1
        return used

    def _autonomy(self, task: TaskRead, text: str) -> None:
        wanted: Autonomy = "auto"
        if _HUMAN.search(text):
            wanted = "human"
        elif _APPROVAL.search(text):
            wanted = "needs_approval"
        if wanted != "auto" and task.autonomy != "human":
            task.autonomy = wanted

    def _estimate(self, task: TaskRead, value: str) -> None:
        found = estimate(value)
        if found and not task.estimate_text:
            task.estimate_minutes, task.estimate_text = found.minutes, value.strip().strip("*")

    def _written_tier(self, task: TaskRead, value: object, line: int) -> None:
        try:
            task.context_tier, task.tier_inferred = tier_of(value), False
        except BadTier as error:
            if any(character.isdigit() for character in str(value)[:8]) and len(str(value)) < 20:
                self.note("error", "bad-context-tier", str(error), line, "use 32, 64, 128 or 200 (thousand tokens)")

    def _front_tier(self) -> int | None:
        key = next((name for name in ("context_tier", "contextTier", "tier") if name in self.front.data), None)
        try:
            return tier_of(self.front.data[key]) if key else None
        except BadTier as error:
            self.note("error", "bad-context-tier", str(error), self.front.lines.get(key or "", 1), "use at most 200")
            return None

    def tier(self, task: TaskRead, title: str, line: int) -> None:
        """The context tier that a title names, else the inferred one."""
        if not task.tier_inferred:
            return
        try:
            written = tier_in(title)
        except BadTier as error:
            self.note("error", "bad-context-tier", str(error), line, "use 32, 64, 128 or 200 (thousand tokens)")
            written = None
        written = written if written is not None else self.front_tier
        if written is not None:
            task.context_tier, task.tier_inferred = written, False
            return
        task.context_tier = infer_tier(files=len(task.files), characters=len(task.description) + len(title))

    def guard(self, criteria: list[Criterion], line: int) -> None:
        """Report commands that name a place on the author's own machine; policy decides whether they run."""
        for one in criteria:
            place = machine_path(one.command) if one.command else None
            if place is not None:
                message = f"a check names a place on the author's machine ({place})"
                self.note("warning", "machine-path", message, line, "use a path inside the repository")

    # --- dependencies as written -----------------------------------------------------------------------------------

    def depends(self, owner: TaskRead | PhaseRead, text: str, line: int) -> None:
        """Note what a dependency clause says; it is resolved when all ids are known."""
        if is_none(text):
            self.free.add(id(owner))
            return
        if isinstance(owner, TaskRead):
            for found in _PHASE_NAMED.finditer(drop_parentheses(text)):
                self.clauses.append(Clause(owner, found.group(1), line, phase=True))
            text = _PHASE_NAMED.sub(" ", drop_parentheses(text))
        for reference in references(text):
            self.clauses.append(Clause(owner, reference, line))


def add_criterion(into: list[Criterion], text: str, *, category: str | None = None, negate: bool = False) -> None:
    """Add the check that a text asks for."""
    bare = text.strip()
    if bare:
        into.append(criterion(bare, id=f"c{len(into) + 1}", category=category or None, negate=negate))
