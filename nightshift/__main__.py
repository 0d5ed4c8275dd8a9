"""``nightshift``: the command line. Exit codes: 0 done, 1 the plan failed, 2 bad usage or bad plan, 3 unreachable."""

from __future__ import annotations

import sys
from tomllib import TOMLDecodeError

import typer
from pydantic import ValidationError

from nightshift.commands import (
    control,
    evaluation,
    intervening,
    learning,
    plans,
    running,
    secret,
    system,
    telling,
    watching,
)
from nightshift.output import fail
from schemas.settings import Settings

app = typer.Typer(
    name="nightshift",
    help="Hand over a plan, close the laptop, wake up to verified work and a log that proves it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("run")(running.run_plan)
app.command("up")(running.up)
app.command("down")(running.down)
app.command("submit")(running.submit)
app.command("status")(watching.status)
app.command("watch")(watching.watch)
app.command("logs")(watching.logs)
app.command("history")(watching.history)
app.command("query")(watching.query)
app.command("replay")(watching.replay)
app.command("report")(telling.report)
app.command("approve")(control.approve)
app.command("deny")(control.deny)
app.command("cancel")(control.cancel)
app.command("pause")(control.pause)
app.command("resume")(control.resume)
app.command("retry")(control.retry)
app.command("stop-after")(control.stop_after)
app.command("rollback")(intervening.rollback)
app.command("invalidate")(intervening.invalidate)
app.command("checkpoints")(intervening.checkpoints)
app.command("fork")(intervening.fork)
app.command("take")(intervening.take)
app.command("deliver")(intervening.deliver)
app.command("hand-back")(intervening.hand_back)
app.command("dead-letters")(intervening.dead_letters)
app.command("rate")(evaluation.rate)
app.command("trends")(evaluation.trends)
app.command("times")(evaluation.times)
app.command("measures")(evaluation.measures)
app.command("events")(system.events)
app.command("credentials")(system.credentials)
app.command("doctor")(system.doctor)
app.command("clean")(system.clean)
app.command("recommend")(learning.recommend)
app.add_typer(learning.app, name="learn")
app.add_typer(plans.app, name="plan")
app.add_typer(secret.app, name="secret")
app.add_typer(telling.app, name="notify")


def main() -> None:
    """The entry point."""
    try:
        app()
    except ValidationError as error:
        if error.title != Settings.__name__:
            raise
        remedy = (
            "settings come from NIGHTSHIFT_* and nightshift.toml, here and in the state folder; see docs/settings.md"
        )
        fail("; ".join(Settings.faults(error)), remedy=remedy)
    except TOMLDecodeError as error:
        fail(f"nightshift.toml cannot be read: {error}", remedy="look at it here and in the state folder")
    except BrokenPipeError:
        sys.stderr.close()
        raise SystemExit(0) from None


if __name__ == "__main__":
    main()
