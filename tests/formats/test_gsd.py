"""GSD as people really write it: every variant of FORMATS section 4, in small."""

from __future__ import annotations

from pathlib import Path

from schemas.formats import read_path, read_text
from schemas.formats.gsd_state import requirement_ids
from schemas.reading import Reading
from schemas.validate import validate

ODD = """\
# Roadmap: Odd

## Milestones
- [x] **v1.0 MVP** - Phases 1-4 (shipped 2026-01-01)
- 🚧 **v1.1** - Phases 5-9

## Phases
- [x] **Phase 0: Zero** - start
  - [x] 00-01: nested plan
- [ ] **Phase 2.1: Hotfix** (INSERTED) - one line

### Phase 0: Zero ✅
**Goal:** g
- [x] 00-01-PLAN.md: nested plan

### Phase 3A: Lettered
- **Goal:** lettered
- **Depends on:** Phase 2.1, Phase 0
- **Success Criteria**:
  - it works
    - in detail
  - it is fast
- **Plans:** TBD

## Phase PROJ-42: Coded
**Depends on**: All prior phases
**Success Criteria:** a works, b (x, y) holds, c

### ✅ Phase 5: done thing
**Status:** Complete

Success Criteria:

1. one
2. two

Plans:
- [ ] TBD
- [ ] 5-PLAN-01-setup.md
- [x] XR-05-02-PLAN.md — coded
- [ ] 05-03a-PLAN.md -- lettered
- [x] `05-04-PLAN.md`
- [ ] 07-01-cherry-pick-PLAN.md - slug

### Phase 06 — Name
Depends on: Phase 5 (some), v1.0 milestone, Phase 77
### Phase 8: Test - COMPLETE
### Phase 10: Plan the Complete Thing
"""


def read(text: str, name: str = "ROADMAP.md") -> Reading:
    return validate(read_text(name, text))


def test_odd_roadmap() -> None:
    found = read(ODD)
    assert [(p.id, p.title, p.status) for p in found.phases] == [
        ("0", "Zero", "completed"),
        ("2.1", "Hotfix", "pending"),
        ("3A", "Lettered", "pending"),
        ("5", "done thing", "in_progress"),
        ("06", "Name", "pending"),
        ("8", "Test", "completed"),
        ("10", "Plan the Complete Thing", "pending"),
        ("PROJ-42", "Coded", "pending"),
    ]
    by_id = {phase.id: phase for phase in found.phases}
    assert by_id["3A"].dependencies == ["2.1", "0"]
    assert by_id["06"].dependencies == ["5"]
    assert by_id["PROJ-42"].dependencies == ["0", "2.1", "3A", "5", "06", "8", "10"]
    assert [c.text for c in by_id["3A"].criteria] == ["it works\n- in detail", "it is fast"]
    assert [c.text for c in by_id["PROJ-42"].criteria] == ["a works", "b (x, y) holds", "c"]
    assert [c.text for c in by_id["5"].criteria] == ["one", "two"]
    plans = [(t.id, t.title) for t in found.tasks if t.phase == "5"]
    assert plans == [
        ("5-01", "setup"),
        ("XR-05-02", "coded"),
        ("05-03a", "lettered"),
        ("05-04", "Plan 05-04"),
        ("07-01", "slug"),
    ]
    assert [t.id for t in found.tasks if t.phase == "0"] == ["00-01"]
    assert sorted(d.code for d in found.diagnostics) == [
        "external-dependency",
        "status-conflict",
        "unresolved-dependency",
    ]


def test_phases_without_a_word_about_dependencies_follow_each_other() -> None:
    found = read("## Phase 2: b\n## Phase 10: c\n## Phase 1: a\n")
    assert [phase.id for phase in found.phases] == ["1", "2", "10"]
    assert [task.dependencies for task in found.tasks] == [[], ["phase-1"], ["phase-2"]]
    assert [phase.dependencies for phase in found.phases] == [[], [], []]
    other = read("## Phase 1: a\n## Phase 2: b\n**Execution Order:**\nPhases execute: 2 → 1\n")
    assert {task.id: task.dependencies for task in other.tasks} == {"phase-1": ["phase-2"], "phase-2": []}


def test_waves_order_plans_and_stated_edges_overrule_them() -> None:
    found = read(
        "## Phase 6: x\nPlans:\n"
        "- [ ] 06-01: a (Wave 1)\n- [ ] 06-02: b (Wave 1, parallel)\n"
        "- [ ] 06-03: c (Wave 2)\n- [ ] 06-04: d (Wave 3)\n\n"
        "**Wave Structure:**\n- Wave 1: 06-01, 06-02\n- Wave 3: 06-04 (depends on 06-01)\n"
    )
    assert {t.id: t.dependencies for t in found.tasks} == {
        "06-01": [], "06-02": [], "06-03": ["06-01", "06-02"], "06-04": ["06-01"],
    }  # fmt: skip


TASKS = """\
---
phase: XR-06-fix-auth
plan: 02
autonomous: false
depends_on: ["01", XR-07-01]
files_modified: [a.py]
---
<tasks>
```xml
<task type="auto">
<name>an example</name>
</task>
```
<task id="4" title="C4: Do & <T> things" type="code">
  <action>
  if (a < b && c) { return List<T>; }
  ```xml
  <task type="auto">
  </task>
  ```
  <verify>is text here</verify>
  </action>
  <verification>`make check` passes</verification>
</task>
  <task type="checkpoint:decision" gate="blocking">
    <decision>Which colour?</decision>
    <options>red, blue</options>
  </task>
<task type="auto" tdd="true">
  <name>Task 3: Open fence</name>
  <action>
  ```
  never closed
  </action>
  <verify><automated>MISSING — Wave 0 must create it</automated></verify>
</task>
<task type="manual"><name>Plug it in</name></task>
</tasks>
<verification>
1. `make all` exits 0
2. It looks right
</verification>
"""


def test_task_blocks_are_not_xml() -> None:
    found = read(TASKS, "06-02-PLAN.md")
    assert [(t.id, t.title, t.autonomy) for t in found.tasks] == [
        ("XR-06-02/1", "C4: Do & <T> things", "auto"),
        ("XR-06-02/2", "Which colour?", "human"),
        ("XR-06-02/3", "Open fence", "auto"),
        ("XR-06-02/4", "Plug it in", "human"),
    ]
    first, _, third, last = found.tasks
    assert "List<T>" in first.description
    assert [(c.kind, c.command) for c in first.criteria] == [("command", "make check")]
    assert [c.kind for c in third.criteria] == ["manual"]
    assert [(c.kind, c.command) for c in last.criteria] == [("command", "make all"), ("manual", None)]
    assert [d.message for d in found.diagnostics if d.code == "outside-dependency"]


def test_a_plan_that_is_not_autonomous_and_names_nobody_needs_approval() -> None:
    text = "---\nphase: 1\nplan: 1\nautonomous: false\n---\n<task type='auto'>\n<name>x</name>\n</task>\n"
    assert [t.autonomy for t in read(text, "PLAN.md").tasks] == ["needs_approval"]


def test_checks_of_must_haves() -> None:
    text = (
        "---\nphase: 01\nplan: 01\nmust_haves:\n  truths: [it: works, plain]\n  artifacts:\n"
        "    - {path: a.ts, min_lines: 5, contains: x, contains_not: 'y|z', exports: [One, two]}\n"
        "  key_links:\n    - {from: a.ts, to: b.ts, via: import, pattern: 'import.*b'}\n"
        "    - {from: a.ts, to: c.ts, pattern: '(['}\n    - {from: some api, to: x, pattern: y}\n---\n<task>\n</task>\n"
    )
    found = read(text, "01-01-PLAN.md")
    checks = found.tasks[0].criteria
    assert [(c.category, c.kind) for c in checks] == [
        ("truths", "manual"), ("truths", "manual"), ("artifacts", "file"), ("exports", "regex"),
        ("key_links", "regex"), ("key_links", "regex"), ("key_links", "manual"),
    ]  # fmt: skip
    artifact = checks[2]
    assert (artifact.path, artifact.min_lines, artifact.contains, artifact.absent) == ("a.ts", 5, "x", "y|z")
    assert [d.code for d in found.diagnostics] == ["bad-regex"]


def test_a_project_with_summaries_state_and_requirements(tmp_path: Path) -> None:
    planning = tmp_path / ".planning"
    folder = planning / "phases" / "01-base"
    folder.mkdir(parents=True)
    (planning / "ROADMAP.md").write_text(
        "- [ ] **Phase 1: Base**\n\n## Phase 1: Base\n**Requirements**: A-01 through A-02, B-9\n"
        "Plans:\n- [ ] 01-01-PLAN.md — one\n- [ ] 01-02-PLAN.md — two\n- [ ] 01-03-PLAN.md — three\n"
    )
    block = "<task type='auto'>\n<name>t</name>\n</task>\n"
    (folder / "01-01-PLAN.md").write_text(f"---\nphase: 01-base\nplan: 01\ndepends_on: []\n---\n{block}")
    (folder / "01-01-SUMMARY.md").write_text("done")
    (folder / "01-02-PLAN.md").write_text(f"---\nphase: 01-base\nplan: 02\ndepends_on: [03, 9-9]\n---\n{block}")
    (planning / "REQUIREMENTS.md").write_text("- [ ] **A-01**: x\n- [ ] **A-02**: y\n- [ ] **A-03**: z\n")
    (planning / "STATE.md").write_text(
        "---\nprogress:\n  total_phases: 2\n  completed_plans: 1\n  percent: 0\n---\nPhase: 1 of 3 (Base)\n"
    )
    found = validate(read_path(tmp_path))
    assert [(t.id, t.status, t.dependencies) for t in found.tasks] == [
        ("01-01/1", "completed", []),
        ("01-02/1", "pending", ["01-03"]),
        ("01-03", "pending", ["01-01/1"]),  # not after 01-02, which waits for it
    ]
    codes = sorted((d.code, Path(d.file).name, d.line) for d in found.diagnostics)
    assert codes == [
        ("requirement-in-no-phase", "REQUIREMENTS.md", 3),
        ("state-disagrees", "STATE.md", 3),
        ("state-disagrees", "STATE.md", 7),
        ("unknown-requirement", "REQUIREMENTS.md", None),
        ("unresolved-dependency", "01-02-PLAN.md", None),
    ]


def test_requirement_ranges() -> None:
    assert requirement_ids("[AUTH-01, AUTH-02]") == ["AUTH-01", "AUTH-02"]
    assert requirement_ids("EXTRACT-01..03, X-1 through X-3") == [
        "EXTRACT-01",
        "EXTRACT-02",
        "EXTRACT-03",
        "X-1",
        "X-2",
        "X-3",
    ]


def test_implied_order_never_closes_a_circle(tmp_path: Path) -> None:
    planning = tmp_path / ".planning"
    for phase, plan, needs in (("01", "01", "[]"), ("01", "02", "[02-01]"), ("02", "01", "[]")):
        folder = planning / "phases" / f"{phase}-x"
        folder.mkdir(parents=True, exist_ok=True)
        text = f"---\nphase: {phase}-x\nplan: {plan}\ndepends_on: {needs}\n---\n<task>\n<name>t</name>\n</task>\n"
        (folder / f"{phase}-{plan}-PLAN.md").write_text(text)
    (planning / "ROADMAP.md").write_text("## Phase 1: a\n## Phase 2: b\n")
    found = validate(read_path(planning))
    assert not found.diagnostics
    assert {t.id: t.dependencies for t in found.tasks} == {"01-01/1": [], "01-02/1": ["02-01/1"], "02-01/1": []}
