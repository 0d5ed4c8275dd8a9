"""An event loop that decides by a seed whose turn it is, and whose time passes only when nobody has anything to do.

Everything that runs belongs to a *line*: a simulated process, or the outside. Within a line callbacks keep their order,
as in a real process; between lines any order can happen. A line can be frozen (SIGSTOP: its turns and timers wait, time
goes on) and killed (kill -9: nothing of it runs again, no ``finally`` either).
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from itertools import count
from random import Random
from typing import Any, TypeVar, cast

T = TypeVar("T")
RUNNING, FROZEN, DEAD = "running", "frozen", "dead"


class Stuck(Exception):
    """Nobody has anything to do and no timer is set."""


class Line:
    """Whoever can be stopped as one: a process."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.state = RUNNING
        self.waiting: deque[asyncio.Handle] = deque()
        self.lost: list[asyncio.Handle] = []
        """What it would have done if it had not been killed; kept for the end, when everything is put away."""
        self.listed = False
        """In the loop's list of those that have something to do."""
        self.turns = 0

    def __repr__(self) -> str:
        return self.name


LINE: ContextVar[Line] = ContextVar("LINE")
"""To which line the code that runs belongs; tasks and callbacks inherit it."""


class NumberedTask(asyncio.Task[Any]):
    """A task whose place in a set does not depend on its address."""

    def __init__(self, coro: Any, *, loop: SimulatedLoop, context: Context | None = None) -> None:
        self._number = next(loop.numbers)
        self.line: Line = context.get(LINE, loop.outside) if context else LINE.get(loop.outside)
        super().__init__(coro, loop=loop, context=context)

    def __hash__(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        return self is other


class SimulatedLoop(asyncio.BaseEventLoop):
    """No threads, no sockets, no waiting."""

    def __init__(self, luck: Random, *, late: float = 0.0, stalls: float = 0.0) -> None:
        super().__init__()
        self.luck = luck
        self.late = late
        """How likely a timer comes late."""
        self.stalls = stalls
        """How likely time goes on although somebody has something to do."""
        self.outside = Line("outside")
        self.steps = 0
        self.after_step: Callable[[Line], None] | None = None
        self.on_idle: Callable[[float], None] | None = None
        """Called before time moves on, with the moment to which it does."""
        self.tasks: list[NumberedTask] = []
        self.numbers = count()
        self._now = 0.0
        self._active: list[Line] = []
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self.set_task_factory(self._numbered)

    # -- what asyncio asks for --------------------------------------------------------------------------------------

    def time(self) -> float:
        return self._now

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._put(handle)
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        if self.late and self.luck.random() < self.late:
            when += self.luck.expovariate(4.0)
        heapq.heappush(self._timers, (when, next(self.numbers), handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        pass

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        """There are no threads: it is done at once."""
        done: asyncio.Future[T] = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:
            done.set_exception(error)
        return done

    def _numbered(
        self, loop: asyncio.AbstractEventLoop, coro: Any, *, context: Context | None = None
    ) -> asyncio.Task[Any]:
        task = NumberedTask(coro, loop=self, context=context)
        self.tasks.append(task)
        if len(self.tasks) > 2000:
            self.tasks = [t for t in self.tasks if not t.done()]
        return task

    # -- whose turn it is ---------------------------------------------------------------------------------------------

    def _put(self, handle: asyncio.Handle) -> None:
        line: Line = handle._context.get(LINE, self.outside)  # type: ignore[attr-defined]
        if line.state is DEAD:
            line.lost.append(handle)
            return
        line.waiting.append(handle)
        if not line.listed and line.state is RUNNING:
            line.listed = True
            self._active.append(line)

    def _run_once(self) -> None:
        if not self._active or (self.stalls and self.luck.random() < self.stalls):
            self._time_passes()
        active = self._active
        if not active:
            return
        index = int(self.luck.random() * len(active))
        line = active[index]
        if line.state is not RUNNING or not line.waiting:
            self._unlist(index)
            return
        handle = line.waiting.popleft()
        if not line.waiting:
            self._unlist(index)
        if handle._cancelled:
            return
        self.steps += 1
        line.turns += 1
        handle._run()
        if self.after_step is not None:
            self.after_step(line)

    def _unlist(self, index: int) -> None:
        line = self._active[index]
        line.listed = False
        last = self._active.pop()
        if last is not line:
            self._active[index] = last

    def _time_passes(self) -> None:
        """On to the next timer, and to all that are due with it."""
        timers = self._timers
        while timers and timers[0][2]._cancelled:
            heapq.heappop(timers)
        if not timers:
            if self._active:
                return
            raise Stuck
        if not self._active and self.on_idle is not None:
            self.on_idle(timers[0][0])
            if self._active:
                return
        self._now = max(self._now, timers[0][0])
        while timers and timers[0][0] <= self._now:
            _, _, handle = heapq.heappop(timers)
            if not handle._cancelled:
                self._put(handle)

    # -- processes ----------------------------------------------------------------------------------------------------

    def freeze(self, line: Line) -> None:
        """SIGSTOP."""
        line.state = FROZEN

    def thaw(self, line: Line) -> None:
        """SIGCONT: it goes on with what it held, timers that came due included."""
        if line.state is FROZEN:
            line.state = RUNNING
            if line.waiting and not line.listed:
                line.listed = True
                self._active.append(line)

    def kill(self, line: Line) -> None:
        """SIGKILL: not one more turn."""
        line.state = DEAD
        line.lost.extend(line.waiting)
        line.waiting.clear()

    def spawn(self, line: Line, coro: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run something as part of a line."""
        context = copy_context()
        context.run(LINE.set, line)
        return cast("asyncio.Task[T]", self.create_task(coro, context=context))

    def finish(self) -> None:
        """End everything that is left, so that nothing complains when it is thrown away."""
        self.after_step = self.on_idle = None
        self.late = self.stalls = 0.0
        left = [task for task in self.tasks if not task.done()]
        for line in {task.line.name: task.line for task in left}.values():
            line.state = RUNNING
            line.waiting.extendleft(reversed(line.lost))
            line.lost.clear()
            if line.waiting and not line.listed:
                line.listed = True
                self._active.append(line)
        for task in left:
            task.cancel()
        last = self.steps + 20_000

        def enough(line: Line) -> None:
            if self.steps > last:
                raise Stuck

        self.after_step = enough
        try:
            for _ in range(50):
                left = [task for task in self.tasks if not task.done()]
                if not left:
                    break
                self.run_until_complete(asyncio.wait(left, timeout=60.0))
                for task in left:
                    task.cancel()
        except Stuck:
            pass
        self.tasks.clear()
        self.close()


def at_once(coro: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that waits for nothing but its turn, to its end, now. The server takes one message at a time."""
    try:
        while True:
            coro.send(None)
    except StopIteration as done:
        return cast(T, done.value)
