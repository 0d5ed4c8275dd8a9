"""The projections as a service: follows the log, and answers questions (DESIGN 7)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from events.log.connection import LeanClient, connect
from events.log.jetstream import JetStreamLog
from events.log.questions import Refused, answer
from projections import answers
from projections.projector import Projector
from projections.store import Store

CATCH_UP = 10.0
"""Seconds that a question may wait for the projections to reach the sequence it names."""


class Projections:
    """One per installation, by the lock on its DuckDB file."""

    def __init__(self, home: Path, url: str) -> None:
        self.path = home / "projections.duckdb"
        self.url = url
        self._client: LeanClient | None = None
        self._store: Store | None = None
        self._projector: Projector | None = None
        self._following: asyncio.Task[None] | None = None
        self._end: Callable[[], Awaitable[None]] | None = None
        self._log: JetStreamLog | None = None

    async def start(self) -> None:
        """Open the file, catch up in the background, and answer."""
        self._client = await connect(self.url, name="nightshift-projections")
        self._log = JetStreamLog(self._client)
        self._store = Store(self.path)
        self._projector = Projector(self._log, self._store)
        self._following = asyncio.create_task(self._projector.run(), name="projections")
        self._end = await answer(self._client, self._answer)

    async def failed(self) -> None:
        """Returns never; raises what made it end."""
        assert self._following is not None
        await asyncio.wait({self._following})
        self._following.result()
        raise RuntimeError("the projections ended by themselves")

    async def stop(self) -> None:
        """Finish the batch at hand and close the file."""
        if self._end is not None:
            await self._end()
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
        if self._store is not None:
            self._store.close()
        if self._client is not None:
            await self._client.close()

    async def _answer(self, tenant: str, verb: str, asked: dict[str, Any]) -> Any:
        """One question. Raises Refused."""
        assert self._projector is not None
        assert self._log is not None
        function = getattr(self, f"_ask_{verb.replace('-', '_')}", None)
        if function is None:
            verbs = sorted(n.removeprefix("_ask_") for n in dir(self) if n.startswith("_ask_"))
            raise Refused("unknown-question", f"nobody can answer {verb!r}", f"ask one of: {', '.join(verbs)}")
        at = asked.pop("at", 0) or await self._log.last_sequence()
        try:
            await self._projector.wait_for(int(at), CATCH_UP)
        except TimeoutError as error:
            message = f"the projections are at {self._projector.position} and not yet at {at}"
            raise Refused("behind", message, "ask again; after a rebuild this takes a while") from error
        try:
            return await function(tenant, **asked)
        except TypeError as error:
            raise Refused("bad-question", f"{verb}: {error}", "see docs/events.md, questions") from error
        except answers.UnknownExecution as error:
            raise Refused("unknown-execution", str(error), "nightshift status lists what there is") from error
