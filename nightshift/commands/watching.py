"""Commands that read: status, watch, logs, history, query, replay, and answers to what tasks ask."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from events.log.questions import EVERYBODY
from nightshift.client import Client
from nightshift.follow import follow
from nightshift.output import DONE, FAILED, fail, print_json, run
from nightshift.session import session, settings_of
from nightshift.view import summary, tree

Execution = Annotated[str, typer.Argument(help="An execution's id, or its beginning.", metavar="EXECUTION")]
Task = Annotated[str, typer.Argument(help="A task's id.", metavar="TASK")]
Tenant = Annotated[str | None, typer.Option(help="In whose name.", metavar="T")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def status(
    execution: Annotated[str | None, typer.Argument(help="An execution's id; all of them without.")] = None,
    tenant: Tenant = None,
    json_: Json = False,
) -> None:
    """What an execution is doing now, or the newest executions."""
    from services.workspace.kept import kept_of

    async def work() -> None:
        async with session(settings_of(tenant), momentary=True) as client:
            if execution is None:
                rows = await client.ask("executions")
                print_json(rows) if json_ else _list(rows)
                return
            answer = await client.status(execution)
            if json_:
                print_json(answer | {"kept": kept_of(settings_of().home, answer["execution"])})
            else:
                console = Console()
                console.print(tree(answer, rows=1000))
                summary(answer, console, settings_of().home)

    run(work())


def _list(rows: list[dict[str, Any]]) -> None:
    if not rows:
        print("nothing has been submitted yet; try: nightshift run examples/tour/plan.yaml")
        return
    table = Table(box=None, pad_edge=False)
    for name in ("execution", "state", "done", "plan"):
        table.add_column(name, no_wrap=name != "plan")
    for row in rows:
        done = f"{row['progress']['done']}/{row['progress']['total']}"
        table.add_row(row["execution"], row["state"].replace("_", " "), done, row["plan"] or "")
    Console().print(table)


def watch(execution: Execution, tenant: Tenant = None) -> None:
    """Follow an execution until it is over."""

    async def work() -> int:
        async with session(settings_of(tenant)) as client:
            full = (await client.status(execution))["execution"]
            last = await follow(client, full)
            summary(last, Console(), settings_of().home)
            return DONE if last["state"] == "completed" else FAILED

    raise SystemExit(run(work()))


def logs(
    execution: Execution,
    task: Task,
    follow_: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the task is over.")] = False,
    attempt: Annotated[int | None, typer.Option(help="Only this attempt.")] = None,
    tenant: Tenant = None,
    json_: Json = False,
) -> None:
    """What a task printed."""

    async def work() -> None:
        async with session(settings_of(tenant), momentary=not follow_) as client:
            after = 0
            while True:
                over = not follow_ or await _over(client, execution, task)
                answer = await client.ask("logs", execution=execution, task=task, attempt=attempt, after=after)
                after = answer["after"]
                if json_:
                    print_json(answer["chunks"], lines=True)
                else:
                    sys.stdout.write(answer["text"])
                sys.stdout.flush()
                if over and not answer["chunks"]:
                    return
                if not answer["chunks"]:
                    await asyncio.sleep(0.3)

    run(work())


async def _over(client: Client, execution: str, task: str) -> bool:
    tasks = (await client.status(execution))["tasks"]
    state = next((t["state"] for t in tasks if t["id"] == task), None)
    if state is None:
        fail(f"there is no task {task!r} in this execution", remedy=f"nightshift status {execution} names them")
    return state in ("verified", "failed", "skipped", "cancelled", "blocked", "satisfied")


def history(
    execution: Execution,
    task: Annotated[str | None, typer.Argument(help="Only this task.")] = None,
    tenant: Tenant = None,
    json_: Json = False,
) -> None:
    """The audit: sequence, time, actor, event, cause, and what changed."""

    async def work() -> None:
        async with session(settings_of(tenant), momentary=True) as client:
            after, rows = 0, await _page(client, execution, task, 0)
            names: dict[str, str] = {}
            while rows:
                if json_:
                    print_json(({k: v for k, v in r.items() if k in HISTORY_KEYS} for r in rows), lines=True)
                else:
                    for row in rows:
                        _print_event(row, names)
                after = rows[-1]["seq"]
                rows = await _page(client, execution, task, after)

    run(work())


HISTORY_KEYS = ("seq", "at", "tenant", "execution", "task", "event", "actor", "cause", "data")


async def _page(client: Client, execution: str, task: str | None, after: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = await client.ask("history", execution=execution, task=task, after=after, limit=1000)
    return rows


def _print_event(row: dict[str, Any], names: dict[str, str]) -> None:
    """One event, its cause named as the event and sequence it was."""
    names[row["id"]] = f"{row['event']}@{row['seq']}"
    cause = names.get(row["cause"] or "", row["cause"] or "")
    text = Text(f"{row['seq']:>6} {row['at'][11:23]} ", style="dim")
    text.append(f"{row['event']:<20} ", style="bold" if row.get("standing", "ok") == "ok" else "bold red")
    text.append(f"{row['task'] or '-':<16} ", style="cyan")
    text.append(told(row))
    text.append(f"  by {(row['actor'] or '?').split('@')[0]}", style="dim")
    if cause:
        text.append(f" because of {cause}", style="dim")
    Console().print(text, soft_wrap=True, highlight=False)


def told(row: dict[str, Any]) -> str:
    """What changed, in few words."""
    data = row.get("data") or {}
    if not isinstance(data, dict):
        return ""
    if row.get("reason"):
        return str(row["reason"])
    if row["event"] == "HealthWarned":
        return f"{data.get('kind')}: {data.get('message')} stage={data.get('stage')} attempt={data.get('attempt')}"
    parts = []
    for key in (
        "attempt",
        "reason",
        "exit_code",
        "delay",
        "commit",
        "limit",
        "granted",
        "notes",
        "kind",
        "because",
        "written_back",
        "rating",
    ):
        value = data.get(key)
        if value not in (None, "", 0) or (key == "exit_code" and value == 0):
            parts.append(f"{key}={str(value)[:12] if key == 'commit' else value}")
    results = data.get("results")
    if results:
        passed = sum(1 for r in results if r["result"] == "pass")
        parts.append(f"{passed}/{len(results)} criteria")
    return " ".join(parts)


def query(
    sql: Annotated[
        str, typer.Argument(help="A SELECT over executions, tasks, attempts, criteria, test_results, events, …")
    ],
    tenant: Tenant = None,
    all_tenants: Annotated[bool, typer.Option("--all-tenants", help="Everybody's rows (operator only).")] = False,
    json_: Json = False,
) -> None:
    """Read-only SQL over the projections."""

    async def work() -> None:
        async with session(settings_of(tenant), momentary=True) as client:
            answer = await client.ask("query", tenant=EVERYBODY if all_tenants else None, sql=sql)
            if json_:
                print_json([dict(zip(answer["columns"], row, strict=True)) for row in answer["rows"]])
                return
            table = Table(box=None, pad_edge=False)
            for name in answer["columns"]:
                table.add_column(name)
            for row in answer["rows"]:
                table.add_row(*("" if v is None else str(v) for v in row))
            Console().print(table)
            if answer.get("truncated"):
                print("… there are more rows; add a limit or a condition")

    run(work())


def replay(
    until: Annotated[str | None, typer.Option(help="A sequence, or a moment such as 2026-01-31T08:00:00Z.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Compare a replay of the log with the projections.")] = False,
    execution: Annotated[str | None, typer.Option(help="Show this execution as it was.")] = None,
    tenant: Tenant = None,
    json_: Json = False,
) -> None:
    """Replay the log: into a comparison, or into the state of an earlier moment."""

    async def work() -> int:
        async with session(settings_of(tenant), momentary=True) as client:
            if check:
                answer = await client.ask("check", timeout=600.0)
                if json_:
                    print_json(answer)
                elif answer["differences"]:
                    for difference in answer["differences"]:
                        sys.stderr.write(f"{difference}\n")
                else:
                    print(f"{answer['events']} events replayed: the same rows in {answer['tables']} tables")
                return FAILED if answer["differences"] else DONE
            answer = await client.ask("replay", until=until, execution=execution, timeout=600.0)
            if json_:
                print_json(answer)
            elif execution is None:
                print(f"as it was at event {answer['position']} ({answer['at'] or 'the beginning'}):")
                _list(answer["executions"])
            else:
                Console().print(tree(answer["status"], rows=1000))
            return DONE

    raise SystemExit(run(work()))
