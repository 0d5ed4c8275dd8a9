"""Watching an execution until it ends or stands still."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from rich.console import Console
from rich.live import Live

from events.log import LogUnavailable
from events.log.questions import Refused
from nightshift.client import Client
from nightshift.view import FINAL, STANDSTILL, PlainView, is_terminal, tree


async def last_line(client: Client, status: dict[str, Any]) -> str:
    """The newest line that a running task printed."""
    running = next((t for t in status["tasks"] if t["state"] == "running"), None)
    if running is None:
        return ""
    with suppress(Refused, LogUnavailable):
        answer = await client.ask("logs", execution=status["execution"], task=running["id"], last=2000)
        lines = [text for text in answer["text"].splitlines() if text.strip()]
        return f"{running['id']}: {lines[-1]}" if lines else ""
    return ""


async def follow(
    client: Client, execution: str, *, at: int = 0, wait: bool = True, quiet: bool = False
) -> dict[str, Any]:
    """Show an execution until it is over; without ``wait`` also until it waits for a person. Gives the last status."""
    stops = FINAL if wait else FINAL + STANDSTILL
    status = await client.status(execution, at=at)
    if quiet:
        async for _ in client.changes(execution):
            status = await client.status(execution)
            if status["state"] in stops:
                break
        return status
    if not is_terminal():
        plain = PlainView()
        plain.show(status)
        if status["state"] in stops:
            return status
        async for _ in client.changes(execution):
            status = await client.status(execution)
            plain.show(status)
            if status["state"] in stops:
                break
        return status
    console = Console()
    with Live(console=console, refresh_per_second=8, transient=True) as live:
        rows = max(5, console.height - 6)
        live.update(tree(status, rows=rows))
        if status["state"] not in stops:
            async for _ in client.changes(execution, every=0.5):
                status = await client.status(execution)
                live.update(tree(status, rows=rows, line=await last_line(client, status)))
                if status["state"] in stops:
                    break
    console.print(tree(status, rows=200))
    return status
