"""Damage done to real plan files, seeded, and big plans made up: for the tests of markdown formats."""

from __future__ import annotations

import random
from collections.abc import Iterator

_INSERTS = (
    "```",
    "````",
    "<!--",
    "-->",
    "---",
    "- [ ] ",
    "- [x] 1.1 again",
    "## Phase 1: again",
    "| a | b |",
    "#" * 7,
    "- [ ] T001 [P] twice",
    "Depends on: everything",
    "Requires 99.99.",
    "→ **[x]** y",
    "\t\t- [ ]* deep",
    "=" * 40,
    "(Dependencies: [1.1, 1.2",
    "- [ ] " * 20,
    "**Files:**",
    "Run: `",
    "Task 1:",
    "> - [X] quoted",
    "﻿",
    "1. " * 30,
)


def damaged(raw: bytes, seed: int) -> bytes:
    """One to four random edits of a file's bytes."""
    chance = random.Random(seed)
    lines = raw.split(b"\n")
    for _ in range(chance.randint(1, 4)):
        kind = chance.randrange(9)
        at = chance.randrange(len(lines)) if lines else 0
        if kind == 0 and lines:
            del lines[at]
        elif kind == 1 and len(lines) > 1:
            other = chance.randrange(len(lines))
            lines[at], lines[other] = lines[other], lines[at]
        elif kind == 2:
            lines = lines[: max(at, 1)]
        elif kind == 3:
            lines.insert(at, chance.choice(_INSERTS).encode())
        elif kind == 4 and lines:
            lines.insert(at, lines[chance.randrange(len(lines))])
        elif kind == 5 and lines:
            line = bytearray(lines[at])
            if line:
                line[chance.randrange(len(line))] = chance.randrange(256)
            lines[at] = bytes(line)
        elif kind == 6 and lines:
            lines[at] = b"  " * chance.randint(1, 5) + lines[at]
        elif kind == 7 and lines:
            lines[at] = lines[at].replace(b"[ ]", b"[x]") if b"[ ]" in lines[at] else lines[at].replace(b"[x]", b"[ ]")
        elif lines:
            lines[at] = lines[at][: len(lines[at]) // 2] + b"\0" + lines[at][len(lines[at]) // 2 :]
    return b"\n".join(lines)


def rewritten(raw: bytes) -> Iterator[tuple[str, bytes]]:
    """The same text under other encodings and line ends."""
    yield "crlf", raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    yield "bom", b"\xef\xbb\xbf" + raw
    yield "mixed", b"".join(line + (b"\r\n" if n % 2 else b"\n") for n, line in enumerate(raw.split(b"\n")))
    yield "mojibake", raw.decode("utf-8").encode("utf-8").decode("mac_roman").encode("utf-8")
    yield "cut", raw[: len(raw) // 2]
    yield "latin", raw.decode("utf-8").encode("latin-1", "replace") + b"\xff\xfe"


def big(kind: str, count: int) -> str:
    """A plan of ``count`` tasks in a markdown format."""
    lines: list[str] = []
    for number in range(1, count + 1):
        part, place = divmod(number - 1, 50)
        lines.extend(_HEADS[kind](part + 1) if place == 0 else [])
        lines.extend(_TASKS[kind](part + 1, place + 1, number))
    return "\n".join(lines) + "\n"


_HEADS = {
    "speckit": lambda part: [f"## Phase {part}: Part", ""],
    "kiro": lambda part: [f"## {part}. Part", ""],
    "openspec": lambda part: [f"## {part}. Part", ""],
    "tasks_list": lambda part: [f"## {part}. Part", "", f"### {part}.1. Step", ""],
    "clarity": lambda part: [f"Phase {part} — Part (Dependencies: [])", "", f"{part}.1 Group (Dependencies: [])"],
    "free_form": lambda part: [],
    "project_plan": lambda part: ["### Ready for Autonomous Execution ✅"] if part == 1 else [],
    "inline": lambda part: [f"## Chunk {part}: Part", ""],
    "prp": lambda part: ["## Implementation Blueprint", "", "## Validation Loop"] if part == 1 else [],
    "checklist": lambda part: [f"## Group {part}", ""],
}
_TASKS = {
    "speckit": lambda part, place, number: [
        f"- [ ] T{number:03d} {'[P] ' if place % 3 else ''}Do it in src/m{number}.py"
    ],
    "kiro": lambda part, place, number: [f"- [ ] {part}.{place} Do it", "  - detail", "  - _Requirements: 1.1_", ""],
    "openspec": lambda part, place, number: [f"- [ ] {part}.{place} Do it"],
    "tasks_list": lambda part, place, number: [
        f"- [ ] {part}.1.{place}. Do it.",
        "",
        f"  - Requires {part}.1.{max(place - 1, 1)}." if place > 1 else "  - First.",
        "  - Success: it works.",
        "",
    ],
    "clarity": lambda part, place, number: [f"{part}.1.{place} Do `x` it"],
    "free_form": lambda part, place, number: (
        [
            f"### TASK-{number}: Do it",
            "",
            "**Status:** Planned",
            f"**Dependencies:** TASK-{max(number - 1, 1)}",
            "",
        ]
        if number > 1
        else ["### TASK-1: Do it", ""]
    ),
    "project_plan": lambda part, place, number: [
        f"→ **[t{number}]** Do it",
        "  - Alignment score: 90/100",
        "  - Estimated lines: 9",
        "  - Tests defined: ✅ Yes",
        "",
    ],
    "inline": lambda part, place, number: [
        f"### Task {number}: Do it",
        "",
        "**Files:**",
        f"- Create: `src/m{number}.py`",
        "",
        "- [ ] **Step 1: Write**",
        "",
        "Run: `pytest -q`",
        "Expected: PASS",
        "",
    ],
    "prp": lambda part, place, number: [
        f"### Task {number}: CREATE src/m{number}.py",
        "- IMPLEMENT: it",
        "- VALIDATE: `pytest -q`",
        "",
    ],
    "checklist": lambda part, place, number: [f"- [ ] Do it {number}"],
}
