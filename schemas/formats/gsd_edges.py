"""The order of a GSD roadmap's phases and plans: stated edges first, then the order of the file (FORMATS 2.7, 4.2)."""

from __future__ import annotations

import re
from heapq import heappop, heappush
from itertools import pairwise

from schemas.formats import gsd_plan
from schemas.formats.document import Document
from schemas.formats.gsd_checks import PlanFile
from schemas.formats.gsd_parts import PlanLine, Roadmap, normal
from schemas.formats.markings import Ids, references, resolve
from schemas.reading import PhaseRead, Reading, Severity, TaskRead

_EXTERNAL = re.compile(r"\b(?:milestone|v\d+\.\d+|archive\w*|external|project|previous|upstream)\b", re.IGNORECASE)
_ALL = re.compile(r"\ball\b.*\b(?:prior|previous|earlier|preceding|other|phases)\b", re.IGNORECASE)


class Unit:
    """A plan of a phase: its line, its file, or both; or the planning that has still to be done."""

    def __init__(self, name: str, line: PlanLine | None = None, file: PlanFile | None = None) -> None:
        self.name = name
        self.line = line
        self.file = file
        self.tasks: list[TaskRead] = []
        self.done = False


class Ordered:
    """A roadmap being read, as far as edges are concerned."""

    def __init__(self, document: Document, roadmap: Roadmap) -> None:
        self.document = document
        self.roadmap = roadmap
        self.reading = Reading(
            format="gsd", confidence=1.0, title=roadmap.title, source="ROADMAP", files=[document.source]
        )
        self.units: dict[str, list[Unit]] = {}
        self.links: dict[str, dict[str, None]] = {}
        """For each plan the plans it waits for."""
        self.ids = Ids(
            [phase.id for phase in roadmap.phases.values()],
            titles={phase.id: phase.title for phase in roadmap.phases.values()},
        )

    def note(self, severity: Severity, code: str, message: str, line: int | None = None, hint: str = "") -> None:
        """A diagnostic about the roadmap."""
        self.reading.diagnostics.append(self.document.note(severity, code, message, line, hint))

    def _edges(self) -> None:
        """Between phases as stated; between plans as stated, else by wave, else one after the other."""
        for read, phase in zip(self.reading.phases, self.roadmap.phases.values(), strict=True):
            for clause, line in phase.depends:
                self._phase_edges(read, clause, line)
        by_name = {unit.name: unit for group in self.units.values() for unit in group}
        everywhere = Ids(by_name)
        for units in self.units.values():
            names = Ids([unit.name for unit in units])
            silent = []
            for unit in units:
                stated = unit.file.depends if unit.file is not None else None
                if stated is None and unit.line is not None:
                    stated = unit.line.depends
                if stated is not None:
                    self._stated(unit, stated, names, everywhere, by_name)
                elif unit.file is None or not unit.file.parallel:
                    silent.append(unit)
            self._implied(units, silent)

    def _implied(self, units: list[Unit], silent: list[Unit]) -> None:
        """Plans that say nothing follow the ones before them, in an order that agrees with the stated edges."""
        ordered = self._stable(units)
        place = {unit.name: number for number, unit in enumerate(ordered)}
        numbers = [self._wave(unit) for unit in ordered]
        for unit in silent:
            if unit.name not in place:
                continue
            position, wave = place[unit.name], self._wave(unit)
            if wave is not None and None not in numbers:
                below = [number for number in numbers[:position] if number is not None and number < wave]
                earlier = [u for u, n in zip(ordered[:position], numbers, strict=False) if below and n == max(below)]
            else:
                earlier = ordered[max(position - 1, 0) : position]
            for before in earlier:
                self._after(unit, before)

    def _stable(self, units: list[Unit]) -> list[Unit]:
        """In file order as far as stated edges allow; plans on a cycle are left out."""
        rank = {unit.name: place for place, unit in enumerate(units)}
        after: dict[str, list[str]] = {}
        waiting = dict.fromkeys(rank, 0)
        for name in rank:
            for wanted in self.links.get(name, ()):
                if wanted in rank:
                    after.setdefault(wanted, []).append(name)
                    waiting[name] += 1
        ready = [place for name, place in rank.items() if not waiting[name]]
        found = []
        while ready:
            unit = units[heappop(ready)]
            found.append(unit)
            for name in after.get(unit.name, ()):
                waiting[name] -= 1
                if not waiting[name]:
                    heappush(ready, rank[name])
        return found

    def _wave(self, unit: Unit) -> int | None:
        if unit.line is not None and unit.line.wave is not None:
            return unit.line.wave
        return unit.file.wave if unit.file is not None else None

    def _stated(self, unit: Unit, stated: list[str], names: Ids, everywhere: Ids, by_name: dict[str, Unit]) -> None:
        for wanted in stated:
            bare = re.sub(r"(?:-PLAN)?(?:\.md)?$", "", wanted.strip())
            found = resolve(bare, names, context=unit.name) or resolve(bare, everywhere, context=unit.name)
            if not found and (short := re.match(gsd_plan.NAME, bare)):
                found = resolve(short.group(), everywhere)
            for name in found:
                if name == unit.name:
                    document = unit.file.document if unit.file else self.document
                    message = f"the plan {unit.name} waits for itself"
                    self.reading.diagnostics.append(document.note("error", "self-dependency", message))
                else:
                    self._after(unit, by_name[name])
            if not found and not self._whole_phase(unit, bare):
                document = unit.file.document if unit.file else self.document
                message = f"the plan {unit.name} waits for {wanted!r}, which is no plan here; the edge is left out"
                self.reading.diagnostics.append(document.note("warning", "unresolved-dependency", message))

    def _whole_phase(self, unit: Unit, wanted: str) -> bool:
        """A plan that waits for a whole phase."""
        found = resolve(references(wanted)[0], self.ids) if references(wanted) else []
        for name in found:
            for before in self.units[normal(name)]:
                if before is not unit:
                    self._after(unit, before)
        return bool(found)

    def _after(self, unit: Unit, before: Unit) -> None:
        self.links.setdefault(unit.name, {})[before.name] = None
        if unit.tasks and before.tasks and before.tasks[-1].id not in unit.tasks[0].dependencies:
            unit.tasks[0].dependencies.append(before.tasks[-1].id)

    def _phase_edges(self, read: PhaseRead, clause: str, line: int) -> None:
        if _ALL.search(clause):
            found = [phase.id for phase in self.reading.phases[: self.reading.phases.index(read)]]
            read.dependencies.extend(name for name in found if name not in read.dependencies)
            return
        for wanted in references(clause):
            found = resolve(wanted, self.ids)
            if not found:
                external = _EXTERNAL.search(wanted) is not None
                message = f"phase {read.id} depends on {wanted!r}, which is no phase here"
                self.note(
                    "info" if external else "warning",
                    "external-dependency" if external else "unresolved-dependency",
                    message + ("; it is taken as done" if external else "; the edge is left out"),
                    line,
                )
            for name in found:
                if name == read.id:
                    self.note("error", "self-dependency", f"phase {read.id} depends on itself", line, "remove it")
                elif name not in read.dependencies:
                    read.dependencies.append(name)

    def _order(self) -> None:
        """Phases about whose dependencies nothing is said follow the one before them."""
        phases = self.reading.phases
        by_id = {phase.id: phase for phase in phases}
        listed = [found for name in self.roadmap.order if (found := self.ids.find(name, words=False))]
        if set(listed) == set(by_id):
            phases = [by_id[name] for name in dict.fromkeys(listed)]
        rank = {phase.id: place for place, phase in enumerate(phases)}
        if any(rank[wanted] > rank[phase.id] for phase in phases for wanted in phase.dependencies):
            return  # a stated edge runs against the order; more edges could close a circle
        home = {unit.name: rank[phase.id] for phase in phases for unit in self.units[normal(phase.id)]}
        if any(home[wanted] > home[name] for name, before in self.links.items() for wanted in before):
            return
        for before, phase in pairwise(phases):
            source = self.roadmap.phases[normal(phase.id)]
            if source.depends or source.free:
                continue
            earlier = self.units[normal(before.id)]
            followed = {wanted for unit in earlier for task in unit.tasks for wanted in task.dependencies}
            last = [unit for unit in earlier if unit.tasks and unit.tasks[-1].id not in followed]
            own = {task.id for unit in self.units[normal(phase.id)] for task in unit.tasks}
            for unit in self.units[normal(phase.id)]:
                if unit.tasks and not own & set(unit.tasks[0].dependencies):
                    for one in last:
                        self._after(unit, one)
