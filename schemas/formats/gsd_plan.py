"""GSD PLAN.md: one executable plan with its tasks and what must be true afterwards (FORMATS 4.3)."""

from __future__ import annotations

import re
from itertools import islice, pairwise
from typing import Any

from schemas.formats import gsd_blocks
from schemas.formats.checks import is_command, unmask
from schemas.formats.document import Document
from schemas.formats.front_matter import read_front_matter
from schemas.formats.gsd_blocks import Block
from schemas.formats.gsd_checks import PlanFile, checked, items, listed, noted
from schemas.formats.gsd_must import must_haves
from schemas.formats.gsd_parts import PHASE_ID
from schemas.formats.markings import (
    BadTier,
    box,
    infer_tier,
    is_path,
    paths_in,
    plain_title,
    references,
    tier_of,
)
from schemas.formats.positions import scalar_text
from schemas.reading import TaskRead
from schemas.values import Autonomy, Criterion

FILE = re.compile(r"(?:^|.*[-_.])?(?:PLAN|plan)(?:-(\d{1,4})(?:-[\w.-]+)?)?\.md$")
NAME = re.compile(rf"({PHASE_ID})-(\d{{1,4}}[a-z]?)(?![\d.])")
_PHASE_FIRST = re.compile(rf"(?:Phase[ \t]+)?({PHASE_ID})(?![\w.])", re.IGNORECASE)
_NUMBERED = re.compile(
    r"(?:Task[ \t]+)?\d+[a-z]?(?:\.\d+)*[ \t]*[:.)-][ \t]+|Task[ \t]+\d+[a-z]?[ \t]*[–—]+[ \t]*", re.IGNORECASE
)
_TASK_HEADING = re.compile(
    r"(#{2,4})[ \t]+(?:[^\w\n#]{0,6})Task[ \t]+(\d+[a-z]?(?:\.\d+)?)[ \t]*(?::|[-–—]+|\.)[ \t]*(.*?)[ \t#]*$",
    re.IGNORECASE,
)
_HEADING = re.compile(r"(#{1,6})[ \t]+(.*?)[ \t#]*$")
_FILES_LINE = re.compile(r"[ \t]*(?:[-*][ \t]+)?\*\*(?:Files?|Create|Modify)(?::\*\*|\*\*:)[ \t]*(.*)$", re.IGNORECASE)
_CHECKS_LINE = re.compile(
    r"[ \t]*\*\*(?:Verification|Verify|Done when|Acceptance(?: Criteria)?)(?::\*\*|\*\*:)[ \t]*(.*)$", re.IGNORECASE
)
_ITEM = re.compile(r"([ \t]*)(?:[-*+•]|\d{1,3}[.)])[ \t]+(.*)$")
_BY_AGENT = frozenset({"", "auto", "code", "tdd", "execute", "implementation", "test"})
_MISSING = re.compile(r"MISSING\b")


def plan_name(path: str, data: dict[str, Any]) -> tuple[str, str]:
    """The phase number and plan id: from front matter, else from file and folder names."""
    parts = path.replace("\\", "/").split("/")
    file, folder = parts[-1], parts[-2] if len(parts) > 1 else ""
    phase_text = scalar_text(data.get("phase")) if not isinstance(data.get("phase"), list | dict) else ""
    plan_text = scalar_text(data.get("plan")) if not isinstance(data.get("plan"), list | dict) else ""
    found = _PHASE_FIRST.match(phase_text) or _PHASE_FIRST.match(folder)
    phase = found.group(1) if found else ""
    whole = NAME.match(plan_text)
    if whole:
        return phase or whole.group(1), whole.group()
    number = re.match(r"\d{1,4}[a-z]?(?![\w.])", plan_text)
    if phase and number:
        return phase, f"{phase}-{number.group()}"
    named = NAME.match(file)
    if named:
        return phase or named.group(1), named.group()
    later = re.match(rf"({PHASE_ID})-PLAN-(\d{{1,4}})", file, re.IGNORECASE)
    if later:
        return phase or later.group(1), f"{later.group(1)}-{later.group(2)}"
    if phase:
        return phase, f"{phase}-01"
    stem = re.sub(r"[-_.]?plan(?:\.md)?$", "", file, flags=re.IGNORECASE)
    return "", stem or "plan"


def scan(document: Document) -> PlanFile:
    """Read one plan file."""
    front = read_front_matter(document)
    phase, name = plan_name(document.path, front.data)
    title = front.data.get("title")
    plan = PlanFile(name, phase, plain_title(title) if isinstance(title, str) else "", document, front)
    plan.depends = _depends(front.data)
    wave = front.data.get("wave")
    plan.wave = wave if isinstance(wave, int) and not isinstance(wave, bool) else None
    plan.parallel = front.data.get("parallel") is True
    plan.requirements = [str(part) for part in listed(front.data.get("requirements"))]
    sections = gsd_blocks.sections(document)
    heading = next((m.group(2) for _, text in document.structure() if (m := _HEADING.match(text))), "")
    objective = sections.get("objective", ("", 0))[0].strip()
    plan.title = plan.title or plain_title(heading) or (objective.splitlines() or [""])[0]
    blocks = gsd_blocks.task_blocks(document, plan.diagnostics)
    if blocks:
        plan.tasks = [_block_task(plan, block, number) for number, block in enumerate(blocks, 1)]
    else:
        plan.tasks = _heading_tasks(plan) or _features(plan, sections)
    background = _background(sections, objective)
    given_files = [path for path in listed(front.data.get("files_modified")) if path]
    for task in plan.tasks:
        if len(plan.tasks) == 1 and not task.files:
            task.files = given_files
        if background:
            task.description = f"{task.description}\n\n{background}".strip()
        _tier(plan, task)
    if plan.tasks:
        plan.tasks[-1].criteria.extend(_whole_plan(plan, sections))
    for before, after in pairwise(plan.tasks):
        after.dependencies.append(before.id)
    _whose(plan)
    return plan


def _depends(data: dict[str, Any]) -> list[str] | None:
    for key in ("depends_on", "dependsOn", "dependencies", "requires"):
        if key in data:
            value = data[key]
            if isinstance(value, str):
                return references(value)
            items = [item for item in listed(value) if item]
            return [part for item in items for part in references(item)]
    return None


def _whose(plan: PlanFile) -> None:
    """Who does the tasks: checkpoints need a person; a plan that is not autonomous and has none needs approval."""
    if plan.front.data.get("autonomous") is False and all(task.autonomy == "auto" for task in plan.tasks):
        for task in plan.tasks:
            task.autonomy = "needs_approval"


def _tier(plan: PlanFile, task: TaskRead) -> None:
    for key in ("context_tier", "contextTier", "tier"):
        if key in plan.front.data:
            try:
                task.context_tier, task.tier_inferred = tier_of(plan.front.data[key]), False
            except BadTier as error:
                line = plan.front.lines.get(key)
                problem = plan.document.note("error", "bad-tier", str(error), line, "use 32, 64, 128 or 200")
                if problem not in plan.diagnostics:
                    plan.diagnostics.append(problem)
            return
    task.context_tier = infer_tier(files=len(task.files), characters=len(task.description))


def _background(sections: dict[str, tuple[str, int]], objective: str) -> str:
    parts = [f"Objective of the plan:\n{objective}"] if objective else []
    context = sections.get("context", ("", 0))[0].strip()
    if context:
        parts.append(f"Context:\n{context}")
    return "\n\n".join(parts)


def _block_task(plan: PlanFile, block: Block, number: int) -> TaskRead:
    kind = block.attributes.get("type", "auto").strip().lower()
    name = block.get("name", "title") or block.attributes.get("title", "") or block.attributes.get("name", "")
    title = plain_title(" ".join(name.split()))
    shorter = _NUMBERED.match(title)
    title = title[shorter.end() :] if shorter and shorter.end() < len(title) else title
    autonomy: Autonomy = "auto" if kind in _BY_AGENT else "human"
    if not title:
        first = next(
            (line.strip() for line in block.get("action", "what-built", "decision").splitlines() if line.strip()), ""
        )
        title = plain_title(first)[:120] or f"Task {number}"
    task = TaskRead(
        id=f"{plan.id}/{number}",
        title=title,
        file=plan.document.path,
        line=block.line,
        description=_description(block),
        files=[path for path in _paths(block.get("files")) if path],
        autonomy=autonomy,
        parallel=block.attributes.get("parallel", "").lower() == "true",
        phase=plan.phase or None,
    )
    task.criteria = _block_checks(plan, block)
    return task


def _description(block: Block) -> str:
    """All of the block but its name, files and checks; the action as it stands, the rest with its name above."""
    if not block.elements:
        return block.body.strip()
    parts = []
    for name, text in block.elements.items():
        body = text.strip("\n").rstrip()
        if (
            name in ("name", "title", "files", "verify", "verification", "done", "acceptance_criteria")
            or not body.strip()
        ):
            continue
        label = name.replace("_", " ").replace("-", " ").capitalize()
        parts.append(body.strip() if name == "action" else f"{label}:\n{body.strip()}")
    return "\n\n".join(parts)


def _paths(text: str) -> list[str]:
    """Paths in a files element: separated by commas or lines; remarks in parentheses or after a dash are cut."""
    found = []
    for part in re.split(r"[,\n]", text):
        bare = re.split(r"[ \t]+(?:\(|[-–—][ \t])", part.strip().lstrip("-*+ \t"), maxsplit=1)[0].strip().strip("`\"' ")
        if bare and len(bare) < 300:
            found.append(bare)
    return list(dict.fromkeys(found))


def _block_checks(plan: PlanFile, block: Block) -> list[Criterion]:
    found = []
    for name in ("verify", "verification"):
        text = block.elements.get(name)
        if text and text.strip():
            line = block.lines[name]
            automated = gsd_blocks.inner(text, "automated")
            if automated is not None:
                found.append(_automated(plan, automated, line))
                rest = text.partition("<automated>")[0] + text.partition("</automated>")[2]
                found.extend(checked(plan, part, line, "verify") for part in items(_bare(rest)))
            else:
                found.extend(checked(plan, part, line, "verify") for part in items(_bare(text)))
            break
    line = block.lines.get("acceptance_criteria", block.line)
    found.extend(
        checked(plan, part, line, "acceptance") for part in items(block.elements.get("acceptance_criteria", ""))
    )
    if block.get("done"):
        found.append(checked(plan, " ".join(block.get("done").split()), block.lines["done"], "done"))
    steps = items(block.elements.get("how-to-verify", ""))
    found.extend(Criterion(id="", kind="manual", text=step, category="verify") for step in steps)
    return found


def _bare(text: str) -> str:
    return re.sub(r"</?[a-z_-]{2,30}>", "\n", text).strip()


def _automated(plan: PlanFile, text: str, line: int) -> Criterion:
    if not text or _MISSING.match(text) or not (is_command(text) or "\n" in text):
        return checked(plan, text or "an automated check was to be added", line, "verify")
    command = unmask(text)
    value = Criterion(
        id="", kind="command" if command.provable else "manual", text=text, category="verify",
        command=command.command if command.provable else None, expect=command.expect,
    )  # fmt: skip
    return noted(plan, value, text, line, command.masked)


def _heading_tasks(plan: PlanFile) -> list[TaskRead]:
    """Plans without blocks: "### Task N: title" headings, each up to the next heading of its level or above."""
    document = plan.document
    structure = document.structure()
    starts = [(n, m) for n, text in structure if (m := _TASK_HEADING.match(text))]
    headings = [(n, len(m.group(1))) for n, text in structure if (m := _HEADING.match(text))]
    found = []
    position = 0
    for order, (number, match) in enumerate(starts, 1):
        level = len(match.group(1))
        while position < len(headings) and headings[position][0] <= number:
            position += 1
        following = next(
            (n for n, depth in islice(headings, position, None) if depth <= level), len(document.lines) + 1
        )
        body = document.lines[number : following - 1]
        while body and body[-1].strip() in ("", "---"):
            body.pop()
        task = TaskRead(
            id=f"{plan.id}/{order}", title=plain_title(match.group(3)), file=document.path, line=number,
            description="\n".join(body).strip(), phase=plan.phase or None,
        )  # fmt: skip
        _labels(plan, task, number, body)
        found.append(task)
    return found


def _labels(plan: PlanFile, task: TaskRead, first: int, body: list[str]) -> None:
    """Files and checks of a task told under bold labels."""
    mode = ""
    mask = plan.document.outside_fences()
    for offset, text in enumerate(body, first + 1):
        if not mask[offset - 1]:
            continue
        files, checks = _FILES_LINE.match(text), _CHECKS_LINE.match(text)
        if files:
            mode = "files"
            task.files.extend(path for path in paths_in(files.group(1)) or _paths(files.group(1)) if is_path(path))
        elif checks:
            mode = "checks"
            if checks.group(1).strip():
                task.criteria.append(checked(plan, checks.group(1), offset, "verify"))
        elif text.strip().startswith("**"):
            mode = ""
        elif mode and (item := _ITEM.match(text)):
            if mode == "files":
                task.files.extend(path for path in paths_in(item.group(2)) or _paths(item.group(2)) if is_path(path))
            else:
                ticked = box(text)
                task.criteria.append(checked(plan, ticked.text if ticked else item.group(2), offset, "verify"))
    task.files = list(dict.fromkeys(task.files))


def _features(plan: PlanFile, sections: dict[str, tuple[str, int]]) -> list[TaskRead]:
    """One ``<feature>`` block is one task; a plan with an objective and nothing else is one task, too."""
    text, line = sections.get("feature", ("", 0))
    if line:
        return [_block_task(plan, gsd_blocks.parse(Block(line, line, {"type": "tdd"}, body=text)), 1)]
    return []


def _whole_plan(plan: PlanFile, sections: dict[str, tuple[str, int]]) -> list[Criterion]:
    """must_haves, verification and success criteria: they verify the last task."""
    found = must_haves(plan)
    for name, category in (("verification", "verification"), ("success_criteria", "success")):
        if name in sections:
            text, line = sections[name]
            found.extend(checked(plan, part, line, category) for part in items(text))
    return found
