"""Tracing as a decorator of the log: what was appended through it and ends a span becomes a span of the trace.

Nothing is kept between events: the history of what ended is read back from the log, in the background, so that a
collector that is slow or away never slows an append. What a process had not exported when it was killed is missing
from the trace; the log has it all the same.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Protocol

from events.log import EXECUTION, Appended, Draft, EventLog, LogUnavailable, Recorded, guard, of_execution
from events.log.spans import ENDS, EXECUTION_ENDS, Context, Span, context_of, ended, traceparent_of

WAITING = 10_000
"""Ends of spans that wait to be looked at; what comes beyond that is left out of the trace and counted."""
KNOWN = 4096
"""Executions whose trace is remembered."""
LONG = 1_000
"""Events that are too many to be looked through in the event loop."""
STALE = (0.0, 0.05, 0.2, 0.5, 1.0)
"""Seconds between looks while a replica that lags does not show what was just appended (hazard H9)."""

log = logging.getLogger(__name__)


class Sink(Protocol):
    """Takes spans; never waits for anybody."""

    def emit(self, service: str, spans: Sequence[Span]) -> None: ...
    def close(self) -> None:
        """Hand over what is left. May take seconds; called in a thread."""


class Tracing:
    """One per process: follows up what services append, through any number of ``Traced`` logs."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._queue: asyncio.Queue[tuple[EventLog, str, Draft, Appended]] = asyncio.Queue(maxsize=WAITING)
        self._contexts: OrderedDict[tuple[str, str], Context] = OrderedDict()
        self._worker: asyncio.Task[None] | None = None
        self.left_out = 0
        """Spans that are missing from the traces because too much was waiting or the log did not answer."""

    def happened(self, inner: EventLog, service: str, draft: Draft, appended: Appended) -> None:
        """Something was appended."""
        if draft.name not in ENDS:
            return
        if self._worker is None:
            self._worker = asyncio.create_task(self._work(), name="tracing")
        try:
            self._queue.put_nowait((inner, service, draft, appended))
        except asyncio.QueueFull:
            self.left_out += 1

    async def close(self, seconds: float = 5.0) -> None:
        """Export what is waiting, within some seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._queue.join()
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)
        if self.left_out or self._queue.qsize():
            log.warning("%d spans are missing from the traces", self.left_out + self._queue.qsize())
        await asyncio.to_thread(self._sink.close)

    async def _work(self) -> None:
        while True:
            inner, service, draft, appended = await self._queue.get()
            try:
                spans = await self._spans(inner, draft, appended.sequence)
                if spans:
                    self._sink.emit(service, spans)
            except (LogUnavailable, TimeoutError) as error:
                self.left_out += 1
                log.warning("a span of %s is missing from its trace: %s", draft.execution, error)
            except Exception:
                self.left_out += 1
                log.exception("a span of %s is missing from its trace", draft.execution)
            finally:
                self._queue.task_done()

    async def _spans(self, inner: EventLog, draft: Draft, sequence: int) -> list[Span]:
        context = await self._context(inner, draft)
        if not context.sampled:
            return []
        whole = draft.entity == EXECUTION and draft.name in EXECUTION_ENDS
        place = (draft.tenant, draft.execution)
        filter = of_execution(*place) if whole else guard(*place, draft.entity)
        for pause in STALE:
            await asyncio.sleep(pause)
            history: list[Recorded] = [recorded async for recorded in inner.read(filter)]
            if history and history[-1].sequence >= sequence:
                if len(history) < LONG:
                    return ended(history, sequence, context)
                return await asyncio.to_thread(ended, history, sequence, context)
        raise LogUnavailable(f"the log does not show sequence {sequence} yet")

    async def _context(self, inner: EventLog, draft: Draft) -> Context:
        """The trace of an execution, by its submission."""
        key = (draft.tenant, draft.execution)
        known = self._contexts.get(key)
        if known is None:
            given = ""
            async for said in inner.read(f"evt.{draft.tenant}.{draft.execution}.~in.PlanSubmitted"):
                if said.standing == "ok":
                    given = said.trace
                    break
            known = self._contexts[key] = context_of(*key, given)
            while len(self._contexts) > KNOWN:
                self._contexts.popitem(last=False)
        return known


class Traced:
    """An event log whose appends are traced; everything else is the inner log's."""

    def __init__(self, inner: EventLog, service: str, tracing: Tracing) -> None:
        self._inner = inner
        self._service = service
        self._tracing = tracing
        self.read = inner.read
        self.tail = inner.tail
        self.last_sequence = inner.last_sequence
        self.created = inner.created
        self.consume = inner.consume
        self.hand_back = inner.hand_back
        self.due = inner.due
        self.set_timer = inner.set_timer
        self.write_output = inner.write_output
        self.put_blob = inner.put_blob
        self.get_blob = inner.get_blob

    async def append(self, *drafts: Draft) -> list[Appended]:
        """Append, with a trace on each fact that has none. Raises what the inner log raises."""
        named = [d if d.trace else replace(d, trace=traceparent_of(context_of(d.tenant, d.execution))) for d in drafts]
        appended = await self._inner.append(*named)
        for draft, where in zip(named, appended, strict=True):
            self._tracing.happened(self._inner, self._service, draft, where)
        return appended
