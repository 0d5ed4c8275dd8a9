"""A life as rows ``(fact, from, to)``; ``transitions`` reads them and draws them, and never touches our objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Row = tuple[type, str, str]


class IllegalTransition(Exception):
    """No row leads from this state by this fact."""


class _Drawn:
    """What ``transitions`` wants to hold a state, although nobody asks it for one."""


class Lifecycle:
    """A state table that is asked: about a microsecond a question.

    Check on the way in, not on the way back: before an append a missing row is an error, on replay a stored fact
    cannot be refused, so the state stays.
    """

    def __init__(self, name: str, *, initial: str, final: Sequence[str], rows: Sequence[Row], also: Sequence[str] = ()):
        self.name = name
        self.initial = initial
        self.final = frozenset(final)
        self.rows = tuple(rows)
        self.states = tuple(dict.fromkeys([initial, *also, *(s for _, a, b in rows for s in (a, b))]))
        self.facts = frozenset(fact.__name__ for fact, _, _ in rows)
        self._to = {(fact.__name__, source): target for fact, source, target in rows}
        if len(self._to) != len(self.rows):
            raise ValueError(f"the life of {name} has a row twice")

    def leads(self, state: str, fact: str) -> str | None:
        """The state that the named fact leads to, or None if there is no such row."""
        return self._to.get((fact, state))

    def evolve(self, state: str, fact: Any) -> str:
        """The next state. Raises IllegalTransition."""
        name = fact if isinstance(fact, str) else type(fact).__name__
        target = self._to.get((name, state))
        if target is None:
            raise IllegalTransition(f"{name} cannot happen to a {self.name} that is {state}")
        return target

    def machine(self) -> Any:
        """The same table as a ``transitions`` machine, for drawing and for walking in tests."""
        from transitions.extensions import GraphMachine

        return GraphMachine(
            model=_Drawn(),
            states=list(self.states),
            initial=self.initial,
            auto_transitions=False,
            graph_engine="mermaid",
            transitions=[{"trigger": f.__name__, "source": a, "dest": b} for f, a, b in self.rows],
        )

    def drawing(self) -> str:
        """The table as a mermaid state diagram, for documents: arrows only, no colours."""
        lines = str(self.machine().get_graph().source).splitlines()
        return "\n".join(["stateDiagram-v2", "  direction LR", *(line for line in lines if "-->" in line)])
