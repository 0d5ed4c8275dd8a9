"""Commands about what people are told: the report of an execution, channels, and trying one."""

from __future__ import annotations

import asyncio
import sys
import time
import webbrowser
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nightshift.output import FAILED, fail, print_json, run
from nightshift.session import session, settings_of

if TYPE_CHECKING:
    from schemas.notify import Channel
    from schemas.settings import Settings

Execution = Annotated[str, typer.Argument(help="An execution's id, or its beginning.", metavar="EXECUTION")]
Tenant = Annotated[str | None, typer.Option(help="In whose name.", metavar="T")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

app = typer.Typer(help="Channels of notices: which there are, and whether one works.", no_args_is_help=True)


def report(
    execution: Execution,
    open_: Annotated[bool, typer.Option("--open", help="Show the page in the browser.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write the page to this file.", metavar="FILE")] = None,
    tenant: Tenant = None,
) -> None:
    """What was asked, what is verified and what is not, why, and what needs a person."""

    async def work() -> None:
        settings = settings_of(tenant)
        page = "html" if open_ or html else "markdown"
        async with session(settings, momentary=True) as client:
            answer = await client.ask("report", execution=execution, format=page, timeout=120.0)
        if page == "markdown":
            sys.stdout.write(answer["text"])
            return
        path = html or settings.home / "reports" / f"{answer['execution']}.html"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(answer["text"], encoding="utf-8")
        except OSError as error:
            fail(f"{path} cannot be written: {error.strerror}", remedy="name another file: --html FILE")
        print(path)
        if open_ and not webbrowser.open(path.resolve().as_uri()):
            fail("there is no browser here", remedy=f"open {path} yourself")

    run(work())


def channels(json_: Json = False) -> None:
    """Every channel that is on: its kind, and what goes there."""
    settings = settings_of()
    rows = [_row(name, channel, settings) for name, channel in _channels(settings).items()]
    if json_:
        print_json(rows)
        return
    for row in rows:
        who = f"  for {row['tenant']}" if row["tenant"] else ""
        roles = f"  read by {', '.join(row['roles'])}" if row["roles"] else ""
        note = f"  ({row['note']})" if row["note"] else ""
        print(f"{row['channel']:<16} {row['kind']:<8} follows {row['column']:<8}{who}{roles}{note}")


def _channels(settings: Settings) -> dict[str, Channel]:
    from services.notifier.channels.build import channels_of

    return channels_of(settings)


def _row(name: str, channel: Channel, settings: Settings) -> dict[str, Any]:
    from services.notifier.channels.build import sender_of
    from services.notifier.channels.voice import Voice

    sender = sender_of(name, channel, settings)
    note = ""
    if isinstance(sender, Voice) and sender.optional:
        note = "answers on this machine" if sender.present() else "off: no voice server answers on this machine"
    return {
        "channel": name, "kind": channel.kind, "column": channel.follows(), "tenant": channel.tenant,
        "roles": list(channel.roles), "note": note,
    }  # fmt: skip


def test(channel: Annotated[str, typer.Argument(help="A channel's name.", metavar="CHANNEL")]) -> None:
    """Send a test message through one channel, now."""
    from services.notifier.channels import Absent, ChannelError, Message, redacted
    from services.notifier.channels.build import secrets_of, sender_of
    from services.notifier.threads import in_thread

    settings = settings_of()
    known = _channels(settings)
    if channel not in known:
        fail(f"there is no channel {channel!r}", remedy=f"there are: {', '.join(known)}; see docs/notifications.md")
    what = known[channel]
    sender = sender_of(channel, what, settings)
    now = datetime.now(UTC)
    message = Message(
        id=f"test-{time.time_ns():x}", tenant=settings.tenant, severity="info", title="Nightshift: test",
        text="This is a test; the channel works.", speech="This is a test of Nightshift, and this channel works well.",
        at=now.isoformat(timespec="milliseconds"),
        notices=({"kind": "test", "severity": "info", "text": "This is a test; the channel works."},),
    )  # fmt: skip

    async def work() -> float:
        began = time.monotonic()
        async with asyncio.timeout(what.timeout + 1):
            await in_thread(lambda: sender.send(message, what.timeout), name="test")
        return time.monotonic() - began

    try:
        seconds = run(work())
    except Absent:
        fail(
            "no voice server answers on this machine", remedy="start it, or name it: NIGHTSHIFT_VOICE_URL", code=FAILED
        )
    except TimeoutError:
        fail(f"{channel} did not take it within {what.timeout:g} s", code=FAILED)
    except ChannelError as error:
        fail(f"{channel} did not take it: {redacted(str(error), secrets_of(what))}", code=FAILED)
    print(f"{channel} took it after {seconds:.2f} s")


app.command("channels")(channels)
app.command("test")(test)
