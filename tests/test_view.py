"""What a person sees of an execution."""

from io import StringIO
from pathlib import Path
from typing import Any

from rich.console import Console

from nightshift.view import MARKS, PlainView, choose, duration, summary, tree


def status(*tasks: tuple[str, str], state: str = "running") -> dict[str, Any]:
    return {
        "plan": "Demo", "state": state, "reason": "", "eta": 75.0,
        "progress": {"done": 1, "total": len(tasks), "percent": 100 / max(1, len(tasks))},
        "tasks": [
            {"id": i, "title": f"Title of {i}", "state": s, "attempt": 1, "started_at": None, "ended_at": None,
             "error": "exit code 3" if s == "failed" else None}
            for i, s in tasks
        ],
    }  # fmt: skip


def shown(what: dict[str, Any], width: int = 80, **options: Any) -> list[str]:
    out = StringIO()
    Console(file=out, width=width).print(tree(what, **options))
    return out.getvalue().splitlines()


def test_every_task_has_a_line_of_its_own_with_its_state_in_words() -> None:
    lines = shown(status(*((f"t{n}", state) for n, state in enumerate(MARKS))))
    assert "Demo  running  1/12" in lines[0]
    assert "1m15s to go" in lines[0]
    for number, state in enumerate(MARKS):
        line = next(line for line in lines if f" t{number} " in line)
        assert state in line
        assert f"Title of t{number}" in line
        assert "━" not in line
    assert any("exit code 3" in line for line in lines)
    assert max(map(len, lines)) <= 80


def test_a_large_plan_shows_what_moves_and_what_went_wrong() -> None:
    tasks = [(f"t{n}", "pending") for n in range(500)] + [("bad", "failed"), ("now", "running")]
    kept = [t["id"] for t in choose(status(*tasks)["tasks"], 10)]
    assert kept[-2:] == ["bad", "now"]
    assert len(kept) == 10
    assert any("492 more tasks" in line for line in shown(status(*tasks), rows=10))


def test_plain_lines_say_each_change_once(capsys: Any) -> None:
    view = PlainView()
    for state in ("ready", "running", "running", "verified"):
        view.show(status(("a", state)))
    printed = capsys.readouterr().out
    assert [printed.count(f"a: {s}") for s in ("ready", "running", "verified")] == [1, 1, 1]


def test_durations_as_a_person_says_them() -> None:
    assert [duration(s) for s in (None, 0.25, 59.6, 61, 3700)] == ["", "0.2s", "59s", "1m01s", "1h01m"]


def test_the_summary_shows_what_stands_in_brackets() -> None:
    out = StringIO()
    status: dict[str, Any] = {
        "state": "failed", "plan": "P", "reason": "task a: [secret A]", "execution": "x",
        "progress": {"done": 0, "total": 1}, "tasks": [{"id": "a", "state": "failed", "error": "said [secret A]"}],
    }  # fmt: skip
    summary(status, Console(file=out, width=100), Path())
    assert "(task a: [secret A])" in out.getvalue()
    assert "failed: said [secret A]" in out.getvalue()


def unwell() -> dict[str, Any]:
    warning = {
        "task": "a", "kind": "silence", "stage": "warn", "at": "2026-09-21T14:13:21.000000Z",
        "message": "it has printed nothing for 10 min",
    }  # fmt: skip
    return status(("a", "running"), ("b", "running")) | {"warnings": [warning]}


def test_a_warning_stands_beside_its_task() -> None:
    line, other = (next(line for line in shown(unwell(), width=120) if f" {name} " in line) for name in "ab")
    assert "it has printed nothing for 10 min" in line
    assert "warning" not in other


def test_plain_lines_say_each_warning_once(capsys: Any) -> None:
    view = PlainView()
    for _ in range(3):
        view.show(unwell())
    assert capsys.readouterr().out.count("a: warning (silence): it has printed nothing for 10 min") == 1
