"""GSD ("get shit done"): a roadmap with its plans, or a single plan (FORMATS 4)."""

from __future__ import annotations

import re

from schemas.formats import gsd_plan, gsd_roadmap, gsd_state
from schemas.formats.document import Document
from schemas.formats.gsd_assemble import Assembly
from schemas.formats.gsd_checks import PlanFile
from schemas.formats.gsd_parts import normal, phase_in
from schemas.formats.markings import box
from schemas.reading import PhaseRead, Reading
from schemas.values import Criterion

NAME = "gsd"
ENTRIES = (".planning/ROADMAP.md", "ROADMAP.md", ".planning/*-PLAN.md", "PLAN.md")
SIBLINGS = (
    "phases/*.md",
    "v*-phases/*.md",
    "STATE.md",
    "REQUIREMENTS.md",
    "*SUMMARY.md",
)

_TASK = re.compile(r"^[ \t]*<task\b[^<>]*>", re.MULTILINE)
_HEADING = re.compile(r"#{2,4}[ \t]+(.*)$")


def recognise(document: Document) -> float:
    """Roadmaps by their phases, plans by front matter and blocks; STATE.md and REQUIREMENTS.md by name and content."""
    if document.directory or document.name.lower().endswith((".json", ".yaml", ".yml", ".jsonl")):
        return 0.0
    if "prd" in _keys(document):
        return 0.0
    path = document.path.replace("\\", "/")
    inside = 0.1 if "/.planning/" in f"/{path}" else 0.0
    plan = _is_plan(document)
    if plan:
        return min(0.98, plan + inside)
    phases, boxed = _phases(document)
    if phases or boxed:
        if document.name.upper().endswith("ROADMAP.MD"):
            return 0.85 + inside
        if _titled(document):
            return 0.75 + inside
        return (0.5 if boxed and phases else 0.3 if boxed else 0.15 if phases > 1 else 0.05) + inside * 3
    if document.name == "STATE.md" and ("gsd_state_version" in document.text or "Current Position" in document.text):
        return 0.8
    if document.name.endswith("REQUIREMENTS.md") and gsd_state.requirements(document):
        return 0.7
    if document.name.endswith("STATE.md") and "gsd_state_version" in document.text:
        return 0.8
    return 0.0


def _keys(document: Document) -> set[str]:
    lines = document.lines[1 : max(document.front_matter_end - 1, 1)]
    return {text.partition(":")[0].strip() for text in lines if text[:1].isalpha()}


def _is_plan(document: Document) -> float:
    keys = _keys(document)
    named = gsd_plan.FILE.match(document.name) is not None and "OUTLINE" not in document.name
    if "phase" in keys and "plan" in keys:
        return 0.95 if named or _TASK.search(document.text) else 0.8
    if _TASK.search(document.text) and (named or "<tasks>" in document.text or "must_haves" in keys):
        return 0.9
    if "phase" in keys and ("plans" in keys or "wave" in keys or "depends_on" in keys):
        return 0.5
    return 0.3 if "phase" in keys and named else 0.0


def _titled(document: Document) -> bool:
    """A document whose first heading calls it a roadmap."""
    first = next((text for _, text in document.structure() if text.startswith("# ")), "")
    return "roadmap" in first.lower()


def _phases(document: Document) -> tuple[int, int]:
    """Headings and boxes that name a phase."""
    headings = boxed = 0
    for _, text in document.structure():
        if text.startswith("#"):
            found = _HEADING.match(text)
            headings += found is not None and phase_in(found.group(1)) is not None
        elif "hase" in text:
            ticked = box(text)
            boxed += ticked is not None and phase_in(ticked.text) is not None
    return headings, boxed


def read(document: Document) -> Reading:
    """A roadmap with the plans beside it, a single plan, or a page about the plan."""
    if document.name.endswith("REQUIREMENTS.md"):
        return _requirements(document)
    if document.name.endswith("STATE.md"):
        return _state(document)
    if _is_plan(document) and not document.name.upper().endswith("ROADMAP.MD"):
        return _plan(document)
    return Assembly(document, gsd_roadmap.scan(document)).read()


def _plan(document: Document) -> Reading:
    plan = gsd_plan.scan(document)
    reading = Reading(
        format=NAME, confidence=1.0, title=plan.title, source="ROADMAP", tasks=plan.tasks, files=[document.source]
    )
    reading.diagnostics.extend(plan.diagnostics)
    reading.diagnostics.extend(document.suspicions(lambda text: _TASK.match(text) is not None))
    if plan.phase:
        title = str(plan.front.data.get("phase", ""))
        reading.phases.append(
            PhaseRead(id=plan.phase, title=title, file=document.path, line=plan.front.lines.get("phase"))
        )
    summary = re.sub(r"PLAN(?=[-.\w]*$)", "SUMMARY", document.name)
    if summary != document.name and summary in document.siblings:
        for task in plan.tasks:
            task.status = "completed"
        message = f"{summary} is there, so this plan is done"
        reading.diagnostics.append(document.note("info", "summary-found", message))
    _outside(plan, reading)
    if not plan.tasks:
        reading.diagnostics.append(
            document.note(
                "error", "no-tasks", "there are no tasks in this plan", None,
                "write <task> blocks, or '### Task 1: …' headings",
            )
        )  # fmt: skip
    return reading


def _outside(plan: PlanFile, reading: Reading) -> None:
    """What a single plan waits for is not in its file."""
    for wanted in plan.depends or []:
        message = f"the plan waits for {wanted!r}, which is not in this file; it is taken as done"
        line = plan.front.lines.get("depends_on") or plan.front.lines.get("requires")
        hint = "give the .planning folder to run them together"
        reading.diagnostics.append(plan.document.note("info", "outside-dependency", message, line, hint))


def _requirements(document: Document) -> Reading:
    found = gsd_state.requirements(document)
    reading = Reading(format=NAME, confidence=1.0, title="Requirements", source="SPEC", files=[document.source])
    reading.criteria = [Criterion(id=item.id, kind="manual", text=item.text, category="requirement") for item in found]
    done = sum(item.status == "completed" for item in found)
    message = f"a list of {len(found)} requirements ({done} done), not a plan: there are no tasks in this document"
    hint = "give the ROADMAP.md that lists its phases"
    reading.diagnostics.append(document.note("error", "not-a-plan", message, None, hint))
    seen: set[str] = set()
    for item in found:
        if normal(item.id) in seen:
            repeated = f"the requirement {item.id} stands twice"
            reading.diagnostics.append(document.note("warning", "duplicate-id", repeated, item.line))
        seen.add(normal(item.id))
    return reading


def _state(document: Document) -> Reading:
    from schemas.formats.front_matter import read_front_matter

    front = read_front_matter(document)
    reading = Reading(format=NAME, confidence=1.0, title="State", source="ROADMAP", files=[document.source])
    reading.diagnostics.extend(front.diagnostics)
    message = "a page about where a project stands, not a plan: there are no tasks in this document"
    reading.diagnostics.append(document.note("error", "not-a-plan", message, None, "give the ROADMAP.md beside it"))
    progress = front.data.get("progress")
    if isinstance(progress, dict):
        numbers = [progress.get(key) for key in ("completed_plans", "total_plans", "percent")]
        if all(isinstance(value, int) for value in numbers) and numbers[1]:
            real = round(100 * int(numbers[0]) / int(numbers[1]))  # type: ignore[arg-type]
            if real != numbers[2]:
                told = (
                    f"{numbers[0]} of {numbers[1]} plans are {real} percent, not {numbers[2]}; percentages do not count"
                )
                reading.diagnostics.append(
                    document.note("warning", "state-disagrees", told, front.paths.get(("progress", "percent")))
                )
    return reading
