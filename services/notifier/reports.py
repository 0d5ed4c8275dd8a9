"""The report of an execution that ended, kept in the tenant's artifacts as markdown and as a page."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from events.log import EventLog, Recorded, of_execution

AT_ONCE = 4
"""Reports made at the same time, so that hundreds of executions that end together leave room for others' work."""
REMEMBERED = 1_000
"""Reports that are not made again when the end they tell of is handed out again."""


class Reports:
    """Made from the history up to the end, so whoever makes it again gets the same bytes and digests."""

    def __init__(self, log: EventLog) -> None:
        self.log = log
        self._room = asyncio.Semaphore(AT_ONCE)
        self._kept: OrderedDict[str, str] = OrderedDict()
        """Digests by the id of the end."""

    async def keep(self, tenant: str, execution: str, end: Recorded) -> str:
        """Make it, keep it, and give the SHA-256 of the page. Raises LogUnavailable."""
        async with self._room:
            if end.id not in self._kept:
                self._kept[end.id] = await self._make(tenant, execution, end)
            while len(self._kept) > REMEMBERED:
                self._kept.popitem(last=False)
            return self._kept[end.id]

    async def _make(self, tenant: str, execution: str, end: Recorded) -> str:
        from projections import report

        history = [r async for r in self.log.read(of_execution(tenant, execution)) if r.sequence <= end.sequence]

        def make() -> tuple[bytes, bytes]:
            made = report.build(tenant, execution, history)
            return report.markdown(made).encode(), report.html(made).encode()

        text, page = await asyncio.to_thread(make)
        bucket = f"artifacts-{tenant}"
        await self.log.put_blob(bucket, text)
        return await self.log.put_blob(bucket, page)
