"""Commands that say something to a running execution; each waits for the planner's answer."""

from __future__ import annotations

import asyncio
import getpass
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import typer

from nightshift.client import Client
from nightshift.commands.watching import Execution, Task, Tenant, told
from nightshift.output import BAD, DONE, fail, run
from nightshift.session import session, settings_of

Reason = Annotated[str, typer.Option(help="Why.")]


def approve(
    execution: Execution,
    task: Task,
    notes: Annotated[str, typer.Option(help="Why.")] = "",
    tenant: Tenant = None,
) -> None:
    """Say yes to what a task asks."""
    _answer(execution, task, True, notes, tenant)


def deny(
    execution: Execution,
    task: Task,
    notes: Annotated[str, typer.Option(help="Why; the next attempt is told.")] = "",
    tenant: Tenant = None,
) -> None:
    """Say no to what a task asks."""
    _answer(execution, task, False, notes, tenant)


def _answer(execution: str, task: str, granted: bool, notes: str, tenant: str | None) -> None:
    ask_for(
        execution,
        tenant,
        lambda client, full, me: client.approve(full, task, granted=granted, notes=notes, actor=me),
    )


def cancel(execution: Execution, reason: Reason = "", tenant: Tenant = None) -> None:
    """Stop an execution for good; what runs is killed."""
    ask_for(execution, tenant, lambda client, full, me: client.cancel(full, reason=reason, actor=me))


def pause(execution: Execution, reason: Reason = "", tenant: Tenant = None) -> None:
    """Start nothing more; what runs may finish."""
    ask_for(execution, tenant, lambda client, full, me: client.pause(full, reason=reason, actor=me))


def resume(execution: Execution, reason: Reason = "", tenant: Tenant = None) -> None:
    """Go on with a paused execution, exactly where it is."""
    ask_for(execution, tenant, lambda client, full, me: client.resume(full, reason=reason, actor=me))


def retry(
    execution: Execution,
    task: Annotated[str | None, typer.Argument(help="A failed or blocked task; all of them without.")] = None,
    reason: Reason = "",
    tenant: Tenant = None,
) -> None:
    """Try what was given up again, with as many attempts as before."""
    ask_for(execution, tenant, lambda client, full, me: client.retry(full, task, reason=reason, actor=me))


def stop_after(
    execution: Execution,
    task: Annotated[str | None, typer.Argument(help="The task after which to pause.")] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Remove the stop point.")] = False,
    tenant: Tenant = None,
) -> None:
    """Pause after a task, inclusively: what runs then finishes, nothing else starts."""
    if (task is None) != clear:
        fail("name a task, or --clear")
    ask_for(execution, tenant, lambda client, full, me: client.stop_after(full, task, actor=me))


def ask_for(execution: str, tenant: str | None, what: Callable[[Client, str, str], Awaitable[int]]) -> None:
    """Say something about an execution as who is logged in, and print the planner's answer; ends the program."""

    async def work() -> int:
        async with session(settings_of(tenant)) as client:
            full = (await client.status(execution))["execution"]
            return await heard(client, full, await what(client, full, getpass.getuser()))

    raise SystemExit(run(work()))


async def heard(client: Client, execution: str, sequence: int) -> int:
    """Wait for the planner's answer to a request and print it."""
    request: dict[str, Any] | None = None
    async with asyncio.timeout(20.0):
        while True:
            rows = await client.ask("history", execution=execution, after=sequence - 1, limit=200)
            request = request or next((r for r in rows if r["seq"] == sequence), None)
            answer = next((r for r in rows if request and r["cause"] == request["id"]), None)
            if answer is not None:
                break
            await asyncio.sleep(0.05)
    if answer["event"] == "RequestRefused":
        fail(f"refused: {answer['data']['reason']}", code=BAD)
    print(f"{answer['event']}: {told(answer)}".rstrip(": "))
    return DONE
