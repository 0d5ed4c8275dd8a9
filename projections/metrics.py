"""The founding metrics, counted from the projections (contract C21).

All of them come from one process and are read from tables that the log makes, so a restart resets no counter, and a
plan that ended long ago can stop having series. Counters are 0 from the moment when the plan is accepted. Where a plan
was run several times, gauges show its newest execution and counters all of them.
"""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from projections.store import Store
from schemas.metrics import Family, Sample
from schemas.words import TASK, TASK_WORDS

BOUNDS = (1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0)
"""Seconds."""
ERRORS = ("failed", "timed_out", "rejected", "expired")
"""Outcomes of attempts that are errors, as in the table ``attempts``. An interruption is the engine's doing."""

_PLANS = """
with plans as (
    select plan, min(accepted_at) as since, arg_max({'tenant': tenant, 'execution': execution}, first_seq) as newest,
        max(first_seq) as seq, max(ended_at) as ended, bool_or(ended_at is null) as open
    from runs
    where accepted_at is not null
    group by plan
)
select plan, since, p.*
from plans
join progress p on p.tenant = newest.tenant and p.execution = newest.execution
where open or ended > $horizon
order by seq desc
limit $most
"""
_ATTEMPTS = """
select r.plan, a.outcome, a.seconds, a.cpu_seconds, a.max_rss
from attempts a
join runs r on r.tenant = a.tenant and r.execution = a.execution
where r.plan in (select unnest($plans::varchar[])) and a.outcome <> 'running'
"""


def families(store: Store, *, now: datetime.datetime, keep: float, most: int) -> list[Family]:
    """Every family as of now. ``now`` is in UTC without a zone.

    A plan has series until ``keep`` seconds after its last execution ended, and only the ``most`` newest plans do.
    """
    horizon = now - datetime.timedelta(seconds=keep)
    plans = store.named(_PLANS, {"horizon": horizon, "most": most})
    attempts: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in store.named(_ATTEMPTS, {"plans": [p["plan"] for p in plans]}):
        attempts[row["plan"]].append(row)
    return [*_of_plans(plans, attempts), *_of_engine(store)]


def _of_plans(plans: list[dict[str, Any]], attempts: dict[str, list[dict[str, Any]]]) -> Iterable[Family]:
    statuses, completed, durations, errors, cpu, memory = [], [], [], [], [], []
    for plan in plans:
        name, since = str(plan["plan"]), _ns(plan["since"])
        label = (("plan_id", name),)
        words = dict.fromkeys(TASK_WORDS, 0)
        for state, word in TASK.items():
            words[word] += plan.get(state, 0)
        statuses += [Sample(labels=(*label, ("status", word)), value=count) for word, count in words.items()]
        statuses.append(Sample(labels=label, value=plan["tasks"]))
        completed.append(Sample(labels=label, value=words["completed"]))
        mine = attempts[name]
        durations.append(_histogram(label, [a["seconds"] for a in mine if a["seconds"] is not None], since))
        outcomes = [a["outcome"] for a in mine]
        errors += [
            Sample(labels=(*label, ("type", kind)), value=outcomes.count(kind), since_ns=since) for kind in ERRORS
        ]
        cpu.append(Sample(labels=label, value=sum(a["cpu_seconds"] or 0 for a in mine)))
        memory.append(Sample(labels=label, value=max((a["max_rss"] or 0 for a in mine), default=0)))
    yield _gauge("execution_tasks_total", "Tasks of a plan, by status, and all of them.", statuses)
    yield _gauge("execution_tasks_completed", "Tasks of a plan that are completed.", completed)
    yield Family(
        name="execution_task_duration_seconds", kind="histogram", bounds=BOUNDS, samples=tuple(durations),
        help="How long attempts at tasks took, as the executor measured it.",
    )  # fmt: skip
    yield Family(
        name="execution_errors_total", kind="counter", samples=tuple(errors), help="Attempts that did not hold."
    )
    yield _gauge("execution_cpu_seconds", "Processor time that a plan's attempts took.", cpu)
    yield _gauge("execution_memory_peak_bytes", "The most memory that one attempt of a plan took.", memory)


def _of_engine(store: Store) -> Iterable[Family]:
    states = store.rows("select state, count(*) from runs where state is not null group by state order by state")
    yield _gauge(
        "nightshift_executions", "Executions by state.", [Sample(labels=(("state", s),), value=n) for s, n in states]
    )
    yield _gauge("nightshift_log_position", "Events projected.", [Sample(labels=(), value=store.position.sequence)])
    ((aside,),) = store.rows("select count(*) from quarantine")
    yield _gauge("nightshift_quarantined", "Messages that were set aside.", [Sample(labels=(), value=aside)])


def _gauge(name: str, help: str, samples: Iterable[Sample]) -> Family:
    return Family(name=name, kind="gauge", help=help, samples=tuple(samples))


def _histogram(labels: tuple[tuple[str, str], ...], seconds: list[float], since_ns: int) -> Sample:
    counts = [0] * (len(BOUNDS) + 1)
    for value in seconds:
        counts[next((n for n, bound in enumerate(BOUNDS) if value <= bound), len(BOUNDS))] += 1
    return Sample(labels=labels, value=sum(seconds), buckets=tuple(counts), since_ns=since_ns)


def _ns(at: datetime.datetime) -> int:
    return int(at.replace(tzinfo=datetime.UTC).timestamp() * 1_000_000) * 1000
