"""PROJECT_PLAN.md: which tasks of the queue may run by themselves."""

from __future__ import annotations

from pathlib import Path

import counting
import pytest
from counting import CORPUS, EXPECTED

from schemas.formats import read_path, read_text
from schemas.formats.project_plan import obstacles
from schemas.validate import validate

NAME = "project-plan/best-practice-ready-PROJECT_PLAN.md"

FIELDS = {
    "alignment score": "95/100 ✅",
    "estimated lines": "10 ✅",
    "tests defined": "✅ Yes (tests/unit/test_models.py)",
    "safety check": "✅ no schema change",
    "status": "READY",
}

QUEUE = """# Project Plan
## 📋 Task Queue
### Pending Approval ⏳
- **[p1]** Later
  - Alignment score: 99/100
  - Estimated lines: 5
  - Tests defined: ✅ Yes
  - Status: PENDING
### Ready for Autonomous Execution ✅
→ **[r1]** Models
  - Alignment score: 95/100 ✅
  - Estimated lines: 10 ✅
  - Tests defined: ✅ Yes (tests/unit/test_models.py)
  - Safety check: ✅ none
  - Status: READY
→ **[r2]** Big
  - Alignment score: Not calculated
  - Estimated lines: 31
  - Tests defined: ❌ No
  - Safety check: ⏳ open
→ **[r3]** After r1
  - Alignment score: 80/100
  - Estimated lines: 30
  - Tests defined: ✅ Yes
### Not Ready ❌
_(None yet)_
## ✅ Completed Tasks
### Session 1
→ **[r1]** Models
  - Commit: abc
→ **[old]** Old one
  - Commit: def
  - Lines: 10
→ **[bad]** Bad one
  - Rollback reason: tests failed
"""


def test_the_corpus() -> None:
    found = counting.reading(NAME)
    expected = EXPECTED[NAME]
    assert found.format == "project_plan"
    titles = {phase.id: phase.title for phase in found.phases}
    sections: dict[str, list[str]] = {}
    for task in found.tasks:
        sections.setdefault(titles[task.phase or ""], []).append(task.id)
    assert sections == expected["by_section"]
    assert [task.id for task in found.tasks if task.autonomy == "auto"] == [f"v1_task_{n}" for n in range(1, 6)]
    assert [task.estimate_text for task in found.tasks][:5] == [f"{n} lines" for n in (25, 20, 22, 30, 25)]
    assert all(task.estimate_minutes is None for task in found.tasks)
    assert not found.errors


@pytest.mark.parametrize(
    ("key", "value", "eligible"),
    [
        ("status", "READY", True),
        ("status", "ready ✅", True),
        ("status", "PENDING", False),
        ("status", "BLOCKED", False),
        ("alignment score", "80/100", True),
        ("alignment score", "79/100 ✅", False),
        ("alignment score", "Unknown", False),
        ("alignment score", "Not calculated", False),
        ("alignment score", "N/A", False),
        ("alignment score", "9/10", True),
        ("estimated lines", "30", True),
        ("estimated lines", "31", False),
        ("estimated lines", "~25", True),
        ("estimated lines", "20-40", False),
        ("estimated lines", "Unknown", False),
        ("tests defined", "❌ No", False),
        ("tests defined", "⏳ later", False),
        ("tests defined", "Yes", True),
        ("tests defined", "N/A", False),
        ("safety check", "⏳ review", False),
        ("safety check", "❌ touches auth", False),
        ("safety check", "fine", True),
    ],
)
def test_each_rule(key: str, value: str, eligible: bool) -> None:
    assert (obstacles("ready", {**FIELDS, key: value}) == []) is eligible


def test_status_may_be_absent_but_nothing_else_and_only_the_ready_section_runs() -> None:
    assert obstacles("ready", {k: v for k, v in FIELDS.items() if k != "status"}) == []
    assert obstacles("ready", {k: v for k, v in FIELDS.items() if k != "estimated lines"})
    assert all(obstacles(section, FIELDS) for section in ("pending", "not-ready", "other"))


def test_queue_log_and_order() -> None:
    found = validate(read_text("PROJECT_PLAN.md", QUEUE))
    tasks = {task.id: task for task in found.tasks}
    assert {id: task.autonomy for id, task in tasks.items()} == {
        "p1": "needs_approval",
        "r1": "auto",
        "r2": "needs_approval",
        "r3": "auto",
        "old": "auto",
        "bad": "needs_approval",
    }
    assert {id: task.status for id, task in tasks.items()} == {
        "p1": "pending",
        "r1": "pending",
        "r2": "pending",
        "r3": "pending",
        "old": "completed",
        "bad": "failed",
    }
    assert (tasks["r1"].dependencies, tasks["r3"].dependencies, tasks["p1"].dependencies) == ([], ["r1"], ["r3"])
    assert tasks["r1"].criteria[0].command == "python -m pytest -q tests/unit/test_models.py"
    conflict = next(d for d in found.diagnostics if d.code == "status-conflict")
    assert conflict.line == QUEUE[: QUEUE.index("### Session")].count("\n") + 2
    assert next(d for d in found.diagnostics if d.code == "needs-approval").line == tasks["r2"].line


def test_mojibake_reads_the_same() -> None:
    plain = validate(read_text("PROJECT_PLAN.md", QUEUE))
    for encoding in ("mac_roman",):
        garbled = validate(read_text("PROJECT_PLAN.md", QUEUE.encode("utf-8").decode(encoding)))
        assert [(t.id, t.autonomy, t.status, t.dependencies) for t in garbled.tasks] == [
            (t.id, t.autonomy, t.status, t.dependencies) for t in plain.tasks
        ]


def test_the_folder_of_notes_is_found(tmp_path: Path) -> None:
    notes = tmp_path / "docs" / "notes"
    notes.mkdir(parents=True)
    (notes / "PROJECT_PLAN.md").write_bytes((CORPUS / NAME).read_bytes())
    found = read_path(tmp_path)
    assert (found.format, len(found.tasks)) == ("project_plan", 7)


def test_an_id_twice_in_the_queue_needs_approval() -> None:
    block = QUEUE[QUEUE.index("→ **[r1]**") : QUEUE.index("→ **[r2]**")]
    found = validate(read_text("PROJECT_PLAN.md", "### Ready for Autonomous Execution ✅\n" + block * 2))
    assert [(task.id, task.autonomy) for task in found.tasks] == [("r1", "needs_approval")]
    assert next(d for d in found.diagnostics if d.code == "duplicate-id").line == 8
