"""The projections as a service: follows the log, and answers questions (DESIGN 7)."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from events.log import of_execution
from events.log.connection import LeanClient, connect
from events.log.feed import Feed
from events.log.jetstream import JetStreamLog
from events.log.questions import EVERYBODY, Refused, answer
from projections.answers import Answers, UnknownExecution
from projections.metrics import families
from projections.projector import Projector
from projections.question import Refused as QuestionRefused
from projections.question import TooSlow
from projections.rows import text as rfc3339
from projections.store import Store
from schemas.metrics import Family

CATCH_UP = 10.0
"""Seconds that a question may wait for the projections to reach the sequence it names."""


Operation = Callable[[dict[str, Any]], Awaitable[Any]]


class Projections:
    """One per installation, by the lock on its DuckDB file."""

    def __init__(self, home: Path, url: str, operations: Mapping[str, Operation] | None = None) -> None:
        self.operations = operations or {}
        """What else the operator, and nobody else, may ask of the process that this runs in, by verb."""
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

    @property
    def feed(self) -> Feed:
        """What they hear of the log, for others in this process. To be asked for once they have started."""
        assert self._log is not None
        return self._log.feed

    async def failed(self) -> None:
        """Returns never; raises what made it end."""
        assert self._following is not None
        await asyncio.wait({self._following})
        self._following.result()
        raise RuntimeError("the projections ended by themselves")

    async def health(self) -> dict[str, Any]:
        """How it is. Raises LogUnavailable if the log does not answer, RuntimeError if they have ended."""
        if self._following is None or self._following.done() or self._projector is None or self._log is None:
            raise RuntimeError("the projections do not run")
        last = await self._log.last_sequence()
        return {"services": ["projections"], "applied": self._projector.position, "last": last}

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

    def metrics(self, *, keep: float, most: int) -> list[Family]:
        """The founding metrics (projections/metrics.py). Nothing while catching up: a counter must never fall."""
        if self._store is None or self._projector is None or not self._projector.caught_up:
            return []
        return families(self._store, now=datetime.datetime.now(datetime.UTC).replace(tzinfo=None), keep=keep, most=most)

    async def _answer(self, tenant: str, verb: str, asked: dict[str, Any]) -> Any:
        """One question. Raises Refused."""
        assert self._projector is not None
        assert self._log is not None
        if tenant == EVERYBODY and verb in self.operations:
            return await self.operations[verb](asked)
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
        scope = None if tenant == EVERYBODY else tenant
        try:
            return await function(scope, **asked)
        except TypeError as error:
            raise Refused("bad-question", f"{verb}: {error}", "see docs/events.md, questions") from error
        except UnknownExecution as error:
            raise Refused("unknown-execution", str(error), "nightshift status lists what there is") from error

    def _answers(self) -> Answers:
        assert self._store is not None
        return Answers(self._store)

    async def _ask_status(self, tenant: str | None, execution: str) -> dict[str, Any]:
        return await asyncio.to_thread(self._answers().status, tenant, execution)

    async def _ask_executions(
        self, tenant: str | None, limit: int = 50, state: str | None = None
    ) -> list[dict[str, Any]]:
        return await asyncio.to_thread(lambda: self._answers().executions(tenant, min(limit, 1000), state=state))

    async def _ask_history(
        self, tenant: str | None, execution: str, task: str | None = None, after: int = 0, limit: int = 1000
    ) -> list[dict[str, Any]]:
        limit = min(limit, 10_000)

        def found() -> list[dict[str, Any]]:
            return self._answers().history(tenant, execution, task, after, limit, read=_as_it_is)

        return await asyncio.to_thread(found)

    async def _ask_query(self, tenant: str | None, sql: str, limit: int = 1000) -> dict[str, Any]:
        try:
            found = await asyncio.to_thread(lambda: self._answers().query(tenant, sql, None, min(limit, 10_000)))
        except (QuestionRefused, TooSlow) as error:
            raise Refused("bad-query", str(error), "only SELECT over the projections; see docs/events.md") from error
        except Exception as error:
            if type(error).__module__.split(".")[0] not in ("duckdb", "_duckdb"):
                raise
            raise Refused("bad-query", str(error).strip(), "nightshift query 'show tables' names them") from error
        return {"columns": found.columns, "rows": found.rows, "truncated": found.truncated}

    async def _ask_logs(
        self,
        tenant: str | None,
        execution: str,
        task: str,
        attempt: int | None = None,
        after: int = 0,
        limit: int = 200,
        last: int = 0,
    ) -> dict[str, Any]:
        """Output of a task: what the live tail holds; the artifact of an attempt whose chunks have expired."""
        assert self._log is not None
        status = await self._ask_status(tenant, execution)
        if not any(t["id"] == task for t in status["tasks"]):
            hint = f"nightshift status {execution} names them"
            raise Refused("unknown-task", f"there is no task {task!r} in this execution", hint)
        owner, full = status["tenant"], status["execution"]
        found = await self._log.read_output(owner, full, task, attempt, after=after, limit=min(limit, 1000))
        chunks = [{"seq": seq, "attempt": n, "text": data.decode("utf-8", "replace")} for seq, n, data in found]
        text = "".join(str(chunk["text"]) for chunk in chunks)
        return {
            "execution": full,
            "task": task,
            "chunks": chunks if not last else [],
            "text": text[-last:] if last else text,
            "after": found[-1][0] if found else after,
        }

    async def _ask_replay(
        self, tenant: str | None, until: str | int | None = None, execution: str | None = None
    ) -> dict[str, Any]:
        """The state at a sequence or a moment, from the log and nothing else."""
        assert self._projector is not None
        sequence, moment = _until(until)
        past = await self._projector.replay(until_seq=sequence, until_time=moment)
        try:
            then = Answers(past)
            position = past.position
            answered: dict[str, Any] = {"position": position.sequence, "at": rfc3339(position.at)}
            if execution is None:
                answered["executions"] = await asyncio.to_thread(then.executions, tenant, 1000)
            else:
                answered["status"] = await asyncio.to_thread(then.status, tenant, execution)
            return answered
        finally:
            past.close()

    async def _ask_report(self, tenant: str | None, execution: str, format: str = "markdown") -> dict[str, Any]:
        """The report of an execution as it is now, as ``markdown`` or ``html``."""
        from projections import report

        if format not in ("markdown", "html"):
            raise Refused("bad-question", f"there is no report in {format!r}", "ask for markdown or html")
        assert self._log is not None
        owner, full = await asyncio.to_thread(self._answers().resolve, tenant, execution)
        history = [recorded async for recorded in self._log.read(of_execution(owner, full))]

        def make() -> str:
            made = report.build(owner, full, history)
            return report.html(made) if format == "html" else report.markdown(made)

        try:
            text = await asyncio.to_thread(make)
        except ValueError as error:
            raise Refused("unknown-execution", str(error)) from error
        return {"execution": full, "format": format, "text": text}

    async def _ask_check(self, tenant: str | None) -> dict[str, Any]:
        """Replay everything and compare."""
        assert self._projector is not None
        assert self._store is not None
        differences = await self._projector.check()
        return {"differences": differences, "events": self._projector.position, "tables": len(self._store.tables)}

    async def _ask_health(self, tenant: str | None) -> dict[str, Any]:
        """Where the projections stand, and what was set aside."""
        assert self._projector is not None
        assert self._log is not None
        count = await asyncio.to_thread(self._answers().quarantined, tenant)
        problems = [f"{count} messages were set aside: nightshift query 'select * from quarantine'"] if count else []
        failing = await asyncio.to_thread(self._answers().failing_channels)
        problems += [
            f"notices do not arrive on the channel {c['channel']}: {c['reason']}; "
            f"try: nightshift notify test {c['channel']}"
            for c in failing
            if tenant in (None, c["tenant"])
        ]
        last = await self._log.last_sequence()
        return {"position": self._projector.position, "last": last, "quarantined": count, "problems": problems}


def _as_it_is(data: str) -> msgspec.Raw:
    """JSON of the database for an answer that is JSON as well."""
    return msgspec.Raw(data.encode())


def _until(text: str | int | None) -> tuple[int | None, datetime.datetime | None]:
    """A sequence, or a moment in RFC 3339; without a zone it is UTC. Raises Refused."""
    if text is None:
        return None, None
    if isinstance(text, int) or text.isdigit():
        return int(text), None
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError as error:
        hint = "give a sequence such as 120, or a moment such as 2026-01-31T08:00:00Z"
        raise Refused("bad-question", f"{text!r} is neither a sequence nor a moment", hint) from error
    return None, moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
