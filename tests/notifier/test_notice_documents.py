"""What docs/notifications.md says is what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from schemas.notify import COLUMNS, FIELDS, Channel, Notify
from services.notifier.kinds import KINDS, TABLE

TEXT = (Path(__file__).parent.parent.parent / "docs" / "notifications.md").read_text()
KIND_OF = {
    "task started": "task_started", "task verified": "task_completed", "task failed": "task_failed",
    "an attempt failed": "attempt_failed", "phase complete": "phase_completed", "health warning": "health_warning",
    "execution completed, failed or cancelled": "execution_failed", "paused": "paused", "rolled back": "rolled_back",
    "progress, after 5 min and then every 10": "progress", "plan rejected": "plan_rejected",
    "a task is blocked and needs help": "escalation", "a question waits for an answer": "approval",
    "an execution stands still until somebody helps": "standstill",
    "the engine gave up a reaction": "fault",
}  # fmt: skip


def test_the_table_is_the_one_that_holds() -> None:
    rows = re.findall(r"^\| ([^|]+) \| ([^|]*)\| ([^|]*)\| ([^|]*)\| ([^|]*)\| ([^|]*) \|$", TEXT, re.MULTILINE)
    found = {label.strip(): [cell.strip() for cell in cells] for label, *cells in rows if label.strip() in KIND_OF}
    assert set(found) == set(KIND_OF)
    for label, (*cells, readers) in found.items():
        kind = KIND_OF[label]
        columns = {column for rule in TABLE if rule.event == kind for column in rule.columns}
        told = {column for column, cell in zip(("voice", "push", "discord", "all"), cells, strict=True) if cell}
        assert told == columns, label
        assert tuple(readers.split(", ")) == KINDS[kind].audience, label


def test_names_and_numbers() -> None:
    assert all(f"`{{{name}}}`" in TEXT for name in FIELDS)
    assert all(kind in TEXT for kind in COLUMNS)
    channel, notify = Channel(kind="log"), Notify()
    assert (channel.gather, channel.window, channel.limit, channel.tries, channel.stale) == (1, 60, 8, 12, 300)
    assert (notify.stale, notify.progress_after, notify.progress_every) == (86400, 300, 600)
