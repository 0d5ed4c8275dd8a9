"""Whatever stands in a file: readers answer with diagnostics, never with an exception, and in linear time."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import counting
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.accept import accept, plan_to_native
from schemas.formats import gsd, native, read_text
from schemas.formats.document import Document
from schemas.formats.markings import (
    criterion,
    dependency_clauses,
    estimate,
    paths_in,
    plain_title,
    references,
    status_of,
)
from schemas.formats.positions import load_yaml
from schemas.formats.positions_json import load_json
from schemas.reading import Reading
from schemas.validate import validate

PIECES = [
    "---\n", "phase: 01\n", "plan: 02\n", "depends_on: [01]\n", "must_haves:\n", "  truths:\n", '    - "a: b"\n',
    "## Phase 1: A\n",
    "### Phase 2.1: B — COMPLETE\n", "- [x] **Phase 3: C** - d\n", "- [ ] 01-01-PLAN.md — e\n",
    "**Depends on**: Phase 1\n",
    "**Success Criteria**:\n", "  1. f\n", "<tasks>\n", "</tasks>\n", '<task type="auto">\n',
    "</task>\n", "<name>g</name>\n",
    "<verify>\n", "</verify>\n", "<done>h</done>\n", "```\n", "````\n", "<!--\n", "-->\n",
    "| Phase | Status |\n", "| 1. A | Complete |\n", "### Task 1: i\n", "**Verification:**\n",
    "tasks:\n", "  - id: a\n",
    "    run: b\n", "    needs: [a, c]\n", '{"tasks": [', '{"id": 1}', "]}", "\t", " ", "x" * 50, "\x00", "\u2028", "é",
    "Phase 4 depends on Phase 5 and 6.\n",
    "Wave 2: 01-02 (depends on 01-01)\n", "&a ", "*a ", "[", "]", "{", "}", "'", '"',
]  # fmt: skip
NAMES = ["a.md", "ROADMAP.md", "01-01-PLAN.md", "a.yaml", "a.json"]


def everything(reading: Reading) -> None:
    assert "reader-failed" not in [d.code for d in reading.diagnostics], reading.diagnostics
    validate(reading)
    accept(reading, plan_id="p", agent="x")
    if not reading.errors:
        plan_to_native(reading)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.sampled_from(PIECES), max_size=60),
    st.sampled_from(["a.md", "ROADMAP.md", "01-01-PLAN.md", "a.yaml", "a.json"]),
)
def test_pieces_of_plans_in_any_order(pieces: list[str], name: str) -> None:
    document = Document.of(name, "".join(pieces))
    for module in (gsd, native):
        assert 0 <= module.recognise(document) <= 1
        everything(module.read(document))
    everything(read_text(name, "".join(pieces)))


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(st.text(max_size=400), st.binary(max_size=400)),
    st.sampled_from(["a", "a.yaml", "a.json", "STATE.md", "PLAN.md"]),
)
def test_any_text_or_bytes(text: str | bytes, name: str) -> None:
    document = Document.of(name, text)
    document.tokens()
    document.suspicions()
    everything(gsd.read(document))
    everything(native.read(document))
    everything(read_text(name, text))


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=300))
def test_any_sentence(text: str) -> None:
    for function in (criterion, dependency_clauses, estimate, paths_in, plain_title, references, status_of):
        function(text)
    load_yaml(text, file="f")
    load_json(text, file="f")


@pytest.mark.parametrize("name", counting.cases("gsd-project", "gsd-roadmap", "gsd-plan", "gsd-state"))
def test_damaged_corpus_files(name: str) -> None:
    raw = (counting.CORPUS / name).read_bytes()
    chance = random.Random(name)
    for _ in range(15):
        damaged = bytearray(raw[: chance.randrange(len(raw))])
        for _ in range(chance.randrange(30)):
            damaged[chance.randrange(len(damaged) or 1) :][:1] = bytes([chance.randrange(256)])
        lines = bytes(damaged).splitlines(keepends=True)
        chance.shuffle(lines) if chance.random() < 0.3 else None
        everything(gsd.read(Document.of(name, b"".join(lines))))


def roadmap(size: int) -> str:
    phases = "".join(
        f"### Phase {n}: Title {n}\n**Depends on**: Phase {n - 1}\n**Success Criteria**:\n  1. works\n"
        f"Plans:\n- [ ] {n:02d}-01-PLAN.md — one\n- [ ] {n:02d}-02-PLAN.md — two\n\n"
        for n in range(1, size // 2 + 1)
    )
    return "# Roadmap\n" + phases


def plan(size: int) -> str:
    body = "".join(
        f'<task type="auto">\n<name>Task {n}: t</name>\n<action>\n```\ncode\n```\n</action>\n'
        f"<verify>make x{n}</verify>\n"
        f"<done>done</done>\n</task>\n"
        for n in range(size)
    )
    return f"---\nphase: 01\nplan: 01\n---\n<tasks>\n{body}</tasks>\n"


def native_plan(size: int) -> str:
    return "tasks:\n" + "".join(f"  - id: t{n}\n    run: 'true'\n    needs: [t{max(n - 1, 1)}0]\n" for n in range(size))


HOSTILE: list[Callable[[int], str]] = [
    roadmap,
    plan,
    native_plan,
    lambda n: "---\nphase: 1\nplan: 1\n---\n" + '<task type="auto">\n```\n' * n,
    lambda n: "---\nphase: 1\nplan: 1\n---\n<tasks>\n" + "<task>\n````\n```\n</task>\n" * n,
    lambda n: "---\nphase: 1\nplan: 1\n---\n" + "<objective>\n" * n + "</objective>\n" * n,
    lambda n: "## Phase 1: x\nPlans:\n" + "- [ ] 01-01" + "-a" * n + " b\n",
    lambda n: "## Phase 1: x\n" + "**" * n + "\n- [ ] **Phase 2: " + "(" * n + "\n",
    lambda n: "## Phase 1: " + "- done " * n + "\n",
    lambda n: "<!-- " * n + "\n" + "`" * n + "\n## Phase 1: x\n",
    lambda n: "# Phase\n" + "- [ ] Phase 1: a\n" * n,
    lambda n: "## Phase 1: x\n**Depends on**: " + "1-2, and " * n + "\n",
    lambda n: "---\nx: [" + "a, " * n + "\n---\n",
]


@pytest.mark.parametrize("text", HOSTILE, ids=[str(n) for n in range(len(HOSTILE))])
def test_ten_times_the_size_takes_about_ten_times_as_long(text: Callable[[int], str]) -> None:
    def seconds(size: int) -> float:
        name = "a.yaml" if text is native_plan else "ROADMAP.md" if text is roadmap else "x-PLAN.md"
        short = text(size).split("\n")
        source = "\n".join(line[:60_000] for line in short)
        started = time.process_time()
        document = Document.of(name, source)
        everything((native if text is native_plan else gsd).read(document))
        return time.process_time() - started

    small = min(seconds(1_000) for _ in range(2))
    large = seconds(10_000)
    assert large < 40 * small + 0.5, (small, large)
