"""Product requirement prompts: tasks in a fence, under headings, or as one; levels are gates (FORMATS 5.1)."""

from __future__ import annotations

import re
from dataclasses import replace

from schemas.formats.document import Document, Fence
from schemas.formats.draft import Draft, add_criterion
from schemas.formats.inline import TASK, task_at
from schemas.formats.markings import criterion, is_command, is_path
from schemas.formats.order import link
from schemas.formats.outline import Row, block_end, joined, rows, section_end, verbatim
from schemas.formats.touched import ticked_paths
from schemas.reading import Reading

NAME = "prp"

_SIGNS = (
    "all needed context", "implementation blueprint", "validation loop", "final validation checklist", "anti-patterns",
    "confidence score", "known gotchas", "desired codebase tree", "list of tasks", "step-by-step tasks",
    "validation commands", "patterns to mirror", "mandatory reading", "level 1", "completion checklist",
)  # fmt: skip
_FENCED = re.compile(
    r"[ \t]{0,2}(?:#{1,4}[ \t]+|-[ \t]+)?task[ \t]+(\d{1,6}[a-z]?)[ \t]*[:.\-–—][ \t]*(.*)$", re.IGNORECASE
)
_VERBS = "CREATE|MODIFY|UPDATE|ADD|EDIT|DELETE|REMOVE|RENAME|REFACTOR|REPLACE|MOVE|EXTEND|WRITE|IMPLEMENT"
_VERB = re.compile(rf"[ \t]*(?:-[ \t]+)?(?:\*\*)?({_VERBS})(?:\*\*)?[ \t]+`?([^\s`:]+)`?")
_HEADED = re.compile(rf"(?:\d{{1,3}}[.)][ \t]+)?(?:{_VERBS}|MIRROR)[ \t]+`?[\w./@\-]+")
_LEVEL = re.compile(r"\W{0,6}level[ \t]+(\d{1,2})\b[ \t]*[:.\-–—]?[ \t]*(.*)$", re.IGNORECASE)
_VALIDATE = re.compile(r"[ \t]*(?:-[ \t]+)?(?:\*\*)?VALIDATE(?:\*\*)?[ \t]*:(?:\*\*)?[ \t]*(.+)$")
_CHECKS = re.compile(
    r"success criteria|acceptance criteria|final (?:validation )?checklist|validation checklist|completion checklist|"
    r"completion criteria|definition of done|final validation|technical validation|feature validation|"
    r"code quality validation|documentation & deployment",
    re.IGNORECASE,
)
_SHELL = ("bash", "sh", "shell", "console", "zsh", "")


def recognise(document: Document) -> float:
    """By the names of its sections, and by its place."""
    table = rows(document)
    titles = " | ".join(row.text.casefold() for row in table if row.kind == "heading")
    signs = sum(1 for sign in _SIGNS if sign in titles)
    path = "/" + document.path.replace("\\", "/").lower()
    placed = "/prps/" in path or "/prp/" in path or document.name.lower().startswith("prp")
    marked = sum(1 for row in table if row.kind == "heading" and row.text.startswith("`[") and TASK.match(row.text))
    if signs >= 2 or (marked and (signs or placed)):
        return 0.94
    if marked >= 2 or (signs and placed):
        return 0.91
    return 0.5 if placed and table else 0.0


def read(document: Document) -> Reading:
    """Tasks in order, each after the one before unless it says otherwise; with none, the document is one task."""
    draft = Draft(document, NAME, source="SPEC")
    _title(draft)
    _headed(draft)
    if not draft.reading.tasks:
        for fence in document.fences():
            if _is_task_fence(document, fence):
                _fenced(draft, fence)
    _gates(draft)
    if not draft.reading.tasks:
        _whole(draft)
    link(draft)
    return draft.reading


def _title(draft: Draft) -> None:
    """A first line ``name: "…"`` is the title of the older template."""
    first = draft.document.line(1)
    if first.startswith("name:") and not any(row.kind == "heading" and row.level == 1 for row in draft.table):
        draft.reading.title = first[5:].strip().strip("\"'") or draft.reading.title


# --- tasks -----------------------------------------------------------------------------------------------------------


def _headed(draft: Draft) -> None:
    """ "### Task N: VERB path", "### `[x]` Task 1: …", or "### CREATE path" below a heading of tasks."""
    table = draft.table
    for index, row in enumerate(table):
        if row.kind != "heading" or row.level < 2:
            continue
        if TASK.match(row.text):
            task = task_at(draft, index, None)
        elif row.level > 2 and _HEADED.match(row.text) and "task" in _over(draft, index):
            end = section_end(table, index)
            task = draft.task(str(len(draft.reading.tasks) + 1), row.text, row)
            draft.describe(task, index, end)
        else:
            continue
        touched = [found.group(2) for found in [_VERB.match(task.title), *_verbs(task.description)] if found]
        paths = list(dict.fromkeys(path.rstrip(".,;") for path in touched if is_path(path.rstrip(".,;"))))
        if paths and (task.files_inferred or not task.files):
            task.files, task.files_inferred = paths, False


def _verbs(text: str) -> list[re.Match[str] | None]:
    return [_VERB.match(line) for line in text.splitlines()]


def _over(draft: Draft, index: int) -> str:
    return " | ".join(draft.table[one].text.casefold() for one in draft.sections.over(index)[:-1])


def _is_task_fence(document: Document, fence: Fence) -> bool:
    """A fence whose lines begin tasks: "Task 1: title", then lines such as CREATE path."""
    if fence.info.partition(" ")[0].lower() not in ("yaml", "yml", "", "text", "markdown", "md", "plaintext"):
        return False
    inside = document.lines[fence.start : fence.end - 1]
    tasks = sum(1 for text in inside if _FENCED.match(text))
    return bool(tasks) and (tasks >= 2 or any(_VERB.match(text) for text in inside))


def _fenced(draft: Draft, fence: Fence) -> None:
    document = draft.document
    starts = [n for n in range(fence.start + 1, fence.end + (not fence.closed)) if _FENCED.match(document.line(n))]
    ends = [*(start - 1 for start in starts[1:]), fence.end - fence.closed]
    for start, last in zip(starts, ends, strict=True):
        found = _FENCED.match(document.line(start))
        assert found is not None
        body = verbatim(document, start + 1, last)
        lines = body.splitlines()
        title = (
            found.group(2).strip() or next((text.strip(" :-") for text in lines if text.strip()), "") or found.group()
        )
        task = draft.task(found.group(1), title, Row(start, 0, "text", title))
        task.description = body
        task.files = _touched(lines)
        for text in lines:
            check = _VALIDATE.match(text)
            if check:
                add_criterion(task.criteria, check.group(1), category="validate")
        draft.tier(task, title, start)


def _touched(lines: list[str]) -> list[str]:
    paths = []
    for text in lines:
        found = _VERB.match(text)
        if found and is_path(path := found.group(2).rstrip(":.,;")):
            paths.append(path)
    return list(dict.fromkeys(paths))


def _whole(draft: Draft) -> None:
    row = next((one for one in draft.table if one.kind == "heading"), Row(1, 0, "text", draft.document.name))
    task = draft.task("1", draft.reading.title, row)
    task.description = verbatim(draft.document, draft.document.front_matter_end + 1, len(draft.document.lines))
    task.files = list(
        dict.fromkeys(path for one in draft.table if one.kind == "heading" for path in ticked_paths(one.text))
    )
    task.files_inferred = bool(task.files)
    draft.tier(task, task.title, row.line)
    draft.note("info", "one-task", "the document has no numbered tasks; it is read as one task", row.line)


# --- gates -----------------------------------------------------------------------------------------------------------


def _gates(draft: Draft) -> None:
    """Criteria of the plan: success criteria and checklists, then the validation levels in their order."""
    table = draft.table
    inside = {task.line for task in draft.reading.tasks}
    fences = draft.document.fences()
    for index, row in enumerate(table):
        if row.box and row.line not in inside:
            over = [table[one].text for one in draft.sections.over(index)]
            if over and any(_CHECKS.search(text) for text in over) and not any(TASK.match(text) for text in over):
                text = joined(table, index, block_end(table, index))
                add_criterion(draft.reading.criteria, text, category=over[-1].strip(" :").casefold())
    for index, row in enumerate(table):
        level = _LEVEL.match(row.text) if row.kind == "heading" or row.text.startswith("**") else None
        if level:
            end = section_end(table, index) if row.kind == "heading" else index + 1
            while (
                end < len(table)
                and row.kind != "heading"
                and not (table[end].kind == "heading" or _LEVEL.match(table[end].text))
            ):
                end += 1
            last = table[end].line if end < len(table) else len(draft.document.lines) + 1
            for fence in fences:
                if row.line < fence.start < last and fence.info.partition(" ")[0].lower() in _SHELL:
                    _commands(draft, fence, f"level {level.group(1)}")
        elif row.kind == "heading" and row.text.strip().casefold() == "validation commands":
            for position in range(index + 1, section_end(table, index)):
                if table[position].kind == "bullet":
                    text = joined(table, position, block_end(table, position))
                    add_criterion(draft.reading.criteria, text, category="validation")
    draft.guard(draft.reading.criteria, 1)


def _commands(draft: Draft, fence: Fence, category: str) -> None:
    """Each command of a fence is a gate; a fence with continued lines, here-documents or open quotes is one."""
    lines = [text.rstrip() for text in draft.document.lines[fence.start : fence.end - fence.closed]]
    code = [text for text in lines if text.strip() and not text.lstrip().startswith("#")]
    if not code:
        return
    if any(text.endswith("\\") or "<<" in text or text.count('"') % 2 or text.count("'") % 2 for text in code) or any(
        text[0].isspace() for text in code
    ):
        wanted = ["\n".join(code)]
    else:
        wanted = [re.split(r"[ \t]{2,}#", text, maxsplit=1)[0].strip().removeprefix("$ ") for text in code]
    for text in wanted:
        if is_command(text):
            made = criterion(text, id=f"c{len(draft.reading.criteria) + 1}", category=category)
            if made.kind == "manual" and made.command is None:
                made = replace(made, kind="command", command=text)
            draft.reading.criteria.append(made)
