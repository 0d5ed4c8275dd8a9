"""Keeps the output of a command: its first bytes and its last, and says honestly what is left out between.

Little of it stays in memory; more goes to a file.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

MIB = 1024 * 1024
HELD = 64 * 1024
"""Bytes of output up to which no file is made."""
_CHUNK = 256 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Captured:
    """The output as kept."""

    path: Path
    """Where it is, unless it is `held`."""
    total_bytes: int
    """All that was written."""
    dropped_bytes: int
    """How much of it is left out in the middle; 0 means that the file is the output, byte for byte."""
    size: int
    """Bytes that are kept, the marker line included."""
    sha256: str
    """Of what is kept, in hex."""
    held: bytes | None = None
    """All of it, if there is no file."""

    def read(self) -> bytes:
        """What is kept."""
        return self.path.read_bytes() if self.held is None else self.held

    def tail(self, characters: int) -> str:
        """The end of it as text, at most so many characters."""
        start = max(0, self.size - 4 * characters)
        if self.held is not None:
            return self.held[start:].decode("utf-8", "replace")[-characters:]
        with self.path.open("rb") as file:
            file.seek(start)
            return file.read().decode("utf-8", "replace")[-characters:]


class Capture:
    """Takes chunks of output; needs the same little memory for any amount of them.

    More than `held_bytes` go to a file: the head, then a ring for the tail, until `finish` puts it in order. Raises
    OSError when the disk is full, ValueError for limits below zero. A context manager: leaving it without `finish`
    leaves the ring on disk.
    """

    def __init__(
        self, path: Path, *, head_bytes: int = 8 * MIB, tail_bytes: int = 8 * MIB, held_bytes: int = HELD
    ) -> None:
        if head_bytes < 0 or tail_bytes < 0:
            raise ValueError("a capture cannot keep less than nothing")
        self._path = path
        self._head = head_bytes
        self._tail = tail_bytes
        self._total = 0
        self._held = bytearray()
        self._most_held = min(held_bytes, head_bytes)
        self._file = -1
        self._captured: Captured | None = None

    @property
    def total_bytes(self) -> int:
        """Bytes taken so far."""
        return self._total

    async def take(self, chunk: bytes) -> None:
        """Take a chunk: the `on_output` of a sandbox."""
        self.write(chunk)

    def write(self, chunk: bytes) -> None:
        """Take a chunk."""
        if self._file < 0:
            if self._total + len(chunk) <= self._most_held:
                self._held += chunk
                self._total += len(chunk)
                return
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            self._write_at(memoryview(bytes(self._held)), 0)
        data = memoryview(chunk)
        room = self._head - self._total
        if room > 0:
            self._write_at(data[:room], self._total)
            self._total += len(data[:room])
            data = data[room:]
        skipped = max(0, len(data) - self._tail)
        self._total += skipped
        data = data[skipped:]
        while data:
            position = (self._total - self._head) % self._tail
            part = data[: self._tail - position]
            self._write_at(part, self._head + position)
            self._total += len(part)
            data = data[len(part) :]

    def finish(self) -> Captured:
        """Put the file in order and close it; a second call gives the same answer."""
        if self._captured is None and self._file < 0:
            held = bytes(self._held)
            self._captured = Captured(
                path=self._path, total_bytes=self._total, dropped_bytes=0, size=self._total,
                sha256=hashlib.sha256(held).hexdigest(), held=held,
            )  # fmt: skip
        if self._captured is None:
            dropped = max(0, self._total - self._head - self._tail)
            if dropped:
                self._unroll(dropped)
            digest, size = hashlib.sha256(), 0
            while part := os.pread(self._file, _CHUNK, size):
                digest.update(part)
                size += len(part)
            self._captured = Captured(
                path=self._path,
                total_bytes=self._total,
                dropped_bytes=dropped,
                size=size,
                sha256=digest.hexdigest(),
            )
            self.close()
        return self._captured

    def close(self) -> None:
        """Close the file, if there is one; needed only without `finish`."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Capture:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _unroll(self, dropped: int) -> None:
        """Write head, marker and tail in order into a new file, and put that in the place of the ring."""
        marker = f"[nightshift: {dropped} bytes left out here]\n".encode()
        if self._head and os.pread(self._file, 1, self._head - 1) != b"\n":
            marker = b"\n" + marker
        oldest = self._head + (self._total - self._head) % self._tail if self._tail else self._head
        ordered = self._path.with_name(self._path.name + ".ordered")
        ring, self._file = self._file, os.open(ordered, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            end = self._copy(ring, 0, self._head, 0)
            self._write_at(memoryview(marker), end)
            end = self._copy(ring, oldest, self._head + self._tail, end + len(marker))
            self._copy(ring, self._head, oldest, end)
            os.replace(ordered, self._path)
        finally:
            os.close(ring)

    def _copy(self, source: int, start: int, stop: int, at: int) -> int:
        """Copy a range of `source` to the place `at` of the file; returns where it ends there."""
        while start < stop:
            part = os.pread(source, min(_CHUNK, stop - start), start)
            if not part:
                break
            self._write_at(memoryview(part), at)
            start += len(part)
            at += len(part)
        return at

    def _write_at(self, data: memoryview, position: int) -> None:
        while data:
            written = os.pwrite(self._file, data, position)
            data = data[written:]
            position += written
