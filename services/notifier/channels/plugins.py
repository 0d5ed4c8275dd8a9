"""Plugins: async callables that other packages offer under the entry point group ``nightshift.notifiers``.

A plugin is awaited with the message as a plain mapping, and with ``options`` from the settings if it takes two
arguments. It runs on a loop and a thread of its own: whatever it does, nobody else waits for it.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from services.notifier.channels import ChannelError, Message

GROUP = "nightshift.notifiers"


def installed() -> dict[str, EntryPoint]:
    """Every plugin that is installed, by name; nothing of them is imported."""
    return {point.name: point for point in entry_points(group=GROUP)}


class Plugin:
    """One plugin. It is imported when it is first needed, and tried again when that fails."""

    def __init__(self, name: str, options: Mapping[str, Any], point: EntryPoint | None = None) -> None:
        self.name = name
        self.options = dict(options)
        self.point = point
        self._call: Callable[..., Coroutine[Any, Any, Any]] | None = None

    def send(self, message: Message, timeout: float) -> None:
        """Have the plugin deliver it; whatever it raises is its failure alone."""
        call = self._loaded()
        arguments = (message.body(), dict(self.options))[: 2 if _takes_options(call) else 1]

        async def bounded() -> None:
            async with asyncio.timeout(timeout):
                await call(*arguments)

        try:
            asyncio.run(bounded())
        except TimeoutError as error:
            raise ChannelError(f"the plugin did not end within {timeout:g} s") from error
        except Exception as error:
            raise ChannelError(f"the plugin raised {type(error).__name__}: {error}"[:300]) from error

    def _loaded(self) -> Callable[..., Coroutine[Any, Any, Any]]:
        if self._call is None:
            point = self.point or installed().get(self.name)
            if point is None:
                raise ChannelError(f"no plugin {self.name!r} is installed in the group {GROUP}", again=False)
            try:
                found = point.load()
            except Exception as error:
                reason = f"the plugin cannot be imported: {type(error).__name__}: {error}"
                raise ChannelError(reason[:300], again=False) from error
            called = found if inspect.isfunction(found) or inspect.ismethod(found) else getattr(found, "__call__", None)  # noqa: B004
            if not inspect.iscoroutinefunction(called):
                raise ChannelError("the plugin is not an async callable", again=False)
            self._call = found
        return self._call


def _takes_options(call: Callable[..., Any]) -> bool:
    parameters = inspect.signature(call).parameters.values()
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return len(positional) > 1 or any(p.kind is p.VAR_POSITIONAL for p in parameters)
