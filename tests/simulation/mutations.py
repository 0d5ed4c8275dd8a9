"""Bugs planted on purpose: a simulator that does not find them proves nothing.

Each mutation is a context manager that changes one thing in the running code, as somebody could have written it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any
from unittest.mock import patch

from events.execution import ExecutionCancelled, ExecutionPaused, RollbackBegun
from events.fold import ExecutionFold
from events.lineage import landed_after
from events.log import Appended, Conflict, Draft, LogUnavailable
from events.log.wire import encode
from events.machines.lifecycle import IllegalTransition
from schemas.names import EXECUTION, event_id
from services.executor.decide import next_move
from services.executor.service import Executor
from services.folds import Folds
from services.planner import going_back
from services.shell import Decision, Reactor
from services.verifier.service import Verifier
from tests.simulation.broker import Broker
from tests.simulation.process import Database
from tests.simulation.world import current


@contextlib.contextmanager
def unguarded() -> Iterator[None]:
    """An append says nothing of what it expects."""

    async def append(self: Broker, *drafts: Draft) -> list[Appended]:
        for draft in drafts:
            self.expected.setdefault(draft.id, draft.expected)
        return [Appended(self._store(draft.subject, *encode(draft)), draft.id) for draft in drafts]

    with patch.object(Broker, "append", append):
        yield


@contextlib.contextmanager
def ack_early() -> Iterator[None]:
    """A message is acknowledged when it is taken, not when the fold shows why."""
    react = Reactor._react

    async def early(self: Reactor, delivery: Any) -> None:
        await delivery.ack()
        await react(self, delivery)

    with patch.object(Reactor, "_react", early):
        yield


@contextlib.contextmanager
def unlocked_by_executed() -> Iterator[None]:
    """Dependents go on when a task says that it is done."""
    with patch("events.task_graph.DONE", frozenset({"executed", "verified", "satisfied"})):
        yield


@contextlib.contextmanager
def counters_in_memory() -> Iterator[None]:
    """A process that starts again has forgotten how often a task has failed."""
    load = Folds._load

    async def forgetful(self: Folds, key: tuple[str, str], sequence: int) -> None:
        await load(self, key, sequence)
        for task in self._folds[key].tasks.values():
            task.failures = task.forgiven = 0

    with patch.object(Folds, "_load", forgetful):
        yield


@contextlib.contextmanager
def position_apart() -> Iterator[None]:
    """A projector stores its rows, and then its position."""

    async def commit(self: Database, rows: Counter[str], position: int) -> None:
        self.rows = rows
        await asyncio.sleep(0)
        self.position = position

    with patch.object(Database, "commit", commit):
        yield


@contextlib.contextmanager
def fence_by_sequence() -> Iterator[None]:
    """After a conflict a worker folds again and says the same again, whoever holds the lease by now."""

    async def say(self: Executor, fold: Any, task: Any, attempt: Any, fact: object, trace: str) -> bool:
        while True:
            try:
                end = Decision(entity=task.spec.id, fact=fact, attempt=attempt.number)
                await self.context.append(self.context.draft(fold, end, attempt.lease, trace=trace))
                return True
            except Conflict:
                continue
            except IllegalTransition:
                return False
            except (LogUnavailable, TimeoutError):
                await asyncio.sleep(0.5)

    with patch.object(Executor, "_say", say):
        yield


@contextlib.contextmanager
def ids_without_entity() -> Iterator[None]:
    """Two facts of one cause and name share an id, wherever they happen."""

    def poorer(**parts: Any) -> str:
        return event_id(**parts | {"entity": ""})

    with patch("events.log.event_id", poorer), patch("events.log.wire.event_id", poorer):
        yield


@contextlib.contextmanager
def one_phase() -> Iterator[None]:
    """Pausing and cancelling are said at once, without holding what is ready or waiting for what runs."""

    def cancelling(fold: ExecutionFold) -> Iterator[Decision]:
        yield Decision(entity=EXECUTION, fact=ExecutionCancelled(verified=fold.count("verified"), cancelled=0))

    def pausing(fold: ExecutionFold) -> Iterator[Decision]:
        if fold.state == "pausing":
            yield Decision(entity=EXECUTION, fact=ExecutionPaused(reason=fold.reason))

    with patch("services.planner.decide._cancelling", cancelling), patch("services.planner.decide._pausing", pausing):
        yield


@contextlib.contextmanager
def rollback_in_one_phase() -> Iterator[None]:
    """The branch goes back at once, whatever is ready, runs or waits for a verdict."""

    def at_once(fold: ExecutionFold, begun: RollbackBegun) -> Iterator[Decision]:
        if begun.only is None:
            yield going_back._roll_back(fold, begun, begun.to, landed_after(fold, begun.to))
        elif fold.reverting is None:
            yield going_back._take_back(fold, begun, begun.only)

    with patch("services.planner.decide.going_back", at_once):
        yield


@contextlib.contextmanager
def stale_cold_fold() -> Iterator[None]:
    """A process that starts trusts the first replica that answers (found by this simulator)."""
    with patch("services.folds.LOOK_BACK", 0):
        yield


@contextlib.contextmanager
def ref_left_behind() -> Iterator[None]:
    """The ref is moved after a landing, once; whoever dies in between leaves it behind (found by this simulator)."""
    land = Verifier._land

    async def mend_never(self: Verifier, fold: ExecutionFold) -> None:
        return

    async def mend_once(self: Verifier, fold: ExecutionFold, *rest: Any) -> None:
        await land(self, fold, *rest)
        if fold.created is not None and fold.head is not None:
            here, name = current().repository, fold.created.name
            await here.set_branch(name, fold.head, await here.branch(name))

    with patch.object(Verifier, "mend_branch", mend_never), patch.object(Verifier, "_land", mend_once):
        yield


@contextlib.contextmanager
def starts_while_paused() -> Iterator[None]:
    """A task that is interrupted while its execution is paused starts again (found by this simulator)."""

    def careless(fold: ExecutionFold, task: Any, ready: Any, *, mine: frozenset[str]) -> str:
        move = next_move(fold, task, ready, mine=mine)
        return "start" if move == "wait" and fold.state == "paused" else move

    with patch("services.executor.service.next_move", careless):
        yield


MUTATIONS: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "unguarded": unguarded,
    "ack-early": ack_early,
    "unlocked-by-executed": unlocked_by_executed,
    "counters-in-memory": counters_in_memory,
    "position-apart": position_apart,
    "fence-by-sequence": fence_by_sequence,
    "ids-without-entity": ids_without_entity,
    "one-phase": one_phase,
    "rollback-in-one-phase": rollback_in_one_phase,
    "stale-cold-fold": stale_cold_fold,
    "ref-left-behind": ref_left_behind,
    "starts-while-paused": starts_while_paused,
}
"""Every planted bug by its name on the command line."""
