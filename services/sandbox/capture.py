"""Keeps the output of a command in a file: its first bytes and its last, and says honestly what is left out between."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

MIB = 1024 * 1024
_CHUNK = 256 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Captured:
    """The output as kept."""

    path: Path
    total_bytes: int
    """All that was written."""
    dropped_bytes: int
    """How much of it is left out in the middle; 0 means that the file is the output, byte for byte."""
    size: int
    """Bytes in the file, the marker line included."""
    sha256: str
    """Of the file, in hex."""

    def read(self) -> bytes:
        """The bytes of the file."""
        return self.path.read_bytes()

    def tail(self, characters: int) -> str:
        """The end of it as text, at most so many characters."""
        with self.path.open("rb") as file:
            file.seek(max(0, self.size - 4 * characters))
            return file.read().decode("utf-8", "replace")[-characters:]


class Capture:
    """Takes chunks of output; needs the same little memory for any amount of them.

    The file is the head, then a ring for the tail, until `finish` puts it in order. Raises OSError when the disk is
    full, ValueError for limits below zero. A context manager: leaving it without `finish` leaves the ring on disk.
    """

    def __init__(self, path: Path, *, head_bytes: int = 8 * MIB, tail_bytes: int = 8 * MIB) -> None:
        if head_bytes < 0 or tail_bytes < 0:
            raise ValueError("a capture cannot keep less than nothing")
        self._path = path
        self._head = head_bytes
        self._tail = tail_bytes
        self._total = 0
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
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
        """Close the file; needed only without `finish`."""
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
