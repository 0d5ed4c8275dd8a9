"""Commands that run things: run, up, down, submit."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from nightshift.client import Client, documents_of
from nightshift.commands.learning import lessons_for
from nightshift.engine import AlreadyRunning, Engine, read_note
from nightshift.follow import follow
from nightshift.output import BAD, DONE, FAILED, UNREACHABLE, fail, print_json, run
from nightshift.readiness import lines, missing
from nightshift.session import engine_url, session, settings_of
from nightshift.spelled_out import refuse_secrets
from nightshift.view import is_terminal, summary
from schemas.settings import Settings
from services.logs import configure

PlanPath = Annotated[Path, typer.Argument(help="A plan file, or a folder that holds one.", metavar="PLAN")]
Tenant = Annotated[str | None, typer.Option(help="In whose name.", metavar="T")]
RepoOption = Annotated[Path | None, typer.Option(help="The git repository to work on.", metavar="DIR")]
Agent = Annotated[str | None, typer.Option(help="The program for tasks that name none; the prompt is its stdin.")]
Format = Annotated[str | None, typer.Option(help="Take the plan for this format instead of detecting it.")]
AllTasks = Annotated[bool, typer.Option("--all", help="Run also what the plan says is done.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
StopAfter = Annotated[str | None, typer.Option(help="Pause when this task is done.", metavar="TASK")]
WithLessons = Annotated[bool, typer.Option("--with-lessons", help="Tell agents what similar tasks ran into before.")]
Variables = Annotated[list[str] | None, typer.Option("--env", help="A variable for every task.", metavar="NAME=VALUE")]


def _environment(pairs: list[str] | None) -> dict[str, str]:
    environment = {}
    for pair in pairs or []:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            fail(f"--env {pair!r} is not NAME=VALUE")
        environment[name] = value
    return environment


async def hand_over(
    client: Client, plan: Path, *, repo: Path | None, agent: str | None, format: str | None, all_tasks: bool,
    stop_after: str | None, env: dict[str, str], with_lessons: bool = False,
) -> tuple[str, int]:  # fmt: skip
    """Read a plan's files and submit them; gives execution and sequence."""
    try:
        files = await asyncio.to_thread(documents_of, plan, format=format)
    except OSError as error:
        fail(f"{plan} cannot be read: {error.strerror or error}", remedy="check the path and its permissions")
    given = {f"--env {name}": value for name, value in env.items()} | {"--agent": agent or ""}
    await asyncio.to_thread(refuse_secrets, settings_of().home, client.tenant, files.documents, given)
    if repo is None and files.format != "native":
        repo = files.repository()
        if repo is not None:
            sys.stderr.write(f"nightshift: working on the repository the plan lies in, {repo} (--repo names another)\n")
    for line in lines(await asyncio.to_thread(missing, files.reading, files.base, repo)):
        sys.stderr.write(f"nightshift: {line.strip()}\n")
    where = {"path": str(repo.resolve())} if repo else None
    if agent:
        first, space, rest = agent.partition(" ")
        if "/" in first and Path(first).is_file():
            agent = str(Path(first).resolve()) + space + rest
    shared = await lessons_for(client, plan, format) if with_lessons else {}
    return await client.submit(
        files.documents, root=files.root, base=files.base, repo=where, agent=agent, format=format, all_tasks=all_tasks,
        stop_after=stop_after, env=env, shared=shared, actor=getpass.getuser(),
    )  # fmt: skip


async def problems_of(client: Client, execution: str) -> list[dict[str, Any]]:
    """Why a plan was rejected."""
    for row in await client.ask("history", execution=execution):
        if row["event"] == "PlanRejected":
            return list(row["data"]["problems"])
    return []


def show_problems(problems: list[dict[str, Any]]) -> None:
    """Print problems of a plan on stderr, the fatal ones with their remedies."""
    for p in problems:
        place = p["file"] + (f":{p['line']}" if p.get("line") else "")
        sys.stderr.write(f"{place}: {p['severity']}: {p['message']} [{p['code']}]\n")
        if p.get("hint"):
            sys.stderr.write(f"    {p['hint']}\n")


def submit(
    plan: PlanPath, repo: RepoOption = None, tenant: Tenant = None, agent: Agent = None, format: Format = None,
    all_tasks: AllTasks = False, stop_after: StopAfter = None, env: Variables = None,
    with_lessons: WithLessons = False, json_: Json = False,
) -> None:  # fmt: skip
    """Hand over a plan to the running engine and print the execution's id."""

    async def work() -> int:
        async with session(settings_of(tenant)) as client:
            execution, sequence = await hand_over(
                client, plan, repo=repo, agent=agent, format=format, all_tasks=all_tasks, stop_after=stop_after,
                env=_environment(env), with_lessons=with_lessons,
            )  # fmt: skip
            status = await client.answered(execution, sequence)
            if status["state"] == "rejected":
                problems = await problems_of(client, execution)
                if json_:
                    print_json({"execution": execution, "state": "rejected", "problems": problems})
                else:
                    show_problems(problems)
                    sys.stderr.write(f"nightshift: the plan is rejected (execution {execution})\n")
                return BAD
            if json_:
                print_json({"execution": execution, "state": status["state"], "problems": []})
            else:
                print(execution)
            return DONE

    raise SystemExit(run(work()))


def run_plan(
    plan: PlanPath, repo: RepoOption = None, tenant: Tenant = None, agent: Agent = None, format: Format = None,
    all_tasks: AllTasks = False, stop_after: StopAfter = None, env: Variables = None,
    with_lessons: WithLessons = False, json_: Json = False,
    wait: Annotated[bool | None, typer.Option("--wait/--no-wait", help="Wait for a person's word too.")] = None,
) -> None:  # fmt: skip
    """Run a plan to its end, starting whatever is needed. Exit code 0 only if it is completed."""
    settings = settings_of(tenant)
    raise SystemExit(
        run(
            _run(
                settings, plan, json_, is_terminal() if wait is None else wait, repo=repo, agent=agent, format=format,
                all_tasks=all_tasks, stop_after=stop_after, env=_environment(env),
                with_lessons=with_lessons,
            )
        )
    )  # fmt: skip


async def _run(settings: Settings, plan: Path, json_: bool, wait: bool, **options: Any) -> int:
    url = await engine_url(settings)
    engine: Engine | None = None
    try:
        if url is None:
            engine = Engine(settings)
            await engine.start()
            url = engine.url("operator")
        client = await Client.open(url, tenant=settings.tenant)
        try:
            return await _watched(client, engine, plan, json_, wait, options)
        finally:
            await client.close()
    finally:
        if engine is not None:
            await engine.stop()


async def _watched(
    client: Client, engine: Engine | None, plan: Path, json_: bool, wait: bool, options: dict[str, Any]
) -> int:
    execution, sequence = await hand_over(client, plan, **options)
    status = await client.answered(execution, sequence)
    if status["state"] == "rejected":
        show_problems(await problems_of(client, execution))
        sys.stderr.write(f"nightshift: the plan is rejected (execution {execution})\n")
        return BAD
    watching = asyncio.create_task(follow(client, execution, at=sequence, wait=wait, quiet=json_))
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    parts: set[asyncio.Task[Any]] = {watching, asyncio.create_task(stop.wait())}
    if engine is not None:
        parts.add(asyncio.create_task(engine.failed()))
    done, others = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    if watching not in done:
        for task in done:
            task.result()
        sys.stderr.write(f"nightshift: stopped; execution {execution} goes on with: nightshift up\n")
        return 130
    status = watching.result()
    if json_:
        print_json(status)
    else:
        summary(status, Console(), settings_of().home)
    return DONE if status["state"] == "completed" else FAILED


def up(
    detach: Annotated[bool, typer.Option("--detach", help="Run in the background; survives the terminal.")] = False,
) -> None:
    """Start server and services, and go on with whatever is unfinished."""
    settings = settings_of()
    if detach:
        _detach(settings)
        return
    configure(settings)
    raise SystemExit(run(_serve(settings)))


async def _serve(settings: Settings) -> int:
    engine = Engine(settings)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        await engine.start()
    except AlreadyRunning as error:
        fail(str(error), remedy="stop it first: nightshift down", code=BAD)
    print(f"nightshift is up in {settings.home} ({settings.profile} profile)", flush=True)
    failed = asyncio.create_task(engine.failed())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({failed, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if failed.done():
        stopping.cancel()
        await engine.stop(0)
        failed.result()
    failed.cancel()
    await asyncio.gather(failed, return_exceptions=True)
    print("nightshift stops: running tasks may finish first", flush=True)
    await engine.stop()
    return DONE


def _detach(settings: Settings) -> None:
    if read_note(settings.home) is not None:
        print(f"nightshift is up already in {settings.home}")
        return
    settings.home.mkdir(parents=True, exist_ok=True)
    log = settings.home / "engine.log"
    with log.open("ab") as out, open(os.devnull, "rb") as nothing:
        process = subprocess.Popen(
            [sys.executable, "-m", "nightshift", "up"], stdin=nothing, stdout=out, stderr=out, start_new_session=True,
            env={**os.environ, "NIGHTSHIFT_HOME": str(settings.home)},
        )  # fmt: skip
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        note = read_note(settings.home)
        if note is not None and note["pid"] == process.pid:
            print(f"nightshift is up in {settings.home} (pid {process.pid}); its log: {log}")
            return
        if process.poll() is not None:
            last = log.read_text(errors="replace").strip().splitlines()[-3:]
            fail("it ended while starting: " + " / ".join(last), remedy=f"see {log}", code=UNREACHABLE)
        time.sleep(0.02)
    fail("it did not come up within a minute", remedy=f"see {log}", code=UNREACHABLE)


def down() -> None:
    """Stop the engine of this home: running tasks may finish within the grace period."""
    settings = settings_of()
    note = read_note(settings.home)
    if note is None:
        print(f"nightshift is not up in {settings.home}")
        return
    pid = int(note["pid"])
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + settings.grace + 30
    while time.monotonic() < deadline:
        if read_note(settings.home) is None:
            print("nightshift is down")
            return
        time.sleep(0.05)
    fail(f"the engine (pid {pid}) does not end", remedy=f"kill -9 {pid}; nothing is lost by that", code=UNREACHABLE)
