"""Spoiling plan files: what editors, merges and tired people do to them. Every change is seeded."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

from schemas.formats import read_text
from schemas.reading import Reading
from schemas.validate import validate

LIMIT = 1.0
"""Seconds that one reading may take."""


def spoiled(raw: bytes) -> Iterator[tuple[str, bytes]]:
    """Named changes."""
    lines = raw.split(b"\n")
    middle = len(lines) // 2
    yield "empty", b""
    yield "deleted line", b"\n".join(lines[:middle] + lines[middle + 1 :])
    yield "swapped lines", b"\n".join([*lines[:middle], *reversed(lines[middle : middle + 2]), *lines[middle + 2 :]])
    yield "doubled line", b"\n".join([*lines[:middle], lines[middle], *lines[middle:]])
    for part in (3, 2):
        yield f"truncated to 1/{part}", raw[: len(raw) // part]
    yield "truncated by a byte", raw.rstrip()[:-1]
    yield "windows line ends", raw.replace(b"\n", b"\r\n")
    yield "old mac line ends", raw.replace(b"\n", b"\r")
    yield "byte order mark", b"\xef\xbb\xbf" + raw
    yield "zero byte", raw[: len(raw) // 2] + b"\0" + raw[len(raw) // 2 :]
    yield "mojibake", raw.decode("utf-8").encode("utf-8").decode("mac_roman").encode("utf-8")
    yield "latin 1", raw.decode("utf-8").encode("latin-1", "replace")
    yield "twice", raw + b"\n" + raw
    yield (
        "merge conflict",
        b"\n".join(
            [
                *lines[:middle],
                b"<<<<<<< HEAD",
                lines[middle],
                b"=======",
                lines[middle],
                b">>>>>>> main",
                *lines[middle:],
            ]
        ),
    )


def edited(raw: bytes, seed: int) -> bytes:
    """One to three random edits: bytes changed, removed, doubled, or brackets and quotes put in."""
    draw = random.Random(seed)
    body = bytearray(raw)
    for _ in range(draw.randint(1, 3)):
        if not body:
            break
        start = draw.randrange(len(body))
        length = draw.choice((1, 1, 2, 8, 40))
        kind = draw.randrange(5)
        if kind == 0:
            del body[start : start + length]
        elif kind == 1:
            body[start:start] = body[start : start + length]
        elif kind == 2:
            body[start] = draw.randrange(256)
        elif kind == 3:
            body[start:start] = draw.choice(
                (b'"', b"'", b"{", b"}", b"[", b"]", b":", b",", b"- ", b"\n", b"\t", b"\\")
            )
        else:
            other = draw.randrange(len(body))
            low, high = sorted((start, other))
            body[low : low + length], body[high : high + length] = body[high : high + length], body[low : low + length]
    return bytes(body)


def read_spoiled(name: str, raw: bytes, format: str | None = None) -> Reading:
    """Read and check; it ends in time, and with a plan or with a reason."""
    before = time.process_time()
    found = validate(read_text(name, raw, format))
    assert time.process_time() - before < LIMIT
    assert found.tasks or found.errors
    for problem in found.diagnostics:
        assert problem.message
        assert problem.file
        assert problem.line is None or 1 <= problem.line <= raw.count(b"\n") + raw.count(b"\r") + 1
    for task in found.tasks:
        assert task.id
        assert "\r" not in task.id + task.title + task.status
        assert task.line is not None
    return found
