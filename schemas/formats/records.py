"""Tasks written as records, in JSON, YAML or JSON lines: which keys mean what (FORMATS 8.3), and a TaskRead from one.

Keys that are in no family never act. What they say stands in the task's description, for whoever does the work.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from schemas.formats.criteria import checks_of, numbered
from schemas.formats.document import Document
from schemas.formats.markings import (
    BadTier,
    estimate,
    infer_tier,
    is_path,
    paths_in,
    plain_title,
    status_of,
    tier_in,
    tier_of,
)
from schemas.formats.positions import Key, Located, load_yaml, scalar_text
from schemas.formats.positions_json import load_json
from schemas.reading import Diagnostic, TaskRead
from schemas.values import Autonomy, Criterion, SourceStatus

FAMILIES: dict[str, tuple[str, ...]] = {
    "id": ("id", "key", "name"),
    "title": ("title", "name", "summary"),
    "description": ("description", "detail", "details", "notes"),
    "needs": ("dependencies", "depends_on", "dependsOn", "deps", "blocked_by", "blockedBy", "requires"),
    "blocks": ("blocks",),
    "criteria": (
        "acceptance_criteria", "acceptanceCriteria", "acceptance", "criteria", "success_criteria", "successCriteria",
        "verification",
    ),
    "files": ("files", "code_areas", "paths"),
    "estimate": ("estimate", "estimated_minutes", "estimatedMinutes", "effort", "estimatedDuration"),
    "status": ("status", "state", "passes", "done", "completed"),
    "tier": ("context_tier", "contextTier", "tier", "context"),
}  # fmt: skip
_MINUTES = frozenset({"estimated_minutes", "estimatedMinutes", "estimatedDuration"})
_STATES: dict[str, SourceStatus] = {
    "pass": "completed", "tombstone": "skipped", "hooked": "in_progress", "pinned": "blocked", "optional": "skipped",
    "spec_ready": "pending", "dispatched": "in_progress", "archived": "skipped",
}  # fmt: skip
"""Status words of single tools, beside those that everybody uses."""

_APPROVAL = frozenset({"needs_approval", "approval", "approve"})
_HUMAN = frozenset({"manual", "interactive", "human"})
_LONGEST = 20_000


def load(document: Document) -> Located:
    """A document's data, read once: as JSON when it is called or looks so, else as YAML."""
    if "data" not in document.cache:
        suffix = document.name.lower().rpartition(".")[2]
        start = document.text.lstrip("\ufeff \t\n")[:1]
        json = suffix == "json" or (start in ("{", "[") and suffix not in ("yaml", "yml"))
        reader = load_json if json else load_yaml
        document.cache["data"] = reader(document.text, file=document.path)
    found: Located = document.cache["data"]
    return found


def value_of(data: Mapping[str, Any], family: str) -> tuple[str, Any] | None:
    """The first key of a family that says something, with its value."""
    for key in FAMILIES[family]:
        if key in data and data[key] is not None and data[key] != "":
            return key, data[key]
    return None


def text_of(value: object) -> str:
    """A scalar as written, a list as lines, a mapping as ``key: value`` lines."""
    if isinstance(value, list):
        return "\n".join(f"- {text_of(item)}" for item in value if item is not None)
    if isinstance(value, dict):
        return "\n".join(f"{key}: {text_of(item)}" for key, item in value.items() if item not in (None, "", [], {}))
    return scalar_text(value)


def one_line(value: object) -> str:
    """A title: one line, without carriage returns or marks."""
    return plain_title(" ".join(text_of(value).split()))


def listed(value: object) -> list[Any]:
    """A list as it is, nothing as no items, anything else as one."""
    if isinstance(value, list):
        return [item for item in value if item not in (None, "")]
    return [] if value in (None, "", False) else [value]


def reference_of(item: object) -> str:
    """What a dependency says: an id, or a mapping that holds one."""
    if isinstance(item, dict):
        for key in ("depends_on_id", "id", "task", "task_id", "taskId", "ref", "key", "name", "on"):
            if isinstance(item.get(key), str | int | float) and not isinstance(item[key], bool):
                return scalar_text(item[key])
        return ""
    return "" if isinstance(item, bool | list) else scalar_text(item)


class Fields:
    """Reads what one record says about its task."""

    def __init__(self, data: Mapping[str, Any], *, document: Document, path: Key, located: Located) -> None:
        self.data = data
        self.document = document
        self.path = path
        self.located = located
        self.used: set[str] = set()
        self.diagnostics: list[Diagnostic] = []

    @property
    def line(self) -> int | None:
        """Where the record begins."""
        return self.located.line(self.path)

    def line_of(self, *keys: str | int) -> int | None:
        """Where a part of it stands."""
        return self.located.line((*self.path, *keys))

    def get(self, family: str) -> Any:
        """The value of a family; None if there is none."""
        found = value_of(self.data, family)
        if found is None:
            return None
        self.used.add(found[0])
        return found[1]

    def task(self, id: str) -> TaskRead:
        """A task with everything but its place among the others."""
        title = self.get("title")
        task = TaskRead(id=id, title=one_line(title) if not isinstance(title, bool) else "", file=self.document.path)
        task.line = self.line
        task.status = self.status()
        self._estimate(task)
        self._files(task)
        task.criteria = self.criteria()
        task.autonomy = self._autonomy()
        task.parallel = self.data.get("parallel") is True
        if not task.title:
            said = value_of(self.data, "description")
            task.title = (one_line(text_of(said[1]).strip().partition("\n")[0]) if said else "") or id
        return task

    def finish(self, task: TaskRead, *, subtasks: int = 0, skip: frozenset[str] = frozenset()) -> None:
        """Description and context tier, when all families have been read. ``skip``: keys that are said elsewhere."""
        task.description = self._description(skip)
        if not task.files:
            said = f"{task.description[:_LONGEST]}\n{text_of(self.data.get('title'))[:1000]}"
            task.files = [path for path in paths_in(said) if path[0] not in "~/"]
            task.files_inferred = bool(task.files)
        written = self._tier(task)
        characters = len(task.description) + len(task.title)
        task.context_tier = written or infer_tier(files=len(task.files), characters=characters, subtasks=subtasks)
        task.tier_inferred = written is None

    def status(self) -> SourceStatus:
        """The first key of the family that says something; keys that contradict it are reported."""
        found: list[tuple[str, SourceStatus]] = []
        for key in FAMILIES["status"]:
            value = self.data.get(key)
            if value is None or value == "" or isinstance(value, list | dict):
                continue
            self.used.add(key)
            state = _STATES.get(value.strip().casefold()) if isinstance(value, str) else None
            state = state or status_of(value)
            if state is None and key in ("passes", "done", "completed"):
                state = "pending" if value in (0, "no", "No") else "completed"
            if state is None:
                message = f"the {key} {text_of(value)[:60]!r} is no known state; taken as pending"
                self.note("unknown-status", message, key, "use todo, in_progress, done, blocked or cancelled")
                continue
            found.append((key, state))
        if not found:
            return "pending"
        for key, state in found[1:]:
            if (state == "completed") != (found[0][1] == "completed"):
                message = f"{found[0][0]} says {found[0][1]}, but {key} says {state}; {found[0][0]} counts"
                self.note("status-conflict", message, key, "correct the one or the other")
        return found[0][1]

    def note(self, code: str, message: str, key: str, hint: str = "", *, error: bool = False) -> None:
        """A diagnostic at a key of this record."""
        severity = "error" if error else "warning"
        self.diagnostics.append(self.document.note(severity, code, message, self.line_of(key), hint))  # type: ignore[arg-type]

    def criteria(self) -> list[Criterion]:
        """All checks of all keys of the family."""
        found: list[Criterion] = []
        for key in FAMILIES["criteria"]:
            if key in self.data and not isinstance(self.data[key], bool):
                self.used.add(key)
                for item in listed(self.data[key]):
                    found.extend(checks_of(item))
        return numbered(found)

    def _estimate(self, task: TaskRead) -> None:
        for key in FAMILIES["estimate"]:
            value = self.data.get(key)
            if value is None or isinstance(value, bool | list | dict):
                continue
            self.used.add(key)
            text = scalar_text(value).strip()
            if isinstance(value, int | float):
                if key in _MINUTES and math.isfinite(value) and 0 <= value < 1e7:
                    task.estimate_minutes, task.estimate_text = float(value), f"{text} minutes"
                else:
                    task.estimate_text = task.estimate_text or text
            else:
                read = estimate(text)
                task.estimate_minutes = read.minutes if read else None
                task.estimate_text = " ".join(text.split())[:200]
            if task.estimate_minutes is not None:
                return

    def _files(self, task: TaskRead) -> None:
        found: list[str] = []
        for key in FAMILIES["files"]:
            if key not in self.data:
                continue
            self.used.add(key)
            groups = self.data[key]
            items = (
                [item for group in groups.values() for item in listed(group)] if isinstance(groups, dict) else groups
            )
            for item in listed(items):
                text = reference_of(item) if not isinstance(item, dict) else text_of(item.get("path", item.get("file")))
                found.extend(part.strip().strip("`") for part in (text.split(",") if "," in text else [text]))
        task.files = [path for path in dict.fromkeys(found) if path and (is_path(path) or " " not in path)]

    def _autonomy(self) -> Autonomy:
        data = self.data
        kind = data.get("autonomy")
        if kind is None:
            kind = data.get("type")
        word = kind.strip().casefold().replace("-", "_") if isinstance(kind, str) else ""
        if word in _HUMAN or word.startswith("checkpoint"):
            return "human"
        if word in _APPROVAL or data.get("autonomous") is False:
            return "needs_approval"
        wanted = any(data.get(key) is True for key in ("needs_approval", "requires_approval", "requiresApproval"))
        return "needs_approval" if wanted else "auto"

    def _tier(self, task: TaskRead) -> int | None:
        for key in FAMILIES["tier"]:
            value = self.data.get(key)
            if value is None or isinstance(value, bool | list | dict):
                continue
            try:
                return tier_of(value)
            except BadTier as error:
                number = bool(re.match(r"\s*\d+\s*k?\s*(?:tokens?)?\s*$", scalar_text(value)[:40], re.I))
                if number or key in ("context_tier", "contextTier"):
                    self.note(
                        "bad-context-tier", str(error), key, "use 32, 64, 128 or 200 (thousand tokens)", error=True
                    )
                    return None
        try:
            return tier_in(task.title) or tier_in(task.description[:_LONGEST])
        except BadTier as error:
            self.note("bad-context-tier", str(error), "title", "use 32, 64, 128 or 200 (thousand tokens)", error=True)
            return None

    def _description(self, skip: frozenset[str]) -> str:
        main = [text_of(self.data[key]).strip() for key in FAMILIES["description"] if self.data.get(key)]
        known = self.used | skip | set(FAMILIES["description"]) | set(FAMILIES["id"])
        rest = []
        for key, value in self.data.items():
            if key in known or value in (None, "", [], {}) or isinstance(value, bool):
                continue
            text = text_of(value).strip()[:_LONGEST]
            rest.append(f"{key}:\n{text}" if "\n" in text or isinstance(value, list | dict) else f"{key}: {text}")
        return "\n\n".join([*(part for part in main if part), *(["\n".join(rest)] if rest else [])])
