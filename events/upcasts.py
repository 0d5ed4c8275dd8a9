"""How facts written by older code are read: pure functions, old body in, new body out.

The version of a fact is the number of its upcasts plus one, so it cannot be forgotten. Adding a field with a default
needs no upcast; a change of meaning is a new fact with a new name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Body = dict[str, Any]

UPCASTS: dict[str, list[Callable[[Body], Body]]] = {}
"""By fact name: the first lifts version 1 to 2, the next 2 to 3, and so on."""


def upcast(name: str) -> Callable[[Callable[[Body], Body]], Callable[[Body], Body]]:
    """Enter a function as the next lift of the named fact."""

    def enter(lift: Callable[[Body], Body]) -> Callable[[Body], Body]:
        UPCASTS.setdefault(name, []).append(lift)
        return lift

    return enter


def version(name: str) -> int:
    """The newest version of a fact, which is the one this code writes."""
    return 1 + len(UPCASTS.get(name, ()))


def lift(name: str, body: Body, written: int) -> Body:
    """Bring a body of the version ``written`` to the newest one."""
    for function in UPCASTS.get(name, ())[written - 1 :]:
        body = function(body)
    return body
