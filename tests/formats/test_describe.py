"""What ``nightshift plan check`` and ``nightshift plan graph`` show."""

from __future__ import annotations

import json
import re
import time

import counting
import pytest
from counting import EXPECTED
from hypothesis import given
from hypothesis import strategies as st

from schemas.describe import MARKS, as_json, as_text
from schemas.diagram import escape, mermaid
from schemas.formats import read_text
from schemas.reading import Diagnostic, PhaseRead, Reading, TaskRead
from schemas.validate import validate
from schemas.values import Criterion, Source
from schemas.wrapping import columns, span, wrap

SAMPLE = """
project: Garden
epics:
  - {id: E1, title: Beds, status: done}
  - {id: E2, title: Paths}
tasks:
  - {id: T1, title: Dig, epic: E1, status: done, estimate: 2h, acceptance: [It is dug]}
  - {id: T2, title: "Say \\"no\\" to <weeds> & #1", epic: E2, deps: [T1], acceptance: ["`pytest -q`"], files: [a.py]}
  - {id: T3, title: Gravel, epic: E2, deps: [T1], type: manual, context_tier: 128}
  - {id: T4, title: Gate, epic: E2, deps: [T2, T9], status: deferred}
"""

EXPECTED_TEXT = """\
Plan:    Garden
Format:  yaml-tasks (75% sure)
File:    tasks.yaml
Totals:  4 tasks: 1 done, 2 open, 1 skipped; 2 phases; 3 dependencies
Checks:  2: 1 automatic, 1 by a person
People:  0 tasks to approve, 1 for a person to do

Tasks
  [x] E1: Beds
    [x] T1: Dig (2h)
  [ ] E2: Paths
    [ ] T2: Say "no" to <weeds> & #1
    [ ] T3: Gravel (human)
    [-] T4: Gate

Order
  Wave 1: T1
  Wave 2: T2, T3
  Wave 3: T4
  Critical path: T1 → T2 → T4
  Duration: 2 h 10 min at least, 2 h 15 min one after the other

Context
    32K: 1 task, 32K tokens (all inferred)
    64K: 2 tasks, 128K tokens (all inferred)
   128K: 1 task, 128K tokens
  Total: 288,000 tokens

Findings: 1 warning
  tasks.yaml:10
    warning: 'T4' depends on 'T9', and nothing here has that id or title
      [unknown-dependency]
    → correct the id, or remove it
"""


def sample() -> Reading:
    return validate(read_text("tasks.yaml", SAMPLE))


def test_the_text() -> None:
    assert as_text(sample()) == EXPECTED_TEXT
    assert "Tasks\n" not in as_text(sample(), tasks=False)


def test_the_data_has_these_keys_and_no_others() -> None:
    found = as_json(sample())
    assert list(found) == ["format", "confidence", "title", "phases", "tasks", "edges", "diagnostics", "totals"]
    assert list(found["tasks"][0]) == [
        "id", "title", "line", "phase", "parent", "status", "dependencies", "criteria", "files", "estimate",
        "context_tier", "autonomy",
    ]  # fmt: skip
    assert list(found["diagnostics"][0]) == ["severity", "code", "message", "file", "line", "hint"]
    assert found["totals"] == {"tasks": 4, "done": 1, "open": 2, "phases": 2, "criteria": 2, "edges": 3}
    assert found["edges"] == [{"from": "T1", "to": "T2"}, {"from": "T1", "to": "T3"}, {"from": "T2", "to": "T4"}]
    assert [one["criteria"][0]["test"] for one in found["tasks"][:2]] == ["manual", "auto"]
    assert (found["tasks"][0]["estimate"], found["tasks"][2]["context_tier"]) == (120.0, 128)
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize("name", EXPECTED)
def test_the_corpus_reads_well_at_80_columns(name: str) -> None:
    found = counting.reading(name)
    text = as_text(found)
    assert text.endswith("\n")
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", text)
    for line in text.splitlines():
        assert columns(line) <= 80 or line.startswith(f"  {counting.CORPUS}")
        assert line == line.rstrip()
    data = as_json(found)
    assert json.loads(json.dumps(data)) == data
    assert data["totals"]["tasks"] == len(data["tasks"])
    assert data["totals"]["edges"] == len(data["edges"]) == sum(len(one["dependencies"]) for one in data["tasks"])
    drawn = mermaid(found)
    assert drawn.startswith("flowchart LR\n")
    assert drawn.count("  subgraph ") == drawn.count("\n  end\n")


def test_every_state_has_a_mark_and_parts_are_indented() -> None:
    tasks = [TaskRead(id=f"t{n}", title="x" * 100, status=status) for n, status in enumerate(MARKS)]
    tasks[1].parent, tasks[2].parent, tasks[0].container = "t0", "gone", True
    tasks[3].parent = "t3"
    lines = as_text(Reading(format="x", confidence=0.5, tasks=tasks)).splitlines()
    start = lines.index("Tasks")
    assert [line[:10] for line in lines[start + 1 : start + 13 : 2]] == [
        "  [ ] t0:", "    [~] t1", "  [x] t2:", "  [!] t3:", "  [-] t4:", "  [=] t5:",
    ] or [mark for mark in MARKS.values() if not any(mark in line for line in lines)] == []  # fmt: skip
    assert all(columns(line) <= 80 for line in lines)


def test_loops_many_waves_and_many_findings() -> None:
    loop = Reading(
        format="x", confidence=1, tasks=[TaskRead(id="a", dependencies=["b"]), TaskRead(id="b", dependencies=["a"])]
    )
    assert "  Cycle: a → b → a" in as_text(validate(loop))
    assert 'subgraph cycle["Waits for itself"]' in mermaid(loop)
    chain = [TaskRead(id=f"t{n}", dependencies=[f"t{n - 1}"] if n else []) for n in range(100)]
    long = Reading(format="x", confidence=1, tasks=chain, files=[Source(path=f"f{n}", sha256="") for n in range(9)])
    long.diagnostics = [Diagnostic("info", "i", f"m{n}", "f", n) for n in range(100)]
    long.diagnostics.append(Diagnostic("error", "e", "the error", "f"))
    text = as_text(long)
    assert "… and 70 more waves" in text
    assert "and 4 more files" in text
    assert "… 61 more …" in text
    assert text.index("the error") < text.index("m0")
    assert "… and 71 more" in text
    wide = Reading(format="x", confidence=1, tasks=[TaskRead(id=f"t{n}") for n in range(100)])
    assert "and 60 more" in " ".join(as_text(wide).split())


def test_an_empty_reading() -> None:
    empty = validate(read_text("x.md", "", "backlog"))
    assert "Findings: " in as_text(empty)
    assert as_json(empty)["totals"]["tasks"] == 0
    assert mermaid(empty) == "flowchart LR\n"
    assert as_text(Reading(format="x", confidence=0)).startswith("Plan:    plan\nFormat:  x (0% sure)\n")


def test_phases_carry_checks_and_people_are_named() -> None:
    phase = PhaseRead(id="p", criteria=[Criterion(id="c1", kind="command", text="t", command="true")])
    waiting = TaskRead(id="a", phase="p", autonomy="needs_approval", estimate_minutes=90)
    found = Reading(
        format="x", confidence=1, tasks=[waiting], phases=[phase], criteria=[Criterion(id="c", kind="manual")]
    )
    text = as_text(found)
    assert "People:  1 task to approve, 0 for a person to do" in text
    assert "[ ] a (needs approval, 90 min)" in text
    assert as_json(found)["phases"][0]["criteria"][0]["command"] == "true"
    assert as_json(found)["totals"]["criteria"] == 2


# --- the diagram ---------------------------------------------------------------------------------------------------


def test_the_diagram() -> None:
    drawn = mermaid(sample())
    assert (
        'subgraph w2["Wave 2"]\n    n1["T2: Say #34;no#34; to #60;weeds#62; #38; #35;1"]\n    n2["T3: Gravel"]\n'
        in drawn
    )
    assert "  n0 --> n1\n  n0 --> n2\n  n1 --> n3\n" in drawn
    assert "  class n0 done\n  class n3 skipped\n  class n0,n1,n3 critical\n" in drawn
    assert "  linkStyle 0,2 stroke" in drawn


@given(st.text(), st.text())
def test_no_text_of_a_plan_becomes_syntax(id: str, title: str) -> None:
    plan = Reading(
        format="x", confidence=1, tasks=[TaskRead(id=id or "x", title=title), TaskRead(id="z", dependencies=[id])]
    )
    drawn = mermaid(plan)
    nodes = [line for line in drawn.splitlines() if re.match(r"    n\d+\[", line)]
    assert len(nodes) == len({task.id for task in plan.tasks})
    for line in nodes:
        label = re.fullmatch(r'    n\d+\["([^"]*)"\]', line)
        assert label is not None
        assert not set(label.group(1)) & set("<>&`\\\n\r")
        assert re.sub(r"#\d{1,3};", "", label.group(1)).find("#") < 0


def test_escaping_keeps_words() -> None:
    assert escape("a\n<b> \x1b[31m") == "a #60;b#62; [31m"
    assert escape("日本 ✓") == "日本 ✓"


# --- text at a width -----------------------------------------------------------------------------------------------


@given(st.text(), st.integers(12, 80))
def test_lines_are_never_too_long_and_nothing_is_lost(text: str, width: int) -> None:
    lines = wrap(text, first="  - ", rest="    ", width=width)
    assert all(columns(line) <= width for line in lines)
    kept = "".join(
        line[4:] if number else line.removeprefix("  - ").removeprefix("  -") for number, line in enumerate(lines)
    )
    shown = "".join(one if one.isprintable() else " " for one in text)
    assert "".join(kept.split()) == "".join(shown.split())


def test_spans() -> None:
    assert [span(minutes) for minutes in (0, 5, 60, 135)] == ["0 min", "5 min", "1 h", "2 h 15 min"]


def test_a_large_plan_is_described_in_linear_time() -> None:
    tasks = [
        TaskRead(id=f"t{n}", title="word " * 20, dependencies=[f"t{n - 1}"] if n % 7 else []) for n in range(10_000)
    ]
    large = Reading(format="x", confidence=1, tasks=tasks)
    before = time.process_time()
    assert as_text(large).count("\n") > 10_000
    assert mermaid(large).count("\n") > 10_000
    assert len(as_json(large)["tasks"]) == 10_000
    assert time.process_time() - before < 4
