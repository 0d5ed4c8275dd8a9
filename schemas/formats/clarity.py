"""The Clarity dialect of a task list: numbered lines, mostly without boxes, with ``(Dependencies: …)`` (FORMATS 6.1).

A phase that stands in an HTML comment is finished; fences are text. ``tasks_list`` decides when this reader is used.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from schemas.formats.document import Document
from schemas.formats.draft import Draft, add_criterion
from schemas.formats.markings import box, drop_parentheses, estimate, infer_tier, natural_key, status_emoji
from schemas.formats.order import link, settle
from schemas.formats.outline import Row, verbatim
from schemas.formats.touched import file_paths
from schemas.reading import PhaseRead, Reading, TaskRead
from schemas.values import SourceStatus

_LEAD = re.compile(r"[ \t>]*(?:#{1,6}[ \t]+)?(?:[-*+•–][ \t]+)?(?:\[[^\[\]]\][ \t]+)?(?:\*\*|__)?")
_PHASE = re.compile(r"phase[ \t]+(\d{1,3}|[A-Z])\b[ \t]*(?:\*\*)?[ \t]*[:—–.\-]{0,3}[ \t]*(.*)$", re.IGNORECASE)
_TASK = re.compile(
    r"(?:task[ \t]+)?(\d{1,3}(?:\.\d{1,4}){1,6}(?:\.[A-Za-z])?)[.):]?(?:\*\*)?[ \t]+(\S.*)$", re.IGNORECASE
)
_OVER = re.compile(
    r"\W{0,6}phase[ \t]+(\d{1,3}|[A-Z])[ \t]+(?:is[ \t]+)?(?:completed?|done)\b(?:[\W\d]{0,30}|[ \t]*[-–—:(].{0,80})$",
    re.IGNORECASE,
)
_CRITERION = re.compile(r"<[ \t]*criteri(?:on|a)[ \t]*\d{0,3}[ \t]*:[ \t]*(.*)$", re.IGNORECASE)
_SOURCE = re.compile(r"[ \t]*\[source:.*$", re.IGNORECASE)
_CHORE = re.compile(
    r"(?:validate[ \t]+(?:the )?outputs?|verify[ \t]+(?:the )?correctness|document[ \t]+(?:the )?results?)"
    r"[ \t]+of[ \t]+(?:task|phase|step)[ \t]+[\d.]+",
    re.IGNORECASE,
)
_NEEDS = re.compile(r"[(（][ \t]*(?:dependenc(?:y|ies)|depends[ \t]+on|deps)[ \t]*[:：]", re.IGNORECASE)
_LINK = re.compile(r"\[([^\[\]\n]{1,300})\]\(([^()\n]{1,500})\)")
_TARGET = re.compile(
    r"(?:\bp\d{2}[ \t]{0,3})?[≤≥<>]=?[ \t]{0,3}\d[\d.,]{0,12}[ \t]{0,2}(?:ms|s|%|m|h|mb|gb|kb)?\b", re.I
)
_LETTER = re.compile(r"\.[A-Za-z]$")


@dataclass(slots=True)
class _Line:
    number: int
    text: str
    finished: bool
    """It stands in a comment that is closed."""


def recognise(document: Document) -> float:
    """By criteria in angle brackets and by dependencies in parentheses behind numbers."""
    criteria = needs = tasks = 0
    for text in document.lines:
        if "<" in text and _CRITERION.search(text):
            criteria += 1
        bare = text[_lead(text) :].removeprefix("<!--").lstrip()
        if bare[:1].isdigit() and _TASK.match(bare):
            tasks += 1
            needs += _NEEDS.search(text) is not None
        elif bare[:5].lower() == "phase" and _PHASE.match(bare):
            needs += _NEEDS.search(text) is not None
    if not tasks:
        return 0.0
    if criteria and (needs or tasks > 2):
        return 0.93
    return 0.9 if needs >= 2 or (needs and tasks > 2) else 0.0


def read(document: Document, name: str) -> Reading:
    """Phases, tasks X.Y as containers, leaves as work; the three chores and the criteria verify X.Y."""
    draft = Draft(document, name)
    _Clarity(draft).read()
    return draft.reading


class _Clarity:
    """Reading line by line."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self.lines = list(_lines(draft.document))
        ids = [found.group(1) for line in self.lines if (found := _TASK.match(line.text)) and not _chore(found)]
        self.above = {id.rpartition(".")[0] for id in ids}
        self.phases: dict[str, PhaseRead] = {}
        self.finished: set[str] = set()
        self.latest: dict[str, TaskRead] = {}
        self.starts: list[tuple[TaskRead, int]] = []

    def read(self) -> None:
        """All lines, then states, texts and edges."""
        current: TaskRead | None = None
        phase: PhaseRead | None = None
        for line in self.lines:
            over = _OVER.match(line.text)
            found = None if over else _TASK.match(line.text)
            if over:
                self.finished.add(over.group(1))
            elif criterion := _CRITERION.search(line.text):
                self._criterion(criterion.group(1), current, phase)
            elif found and _chore(found):
                current = self._container(found.group(1)) or current
                self._chore_state(line, current)
            elif found:
                current = self._task(line, found, phase)
            elif (named := _PHASE.match(line.text)) and self._is_phase(line, named):
                phase, current = self._phase(line, named), None
        self._texts()
        reading = self.draft.reading
        reading.tasks.sort(key=lambda task: natural_key(task.id))
        for task in reading.tasks:
            if task.phase in self.finished:
                task.status = "completed"
        for one in reading.phases:
            one.status = "completed" if one.id in self.finished else one.status
        settle(self.draft)
        self._unwritten()
        link(self.draft)

    # --- lines -----------------------------------------------------------------------------------------------------

    def _is_phase(self, line: _Line, named: re.Match[str]) -> bool:
        """Not a sentence that happens to begin with a phase."""
        raw = self.draft.document.line(line.number)
        known = named.group(1) in self.phases and not _NEEDS.search(line.text)
        heading = raw.lstrip().startswith("#") or "**" in raw[:8] or bool(_NEEDS.search(raw))
        separated = named.group(0)[len("phase ") + len(named.group(1)) :].lstrip(" *\t")[:1] in (
            "",
            ":",
            "—",
            "–",
            "-",
            ".",
        )
        return not known and (heading or (separated and not raw[:1].isspace()))

    def _phase(self, line: _Line, named: re.Match[str]) -> PhaseRead:
        title, needs = split_needs(named.group(2))
        status = self._state(line, title)
        phase = self.draft.phase(named.group(1), _bare(title) or f"Phase {named.group(1)}", line.number)
        phase.status = status
        self.phases[named.group(1)] = phase
        if status == "completed":
            self.finished.add(phase.id)
        self._needs(phase, needs, line.number)
        return phase

    def _task(self, line: _Line, found: re.Match[str], phase: PhaseRead | None) -> TaskRead:
        id = found.group(1)
        title, needs = split_needs(found.group(2))
        own = self.phases.get(id.split(".")[0], phase)
        row = Row(line.number, 0, "text", title, box=box(self.draft.document.line(line.number), line.number))
        parent = self._container(id.rpartition(".")[0])
        status = row.box.status if row.box and row.box.status != "pending" else self._state(line, title)
        task = self.draft.task(
            id,
            _bare(title),
            row,
            phase=own,
            parent=parent.id if parent else None,
            status=status,
            container=id in self.above,
        )
        self.latest[id] = task
        self.starts.append((task, line.number))
        time = estimate(title) if "(" in title else None
        if time:
            task.estimate_minutes, task.estimate_text = time.minutes, time.text
        task.files = file_paths(_LINK.sub(r"`\1`", title))
        task.files_inferred = bool(task.files)
        self._needs(task, needs, line.number)
        return task

    def _container(self, id: str) -> TaskRead | None:
        while id:
            if id in self.latest:
                return self.latest[id]
            id = id.rpartition(".")[0]
        return None

    def _state(self, line: _Line, title: str) -> SourceStatus:
        if line.finished:
            return "completed"
        edges = title.strip()[:3] + " " + title.strip()[-3:]
        return status_emoji(edges) or "pending"

    def _chore_state(self, line: _Line, owner: TaskRead | None) -> None:
        if owner is not None and line.finished and owner.status == "pending":
            owner.status = "completed"

    def _criterion(self, text: str, task: TaskRead | None, phase: PhaseRead | None) -> None:
        """Criteria verify the task X.Y they stand under, whatever line of it they follow."""
        bare = _SOURCE.sub("", text).strip()
        bare = bare[:-1].rstrip() if bare.endswith(">") else bare.rpartition(">")[0].strip() or bare
        bare = _SOURCE.sub("", bare)
        while task is not None and task.parent is not None and task.parent in self.latest:
            task = self.latest[task.parent]
        place = task.criteria if task else phase.criteria if phase else self.draft.reading.criteria
        add_criterion(place, bare, category="acceptance")
        target = _TARGET.search(bare)
        if target and place:
            place[-1] = replace(place[-1], target=target.group().strip())

    def _needs(self, owner: TaskRead | PhaseRead, needs: str | None, line: int) -> None:
        if needs is None:
            return
        files = [found.group(1) for found in _LINK.finditer(needs)]
        rest = _LINK.sub(" ", needs)
        if files:
            message = f"{owner.id!r} needs {', '.join(files)[:200]} to exist; that is no edge between tasks"
            self.draft.note("info", "file-dependency", message, line)
        rest = " ".join(rest.replace("[", " ").replace("]", " ").split()).strip(" ,;")
        self.draft.depends(owner, rest, line)

    # --- afterwards ------------------------------------------------------------------------------------------------

    def _texts(self) -> None:
        """What stands below a task, up to the next one, is its description; a container keeps its chores there."""
        document = self.draft.document
        bounds = sorted({number for _, number in self.starts} | {phase.line or 0 for phase in self.phases.values()})
        following = dict(zip(bounds, [*bounds[1:], len(document.lines) + 1], strict=True))
        for task, start in self.starts:
            task.description = verbatim(document, start + 1, following[start] - 1)
            task.context_tier = infer_tier(files=len(task.files), characters=len(task.description) + len(task.title))

    def _unwritten(self) -> None:
        """Where other tasks name what they wait for, one that says nothing waits for the one before it."""
        owners = {id(clause.owner) for clause in self.draft.clauses} | self.draft.free
        last: TaskRead | PhaseRead | None = None
        for task in self.draft.reading.tasks:
            if task.parent is None:
                if id(task) not in owners and isinstance(last, TaskRead) and last.phase == task.phase:
                    self.draft.depends(task, last.id, task.line or 0)
                last = task
        last = None
        for phase in self.draft.reading.phases:
            if id(phase) not in owners and last is not None:
                phase.dependencies.append(last.id)
            last = phase


def _lines(document: Document) -> list[_Line]:
    """Lines outside fences and front matter, with comment, list and heading marks taken off."""
    hidden = set(range(1, document.front_matter_end + 1))
    for fence in document.fences():
        hidden.update(range(fence.start, fence.end + 1))
    finished: set[int] = set()
    for comment in document.comments():
        if comment.closed:
            finished.update(range(comment.start, comment.end + 1))
        else:
            note = "the comment that begins here is never closed; what it holds is read as open"
            document.diagnostics.append(
                document.note("warning", "open-comment", note, comment.start, "close it with -->")
            )
    found = []
    for number, raw in enumerate(document.lines, 1):
        if number in hidden or not raw.strip():
            continue
        text = raw.replace("<!--", "", 1) if raw.lstrip().startswith("<!--") else raw
        text = text[: text.rindex("-->")] if text.rstrip().endswith("-->") else text
        text = text[_lead(text) :].rstrip()
        while text[:1] in ("✅", "✓", "✔") and _TASK.match(bare := text[1:].lstrip("\ufe0f *")):
            text = bare + " " + text[0]
        if text:
            found.append(_Line(number, text, number in finished))
    return found


def _lead(text: str) -> int:
    found = _LEAD.match(text)
    return found.end() if found else 0


def _chore(found: re.Match[str]) -> bool:
    """One of the three lines that close a task."""
    return _CHORE.match(found.group(2).lstrip("* ")) is not None or bool(
        _LETTER.search(found.group(1))
        and re.match(r"\W{0,3}(?:validate|verify|document)\b", found.group(2), re.IGNORECASE)
    )


def split_needs(text: str) -> tuple[str, str | None]:
    """The title, and what stands in the parentheses "(Dependencies: …)" behind it; None without them."""
    found = _NEEDS.search(text)
    if found is None:
        return text, None
    depth = 1
    for index in range(found.end(), len(text)):
        depth += (text[index] in "(（") - (text[index] in ")）")
        if depth == 0:
            return (text[: found.start()] + text[index + 1 :]).strip(), text[found.end() : index].strip()
    return text[: found.start()].strip(), text[found.end() :].strip()


def _bare(title: str) -> str:
    text = title.strip().strip("✅✓✔☑\ufe0f").strip().strip("*").strip()
    return text if drop_parentheses(text).strip() else title
