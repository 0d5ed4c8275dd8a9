"""Sentences about order in spec-kit files: "US3-US8 (Phases 6-12): Depend on Phase 5", "T004-T007 before T008"."""

from __future__ import annotations

import re
from itertools import pairwise

from schemas.formats.draft import Draft
from schemas.formats.markings import drop_parentheses, natural_key
from schemas.formats.outline import Row
from schemas.reading import PhaseRead, TaskRead

_VERB = re.compile(r"\b(depends? (?:up)?on|requires?|after|blocked by|waits? for|before|blocks)\b", re.IGNORECASE)
_AUXILIARY = re.compile(
    r"(?:[\s:*]|\b(?:all|can|start|begin|must|complete|completed|come|finish|be|run|is|are)\b)+$", re.I
)
_ARROWS = re.compile(r"[ \t]*(?:→|->|-->|⇒)[ \t]*")
_NO = re.compile(r"\bno (?:external |other |task )?dependenc|\bnone\b|\bcan start immediately\b", re.IGNORECASE)
_COMMENT = re.compile(r"[ \t][-–—][ \t]|(?<=[a-z)])\.(?=\s|$)|;")
_TASKS = re.compile(r"\b(T\d{3,6}[a-z]?)\b(?:[ \t]*(?:-|–|—|to|through|\.\.\.?)[ \t]*(T?\d{3,6}[a-z]?)\b)?")
_PHASES = re.compile(
    r"\bphases?[ \t]+(\d{1,3}(?:\.\d{1,3})*)(\+)?(?:[ \t]*(?:-|–|—|to|through)[ \t]*(\d{1,3}(?:\.\d{1,3})*)\b)?"
    r"((?:[ \t]*(?:,|and|&|,[ \t]?and)[ \t]*\d{1,3}(?:\.\d{1,3})*){0,20})",
    re.IGNORECASE,
)
_STORIES = re.compile(
    r"\b(?:US|user stor(?:y|ies)[ \t]+)(\d{1,3})\b(?:[ \t]*(?:-|–|—|to|through)[ \t]*(?:US)?(\d{1,3})\b)?"
    r"((?:[ \t]*(?:,|and|&|\+)[ \t]*\d{1,3}\b){0,20})",
    re.IGNORECASE,
)
_ALL_STORIES = re.compile(r"\ball (?:\w+ )?(?:user )?stories\b|^(?:all )?user stories\b", re.IGNORECASE)
_ALL_PRIOR = re.compile(
    r"\b(?:all|every|everything) (?:prior|previous|preceding|other|earlier|desired|above)?\s?(?:phases?|else|tasks)?\b",
    re.I,
)
MAX_PAIRS = 20_000


class Edges:
    """What the list near the end says, put onto phases and tasks."""

    def __init__(self, draft: Draft, stories: dict[str, list[TaskRead]], titles: dict[str, str]) -> None:
        self.draft = draft
        self.tasks = {task.id: task for task in draft.reading.tasks}
        self.names = sorted(self.tasks, key=natural_key)
        self.phases = draft.reading.phases
        self.by_id = {phase.id: phase for phase in self.phases}
        self.place = {phase.id: number for number, phase in enumerate(self.phases)}
        self.stories: dict[str, list[str]] = {}
        for label, members in stories.items():
            holding = [task.phase for task in members if task.phase]
            if holding:
                self.stories[label] = list(dict.fromkeys(holding))
        for phase in self.phases:
            found = re.search(r"\buser story (\d{1,3})\b", phase.title, re.IGNORECASE)
            if found:
                self.stories[f"US{found.group(1)}"] = [phase.id]
        firsts = [_first_words(title).partition(" ")[0] for title in titles.values()]
        self.words = {
            first: id
            for id, first in zip(titles, firsts, strict=True)
            if first not in ("", "user", "phase", "core", "story") and firsts.count(first) == 1
        }
        self.position = {task.id: number for number, task in enumerate(draft.reading.tasks)}
        self.pairs = 0

    def apply(self, lines: list[Row]) -> None:
        """Read every line; what names nothing known is prose."""
        for row in lines:
            text = row.text.replace("**", "").replace("`", "").replace("__", "").strip()
            chain = _ARROWS.split(text)
            if len(chain) > 1:
                for before, after in pairwise(chain):
                    self._edge(after, before, row)
                continue
            found = _VERB.search(text, 1)
            if found is None or _NO.search(text[: found.end()]):
                self._free(text)
                continue
            subject, verb, rest = text[: found.start()], found.group().casefold(), text[found.end() :]
            comment = _COMMENT.search(rest)
            wanted = rest[: comment.start()] if comment else rest
            if verb in ("before", "blocks"):
                self._edge(wanted, subject, row)
            else:
                self._edge(subject, wanted, row)

    def _free(self, text: str) -> None:
        head, found, tail = text.partition(":")
        if found and _NO.search(tail):
            _, phases = self._targets(head, None)
            self.draft.free.update(id(phase) for phase in phases)

    def _edge(self, later: str, earlier: str, row: Row) -> None:
        tasks, phases = self._targets(_AUXILIARY.sub("", later[-400:]), None, subject=True)
        for phase in phases:
            self._phase_waits(phase, earlier, row)
        if not tasks or phases:
            return
        needed, groups = self._targets(earlier, None)
        for task in tasks:
            self._task_waits(task, needed)
            for phase in groups:
                if phase.id != task.phase:
                    self._task_waits(task, [one for one in self.tasks.values() if one.phase == phase.id])

    def _phase_waits(self, phase: PhaseRead, earlier: str, row: Row) -> None:
        needed, groups = self._targets(earlier, phase)
        for other in groups:
            if other.id != phase.id and other.id not in phase.dependencies:
                phase.dependencies.append(other.id)
        if needed and not groups:
            members = [one for one in self.tasks.values() if one.phase == phase.id]
            for task in members:
                self._task_waits(task, [one for one in needed if one.phase != phase.id])
        if not needed and not groups and re.search(r"phase \d|\bUS\d|\bT\d{3}", drop_parentheses(earlier), re.I):
            message = f"phase {phase.id} depends on {earlier.strip()[:80]!r}, which is not in this file"
            self.draft.note("warning", "unknown-dependency", message, row.line, "correct the reference, or remove it")

    def _task_waits(self, task: TaskRead, needed: list[TaskRead]) -> None:
        known = set(task.dependencies)
        for other in needed:
            self.pairs += 1
            if other is task or other.id in known or self.pairs > MAX_PAIRS:
                continue
            if self.position[other.id] > self.position[task.id]:
                self._overrule(task, other)
            task.dependencies.append(other.id)

    def _overrule(self, task: TaskRead, other: TaskRead) -> None:
        """A written edge to a later task outweighs the order of the file in that phase."""
        for one in self.draft.reading.tasks[self.position[task.id] + 1 : self.position[other.id] + 1]:
            if one.phase == task.phase and task.id in one.dependencies:
                one.dependencies.remove(task.id)

    def _targets(
        self, text: str, before: PhaseRead | None, *, subject: bool = False
    ) -> tuple[list[TaskRead], list[PhaseRead]]:
        """The tasks or phases that a phrase names; ``before`` allows "all prior phases".

        What stands in parentheses says more exactly who waits ("US3-US8 (Phases 6-12)"), but not for what.
        """
        tasks = self._named_tasks(text)
        if tasks:
            return tasks, []
        outside = drop_parentheses(text)
        for part in (text, outside) if subject and _PHASES.search(text) else (outside, text):
            found = [self.by_id[name] for name in self._named_phases(part)]
            if found:
                return [], found
        if _ALL_STORIES.search(outside.strip()):
            names = {name for members in self.stories.values() for name in members}
            return [], [phase for phase in self.phases if phase.id in names]
        lowered = _first_words(outside)
        named = [self.by_id[id] for words, id in self.words.items() if re.search(rf"\b{re.escape(words)}\b", lowered)]
        if named:
            return [], named
        if before is not None and _ALL_PRIOR.search(outside):
            return [], self.phases[: self.place[before.id]]
        return [], []

    def _named_tasks(self, text: str) -> list[TaskRead]:
        found: list[str] = []
        for match in _TASKS.finditer(text):
            first, last = match.group(1), match.group(2)
            if last is None:
                found.extend([first] if first in self.tasks else [])
                continue
            low, high = natural_key(first), natural_key(last if last.startswith("T") else f"T{last}")
            found.extend(name for name in self.names if low <= natural_key(name) <= high)
        return [self.tasks[name] for name in dict.fromkeys(found)]

    def _named_phases(self, text: str) -> list[str]:
        found: list[str] = []
        for match in _PHASES.finditer(text):
            first, open_end, last = match.group(1), match.group(2), match.group(3)
            if open_end or last:
                low, high = natural_key(first), natural_key(last or "999999")
                final = self.phases[-1].id if self.phases and open_end else ""
                found.extend(
                    phase.id
                    for phase in self.phases
                    if low <= natural_key(phase.id) <= high and not (final == phase.id and not self._is_story(final))
                )
            else:
                found.append(first)
            found.extend(re.findall(r"\d+(?:\.\d+)*", match.group(4)))
        if not found:
            for match in _STORIES.finditer(text):
                last_number = int(match.group(2) or match.group(1))
                numbers = [*range(int(match.group(1)), last_number + 1), *map(int, re.findall(r"\d+", match.group(3)))]
                found.extend(name for number in numbers for name in self.stories.get(f"US{number}", []))
        return [name for name in dict.fromkeys(found) if name in self.by_id]

    def _is_story(self, phase: str) -> bool:
        return any(phase in members for members in self.stories.values())


def _first_words(title: str) -> str:
    """A phase's name without numbers, parentheses and what follows a dash."""
    bare = re.split(r"[:(–—]| - ", title, maxsplit=1)[0]
    return " ".join(re.findall(r"[^\W\d_]+", bare.casefold()))
