"""The client: everything a person or a program asks of an engine, over NATS and nothing else."""

from __future__ import annotations

import asyncio
import json
import os
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from events.log import LogUnavailable
from events.log.blobs import Blobs
from events.log.connection import LeanClient, connect
from events.log.questions import LEARNING, ask
from schemas.formats import read_path
from schemas.names import execution_id, tenant_id
from schemas.reading import Reading

INLINE = 1_000_000
"""Bytes of a submission above which the plan goes to the object store (hazard H16)."""

TEXTS = 100
"""Texts that the learner takes at a time."""


class SubmissionFailed(Exception):
    """The submission did not reach the log."""


def uuid7() -> str:
    """A UUID of version 7 (RFC 9562): sorts by time. Drawn only where a person begins something."""
    number = bytearray((time.time_ns() // 1_000_000).to_bytes(6, "big") + os.urandom(10))
    number[6] = (number[6] & 0x0F) | 0x70
    number[8] = (number[8] & 0x3F) | 0x80
    return str(uuid.UUID(bytes=bytes(number)))


class Client:
    """Speaks for one tenant. ``await Client.open(url)``; close it when done."""

    def __init__(self, connection: LeanClient, tenant: str) -> None:
        self.connection = connection
        self.tenant = tenant_id(tenant)

    @classmethod
    async def open(cls, url: str, *, tenant: str = "default", wait: float = 5.0) -> Client:
        """Connect. Raises LogUnavailable."""
        return cls(await connect(url, name="nightshift-client", wait=wait), tenant)

    async def close(self) -> None:
        """Hang up."""
        await self.connection.close()

    # -- saying ---------------------------------------------------------------------------------------------------

    async def say(
        self, execution: str, name: str, body: dict[str, Any], *, request: str, trace: str | None = None
    ) -> int:
        """Publish what somebody says; gives the sequence at which it stands. A repetition of a request acts once."""
        subject = f"evt.{self.tenant}.{execution_id(execution)}.~in.{name}"
        raw = json.dumps({k: v for k, v in body.items() if v is not None}).encode()
        limit = self.connection.max_payload
        if len(raw) > limit:
            raise SubmissionFailed(f"the {name} takes {len(raw):,} bytes; this server takes messages up to {limit:,}")
        headers = {"Nats-Msg-Id": request} | ({"traceparent": trace} if trace else {})
        last: Exception | None = None
        for pause in (0.0, 0.2, 0.5, 1.0, 2.0, 4.0):
            await asyncio.sleep(pause)
            try:
                _, data = await self.connection.ask(subject, raw, headers, timeout=3.0)
            except (TimeoutError, LogUnavailable) as error:
                last = error
                continue
            answer = json.loads(data)
            if "error" in answer:
                raise SubmissionFailed(f"the log refuses: {answer['error'].get('description')}")
            return int(answer["seq"])
        raise LogUnavailable(f"the {name} could not be stored: {last or 'no answer'}")

    async def submit(
        self,
        documents: dict[str, str] | None,
        *,
        root: str | None = None,
        format: str | None = None,
        base: Path | None = None,
        repo: dict[str, str] | None = None,
        agent: str | None = None,
        env: dict[str, str] | None = None,
        shared: dict[str, str] | None = None,
        options: dict[str, Any] | None = None,
        all_tasks: bool = False,
        stop_after: str | None = None,
        fork: dict[str, Any] | None = None,
        execution: str | None = None,
        actor: str | None = None,
        trace: str | None = None,
    ) -> tuple[str, int]:
        """Hand over a plan; gives the execution's id and the sequence of the submission.

        ``fork`` is ``{execution, at | task}``: begin where that execution stood, by default with its plan.
        ``trace``: the W3C traceparent below which the execution's trace hangs; without it TRACEPARENT, without that
        a trace of its own.
        """
        execution = execution or uuid7()
        plan: dict[str, Any] = {"documents": documents, "root": root, "format": format}
        if documents is None and fork is None:
            raise ValueError("a submission needs documents, or an execution to branch off from")
        raw = json.dumps({k: v for k, v in plan.items() if v is not None}).encode()
        if len(raw) > INLINE:
            bucket = f"artifacts-{self.tenant}"
            sha256 = await Blobs(self.connection).put(bucket, raw)
            plan = {"plan_ref": {"bucket": bucket, "sha256": sha256, "size": len(raw)}}
        body = {
            **plan, "base": str(base) if base else None, "repo": repo, "agent": agent, "env": env or None,
            "shared": shared or None, "options": options or None, "all_tasks": all_tasks or None,
            "stop_after": stop_after, "fork": fork, "actor": actor, "request": execution,
        }  # fmt: skip
        trace = trace or os.environ.get("TRACEPARENT")
        return execution, await self.say(execution, "PlanSubmitted", body, request=execution, trace=trace)

    async def cancel(self, execution: str, *, reason: str = "", actor: str | None = None) -> int:
        """Stop an execution for good."""
        return await self._wish(execution, "CancelRequested", {"reason": reason, "actor": actor})

    async def pause(self, execution: str, *, reason: str = "", actor: str | None = None) -> int:
        """Start nothing more; what runs may finish."""
        return await self._wish(execution, "PauseRequested", {"reason": reason, "actor": actor})

    async def resume(self, execution: str, *, reason: str = "", actor: str | None = None) -> int:
        """Go on with a paused execution, exactly where it is."""
        return await self._wish(execution, "ResumeRequested", {"reason": reason, "actor": actor})

    async def retry(
        self, execution: str, task: str | None = None, *, reason: str = "", actor: str | None = None
    ) -> int:
        """Try a failed or blocked task again, or all of them, with as many attempts as before."""
        return await self._wish(execution, "RetryRequested", {"task": task, "reason": reason, "actor": actor})

    async def stop_after(self, execution: str, task: str | None, *, actor: str | None = None) -> int:
        """Set, move or (None) clear the stop point."""
        return await self._wish(execution, "StopPointRequested", {"after": task, "actor": actor})

    async def roll_back(
        self, execution: str, to: str | None, *, reason: str = "", resume: bool = False, actor: str | None = None
    ) -> int:
        """Go back to when a task had landed; None: to the beginning. It stays paused unless ``resume``."""
        body = {"to": to, "reason": reason, "resume": resume, "actor": actor}
        return await self._wish(execution, "RollbackRequested", body)

    async def invalidate(
        self, execution: str, task: str, *, reason: str = "", resume: bool = True, actor: str | None = None
    ) -> int:
        """Take one result back, with whatever was built on it, and make it again."""
        body = {"task": task, "reason": reason, "resume": resume, "actor": actor}
        return await self._wish(execution, "InvalidateRequested", body)

    async def take(self, execution: str, task: str, *, reason: str = "", actor: str | None = None) -> int:
        """Do a task by hand: the engine stops whatever it does about it."""
        return await self._wish(execution, "OverrideRequested", {"task": task, "reason": reason, "actor": actor})

    async def hand_back(self, execution: str, task: str, *, reason: str = "", actor: str | None = None) -> int:
        """Give a task back that was taken over."""
        return await self._wish(execution, "HandBackRequested", {"task": task, "reason": reason, "actor": actor})

    async def deliver(
        self, execution: str, task: str, *, commit: str | None = None, base: str | None = None,
        pack: bytes | None = None, notes: str = "", actor: str | None = None,
    ) -> int:  # fmt: skip
        """Say that a task that was taken over is done; ``pack`` holds what the commit needs beyond ``base``."""
        kept = None
        if pack is not None:
            bucket = f"artifacts-{self.tenant}"
            kept = {"bucket": bucket, "sha256": await Blobs(self.connection).put(bucket, pack), "size": len(pack)}
        body = {"task": task, "commit": commit, "base": base, "pack": kept, "notes": notes, "actor": actor}
        return await self._wish(execution, "WorkDelivered", body)

    async def retry_letter(self, execution: str, sequence: int, *, reason: str = "", actor: str | None = None) -> int:
        """Have a reaction that was given up tried again."""
        body = {"sequence": sequence, "reason": reason, "actor": actor}
        return await self._wish(execution, "DeadLetterRetryRequested", body)

    async def _wish(self, execution: str, name: str, body: dict[str, Any]) -> int:
        request = str(uuid.uuid4())
        return await self.say(execution, name, {"request": request, **body}, request=request)

    async def approve(
        self, execution: str, task: str, *, granted: bool = True, notes: str = "", approval: str | None = None,
        actor: str | None = None,
    ) -> int:  # fmt: skip
        """Answer the question that a task waits for."""
        request = str(uuid.uuid4())
        body = {
            "request": request, "task": task, "granted": granted, "notes": notes, "approval": approval, "actor": actor,
        }  # fmt: skip
        return await self.say(execution, "ApprovalGiven", body, request=request)

    async def rate(
        self, execution: str, rating: int, *, task: str | None = None, notes: str = "", actor: str | None = None
    ) -> int:
        """Say how good an execution or a task was, from 1 to 10; 10 is best."""
        body = {"rating": rating, "task": task, "notes": notes, "actor": actor}
        return await self._wish(execution, "RatingGiven", body)

    # -- asking ---------------------------------------------------------------------------------------------------

    async def ask(self, verb: str, *, tenant: str | None = None, timeout: float = 30.0, **fields: Any) -> Any:
        """Ask the projections anything. Raises Refused, LogUnavailable."""
        return await ask(self.connection, tenant or self.tenant, verb, timeout=timeout, **fields)

    async def learner(self, verb: str, *, tenant: str | None = None, timeout: float = 30.0, **fields: Any) -> Any:
        """Ask the learner anything. Raises Refused, LogUnavailable."""
        return await ask(self.connection, tenant or self.tenant, verb, topic=LEARNING, timeout=timeout, **fields)

    async def recommend(self, texts: dict[str, str], *, limit: int = 3) -> dict[str, Any]:
        """The past executions that are most like each text, by the names that the texts are given."""
        names = list(texts)
        parts = [names[start : start + TEXTS] for start in range(0, len(names), TEXTS)] or [[]]
        answers = [
            await self.learner("recommend", texts={name: texts[name] for name in part}, limit=limit) for part in parts
        ]
        return {**answers[0], "tasks": [task for answer in answers for task in answer["tasks"]]}

    async def resolutions(self, signature: str) -> dict[str, Any]:
        """What helped against an error, named by its signature or by the line as it was printed."""
        answer: dict[str, Any] = await self.learner("resolutions", signature=signature)
        return answer

    async def status(self, execution: str, *, at: int = 0) -> dict[str, Any]:
        """The state of one execution, including everything up to the sequence ``at``."""
        answer: dict[str, Any] = await self.ask("status", execution=execution, at=at)
        return answer

    async def answered(self, execution: str, sequence: int, *, timeout: float = 30.0) -> dict[str, Any]:
        """Wait until the planner has answered the submission at a sequence; gives the status."""
        async with asyncio.timeout(timeout):
            while True:
                status = await self.status(execution, at=sequence)
                if status["state"] != "submitted":
                    return status
                await asyncio.sleep(0.02)

    async def changes(self, execution: str, *, every: float = 1.0) -> AsyncIterator[None]:
        """Yields at once, when something happened to an execution, and at least every so many seconds."""
        happened = asyncio.Event()
        happened.set()  # what happened before anybody listened is news too
        subscription = await self.connection.listen(f"tail.evt.{self.tenant}.{execution}.>", lambda *_: happened.set())
        try:
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(every):
                        await happened.wait()
                happened.clear()
                yield
        finally:
            await self.connection.unlisten(subscription)


@dataclass(frozen=True, slots=True)
class PlanFiles:
    """The files of a plan, as they are submitted."""

    documents: dict[str, str]
    """Texts by path relative to ``base``: exactly the files that the format reads."""
    root: str | None
    """The file to begin with; None for a folder."""
    base: Path
    reading: Reading

    @property
    def format(self) -> str:
        """The name of its format."""
        return self.reading.format

    def repository(self) -> Path | None:
        """The git repository that the plan lies in."""
        return next((p for p in (self.base, *self.base.parents) if (p / ".git").exists()), None)


def documents_of(path: Path, *, format: str | None = None) -> PlanFiles:
    """Find the files of a plan. Raises OSError for what cannot be read. Whatever is wrong
    with the texts is said by the planner.
    """
    reading = read_path(path, format=format)
    base = path.resolve() if path.is_dir() else path.resolve().parent
    planning = next((p for p in (base, *base.parents) if p.name == ".planning"), None)
    if planning is not None:
        base = planning.parent
    files = {Path(source.path).resolve() for source in reading.files if Path(source.path).is_file()}
    if path.is_file():
        files.add(path.resolve())
    if not files:
        faults = "; ".join(d.message for d in reading.errors) or "there is no plan in it"
        raise FileNotFoundError(f"{path}: {faults}")
    texts = {os.path.relpath(file, base): file.read_bytes().decode("utf-8", "replace") for file in sorted(files)}
    return PlanFiles(texts, os.path.relpath(path.resolve(), base) if path.is_file() else None, base, reading)
