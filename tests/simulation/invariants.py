"""What must hold when something is acknowledged, and at the end; what must hold after every message is in ``reading``.

``Checker.dealt`` looks at every acknowledgement, ``Checker.final`` at the end, when nothing goes wrong any more and
time has run on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from events.fold import fold
from events.log import Recorded
from events.log.streams import PLANNER_REACTS_TO
from events.machines import EXECUTION as LIFE
from services.executor.decide import next_move
from services.planner.decide import decide, timer_of
from services.verifier.decide import next_step
from tests.simulation.broker import Broker
from tests.simulation.in_hand import DUE
from tests.simulation.reading import Reader, Story

if TYPE_CHECKING:
    from tests.simulation.world import World


class Checker(Reader):
    """Sees everything, and says what must not be."""

    def __init__(self, world: World, broker: Broker) -> None:
        super().__init__(world, broker)
        broker.dealt = self.dealt

    # -- every acknowledgement ----------------------------------------------------------------------------------------

    def dealt(self, name: str, key: Any) -> None:
        """Nothing is acknowledged before the fold shows why."""
        if name == DUE:
            self.world.blamed = key.execution
            self._planned(key.execution, f"the timer {key.kind} of {key.entity}")
            self._timed(self.stories[key.execution], key.event)
            return
        recorded = self.broker.records[key - 1]
        self.world.blamed = recorded.execution
        story = self.stories[recorded.execution]
        what = f"{recorded.sequence} {recorded.entity} {recorded.name} was acknowledged"
        task = story.fold.tasks.get(recorded.entity)
        if name == "planner":
            self._planned(recorded.execution, f"{recorded.sequence} {recorded.name}")
        elif name == "executor" and recorded.standing == "ok":
            move = next_move(story.fold, task, recorded, mine=frozenset())
            self._must(move in ("leave", "cancel"), f"{what}, but the fold says {move}")
        elif name == "verifier" and recorded.id in story.fold.owed:
            self.fail(f"{what}, and nobody has judged the gates")
        elif name == "verifier" and task is not None:
            due = next_step(story.fold, task)
            if due != "nothing" and not self.broker.holds(name, lambda r: _same(r, recorded)):
                self.fail(f"{what}, but the fold says {due} and nobody holds it")
        elif name == "timers":
            self._timed(story, recorded.id)

    def _planned(self, execution: str, what: str) -> None:
        """Whatever is due because of a trigger of the planner's, somebody holds."""
        story = self.stories[execution]
        if not decide(story.fold) or self.broker.holds("planner", lambda r: r.execution == execution):
            return
        if any(timer.execution == execution for timer in self.broker._fired._moments):
            return
        newest = max(
            (n for n, r in enumerate(story.records) if r.actor.startswith("planner") or r.name in PLANNER_REACTS_TO),
            default=-1,
        )
        first = story.records[0]
        shown = fold(first.tenant, first.execution, story.records[: newest + 1])
        due = decide(shown)
        if due and story.late:
            self.notice("known: what was stored after its sender gave up is looked at by nobody")
        elif due:
            self.fail(f"{what} was acknowledged, but {due[0].entity} {type(due[0].fact).__name__} is due")
        self.notice("something is due that no trigger brings")

    def _timed(self, story: Story, event: str) -> None:
        recorded = next((r for r in story.records if r.id == event), None)
        timer = timer_of(story.fold, recorded) if recorded is not None else None
        if recorded is None or timer is None or story.fold.state in (*LIFE.final, "cancelling"):
            return
        if timer.kind == "duration" and story.fold.state == "paused":
            return
        if timer.kind == "lease" and story.fold.tasks[timer.entity].state != "running":
            return
        known = [*self.broker._timers.values(), *self.broker._fired._moments]
        if any(t.event == event for t in known):
            return
        if timer.kind == "lease":
            self.notice("known: a late timer of an earlier lease took the place of this one's")
        else:
            self.fail(f"the fold waits for the {timer.kind} timer of {timer.entity}, and nobody has it")

    # -- the end ------------------------------------------------------------------------------------------------------

    def final(self) -> None:
        """Everything ended, or waits for somebody who is named."""
        for execution, story in self.stories.items():
            self.world.blamed = execution
            state = story.fold
            self._same_as_from_scratch(story, "at the end")
            if state.submission is None and state.plan is None and state.state == "submitted":
                continue
            self._must(not state.requests, f"{execution} requests without an answer: {[*state.requests]}")
            due = [f"{d.entity} {type(d.fact).__name__}" for d in decide(state)]
            self._must(not due or story.late, f"{execution} is {state.state}, and {due} are due that nobody does")
            counts = {s: list(names) for s, names in state.by_state.items() if names}
            waits = (
                state.state in LIFE.final
                or (state.state == "awaiting_approval" and bool(state.asking))
                or (state.state == "blocked" and bool(state.by_state.get("blocked") or state.by_state.get("taken")))
                or state.state == "paused"
            )
            self._must(waits, f"{execution} neither ended nor waits for anybody: it is {state.state}, {counts}")
            if state.state in LIFE.final:
                live = [n for n, t in state.tasks.items() if t.lease and t.state in ("running", "executed")]
                self._must(not live, f"{execution} is {state.state}, and {live} hold leases")
            if state.created is not None:
                shown = self.world.repository.refs.get(state.created.name)
                if shown is None and state.head == state.created.base:
                    self.notice("known: nothing landed, and there is no ref")
                else:
                    self._must(shown == state.head, f"{execution}: the ref shows {shown}, the log says {state.head}")
            for process in self.world.processes:
                kept = process.folds._folds.get((state.tenant, state.id)) if process.folds else None
                self._must(kept is None or kept == state, f"{execution}: the fold that {process.name} keeps is wrong")


def _same(one: Recorded, other: Recorded) -> bool:
    return one.entity == other.entity and one.execution == other.execution
