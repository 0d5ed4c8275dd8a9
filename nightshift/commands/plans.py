"""Commands on plan files, offline: check, convert, graph."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from nightshift.output import BAD, fail, print_json
from nightshift.readiness import lines, readiness
from schemas.reading import Reading

app = typer.Typer(help="Look at plan files, offline.", no_args_is_help=True)
PlanPath = Annotated[Path, typer.Argument(help="A plan file, or a folder that holds one.", metavar="FILE")]
Format = Annotated[str | None, typer.Option(help="Take the plan for this format instead of detecting it.")]
Tenant = Annotated[str | None, typer.Option(help="The tenant whose rules hold.")]
_SOME_AGENT = "(an agent)"
"""Stands for a program that is named only when the plan is run."""
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _read(file: Path, format: str | None) -> Reading:
    from schemas.formats import read_path
    from schemas.validate import validate

    return validate(read_path(file, format=format))


@app.command()
def check(
    file: PlanPath,
    format: Format = None,
    repo: Annotated[Path | None, typer.Option(help="The git repository to work on.", metavar="DIR")] = None,
    json_: Json = False,
) -> None:
    """Parse and validate: what was understood, and everything that is wrong."""
    from schemas.describe import as_json, as_text

    reading = _read(file, format)
    ready = readiness(reading, file.resolve() if file.is_dir() else file.resolve().parent, repo)
    if json_:
        runners = [{"name": each.name, "version": each.version, "remedy": each.remedy} for each in ready]
        print_json({**as_json(reading), "runners": runners})
    else:
        sys.stdout.write("\n".join([as_text(reading).rstrip("\n"), *([""] if ready else []), *lines(ready)]) + "\n")
    raise SystemExit(BAD if reading.errors else 0)


@app.command()
def safety(file: PlanPath, format: Format = None, tenant: Tenant = None, json_: Json = False) -> None:
    """Say for each task whether it may run with nobody there, and what stands in its way."""
    from nightshift.session import settings_of
    from schemas.accept import accept
    from schemas.settings import BadSettings
    from schemas.values import Plan
    from services.safety.frozen import DONE, under_rules
    from services.safety.request import check_request

    reading = _read(file, format)
    plan = accept(reading, plan_id="plan", agent=_SOME_AGENT)
    if not isinstance(plan, Plan):
        for diagnostic in plan:
            sys.stderr.write(f"{diagnostic}\n")
        raise SystemExit(BAD)
    settings = settings_of(tenant)
    try:
        plan = under_rules(plan, settings.safety_rules()(settings.tenant))
    except BadSettings as error:
        fail(str(error), remedy="see docs/safety.md")
    tasks = [replace(task, agent=None) if task.agent == _SOME_AGENT else task for task in plan.tasks]
    answers = {task.id: check_request(plan, task) for task in tasks if task.status not in DONE}
    if json_:
        print_json({name: answer.as_json() for name, answer in answers.items()})
        return
    for name, answer in answers.items():
        words = (
            "may run by itself" if answer.safe_for_autonomous else "needs a person" if answer.can_proceed else "refused"
        )
        sys.stdout.write(f"{name}: {words}\n")
        for one in answer.violations:
            sys.stdout.write(f"  {one.severity}: {one.violation}{' (nobody can allow it)' if one.blocked else ''}\n")


@app.command()
def convert(
    file: PlanPath,
    to: Annotated[str, typer.Option(help="yaml or json.")] = "yaml",
    format: Format = None,
) -> None:
    """Write a plan as a native plan."""
    import yaml

    from schemas.accept import plan_to_native

    reading = _read(file, format)
    for diagnostic in reading.diagnostics:
        sys.stderr.write(f"{diagnostic}\n")
    if reading.errors:
        raise SystemExit(BAD)
    native = plan_to_native(reading)
    if to == "json":
        sys.stdout.write(json.dumps(native, indent=2, ensure_ascii=False) + "\n")
    elif to == "yaml":
        sys.stdout.write(yaml.safe_dump(native, sort_keys=False, allow_unicode=True, width=120))
    else:
        sys.stderr.write(f"nightshift: --to {to!r} is neither yaml nor json\n")
        raise SystemExit(BAD)


@app.command()
def graph(file: PlanPath, format: Format = None) -> None:
    """Draw the dependency graph as mermaid text, with waves and the critical path."""
    from schemas.diagram import mermaid

    reading = _read(file, format)
    sys.stdout.write(mermaid(reading).rstrip("\n") + "\n")
    raise SystemExit(BAD if reading.errors else 0)
