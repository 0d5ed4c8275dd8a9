"""What a fact is: a frozen class with one docstring, entered in the catalogue by ``@event``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar, dataclass_transform

T = TypeVar("T")

Entity = Literal["execution", "task", "branch", "inbox", "lessons", "notices"]
Author = Literal["people", "planner", "executor", "verifier", "notifier", "learner"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A fact's place in the catalogue: its class, what it happens to, and who may say it."""

    cls: type
    on: Entity
    by: tuple[Author, ...]


CATALOGUE: dict[str, Entry] = {}
"""Every fact by its name, which is also the last token of its subject."""


@dataclass_transform(frozen_default=True, kw_only_default=True)
def event(on: Entity, *by: Author) -> Callable[[type[T]], type[T]]:
    """Make a class a fact that happens to one kind of entity and is said by the named services only."""

    def enter(cls: type[T]) -> type[T]:
        fact = dataclass(frozen=True, kw_only=True, slots=True)(cls)
        if fact.__name__ in CATALOGUE:
            raise TypeError(f"two facts are called {fact.__name__}")
        if not fact.__doc__ or fact.__doc__.startswith(f"{fact.__name__}("):
            raise TypeError(f"the fact {fact.__name__} has no docstring")
        CATALOGUE[fact.__name__] = Entry(fact, on, by)
        return fact

    return enter
