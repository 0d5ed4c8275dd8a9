"""What holds for every markdown format: boxes, line ends, damage, size."""

from __future__ import annotations

import time

import counting
import pytest
from counting import CORPUS
from mutations import big, damaged, rewritten

from schemas.accept import accept
from schemas.formats import read_text
from schemas.validate import validate
from schemas.values import Plan

FOLDERS = ("tasks-speckit", "tasks-kiro", "tasks-openspec", "tasks-hierarchical", "tasks-custom")
OTHERS = ("prp", "prd-isc", "prd-plain", "prd-frontmatter", "project-plan", "inline-plan")
LISTS = counting.cases(*FOLDERS)
ALL = counting.cases(*FOLDERS, *OTHERS)


@pytest.mark.parametrize("name", ALL)
def test_every_box_can_be_ticked_where_it_stands(name: str) -> None:
    for label, raw in [("as is", (CORPUS / name).read_bytes()), *rewritten((CORPUS / name).read_bytes())]:
        if label in ("latin", "mojibake"):
            continue
        found = read_text(name, raw)
        lines = raw.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace").replace("\r\n", "\n").split("\n")
        for task in found.tasks:
            if task.box is not None:
                line, column = task.box
                assert lines[line - 1][column - 1] + lines[line - 1][column + 1] == "[]", (task.id, label)


@pytest.mark.parametrize("name", ALL)
def test_line_ends_and_marks_change_nothing(name: str) -> None:
    raw = (CORPUS / name).read_bytes()
    plain = counting.reading(name)
    for label, other in rewritten(raw):
        if label in ("crlf", "bom", "mixed"):
            found = read_text(name, other)
            assert [(t.id, t.title, t.status, t.line) for t in found.tasks] == [
                (t.id, t.title, t.status, t.line) for t in plain.tasks
            ]


@pytest.mark.parametrize("name", ALL)
def test_damaged_files_end_in_a_plan_or_in_words(name: str) -> None:
    raw = (CORPUS / name).read_bytes()
    edits = [damaged(raw, seed) for seed in range(200)] + [other for _, other in rewritten(raw)]
    for edited in edits:
        begun = time.process_time()
        found = validate(read_text(name, edited))
        assert time.process_time() - begun < 1.0
        assert found.tasks or found.errors
        assert len({task.id for task in found.tasks}) == len(found.tasks)
        assert all("\r" not in task.id + task.title for task in found.tasks)
        count = edited.count(b"\n") + edited.count(b"\r") + 1
        assert all(problem.line is None or 1 <= problem.line <= count for problem in found.diagnostics)


@pytest.mark.parametrize("name", LISTS)
def test_a_forced_format_never_fails(name: str) -> None:
    for format in (
        "speckit",
        "kiro",
        "openspec",
        "tasks_list",
        "free_form",
        "checklist",
        "inline",
        "prp",
        "prd",
        "isc",
    ):
        found = counting.reading(name, format=format)
        assert found.tasks or found.errors


@pytest.mark.parametrize("name", [name for name in ALL if not name.startswith(("prd-plain", "prd-front"))])
def test_what_was_read_can_be_accepted(name: str) -> None:
    assert isinstance(accept(counting.reading(name), plan_id="p", agent="agent"), Plan)


@pytest.mark.parametrize(
    "kind",
    ["speckit", "kiro", "openspec", "tasks_list", "clarity", "free_form", "project_plan", "inline", "prp", "checklist"],
)
def test_ten_thousand_tasks_in_linear_time(kind: str) -> None:
    format = "tasks_list" if kind == "clarity" else kind
    took = []
    for count in (2_500, 10_000):
        text = big(kind, count)
        begun = time.process_time()
        found = read_text("plan.md", text)
        took.append((time.process_time() - begun) / count)
        assert found.format == format
        assert len(counting.leaves(found)) == count
        assert not found.errors
    assert took[1] * 10_000 < 2.0
    assert took[1] < took[0] * 2.5
