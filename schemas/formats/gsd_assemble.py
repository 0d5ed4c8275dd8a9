"""A GSD roadmap and the plans beside it become one list of tasks (FORMATS 4.2, "Mapping")."""

from __future__ import annotations

import re

from schemas.formats import gsd_plan, gsd_state
from schemas.formats.gsd_checks import PlanFile
from schemas.formats.gsd_edges import Ordered, Unit
from schemas.formats.gsd_parts import RoadmapPhase, normal
from schemas.formats.markings import criterion, infer_tier, paths_in
from schemas.reading import PhaseRead, Reading, TaskRead
from schemas.values import SourceStatus

_SUMMARY = re.compile(r"(.*?)SUMMARY(?:[-.\w]*)\.md$")


class Assembly(Ordered):
    """Builds the reading of one roadmap."""

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
