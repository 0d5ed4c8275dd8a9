"""The native format: what is accepted, and every mistake told at once with its line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from schemas.accept import accept, plan_to_native
from schemas.formats import read_path, read_text
from schemas.plan import plan_schema
from schemas.reading import Reading
from schemas.validate import validate
from schemas.values import Backoff, Criterion, Plan, Repo

CARD = """\
plan: Release the library
repo: .
agent: ./my-agent.sh
env: {NAME: value, ON: true}
shared: {NAME: text}
policy: {max_attempts: 3, backoff: {first: 2s, factor: 2, max: 5m}, timeout: 30m, max_parallel: 4, unverified: ask,
         on_exhausted: fail, sandbox: process, grace: 5s, network: [1]}
tasks:
  - id: build
    title: Build the wheel
    run: python -m build
    verify:
      - {command: "ls dist/*.whl"}
      - {file: dist, contains: "name-"}
      - {regex: "Successfully built", in: output}
      - {http: "http://127.0.0.1:1/x", status: 200, contains: ok}
      - {manual: "looks right"}
  - id: notes
    needs: [build]
    agent: ./my-agent.sh
    prompt: Write RELEASE_NOTES.md from the git log.
    verify: [{file: RELEASE_NOTES.md, min_lines: 5}]
    estimate: 10m
    context_tier: 64
  - {id: nothing, noop: true}
"""


def read(text: str, name: str = "plan.yaml", format: str | None = None) -> Reading:
    return validate(read_text(name, text, format))


def accepted(reading: Reading) -> Plan:
    plan = accept(reading, plan_id="p")
    assert isinstance(plan, Plan), plan
    return plan


def told(reading: Reading) -> list[tuple[str, int | None]]:
    return sorted(((d.code, d.line) for d in reading.diagnostics), key=lambda pair: (pair[1] or 0, pair[0]))


def test_the_card_reads_as_it_is_meant() -> None:
    reading = read(CARD)
    assert (reading.format, told(reading)) == ("native", [])
    plan = accepted(reading)
    build, notes, nothing = plan.tasks
    assert [check.kind for check in build.verify] == ["command", "file", "regex", "http", "manual"]
    assert [check.id for check in build.verify] == ["c1", "c2", "c3", "c4", "c5"]
    assert notes.needs == ("build",)
    assert (notes.estimate, notes.context_tier, notes.tier_inferred) == (600.0, 64, False)
    assert nothing.noop
    assert plan.policy.backoff == Backoff(first=2.0, factor=2.0, max=300.0)
    assert (plan.policy.timeout, plan.policy.grace) == (1800.0, 5.0)
    assert plan.repo == Repo(path=".")
    assert plan.env == {"NAME": "value", "ON": "true"}


def test_seven_mistakes_are_seven_diagnostics() -> None:
    reading = read(
        """\
plan: Seven mistakes
polcy: {max_attempts: 3}
tasks:
  - id: a
    run: make
    timeout: 5x
  - id: b
    needs: [aa]
    run: make
  - title: no id
    run: make
  - id: a
    run: make
  - id: c
    title: nothing to do
  - id: d
    run: make
    verify:
      - {command: make}
      - {regex: "("}
"""
    )
    assert told(reading) == [
        ("unknown-key", 2),
        ("bad-duration", 6),
        ("unknown-dependency", 7),
        ("missing-id", 10),
        ("duplicate-id", 12),
        ("bad-task", 14),
        ("bad-regex", 20),
    ]
    assert all(d.severity == "error" and d.file == "plan.yaml" for d in reading.diagnostics)
    assert {d.hint for d in reading.diagnostics} >= {"did you mean 'policy'?", "did you mean 'a'?"}
    assert "Input should be" not in "".join(map(str, reading.diagnostics))
    assert isinstance(accept(reading, plan_id="p"), list)


@pytest.mark.parametrize(
    ("task", "code", "words"),
    [
        ("{id: x, run: a, agent: b}", "bad-task", "either run or agent"),
        ("{id: x, run: a, prompt: b}", "bad-task", "either run or a prompt"),
        ("{id: x, noop: true, run: a}", "bad-task", "noop"),
        ("{id: x, run: a, agent: b, timeout: never}", "bad-task", "either run or agent"),
        ("{id: x, run: [a]}", "bad-type", "must be text, not a list"),
        ("{id: x, run: a, needs: {b: c}}", "bad-type", "must be text, not a mapping"),
        ("{id: x, run: a, max_attempts: 11}", "bad-value", "at most 10, not 11"),
        ("{id: x, run: a, max_attempts: many}", "bad-type", "must be a whole number, not 'many'"),
        ("{id: x, run: a, noop: 7}", "bad-type", "must be true or false, not 7"),
        ("{id: x, run: a, status: strange}", "bad-value", "must be one of 'pending'"),
        ("{id: x, run: a, context_tier: 500}", "bad-value", "above 200"),
        ("{id: x, run: a, verify: [{}]}", "bad-check", "one of command, file, regex, http, tests, quality or manual"),
        ("{id: x, run: a, verify: [{fil: y}]}", "unknown-key", "'fil' in verify 1"),
        ("{id: x, run: a, verify: [{file: y, http: 'http://z'}]}", "bad-check", "names file and http"),
        ("{id: x, run: a, verify: [{file: y, status: 200}]}", "bad-check", "belongs to a check of kind http"),
        ("{id: x, run: a, verify: [{http: 'ftp://z'}]}", "bad-value", "http:// or https://"),
        ("{id: x, run: a, verify: [3]}", "bad-type", "must be a mapping"),
        ("{id: x, run: a, needs: x}", "self-dependency", "waits for itself"),
        ("{id: x, run: a, needs: [y], dependencies: [y]}", "repeated-key", "mean the same"),
        ("{id: '', run: a}", "bad-value", "must not be empty"),
        ("5", "bad-type", "task number 1 must be a mapping"),
        ('{id: "a\\tb", run: a}', "bad-id", "control characters"),
        ("{id: " + "é" * 61 + ", run: a}", "bad-id", "bytes on the wire"),
    ],
)
def test_mistakes_in_a_task(task: str, code: str, words: str) -> None:
    reading = read(f"tasks:\n  - {task}\n", format="native")
    matching = [d for d in reading.errors if d.code == code and words in d.message]
    assert matching, [str(d) for d in reading.diagnostics]
    assert matching[0].line == 2


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ("tasks: []\n", "empty-plan", 1),
        ("plan: x\n", "missing-key", 1),
        ("plan: x\ntasks: 5\n", "bad-type", 2),
        ("tasks:\n  - {id: a, run: b\nx: 1\n", "bad-yaml", 3),
        ("tasks:\n  - id: a\n    run: b\n    run: c\n", "duplicate-key", 4),
        ("tasks: !!python/object:os.system [a]\n", "bad-tag", 1),
        ("policy:\n  backoff:\n    frist: 3s\ntasks: [{id: a, run: b}]\n", "unknown-key", 3),
        ("metadata: {priority: 11}\ntasks: [{id: a, run: b}]\n", "bad-value", 1),
        ("phases: [{id: p}]\ntasks:\n  - {id: a, run: b, phase: q}\n", "unknown-phase", 3),
    ],
)
def test_mistakes_in_a_plan(text: str, code: str, line: int) -> None:
    reading = read(text, format="native")
    assert (code, line) in [(d.code, d.line) for d in reading.errors], [str(d) for d in reading.diagnostics]


def test_json_mistakes_have_line_and_column() -> None:
    reading = read('{"tasks": [\n  {"id": "a" "run": "b"}\n]}', "plan.json")
    assert [(d.code, d.line) for d in reading.errors] == [("bad-json", 2)]
    assert "column 14" in reading.errors[0].message


def test_json_with_comments_and_trailing_commas_is_read_and_reported() -> None:
    reading = read('{"tasks": [ // the work\n  {"id": "a", "run": "b",},\n]}', "plan.json")
    assert [task.id for task in reading.tasks] == ["a"]
    assert {d.code for d in reading.diagnostics} == {"json-comment", "json-comma"}
    assert not reading.errors


def test_ids_are_text_as_written() -> None:
    reading = read(
        "tasks:\n" + "".join(f"  - {{id: {i}, noop: true}}\n" for i in ("01", "1", "2.1", "2.10", "yes", "0"))
    )
    assert [task.id for task in reading.tasks] == ["01", "1", "2.1", "2.10", "yes", "0"]
    assert not reading.errors


def test_the_envelope_of_the_founding_documents() -> None:
    envelope = {
        "id": "0198c5f0-0000-7000-8000-000000000000",
        "conversationId": "c-1",
        "source": "TASK_LIST",
        "tasks": [
            {
                "id": "task-001", "title": "One", "description": "Do one", "dependencies": [], "contextTier": "32",
                "verification": [
                    {"id": "v1", "criterion": "`pytest -q` passes", "test": "auto"},
                    {"id": "v2", "criterion": "it is pretty", "test": "manual"},
                ],
                "status": "pending",
            },
            {
                "id": "task-002", "title": "Two", "description": "Do two", "dependencies": ["task-001"],
                "verification": [
                    {
                        "key": "perf", "type": "performance", "target": "p95<200ms",
                        "checkType": "command", "args": ["make", "perf"],
                    }
                ],
            },
        ],
        "metadata": {"created": "2026-01-01", "estimatedDuration": 90, "contextBudget": 64000, "priority": "high"},
    }  # fmt: skip
    reading = read(json.dumps(envelope), "plan.json")
    assert told(reading) == []
    plan = accept(reading, plan_id="p", agent="./a")
    assert isinstance(plan, Plan)
    assert (plan.conversation_id, plan.priority, plan.estimate, plan.context_budget) == ("c-1", 8, 5400.0, 64000)
    one, two = plan.tasks
    assert (one.context_tier, two.needs, one.agent) == (32, ("task-001",), "./a")
    assert one.verify[0] == Criterion(id="v1", kind="command", text="`pytest -q` passes", command="pytest -q")
    assert one.verify[1].kind == "manual"
    assert (two.verify[0].command, two.verify[0].target, two.verify[0].category) == (
        "make perf",
        "p95<200ms",
        "performance",
    )
    assert "Do one" in one.prompt


def test_a_bare_list_is_a_plan() -> None:
    reading = read("- {id: a, run: make}\n- {id: b, run: make, needs: a}\n")
    assert (reading.format, [task.dependencies for task in reading.tasks]) == ("native", [[], ["a"]])
    assert read("- {id: a, run: make}\n- {id: b, run: make, needs: c}\n").errors[0].line == 2


def test_tasks_without_an_agent_name_the_remedy() -> None:
    reading = read("tasks:\n  - {id: a, prompt: x}\n  - {id: b, run: y}\n  - {id: c, prompt: x, autonomy: human}\n")
    assert not reading.errors
    problems = accept(reading, plan_id="p")
    assert isinstance(problems, list)
    assert [(d.code, d.line) for d in problems] == [("no-agent", 2)]
    assert "--agent" in problems[0].hint
    assert isinstance(accept(reading, plan_id="p", agent="./a"), Plan)


def test_done_tasks_stay_done_unless_all_are_asked_for() -> None:
    reading = read("tasks:\n  - {id: a, run: x, status: done}\n  - {id: b, run: y, needs: a}\n")
    assert [task.status for task in accepted(reading).tasks] == ["completed", "pending"]
    again = accept(reading, plan_id="p", all_tasks=True)
    assert isinstance(again, Plan)
    assert [task.status for task in again.tasks] == ["pending", "pending"]


def test_masked_commands_get_an_expectation() -> None:
    reading = read('tasks:\n  - id: a\n    run: x\n    verify:\n      - command: make && echo "PASS" || echo "FAIL"\n')
    assert reading.tasks[0].criteria[0].expect == "PASS"
    assert told(reading) == [("masked-exit", 5)]


def test_round_trip() -> None:
    text = CARD + "\nphases: [{id: one, title: First}]\nverify: [make check]\n"
    plan = accepted(read(text.replace("noop: true", "noop: true, phase: one, autonomy: human, outputs: [x/*]")))
    written = yaml.safe_dump(plan_to_native(plan), sort_keys=False, allow_unicode=True)
    again = accepted(read(written))
    assert (again.tasks, again.policy, again.repo, again.env, again.shared, again.phases, again.title) == (
        plan.tasks, plan.policy, plan.repo, plan.env, plan.shared, plan.phases, plan.title,
    )  # fmt: skip


def test_the_exported_schema_is_the_models() -> None:
    exported = json.loads(Path("schemas/plan.schema.json").read_text("utf-8"))
    assert exported == plan_schema()
    described = [exported, *exported["$defs"].values()]
    assert all(field.get("description") for model in described for field in model["properties"].values())


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    assert read_path(tmp_path / "none.yaml").errors[0].code == "no-file"
    assert read_path(tmp_path).errors[0].code == "no-plan"
    (tmp_path / "big.yaml").write_bytes(b"tasks:\n" + b"#" * (17 * 2**20))
    assert read_path(tmp_path / "big.yaml").errors[0].code == "too-large"
    assert read_text("x.yaml", "tasks: []", format="natve").errors[0].hint == "did you mean 'native'?"
    assert read_text("x.txt", "good morning").errors[0].code == "unknown-format"
    (tmp_path / "plan.yaml").write_text(CARD)
    assert read_path(tmp_path).title == "Release the library"


def test_ten_thousand_tasks() -> None:
    tasks = [{"id": f"t{n}", "run": "true", **({"needs": [f"t{n - 1}"]} if n else {})} for n in range(10_000)]
    reading = read(json.dumps({"tasks": tasks}), "plan.json")
    assert not reading.diagnostics
    plan = accepted(reading)
    assert plan.tasks[-1].needs == ("t9998",)
