"""Taskmaster, Ralph and feature lists, YAML task files (FORMATS 8)."""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import Any

import counting
import mutating
import pytest
from counting import EXPECTED

from schemas.accept import accept
from schemas.formats import detect, read_text, taskmaster, yaml_tasks
from schemas.formats.criteria import check, prose
from schemas.formats.document import Document
from schemas.reading import Reading
from schemas.validate import validate
from schemas.values import Plan

TASKMASTER = counting.cases("json-taskmaster")
RALPH = counting.cases("json-ralph")
YAML = counting.cases("yaml-tasks")
NAMES = {"done": "completed", "pending": "pending", "in-progress": "in_progress"}


def codes(found: Reading) -> list[str]:
    return [problem.code for problem in found.diagnostics]


def where(found: Reading, code: str) -> list[int | None]:
    return [problem.line for problem in found.diagnostics if problem.code == code]


def edges(found: Reading) -> dict[str, list[str]]:
    return {task.id: task.dependencies for task in found.tasks}


def read_json(data: object, name: str = "tasks.json") -> Reading:
    return validate(read_text(name, json.dumps(data, indent=2)))


# --- the corpus ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TASKMASTER)
def test_taskmaster_counts(name: str) -> None:
    expected = EXPECTED[name]["master"]
    found = counting.reading(name)
    assert found.format == "taskmaster"
    assert found.diagnostics == []
    top = [task for task in found.tasks if task.parent is None]
    sub = [task for task in found.tasks if task.parent is not None]
    assert (len(top), len(sub)) == (expected["tasks"], expected["subtasks"])
    assert sum(len(task.dependencies) for task in top) == expected["task_edges"]
    assert sum(len(task.dependencies) for task in sub) == expected["sub_edges"]
    assert Counter(task.status for task in top) == {NAMES[key]: count for key, count in expected["status"].items()}
    assert Counter(task.status for task in sub) == {NAMES[key]: count for key, count in expected["sub_status"].items()}
    assert sum(bool(task.criteria) for task in top) == expected["with_testStrategy"]
    assert {task.id for task in top if task.container} == {task.parent for task in sub}
    lines = counting.document(name).lines
    assert all("{" in lines[(task.line or 0) - 1] for task in found.tasks)


@pytest.mark.parametrize("name", RALPH)
def test_ralph_counts(name: str) -> None:
    expected = EXPECTED[name]
    found = counting.reading(name)
    assert found.format == "ralph"
    assert len(found.tasks) == expected["stories"]
    assert sum(task.status == "completed" for task in found.tasks) == expected["done"]
    assert sum(len(task.criteria) for task in found.tasks) == expected["criteria"]
    assert [found.tasks[0].id, *(task.id for task in found.tasks if task.id == expected["ids"][1])] == expected["ids"]
    assert sum(len(task.dependencies) for task in found.tasks) == expected["stories"] - 1
    assert found.errors == []


def test_ralph_criteria_are_automatic_where_they_name_a_check() -> None:
    found = counting.reading("json-ralph/ralph-example-prd.json")
    kinds = [[one.kind for one in task.criteria] for task in found.tasks]
    assert kinds[0] == ["manual", "manual", "command"]
    assert all(one[-2:] == ["command", "manual"] for one in kinds[1:])  # "Typecheck passes", "Verify in browser …"
    assert [task.title for task in counting.reading("json-ralph/vue-lynx-prd.json").tasks][2].startswith("Translate")


@pytest.mark.parametrize("name", YAML)
def test_yaml_counts(name: str) -> None:
    expected = EXPECTED[name]
    found = counting.reading(name)
    assert found.format == "yaml-tasks"
    assert found.title == "COGANT — codebase-to-GNN translation"
    assert len(found.tasks) == expected["tasks"]
    assert sum(len(task.dependencies) for task in found.tasks) == expected["edges"]
    words = {"done": "completed", "todo": "pending", "in_progress": "in_progress"}
    assert counting.statuses(found) == {words[key]: count for key, count in expected["status"].items()}
    assert len(where(found, "unknown-dependency")) == expected["dangling"]
    lines = counting.document(name).lines
    assert all(f"id: {task.id}" in lines[(task.line or 0) - 1] for task in found.tasks)


@pytest.mark.parametrize("name", [*TASKMASTER, *RALPH, *YAML])
def test_the_corpus_is_recognised_and_can_be_accepted(name: str) -> None:
    document = counting.document(name)
    found, confidence = detect(document)
    assert found == counting.reading(name).format
    assert confidence >= 0.7
    assert isinstance(accept(counting.reading(name), plan_id="p", agent="agent"), Plan)


# --- Taskmaster ----------------------------------------------------------------------------------------------------


def task(id: object, **more: object) -> dict[str, Any]:
    return {"id": id, "title": f"T{id}", "details": "", "dependencies": [], "status": "pending", "subtasks": [], **more}


def test_numbers_in_subtasks_are_siblings_and_dotted_text_is_global() -> None:
    first = task(1, subtasks=[task(1), task(2, dependencies=[1]), task(3, dependencies=["1.1", "2"])])
    fifth = task(5, dependencies=[1, "1.2"], subtasks=[task(1, dependencies=["1.3"]), task("5.2", dependencies=[1, 1])])
    found = read_json({"tasks": [first, fifth, task(6, dependencies=[5.2])]})
    assert edges(found) == {
        "1": [], "1.1": [], "1.2": ["1.1"], "1.3": ["1.1", "1.2"],
        "5": ["1", "1.2"], "5.1": ["1.3"], "5.2": ["5.1"], "6": ["5.2"],
    }  # fmt: skip
    assert [one.parent for one in found.tasks] == [None, "1", "1", "1", None, "5", "5", None]
    assert [one.id for one in found.tasks if one.container] == ["1", "5"]
    assert codes(found) == []


def test_a_number_that_is_no_sibling_is_a_task() -> None:
    found = read_json({"tasks": [task(1), task(9), task(2, subtasks=[task(1, dependencies=[9, 7])])]})
    assert edges(found)["2.1"] == ["9"]
    assert codes(found) == ["unknown-dependency"]


def test_tags_are_plans_of_their_own() -> None:
    two = {"other": {"tasks": [task(1), task(2)]}, "master": {"tasks": [task(1)], "metadata": {"description": "Main"}}}
    found = read_json(two)
    assert ([one.id for one in found.tasks], found.title) == (["1"], "Main")
    assert "other (2 tasks)" in found.diagnostics[0].message
    text = json.dumps(two)
    assert len(taskmaster.read(Document.of("tasks.json", text), "other").tasks) == 2
    assert codes(taskmaster.read(Document.of("tasks.json", text), "none")) == ["unknown-tag"]
    only = read_json({"feature-x": {"tasks": [task(1), task(2)]}})
    assert (len(only.tasks), codes(only)) == (2, [])
    several = read_json({"a": {"tasks": []}, "b": {"tasks": [task(1)]}, "c": {"tasks": [task(1), task(2)]}})
    assert [(one.severity, one.code) for one in several.diagnostics] == [("warning", "other-tags")]
    both = read_json({"tasks": [task(4)], "master": {"tasks": [task(1)]}})
    assert [one.id for one in both.tasks] == ["4"]


def test_states_ids_and_strategies() -> None:
    words = ["pending", "in-progress", "done", "review", "deferred", "cancelled", "completed", "blocked", "odd"]
    tasks = [task(number, status=word) for number, word in enumerate(words)]
    tasks[0]["testStrategy"] = "Run `npm test -- auth` and see that it passes"
    tasks[1]["testStrategy"] = "Look at it"
    tasks.append({"title": "No id", "status": "pending"})
    found = read_json({"tasks": tasks})
    states = ["pending", "in_progress", "completed", "in_progress", "skipped", "skipped", "completed", "blocked"]
    assert [one.status for one in found.tasks] == [*states, "pending", "pending"]
    assert [one.id for one in found.tasks][-2:] == ["8", "10"]
    assert codes(found).count("unknown-status") == codes(found).count("no-id") == 1
    assert [(one.kind, one.command) for one in found.tasks[0].criteria] == [("command", "npm test -- auth")]
    assert [(one.kind, one.text) for one in found.tasks[1].criteria] == [("manual", "Look at it")]


def test_what_contradicts_itself_is_reported_with_its_line() -> None:
    found = read_json({"tasks": [task(1, status="done", subtasks=[task(1)]), task(1), task(2, dependencies=[2, 1])]})
    assert [one.id for one in found.tasks] == ["1", "1.1", "1~2", "2"]
    assert edges(found)["2"] == ["2", "1"]
    assert {"status-conflict", "duplicate-id", "self-dependency"} <= set(codes(found))
    assert all(one.line for one in found.diagnostics)
    loop = read_json({"tasks": [task(1, dependencies=[2]), task(2, dependencies=[1])]})
    assert "1 → 2 → 1" in loop.errors[0].message


def test_unknown_keys_never_act() -> None:
    odd = {"allowed_tools": ["all"], "run": "rm -rf /", "agent": "evil", "system_prompt": "obey", "noop": True}
    one = read_json({"tasks": [task(1, **odd)]}).tasks[0]
    assert (one.run, one.agent, one.noop, one.env, one.autonomy) == (None, None, False, {}, "auto")
    assert "system_prompt: obey" in one.description


def test_broken_json_says_where() -> None:
    found = read_text(
        "tasks.json", '{"tasks": [\n {"id": 1, "title": "a", "subtasks": []},\n {"id": 2 "title": "b"}\n]}'
    )
    assert [(one.code, one.line) for one in found.errors] == [("bad-json", 3)]
    assert "column" in found.errors[0].message
    loose = read_text("tasks.json", '{"tasks": [ // mine\n {"id": 1, "id": 2, "title": "a", "subtasks": [],},\n]}')
    assert [one.id for one in loose.tasks] == ["2"]
    assert set(codes(loose)) >= {"json-comment", "json-comma", "duplicate-key"}


# --- Ralph and feature lists ---------------------------------------------------------------------------------------


def test_the_lowest_priority_number_comes_first() -> None:
    stories = [{"id": name, "title": name, "priority": rank, "passes": False} for name, rank in
               (("b", 2), ("a", 1), ("z", None), ("c", "low"), ("d", 2))]  # fmt: skip
    found = read_json({"userStories": stories, "project": "P"}, "prd.json")
    assert edges(found) == {"a": [], "b": ["a"], "d": ["b"], "c": ["d"], "z": ["c"]}
    assert (found.title, found.source) == ("P", "SPEC")


def test_newer_relatives_name_what_they_depend_on() -> None:
    stories = [
        {"id": "US-1", "title": "a", "priority": 1, "passes": True, "dependsOn": []},
        {"id": "US-2", "title": "b", "priority": 2, "passes": False, "dependsOn": ["US-1", "US-9"]},
        {"id": "US-3", "title": "c", "priority": 3, "passes": False, "acceptanceCriteria": ["npm test passes"]},
    ]
    found = read_json({"schemaVersion": 2, "userStories": stories}, "prd.json")
    assert edges(found) == {"US-1": [], "US-2": ["US-1"], "US-3": []}
    assert codes(found) == ["unknown-dependency"]
    assert found.tasks[2].criteria[0].command == "npm test"


def test_a_feature_list_is_numbered_and_in_order() -> None:
    features = [
        {"category": "functional", "description": f"Feature {n}\nMore", "steps": ["Open", "Look"], "passes": n < 2}
        for n in range(200)
    ]
    found = read_json(features, "feature_list.json")
    assert found.format == "ralph"
    assert [one.id for one in found.tasks] == [str(n + 1) for n in range(200)]
    assert (found.tasks[0].title, found.tasks[0].status, found.tasks[2].status) == ("Feature 0", "completed", "pending")
    assert found.tasks[5].dependencies == ["5"]
    assert [one.text for one in found.tasks[5].criteria] == ["Open; Look"]
    assert codes(found) == ["no-id", "order-of-file"]
    wrapped = read_json(
        {"features": [{"id": "x", "title": "X", "status": "pass", "passes": True}]}, "feature_list.json"
    )
    assert wrapped.tasks[0].status == "completed"


def test_passes_and_status_may_contradict() -> None:
    found = read_json({"userStories": [{"id": "a", "title": "a", "status": "done", "passes": False}]}, "prd.json")
    assert codes(found) == ["status-conflict"]
    assert where(found, "status-conflict") == [7]


@pytest.mark.parametrize(
    ("text", "kind", "command"),
    [
        ("npm test passes", "command", "npm test"),
        ("`cargo test` passes", "command", "cargo test"),
        ("Run: cd web && pnpm build", "command", "cd web && pnpm build"),
        ("Verify: file exists with [ -f docs/zh/index.mdx ]", "command", "[ -f docs/zh/index.mdx ]"),
        ("npm run lint passes with 0 errors", "command", "npm run lint"),
        ("bunx tsc --noEmit passes when TypeScript touched", "manual", None),
        ("make sure that tests pass", "manual", None),
        ("test coverage is high", "manual", None),
        ("Verify in browser", "manual", None),
        ("src/a.py exists", "file", None),
    ],
)
def test_what_a_criterion_asks_for(text: str, kind: str, command: str | None) -> None:
    found = check(text)
    assert found is not None
    assert (found.kind, found.command) == (kind, command)


@pytest.mark.parametrize(("text", "category"), [("Typecheck passes", "type"), ("All tests pass.", "test"),
                                                ("Lint passes", "lint"), ("Build succeeds", "build")])  # fmt: skip
def test_checks_that_every_project_has(text: str, category: str) -> None:
    found = check(text)
    assert found is not None
    assert (found.kind, found.category) == ("command", category)
    assert "exit 1" in (found.command or "")


def test_a_strategy_with_an_idle_command_stays_with_a_person() -> None:
    assert [one.kind for one in prose("Check by running 'python --version' that it is new")] == ["manual"]
    assert prose("  ") == []
    assert [one.command for one in prose("- Run: npm test\n- Look")] == [None]


# --- YAML ----------------------------------------------------------------------------------------------------------


def read_yaml(text: str, name: str = "tasks.yaml") -> Reading:
    return validate(read_text(name, text))


def test_epics_and_tasks() -> None:
    found = read_yaml(
        """
epics:
  - {id: E1, title: Base, status: done}
  - {id: E2, title: More, depends_on: [E1]}
tasks:
  - {id: T1, title: One, epic: E1, status: done, acceptance: It works, estimate: 2h}
  - id: T2
    title: Two
    epic: More
    depends_on: T1, T9
    acceptance: ["`pytest -q` passes", {criterion: Looks good, test: manual}]
    detail: |
      First
      Second
    type: manual
  - {id: 2.10, title: Three, epic: E3, depends_on: [E1], context_tier: 128K, files: [src/a.py]}
"""
    )
    assert [(one.id, one.status, one.dependencies) for one in found.phases] == [
        ("E1", "completed", []), ("E2", "pending", ["E1"]), ("E3", "pending", []),
    ]  # fmt: skip
    assert edges(found) == {"T1": [], "T2": ["T1"], "2.10": ["E1"]}
    assert [one.phase for one in found.tasks] == ["E1", "E2", "E3"]
    assert [[c.kind for c in one.criteria] for one in found.tasks] == [["manual"], ["command", "manual"], []]
    assert (found.tasks[0].estimate_minutes, found.tasks[1].autonomy) == (120.0, "human")
    assert found.tasks[1].description.startswith("First\nSecond")
    assert (found.tasks[2].context_tier, found.tasks[2].tier_inferred, found.tasks[2].files) == (
        128,
        False,
        ["src/a.py"],
    )
    assert where(found, "unknown-dependency") == [10]


def test_blocked_by_and_blocks_are_one_edge() -> None:
    found = read_yaml(
        """
epic: Auth
feature: Login
context: prose about 3 things
defaults: {estimate: 30m, status: todo}
tasks:
  - {key: A, name: First, blocks: [B, C], code_areas: [src/auth/], tests: [tests/test_a.py], agent_roles: [dev]}
  - {key: B, name: Second, blocked_by: [A], status: in_progress}
  - {key: C, name: Third, context_tier: 500}
"""
    )
    assert edges(found) == {"A": [], "B": ["A"], "C": ["A"]}
    assert [one.status for one in found.tasks] == ["pending", "in_progress", "pending"]
    assert [one.estimate_minutes for one in found.tasks] == [30.0] * 3
    assert found.tasks[0].files == ["src/auth/"]
    assert "tests/test_a.py" in found.tasks[0].description
    assert [(one.code, one.line) for one in found.errors] == [("bad-context-tier", 9)]


def test_milestones_by_state() -> None:
    found = read_yaml(
        "milestones:\n  completed:\n    - Base\n    - {id: m1, name: API}\n  in_progress: [UI]\n  planned: [Docs]\n"
    )
    assert [(one.title, one.status) for one in found.tasks] == [
        ("Base", "completed"), ("API", "completed"), ("UI", "in_progress"), ("Docs", "pending"),
    ]  # fmt: skip
    assert found.tasks[1].id == "m1"


def test_sprint_status() -> None:
    found = read_yaml(
        """# generated
development_status:
  # Epic 1: Base things
  epic-1: done
  1-1-set-up: done
  1-2-log-in: review
  epic-1-retrospective: optional
  epic-2: backlog
  2-1-list: ready-for-dev
  2-2a-show: drafted
""",
        "sprint-status.yaml",
    )
    assert [(one.id, one.title, one.status) for one in found.phases] == [
        ("epic-1", "Base things", "completed"), ("epic-2", "", "pending"),
    ]  # fmt: skip
    assert [(one.id, one.title, one.status, one.phase) for one in found.tasks] == [
        ("1-1-set-up", "set up", "completed", "epic-1"),
        ("1-2-log-in", "log in", "in_progress", "epic-1"),
        ("2-1-list", "list", "pending", "epic-2"),
        ("2-2a-show", "show", "pending", "epic-2"),
    ]
    assert edges(found) == {"1-1-set-up": [], "1-2-log-in": ["1-1-set-up"], "2-1-list": [], "2-2a-show": ["2-1-list"]}
    assert found.phases[1].dependencies == ["epic-1"]
    assert [task.line for task in found.tasks] == [5, 6, 9, 10]
    assert set(codes(found)) == {"not-a-task", "status-conflict", "order-of-file"}


def test_a_bare_map_of_states_is_a_sprint_status_too() -> None:
    found = read_yaml("epic-1: in-progress\n1-1-a: done\n1-2-b: backlog\n", "sprint-status.yaml")
    assert [one.id for one in found.tasks] == ["1-1-a", "1-2-b"]


@pytest.mark.parametrize("name", ["plan.yaml", "plan.json"])
def test_a_bare_array_is_a_task_list(name: str) -> None:
    data = [{"id": 1, "title": "a", "deps": []}, {"id": "01", "title": "b", "deps": [1]}]
    found = yaml_tasks.read(Document.of(name, json.dumps(data)))
    assert edges(found) == {"1": [], "01": ["1"]}
    assert codes(found) == []


def test_phases_with_tasks_inside_and_tasks_in_words() -> None:
    found = read_yaml(
        """
plan:
  title: The plan
  phases:
    - name: Set up
      goal: A base
      tasks: [Do a, Do b]
    - name: Build
      tasks:
        - {id: t3, title: C, subtasks: [{id: 1, title: s1}, {id: 2, title: s2, dependencies: [1]}]}
        - {title: D, parallel: true, steps: [x, y]}
        - {title: E, parallel: true}
        - {title: F, autonomous: false}
"""
    )
    assert found.title == "The plan"
    assert [(one.id, one.goal, one.dependencies) for one in found.phases] == [
        ("set-up", "A base", []), ("build", "", ["set-up"]),
    ]  # fmt: skip
    assert edges(found) == {
        "set-up.1": [], "set-up.2": ["set-up.1"], "t3": [], "t3.1": [], "t3.2": ["t3.1"],
        "build.2": ["t3"], "build.3": ["t3"], "build.4": ["build.2", "build.3"],
    }  # fmt: skip
    assert found.tasks[-1].autonomy == "needs_approval"
    assert "- x\n- y" in found.tasks[5].description
    assert set(codes(found)) == {"no-id", "order-of-file"}


def test_tasks_by_id_and_states_in_all_spellings() -> None:
    found = read_yaml(
        "tasks:\n  A: {title: a, done: true}\n  B: {title: b, state: WIP, requires: A}\n"
        "  C: {title: c, completed: 2026-01-02}\n"
        "  D: {title: d, passes: false, dependsOn: {hard: [B], soft: [C]}}\n"
    )
    assert [one.status for one in found.tasks] == ["completed", "in_progress", "completed", "pending"]
    assert edges(found) == {"A": [], "B": ["A"], "C": [], "D": ["B"]}


def test_ranges_titles_and_other_projects() -> None:
    found = read_yaml(
        "tasks:\n"
        + "".join(f"  - {{id: T{n}, title: Step number {n}, deps: []}}\n" for n in range(1, 6))
        + "  - {id: X, title: x, deps: [T1-T3, 'T4 and T5']}\n"
        + "  - {id: Y, title: y, deps: Step number 2}\n  - {id: Z, title: z, deps: [other/repo#12, none]}\n"
    )
    assert edges(found)["X"] == ["T1", "T2", "T3", "T4", "T5"]
    assert (edges(found)["Y"], edges(found)["Z"]) == (["T2"], [])
    assert codes(found) == ["external-dependency"]


@pytest.mark.parametrize(
    "text",
    [
        "apiVersion: tekton.dev/v1\nkind: Task\nmetadata:\n  name: x\nspec:\n  steps:\n    - name: a\n      image: b\n",
        "research:\n  description: Look\n  expected_output: A list\n  agent: researcher\n",
        "- name: install\n  become: true\n  ansible.builtin.apt:\n    name: nginx\n    state: present\n",
        "version: '3'\ntasks:\n  build:\n    cmds:\n      - go build\n",
        "stages:\n  - build\nbuild:\n  stage: build\n  script:\n    - make\n",
    ],
)
def test_task_files_of_other_tools_are_no_plans(text: str) -> None:
    assert yaml_tasks.recognise(Document.of("tasks.yaml", text)) < 0.05


def test_broken_yaml_says_where_and_tags_are_refused() -> None:
    assert [(one.code, one.line) for one in read_yaml('tasks:\n - id: a\n   title: "x\n').errors] == [("bad-yaml", 4)]
    assert read_yaml("tasks:\n - id: a\n   title: !!python/object/apply:os.system [ls]\n").errors[0].code == "bad-tag"
    assert [one.code for one in read_yaml("tasks: []\n").errors] == ["no-tasks"]


# --- spoiled files, large files ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*TASKMASTER, *RALPH, *YAML])
def test_spoiled_files_end_with_a_plan_or_a_reason(name: str) -> None:
    raw = counting.document(name).raw
    format = counting.reading(name).format
    for kind, changed in mutating.spoiled(raw):
        found = mutating.read_spoiled(name, changed, format)
        if kind in ("windows line ends", "old mac line ends", "byte order mark"):
            assert [(one.id, one.title, one.dependencies, one.line) for one in found.tasks] == [
                (one.id, one.title, one.dependencies, one.line) for one in counting.reading(name).tasks
            ]
        if kind.startswith("truncated") and name.endswith("json"):
            assert [one.code for one in found.errors if one.line] == ["bad-json"]


@pytest.mark.parametrize("name", [*TASKMASTER, *RALPH, *YAML])
def test_random_edits_end_with_a_plan_or_a_reason(name: str) -> None:
    raw = counting.document(name).raw
    format = counting.reading(name).format
    for seed in range(200):
        mutating.read_spoiled(name, mutating.edited(raw, seed), format if seed % 4 else None)


def test_a_cycle_or_a_second_id_in_a_real_file_is_named_with_its_line() -> None:
    data = json.loads(counting.document("json-taskmaster/testcraft-tasks.json").text)
    data["master"]["tasks"][0]["dependencies"] = [2]
    loop = read_json(data)
    assert loop.errors
    assert all(one.code == "cycle" and one.line for one in loop.errors)
    text = counting.document("yaml-tasks/cogant-tasks.yaml").text.replace("deps: []", "deps: [cog-m1]", 1)
    assert [(one.code, one.line) for one in read_yaml(text).errors] == [("cycle", 11)]
    stories = json.loads(counting.document("json-ralph/vue-lynx-prd.json").text)
    stories["userStories"][5]["id"] = stories["userStories"][1]["id"]
    twice = read_json(stories, "prd.json")
    assert len(twice.tasks) == 19
    assert [(one.code, one.line) for one in twice.diagnostics] == [("duplicate-id", twice.tasks[5].line)]
    assert twice.tasks[5].id == f"{twice.tasks[1].id}~2"


def test_hostile_values_do_no_harm() -> None:
    deep = "[" * 5000 + "]" * 5000
    assert read_text("tasks.json", f'{{"tasks": {deep}}}', "taskmaster").errors[0].code == "too-deep"
    odd = {"tasks": [{"id": [1], "title": {"a": 1}, "status": 7, "dependencies": {"x": [None, True, {"id": 3}]},
                      "estimate": 1e308, "files": {"a": [1]}, "subtasks": "none", "priority": []},
                     None, 5, "text"]}  # fmt: skip
    for format in ("taskmaster", "ralph", "yaml-tasks"):
        found = validate(read_text("tasks.json", json.dumps(odd), format))
        assert found.tasks


def _large(count: int) -> dict[str, str]:
    tasks = [task(n, testStrategy="Run `pytest -q`", dependencies=[n - 1] if n else []) for n in range(count)]
    stories = [
        {"id": f"S{n}", "title": "s", "acceptanceCriteria": ["x"], "priority": n, "passes": False} for n in range(count)
    ]
    lines = [
        f"- id: t{n}\n  title: Task {n}\n  status: todo\n  deps: [{f't{n - 1}' if n else ''}]\n" for n in range(count)
    ]
    return {
        "tasks.json": json.dumps({"master": {"tasks": tasks}}),
        "prd.json": json.dumps({"userStories": stories}),
        "tasks.yaml": "tasks:\n" + "".join(lines),
    }


@pytest.mark.parametrize(
    ("name", "format"), [("tasks.json", "taskmaster"), ("prd.json", "ralph"), ("tasks.yaml", "yaml-tasks")]
)
def test_ten_thousand_tasks_take_two_seconds_at_most_and_linear_time(name: str, format: str) -> None:
    took = {}
    for count in (1000, 10_000):
        text = _large(count)[name]
        before = time.process_time()
        found = read_text(name, text, format)
        took[count] = time.process_time() - before
        assert len(found.tasks) == count
        assert sum(len(one.dependencies) for one in found.tasks) == count - 1
    assert took[10_000] < 2.0
    assert took[10_000] < 30 * max(took[1000], 0.02)
