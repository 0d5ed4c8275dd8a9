"""The marks that all formats share."""

from __future__ import annotations

from itertools import pairwise

import pytest

from schemas.formats.document import Document
from schemas.formats.front_matter import read_front_matter
from schemas.formats.markings import (
    BadTier,
    Ids,
    box,
    boxes,
    command_in,
    criterion,
    dependency_clauses,
    duration,
    estimate,
    infer_tier,
    is_path,
    paths_in,
    plain_title,
    references,
    resolve,
    status_of,
    tier_in,
    tier_of,
)
from schemas.formats.positions import MAX_DEPTH, load_yaml
from schemas.formats.positions_json import load_json


@pytest.mark.parametrize(
    ("text", "mark", "status", "optional", "rest"),
    [
        ("- [x] done", "x", "completed", False, "done"),
        ("  * [ ] open", " ", "pending", False, "open"),
        ("- [X] T001 [P] go", "X", "completed", False, "T001 [P] go"),
        ("- [~] half", "~", "in_progress", False, "half"),
        ("- [-] half", "-", "in_progress", False, "half"),
        ("- [>] half", ">", "in_progress", False, "half"),
        ("- [ ]* 7.9 maybe", " ", "pending", True, "7.9 maybe"),
        ("12. [x]", "x", "completed", False, ""),
    ],
)
def test_boxes(text: str, mark: str, status: str, optional: bool, rest: str) -> None:
    found = box(text, 3)
    assert found is not None
    assert (found.mark, found.status, found.optional, found.text, found.line) == (mark, status, optional, rest, 3)
    assert text[found.column] == mark


@pytest.mark.parametrize("text", ["- [link](x)", "[x] no list", "- [xx] y", "- []", "-[ ] tight", "- a [x]"])
def test_no_boxes(text: str) -> None:
    assert box(text) is None


def test_boxes_in_fences_comments_and_front_matter_are_not_structure() -> None:
    text = "---\na: b\n---\n- [ ] 1\n```\n- [ ] 2\n```\n<!--\n- [ ] 3\n-->\n- [x] 4 <!-- x -->\n`<!--` - [ ]\n- [ ] 5\n"
    assert [found.line for found in boxes(Document.of("a.md", text))] == [4, 11, 13]


def test_fences_close_only_on_their_own_kind() -> None:
    text = "````\n```\n- [ ] in\n```\n````\n- [ ] out\n~~~ x\n```\n~~~\n- [ ] out\n"
    assert [found.line for found in boxes(Document.of("a.md", text))] == [6, 10]


def test_swallowing_fences_are_suspected() -> None:
    nested = Document.of("a.md", "```md\na\n```bash\nb\n```\nc\n```\n- [ ] eaten\n```sh\nd\n```\n")
    assert [(d.code, d.line) for d in nested.suspicions()] == [("fence-swallows", 7)]
    assert [d.line for d in Document.of("a.md", "```\n## eaten\n").suspicions()] == [1]
    assert Document.of("a.md", "```\n## meant\n```\n").suspicions() == []


def test_bytes() -> None:
    document = Document.of("x/a.md", b"\xef\xbb\xbfone\r\ntwo\rthree\xff\n\x00")
    assert document.lines == ["one", "two", "three\ufffd", "\0"]
    assert [(d.code, d.line) for d in document.diagnostics] == [("bad-encoding", 2), ("nul-byte", 4)]
    assert document.name == "a.md"


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("Complete", "completed"), ("✅ done", "completed"), ("Complete (2026-01-01)", "completed"),
        (True, "completed"),
        ("Not started", "pending"), ("ready-for-dev", "pending"), ("todo", "pending"), (False, "pending"),
        ("In Progress", "in_progress"), ("🚧", "in_progress"), ("review", "in_progress"),
        ("cancelled", "skipped"), ("deferred", "skipped"), ("not suitable", "skipped"),
        ("BLOCKED", "blocked"), ("⏸️ paused", "blocked"), ("**Complete**", "completed"), ("incomplete", "pending"),
        ("100%", None), ("8/8 complete", None), ("", None), (3, None), ("whatever", None),
    ],
)  # fmt: skip
def test_status_words(text: object, status: str | None) -> None:
    assert status_of(text) == status


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Nothing (parallel to Phase 1-2)", []), ("None", []), ("n/a", []), ("—", []), ("[]", []), ("", []),
        ("Phase 40 (independent of Phases 41 and 42)", ["40"]),
        ("Phase 4 and 5", ["4", "5"]), ("[1.1,1.2,7.8]", ["1.1", "1.2", "7.8"]),
        ("`T001`, T003-T007", ["T001", "T003-T007"]),
        ("1.3 Services", ["1.3 Services"]), ("Tasks 3 & 4", ["3", "4"]), ("1.6; 1.7.", ["1.6", "1.7"]),
    ],
)  # fmt: skip
def test_references(text: str, found: list[str]) -> None:
    assert references(text) == found


def test_only_clauses_hold_references() -> None:
    text = "Uses 3.2 of the tool. Requires 1.1.1 and 2.1.3. See section 9.9."
    assert dependency_clauses(text) == ["1.1.1 and 2.1.3"]
    assert dependency_clauses("1.4 Select (Dependencies: 1.3 Services) and more") == ["1.3 Services"]
    assert dependency_clauses("what MUST exist after execution, and he needs 3") == []


IDS = Ids(
    ["1", "1.1", "1.2", "1.10", "3.1", "3.2", "3.4", "T004", "T005", "T007", "BACK-308.02", "29-01", "29-02", "0"],
    titles={"1.2": "Services layer"},
)


@pytest.mark.parametrize(
    ("reference", "context", "found"),
    [
        ("1.1", None, ["1.1"]), ("1.10", None, ["1.10"]), ("01.1", None, ["1.1"]), ("0", None, ["0"]),
        ("01", "29-02", ["29-01"]), ("2", "1.1", ["1.2"]),
        ("3.1–3.4", None, ["3.1", "3.2", "3.4"]), ("T004-T007", None, ["T004", "T005", "T007"]),
        ("1.1 to 1.10", None, ["1.1", "1.2", "1.10"]), ("3.1/3.2", None, ["3.1", "3.2"]), ("29-01", None, ["29-01"]),
        ("task-308.02", None, ["BACK-308.02"]), ("308.2", None, ["BACK-308.02"]),
        ("1.2 Services", None, ["1.2"]), ("Services layer", None, ["1.2"]),
        ("EXTRACT-01..07", None, []), ("nonsense", None, []), ("9.9", None, []), ("v3", None, []),
    ],
)  # fmt: skip
def test_resolving(reference: str, context: str | None, found: list[str]) -> None:
    assert resolve(reference, IDS, context=context) == found


@pytest.mark.parametrize(
    ("value", "tier"),
    [
        (32, 32),
        ("32", 32),
        ("32K", 32),
        ("32k tokens", 32),
        (32000, 32),
        (32768, 32),
        (33, 64),
        ("200k", 200),
        (131072, 128),
    ],
)
def test_tiers(value: object, tier: int) -> None:
    assert tier_of(value) == tier


@pytest.mark.parametrize("value", [201, "500K", 0, -1, "big", None, True, float("nan"), "999999k"])
def test_bad_tiers(value: object) -> None:
    with pytest.raises(BadTier):
        tier_of(value)


def test_tiers_in_text_and_inferred() -> None:
    assert tier_in("Do it [64K]") == 64
    assert tier_in("Do it (context: 128K)") == 128
    assert tier_in("**Context tier:** 200K") == 200
    assert tier_in("Do it [x] in 64 steps") is None
    assert infer_tier() == 64
    assert infer_tier(files=1) == 32
    assert infer_tier(files=10) == 128
    assert infer_tier(characters=10**7) == 200


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("2 hours", 120),
        ("4-6 hours", 360),
        ("30m", 30),
        ("1h 30m", 90),
        ("1d", 480),
        ("Estimated lines: 25", None),
        ("5 files", None),
    ],
)
def test_estimates(text: str, minutes: float | None) -> None:
    found = estimate(text)
    assert (found.minutes if found else None) == minutes


def test_durations() -> None:
    assert [duration(v) for v in ("2s", "5m", "1h30m", "250ms", "1d", 90, "90")] == [2, 300, 5400, 0.25, 86400, 90, 90]
    for bad in ("5x", "", "m", None, True, -1, "1e9d", "9" * 50, float("inf"), float("nan"), [1]):
        with pytest.raises(ValueError, match=r"duration|characters"):
            duration(bad)


def test_paths_and_titles() -> None:
    assert paths_in("Create `src/a.py`, not `x` or `--flag`, in docs/b.md.") == ["src/a.py", "docs/b.md"]
    assert [is_path(t) for t in ("a.py", "src/", "v1.2", "http://x/y", "f()", "a b", "1.2.3")] == [
        True,
        True,
        *[False] * 5,
    ]
    assert plain_title("**Bold** [link](x) <!-- no -->") == "Bold link"


@pytest.mark.parametrize(
    ("text", "kind", "fields"),
    [
        ("Run: `pytest -q`", "command", {"command": "pytest -q"}),
        ("`pnpm compile` exits with code 0", "command", {"command": "pnpm compile", "exit_code": 0}),
        ("`mytool` exits 3", "manual", {}),
        ("`grep -r old src/` returns no matches", "command", {"exit_code": 1}),
        ("`git ls-files` prints nothing", "manual", {}),
        ("`cat x` prints `7`", "command", {"expect": "7"}),
        ("npm test passes", "command", {"command": "npm test"}),
        ("test -f x", "command", {"command": "test -f x"}),
        ("make check && echo \"PASS\" || echo 'FAIL'", "command", {"expect": "PASS"}),
        ("make check || true", "manual", {"command": None}),
        ("make check; echo done", "manual", {"command": None}),
        ("make check 2>&1 | tail -5", "command", {"command": "bash -o pipefail -c 'make check 2>&1 | tail -5'"}),
        ("a.py contains \"class A\"", "file", {"path": "a.py", "contains": "class A"}),
        ("`a.py` does NOT contain `x` or `y`", "file", {"absent": "x|y"}),
        ("File `a.py` does not exist", "file", {"path": "a.py", "negate": True}),
        ("`a.py` deleted and the rest is tidy", "manual", {}),
        ("docs/a.md exists", "file", {"path": "docs/a.md", "negate": False}),
        ("`a.py` has at least 60 lines", "file", {"min_lines": 60}),
        ("`a.py` contains `x` and `y`", "regex", {"source": "a.py"}),
        ("`tool list` returns all milestones with accurate counts", "manual", {}),
        ("make the thing work", "manual", {}),
        ("go to the page and look", "manual", {}),
        ("A person can sign in", "manual", {}),
    ],
)  # fmt: skip
def test_checks(text: str, kind: str, fields: dict[str, object]) -> None:
    found = criterion(text)
    assert found.kind == kind, found
    assert {name: getattr(found, name) for name in fields} == fields
    assert found.text == text


def test_an_anti_criterion_keeps_its_polarity() -> None:
    assert criterion("old.py exists", negate=True).negate
    assert not criterion("old.py does not exist", negate=True).negate
    assert command_in("Run the tests") is None


def test_lenient_front_matter() -> None:
    text = (
        '---\ntitle: "EngineX\\.init"\nphase: 01\nitems: [a, "b, c"]\nneeds:\n  - path: x\n    lines: 3\n'
        "  - y\nplain: a: b: c\ntitle: again\n---\nbody\n"
    )
    front = read_front_matter(Document.of("a.md", text))
    assert not front.strict
    assert front.data == {
        "title": "again", "phase": "01", "items": ["a", "b, c"], "needs": [{"path": "x", "lines": 3}, "y"],
        "plain": "a: b: c",
    }  # fmt: skip
    assert front.lines["plain"] == 9
    assert front.body == 12
    assert [d.code for d in front.diagnostics] == ["lenient-front-matter", "duplicate-key"]
    assert not read_front_matter(Document.of("a.md", "---\nopen: x\n"))
    assert not read_front_matter(Document.of("a.md", "\n---\nlate: x\n---\n"))


def test_limits_of_yaml() -> None:
    assert load_yaml("a: " + "[" * 100_000, file="f").diagnostics[-1].code == "too-deep"
    assert load_yaml("[" * MAX_DEPTH + "]" * MAX_DEPTH, file="f").ok
    names = "abcdefghi"
    laughs = (
        "a: &a ["
        + "1," * 10
        + "]\n"
        + "".join(f"{one}: &{one} [" + f"*{before}," * 10 + "]\n" for before, one in pairwise(names))
    )
    assert load_yaml(laughs, file="f").diagnostics[-1].code == "too-big"
    assert load_yaml("a: &a [*a]", file="f").diagnostics[-1].code == "alias-loop"
    assert load_yaml("a: *b", file="f").diagnostics[-1].code in ("unknown-alias", "bad-yaml")
    assert load_json("[" * 100_000, file="f").diagnostics[-1].code == "too-deep"


def test_places_of_values() -> None:
    found = load_yaml("a:\n  - b: 1\n    c: [x,\n      y]\n", file="f", first_line=10)
    assert found.data == {"a": [{"b": 1, "c": ["x", "y"]}]}
    assert (found.line(("a",)), found.line(("a", 0, "c")), found.line(("a", 0, "c", 1, "deep"))) == (10, 12, 13)
    same = load_json('{"a": [\n 1,\n {"b": "\\ud83d\\ude00"}]}', file="f")
    assert same.data == {"a": [1, {"b": "😀"}]}
    assert same.line(("a", 1, "b")) == 3
