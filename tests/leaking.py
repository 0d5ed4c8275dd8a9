"""A program that does what it should not: it says a secret in every way it can. ``python -m tests.leaking WAY``."""

from __future__ import annotations

import os
import sys
import time

from tests.spellings import SPELLINGS

BORDER = 64 * 1024


def write(data: bytes, stream: int = 1) -> None:
    """All of it, past every buffer."""
    while data:
        data = data[os.write(stream, data) :]


def main(way: str, secret: str) -> None:
    """Say it, and fail with it where that is the way."""
    write(b"a visible line before\n")
    if way == "spelled":
        for name, spell in SPELLINGS.items():
            write(f"\n{name}: <".encode() + spell(secret) + b">")
    elif way == "slowly":
        for name in ("raw", "base64, one off", "URL, twice", "hex", "UTF-16"):
            for byte in SPELLINGS[name](secret) + b"\n":
                write(bytes([byte]))
                time.sleep(0.001)
    elif way == "across":
        for name in ("raw", "base64, wrapped", "JSON, all escaped"):
            for before in (1, 3, 10):
                write(b"." * (BORDER - before) + SPELLINGS[name](secret) + b"\n")
    elif way == "between":
        for name in ("raw", "base64", "URL with lower hex"):
            for place, byte in enumerate(SPELLINGS[name](secret) + b"\n"):
                write(bytes([byte]), 1 + place % 2)
    elif way == "fails":
        raise RuntimeError(f"the server refused the token {secret}")
    write(b"a visible line behind\n")


if __name__ == "__main__":
    main(sys.argv[1], os.environ["TOKEN"])
