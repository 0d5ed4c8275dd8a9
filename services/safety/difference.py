"""The check on what a task did: paths, added lines, deletions, renames, modes, links and submodules (VE-9)."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

from schemas.safety.globs import matching
from schemas.safety.operations import OPERATIONS
from schemas.safety.paths import DOCUMENTS, TESTS
from schemas.values import Plan, Task
from services.safety.answer import Answer, Findings
from services.safety.request import declared, tested
from services.workspace.difference import LINK, SUBMODULE, FileChange


def check_difference(plan: Plan, task: Task, changes: Sequence[FileChange], *, approved: bool = False) -> Answer:
    """What the rules of the plan say about what a task changed.

    ``approved``: a person let it start, and so allowed the operations that it was known to need (C17).
    """
    waived = [concern.operation for concern in task.concerns] if approved else []
    findings = Findings(plan.policy.safety, waived)
    for change in changes:
        _file(findings, change)
    lines = changed_lines(changes)
    limit = plan.policy.safety.max_lines
    if limit is not None and lines > limit:
        findings.add("size", f"{lines} lines changed outside tests and documents are more than {limit}")
    wrote_tests = any(change.status != "D" and matching(change.path, TESTS) for change in changes)
    if plan.policy.safety.tests_required and changes and not tested(task) and not wrote_tests:
        findings.add("tests", "it has no check that needs nobody, and it wrote no test")
    return findings.answer()


def changed_lines(changes: Sequence[FileChange]) -> int:
    """Added and removed lines in all, outside tests and documents (C17)."""
    return sum(c.added + c.removed for c in changes if not matching(c.path, (*TESTS, *DOCUMENTS)))


def _file(findings: Findings, change: FileChange) -> None:
    for path in change.paths:
        declared(findings, path)
    path = change.path
    if change.status == "D":
        findings.add("delete", f"{path} is deleted")
    if SUBMODULE in (change.old_mode, change.new_mode):
        findings.add("git", f"{path} is a submodule")
    if change.new_mode == LINK:
        _link(findings, change)
    elif change.unreadable:
        findings.add("binary", f"{path} is binary or too large to be read")
    if change.status in ("M", "R") and change.old_mode != change.new_mode:
        findings.add("modes", f"the mode of {path} changes from {change.old_mode} to {change.new_mode}")
    _content(findings, change)


def _link(findings: Findings, change: FileChange) -> None:
    """Git keeps the target of a link as its text."""
    target = change.after or ""
    landed = posixpath.normpath(posixpath.join(posixpath.dirname(change.path), target))
    if target.startswith("/") or landed.split("/")[0] == "..":
        findings.add("escape", f"{change.path} leads out of the workspace, to {target[:200]}")
    else:
        findings.add("links", f"{change.path} is a link to {target[:200]}")


def _content(findings: Findings, change: FileChange) -> None:
    """Lines are named by their place, never shown: there may be a secret in them."""
    for operation in OPERATIONS.values():
        for pattern in operation.content:
            if (place := change.place_of(pattern)) is not None:
                findings.add(operation.name, f"{place} would {operation.meaning}")
                break
    for pattern in findings.safety.forbidden_content:
        if (place := change.place_of(pattern)) is not None:
            findings.add("content", f"{place} has what {pattern} forbids")
