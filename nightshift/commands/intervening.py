"""Commands for people who step in: take results back, branch off, do a task by hand, react to dead letters again."""

from __future__ import annotations

import getpass
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from nightshift.client import Client, documents_of
from nightshift.commands.control import Reason, ask_for, heard
from nightshift.commands.running import problems_of, show_problems
from nightshift.commands.watching import Execution, Json, Task, Tenant
from nightshift.output import BAD, DONE, fail, print_json, run
from nightshift.session import session, settings_of


def rollback(
    execution: Execution,
    to: Annotated[str | None, typer.Option(help="The last task whose result stays.", metavar="TASK")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Take everything back.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on at once instead of staying paused.")] = False,
    reason: Reason = "",
    tenant: Tenant = None,
) -> None:
    """Put branch and tasks back to where they were when a task had landed. The history stays."""
    if (to is None) != all_:
        fail("name the task to go back to with --to, or --all")
    _go_back(
        execution, tenant, lambda client, full, me: client.roll_back(full, to, reason=reason, resume=resume, actor=me)
    )


def invalidate(
    execution: Execution,
    task: Task,
    resume: Annotated[bool, typer.Option("--resume/--no-resume", help="Go on by itself afterwards.")] = True,
    reason: Reason = "",
    tenant: Tenant = None,
) -> None:
    """Take one result back, and whatever was built on it; other results stay."""
    _go_back(
        execution,
        tenant,
        lambda client, full, me: client.invalidate(full, task, reason=reason, resume=resume, actor=me),
    )


def _go_back(execution: str, tenant: str | None, what: Callable[[Client, str, str], Awaitable[int]]) -> None:
    """Ask for it, wait for the planner's answer and then until it is done."""

    async def work() -> int:
        async with session(settings_of(tenant)) as client:
            full = (await client.status(execution))["execution"]
            said = await what(client, full, getpass.getuser())
            await heard(client, full, said)
            return await _gone_back(client, full, said)

    raise SystemExit(run(work()))


async def _gone_back(client: Client, execution: str, since: int) -> int:
    """Wait until the branch has gone back, and say what that did not undo."""
    ends = ("BranchRolledBack", "BranchReverted", "RevertRefused", "ExecutionCancelling")
    async for _ in client.changes(execution):
        rows = await client.ask("history", execution=execution, after=since, limit=1000)
        end = next((row for row in rows if row["event"] in ends), None)
        if end is None:
            continue
        data = end["data"]
        if end["event"] == "RevertRefused":
            fail(f"it stays as it is: {data['reason']}", remedy="roll back further: nightshift rollback --to TASK")
        print(f"to be made again: {', '.join(data.get('invalidated', ())) or 'nothing'}")
        for effect in data.get("not_undone", ()):
            print(f"not undone: {effect}")
        return DONE
    return DONE


def checkpoints(execution: Execution, tenant: Tenant = None, json_: Json = False) -> None:
    """The history of an execution's branch: every point to go back to."""

    async def work() -> None:
        async with session(settings_of(tenant), momentary=True) as client:
            full = (await client.status(execution))["execution"]
            answer = await client.ask(
                "query",
                sql='select seq, happened_at, what, task, "commit", invalidated, reason from checkpoints '
                f"where execution = '{full}' order by seq",
            )
            rows = [dict(zip(answer["columns"], row, strict=True)) for row in answer["rows"]]
            if json_:
                print_json(rows)
                return
            table = Table(box=None, pad_edge=False)
            for name in ("seq", "what", "task", "commit", "made again"):
                table.add_column(name)
            for row in rows:
                again = ", ".join(row["invalidated"] or ())
                table.add_row(str(row["seq"]), row["what"], row["task"] or "", (row["commit"] or "")[:12], again)
            Console().print(table)

    run(work())


def fork(
    execution: Execution,
    at: Annotated[int | None, typer.Option(help="As it stood at this sequence of its history.", metavar="SEQ")] = None,
    after: Annotated[str | None, typer.Option(help="As it stood when this task had landed.", metavar="TASK")] = None,
    plan: Annotated[Path | None, typer.Option(help="Another plan; results of unchanged tasks are taken over.")] = None,
    stop_after: Annotated[str | None, typer.Option(help="Pause when this task is done.", metavar="TASK")] = None,
    tenant: Tenant = None,
    json_: Json = False,
) -> None:
    """Start a new execution where another one stood; what was verified there is not run again."""
    if at is not None and after is not None:
        fail("name a sequence with --at or a task with --after, not both")

    async def work() -> int:
        async with session(settings_of(tenant)) as client:
            parent = (await client.status(execution))["execution"]
            files = documents_of(plan) if plan is not None else None
            new, sequence = await client.submit(
                files.documents if files else None, root=files.root if files else None,
                base=files.base if files else None, fork={"execution": parent, "at": at, "task": after},
                stop_after=stop_after, actor=getpass.getuser(),
            )  # fmt: skip
            status = await client.answered(new, sequence)
            if status["state"] == "rejected":
                show_problems(await problems_of(client, new))
                return BAD
            print_json({"execution": new, "parent": parent, "state": status["state"]}) if json_ else print(new)
            return DONE

    raise SystemExit(run(work()))


def take(execution: Execution, task: Task, reason: Reason = "", tenant: Tenant = None) -> None:
    """Do a task by hand: the engine stops whatever it does about it. Then: deliver, or hand-back."""
    ask_for(execution, tenant, lambda client, full, me: client.take(full, task, reason=reason, actor=me))


def hand_back(execution: Execution, task: Task, reason: Reason = "", tenant: Tenant = None) -> None:
    """Give a task back undone that was taken over."""
    ask_for(execution, tenant, lambda client, full, me: client.hand_back(full, task, reason=reason, actor=me))


def deliver(
    execution: Execution,
    task: Task,
    commit: Annotated[str | None, typer.Option(help="The work, as a commit; none: no file changed.")] = None,
    repo: Annotated[Path, typer.Option(help="The repository that holds the commit.")] = Path(),
    base: Annotated[str | None, typer.Option(help="What it was made on; its parent by default.")] = None,
    notes: Annotated[str, typer.Option(help="What was done.")] = "",
    tenant: Tenant = None,
) -> None:
    """Hand in a task that was done by hand; the verifier judges it like any other result."""
    packed = pack_of(repo, commit, base) if commit is not None else None

    async def say(client: Client, full: str, me: str) -> int:
        if packed is None:
            return await client.deliver(full, task, notes=notes, actor=me)
        sha, parent, pack = packed
        return await client.deliver(full, task, commit=sha, base=parent, pack=pack, notes=notes, actor=me)

    ask_for(execution, tenant, say)


def pack_of(repo: Path, commit: str, base: str | None) -> tuple[str, str, bytes]:
    """A commit's id, what it was made on, and a git pack of all between. Nothing is written to the repository."""

    def git(*arguments: str, stdin: bytes = b"") -> bytes:
        done = subprocess.run(["git", "-C", str(repo), *arguments], input=stdin, capture_output=True, check=False)
        if done.returncode:
            message = done.stderr.decode(errors="replace").strip().splitlines()
            fail(f"git {arguments[0]} in {repo}: {message[-1] if message else done.returncode}", remedy="see --repo")
        return done.stdout

    sha = git("rev-parse", "--verify", f"{commit}^{{commit}}").decode().strip()
    parent = git("rev-parse", "--verify", f"{base or sha + '^'}^{{commit}}").decode().strip()
    wanted = f"{sha}\n^{parent}\n".encode()
    return sha, parent, git("pack-objects", "--revs", "--stdout", "-q", stdin=wanted)


def dead_letters(
    execution: Execution,
    retry: Annotated[int | None, typer.Option(help="React again to the event at this sequence.", metavar="SEQ")] = None,
    reason: Reason = "",
    tenant: Tenant = None,
    json_: Json = False,
) -> None:
    """Events to which a service could not react and gave up; each can be tried again."""
    if retry is not None:
        ask_for(execution, tenant, lambda client, full, me: client.retry_letter(full, retry, reason=reason, actor=me))

    async def work() -> None:
        async with session(settings_of(tenant), momentary=True) as client:
            full = (await client.status(execution))["execution"]
            rows = await client.ask("history", execution=full, limit=100_000)
            letters = open_letters(rows)
            if json_:
                print_json(letters)
            for letter in [] if json_ else letters:
                task = f" of task {letter['task']}" if letter["task"] else ""
                print(f"{letter['sequence']:>8}  {letter['service']}: {letter['event']}{task}: {letter['reason']}")

    run(work())


def open_letters(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The dead letters of a history that nobody has asked to be tried again."""
    found: dict[int, dict[str, Any]] = {}
    for row in history:
        if row["event"] == "DeadLettered":
            found[row["data"]["sequence"]] = row["data"]
        elif row["event"] == "DeadLetterReleased":
            found.pop(row["data"]["sequence"], None)
    return list(found.values())
