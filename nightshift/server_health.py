"""What the system account asks of a running server: to read its configuration again, and whether its store writes."""

from __future__ import annotations

import json

from nats.aio.client import Client

from nightshift.server_process import ServerError

PATIENCE = 3.0
"""Seconds that an answer may take."""


class WritesNoMore(ServerError):
    """A store refuses to write: after one failed write, server 2.15.1 does so until it is started again, whatever room
    there is by then. Its answers simply stay out.
    """


async def reload(client: Client) -> None:
    """Have the server read its configuration again. Twice, because server 2.15.1 brings a new account's imports to life
    at the second reading only (12 of 12 tries). Raises ServerError if it does not take the configuration.
    """
    server = json.loads((await client.request("$SYS.REQ.SERVER.PING.IDZ", b"", timeout=PATIENCE)).data)
    for _ in range(2):
        answer = await client.request(f"$SYS.REQ.SERVER.{server['id']}.RELOAD", b"", timeout=PATIENCE)
        if error := json.loads(answer.data).get("error"):
            raise ServerError(f"the server does not take its new configuration: {error}")


async def look_at_store(client: Client) -> None:
    """Raises WritesNoMore."""
    answer = json.loads((await client.request("$SYS.REQ.SERVER.PING.HEALTHZ", b"", timeout=PATIENCE)).data)
    trouble = str(answer.get("data", {}).get("error", ""))
    if "write error" in trouble:
        raise WritesNoMore(trouble)
