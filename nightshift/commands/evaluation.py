"""Commands about how good it was: rate, trends, times, measures."""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table

from events.log.questions import EVERYBODY
from nightshift.client import Client
from nightshift.commands.control import ask_for
from nightshift.commands.watching import Execution, Tenant
from nightshift.output import fail, print_json, run
from nightshift.session import session, settings_of

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
AllTenants = Annotated[bool, typer.Option("--all-tenants", help="Everybody's rows (operator only).")]
PAGE = 5_000
"""Rows asked for at once."""
_HIDDEN = frozenset({"depends_on_agents", "conversation", "plan", "cpu_seconds", "ended_at"})
"""Columns that only --json and --csv show."""

_TIMES = {
    "task": "select * from times",
    "execution": (
        "select t.tenant, t.execution, any_value(t.plan) as plan, any_value(t.conversation) as conversation, "
        "any_value(e.state) as outcome, count(*) as tasks, count(*) filter (t.outcome = 'verified') as verified, "
        "sum(t.attempts) as attempts, any_value(e.started_at) as started_at, any_value(e.ended_at) as ended_at, "
        "sum(t.seconds) as seconds, sum(t.cpu_seconds) as cpu_seconds "
        "from times t join executions e on e.tenant = t.tenant and e.execution = t.execution "
        "group by t.tenant, t.execution order by min(e.first_seq)"
    ),
    "tenant": (
        "select tenant, count(distinct execution) as executions, count(*) as tasks, "
        "count(*) filter (outcome = 'verified') as verified, sum(attempts) as attempts, sum(seconds) as seconds, "
        "sum(cpu_seconds) as cpu_seconds from times group by tenant order by tenant"
    ),
}


def rate(
    execution: Execution,
    words: Annotated[
        list[str], typer.Argument(help="A task, or none for the whole; then 1 to 10.", metavar="[TASK] N")
    ],
    notes: Annotated[str, typer.Option(help="Why.")] = "",
    tenant: Tenant = None,
) -> None:
    """Rate an execution, or one of its tasks, from 1 to 10; 10 is best."""
    *named, number = words
    if len(named) > 1 or not number.lstrip("-").isdigit():
        fail("give a rating from 1 to 10, with a task before it or none: nightshift rate EXECUTION build 8")
    task = named[0] if named else None
    ask_for(
        execution, tenant,
        lambda client, full, me: client.rate(full, int(number), task=task, notes=notes, actor=me),
    )  # fmt: skip


def trends(
    score: Annotated[str | None, typer.Option(help="Only this one, such as rating or duration.")] = None,
    tenant: Tenant = None,
    all_tenants: AllTenants = False,
    json_: Json = False,
) -> None:
    """The scores of tasks, by day: duration, test_pass_rate, success_ratio, context_tokens, rating."""
    where = f" where score = '{score.replace(chr(39), chr(39) * 2)}'" if score else ""
    _show(f"select * from trends{where} order by day, score, tenant", tenant, all_tenants, "json" if json_ else "table")


def times(
    by: Annotated[Literal["task", "execution", "tenant"], typer.Option(help="One row for each.")] = "task",
    csv_: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    tenant: Tenant = None,
    all_tenants: AllTenants = False,
    json_: Json = False,
) -> None:
    """Time tracking: how long tasks, executions or tenants worked, and to what end."""
    _show(_TIMES[by], tenant, all_tenants, "csv" if csv_ else "json" if json_ else "table")


def measures(tenant: Tenant = None, all_tenants: AllTenants = False, json_: Json = False) -> None:
    """What the log says about the engine's targets; docs/evaluation.md says what each measure is."""
    _show("select * from measures order by tenant, measure", tenant, all_tenants, "json" if json_ else "table")


def _show(sql: str, tenant: str | None, all_tenants: bool, how: Literal["csv", "json", "table"]) -> None:
    async def work() -> tuple[list[str], list[Sequence[Any]]]:
        async with session(settings_of(tenant), momentary=True) as client:
            return await _everything(client, sql, EVERYBODY if all_tenants else None)

    columns, rows = run(work())
    if how == "json":
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
    elif how == "csv":
        writer = csv.writer(sys.stdout)
        writer.writerow(columns)
        writer.writerows(rows)
    else:
        hidden = _HIDDEN if all_tenants else _HIDDEN | {"tenant"}
        table = Table(box=None, pad_edge=False)
        for name in columns:
            if name not in hidden:
                table.add_column(name, no_wrap=name in ("measure", "score", "task"))
        for row in rows:
            table.add_row(*(_short(v) for name, v in zip(columns, row, strict=True) if name not in hidden))
        Console().print(table)


async def _everything(client: Client, sql: str, tenant: str | None) -> tuple[list[str], list[Sequence[Any]]]:
    """All rows, page by page as of one moment's end of the log or later."""
    rows: list[Sequence[Any]] = []
    while True:
        page = await client.ask("query", tenant=tenant, sql=f"{sql} limit {PAGE} offset {len(rows)}", limit=PAGE)
        rows += page["rows"]
        if len(page["rows"]) < PAGE:
            return page["columns"], rows


def _short(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
