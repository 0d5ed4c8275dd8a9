"""Commands about what was learned: recommend, learn resolutions, learn rebuild."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from events.log import LogUnavailable
from events.log.questions import EVERYBODY, Refused
from nightshift.client import Client
from nightshift.output import BAD, print_json, run
from nightshift.session import session, settings_of

app = typer.Typer(help="What earlier executions taught.", no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Tenant = Annotated[str | None, typer.Option(help="In whose name.", metavar="T")]
Limit = Annotated[int, typer.Option(help="How many for each task.", min=1, max=50)]
Format = Annotated[str | None, typer.Option(help="Take the plan for this format instead of detecting it.")]

SHARED = "lessons/{}"
"""Under which name of the plan's shared resources a task finds its lessons."""


def texts_of(plan: Path, format: str | None = None) -> dict[str, str]:
    """What each task of a plan file is looked up by; no-ops and what is done already are left out."""
    from schemas.formats import read_path
    from schemas.validate import validate

    reading = validate(read_path(plan, format=format))
    if reading.errors:
        for diagnostic in reading.errors:
            sys.stderr.write(f"{diagnostic}\n")
        raise SystemExit(BAD)
    return {
        task.id: "\n".join(part for part in (task.title or task.id, task.description or task.prompt) if part)
        for task in reading.tasks
        if not task.noop and task.status not in ("completed", "skipped")
    }


def recommend(
    what: Annotated[str, typer.Argument(help="A plan file or folder, or what is to be done.", metavar="TEXT|PLAN")],
    limit: Limit = 3, tenant: Tenant = None, format: Format = None, json_: Json = False,
) -> None:  # fmt: skip
    """The past executions that are most like a text or a plan's tasks: outcome, duration, commands, errors."""

    async def work() -> dict[str, Any]:
        texts = await asyncio.to_thread(texts_of, Path(what), format) if _is_path(what) else {"": what}
        async with session(settings_of(tenant)) as client:
            return await client.recommend(texts, limit=limit)

    answer = run(work())
    if json_:
        print_json(answer)
        return
    kind = "by meaning" if answer["semantic"] else "lexical: by the words used, not by their meaning"
    print(f"compared with {answer['embedder']} ({kind})")
    for task in answer["tasks"]:
        if task["task"]:
            print(f"\n{task['task']}")
        print(described(task))


def described(task: dict[str, Any]) -> str:
    """What is known about one task, for people and for agents."""
    lines = []
    for hit in task["similar"]:
        took = f", {hit['duration']:.3g} s" if hit["duration"] is not None else ""
        outcome = "went well" if hit["success"] else "failed"
        lines.append(f"  {hit['similarity']:.2f}  {hit['task_title']}: {outcome}{took}, {hit['timestamp'][:10]}")
        lines.append(f"        execution {hit['execution_id']}, task {hit['task']}")
        lines += [f"        ran    {command}" for command in hit["commands"]]
        lines += [f"        error  {error}" for error in hit["errors"]]
    if task["estimate"] is not None:
        lines.append(f"  expect about {task['estimate']:.3g} s")
    return "\n".join(lines) or "  nothing similar has run"


@app.command()
def resolutions(
    error: Annotated[str, typer.Argument(help="An error's line as it was printed, or its signature.")],
    tenant: Tenant = None,
    json_: Json = False,
) -> None:
    """What helped against an error before, what helped most often first."""

    async def work() -> dict[str, Any]:
        async with session(settings_of(tenant)) as client:
            return await client.resolutions(error)

    answer = run(work())
    if json_:
        print_json(answer)
        return
    print(f"{answer['signature']}  {answer['error'] or 'never seen'}")
    for way in answer["resolutions"]:
        what = "something was changed" if way["kind"] == "changed" else "the same again went well"
        print(f"  worked {way['worked']}x: {what}")
        for line in (*way["files"], *(f"$ {command}" for command in way["commands"])):
            print(f"        {line}")
        print(f"        last in execution {way['where'][0]['execution_id']}, task {way['where'][0]['task']}")
    for where in answer["unresolved"]:
        print(f"  not resolved in execution {where['execution_id']}, task {where['task']} ({where['task_title']})")


@app.command()
def rebuild(json_: Json = False) -> None:
    """Forget all vectors and read every lesson from the log again."""

    async def work() -> dict[str, Any]:
        async with session(settings_of()) as client:
            answer: dict[str, Any] = await client.learner("rebuild", tenant=EVERYBODY, timeout=600.0)
            return answer

    answer = run(work())
    if json_:
        print_json(answer)
    else:
        print(f"{answer['lessons']} lessons, embedded by {answer['embedder']}")


async def lessons_for(client: Client, plan: Path, format: str | None) -> dict[str, str]:
    """What the plan's tasks shall be told about earlier ones like them, as shared resources; nothing of it is run."""
    texts = await asyncio.to_thread(texts_of, plan, format)
    try:
        answer = await client.recommend(texts)
    except (Refused, LogUnavailable) as error:
        sys.stderr.write(f"nightshift: submitted without lessons: {error}\n")
        return {}
    return {SHARED.format(task["task"]): described(task) for task in answer["tasks"] if task["similar"]}


def _is_path(text: str) -> bool:
    try:
        return Path(text).exists()
    except OSError:  # longer than a path may be
        return False
