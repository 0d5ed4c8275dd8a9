"""Where facts are kept: streams, buckets and durable consumers, as settings, and the one function that makes them.

Only ``bootstrap`` creates or changes any of them, with a credential of its own (hazard H1). Everybody else finds them
there. Sizes are bytes, durations seconds; the JSON that the server wants has nanoseconds.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from nats.aio.client import Client
from nats.errors import NoRespondersError

from events.log import Consumer, LogError

EVENTS = "EVENTS"
TIMERS = "TIMERS"
LOGS = "LOGS"
EVIDENCE = "evidence"
"""The bucket for what the verifier saw."""

GIB = 1024**3
EVENTS_MAX_BYTES = 8 * GIB
"""How large the log may grow before it refuses to store, rather than fill a disk (hazard H22)."""
LOGS_MAX_BYTES = 1 * GIB
LOGS_MAX_AGE = 30 * 24 * 3600.0
DEDUPE_WINDOW = 120.0
DEFAULT_TENANT = "default"

PATIENCE = 20.0
"""Seconds that bootstrap waits for a cluster to elect its leaders."""
REQUEST_TIMEOUT = 5.0
SECOND = 1_000_000_000

PLANNER_REACTS_TO = (
    "AttemptFailed",
    "AttemptRejected",
    "AttemptTimedOut",
    "ApprovalAwaited",
    "ApprovalRequested",
    "BranchReverted",
    "ExecutionBlocked",
    "ExecutionGatesJudged",
    "ExecutionPausing",
    "ExecutionResumed",
    "RevertRefused",
    "TaskCancelled",
    "TaskGatesJudged",
    "TaskInterrupted",
    "TaskVerified",
)
"""What others say about tasks, and how executions stand. It goes on deciding until nothing is due and then acks.

So most of its own facts are no triggers. Those that say whether an execution goes on are: one that was decided before
another copy's facts may land after that copy has found nothing due and acknowledged, and somebody has to look again.
"""
EXECUTOR_REACTS_TO = ("TaskReady",)
VERIFIER_REACTS_TO = (
    "ApprovalRecorded",
    "BranchRolledBack",
    "DeadLetterReleased",
    "ExecutionGatesDue",
    "RevertDue",
    "TaskCheckpointed",
    "TaskDelivered",
    "TaskExecuted",
    "TaskGatesDue",
)
LEARNER_REACTS_TO = ("DeadLetterReleased", "PlanAccepted", "TaskBlocked", "TaskFailed", "TaskVerified")
NOTIFIER_REACTS_TO = (
    "ApprovalRequested",
    "AttemptFailed",
    "AttemptRejected",
    "AttemptTimedOut",
    "BranchRolledBack",
    "DeadLettered",
    "ExecutionBlocked",
    "ExecutionCancelled",
    "ExecutionCompleted",
    "ExecutionFailed",
    "ExecutionPaused",
    "ExecutionReopened",
    "ExecutionResumed",
    "ExecutionStarted",
    "HealthWarned",
    "PlanRejected",
    "ProgressMarked",
    "TaskBlocked",
    "TaskFailed",
    "TaskStarted",
    "TaskVerified",
)
"""What its rules may name; the rest is chatter."""
TIMERS_REACT_TO = (
    "ApprovalRequested",
    "DeadLetterReleased",
    "ExecutionReopened",
    "ExecutionResumed",
    "ExecutionStarted",
    "RetryScheduled",
    "TaskBlocked",
    "TaskStarted",
)

PLANNER = Consumer(
    name="planner",
    filters=(
        "evt.*.*.~in.*",
        *(f"evt.*.*.*.{name}" for name in PLANNER_REACTS_TO),
    ),
    ack_wait=8.0,
)
"""Filters must not cover each other, so nothing that people say stands among the names."""
EXECUTOR = Consumer(name="executor", filters=tuple(f"evt.*.*.*.{n}" for n in EXECUTOR_REACTS_TO), ack_wait=8.0)
VERIFIER = Consumer(name="verifier", filters=tuple(f"evt.*.*.*.{n}" for n in VERIFIER_REACTS_TO), ack_wait=8.0)
LEARNER = Consumer(name="learner", filters=tuple(f"evt.*.*.*.{n}" for n in LEARNER_REACTS_TO), ack_wait=8.0)
SETTING_TIMERS = Consumer(name="timers", filters=tuple(f"evt.*.*.*.{n}" for n in TIMERS_REACT_TO), ack_wait=8.0)
DUE_TIMERS = Consumer(name="due", filters=("timer.due.>",), ack_wait=8.0)
NOTIFIER = Consumer(
    name="notifier", filters=tuple(f"evt.*.*.*.{n}" for n in NOTIFIER_REACTS_TO), ack_wait=8.0, history=False
)
NOTICE_TIMERS = Consumer(name="notices-due", filters=("timer.notices.due.>",), ack_wait=8.0)

CONSUMERS: tuple[tuple[str, Consumer], ...] = (
    (EVENTS, PLANNER),
    (EVENTS, EXECUTOR),
    (EVENTS, VERIFIER),
    (EVENTS, LEARNER),
    (EVENTS, SETTING_TIMERS),
    (TIMERS, DUE_TIMERS),
    (EVENTS, NOTIFIER),
    (TIMERS, NOTICE_TIMERS),
)
"""Every durable, with its stream."""

_NOT_YET = frozenset({10005, 10008, 10023})
"""No suitable peers, JetStream temporarily unavailable, insufficient resources: a cluster that is still starting."""
_ABSENT = frozenset({10014, 10059})
"""Consumer not found, stream not found."""


class BootstrapError(LogError):
    """A stream or consumer could not be made as it has to be."""


def artifacts(tenant: str) -> str:
    """The bucket of one tenant's artifacts."""
    return f"artifacts-{tenant}"


def events_stream(*, replicas: int = 1, max_bytes: int = EVENTS_MAX_BYTES) -> dict[str, Any]:
    """The log itself. Nothing is deleted; purging stays possible for an archiver's credential (hazard H15)."""
    return {
        "name": EVENTS,
        "subjects": ["evt.*.*.*.*"],
        "retention": "limits",
        "storage": "file",
        "discard": "new",
        "max_bytes": max_bytes,
        "num_replicas": replicas,
        "duplicate_window": int(DEDUPE_WINDOW * SECOND),
        "deny_delete": True,
        "allow_atomic": True,
        "allow_direct": True,
        "republish": {"src": "evt.>", "dest": "tail.evt.>"},
    }


def timers_stream(*, replicas: int = 1) -> dict[str, Any]:
    """Scheduled messages: one a subject, the newest wins, and none ever expires unfired (hazard H12)."""
    return {
        "name": TIMERS,
        "subjects": ["timer.>"],
        "retention": "workqueue",
        "storage": "file",
        "discard": "old",
        "max_msgs_per_subject": 1,
        "max_age": 0,
        "num_replicas": replicas,
        "allow_msg_schedules": True,
        "allow_direct": True,
    }


def logs_stream(*, replicas: int = 1) -> dict[str, Any]:
    """Task output in chunks, for watching; the oldest goes first."""
    return {
        "name": LOGS,
        "subjects": ["log.>"],
        "retention": "limits",
        "storage": "file",
        "discard": "old",
        "max_bytes": LOGS_MAX_BYTES,
        "max_age": int(LOGS_MAX_AGE * SECOND),
        "num_replicas": replicas,
        "allow_direct": True,
    }


def bucket_stream(bucket: str, *, replicas: int = 1) -> dict[str, Any]:
    """A bucket, as every NATS client's object store makes it."""
    return {
        "name": f"OBJ_{bucket}",
        "subjects": [f"$O.{bucket}.C.>", f"$O.{bucket}.M.>"],
        "retention": "limits",
        "storage": "file",
        "discard": "new",
        "num_replicas": replicas,
        "allow_rollup_hdrs": True,
        "allow_direct": True,
    }


def consumer_config(consumer: Consumer) -> dict[str, Any]:
    """A durable: acknowledged one by one, delivered again without limit (hazard H14)."""
    return {
        "name": consumer.name,
        "durable_name": consumer.name,
        "filter_subjects": list(consumer.filters),
        "deliver_policy": "all" if consumer.history else "new",
        "ack_policy": "explicit",
        "ack_wait": int(consumer.ack_wait * SECOND),
        "max_deliver": -1,
        "max_ack_pending": consumer.max_ack_pending,
        "replay_policy": "instant",
    }


def stream_configs(
    *, replicas: int = 1, max_bytes: int = EVENTS_MAX_BYTES, tenants: tuple[str, ...] = (DEFAULT_TENANT,)
) -> list[dict[str, Any]]:
    """Every stream there has to be."""
    return [
        events_stream(replicas=replicas, max_bytes=max_bytes),
        timers_stream(replicas=replicas),
        logs_stream(replicas=replicas),
        bucket_stream(EVIDENCE, replicas=replicas),
        *(bucket_stream(artifacts(tenant), replicas=replicas) for tenant in tenants),
    ]


async def bootstrap(
    nc: Client,
    *,
    replicas: int = 1,
    max_bytes: int = EVENTS_MAX_BYTES,
    tenants: tuple[str, ...] = (DEFAULT_TENANT,),
) -> None:
    """Make every stream, bucket and durable, or bring what is there to these settings. Does nothing the second time.

    Raises BootstrapError, naming what differs, when the server will not change a setting or does not get ready in
    PATIENCE seconds.
    """
    streams = stream_configs(replicas=replicas, max_bytes=max_bytes, tenants=tenants)
    await asyncio.gather(*(_stream(nc, config) for config in streams))
    await asyncio.gather(*(_consumer(nc, stream, consumer_config(consumer)) for stream, consumer in CONSUMERS))


async def _stream(nc: Client, wanted: dict[str, Any]) -> None:
    name = wanted["name"]
    there = await _ask(nc, f"STREAM.INFO.{name}", b"", f"the stream {name}")
    current = there.get("config")
    if current is None:
        await _change(nc, f"STREAM.CREATE.{name}", wanted, wanted, {}, f"the stream {name}")
    elif _differences(current, wanted):
        merged = current | wanted
        await _change(nc, f"STREAM.UPDATE.{name}", merged, wanted, current, f"the stream {name}")


async def _consumer(nc: Client, stream: str, wanted: dict[str, Any]) -> None:
    name = wanted["name"]
    there = await _ask(nc, f"CONSUMER.INFO.{stream}.{name}", b"", f"the consumer {name}")
    current = there.get("config", {})
    if _differences(current, wanted):
        request = {"stream_name": stream, "action": "", "config": wanted}
        await _change(nc, f"CONSUMER.CREATE.{stream}.{name}", request, wanted, current, f"the consumer {name}")


def _differences(current: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """Settings that are not as wanted. The server leaves out of its answers what is false or zero."""
    return [
        f"{key} is {current.get(key)!r} instead of {value!r}"
        for key, value in wanted.items()
        if current.get(key) != value and (key in current or value not in (0, False))
    ]


async def _change(
    nc: Client, verb: str, request: dict[str, Any], wanted: dict[str, Any], current: dict[str, Any], what: str
) -> None:
    """Create or update, and look whether the server did all of it. Raises BootstrapError."""
    answer = await _ask(nc, verb, json.dumps(request).encode(), what)
    differing = _differences(current, wanted) if current else []
    reason = ""
    if "error" in answer:
        reason = f"the server refuses: {answer['error'].get('description')} ({answer['error'].get('err_code')})"
    elif left := _differences(answer["config"], wanted):
        differing, reason = left, "the server left it so"
    if reason:
        settings = f" ({'; '.join(differing)})" if differing else ""
        raise BootstrapError(f"{what} cannot be made as it has to be{settings}; {reason}")


async def _ask(nc: Client, verb: str, body: bytes, what: str) -> dict[str, Any]:
    """One request to the JetStream API, repeated while a cluster is not ready. Raises BootstrapError."""
    clock = asyncio.get_running_loop()
    until = clock.time() + PATIENCE
    while True:
        try:
            answer: dict[str, Any] = json.loads(
                (await nc.request(f"$JS.API.{verb}", body, timeout=REQUEST_TIMEOUT)).data
            )
            code = int(answer.get("error", {}).get("err_code", 0))
            if code in _ABSENT and ".INFO." in verb:
                return {}
            if code not in _NOT_YET:
                return answer
            trouble = str(answer["error"].get("description"))
        except (NoRespondersError, TimeoutError) as error:
            trouble = str(error)
        if clock.time() > until:
            raise BootstrapError(
                f"{what}: in {PATIENCE:.0f} s the server did not get ready, or this user may not ask it: {trouble}"
            )
        await asyncio.sleep(0.05)


async def hand_out_again(nc: Client) -> None:
    """Have everything that nobody acknowledged delivered again at once: for a start at which no worker can be alive."""
    for stream, consumer in CONSUMERS:
        answer = await nc.request(f"$JS.API.CONSUMER.RESET.{stream}.{consumer.name}", b"", timeout=REQUEST_TIMEOUT)
        error = json.loads(answer.data).get("error")
        if error:
            raise BootstrapError(f"the consumer {consumer.name} cannot be reset: {error.get('description')}")
