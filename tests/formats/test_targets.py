"""Targets and measured values: tables."""

from __future__ import annotations

import pytest

from schemas.targets import BadTarget, Measured, read_measured, read_target
from services.verifier.runners.measure import find_measured, hold


@pytest.mark.parametrize(
    ("target", "measured", "holds"),
    [
        ("p95<200ms", "180ms", True),
        ("p95<200ms", "200ms", False),
        ("p95<=200ms", "0.2s", True),
        ("p95 < 200 ms", "0.21 s", False),
        ("p95<200ms", "150", True),
        ("p95<200ms", "150000us", True),
        ("latency.p95 ≤ 1min", "61s", False),
        ("coverage>=80%", "80%", True),
        ("coverage>=80%", "79.99", False),
        ("score>0.9", "0.91", True),
        ("score>0.9", "0.9", False),
        ("score > .9", None, False),
        ("errors=0", "0", True),
        ("errors == 0", "1", False),
        ("size<=1.5MiB", "1572864B", True),
        ("size<=1.5MB", "1.5MiB", False),
        ("loss<1e-3", "9.9e-4", True),
        ("rows>=1,000", "1,000", True),
        ("ratio>=0,5", "0.5", True),
        ("≥ 80%", "81%", True),
        ("requests>100", "99", False),
    ],
)
def test_a_measured_value_is_held_against_a_target(target: str, measured: str | None, holds: bool) -> None:
    if measured is None:
        with pytest.raises(BadTarget, match="is no target"):
            read_target(target)
        return
    value = read_measured(measured)
    assert value is not None
    assert read_target(target).holds(value) is holds


@pytest.mark.parametrize("text", ["", "p95", "<", "p95<", "p95<fast", "p95 200ms", "1<2<3", "p95<200ms!", "x" * 300])
def test_what_is_no_target(text: str) -> None:
    with pytest.raises(BadTarget, match="is no target; write it like"):
        read_target(text)


def test_units_of_different_kinds_cannot_be_compared() -> None:
    with pytest.raises(BadTarget, match=r"3MB cannot be compared with 200ms"):
        read_target("p95<200ms").holds(Measured(number=3, unit="MB"))


@pytest.mark.parametrize(
    ("target", "measured", "before", "holds"),
    [
        ("p95<=baseline", "100ms", "100ms", True),
        ("p95<=baseline", "101ms", "100ms", False),
        ("p95<=baseline+10%", "110ms", "100ms", True),
        ("p95<=baseline + 10 %", "0.111s", "100ms", False),
        ("score>=baseline-5%", "0.95", "1", True),
        ("gain>=baseline-50%", "-15", "-10", True),
    ],
)
def test_a_target_may_be_what_was_measured_before(target: str, measured: str, before: str, holds: bool) -> None:
    new, old = read_measured(measured), read_measured(before)
    assert new is not None
    assert read_target(target).holds(new, old) is holds
    with pytest.raises(BadTarget, match="no value from before"):
        read_target(target).holds(new)


@pytest.mark.parametrize(
    ("name", "output", "found"),
    [
        ("p95", "warming up\np95=180ms\n", "180ms"),
        ("p95", "p95=1ms\np50: 90 ms, p95: 180 ms, p99: 300 ms\ndone\n", "180ms"),
        ("p95", '{"p95": 180, "p99": 300}', "180"),
        ("latency.p95", 'log\n{"latency": {"p95": "180ms"}}\n', "180ms"),
        ("latency.p95", '{\n "latency.p95": 181\n}', "181"),
        ("coverage", "TOTAL coverage = 81.5%\n", "81.5%"),
        ("score", "highscore=3\nscore=2", "2"),
        ("score", "highscore=3", None),
        ("score", '{"score": true}', None),
        ("score", "score=unknown", None),
        ("score", "", None),
        ("", "all well\n42.5\n", "42.5"),
        ("", "3 tests in 0.2s", None),
        ("p95", "p95=1ms\n" + "line\n" * 60, None),
    ],
)
def test_where_a_value_is_found(name: str, output: str, found: str | None) -> None:
    measured = find_measured(name, output)
    assert (None if measured is None else str(measured)) == found


def test_what_was_not_measured_does_not_hold() -> None:
    target = read_target("p95<200ms")
    passed, detail = hold(target, "p95<200ms", None)
    assert not passed
    assert detail.startswith("p95 was not measured: print p95=VALUE last")
    assert hold(target, "p95<200ms", Measured(number=3, unit="MB")) == (
        False, "3MB cannot be compared with 200ms: the units are of different kinds",
    )  # fmt: skip
    assert hold(read_target("≥ 80%"), "≥ 80%", None)[0], "a sentence with a number alone names nothing to look for"
