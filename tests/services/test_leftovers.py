"""What `clean` takes for left behind: never the folder of an attempt that runs."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from services.executor.journal import Journal, Note, boot_id, start_ticks
from services.executor.leftovers import leftovers
from services.workspace.kept import remove_place


def place(home: Path, kind: str, name: str) -> Path:
    folder = home / kind / "acme" / "execution-1" / name
    (folder / "files").mkdir(parents=True)
    (folder / "files" / "secret.txt").write_text("mine")
    return folder


def note(lease: str, pid: int) -> Note:
    return Note(
        lease, "acme", "execution-1", "t", "reply", boot_id(), pid, start_ticks(pid) if pid == os.getpid() else 1
    )


def test_only_what_nobody_works_in_is_removed(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "leases")
    runs, died, ended = "aaaa1111" + "0" * 24, "bbbb2222" + "0" * 24, "cccc3333"
    journal.write(note(runs, os.getpid()))
    journal.write(note(died, 2**22 + 1))
    elsewhere = "eeee5555" + "0" * 24
    journal.write(replace(note(elsewhere, 4242), boot_id="another host's"))
    other = place(tmp_path, "work", f"t.3.{elsewhere[:8]}")
    kept = place(tmp_path, "work", f"t.1.{runs[:8]}")
    gone = [place(tmp_path, "work", f"t.2.{died[:8]}"), place(tmp_path, "work", f"2%2E1.1.{ended}")]
    judged = place(tmp_path, "judge", "t.1.123")
    outside = tmp_path / "work" / "acme" / "execution-1" / "t.9.dddd4444"
    outside.symlink_to(tmp_path)
    assert leftovers(tmp_path) == sorted(gone), "a judgement may still be under way, and a link is nobody's folder"
    assert leftovers(tmp_path, older=60) == []
    os.utime(judged, (0, 0))
    assert judged in leftovers(tmp_path)
    for folder in leftovers(tmp_path):
        remove_place(tmp_path, folder)
    assert (kept / "files" / "secret.txt").exists()
    assert other.exists()
    assert not any(folder.exists() for folder in (*gone, judged))
    assert not (tmp_path / "judge" / "acme").exists()
