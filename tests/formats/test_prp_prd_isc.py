"""Requirement documents: PRP, PRD with and without front matter, ideal state criteria."""

from __future__ import annotations

import counting
from counting import EXPECTED

from schemas.formats import prd, read_text
from schemas.formats.isc import check
from schemas.reading import Reading
from schemas.validate import validate


def read(text: str, format: str | None = None, name: str = "plan.md") -> Reading:
    return validate(read_text(name, text, format))


def codes(found: Reading) -> set[str]:
    return {problem.code for problem in found.diagnostics}


# --- PRP -------------------------------------------------------------------------------------------------------------


def test_tasks_in_a_fence() -> None:
    name = "prp/multi-agent-prp.md"
    expected = EXPECTED[name]
    found = counting.reading(name)
    assert found.format == "prp"
    assert (len(found.tasks), counting.done(found)) == (expected["tasks"], expected["tasks_done"])
    groups = [criterion.category or "" for criterion in found.criteria]
    assert groups.count("success criteria") == expected["success_criteria"]
    assert groups.count("final validation checklist") == expected["checklist_items"]
    levels = sorted({group for group in groups if group.startswith("level")})
    assert levels == [f"level {n}" for n in range(1, expected["validation_levels"] + 1)]
    assert all(c.kind == "command" for c in found.criteria if (c.category or "").startswith("level"))
    assert found.tasks[0].files == ["config/settings.py", ".env.example"]
    assert found.tasks[1].dependencies == ["1"]
    assert found.title == "Multi-Agent System: Research Agent with Email Draft Sub-Agent"


def test_tasks_under_headings_with_a_state() -> None:
    name = "prp/consolidate-prp-skills.plan.md"
    expected = EXPECTED[name]
    found = counting.reading(name)
    assert found.format == "prp"
    assert (len(found.tasks), counting.done(found)) == (expected["tasks"], expected["tasks_done"])
    groups = [criterion.category for criterion in found.criteria]
    assert groups.count("acceptance criteria") == expected["acceptance_criteria"]
    assert found.tasks[0].box == (63, 6)
    assert all(task.criteria for task in found.tasks)


def test_headed_tasks_with_verbs() -> None:
    found = read(
        "# PRP\n## All Needed Context\n## Implementation Blueprint\n### Task 1: CREATE src/a.py\n- IMPLEMENT: it\n"
        "- VALIDATE: `pytest -q`\n### `[wip]` Task 2: UPDATE src/b.py\n- GOTCHA: x\n### `[f]` Task 3: c\n"
        "- depends on: Task 1\n## Validation Loop\n### Level 1: Style\n```bash\nruff check .\n```\n"
    )
    assert [(t.files, t.status) for t in found.tasks] == [
        (["src/a.py"], "pending"),
        (["src/b.py"], "in_progress"),
        ([], "failed"),
    ]
    assert [c.command for c in found.tasks[0].criteria] == ["pytest -q"]
    assert [c.command for c in found.criteria] == ["ruff check ."]


def test_a_prp_without_tasks_is_one_task() -> None:
    found = read(
        "# Feature\n## All Needed Context\ntext\n## Validation Loop\n### Level 2: Unit\n```bash\npytest\n```\n"
    )
    assert (len(found.tasks), found.tasks[0].title) == (1, "Feature")
    assert "one-task" in codes(found)


# --- PRD -------------------------------------------------------------------------------------------------------------


def test_a_plain_prd_in_two_languages_has_no_tasks() -> None:
    name = "prd-plain/aastar-sdk-zh-PRD.md"
    found = counting.reading(name)
    assert (found.format, len(found.tasks), len(found.phases)) == ("prd", 0, EXPECTED[name]["phases"])
    assert [problem.code for problem in found.errors] == ["no-tasks"]


def test_front_matter_with_issues() -> None:
    name = "prd-frontmatter/autonomous-workflow-v2-prd.md"
    expected = EXPECTED[name]
    found = counting.reading(name)
    assert (found.format, len(found.tasks), len(found.phases)) == ("prd", expected["tasks"], expected["phases"])
    kinds = [criterion.category for criterion in found.criteria]
    assert kinds.count("requirement") == expected["fr_frontmatter"]
    assert kinds.count("acceptance") == expected["ac"]
    assert len(found.criteria) == expected["fr_frontmatter"] + expected["ac"]
    spoken = sum(c.text.count("\n") for c in found.criteria)
    assert spoken == expected["gwt"] - 1  # the 38th is prose in line 306: "When ambiguous decisions arise, …"
    assert {"missing-issue", "machine-path", "no-tasks"} <= codes(found)


def test_issues_are_joined_by_id() -> None:
    expected = EXPECTED["prd-frontmatter/autonomous-workflow-v2-prd.md"]
    document = counting.document("prd-frontmatter/autonomous-workflow-v2-prd.md")
    document.siblings = {".beads/issues.jsonl": counting.document("beads/dotfiles-issues.jsonl")}
    found = validate(prd.read(document))
    assert len(counting.leaves(found)) == expected["related_issues"]
    assert len(found.tasks) - len(counting.leaves(found)) == expected["related_epics"]
    assert counting.statuses(found) == {"completed": 21, "in_progress": 2}
    assert not found.errors


def test_phases_of_a_plan_become_drafts() -> None:
    found = read(
        "# Thing PRD\nLegend: ✅ ported, 🚧 partial, ❌ todo, ⛔ not suitable\n## Requirements\n"
        "| ID | Requirement | Priority |\n|---|---|---|\n| FR-1 | works | P0 |\n"
        "## Acceptance Criteria\n### AC-1: Login\n- **Given** x\n- **When** y\n- **Then** z\n"
        "## Patterns\n- [x] a pattern\n## Implementation Phases\n### Phase 1: Base\n- ✅ Done thing\n- 🚧 Half\n"
        "- ❌ Open\n- ⛔ Never\n### Phase 2: More\n- Later\n  - detail\n",
        name="thing-prd.md",
    )
    assert [(t.id, t.title, t.status) for t in found.tasks] == [
        ("1.1", "Done thing", "completed"),
        ("1.2", "Half", "in_progress"),
        ("1.3", "Open", "pending"),
        ("1.4", "Never", "skipped"),
        ("2.1", "Later", "pending"),
    ]
    assert {task.autonomy for task in found.tasks} == {"needs_approval"}
    assert [criterion.id for criterion in found.criteria] == ["FR-1", "AC-1"]
    assert "draft-tasks" in codes(found)


# --- ISC -------------------------------------------------------------------------------------------------------------


def test_isc_counts() -> None:
    name = "prd-isc/windows-11-support-mid-PRD.md"
    expected = EXPECTED[name]
    found = counting.reading(name)
    assert found.format == "isc"
    assert len(found.criteria) == expected["criteria"]
    assert sum(criterion.negate for criterion in found.criteria) == expected["anti"]
    assert sum("| Verify:" in criterion.text for criterion in found.criteria) == expected["with_verify"]
    groups: dict[str, int] = {}
    for criterion in found.criteria:
        groups[criterion.category or ""] = groups.get(criterion.category or "", 0) + 1
    assert groups == expected["groups"]
    assert [task.id for task in found.tasks] == [f"phase-{n}" for n in range(8)]
    stale = next(d for d in found.diagnostics if d.code == "stale-summary")
    assert f"{expected['done']} of {expected['criteria']}" in stale.message
    assert stale.line == 14


def test_isc_polarity_and_methods() -> None:
    assert check("ISC-A-1", "Anti: no secrets in the log").negate
    assert check("ISC-A1", "no new dependency | Verify: Custom: look").negate
    assert not check("ISC-AB-1", "text").negate
    grep = check("ISC-A-2", "Anti: console.log left | Verify: Grep: `console.log` in src/app.ts")
    assert (grep.kind, grep.pattern, grep.source, grep.negate) == ("regex", r"console\.log", "src/app.ts", True)
    assert check("ISC-C1", "Server answers | Verify: CLI: `curl -f localhost:8888/health`").kind == "command"
    assert check("ISC-C2", "It looks right | Verify: Browser: `npm test`").kind == "manual"
    assert check("ISC-C3", "Typed | Verify: Read: check the file").kind == "manual"


def test_isc_third_generation() -> None:
    found = read(
        "---\ntask: Fix the voice\nslug: 20260101_fix-voice\neffort: standard\nphase: verify\nprogress: 2/3\n"
        "mode: loop\n---\n# Fix\n## Criteria\n- [x] ISC-1: Voice speaks\n- [ ] ISC-2: Voice stops\n"
        "- [ ] ISC-A-1: Anti: it screams\n"
        "## Verification\n- ISC-1: heard it\n"
    )
    assert found.format == "isc"
    assert [(t.id, t.title, t.status, len(t.criteria)) for t in found.tasks] == [
        ("20260101_fix-voice", "Fix the voice", "in_progress", 3),
    ]
    assert {"stale-summary", "few-criteria"} <= codes(found)


def test_isc_first_generation() -> None:
    found = read(
        "# ISC\n| # | What Ideal Looks Like | Source | Status | [P] |\n|---|---|---|---|---|\n"
        "| 1 | It works | EXPLICIT | DONE | |\n| 2 | It is fast | INFERRED | ACTIVE | [P] |\n"
    )
    assert (found.format, found.tasks[0].status, len(found.tasks[0].criteria)) == ("isc", "in_progress", 2)
    data = '{"request": "r", "rows": [{"id": 1, "description": "It works", "source": "EXPLICIT", "status": "DONE"}]}'
    rows = read(data, "isc", "isc.json")
    assert (rows.tasks[0].status, rows.tasks[0].criteria[0].text) == ("completed", "It works")
    assert read("{,", "isc", "isc.json").errors[0].code == "bad-json"
