"""A GSD roadmap and the plans beside it become one list of tasks (FORMATS 4.2, "Mapping")."""

from __future__ import annotations

import re
from heapq import heappop, heappush
from itertools import pairwise

from schemas.formats import gsd_plan, gsd_state
from schemas.formats.document import Document
from schemas.formats.gsd_checks import PlanFile
from schemas.formats.gsd_parts import PlanLine, Roadmap, RoadmapPhase, normal
from schemas.formats.markings import Ids, criterion, infer_tier, paths_in, references, resolve
from schemas.reading import PhaseRead, Reading, TaskRead
from schemas.values import SourceStatus

_SUMMARY = re.compile(r"(.*?)SUMMARY(?:[-.\w]*)\.md$")
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


class Assembly:
    """Builds the reading of one roadmap."""

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

    def note(self, severity: str, code: str, message: str, line: int | None = None, hint: str = "") -> None:
        """A diagnostic about the roadmap."""
        assert severity in ("error", "warning", "info")
        self.reading.diagnostics.append(self.document.note(severity, code, message, line, hint))  # type: ignore[arg-type]

    def read(self) -> Reading:
        """Phases, units, tasks, edges, comparisons."""
        self.reading.diagnostics.extend(
            self.document.suspicions(lambda text: re.match(r"#{2,4} +(?:\W{0,6})Phase +\d|- \[.\] ", text) is not None)
        )
        for name, line in self.roadmap.repeated:
            self.note("warning", "duplicate-phase", f"phase {name} has a second heading; both are read as one", line)
        files, done = self._files()
        for key, phase in self.roadmap.phases.items():
            self._phase(key, phase, files.pop(key, []), done)
        for left in files.values():
            for file in left:
                message = f"the plan {file.id} belongs to no phase of the roadmap and is left out"
                self.reading.diagnostics.append(file.document.note("info", "plan-outside-roadmap", message))
        self._edges()
        self._order()
        self._compare()
        if not self.roadmap.phases:
            hint = "write '### Phase 1: …' headings, or '- [ ] **Phase 1: …**' lines"
            self.note("error", "no-phases", "there are no phases in this roadmap", None, hint)
        return self.reading

    def _files(self) -> tuple[dict[str, list[PlanFile]], set[str]]:
        """Plan files by phase, and where there are summaries."""
        files: dict[str, list[PlanFile]] = {}
        done: set[str] = set()
        archive = self.document.name.removesuffix("ROADMAP.md").rstrip("-")
        for path, sibling in self.document.siblings.items():
            folder, _, name = path.rpartition("/")
            top = folder.partition("/")[0]
            if not folder or (top != "phases" and top != f"{archive}-phases"):
                continue
            summary = _SUMMARY.match(name)
            if summary:
                done.add(f"{folder}/{normal(gsd_plan.plan_name(f'{folder}/{summary.group(1)}PLAN.md', {})[1])}")
            elif gsd_plan.FILE.match(name) and "OUTLINE" not in name:
                plan = gsd_plan.scan(sibling)
                self.reading.files.append(sibling.source)
                self.reading.diagnostics.extend([*sibling.diagnostics, *plan.diagnostics])
                files.setdefault(normal(plan.phase), []).append(plan)
        for path in self.document.siblings:
            folder, _, name = path.rpartition("/")
            if gsd_plan.FILE.match(name) and f"{folder}/{normal(gsd_plan.plan_name(path, {})[1])}" in done:
                done.add(self.document.siblings[path].path)
        return files, done

    def _phase(self, key: str, phase: RoadmapPhase, files: list[PlanFile], summaries: set[str]) -> None:
        units: dict[str, Unit] = {}
        for line in phase.plans:
            name = normal(line.id)
            if name in units:
                self.note("warning", "duplicate-id", f"the plan {line.id} is listed twice", line.line)
                name = f"{name}~{line.line}"
            units[name] = Unit(line.id, line)
        for file in sorted(files, key=lambda plan: plan.document.path):
            name = normal(file.id)
            if name in units and units[name].file is None:
                units[name].file = file
            else:
                name = name if name not in units else f"{name}~{file.document.path}"
                units[name] = Unit(file.id, None, file)
        read = PhaseRead(
            id=phase.id,
            title=phase.title,
            goal=phase.goal or phase.summary,
            file=self.document.path,
            line=phase.line,
            criteria=[criterion(text, category="success") for text, _ in phase.criteria],
        )
        self.reading.phases.append(read)
        found = list(units.values()) or [self._unplanned(phase)]
        self.units[key] = found
        told = self._told(phase)
        for unit in found:
            self._unit(phase, unit, told, summaries)
            self.reading.tasks.extend(unit.tasks)
        read.status = self._phase_status(phase, found, told)

    def _told(self, phase: RoadmapPhase) -> SourceStatus | None:
        """The state of a whole phase: its box, else heading or Status line, else the table."""
        if phase.check_status is not None and (phase.check_status == "completed" or phase.mark != "completed"):
            return phase.check_status
        if phase.check_status is not None:
            message = f"phase {phase.id} is marked complete, but its box is open; the box counts"
            self.note("warning", "status-conflict", message, phase.line)
            return phase.check_status
        return phase.mark or phase.table

    def _phase_status(self, phase: RoadmapPhase, units: list[Unit], told: SourceStatus | None) -> SourceStatus:
        finished = [unit for unit in units if unit.done]
        if len(finished) == len(units):
            if told not in (None, "completed"):
                message = f"all plans of phase {phase.id} are done, but the phase is not marked so"
                self.note("info", "status-conflict", message, phase.line)
            return "completed"
        if told == "completed":
            message = f"phase {phase.id} is told to be complete, but {len(units) - len(finished)} of its plans are open"
            self.note("warning", "status-conflict", f"{message}; the plans' boxes count", phase.line)
        return "in_progress" if finished or told in ("in_progress", "completed") else told or "pending"

    def _unplanned(self, phase: RoadmapPhase) -> Unit:
        """A phase without plans is one task: to plan it."""
        unit = Unit(f"phase-{phase.id}")
        text = "\n\n".join(part for part in (phase.goal or phase.summary, "\n".join(phase.notes)) if part)
        unit.tasks = [
            TaskRead(
                id=f"phase-{phase.id}",
                title=f"Plan phase {phase.id}" + (f": {phase.title}" if phase.title else ""),
                file=self.document.path,
                line=phase.line,
                description=text,
                phase=phase.id,
                autonomy="needs_approval",
                context_tier=infer_tier(characters=len(text)),
                box=(phase.check.line, phase.check.column) if phase.check else None,
            )
        ]
        return unit

    def _unit(self, phase: RoadmapPhase, unit: Unit, told: SourceStatus | None, summaries: set[str]) -> None:
        """The unit's tasks and state: a summary, else its box, else its phase; a ticked phase outranks open boxes."""
        line, file = unit.line, unit.file
        ticked = line.box.status if line and line.box else None
        has_summary = file is not None and file.document.path in summaries
        status: SourceStatus
        if has_summary or ticked == "completed":
            status = "completed"
        elif phase.check_status == "completed":
            status = "completed"
            if ticked is not None and line is not None:
                message = f"the plan {line.id} is open, but the box of phase {phase.id} is ticked; it counts as done"
                self.note("warning", "status-conflict", message, line.line, "tick the plan, or open the phase again")
        elif ticked is not None:
            status = ticked
        else:
            status = told if told is not None and (line is not None or not unit.file) else "pending"
            status = "pending" if status == "in_progress" else status
        unit.done = status in ("completed", "skipped")
        if file is not None and file.tasks:
            unit.tasks = file.tasks
        elif not unit.tasks:
            unit.tasks = [self._listed(phase, unit)]
        for task in unit.tasks:
            task.phase, task.status = phase.id, status
            if line is not None and line.box is not None and task is unit.tasks[-1]:
                task.box = (line.box.line, line.box.column)
        if file is not None and line is None and phase.plans:
            message = f"the plan {file.id} is not listed in phase {phase.id}"
            self.reading.diagnostics.append(file.document.note("info", "plan-not-listed", message))

    def _listed(self, phase: RoadmapPhase, unit: Unit) -> TaskRead:
        line = unit.line
        if line is None:  # a plan file without tasks
            assert unit.file is not None
            message = f"the plan {unit.name} has no tasks in its file"
            self.reading.diagnostics.append(unit.file.document.note("warning", "no-tasks", message))
            return TaskRead(id=unit.name, title=unit.file.title, file=unit.file.document.path, phase=phase.id)
        text = f"Phase {phase.id}: {phase.title}\nGoal: {phase.goal or phase.summary}".strip()
        files = paths_in(line.title)
        return TaskRead(
            id=line.id,
            title=line.title or f"Plan {line.id}",
            file=self.document.path,
            line=line.line,
            description=text,
            files=files,
            files_inferred=bool(files),
            context_tier=infer_tier(files=len(files), characters=len(text)),
        )

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

    def _compare(self) -> None:
        """Warn where STATE.md and REQUIREMENTS.md disagree with the roadmap."""
        plans = [unit for units in self.units.values() for unit in units if unit.line or unit.file]
        state = self.document.siblings.get("STATE.md")
        if state is not None:
            done = sum(phase.status == "completed" for phase in self.reading.phases)
            finished = sum(unit.done for unit in plans)
            found = gsd_state.disagreements(
                state, phases=len(self.reading.phases), done_phases=done, plans=len(plans), done_plans=finished
            )
            self.reading.diagnostics.extend(found)
        wanted = self.document.siblings.get("REQUIREMENTS.md")
        if wanted is not None:
            named = {p.id: gsd_state.requirement_ids(p.requirements) for p in self.roadmap.phases.values()}
            self.reading.diagnostics.extend(gsd_state.uncovered(wanted, named))
