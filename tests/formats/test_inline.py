"""Inline plans: tasks with steps, and the bare forms."""

from __future__ import annotations

import counting
import pytest
from counting import EXPECTED

from schemas.formats import read_text
from schemas.reading import Reading
from schemas.validate import validate


def read(text: str, format: str | None = None) -> Reading:
    return validate(read_text("plan.md", text, format))


@pytest.mark.parametrize("name", counting.cases("inline-plan"))
def test_counts(name: str) -> None:
    expected = EXPECTED[name]
    found = counting.reading(name)
    assert found.format == "inline"
    assert len(found.tasks) == expected["tasks"]
    assert len(found.phases) == expected["chunks"]
    assert counting.done(found) == (expected["tasks"] if expected["done"] == expected["step_boxes"] else 0)
    steps = sum(task.description.count("**Step ") for task in found.tasks)
    assert steps >= expected["step_boxes"]
    assert [len(task.files) for task in found.tasks if task.files]
    assert not any(task.files_inferred for task in found.tasks if task.files)
    assert {d.code for d in found.diagnostics} <= {"fence-swallows"}


PLAN = """# Add a model
**Goal:** a model

### Task 1: Model

**Files:**
- Create: `src/model.py`
- Modify: `src/app.py:10-20`
- Test: `tests/test_model.py`

- [x] **Step 1: Write the failing test**

Run: `pytest tests/test_model.py -v`
Expected: FAIL with "no module"

- [ ] **Step 2: Implement**

Run:
```bash
pytest tests/test_model.py -v
```
Expected: PASS

### Task 10a: Docs ✅

**Step 1:** Write

```markdown
### Task 99: not a task
```

### Task 11: Ship

**Dependencies:** Task 1
Run: `cd /Users/me/app && make`
"""


def test_tasks_steps_files_and_runs() -> None:
    found = read(PLAN)
    tasks = {task.id: task for task in found.tasks}
    assert list(tasks) == ["1", "10a", "11"]
    assert tasks["1"].status == "in_progress"
    assert tasks["1"].files == ["src/model.py", "src/app.py", "tests/test_model.py"]
    assert [c.command for c in tasks["1"].criteria] == ["pytest tests/test_model.py -v"]
    assert tasks["10a"].status == "completed"
    assert tasks["10a"].title == "Docs"
    assert tasks["11"].dependencies == ["1"]
    assert next(d for d in found.diagnostics if d.code == "machine-path").line == tasks["11"].line
    assert "Step 2" in tasks["1"].description


def test_tasks_run_in_order() -> None:
    found = read("## Task 1: a\n**Step 1:** x\n## Task 2: b\n**Step 1:** y\n")
    assert [task.dependencies for task in found.tasks] == [[], ["1"]]


def test_a_ticked_heading_over_open_steps_is_a_conflict() -> None:
    found = read("### Task 1: a ✅\n- [ ] **Step 1: x**\n- [x] **Step 2: y**\n")
    assert found.tasks[0].status == "in_progress"
    assert next(d for d in found.diagnostics if d.code == "status-conflict").line == 1


BARE = """# Plan
## Phase 1: Basics (Week 1)
**Tasks:**
1. Set up the repository
   - detail
2. **Add CI:** with actions (2 hours)

**Deliverables:**
- `pytest -q` passes

## Phase 2: More (Week 2)
**Tasks:**
1. Do more

**Verification:**
- it looks right
"""


def test_numbers_under_phases() -> None:
    found = read(BARE)
    assert found.format == "inline"
    assert [(t.id, t.title, t.dependencies) for t in found.tasks] == [
        ("1.1", "Set up the repository", []), ("1.2", "Add CI", ["1.1"]), ("2.1", "Do more", []),
    ]  # fmt: skip
    assert found.tasks[1].estimate_minutes == 120
    assert [[c.kind for c in phase.criteria] for phase in found.phases] == [["command"], ["manual"]]
    assert found.phases[1].dependencies == ["1"]
    assert "made-ids" in {d.code for d in found.diagnostics}


def test_a_list_in_one_line() -> None:
    found = read("1. Do x. 2. Do y in `a.py`. 3. Test it")
    assert [(t.id, t.title) for t in found.tasks] == [("1", "Do x"), ("2", "Do y in `a.py`"), ("3", "Test it")]


def test_steps_in_prose_count_only_when_asked_for() -> None:
    text = "Some thoughts.\n\nStep 1: think\n\nStep 2: act\n"
    assert read(text).errors[0].code == "unknown-format"
    assert [t.title for t in read(text, "inline").tasks] == ["think", "act"]
