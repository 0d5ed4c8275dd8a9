"""Task lists in YAML, or in JSON of no better known form (FORMATS 8.3).

Lists of tasks, alone or in phases, epics, features or milestones; lists by state (completed, in progress, planned);
bare arrays; BMAD's sprint status.
"""

from __future__ import annotations

import re

from schemas.formats.criteria import report_commands
from schemas.formats.document import Document
from schemas.formats.joins import Joins, in_order, report_parents
from schemas.formats.record_walk import Walk, plan_title
from schemas.formats.records import load
from schemas.formats.sprint_status import read_statuses, statuses
from schemas.reading import Reading

NAME = "yaml-tasks"

ENTRIES = ("sprint-status.yaml", "_bmad-output/implementation-artifacts/sprint-status.yaml")

_TOP = re.compile(
    r"^ {0,4}(?:tasks|epics|milestones|phases|stories|user_stories|features|todos?|sprints|stages|work_items|issues|"
    r"items|backlog|development_status)[ \t]*:",
    re.MULTILINE,
)
_ITEM = re.compile(
    r"^[ \t]*(?:-[ \t]+)?(?:\{[ \t]*)?[\"']?(?:id|title|name|key|summary|task)[\"']?[ \t]*:", re.MULTILINE
)
_ID = re.compile(r"^[ \t]*(?:-[ \t]+)?(?:\{[ \t]*)?[\"']?id[\"']?[ \t]*:", re.MULTILINE)
_STATE = re.compile(
    r"[\"']?\b(?:status|state|depends_on|dependsOn|deps|dependencies|blocked_by|blockedBy|passes|done|"
    r"acceptance_criteria|acceptanceCriteria|acceptance|priority|description)[\"']?[ \t]*:"
)
_OTHER_TOOLS = re.compile(
    r"^(?:apiVersion|kind|jobs|services|image|on|pipeline|hosts|swagger|openapi)[ \t]*:|"
    r"^[ \t]*-?[ \t]*(?:hosts|script|expected_output|ansible\.builtin\.\w+|become|cmds)[ \t]*:|"
    r"\"(?:expected_output|label)\"[ \t]*:",
    re.MULTILINE,
)
_JSON_TOP = re.compile(
    r"\"(?:tasks|epics|milestones|phases|stories|userStories|features|todos|items|issues|steps|sprints)\"\s{0,20}:\s{0,20}[\[{]"
)


def recognise(document: Document) -> float:
    """By known keys at the top and known keys in the items; files of other tools that look alike are left alone."""
    if document.directory:
        return 0.0
    name, text = document.name.lower(), document.text
    start = text.lstrip("\ufeff \t\n")[:1]
    json = start in ("{", "[") and not name.endswith((".yaml", ".yml", ".md"))
    if not json and not name.endswith((".yaml", ".yml")):
        return 0.0
    if not json and re.search(r"^development_status[ \t]*:", text, re.MULTILINE):
        return 0.95
    if "sprint-status" in name:
        return 0.9
    top = start == "[" if json else re.match(r"(?:\s|#.*\n|---.*\n)*-[ \t]", text) is not None
    keyed = bool((_JSON_TOP if json else _TOP).search(text))
    items, states = bool(_ITEM.search(text)) or '"title"' in text or '"id"' in text, bool(_STATE.search(text))
    if _OTHER_TOOLS.search(text) and not (states and _ID.search(text)):
        return 0.04
    if keyed and items and states:
        return 0.75
    if top and items and states:
        return 0.6
    if keyed:
        return 0.35
    return 0.2 if top and items else 0.0


def read(document: Document) -> Reading:
    """Everything that the known shapes hold."""
    reading = Reading(format=NAME, confidence=1.0, files=[document.source])
    located = load(document)
    reading.diagnostics.extend(located.diagnostics)
    if not located.ok:
        return reading
    joins = Joins(reading)
    sprint = statuses(located.data)
    if sprint is not None:
        read_statuses(document, located, joins, *sprint)
        reading.title = plan_title(located.data)
    else:
        walk = Walk(document, located, joins)
        walk.run()
        reading.title = walk.title
    if not reading.tasks:
        message = "there are no tasks in a form that is known"
        hint = "expected tasks: with a list of entries that have id, title and status"
        reading.diagnostics.append(document.note("error", "no-tasks", message, located.line(()), hint))
        return reading
    joins.resolve()
    in_order(joins)
    report_parents(reading)
    report_commands(reading)
    return reading
