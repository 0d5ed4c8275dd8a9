"""Checks that hold for every format."""

from __future__ import annotations

from schemas.accept import accept
from schemas.reading import PhaseRead, Reading, TaskRead
from schemas.validate import validate
from schemas.values import Criterion, Plan


def reading(*tasks: TaskRead, format: str = "other", phases: list[PhaseRead] | None = None) -> Reading:
    return validate(Reading(format=format, confidence=1.0, tasks=list(tasks), phases=phases or []))


def task(name: str, *needs: str, line: int | None = None, **more: object) -> TaskRead:
    return TaskRead(id=name, dependencies=list(needs), run="true", line=line, **more)  # type: ignore[arg-type]


def codes(found: Reading) -> list[str]:
    return [d.code for d in found.diagnostics]


def test_unknown_dependencies_suggest_the_nearest_id() -> None:
    found = reading(task("build"), task("test", "bulid", line=7))
    assert [(d.code, d.line, d.hint) for d in found.diagnostics] == [("unknown-dependency", 7, "did you mean 'build'?")]


def test_a_cycle_is_told_with_its_path() -> None:
    found = reading(task("a", "c", line=1), task("b", "a", line=2), task("c", "b", line=3), task("d", "a"))
    assert codes(found) == ["cycle"]
    assert "a → c → b → a" in found.diagnostics[0].message
    assert "lines 1, 2, 3" in found.diagnostics[0].message


def test_every_knot_is_reported_once() -> None:
    found = reading(task("a", "b"), task("b", "a"), task("c", "d"), task("d", "c"))
    assert codes(found) == ["cycle", "cycle"]


def test_a_container_that_waits_for_its_child() -> None:
    found = reading(task("epic", "one", container=True), task("one", parent="epic"), task("two", parent="epic"))
    assert "cycle" in codes(found)


def test_cycles_through_phases() -> None:
    phases = [PhaseRead(id="1", dependencies=["2"]), PhaseRead(id="2", dependencies=["1"])]
    assert "cycle" in codes(reading(task("a", phase="1"), task("b", phase="2"), phases=phases))
    phases = [PhaseRead(id="1", dependencies=["1", "9"])]
    assert codes(reading(task("a", phase="1"), phases=phases)) == ["self-dependency", "unknown-dependency"]


def test_duplicates_keep_both_except_in_native_plans() -> None:
    found = reading(task("a", line=1), task("a", line=2), task("a", line=3))
    assert [t.id for t in found.tasks] == ["a", "a~2", "a~3"]
    assert [d.severity for d in found.diagnostics] == ["warning", "warning"]
    assert [d.severity for d in reading(task("a"), task("a"), format="native").diagnostics] == ["error"]


def test_ids_that_are_equal_after_composition_collide() -> None:
    assert codes(reading(task("caf\u00e9"), task("cafe\u0301"))) == ["id-collision"]


def test_nothing_to_do() -> None:
    assert codes(reading()) == ["empty-plan"]


def test_it_can_be_called_twice() -> None:
    found = reading(task("a", "b"))
    assert codes(validate(found)) == ["unknown-dependency"]


def test_checks_of_containers_and_phases_go_to_the_last_leaf() -> None:
    check = Criterion(id="", kind="manual", text="all fine")
    found = reading(
        task("epic", container=True, criteria=[check]),
        task("one", parent="epic", phase="p"),
        task("two", "one", parent="epic", phase="p"),
        phases=[PhaseRead(id="p", criteria=[check])],
    )
    plan = accept(found, plan_id="x")
    assert isinstance(plan, Plan)
    assert {t.id: [c.id for c in t.verify] for t in plan.tasks} == {"one": [], "two": ["c1", "c2"]}
    assert all(not t.criteria for t in found.tasks if t.id == "two")


def test_several_last_leaves_are_joined_before_they_are_checked() -> None:
    check = Criterion(id="", kind="manual", text="all fine")
    found = reading(
        task("one", phase="p"), task("two", phase="p"), task("after", phase="q"),
        phases=[PhaseRead(id="p", criteria=[check]), PhaseRead(id="q", dependencies=["p"])],
    )  # fmt: skip
    plan = accept(found, plan_id="x")
    assert isinstance(plan, Plan)
    by_id = {t.id: t for t in plan.tasks}
    assert by_id["p/checks"].needs == ("one", "two")
    assert by_id["p/checks"].noop
    assert by_id["after"].needs == ("p/checks",)
