"""The order of work: edges between the tasks that run, waves, critical path, cycles. Linear time, no recursion."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from schemas.reading import Reading, TaskRead

DEFAULT_MINUTES = 5.0
"""Counted for a task without an estimate."""

STARTS = 10
"""From how many tasks of a knot a short cycle is looked for."""

Edges = dict[str, list[str]]
"""For each task the tasks it waits for."""


@dataclass(slots=True)
class Analysis:
    """What a plan's graph says before anything runs."""

    edges: Edges
    waves: list[list[str]]
    """Tasks that may run side by side, level by level; tasks on a cycle are in none."""
    critical_path: list[str]
    minutes: float
    """Along the critical path: the shortest possible duration."""
    total_minutes: float
    """One after the other."""
    context_budget: int
    """Tokens, all tasks together."""
    cycles: list[list[str]] = field(default_factory=list)


def analyse(reading: Reading) -> Analysis:
    """Everything at once, over leaves (containers do not run)."""
    edges = leaf_edges(reading)
    leaves = [task for task in reading.tasks if task.id in edges]
    minutes = {task.id: task.estimate_minutes or DEFAULT_MINUTES for task in leaves}
    path, length = critical_path(edges, minutes)
    return Analysis(
        edges=edges,
        waves=waves(edges),
        critical_path=path,
        minutes=length,
        total_minutes=sum(minutes.values()),
        context_budget=1000 * sum(task.context_tier for task in leaves),
        cycles=cycles(edges),
    )


class Containers:
    """Which leaves stand for a container or phase, seen from before and from after it.

    An edge to a container means all its leaves, an edge from one holds for all its leaves. It is enough to join the
    leaves that begin with those that end; and phases that hold nothing hand their own edges on.
    """

    def __init__(self, reading: Reading) -> None:
        self.tasks: dict[str, TaskRead] = {}
        for task in reading.tasks:
            self.tasks.setdefault(task.id, task)
        children: dict[str, list[str]] = {}
        for task in self.tasks.values():
            if task.parent is not None and task.parent in self.tasks and task.parent != task.id:
                children.setdefault(task.parent, []).append(task.id)
        self.leaves: dict[str, list[str]] = {}
        self.ancestors: dict[str, list[str]] = {}
        for task in self.tasks.values():
            self.ancestors[task.id] = self._above(task)
        self.containers = {task.id for task in self.tasks.values() if task.container or task.id in children}
        for task in self.tasks.values():
            if task.id not in self.containers:
                for ancestor in self.ancestors[task.id]:
                    self.leaves.setdefault(ancestor, []).append(task.id)
        self.phases = {phase.id: phase for phase in reading.phases}
        self.of_phase: dict[str, list[str]] = {}
        for task in self.tasks.values():
            if task.phase in self.phases and task.id not in self.containers:
                self.of_phase.setdefault(task.phase, []).append(task.id)

    def _above(self, task: TaskRead) -> list[str]:
        found: list[str] = []
        parent = task.parent
        while parent is not None and parent in self.tasks and parent not in found and parent != task.id:
            found.append(parent)
            if len(found) > 50:
                break
            parent = self.tasks[parent].parent
        return found


def leaf_edges(reading: Reading) -> Edges:
    """For each task that runs, the tasks it waits for: in file order, each once. Unknown ids are left out."""
    known = Containers(reading)
    edges: dict[str, dict[str, None]] = {
        name: {} for name in known.tasks if name not in known.containers or name not in known.leaves
    }
    for name, before in edges.items():
        task = known.tasks[name]
        for wanted in task.dependencies:
            if wanted in edges:
                before[wanted] = None
    inner = {name: frozenset(before) for name, before in edges.items()}
    for name, task in known.tasks.items():
        if not task.dependencies or (name in edges and all(wanted in edges for wanted in task.dependencies)):
            continue
        own = [name] if name in edges else known.leaves[name]
        for wanted in task.dependencies:
            if wanted in known.tasks and not (name in edges and wanted in edges):
                targets = [wanted] if wanted in edges else known.leaves[wanted]
                _join(edges, inner, own, targets)
            elif wanted in known.phases and wanted not in known.tasks:
                for target in _solid([wanted], known):
                    _join(edges, inner, own, known.of_phase[target])
    for phase in known.phases.values():
        for target in _solid(phase.dependencies, known):
            _join(edges, inner, known.of_phase.get(phase.id, []), known.of_phase[target])
    return {name: list(before) for name, before in edges.items()}


def _solid(wanted: list[str], known: Containers) -> list[str]:
    """The phases meant, with empty ones replaced by what they wait for."""
    found: dict[str, None] = {}
    queue, seen = deque(wanted), set(wanted)
    while queue:
        name = queue.popleft()
        if name in known.of_phase:
            found[name] = None
        elif name in known.phases:
            more = [other for other in known.phases[name].dependencies if other not in seen]
            seen.update(more)
            queue.extend(more)
    return list(found)


def _join(
    edges: dict[str, dict[str, None]], inner: Mapping[str, frozenset[str]], later: list[str], earlier: list[str]
) -> None:
    """The first of the later tasks wait for the last of the earlier ones; nothing waits for itself."""
    inside, before = set(later), set(earlier)
    first = [name for name in later if not (inner[name] & inside)] or later
    followed = {wanted for name in earlier for wanted in inner[name] if wanted in before}
    last = [name for name in earlier if name not in followed] or earlier
    for name in first:
        for target in last:
            if target != name and target not in inside:
                edges[name][target] = None


def waves(edges: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Levels: every task in the first wave after all it waits for. Tasks on or behind a cycle are left out."""
    waiting: dict[str, int] = {}
    after: dict[str, list[str]] = {}
    for name, before in edges.items():
        wanted = [other for other in before if other in edges]
        waiting[name] = len(wanted)
        for other in wanted:
            after.setdefault(other, []).append(name)
    level = [name for name, count in waiting.items() if not count]
    found = []
    while level:
        found.append(level)
        following = []
        for name in level:
            for other in after.get(name, ()):
                waiting[other] -= 1
                if not waiting[other]:
                    following.append(other)
        level = following
    return found


def critical_path(edges: Mapping[str, Iterable[str]], minutes: Mapping[str, float]) -> tuple[list[str], float]:
    """The chain of tasks that takes longest, and how long it takes."""
    ends: dict[str, float] = {}
    through: dict[str, str | None] = {}
    for wave in waves(edges):
        for name in wave:
            latest: str | None = None
            for other in edges[name]:
                if other in ends and (latest is None or ends[other] > ends[latest]):
                    latest = other
            through[name] = latest
            ends[name] = (ends[latest] if latest is not None else 0.0) + minutes.get(name, DEFAULT_MINUTES)
    if not ends:
        return [], 0.0
    last = max(ends, key=ends.__getitem__)
    step: str | None = last
    path = []
    while step is not None:
        path.append(step)
        step = through[step]
    return path[::-1], ends[last]


def cycles(edges: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """One short cycle of every knot of tasks that wait for each other, as ``[a, b, c, a]``: a waits for b."""
    found: list[list[str]] = []
    for knot in _knots(edges):
        inside = set(knot)
        starts = [name for name in edges if name in inside][:STARTS] if len(found) < 100 else knot[:1]
        found.append(min((_around(edges, start, inside) for start in starts), key=len))
    return found


def _around(edges: Mapping[str, Iterable[str]], start: str, inside: set[str]) -> list[str]:
    came: dict[str, str] = {}
    queue = deque([start])
    while queue:
        name = queue.popleft()
        for other in edges[name]:
            if other == start:
                path = [start, name] if name != start else [start]
                while path[-1] != start:
                    path.append(came[path[-1]])
                return [start, *path[1:-1][::-1], start]
            if other in inside and other not in came:
                came[other] = name
                queue.append(other)
    return [start, start]


def _knots(edges: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Strongly connected components with a cycle in them (Tarjan, with a stack of its own)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    on_stack: set[str] = set()
    stack: list[str] = []
    found: list[list[str]] = []
    for root in edges:
        if root in index:
            continue
        work = [(root, iter(edges[root]))]
        index[root] = low[root] = len(index)
        stack.append(root)
        on_stack.add(root)
        while work:
            name, rest = work[-1]
            for other in rest:
                if other not in edges:
                    continue
                if other not in index:
                    index[other] = low[other] = len(index)
                    stack.append(other)
                    on_stack.add(other)
                    work.append((other, iter(edges[other])))
                    break
                if other in on_stack:
                    low[name] = min(low[name], index[other])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[name])
                if low[name] == index[name]:
                    knot = []
                    while True:
                        member = stack.pop()
                        on_stack.discard(member)
                        knot.append(member)
                        if member == name:
                            break
                    if len(knot) > 1 or name in edges[name]:
                        found.append(knot[::-1])
    return found
