"""Edges over containers, waves, critical path."""

from __future__ import annotations

from schemas.graph import analyse, critical_path, cycles, leaf_edges, waves
from schemas.reading import PhaseRead, Reading, TaskRead


def plan(tasks: list[TaskRead], phases: list[PhaseRead] | None = None) -> Reading:
    return Reading(format="x", confidence=1.0, tasks=tasks, phases=phases or [])


def test_edges_to_and_from_containers_mean_their_leaves() -> None:
    found = leaf_edges(
        plan(
            [
                TaskRead(id="a", container=True),
                TaskRead(id="a1", parent="a"),
                TaskRead(id="a2", parent="a", dependencies=["a1"]),
                TaskRead(id="b", container=True, dependencies=["a"]),
                TaskRead(id="b1", parent="b"),
                TaskRead(id="b2", parent="b", dependencies=["b1"]),
                TaskRead(id="c", dependencies=["b", "unknown"]),
            ]
        )
    )
    assert found == {"a1": [], "a2": ["a1"], "b1": ["a2"], "b2": ["b1"], "c": ["b2"]}


def test_phases_hand_on_what_empty_ones_wait_for() -> None:
    phases = [PhaseRead(id="1"), PhaseRead(id="2", dependencies=["1"]), PhaseRead(id="3", dependencies=["2"])]
    found = leaf_edges(plan([TaskRead(id="x", phase="1"), TaskRead(id="y", phase="3")], phases))
    assert found == {"x": [], "y": ["x"]}


def test_an_empty_container_is_a_place_to_pass() -> None:
    found = leaf_edges(plan([TaskRead(id="a"), TaskRead(id="e", container=True, dependencies=["a"])]))
    assert found == {"a": [], "e": ["a"]}


def test_waves_and_critical_path() -> None:
    edges = {"a": [], "b": [], "c": ["a", "b"], "d": ["c"], "e": ["b"]}
    assert waves(edges) == [["a", "b"], ["e", "c"], ["d"]] or waves(edges) == [["a", "b"], ["c", "e"], ["d"]]
    assert critical_path(edges, {"b": 30.0, "e": 1.0}) == (["b", "c", "d"], 40.0)
    found = analyse(
        plan([TaskRead(id="a", estimate_minutes=7, context_tier=128), TaskRead(id="b", dependencies=["a"])])
    )
    assert (found.critical_path, found.minutes, found.context_budget) == (["a", "b"], 12.0, 192_000)


def test_cycles_are_short() -> None:
    edges = {str(n): [str((n + 1) % 50)] for n in range(50)} | {"7": ["8", "6"]}
    assert [len(path) for path in cycles(edges)] == [3]
    assert cycles({"a": ["a"]}) == [["a", "a"]]
    assert cycles({"a": ["b"], "b": []}) == []


class Counting(dict[str, list[str]]):
    """Counts how often a node's edges are looked up."""

    looked = 0

    def __getitem__(self, name: str) -> list[str]:
        Counting.looked += 1
        return super().__getitem__(name)


def test_long_chains_take_linear_work_and_no_recursion() -> None:
    counts = []
    for size in (1_000, 10_000):
        edges = Counting({str(n): [str(n - 1)] if n else [] for n in range(size)})
        Counting.looked = 0
        assert cycles(edges) == []
        assert len(waves(edges)) == size
        assert len(critical_path(edges, {})[0]) == size
        counts.append(Counting.looked)
    assert counts[1] <= 11 * counts[0]
    ring = {str(n): [str((n + 1) % 10_000)] for n in range(10_000)}
    assert len(cycles(ring)[0]) == 10_001


def test_a_long_reading_takes_linear_time_in_containers() -> None:
    tasks = [TaskRead(id="e", container=True)]
    tasks += [TaskRead(id=str(n), parent="e", dependencies=[str(n - 1)] if n else []) for n in range(10_000)]
    tasks.append(TaskRead(id="last", dependencies=["e"]))
    assert leaf_edges(plan(tasks))["last"] == ["9999"]
