"""A note on disk for each running attempt, so that a successor on this host can clean up at once (hazard H7).

Nothing is decided by these notes: they only say which processes to kill and which delivery to hand out again. The log
decides.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Note:
    """One attempt that this host runs or ran."""

    lease: str
    tenant: str
    execution: str
    task: str
    reply: str
    """Where its delivery is acknowledged or handed back."""
    boot_id: str
    pid: int
    start_ticks: int


def boot_id() -> str:
    """This boot of this machine; empty where the system does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def start_ticks(pid: int) -> int:
    """When a process started, in clock ticks since boot; 0 if there is no such process or the system does not say."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    return int(stat.rsplit(")", 1)[1].split()[19])


def alive(boot: str, pid: int, ticks: int) -> bool:
    """Whether exactly that process still runs on this host."""
    if boot != boot_id():
        return False
    if ticks:
        return start_ticks(pid) == ticks
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


class Journal:
    """The notes of all executors that share a state folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, note: Note) -> None:
        """Note an attempt, before anything of it runs."""
        target = self.folder / f"{note.lease}.json"
        scratch = target.with_suffix(".new")
        scratch.write_text(json.dumps(asdict(note)))
        scratch.rename(target)

    def remove(self, lease: str) -> None:
        """The attempt is over and nothing of it is left."""
        (self.folder / f"{lease}.json").unlink(missing_ok=True)

    def held(self) -> list[str]:
        """The leases of attempts whose executor lives, or may live: another host's, or one from before a reboot."""
        lost = {note.lease for note in self.orphans() if note.boot_id == boot_id()}
        return [path.stem for path in self.folder.glob("*.json") if path.stem not in lost]

    def orphans(self) -> list[Note]:
        """Attempts whose executor is gone. Notes that cannot be read are removed: they decide nothing."""
        found = []
        for path in self.folder.glob("*.json"):
            try:
                note = Note(**json.loads(path.read_text()))
            except (ValueError, TypeError):
                path.unlink(missing_ok=True)
                continue
            except OSError:
                continue
            if not alive(note.boot_id, note.pid, note.start_ticks):
                found.append(note)
        return found
