"""The corpus of real GSD files: every count in EXPECTED.json that applies to them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import counting
import pytest
from counting import CORPUS, EXPECTED

from schemas.accept import accept, plan_to_native
from schemas.formats import gsd_plan, gsd_roadmap, gsd_state, read_path, read_text
from schemas.formats.front_matter import read_front_matter
from schemas.formats.gsd_checks import listed
from schemas.formats.markings import boxes
from schemas.validate import validate
from schemas.values import Plan

ROADMAPS = [name for name in EXPECTED if name.endswith("ROADMAP.md")]
PLANS = [name for name in counting.cases("gsd-plan", "gsd-project") if name.endswith("PLAN.md")]
ADVERSARIAL = [name for name in counting.cases("gsd-adversarial") if "/roadmap-" in name]


def test_the_corpus_is_byte_for_byte() -> None:
    manifest = json.loads((CORPUS / "MANIFEST.json").read_text("utf-8"))
    for entry in manifest:
        raw = (CORPUS / entry["file"]).read_bytes()
        assert hashlib.sha256(raw).hexdigest() == entry["sha"], entry["file"]


@pytest.mark.parametrize("name", ROADMAPS)
def test_roadmap_counts(name: str) -> None:
    expected = EXPECTED[name]
    scanned = gsd_roadmap.scan(counting.document(name))
    lines = [line for phase in scanned.phases.values() for line in phase.plans]
    assert len(scanned.phases) == expected["phases_total"]
    assert len(scanned.headings) == expected["headings"]
    assert scanned.repeated == expected["dup_headings"]
    assert len(scanned.checklist) == expected["checklist"]
    phases = scanned.phases.values()
    assert sum(phase.check_status == "completed" for phase in phases) == expected["chk_done"]
    assert [phase.id for phase in phases if phase.heading is None] == expected["only_in_checklist"]
    assert [phase.id for phase in phases if phase.check_status is None] == expected["no_checkbox"]
    assert len(lines) == expected["plan_lines"]
    assert sum(line.box is not None and line.box.done for line in lines) == expected["plan_done"]

    found = counting.reading(name)
    assert found.format == "gsd"
    assert len(found.phases) == expected["phases_total"]
    assert sum(len(phase.criteria) for phase in found.phases) == expected["criteria"]
    assert counting.edges(found.phases) == expected["edges"]
    assert not [d for d in found.diagnostics if d.code == "unresolved-dependency"]
    assert not counting.problems(found)
    assert "\r" not in "".join(task.id + task.title + task.status for task in found.tasks)


@pytest.mark.parametrize("name", PLANS)
def test_plan_counts(name: str) -> None:
    expected = EXPECTED[name]
    plan = gsd_plan.scan(counting.document(name))
    found = counting.reading(name)
    assert plan.front.strict == (expected["fm"] == "ok")
    assert plan.wave == expected["wave"]
    assert int(plan.id.rpartition("-")[2]) == expected["plan"]
    assert [w.lstrip("0") for w in plan.depends or []] == [
        str(w).lstrip("0") for w in expected["depends_on"] or plan.depends or []
    ]
    assert len(plan.requirements) == (expected["requirements"] or 0)
    assert len(listed(plan.front.data.get("files_modified"))) == expected["files_modified"]
    assert len(found.tasks) == expected["xml_tasks"] or expected["heading_tasks"] or expected["feature_blocks"]
    assert len(found.tasks) == expected["xml_tasks"] + expected["heading_tasks"] + expected["feature_blocks"]
    people = sum(count for kind, count in expected["types"].items() if kind.startswith("checkpoint"))
    assert sum(task.autonomy == "human" for task in found.tasks) == people
    counted = counting.categories(found.tasks)
    assert counted["done"] == expected["n_done"]
    assert counted["acceptance"] == expected["acceptance_items"]
    if expected["must_haves"]:
        assert {key: counted[key] for key in ("truths", "artifacts", "key_links")} == expected["must_haves"]
    if expected["xml_tasks"] and expected["n_verify"]:
        assert counted["verify"] == expected["n_verify"]
    if expected["xml_tasks"]:
        assert counted["verification"] == expected["verification_items"]
        assert counted["success"] == expected["success_items"]
    assert not counting.problems(found)


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_hostile_roadmaps(name: str) -> None:
    found = counting.reading(name)
    assert [phase.id for phase in found.phases] == EXPECTED[name]["phases"]


def test_titles_come_through_byte_for_byte() -> None:
    found = counting.reading("gsd-adversarial/roadmap-unicode-phase-titles.md")
    assert [phase.title for phase in found.phases] == [
        "日本語フェーズ — initial setup",
        '🚧 Émile\'s "phase" with smart quotes',
        "αβγ δεζ ηθι",
    ]


def test_hostile_front_matter() -> None:
    front = read_front_matter(counting.document("gsd-adversarial/frontmatter-duplicate-keys.md"))
    assert (front.data["title"], front.data["status"], front.data["phase"]) == ("Second", "blocked", "01")
    assert [d.line for d in front.diagnostics if d.code == "duplicate-key"] == [3, 5]
    crlf = read_front_matter(counting.document("gsd-adversarial/frontmatter-crlf-mixed.md"))
    assert crlf.data == {"title": "CRLF Title", "phase": "02", "plans": ["02-01", "02-02"]}


@pytest.mark.parametrize("name", [n for n in EXPECTED if n.endswith(("REQUIREMENTS.md", "STATE.md"))])
def test_pages_about_a_plan(name: str) -> None:
    page = counting.document(name)
    ticked = boxes(page)
    assert sum(box.done for box in ticked) == EXPECTED[name]["boxes_done"]
    assert sum(not box.done for box in ticked) == EXPECTED[name]["boxes_open"]
    assert counting.reading(name).errors[0].code == "not-a-plan"
    if name.endswith("REQUIREMENTS.md"):
        assert len(gsd_state.requirements(page)) == len(ticked)
        assert len(counting.reading(name).criteria) == len(ticked)


PROJECT = CORPUS / "gsd-project" / "posthog-vscode"


@pytest.mark.parametrize("path", [PROJECT, PROJECT / ".planning", PROJECT / ".planning" / "ROADMAP.md"])
def test_a_whole_project(path: Path) -> None:
    expected = EXPECTED["gsd-project/posthog-vscode/.planning/ROADMAP.md"]
    found = validate(read_path(path))
    from_files = [task for task in found.tasks if task.file.endswith("PLAN.md")]
    assert len(from_files) == expected["tasks_in_plan_files"]
    assert len({task.file for task in from_files}) == expected["plan_files"]
    assert [task.id for task in found.tasks][:3] == ["01-01/1", "01-02/1", "01-02/2"]
    assert found.tasks[1].dependencies == ["01-01/1"]
    assert all(task.status == "completed" for task in from_files)
    assert sum(d.code == "status-conflict" for d in found.diagnostics) == 4
    assert [task.autonomy for task in found.tasks[6:]] == ["needs_approval"] * 4
    assert [d.code for d in found.diagnostics if d.severity == "error"] == []


def test_commands_that_cannot_fail_are_unmasked() -> None:
    found = counting.reading("gsd-project/posthog-vscode/.planning/phases/01-dead-code-removal/01-01-PLAN.md")
    check = found.tasks[0].criteria[0]
    assert check.kind == "command"
    assert check.command == 'cd /Users/fcgomes/codehog && pnpm compile && echo "PASS" || echo "FAIL"'
    assert check.expect == "PASS"
    assert {d.code for d in found.diagnostics} >= {"masked-exit", "machine-path"}
    assert {d.line for d in found.diagnostics if d.code == "masked-exit"} == {147}


def test_summaries_mean_done_and_short_ids_mean_plans_of_the_phase(tmp_path: Path) -> None:
    folder = tmp_path / ".planning" / "phases" / "01-test-execution"
    folder.mkdir(parents=True)
    (tmp_path / ".planning" / "ROADMAP.md").write_text("## Phase 1: Tests\nPlans:\n- [ ] 01-01-PLAN.md — one\n")
    for number in ("01", "02"):
        source = CORPUS / "gsd-plan" / f"smoke-01-{number}-int-depends-PLAN.md"
        (folder / f"01-{number}-PLAN.md").write_bytes(source.read_bytes())
    (folder / "01-01-SUMMARY.md").write_text("done")
    (folder / "PLAN-OUTLINE.md").write_text("---\nphase: 01\nplan: 03\n---\n<task>\n</task>\n")
    found = read_path(tmp_path)
    assert [task.id for task in found.tasks] == ["01-01/1", "01-01/2", "01-02/1", "01-02/2"]
    assert [task.status for task in found.tasks] == ["completed", "completed", "pending", "pending"]
    assert found.tasks[2].dependencies == ["01-01/2"]  # [01] in the second plan means 01-01
    assert [d.code for d in found.diagnostics] == ["plan-not-listed"]


@pytest.mark.parametrize("name", [*ROADMAPS, *PLANS])
def test_accepted_and_written_as_native_it_is_the_same(name: str) -> None:
    found = counting.reading(name)
    plan = accept(found, plan_id="p", agent="agent")
    assert isinstance(plan, Plan)
    again = accept(read_text("plan.json", json.dumps(plan_to_native(plan))), plan_id="p")
    assert isinstance(again, Plan)
    assert [(t.id, t.needs, t.verify, t.status, t.prompt) for t in again.tasks] == [
        (t.id, t.needs, t.verify, t.status, t.prompt) for t in plan.tasks
    ]
