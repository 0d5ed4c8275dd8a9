"""beads and Backlog.md (FORMATS 9)."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import counting
import mutating
import pytest
from counting import CORPUS, EXPECTED

from schemas.accept import accept
from schemas.formats import backlog, detect, read_path, read_text
from schemas.formats.document import Document
from schemas.reading import Reading
from schemas.validate import validate
from schemas.values import Plan

BEADS = counting.cases("beads")
BACKLOG = counting.cases("backlog-md")
STATES = {"open": "pending", "closed": "completed", "in_progress": "in_progress"}


def codes(found: Reading) -> list[str]:
    return [problem.code for problem in found.diagnostics]


def edges(found: Reading) -> dict[str, list[str]]:
    return {task.id: task.dependencies for task in found.tasks}


def issue(id: str, *needs: tuple[str, str], **more: object) -> dict[str, Any]:
    record: dict[str, Any] = {"id": id, "title": f"T {id}", "status": "open", "issue_type": "task", **more}
    if needs:
        record["dependencies"] = [{"issue_id": id, "depends_on_id": other, "type": kind} for kind, other in needs]
    return record


def read_issues(*records: object) -> Reading:
    lines = [record if isinstance(record, str) else json.dumps(record) for record in records]
    return validate(read_text(".beads/issues.jsonl", "\n".join(lines) + "\n"))


# --- beads ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BEADS)
def test_beads_counts(name: str) -> None:
    expected = EXPECTED[name]
    found = counting.reading(name)
    assert found.format == "beads"
    assert len(found.tasks) == expected["n"]
    assert Counter(task.status for task in found.tasks) == {
        STATES[key]: count for key, count in expected["status"].items()
    }
    assert sum(len(task.dependencies) for task in found.tasks) == expected["deps"]["blocks"]
    assert sum(task.parent is not None for task in found.tasks) == expected["parents"]
    assert sum(task.container for task in found.tasks) >= expected["type"]["epic"]
    assert sum(bool(task.criteria) for task in found.tasks) == expected["ac"]
    assert sum(task.estimate_minutes is not None for task in found.tasks) == expected["est"]
    done = {task.id for task in found.tasks if task.status == "completed"}
    ready = [task for task in found.tasks if task.status == "pending" and done.issuperset(task.dependencies)]
    assert len(ready) == expected["open_unblocked(strict:dangling blocks)"]
    assert [task.line for task in found.tasks] == list(range(1, expected["n"] + 1))
    assert not found.errors
    assert set(codes(found)) <= {"empty-epic"}
    assert isinstance(accept(found, plan_id="p", agent="agent"), Plan)


def test_which_edges_hold_work_back() -> None:
    found = read_issues(
        issue("p-a"),
        issue("p-b", ("blocks", "p-a"), ("related", "p-c"), ("discovered-from", "p-c"), ("blocks", "p-a")),
        issue("p-c", ("waits-for", "p-a"), ("conditional-blocks", "p-b"), ("blocked-by", "p-d")),
        issue("p-d", ("supersedes", "p-a"), ("tracks", "p-b")),
        {
            "id": "p-e",
            "title": "other writer",
            "status": "open",
            "type": "task",
            "depends_on": ["p-a"],
            "blocks": ["p-d"],
        },
    )
    assert edges(found) == {"p-a": [], "p-b": ["p-a"], "p-c": ["p-a", "p-b", "p-d"], "p-d": ["p-e"], "p-e": ["p-a"]}
    assert codes(found) == []


def test_parents_come_from_edges_fields_and_names() -> None:
    found = read_issues(
        issue("p-x", issue_type="epic", status="closed"),
        issue("p-x.1", ("parent-child", "p-x")),
        issue("p-y", parent="p-x"),
        issue("p-z", ("parent-child", "p-x"), ("parent-child", "p-y")),
        issue("p-q", ("parent-child", "p-gone")),
    )
    assert [task.parent for task in found.tasks] == [None, "p-x", "p-x", "p-x", None]
    assert edges(found) == {name: [] for name in edges(found)}
    assert {"two-parents", "unknown-parent", "status-conflict"} == set(codes(found))
    named = read_issues({"id": "p-x", "title": "a", "status": "open"}, {"id": "p-x.2", "title": "b", "status": "open"})
    assert [task.parent for task in named.tasks] == [None, "p-x"]
    loop = read_issues(issue("p-a", ("parent-child", "p-b")), issue("p-b", ("parent-child", "p-a")))
    assert ([task.parent for task in loop.tasks], codes(loop)) == (["p-b", None], ["parent-loop"])


def test_targets_that_are_not_there() -> None:
    found = read_issues(
        issue("p-a", ("blocks", "p-wisp-x1"), ("blocks", "p-nope"), ("blocks", "otherproject-7")),
        issue("p-g", issue_type="gate"),
        issue("p-b", ("blocks", "p-g")),
    )
    assert [(one.severity, one.code, one.line) for one in found.diagnostics] == [
        ("info", "not-a-task", 2),
        ("info", "external-dependency", 3),
        ("info", "external-dependency", 1),
        ("warning", "unknown-dependency", 1),
        ("info", "external-dependency", 1),
    ]
    assert edges(found) == {"p-a": [], "p-b": []}


def test_states_and_types() -> None:
    words = ["open", "in_progress", "blocked", "deferred", "closed", "pinned", "hooked", "tombstone"]
    found = read_issues(
        *(issue(f"p-{word}", status=word) for word in words),
        issue("p-1", issue_type="decision"), issue("p-2", issue_type="epic"), issue("p-3", issue_type="odd"),
        issue("p-4", pinned=True), issue("p-5", issue_type="message"),
    )  # fmt: skip
    assert [task.status for task in found.tasks][:8] == [
        "pending", "in_progress", "blocked", "skipped", "completed", "blocked", "in_progress", "skipped",
    ]  # fmt: skip
    assert [task.id for task in found.tasks][8:] == ["p-1", "p-2", "p-3", "p-4"]
    assert [task.autonomy for task in found.tasks][8:] == ["needs_approval", "needs_approval", "auto", "auto"]
    assert [task.status for task in found.tasks][-1] == "blocked"
    assert sorted(codes(found)) == ["empty-epic", "not-a-task", "unknown-type"]


def test_bad_lines_are_reported_and_the_rest_is_read() -> None:
    found = read_issues(
        issue("p-a"),
        '{"id": "p-b", "title": "cut',
        "<<<<<<< HEAD",
        {"action": "sync", "id": "p-log"},
        {"_type": "memory", "id": "p-m", "title": "Remember"},
        "[" * 100_000,
        issue("p-c", estimated_minutes=90, acceptance_criteria="- One\n- `npm test` passes", design="D", notes="N"),
    )
    assert [task.id for task in found.tasks] == ["p-a", "p-c"]
    assert [(one.code, one.line) for one in found.diagnostics] == [
        ("bad-line", 2), ("bad-line", 3), ("not-an-issue", 4), ("not-an-issue", 5), ("bad-line", 6),
    ]  # fmt: skip
    last = found.tasks[1]
    assert ([one.kind for one in last.criteria], last.estimate_minutes, last.line) == (["manual", "command"], 90.0, 7)
    assert "design: D" in last.description
    assert last.description.startswith("N")


def test_the_newest_line_of_an_id_counts() -> None:
    found = read_issues(
        issue("p-a", updated_at="2026-02-01T00:00:00Z", title="new"),
        issue("p-a", updated_at="2026-01-01T00:00:00Z", title="old", status="closed"),
        issue("p-b", title="first"),
        issue("p-b", title="second"),
    )
    assert [(task.title, task.line) for task in found.tasks] == [("new", 1), ("second", 4)]
    assert [(one.code, one.line) for one in found.diagnostics] == [("duplicate-id", 2), ("duplicate-id", 4)]


def test_loops_and_an_epic_that_waits_for_its_own_part() -> None:
    loop = read_issues(
        issue("p-a", ("blocks", "p-b")), issue("p-b", ("blocks", "p-c")), issue("p-c", ("blocks", "p-a"))
    )
    assert [(one.code, one.line) for one in loop.errors] == [("cycle", 1)]
    assert "p-a → p-b → p-c → p-a" in loop.errors[0].message
    epic = issue("p-e", ("blocks", "p-e.1"), issue_type="epic")
    own = read_issues(epic, issue("p-e.1", ("parent-child", "p-e")), issue("p-f", ("blocks", "p-f")))
    assert {one.code for one in own.errors} == {"cycle", "self-dependency"}
    assert edges(own) == {"p-e": ["p-e.1"], "p-e.1": [], "p-f": ["p-f"]}


def test_a_cycle_in_a_real_file_is_named_with_its_line() -> None:
    records = [json.loads(line) for line in counting.document("beads/skyhook-issues.jsonl").lines]
    records[1]["dependencies"].append({"issue_id": "skyhook-gld.1", "depends_on_id": "skyhook-gld.6", "type": "blocks"})
    found = read_issues(*records)
    assert [(one.code, one.line) for one in found.errors] == [("cycle", 2)]


def test_a_file_of_other_json_lines_is_not_taken() -> None:
    assert detect(Document.of("log.jsonl", '{"level": "info", "msg": "x"}\n' * 20))[0] != "beads"
    assert codes(validate(read_text("issues.jsonl", "\n\n", "beads"))) == ["no-tasks"]


# --- Backlog.md ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BACKLOG)
def test_backlog_counts(name: str) -> None:
    expected = EXPECTED[name]
    found = counting.reading(name)
    assert (found.format, len(found.tasks)) == ("backlog", 1)
    task = found.tasks[0]
    assert task.id == expected["id"]
    assert (task.status == "completed") == (expected["status"] == "Done")
    assert len(task.criteria) == expected["open"] + expected["done"]
    assert all(not one.text.startswith(("#", "[")) for one in task.criteria)
    outside = [one for one in found.diagnostics if one.code == "external-dependency"]
    assert [text for text in expected["deps"] if not any(repr(text) in one.message for one in outside)] == []
    lines = counting.document(name).lines
    assert [lines[(one.line or 0) - 1].strip(" -") for one in outside] == expected["deps"]
    assert task.parent == expected["parent"]
    assert task.description.startswith("## Description")
    assert not found.errors


def test_a_folder_joins_by_number_when_the_prefix_was_renamed(tmp_path: Path) -> None:
    done = tmp_path / "backlog" / "completed"
    done.mkdir(parents=True)
    for source in (CORPUS / "backlog-md").iterdir():
        (done / source.name).write_bytes(source.read_bytes())
    for number, folder, extra in (
        ("100", "tasks", "dependencies: [task-308.6, TASK-215, BACK-77]"),
        ("100.1", "tasks", "dependencies:\n  - task-9\nparent_task_id: BACK-100"),
        ("213", "archive", "dependencies: []"),
        ("5", "drafts", "dependencies: []"),
    ):
        (tmp_path / "backlog" / folder).mkdir(exist_ok=True)
        text = f"---\nid: BACK-{number}\ntitle: T\nstatus: To Do\nassignee: []\nlabels: []\n{extra}\n---\n\nText\n"
        (tmp_path / "backlog" / folder / f"back-{number} - T.md").write_text(text)
    (tmp_path / "backlog" / "readme.md").write_text("# Not a task\n")
    found = validate(read_path(tmp_path))
    assert found.format == "backlog"
    assert edges(found) == {
        "BACK-100.7": ["BACK-100.1"], "BACK-215": [], "BACK-308.06": [], "BACK-5": [],
        "BACK-100": ["BACK-308.06", "BACK-215"], "BACK-100.1": [],
    }  # fmt: skip
    assert {task.id: task.parent for task in found.tasks if task.parent} == {
        "BACK-100.7": "BACK-100", "BACK-100.1": "BACK-100",
    }  # fmt: skip
    assert [task.id for task in found.tasks if task.container] == ["BACK-100"]
    assert [task.autonomy for task in found.tasks if task.id == "BACK-5"] == ["needs_approval"]
    outside = [one.message for one in found.diagnostics if one.code == "external-dependency"]
    assert len(outside) == 1  # task-213 is archived
    unknown = [one for one in found.diagnostics if one.code == "unknown-dependency"]
    assert len(unknown) == 8
    assert all(one.line and one.file.endswith(".md") for one in unknown)
    assert len(found.files) == 6
    assert not found.errors


def test_criteria_stand_between_the_marks_or_below_their_heading() -> None:
    head = "---\nid: task-1\ntitle: One\nstatus: In Progress\nassignee: []\nlabels: []\ncreated_date: 2026-01-01\n---\n"
    text = f"""{head}
## Description
- [ ] not a criterion

## Acceptance Criteria
<!-- AC:BEGIN -->
- [x] #1 `npm test` passes
- [ ] #2 It looks good
<!-- AC:END -->
- [ ] neither

## Definition of Done
<!-- DOD:BEGIN -->
- [ ] #1 Tests pass
<!-- DOD:END -->

## Implementation Plan
- [ ] a step
```
- [ ] in a fence
```
"""
    found = read_text("task-1 - One.md", text)
    task = found.tasks[0]
    assert [(one.id, one.kind, one.text) for one in task.criteria] == [
        ("c1", "command", "`npm test` passes"), ("c2", "manual", "It looks good"), ("c3", "command", "Tests pass"),
    ]  # fmt: skip
    assert (task.status, task.line) == ("in_progress", 2)
    assert "- [ ] a step" in task.description
    old = read_text(
        "task-1 - One.md", f"{head}\n## Acceptance Criteria\n\n- [ ] First\n- [x] Second\n\n## Notes\n- [ ] x\n"
    )
    assert [one.text for one in old.tasks[0].criteria] == ["First", "Second"]


def test_front_matter_that_is_not_yaml_and_files_without_an_id() -> None:
    head = "---\nid: task-7\ntitle: Fix: the thing: now\nstatus: Doing it\nassignee: []\n"
    text = f"{head}labels: [a]\ndependencies: [task-3]\n---\nX\n"
    found = read_text("task-7 - Fix.md", text, "backlog")
    assert (found.tasks[0].title, found.tasks[0].id) == ("Fix: the thing: now", "task-7")
    assert "lenient-front-matter" in codes(found)
    named = read_text("task-8 - The-title.md", "---\nstatus: Done\n---\n", "backlog")
    assert [(one.id, one.title, one.status) for one in named.tasks] == [("task-8", "The title", "completed")]
    assert codes(read_text("notes.md", "# Notes\n", "backlog")) == ["no-id", "no-tasks"]
    assert backlog.recognise(Document.of("notes.md", "---\ntitle: x\n---\n")) == 0.0


# --- spoiled files, large files ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*BEADS, *BACKLOG])
def test_spoiled_files_end_with_a_plan_or_a_reason(name: str) -> None:
    raw = counting.document(name).raw
    format = counting.reading(name).format
    for kind, changed in mutating.spoiled(raw):
        found = mutating.read_spoiled(name.rpartition("/")[2], changed, format)
        if kind in ("windows line ends", "old mac line ends", "byte order mark"):
            assert [(one.id, one.title, one.line) for one in found.tasks] == [
                (one.id, one.title, one.line) for one in counting.reading(name).tasks
            ]
        if kind == "twice" and format == "beads":
            assert codes(found).count("duplicate-id") == EXPECTED[name]["n"]
        if kind == "merge conflict" and format == "beads":
            assert codes(found).count("bad-line") == 3


@pytest.mark.parametrize("name", [*BEADS, *BACKLOG])
def test_random_edits_end_with_a_plan_or_a_reason(name: str) -> None:
    raw = counting.document(name).raw
    format = counting.reading(name).format
    for seed in range(200):
        mutating.read_spoiled(name.rpartition("/")[2], mutating.edited(raw, seed), format if seed % 4 else None)


def test_ten_thousand_issues_take_two_seconds_at_most_and_linear_time() -> None:
    took = {}
    for count in (1000, 10_000):
        records = [issue(f"p-{n}", *([("blocks", f"p-{n - 1}")] if n else [])) for n in range(count)]
        text = "\n".join(json.dumps(record) for record in records)
        before = time.process_time()
        found = read_text("issues.jsonl", text, "beads")
        took[count] = time.process_time() - before
        assert (len(found.tasks), sum(len(one.dependencies) for one in found.tasks)) == (count, count - 1)
    assert took[10_000] < 2.0
    assert took[10_000] < 30 * max(took[1000], 0.02)
