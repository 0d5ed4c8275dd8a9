"""What a check of tests or quality needs to know about the task besides the checkout."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from services.verifier.checks import Place

FOUND = "auto"
"""A gate that the project's configuration asks for; before a gate's own name: nobody asked for it by name."""
REMEMBERED = 256
"""Baselines that one verifier keeps; each can be made again."""


class Baselines:
    """What was found out and holds on, such as findings in a tree: judged before a landing, the baseline after it."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, ...], Any] = OrderedDict()

    def get(self, key: tuple[str, ...]) -> Any:
        """What is kept, or None."""
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def put(self, key: tuple[str, ...], found: Any) -> None:
        """Keep it, and forget the one that was not asked for longest."""
        self._kept[key] = found
        self._kept.move_to_end(key)
        while len(self._kept) > REMEMBERED:
            self._kept.popitem(last=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Around:
    """A task's surroundings, as far as they decide which tests belong to it and what is new."""

    scope: str
    """Tenant and execution: what is remembered of one is nothing to another."""
    title: str
    files: tuple[str, ...]
    """Paths that the plan says it works on."""
    plan: str | None
    """The plan's file in the repository."""
    project: Path | None
    """The user's own checkout, whose environments hold the project's tools; nothing is written there."""
    tmp: Path
    """A folder outside the workspace that programs may write to."""
    tree: str
    """The git tree that is judged."""
    before: str
    """The git tree of the branch without the task."""
    changes: Mapping[str, str]
    """Git's letter for each path that the task changes."""
    checkout: Callable[[], Awaitable[Path]]
    """A clean checkout of ``before``; made when first asked for."""
    baselines: Baselines = field(default_factory=Baselines)

    def remembered(self, *key: str) -> Any:
        """What this execution kept under a key, or None."""
        return self.baselines.get((self.scope, *key))

    def remember(self, found: Any, *key: str) -> None:
        """Keep something for this execution."""
        self.baselines.put((self.scope, *key), found)


def around(place: Place) -> Around:
    """The surroundings of a place. Raises ValueError where there are none."""
    if place.around is None:
        raise ValueError("tests and quality are judged only for a task with a workspace")
    return place.around
