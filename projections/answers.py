"""The questions people ask, with stable keys. Every answer is one tenant's; ``None`` as the tenant is the operator."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from projections.estimate import Means, eta
from projections.question import Answer
from projections.rows import text
from projections.store import Store

SHORTEST_PREFIX = 6
"""Characters of an execution id that are enough, if only one starts with them."""

DONE = ("verified", "satisfied")
_ID = re.compile(r"[0-9a-fA-F-]{1,36}")


class UnknownExecution(KeyError):
    """There is no such execution, or several start like that."""

    def __init__(self, asked: str, suggestions: Sequence[str], *, ambiguous: bool = False) -> None:
        super().__init__(asked)
        self.asked = asked
        self.suggestions = tuple(suggestions)
        """Ids of the same tenant that may have been meant."""
        self.ambiguous = ambiguous

    def __str__(self) -> str:
        listed = ", ".join(self.suggestions)
        if self.ambiguous:
            return f"several executions start with {self.asked!r}: {listed}"
        return f"there is no execution {self.asked!r}" + (f"; did you mean {listed}?" if listed else "")


class Answers:
    """Answers from one store."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def resolve(self, tenant: str | None, execution: str) -> tuple[str, str]:
        """Tenant and full id of an execution named by its id or an unambiguous beginning. Raises UnknownExecution."""
        run = self._run(tenant, execution)
        return run["tenant"], run["execution"]

    def status(self, tenant: str | None, execution: str) -> dict[str, Any]:
        """What one execution is doing now. Raises UnknownExecution."""
        run = self._run(tenant, execution)
        if run["state"] is None:
            raise UnknownExecution(execution, [])
        owner, full = run["tenant"], run["execution"]
        tasks = self.store.named(
            "select task, title, state, attempt, failures, interruptions, started_at, ended_at, seconds, error, phase, "
            'needs, estimate, suggested, worker, approval, approval_kind, question, next_attempt_at, "commit" '
            "from tasks where execution = $id and tenant = $tenant order by position",
            {"id": full, "tenant": owner},
        )
        warnings = self._warnings(owner, full)
        waiting = next((w["message"] for w in warnings if w["stage"] == "wait"), "")
        counts = Counter(t["state"] for t in tasks)
        done = sum(counts[s] for s in DONE)
        return {
            "execution": full,
            "tenant": owner,
            "plan": run["title"],
            "plan_id": run["plan"],
            "state": run["state"],
            "reason": run["reason"] or (f"disk: {waiting}" if waiting else ""),
            "priority": run["priority"],
            "conversation": run["conversation"],
            "submitted_by": run["submitted_by"],
            "progress": _progress(done, len(tasks)),
            "counts": dict(sorted(counts.items())),
            "eta": eta(run, tasks, self._means(owner), self.store.position.at),
            "submitted_at": text(run["submitted_at"]),
            "started_at": text(run["started_at"]),
            "ended_at": text(run["ended_at"]),
            "branch": {k: run[c] for k, c in _BRANCH.items()} if run["branch"] else None,
            "warnings": warnings,
            "tasks": [_task(t) for t in tasks],
            "notices": self._notices(owner, full),
            "sequence": run["last_seq"],
        }

    def executions(self, tenant: str | None, limit: int = 50, *, state: str | None = None) -> list[dict[str, Any]]:
        """The newest executions, newest first."""
        wheres = [w for w, given in (("tenant = $tenant", tenant), ("state = $state", state)) if given is not None]
        found = self.store.named(
            "select execution, tenant, plan, title, state, reason, priority, conversation, submitted_by, submitted_at, "
            "started_at, ended_at, tasks, satisfied, verified, failed, skipped, cancelled, running, blocked, taken, "
            "branch "
            # the totals are looked up only for the few executions that are shown
            f"from (from runs where {' and '.join(['state is not null', *wheres])} "
            "order by first_seq desc limit $limit) left join progress using (tenant, execution) "
            "order by first_seq desc",
            {k: v for k, v in (("tenant", tenant), ("state", state)) if v is not None} | {"limit": max(0, limit)},
        )
        for row in found:
            row["plan_id"], row["plan"] = row["plan"], row.pop("title")
            for key in ("submitted_at", "started_at", "ended_at"):
                row[key] = text(row[key])
            for key in _TOTALS:
                row[key] = row[key] or 0
            row["progress"] = _progress(row["verified"] + row["satisfied"], row["tasks"])
        return found

    def history(
        self,
        tenant: str | None,
        execution: str,
        task: str | None = None,
        after: int = 0,
        limit: int = 1000,
        *,
        read: Callable[[str], Any] = msgspec.json.decode,
    ) -> list[dict[str, Any]]:
        """The audit: everything that was said about an execution, or about one of its tasks, in sequence.

        Also what was set aside. Raises UnknownExecution. Page on with ``after`` = the last row's ``seq``. ``read``
        makes of a body's JSON what the answer is to hold.
        """
        run = self._run(tenant, execution)
        owner, full = run["tenant"], run["execution"]
        params: dict[str, Any] = {
            "id": full,
            "tenant": owner,
            "low": max(run["first_seq"], after + 1),
            "high": run["last_seq"],
            "limit": max(0, limit),
        }
        only = ""
        if task is not None:
            only = "and entity = $task"
            params["task"] = task
        found = self.store.rows(
            "select seq, stored_at, entity, event, actor, cause, data, id, standing, reason, correlation, attempt "
            "from events where seq between $low and $high and execution = $id and tenant = $tenant "
            f"{only} order by seq limit $limit",
            params,
        )
        return [
            {
                "seq": seq,
                "at": text(at),
                "tenant": owner,
                "execution": full,
                "task": None if entity == "-" else entity,
                "event": event,
                "actor": actor,
                "cause": cause,
                "data": read(data) if data is not None else None,
                "id": id,
                "standing": standing,
                "reason": reason,
                "correlation": correlation,
                "attempt": attempt,
            }
            for seq, at, entity, event, actor, cause, data, id, standing, reason, correlation, attempt in found
        ]

    def query(
        self,
        tenant: str | None,
        sql: str,
        params: Sequence[Any] | Mapping[str, Any] | None = None,
        limit: int = 1000,
        *,
        timeout: float = 10.0,
    ) -> Answer:
        """Somebody's own question in SQL, over their own rows. Raises Refused, TooSlow, or duckdb.Error."""
        return self.store.query(sql, params, limit, tenant=tenant, timeout=timeout)

    # -- inside ---------------------------------------------------------------------------------------------------

    def _run(self, tenant: str | None, execution: str) -> dict[str, Any]:
        """The row of ``runs`` that is meant."""
        asked = execution.lower()
        mine = "" if tenant is None else " and tenant = $tenant"
        scope = {} if tenant is None else {"tenant": tenant}
        exact = self.store.named(f"from runs where execution = $id{mine}", scope | {"id": asked})
        if exact:
            return exact[0]
        found: list[dict[str, Any]] = []
        for length in range(len(asked), 3, -1) if _ID.fullmatch(asked) else ():
            found = self.store.named(
                f"from runs where execution >= $low and execution < $high and state is not null{mine} "
                "order by first_seq desc limit 6",
                scope | {"low": asked[:length], "high": asked[:length] + "~"},
            )
            if found and length == len(asked):
                if len(found) == 1 and length >= SHORTEST_PREFIX:
                    return found[0]
                break
            if found:
                break
        ids = [str(run["execution"]) for run in found[:5]]
        raise UnknownExecution(execution, ids, ambiguous=len(ids) > 1 and all(i.startswith(asked) for i in ids))

    def _warnings(self, tenant: str, execution: str) -> list[dict[str, Any]]:
        """What still looks unwell: the newest warning of each kind about attempts that run, or that cannot start."""
        # most have none, and planning the join costs more than everything else in an answer
        given = {"id": execution, "tenant": tenant}
        if not self.store.rows("select 1 from warnings where execution = $id and tenant = $tenant limit 1", given):
            return []
        found = self.store.named(
            'select w.task, w.attempt, w.kind, w.stage, w.message, w.value, w."limit", w.warned_at as at '
            "from warnings w join tasks t using (tenant, execution, task, attempt) "
            "where execution = $id and tenant = $tenant and ("
            "(t.state = 'running' and w.stage <> 'wait') or (t.state = 'ready' and w.stage = 'wait' "
            "and w.seq > coalesce((select max(seq) from attempts a where a.tenant = w.tenant "
            "and a.execution = w.execution and a.task = w.task), 0))) "
            "qualify row_number() over (partition by w.task, w.kind order by w.seq desc) = 1 order by w.seq",
            given,
        )
        return [{**row, "at": text(row["at"])} for row in found]

    def _notices(self, tenant: str, execution: str) -> dict[str, Any]:
        """How many messages people got about an execution, and which channels did not take one."""
        found = self.store.rows(
            "select channel, outcome, reason from notices where tenant = $tenant and execution = $id order by seq",
            {"tenant": tenant, "id": execution},
        )
        counts = Counter(outcome for _, outcome, _ in found)
        lost = Counter(channel for channel, outcome, _ in found if outcome == "given_up")
        why = {channel: reason for channel, outcome, reason in found if outcome == "given_up" and reason is not None}
        given_up = [{"channel": c, "messages": lost[c], "reason": why.get(c)} for c in sorted(lost)]
        return {"sent": counts["sent"], "suppressed": counts["suppressed"], "given_up": given_up}

    def quarantined(self, tenant: str | None) -> int:
        """How many messages were set aside."""
        mine = "" if tenant is None else " where tenant = $tenant"
        ((count,),) = self.store.rows(f"select count(*) from quarantine{mine}", {"tenant": tenant} if mine else None)
        return int(count)

    def failing_channels(self) -> list[dict[str, Any]]:
        """Channels, of all tenants, whose newest message was not taken."""
        return self.store.named(
            "select tenant, channel, reason, outcome from notices where outcome <> 'suppressed' "
            "qualify row_number() over (partition by tenant, channel order by seq desc) = 1 and outcome <> 'sent' "
            "order by tenant, channel"
        )

    def _means(self, tenant: str) -> Means:
        def means(titles: Sequence[str]) -> dict[str, float]:
            found = self.store.rows(
                "select title, micros / verified / 1e6 from durations "
                "where tenant = $tenant and title in (select unnest($titles::varchar[]))",
                {"tenant": tenant, "titles": list(titles)},
            )
            return {str(title): float(mean) for title, mean in found}

        return means


_TOTALS = ("tasks", "satisfied", "verified", "failed", "skipped", "cancelled", "running", "blocked", "taken")
_BRANCH = {"name": "branch", "repository": "repository", "base": "base", "head": "head"}


def _progress(done: int, total: int) -> dict[str, Any]:
    return {"done": done, "total": total, "percent": round(100 * done / total, 1) if total else 0.0}


def _task(t: Mapping[str, Any]) -> dict[str, Any]:
    asked = {"id": t["approval"], "kind": t["approval_kind"], "question": t["question"]} if t["approval"] else None
    return {
        "id": t["task"],
        "title": t["title"],
        "state": t["state"],
        "attempt": t["attempt"],
        "failures": t["failures"],
        "interruptions": t["interruptions"],
        "started_at": text(t["started_at"]),
        "ended_at": text(t["ended_at"]),
        "seconds": t["seconds"],
        "error": t["error"],
        "phase": t["phase"],
        "needs": list(t["needs"]),
        "estimate": t["estimate"],
        "worker": t["worker"],
        "approval": asked,
        "next_attempt_at": text(t["next_attempt_at"]),
        "commit": t["commit"],
    }
