"""How an execution looks: a live task tree in a terminal, plain lines elsewhere, and a summary at the end."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

MARKS = {
    "pending": ("·", "dim"), "ready": ("○", "cyan"), "running": ("▶", "yellow"), "executed": ("◆", "yellow"),
    "faulted": ("!", "red"), "waiting": ("↻", "magenta"), "verified": ("✓", "green"), "satisfied": ("=", "green"),
    "failed": ("✗", "red"), "blocked": ("■", "red"), "skipped": ("-", "dim"), "cancelled": ("×", "dim"),
}  # fmt: skip
"""A sign and a colour for each state; the word stands beside it, so nothing is said by colour alone."""
WRONG = ("faulted", "waiting", "failed", "blocked", "skipped", "cancelled")
"""States beside which a task's last error is worth reading."""
FINAL = ("rejected", "completed", "failed", "cancelled")
MOST_KEPT = 5
"""Folders of attempts that went wrong that are named one by one."""
STANDSTILL = ("awaiting_approval", "blocked", "paused")


def seconds_of(task: dict[str, Any]) -> float | None:
    """How long a task took, or has taken so far."""
    if not task.get("started_at"):
        return None
    start = datetime.fromisoformat(task["started_at"])
    end = datetime.fromisoformat(task["ended_at"]) if task.get("ended_at") else datetime.now(UTC)
    return max(0.0, (end - start).total_seconds())


def duration(seconds: float | None) -> str:
    """Seconds, as a person says them."""
    if seconds is None:
        return ""
    if seconds < 10:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{rest:02}s" if minutes else f"{rest}s"


def tree(status: dict[str, Any], *, rows: int = 40, line: str = "") -> RenderableType:
    """The task tree with states, percent, time to go, and the current line of output."""
    progress = status["progress"]
    head = Text(f"{status['plan']}  ", style="bold")
    head.append(status["state"].replace("_", " "), style="cyan")
    head.append(f"  {progress['done']}/{progress['total']} ({progress['percent']:.0f} %)")
    if status.get("eta"):
        head.append(f"  about {duration(status['eta'])} to go", style="dim")
    bar = Table.grid(expand=True)
    bar.add_row(ProgressBar(total=max(1, progress["total"]), completed=progress["done"]))
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(width=1)
    table.add_column(no_wrap=True, max_width=24, overflow="ellipsis")
    table.add_column(ratio=1, overflow="ellipsis", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    unwell = warnings_of(status)
    shown = choose(status["tasks"], rows)
    for task in shown:
        mark, style = MARKS.get(task["state"], ("?", "red"))
        what = task["state"] + (f" #{task['attempt']}" if (task.get("attempt") or 0) > 1 else "")
        text = Text(task.get("title") or "")
        if task.get("error") and task["state"] in WRONG:
            text.append(f"  {task['error']}", style="red")
        for warning in unwell.get(task["id"], ()):
            since = datetime.fromisoformat(warning["at"]).astimezone().strftime("%H:%M")
            text.append(f"  warning, {since}: {warning['message']}", style="yellow")
        table.add_row(Text(mark, style), task["id"], text, Text(what, style), duration(seconds_of(task)))
    parts: list[RenderableType] = [head, bar, table]
    if len(shown) < len(status["tasks"]):
        parts.append(Text(f"… and {len(status['tasks']) - len(shown)} more tasks", style="dim"))
    if line:
        parts.append(Text(line[:200], style="dim", no_wrap=True, overflow="ellipsis"))
    return Group(*parts)


def warnings_of(status: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """What looks unwell now, by task."""
    found: dict[str, list[dict[str, Any]]] = {}
    for warning in status.get("warnings", ()):
        found.setdefault(warning["task"], []).append(warning)
    return found


def choose(tasks: list[dict[str, Any]], rows: int) -> list[dict[str, Any]]:
    """What fits: all of them, or those that move and those that went wrong, in the plan's order."""
    if len(tasks) <= rows:
        return tasks
    rank = {
        "running": 0,
        "executed": 0,
        "faulted": 0,
        "waiting": 0,
        "failed": 1,
        "blocked": 1,
        "ready": 2,
        "pending": 4,
    }
    wanted = sorted(range(len(tasks)), key=lambda i: (rank.get(tasks[i]["state"], 3), i))[:rows]
    return [tasks[i] for i in sorted(wanted)]


class PlainView:
    """A line for each change, for logs and pipes."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[str, Any]] = {}
        self._state = ""
        self._warned: set[tuple[str, str]] = set()

    def show(self, status: dict[str, Any], line: str = "") -> None:
        """Print what is new."""
        if status["state"] != self._state:
            self._state = status["state"]
            reason = f": {status['reason']}" if status.get("reason") else ""
            print(f"{_now()} {status['plan']}: {self._state.replace('_', ' ')}{reason}", flush=True)
        for task in status["tasks"]:
            now = (task["state"], task.get("attempt"))
            if self._seen.get(task["id"], ("pending", None)) != now and task["state"] != "pending":
                attempt = f" (attempt {task['attempt']})" if (task.get("attempt") or 0) > 1 else ""
                error = f": {task['error']}" if task.get("error") and task["state"] in WRONG else ""
                print(f"{_now()} {task['id']}: {task['state']}{attempt}{error}", flush=True)
            self._seen[task["id"]] = now
        for warning in status.get("warnings", ()):
            told = (warning["task"], warning["at"])
            if told not in self._warned:
                self._warned.add(told)
                print(f"{_now()} {warning['task']}: warning ({warning['kind']}): {warning['message']}", flush=True)


def _now() -> str:
    return datetime.now().astimezone().strftime("%H:%M:%S")


def summary(status: dict[str, Any], console: Console, home: Path) -> None:
    """What came of it, and what to look at next."""
    progress = status["progress"]
    took = None
    if status.get("started_at") and status.get("ended_at"):
        took = datetime.fromisoformat(status["ended_at"]) - datetime.fromisoformat(status["started_at"])
    console.print()
    style = {"completed": "bold green", "failed": "bold red", "rejected": "bold red"}.get(
        status["state"], "bold yellow"
    )
    console.print(Text(f"{status['state'].replace('_', ' ')}", style), Text(status["plan"] or ""), end="")
    console.print(
        f"  {progress['done']} of {progress['total']} tasks"
        + (f" in {duration(took.total_seconds())}" if took else "")
        + (f"  ({status['reason']})" if status.get("reason") else ""),
        highlight=False,
        markup=False,
    )
    for task in status["tasks"]:
        if task["state"] in ("failed", "blocked", "skipped"):
            error = task.get("error") or ""
            console.print(
                f"  {MARKS[task['state']][0]} {task['id']}: {task['state']}: {error}", style="red", markup=False
            )
        if task.get("approval"):
            console.print(Text(f"  ? {task['id']}: {task['approval']['question']}", "yellow"))
    for lost in status.get("notices", {}).get("given_up", ()):
        console.print(f"  ! nobody was told on {lost['channel']}: {lost['reason']}", style="red", highlight=False)
    execution = status["execution"]
    hints = [("what happened, event by event", f"nightshift history {execution}")]
    from services.workspace.kept import kept_of  # only here, so that other commands start sooner

    left = kept_of(home, execution)
    if len(left) > MOST_KEPT:
        where = Path(left[0]["path"]).parents[1]
        hints.insert(0, (f"what {len(left)} attempts left that went wrong", str(where)))
    else:
        hints[:0] = [(f"the files of attempt {each['attempt']} of {each['task']}", each["path"]) for each in left]
    failed = next((t for t in status["tasks"] if t["state"] == "failed"), None)
    if failed:
        hints.insert(0, ("what it printed", f"nightshift logs {execution} {failed['id']}"))
    if status["state"] == "paused":
        hints.insert(0, ("go on", f"nightshift resume {execution}"))
    elif failed and status["state"] == "failed":
        hints.insert(1, ("try again what failed", f"nightshift retry {execution}"))
    asking = [t["id"] for t in status["tasks"] if t.get("approval")]
    if asking:
        hints.insert(0, ("it waits for your word", f"nightshift approve {execution} {asking[0]}"))
    branch = status.get("branch") or {}
    if branch.get("repository") and branch.get("head") != branch.get("base"):
        where = home / "repos" / f"{branch['repository']}.git"
        if where.is_dir():
            hints.append(("take the work into your repository", f"git fetch {where} {branch['name']}:{branch['name']}"))
    if status["state"] in FINAL:
        hints.append(("what was verified, what was not, and why", f"nightshift report {execution} --open"))
    hints.append(("does the log prove it", "nightshift replay --check"))
    for what, line in hints:
        console.print(f"  {what}: ", style="dim", end="", highlight=False)
        console.print(command(line) if line.startswith("nightshift") else line, highlight=False, soft_wrap=True)


def command(line: str) -> str:
    """A command as it can be typed in this terminal, for this home."""
    program = Path(sys.argv[0])
    known = shutil.which("nightshift")
    if program.name == "nightshift" and (known is None or Path(known).resolve() != program.resolve()):
        line = line.replace("nightshift", _shortest(str(program)), 1)
    home = os.environ.get("NIGHTSHIFT_HOME")
    return f"NIGHTSHIFT_HOME={shlex.quote(_shortest(home))} {line}" if home else line


def _shortest(path: str) -> str:
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative


def is_terminal() -> bool:
    """Whether somebody watches."""
    return sys.stdout.isatty()
