"""Git objects written and read without a git process: commits are a few lines of text with a fixed form."""

import hashlib
import os
import re
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

IDENTITY = "Nightshift <nightshift@localhost>"
EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"


def checked_id(value: str) -> str:
    """`value` if it is a full object id (40 lower case hexadecimal digits); raises `ValueError` otherwise."""
    if not re.fullmatch(r"[0-9a-f]{40}", value):
        raise ValueError(f"{value!r} is not a full git object id")
    return value


def commit_bytes(
    tree: str, *, parents: Sequence[str], message: str, author_time: int, trailers: Mapping[str, str]
) -> bytes:
    """The body of a commit, a function of the arguments alone.

    `author_time` is in seconds since 1970, and is the committer's as well. Raises `ValueError` for an empty message, a
    negative time, a trailer whose key is not a word with hyphens or whose value has more than one line.
    """
    text = message.strip()
    if not text or "\0" in text:
        raise ValueError("a commit needs a message without NUL characters")
    if author_time < 0:
        raise ValueError(f"{author_time} is not a time in seconds since 1970")
    for key, value in trailers.items():
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]*", key) or re.search(r"[\r\n\0]", value):
            raise ValueError(f"{key!r}: {value!r} cannot be a trailer: one line, and a key of letters and hyphens")
    lines = [f"tree {checked_id(tree)}"]
    lines += [f"parent {checked_id(parent)}" for parent in parents]
    lines += [f"{role} {IDENTITY} {author_time} +0000" for role in ("author", "committer")]
    lines += ["", text]
    if trailers:
        lines += ["", *(f"{key}: {value}" for key, value in trailers.items())]
    return ("\n".join(lines) + "\n").encode("utf-8", "backslashreplace")


def loose_path(objects: Path, oid: str) -> Path:
    """Where the object lies unless it is in a pack."""
    return objects / oid[:2] / oid[2:]


def write_object(objects: Path, kind: str, body: bytes, *, durable: bool) -> str:
    """Store an object below the folder `objects` and return its id; storing it again changes nothing.

    With `durable`, it survives a power cut once this returns.
    """
    data = b"%s %d\0%s" % (kind.encode("ascii"), len(body), body)
    oid = hashlib.sha1(data, usedforsecurity=False).hexdigest()
    target = loose_path(objects, oid)
    if target.exists() and target.stat().st_size > 0:  # an empty file is what a power cut leaves without fsync
        return oid
    target.parent.mkdir(exist_ok=True)
    handle, name = tempfile.mkstemp(prefix="tmp_obj_", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(zlib.compress(data))
            file.flush()
            os.fchmod(file.fileno(), 0o444)
            if durable:
                os.fsync(file.fileno())
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    if durable:
        for folder in (target.parent, objects):
            sync_folder(folder)
    return oid


def read_loose(objects: Path, oid: str) -> tuple[str, bytes] | None:
    """The kind and the body of an object, or None when it is not stored on its own (missing, or in a pack)."""
    try:
        data = zlib.decompress(loose_path(objects, oid).read_bytes())
    except (OSError, zlib.error):
        return None
    head, _, body = data.partition(b"\0")
    return head.split(b" ")[0].decode("ascii"), body


def read_small(objects: Path, oid: str, limit: int) -> bytes | None:
    """The body of an object stored on its own, if it has at most `limit` bytes; never reads more, however it is packed.

    None also when the object is missing or in a pack: then git has to be asked.
    """
    try:
        with loose_path(objects, oid).open("rb") as file:
            data = zlib.decompressobj().decompress(file.read(limit + limit // 100 + 1024), limit + 64)
    except (OSError, zlib.error):
        return None
    head, _, body = data.partition(b"\0")
    size = head.rpartition(b" ")[2]
    return body if size.isdigit() and len(body) == int(size) <= limit else None


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
