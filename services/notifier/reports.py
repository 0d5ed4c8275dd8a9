"""The report of an execution that ended, kept in the tenant's artifacts as markdown and as a page."""

from __future__ import annotations

import asyncio

from events.log import EventLog, Recorded, of_execution


class Reports:
    """Made from the history up to the end, so whoever makes it again gets the same bytes and digests."""

    def __init__(self, log: EventLog) -> None:
        self.log = log

    async def keep(self, tenant: str, execution: str, end: Recorded) -> str:
        """Make it, keep it, and give the SHA-256 of the page. Raises LogUnavailable."""
        from projections import report

        history = [r async for r in self.log.read(of_execution(tenant, execution)) if r.sequence <= end.sequence]

        def make() -> tuple[bytes, bytes]:
            made = report.build(tenant, execution, history)
            return report.markdown(made).encode(), report.html(made).encode()

        text, page = await asyncio.to_thread(make)
        bucket = f"artifacts-{tenant}"
        await self.log.put_blob(bucket, text)
        return await self.log.put_blob(bucket, page)
