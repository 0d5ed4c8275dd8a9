"""The DuckDB file: opened by one process, locked down, copied for others."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import threading
import uuid
import weakref
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import duckdb

MEMORY = ":memory:"


class StoreError(Exception):
    """The projections' database did not do what was asked."""


class StoreLocked(StoreError):
    """Another process owns the file."""


class StoreDamaged(StoreError):
    """The file cannot be read. It holds nothing that the log does not hold."""


_open: set[str] = set()
_guard = threading.Lock()


class Database:
    """An open DuckDB file. From here on it reaches no other file than those of its own staging folder.

    A connection serves one thread at a time, so everybody takes a cursor of their own.
    """

    def __init__(self, path: str | Path = MEMORY, *, memory: str = "512MB", read_only: bool = False) -> None:
        self.path = MEMORY if str(path) == MEMORY else str(Path(path).resolve())
        self._forget_folder: Callable[[], object] = _nothing
        if self.path == MEMORY:
            self._staging = Path(tempfile.mkdtemp(prefix="nightshift-"))
            # also when nobody closes it, or the interpreter ends first
            self._forget_folder = weakref.finalize(self, shutil.rmtree, self._staging, ignore_errors=True)
        else:
            Path(self.path).parent.mkdir(parents=True, exist_ok=True)
            self._staging = Path(self.path + ".staging")
            with _guard:
                if self.path in _open:
                    raise StoreLocked(f"{self.path} is open in this process already; use that one")
                _open.add(self.path)
        try:
            self._root = _connect(self.path, read_only)
            self._staging.mkdir(exist_ok=True)
            for setting in (
                f"set allowed_directories = [{_quoted(str(self._staging))}]",
                f"set temp_directory = {_quoted(str(self._staging / 'spill'))}",
                f"set memory_limit = {_quoted(memory)}",
                "set timezone = 'UTC'",
                "set python_enable_replacements = false",
                "set autoinstall_known_extensions = false",
                "set autoload_known_extensions = false",
                "set enable_external_access = false",
                "set lock_configuration = true",
            ):
                self._root.execute(setting)
        except BaseException:
            self._forget()
            raise
        self._cursors = threading.Lock()

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A connection of one's own to the same database."""
        with self._cursors:
            return self._root.cursor()

    def snapshot(self, path: str | Path) -> None:
        """Write a consistent copy that other processes may open; it appears under its name when it is whole."""
        target = Path(path).resolve()
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = self._staging / f"{uuid.uuid4().hex}.duckdb"
        cursor = self.cursor()
        try:
            name = cursor.execute("select current_database()").fetchall()[0][0]
            cursor.execute(f"attach {_quoted(str(draft))} as copy_of_it")
            try:
                cursor.execute(f'copy from database "{name}" to copy_of_it')
            finally:
                cursor.execute("detach copy_of_it")
            _into_place(draft, target)
        finally:
            cursor.close()
            draft.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file; its lock is free for others."""
        self._root.close()
        self._forget()

    def _forget(self) -> None:
        with _guard:
            _open.discard(self.path)
        self._forget_folder()

    def __enter__(self) -> Database:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _nothing() -> None:
    pass


def _into_place(draft: Path, target: Path) -> None:
    """Rename a finished copy, over a second copy beside the target if that is on another disk."""
    beside = target.with_name(f".{target.name}.{draft.stem}")
    try:
        shutil.move(draft, beside)
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _connect(path: str, read_only: bool) -> duckdb.DuckDBPyConnection:
    try:
        return duckdb.connect(path, read_only=read_only)
    except duckdb.IOException as error:
        message = str(error)
        if "lock" not in message.lower():
            raise StoreDamaged(_damaged(path, error)) from error
        holder = re.search(r"held in (.+?) \(PID (\d+)\)", message)
        who = f"process {holder[2]} ({holder[1]})" if holder else "another process"
        raise StoreLocked(
            f"{path} is in use by {who}. Only one process can own the projections: ask that one, "
            "have it write a snapshot, or stop it."
        ) from error
    except (duckdb.Error, UnicodeDecodeError) as error:
        raise StoreDamaged(_damaged(path, error)) from error


def _damaged(path: str, error: Exception) -> str:
    return (
        f"{path} cannot be opened: {str(error).splitlines()[0]}. It holds nothing that the log does not hold: "
        "move it away and it is made anew."
    )
