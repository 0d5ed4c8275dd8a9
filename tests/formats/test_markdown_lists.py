"""Markdown task lists of the corpus, and the rules of spec-kit, Kiro, OpenSpec and ai-dev-tasks."""

from __future__ import annotations

import counting
import pytest
from counting import EXPECTED

from schemas.formats import read_text
from schemas.reading import Reading
from schemas.validate import validate


def read(text: str, format: str | None = None, name: str = "tasks.md") -> Reading:
    return validate(read_text(name, text, format))


def codes(found: Reading) -> set[str]:
    return {problem.code for problem in found.diagnostics}


def by_id(found: Reading) -> dict[str, list[str]]:
    return {task.id: task.dependencies for task in found.tasks}


# --- counts of the corpus --------------------------------------------------------------------------------------------


def test_speckit_counts() -> None:
    name = "tasks-speckit/001-projspec-mvp-tasks.md"
    expected = EXPECTED[name]
    found = counting.reading(name)
    assert found.format == "speckit"
    assert (len(found.tasks), counting.done(found)) == (expected["tasks"], expected["done"])
    assert len(found.phases) == expected["phases"]
    assert sum(task.parallel for task in found.tasks) == expected["parallel"]
    assert (found.tasks[0].id, found.tasks[-1].id) == (expected["first"], expected["last"])
    heads = [f"Phase {phase.id}: {phase.title}"[:40] for phase in found.phases]
    assert heads == expected["phase_names"]
    edges = {phase.id: phase.dependencies for phase in found.phases}
    assert edges == {
        "1": [],
        "2": ["1"],
        "3": ["2"],
        "4": ["3"],
        "5": ["4"],
        **{str(n): ["5"] for n in range(6, 13)},
        "13": [str(n) for n in range(3, 13)],
    }
    assert by_id(found)["T020"] == ["T016", "T017", "T018", "T019"]
    assert found.tasks[0].files == ["pyproject.toml"]
    assert not found.errors


@pytest.mark.parametrize("name", counting.cases("tasks-kiro"))
def test_kiro_counts(name: str) -> None:
    expected = EXPECTED[name]
    found = counting.reading(name)
    assert found.format == "kiro"
    assert len(found.phases) == expected["sections"]
    assert len(counting.leaves(found)) == expected["leaves"]
    assert len(found.tasks) - len(counting.leaves(found)) == expected["parents"]
    assert sum(task.parallel for task in found.tasks) == expected["parallel"]
    assert sum(task.status == "skipped" for task in found.tasks) == expected["optional"]
    assert sum(task.box is not None for task in found.tasks) == expected["all_boxes"]
    assert counting.done(found) == expected["done"]
    lines = [c for task in found.tasks for c in task.criteria if c.category == "requirements"]
    assert len(lines) == expected["requirement_lines"]
    assert not found.errors


def test_openspec_counts() -> None:
    name = "tasks-openspec/add-change-stacking-awareness-tasks.md"
    found = counting.reading(name)
    assert found.format == "openspec"
    assert (len(found.tasks), len(found.phases)) == (EXPECTED[name]["tasks"], EXPECTED[name]["sections"])
    assert counting.done(found) == 0
    assert by_id(found)["1.3"] == ["1.2"]
    assert found.phases[1].dependencies == ["1"]


@pytest.mark.parametrize("name", counting.cases("tasks-hierarchical"))
def test_hierarchical_counts(name: str) -> None:
    expected = EXPECTED[name]
    found = counting.reading(name)
    assert found.format == "tasks_list"
    for depth, count in expected["numbered_boxes_by_depth"].items():
        boxes = [task for task in found.tasks if task.box and task.id.count(".") + 1 == int(depth)]
        assert len(boxes) == count
        assert sum(task.status == "completed" for task in boxes) == expected["done_by_depth"][depth]
    assert len(found.tasks) == sum(expected["numbered_boxes_by_depth"].values())
    checks = sum(len(phase.criteria) for phase in found.phases) + len(found.criteria)
    assert checks == expected["unnumbered_open"] + expected["unnumbered_done"]
    if "requires" in expected:
        assert len(counting.edges(found.tasks)) == expected["requires"]["edges"]
        assert "unknown-dependency" not in codes(found)
        assert all(task.criteria for task in found.tasks if task.id.count(".") == 2)
    assert not found.errors


def test_free_form_counts() -> None:
    brighter = counting.reading("tasks-custom/brighter-0001-kafka-dlq-tasks.md")
    expected = EXPECTED["tasks-custom/brighter-0001-kafka-dlq-tasks.md"]
    assert brighter.format == "free_form"
    assert (len(brighter.tasks), counting.done(brighter)) == (expected["tasks"], expected["tasks_done"])
    assert len({task.id for task in brighter.tasks}) == 49
    assert {"5", "5~2"} <= {phase.id for phase in brighter.phases}
    queue = counting.reading("tasks-custom/autonomous-dev-machine-TASKS.md")
    expected = EXPECTED["tasks-custom/autonomous-dev-machine-TASKS.md"]
    assert (len(queue.tasks), counting.done(queue)) == (expected["tasks"], expected["tasks_done"])
    assert counting.edges(queue.tasks) == expected["edges"]
    assert counting.statuses(queue)["in_progress"] == expected["in_progress"]
    assert counting.categories(queue.tasks)["deliverable"] == expected["boxes_open"] + expected["boxes_done"]
    assert [(t.estimate_minutes, t.estimate_text) for t in queue.tasks][1] == (360.0, "4-6 hours")


# --- spec-kit --------------------------------------------------------------------------------------------------------

TEMPLATE = """# Tasks: Demo
## Phase 1: Setup (Shared Infrastructure)
- [ ] T001 Create project structure
- [ ] T002 [P] Configure linting
## Phase 2: Foundational
- [ ] T003 Setup database in `src/db.py`
## Phase 3: User Story 1 - Foo (Priority: P1)
**Goal**: foo works
**Independent Test**: run `pytest tests/foo`
- [ ] T004 [P] [US1] Contract test in tests/a.py
- [ ] T005 [US1] Implement in src/a.py
## Phase 4: User Story 2 - Bar
- [ ] T006 [P] [US2] Contract test in tests/b.py
- [ ] T007 [P] [US2] Another in tests/b.py
## Phase N: Polish & Cross-Cutting Concerns
- [ ] T008 [P] Docs
"""
LIST = """## Dependencies & Execution Order
### Phase Dependencies
- **Setup (Phase 1)**: No dependencies - can start immediately
- **Foundational (Phase 2)**: Depends on Setup completion - BLOCKS all user stories
- **User Stories (Phase 3+)**: All depend on Foundational phase completion
  - Or sequentially in priority order (P1 → P2 → P3)
- **Polish (Final Phase)**: Depends on all desired user stories being complete
### User Story Dependencies
- **User Story 2 (P2)**: Can start after Foundational (Phase 2) - May integrate with US1
"""


def test_speckit_edges_come_from_the_list() -> None:
    found = read(TEMPLATE + LIST)
    assert {p.id: p.dependencies for p in found.phases} == {
        "1": [],
        "2": ["1"],
        "3": ["2"],
        "4": ["2"],
        "N": ["3", "4"],
    }
    assert found.phases[2].goal == "foo works"
    assert [c.kind for c in found.phases[2].criteria] == ["command"]
    assert by_id(found)["T007"] == ["T006"]
    assert "parallel-same-file" in codes(found)


def test_speckit_without_a_list_runs_in_order() -> None:
    found = read(TEMPLATE)
    assert [p.dependencies for p in found.phases] == [[], ["1"], ["2"], ["3"], ["4"]]
    assert by_id(found)["T002"] == ["T001"]


def test_speckit_older_sentences() -> None:
    found = read(
        "# Tasks\n## Phase 3.1: Tests\n- [ ] T004 [P] a\n- [ ] T005 [P] b\n## Phase 3.2: Core\n- [ ] T008 c\n"
        "- [ ] T009 [P] d\n## Dependencies\n- Tests (T004-T007) before implementation (T008-T014)\n"
        "- T008 blocks T009, T015\n"
    )
    assert by_id(found) == {"T004": [], "T005": [], "T008": ["T004", "T005"], "T009": ["T008", "T004", "T005"]}
    assert [p.id for p in found.phases] == ["3.1", "3.2"]


def test_speckit_duplicates_cycles_and_fences() -> None:
    text = "# Tasks\n## Phase 1: A\n- [ ] T001 a\n- [ ] T001 b\n- [X] T002 c\n\n```\n- [ ] T003 no task\n```\n"
    found = read(text)
    assert [task.id for task in found.tasks] == ["T001", "T001~2", "T002"]
    assert next(d for d in found.diagnostics if d.code == "duplicate-id").line == 4
    looped = read(
        text
        + "## Phase 2: B\n- [ ] T009 x\n## Dependencies\n- Phase 1 depends on Phase 2\n- Phase 2 depends on Phase 1\n"
    )
    assert "cycle" in {problem.code for problem in looped.errors}


def test_a_fence_that_swallows_tasks_is_reported() -> None:
    found = read("# Tasks\n## Phase 1: A\n- [ ] T001 a\n\n```bash\nls\n\n- [ ] T002 b\n")
    problem = next(d for d in found.diagnostics if d.code == "fence-swallows")
    assert (problem.line, len(found.tasks)) == (5, 1)
    assert problem.hint


# --- Kiro, OpenSpec, ai-dev-tasks ------------------------------------------------------------------------------------


def test_kiro_optional_and_written_edges() -> None:
    found = read(
        "# Implementation Plan\n- [x] 1. Parent\n  - [x] 1.1 One\n    - _Requirements: 1.1_\n  - [ ]* 1.2 Maybe\n"
        "    - _Requirements: 1.2_\n- [ ] 2. Leaf (P)\n  - _Depends: 1.1_\n  - _Requirements: 2.1_\n"
    )
    assert found.format == "kiro"
    tasks = {task.id: task for task in found.tasks}
    assert [tasks[id].status for id in ("1", "1.1", "1.2", "2")] == ["completed", "completed", "skipped", "pending"]
    assert tasks["1"].container
    assert not tasks["2"].container
    assert tasks["2"].dependencies == ["1.1"]
    assert tasks["1.2"].parent == "1"


def test_openspec_boxes_without_numbers_are_tasks_under_a_made_id() -> None:
    found = read("## 1. Build\n- [ ] 1.1 One\n- [ ] Two\n- [x] 1.2 Three\n", name="openspec/changes/add-x/tasks.md")
    assert (found.format, found.title) == ("openspec", "add-x")
    assert [task.id for task in found.tasks] == ["1.1", "1/u1", "1.2"]
    assert next(d for d in found.diagnostics if d.code == "no-id").line == 3


def test_ai_dev_tasks() -> None:
    found = read(
        "## Relevant Files\n- `src/a.ts` - main\n\n### Notes\n- x\n\n## Tasks\n- [ ] 0.0 Create feature branch\n"
        "  - [ ] 0.1 Branch\n- [ ] 1.0 Parent\n  - [ ] 1.1 Sub\n  - [x] 1.2 Other\n"
    )
    assert found.format == "tasks_list"
    assert [(t.id, t.parent, t.container) for t in found.tasks] == [
        ("0.0", None, True),
        ("0.1", "0.0", False),
        ("1.0", None, True),
        ("1.1", "1.0", False),
        ("1.2", "1.0", False),
    ]
    assert by_id(found)["1.0"] == ["0.0"]
    assert not found.phases


def test_a_ticked_parent_over_open_parts_is_a_conflict() -> None:
    found = read("# P\n- [x] 1. A\n- [ ] 1.1 a _x_\n  - _Requirements: 1_\n")
    assert next(d for d in found.diagnostics if d.code == "status-conflict").line == 2
