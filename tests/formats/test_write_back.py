"""Marking progress in the author's file: one character, one word, and a conflict when the file changed (RE-3)."""

from __future__ import annotations

import json
import random

import counting
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.formats import read_text
from schemas.formats.document import Document
from schemas.formats.markings import boxes
from schemas.write_back import Conflict, StatusPlace, outcome_section, set_status, spoken_duration, status_place, tick

PLAN = "# Pläne ‚Üí\r\n\r\n- [ ] 1.1 Eins → zwei\r\n- [~] 1.2 Mitten drin\n* [x] 1.3 Fertig\n  1. [ ] tief\n"


def ticked(raw: bytes, name: str = "plan.md") -> list[bytes | Conflict]:
    """Every box of a file ticked, one at a time."""
    document = Document.of(name, raw)
    return [
        tick(raw, line=box.line, column=box.column, expected_line=document.line(box.line)) for box in boxes(document)
    ]


@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("ends", ["mixed", "\r\n", "\n", "\r"])
def test_exactly_one_character_changes(before: bytes, ends: str) -> None:
    text = PLAN if ends == "mixed" else PLAN.replace("\r\n", "\n").replace("\n", ends)
    raw = before + text.encode()
    results = ticked(raw)
    assert len(results) == 4
    for index, result in enumerate(results):
        assert isinstance(result, bytes)
        assert len(result) == len(raw)
        changed = [place for place in range(len(raw)) if raw[place] != result[place]]
        assert len(changed) == (0 if index == 2 else 1)
        assert all(result[place : place + 1] == b"x" and result[place - 1 : place] == b"[" for place in changed)


def test_bytes_that_are_not_text_stay() -> None:
    raw = b"bad \xff\xfe \xe2\x82 [ ] x\n- \xc3[ ] no\n- [ ] b\xe4d \xf0\x9f [x]\n\0- [ ] zero\n"
    line = raw.split(b"\n")[2].decode("utf-8", "replace")
    result = tick(raw, line=3, column=3, expected_line=line)
    assert result == raw.replace(b"- [ ] b\xe4d", b"- [x] b\xe4d")
    behind = b"- \xff\xe2\x82 [a] - [ ] later"
    shown = behind.decode("utf-8", "replace")
    assert tick(behind, line=1, column=shown.index("[ ]") + 1, expected_line=shown) == behind.replace(b"[ ]", b"[x]")


def test_a_mark_of_several_bytes_becomes_one() -> None:
    raw = "- [✗] no\n".encode()
    assert tick(raw, line=1, column=3, expected_line="- [✗] no") == b"- [x] no\n"


def test_what_changed_meanwhile_is_a_conflict() -> None:
    raw = PLAN.encode()
    line = "- [ ] 1.1 Eins → zwei"
    for changed in (
        raw.replace(b"Eins", b"One"),
        raw.replace(b"- [ ] 1.1", b"- [~] 1.1"),
        b"new line\n" + raw,
        raw.replace(b"# ", b"", 1).split(b"\n", 2)[2],
        b"",
    ):
        result = tick(changed, line=3, column=3, expected_line=line)
        assert isinstance(result, Conflict)
        assert result.line == 3
        assert result.reason
    assert tick(raw, line=99, column=3, expected_line=line) == Conflict(99, "the file has no line 99 any more")
    assert isinstance(tick(raw, line=3, column=4, expected_line=line), Conflict)
    assert isinstance(tick(raw, line=3, column=0, expected_line=line), Conflict)
    assert isinstance(tick(raw, line=3, column=99, expected_line=line), Conflict)


def test_ticking_twice_is_the_same_as_once() -> None:
    raw = PLAN.encode()
    once = tick(raw, line=3, column=3, expected_line="- [ ] 1.1 Eins → zwei")
    assert isinstance(once, bytes)
    assert tick(once, line=3, column=3, expected_line="- [ ] 1.1 Eins → zwei") == once
    assert tick(once, line=3, column=3, expected_line="- [x] 1.1 Eins → zwei") == once


@pytest.mark.parametrize("name", [n for n in counting.EXPECTED if n.endswith(".md")])
def test_every_box_of_the_corpus(name: str) -> None:
    raw = counting.document(name).raw
    found = boxes(counting.document(name))
    for box, result in zip(found, ticked(raw, name), strict=True):
        assert isinstance(result, bytes)
        assert result.count(b"\r") == raw.count(b"\r")
        again = boxes(Document.of(name, result))
        assert [one.status for one in again if one.line != box.line] == [one.status for one in found if one != box]
        assert next(one for one in again if one.line == box.line).status == "completed"


@given(st.lists(st.text(max_size=20)), st.text(max_size=20), st.sampled_from(["\n", "\r\n", "\r"]), st.booleans())
def test_any_text_around_stays(before: list[str], after: str, end: str, mark: bool) -> None:
    lines = [*(line.encode("utf-8", "replace").decode() for line in before), "- [ ] " + after.partition("\r")[0]]
    raw = (b"\xef\xbb\xbf" if mark else b"") + end.join(lines).encode("utf-8", "replace")
    document = Document.of("plan.md", raw)
    for box in boxes(document):
        result = tick(raw, line=box.line, column=box.column, expected_line=document.line(box.line))
        assert isinstance(result, bytes)
        assert sum(one != two for one, two in zip(raw, result, strict=False)) <= 1 or len(raw) != len(result)


# --- one word in JSON and front matter -----------------------------------------------------------------------------


def place(raw: bytes, name: str, format: str, id: str) -> StatusPlace | None:
    task = next(task for task in read_text(name, raw, format).tasks if task.id == id)
    assert task.line is not None
    return status_place(raw, format=format, line=task.line)


def finished(raw: bytes, name: str, format: str, id: str) -> bytes:
    where = place(raw, name, format, id)
    assert where is not None
    result = set_status(raw, where)
    assert isinstance(result, bytes)
    return result


def test_a_story_passes() -> None:
    raw = counting.document("json-ralph/ralph-example-prd.json").raw
    result = finished(raw, "prd.json", "ralph", "US-002")
    parts = raw.split(b'"passes": false')
    assert result == b'"passes": false'.join(parts[:2]) + b'"passes": true' + b'"passes": false'.join(parts[2:])
    assert [one.status for one in read_text("prd.json", result).tasks] == ["pending", "completed", "pending", "pending"]


@pytest.mark.parametrize(
    "change", [lambda raw: raw, lambda raw: raw.replace(b"\n", b"\r\n"), lambda raw: b"\xef\xbb\xbf" + raw]
)
def test_a_taskmaster_task_and_a_subtask(change: object) -> None:
    raw = change(counting.document("json-taskmaster/testcraft-tasks.json").raw)  # type: ignore[operator]
    tasks = read_text("tasks.json", raw).tasks
    for task in [one for one in tasks if one.status != "completed"][:40]:
        result = finished(raw, "tasks.json", "taskmaster", task.id)
        after = {one.id: one.status for one in read_text("tasks.json", result).tasks}
        assert after == {**{one.id: one.status for one in tasks}, task.id: "completed"}
        assert result.count(b"\r") == raw.count(b"\r")


def test_a_status_behind_the_subtasks_is_the_tasks_own() -> None:
    below = b'"subtasks": [\n  {"id": 1, "title": "b", "status": "pending"}],'
    raw = b'{"tasks": [\n {"id": 1, "title": "a", ' + below + b'\n  "status": "review"\n }\n]}'
    assert finished(raw, "tasks.json", "taskmaster", "1") == raw.replace(b"review", b"done")
    assert finished(raw, "tasks.json", "taskmaster", "1.1") == raw.replace(b"pending", b"done")


def test_a_backlog_file() -> None:
    raw = b"---\r\nid: task-1\r\ntitle: status: here\r\nstatus: 'To Do'  # now\r\nassignee: []\r\n---\r\nstatus: no\r\n"
    assert finished(raw, "task-1 - x.md", "backlog", "task-1") == raw.replace(b"'To Do'", b"'Done'")
    plain = raw.replace(b"'To Do'  # now", b"In Progress")
    assert finished(plain, "task-1 - x.md", "backlog", "task-1") == plain.replace(b"In Progress", b"Done")


def test_what_is_not_safe_is_not_touched() -> None:
    one_line = json.dumps({"userStories": [{"id": n, "title": n, "passes": False} for n in "ab"]}).encode()
    assert place(one_line, "prd.json", "ralph", "a") is None
    lines = b'[\n{"id": "a", "title": "a", "passes": false},\n{"id": "b", "title": "b", "passes": false}]'
    assert finished(lines, "prd.json", "ralph", "a") == lines.replace(b"false", b"true", 1)
    assert status_place(b'{"userStories": [{"id": "a"', format="ralph", line=1) is None
    assert status_place(b"- id: a\n  status: todo\n", format="yaml-tasks", line=1) is None
    assert status_place(b"---\nid: a\n---\n", format="backlog", line=2) is None
    assert status_place(b"---\nid: a\nstatus: x\nstatus: y\n---\n", format="backlog", line=2) is None
    odd = b'{"tasks": [\n {"id": 1,\n  "status": {"a": "status"}}\n]}'
    assert status_place(odd, format="taskmaster", line=2) is None


def test_a_changed_status_line_is_a_conflict() -> None:
    raw = b'[\n{"id": "a", "title": "a", "passes": false}\n]'
    where = place(raw, "prd.json", "ralph", "a")
    assert where is not None
    changed = raw.replace(b'"title": "a"', b'"title": "b"')
    result = set_status(changed, where)
    assert isinstance(result, Conflict)
    assert result.line == 2
    assert "is now" in result.reason
    done = raw.replace(b"false", b"true")
    assert set_status(done, where) == done
    assert isinstance(set_status(b"[]", where), Conflict)
    assert isinstance(set_status(raw, StatusPlace(2, "no state here", "ralph")), Conflict)


def test_random_edits_never_raise() -> None:
    raw = counting.document("json-ralph/vue-lynx-prd.json").raw
    where = status_place(raw, format="ralph", line=20)
    assert where is not None
    for seed in range(100):
        draw = random.Random(seed)
        body = bytearray(raw)
        body[draw.randrange(len(body))] = draw.randrange(256)
        assert isinstance(set_status(bytes(body), where), bytes | Conflict)
        status_place(bytes(body), format="ralph", line=draw.randrange(1, 200))


# --- task_outcomes.md ----------------------------------------------------------------------------------------------


def test_a_section_of_outcomes() -> None:
    text = outcome_section(
        task="2.3.1",
        title="Log in\n# not a heading",
        outcome="completed",
        commit="4d49946",
        evidence=["`pytest -q` passed (12 of 12)", "", "report: artifacts/1\n## nor this"],
        duration=3725,
        attempts=2,
        note="",
    )
    assert text == (
        "## 2.3.1 Log in # not a heading\n\n- Outcome: completed\n- Commit: `4d49946`\n- Duration: 1 h 2 min\n"
        "- Attempts: 2\n- Evidence:\n  - `pytest -q` passed (12 of 12)\n  - report: artifacts/1 ## nor this\n"
    )
    short = outcome_section(task="a", title="", outcome="failed", note="no\r\nway")
    assert short == "## a\n\n- Outcome: failed\n- Note: no way\n- Evidence: none\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (0.25, "0.2 s"), (59.6, "1 min"), (75, "1 min 15 s"), (3600, "1 h"), (7260, "2 h 1 min"), (-5, "0 s")],
)
def test_durations_are_spoken(seconds: float, text: str) -> None:
    assert spoken_duration(seconds) == text
