"""Whole runs with the real command line, server, git and processes (acceptance lines of the spine)."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.cli import Nightshift, until

pytestmark = pytest.mark.whole


@pytest.fixture
def nightshift(tmp_path: Path) -> Nightshift:
    return Nightshift(tmp_path / "home")


def write(path: Path, plan: dict[str, Any]) -> Path:
    path.write_text(json.dumps(plan))
    return path


def test_a_plan_runs_to_the_end_and_the_log_proves_it(nightshift: Nightshift, tmp_path: Path) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text(
        """
plan: Three steps
policy: {backoff: {first: 1s}}
tasks:
  - {id: one, run: "echo one > one.txt; echo said one", verify: [{regex: "said one", in: output}]}
  - {id: 2.1, needs: [one], run: 'test "$NIGHTSHIFT_ATTEMPT" = 2 && cp one.txt two.txt', verify: [{file: two.txt}]}
  - {id: three, needs: ["2.1"], noop: true}
"""
    )
    done = nightshift("run", plan)
    assert "completed" in done.stdout
    execution = nightshift.json("status")[0]["execution"]
    status = nightshift.json("status", execution)
    assert status["state"] == "completed"
    assert status["progress"] == {"done": 3, "total": 3, "percent": 100.0}
    assert [(t["id"], t["state"], t["attempt"]) for t in status["tasks"]] == [
        ("one", "verified", 1), ("2.1", "verified", 2), ("three", "verified", 1),
    ]  # fmt: skip
    history = nightshift.history(execution)
    assert [row["seq"] for row in history] == sorted(row["seq"] for row in history)
    assert all(row["actor"] for row in history)
    assert all(row["cause"] for row in history[1:]), "every event of the engine has a cause"
    failed = next(row for row in history if row["event"] == "AttemptFailed")
    assert failed["data"]["exit_code"] == 1
    assert "said one" in nightshift("logs", execution, "one").stdout
    nightshift("replay", "--check")
    (nightshift.home / "projections.duckdb").unlink()
    assert nightshift.json("status", execution) == status
    nightshift("replay", "--check")


def test_a_failing_plan_says_so_and_skips_dependents(nightshift: Nightshift, tmp_path: Path) -> None:
    plan = write(
        tmp_path / "plan.json",
        {
            "plan": "Fails",
            "policy": {"max_attempts": 1, "on_exhausted": "fail"},
            "tasks": [
                {"id": "bad", "run": "echo oh no; exit 3"},
                {"id": "after", "needs": ["bad"], "run": "true"},
                {"id": "claim", "run": "echo all tests passed", "verify": [{"file": "proof.txt"}]},
                {"id": "free", "run": "true"},
            ],
        },
    )
    nightshift("run", plan, code=1)
    status = nightshift.json("status", nightshift.json("status")[0]["execution"])
    states = {t["id"]: t["state"] for t in status["tasks"]}
    assert states == {"bad": "failed", "after": "skipped", "claim": "failed", "free": "verified"}
    assert status["state"] == "failed"
    assert status["reason"].startswith(("task bad: ", "task claim: ")), "whichever failed last"
    assert "proof.txt is not there" in next(t["error"] for t in status["tasks"] if t["id"] == "claim")


def test_a_bad_plan_is_rejected_with_every_problem_at_once(nightshift: Nightshift, tmp_path: Path) -> None:
    plan = tmp_path / "bad.yaml"
    plan.write_text(
        """plan: Wrong in seven ways
policy: {timeout: 5 parsecs}
tasks:
  - {id: a, run: "true", needs: [bb]}
  - {id: b, run: "true", colour: red}
  - {id: b, run: "true"}
  - {id: c, title: nothing to do}
  - {id: d, run: "true", needs: [e]}
  - {id: e, run: "true", needs: [d]}
  - {id: f, run: "true", verify: [{regex: "(", in: output}]}
"""
    )
    done = nightshift("run", plan, code=2)
    lines = [line for line in done.stderr.splitlines() if ": error:" in line]
    assert len(lines) == 7, done.stderr
    assert {int(line.split(":")[1]) for line in lines} == {2, 4, 5, 6, 7, 8, 10} or all(
        line.startswith("bad.yaml:") for line in lines
    )
    execution = nightshift.json("status")[0]["execution"]
    rejected = next(r for r in nightshift.history(execution) if r["event"] == "PlanRejected")
    assert len([p for p in rejected["data"]["problems"] if p["severity"] == "error"]) == 7


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=A", "-c", "user.email=a@localhost", "-c", "init.defaultBranch=main"]
    return subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True, text=True).stdout


def test_work_on_a_repository_lands_on_the_branch_and_leaves_the_checkout_alone(
    nightshift: Nightshift, tmp_path: Path
) -> None:
    repo = tmp_path / "repo"
    repo.mkdir()
    git(repo, "init")
    (repo / "kept.txt").write_text("kept\n")
    git(repo, "add", ".")
    git(repo, "commit", "-m", "begin")
    (repo / "dirty.txt").write_text("not committed\n")
    before = {str(p): p.read_bytes() for p in repo.rglob("*") if p.is_file()}
    plan = write(
        tmp_path / "plan.json",
        {
            "plan": "Branches",
            "repo": "repo",
            "tasks": [
                {"id": "left", "run": "echo l > left.txt"},
                {"id": "right", "run": "echo r > right.txt"},
                {"id": "both", "needs": ["left", "right"], "run": "cat left.txt right.txt kept.txt > both.txt",
                 "verify": [{"file": "both.txt", "min_lines": 3}, {"command": "test ! -e dirty.txt"}]},
                {"id": "look", "needs": ["both"], "run": "git log --oneline | grep both"},
            ],
        },
    )  # fmt: skip
    nightshift("run", plan)
    assert {str(p): p.read_bytes() for p in repo.rglob("*") if p.is_file()} == before
    status = nightshift.json("status", nightshift.json("status")[0]["execution"])
    branch = status["branch"]
    store = nightshift.home / "repos" / f"{branch['repository']}.git"
    git(repo, "fetch", str(store), f"{branch['name']}:{branch['name']}")
    trailers = git(repo, "log", "--format=%(trailers:key=Nightshift-Task,valueonly)", f"main..{branch['name']}")
    assert sorted(trailers.split()) == ["both", "left", "right"]
    assert len(git(repo, "rev-list", "--first-parent", f"main..{branch['name']}").split()) == 3
    assert git(repo, "show", f"{branch['name']}:both.txt") == "l\nr\nkept\n"


def test_an_agent_gets_its_prompt_and_context_and_waits_for_a_word(nightshift: Nightshift, tmp_path: Path) -> None:
    agent = tmp_path / "agent.sh"
    agent.write_text(
        '#!/bin/sh\ncat > prompt.txt\ncp "$NIGHTSHIFT_CONTEXT" context.json\necho Tokens: 1.5k sent, 20 received.\n'
    )
    agent.chmod(0o755)
    plan = write(
        tmp_path / "plan.json",
        {"plan": "Agent", "tasks": [{"id": "write", "agent": "./agent.sh", "prompt": "Write it well."}]},
    )
    with nightshift.up():
        execution = nightshift("submit", plan).stdout.strip()
        until(lambda: nightshift.json("status", execution)["state"] == "awaiting_approval")
        nightshift("deny", execution, "write", "--notes", "too short")
        until(lambda: nightshift.json("status", execution)["state"] == "awaiting_approval" or None)
        until(lambda: nightshift.json("status", execution)["tasks"][0]["attempt"] == 2)
        until(lambda: nightshift.json("status", execution)["state"] == "awaiting_approval")
        nightshift("approve", execution, "write")
        until(lambda: nightshift.json("status", execution)["state"] == "completed")
        refused = nightshift("approve", execution, "write", code=2)
        assert "asks nothing" in refused.stderr
        used = nightshift.json("query", "select value from scores where score = 'context_tokens'")
        assert used == [{"value": 3040}]  # two attempts
        branch = nightshift.json("status", execution)["branch"]
    store = nightshift.home / "repos" / f"{branch['repository']}.git"
    prompt = subprocess.run(
        ["git", f"--git-dir={store}", "show", f"{branch['head']}:prompt.txt"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert "Write it well." in prompt
    assert "too short" in prompt


def test_everything_is_killed_and_goes_on_by_itself(nightshift: Nightshift, tmp_path: Path) -> None:
    tasks = [
        {"id": f"t{i:02}", "run": f"sleep 0.3; echo {i} > f{i}.txt", **({"needs": [f"t{i - 4:02}"]} if i >= 4 else {})}
        for i in range(20)
    ]
    plan = write(tmp_path / "plan.json", {"plan": "Twenty", "tasks": tasks})
    nightshift("up", "--detach")
    try:
        execution = nightshift("submit", plan).stdout.strip()
        until(lambda: nightshift.json("status", execution)["progress"]["done"] >= 6)
        nightshift.kill_everything()
        until(lambda: not alive(nightshift.pid()))
        nightshift("up", "--detach")
        until(lambda: nightshift.json("status", execution)["state"] == "completed", 60)
        history = nightshift.history(execution)
        verified = {r["task"]: r["seq"] for r in history if r["event"] == "TaskVerified"}
        assert [r["event"] for r in history].count("TaskVerified") == len(verified) == 20
        again = [r for r in history if r["event"] == "TaskStarted" and r["seq"] > verified[r["task"]]]
        assert not again, "what was verified never runs again"
        nightshift("replay", "--check")
    finally:
        nightshift("down", code=None)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_task_that_will_not_die_is_gone_after_its_time(nightshift: Nightshift, tmp_path: Path) -> None:
    marker = f"marker-{uuid.uuid4().hex}"
    script = tmp_path / "nasty.sh"
    script.write_text(
        f"""#!/bin/sh
trap '' TERM
(setsid sh -c 'trap "" TERM; while :; do sleep 1; done' {marker} >/dev/null 2>&1 &)
head -c 200000000 /dev/zero | tr '\\0' 'x' | fold -w 99
echo the end of it
while :; do sleep 1; done
"""
    )
    script.chmod(0o755)
    plan = write(
        tmp_path / "plan.json",
        {
            "plan": "Nasty",
            "policy": {
                "max_attempts": 1,
                "on_exhausted": "fail",
                "timeout": "8s",
                "grace": "1s",
                "read": [str(script)],
            },
            "tasks": [{"id": "nasty", "run": f"exec {script}"}],
        },
    )
    with nightshift.up():
        execution = nightshift("submit", plan).stdout.strip()
        peak = 0

        def over() -> bool:
            nonlocal peak
            status = Path(f"/proc/{nightshift.pid()}/status").read_text()
            peak = max(peak, int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]))
            return bool(nightshift.json("status", execution)["state"] == "failed")

        until(over, 60, 0.5)
        timed_out = next(r for r in nightshift.history(execution) if r["event"] == "AttemptTimedOut")
        assert timed_out["data"]["output"]["total"] > 200_000_000
        assert timed_out["data"]["output"]["size"] < 20_000_000
        assert "the end of it" in timed_out["data"]["tail"]
        listing = subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True, check=True).stdout
        assert marker not in listing
        assert peak < 200 * 1024, f"the engine took {peak // 1024} MiB"


def test_cancelling_stops_what_runs(nightshift: Nightshift, tmp_path: Path) -> None:
    plan = write(
        tmp_path / "plan.json",
        {
            "plan": "Long",
            "tasks": [{"id": "long", "run": "sleep 300"}, {"id": "after", "needs": ["long"], "run": "true"}],
        },
    )
    with nightshift.up():
        execution = nightshift("submit", plan).stdout.strip()
        until(lambda: nightshift.json("status", execution)["tasks"][0]["state"] == "running")
        nightshift("cancel", execution, "--reason", "changed my mind")
        until(lambda: nightshift.json("status", execution)["state"] == "cancelled", 10)
        assert {t["state"] for t in nightshift.json("status", execution)["tasks"]} == {"cancelled"}
        nightshift("cancel", execution, code=2)


def test_a_raw_client_submits_and_asks_with_nothing_of_ours(nightshift: Nightshift) -> None:
    script = Path(__file__).parent.parent / "examples" / "raw-client" / "submit.py"
    assert "nightshift" not in [
        word for line in script.read_text().splitlines() if line.startswith(("import", "from")) for word in line.split()
    ]
    with nightshift.up():
        url = nightshift("credentials").stdout.strip()
        done = subprocess.run(
            [sys.executable, str(script), url], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "state: completed" in done.stdout

        async def garbage() -> dict[str, Any]:
            import nats

            nc = await nats.connect(url)
            execution = str(uuid.uuid4())
            await nc.request(f"evt.default.{execution}.~in.PlanSubmitted", b"{not json", timeout=5)
            for _ in range(100):
                answer = await nc.request(
                    "qry.default.status", json.dumps({"execution": execution}).encode(), timeout=5
                )
                status: dict[str, Any] = json.loads(answer.data).get("ok", {})
                if status.get("state") == "rejected":
                    break
                await asyncio.sleep(0.05)
            await nc.close()
            return status

        assert asyncio.run(garbage())["state"] == "rejected"


def test_sigterm_lets_the_running_task_finish(nightshift: Nightshift, tmp_path: Path) -> None:
    plan = write(
        tmp_path / "plan.json",
        {
            "plan": "Two",
            "tasks": [{"id": "a", "run": "sleep 4; echo a > a.txt"}, {"id": "b", "needs": ["a"], "run": "true"}],
        },
    )
    with nightshift.up():
        execution = nightshift("submit", plan).stdout.strip()
        until(lambda: list((nightshift.home / "leases").glob("*.json")))  # it runs; to ask would take as long
    nightshift("up", "--detach")
    try:
        until(lambda: nightshift.json("status", execution)["state"] == "completed")
        names = [r["event"] for r in nightshift.history(execution, "a")]
        assert names.count("TaskStarted") == 1
        assert "TaskInterrupted" not in names
    finally:
        nightshift("down")


def test_commands_say_what_to_do_when_no_engine_runs(nightshift: Nightshift, tmp_path: Path) -> None:
    plan = write(tmp_path / "plan.json", {"plan": "x", "tasks": [{"id": "a", "noop": True}]})
    assert "nightshift up" in nightshift("submit", plan, code=3).stderr
    assert "no execution" in nightshift("status", "01234567-89ab", code=2).stderr.lower()
    assert nightshift("submit", tmp_path / "absent.yaml", code=None).returncode in (2, 3)
    doctor = nightshift.json("doctor")
    assert {"nats_url", "profile", "sandboxes", "versions", "problems"} <= set(doctor)
    assert [offer["level"] for offer in doctor["sandboxes"]] == ["process", "landlock", "bwrap", "docker"]
    assert [offer["default"] for offer in doctor["sandboxes"]].count(True) == 1
    assert all(offer["remedy"] for offer in doctor["sandboxes"] if offer["missing"])


def test_a_verified_task_ticks_its_own_box_on_the_branch(nightshift: Nightshift, tmp_path: Path) -> None:
    repo = tmp_path / "repo"
    (repo / "docs").mkdir(parents=True)
    git(repo, "init")
    text = b"# Tasks\r\n\r\n- [ ] First thing\r\n- [x] Done before\r\n- [ ] Second thing\r\n"
    (repo / "docs" / "TODO.md").write_bytes(text)
    git(repo, "add", ".")
    git(repo, "commit", "-m", "begin")
    agent = tmp_path / "agent.sh"
    agent.write_text('#!/bin/sh\ncat > "$(echo "$NIGHTSHIFT_TITLE" | tr " " -).txt"\n')
    agent.chmod(0o755)
    native = nightshift("plan", "convert", repo / "docs" / "TODO.md").stdout
    assert "First thing" in native
    (nightshift.home).mkdir(exist_ok=True)
    with nightshift.up():
        execution = nightshift("submit", repo / "docs" / "TODO.md", "--agent", agent).stdout.strip()
        for done in (2, 3):
            asking = until(lambda: [t["id"] for t in nightshift.json("status", execution)["tasks"] if t["approval"]])
            nightshift("approve", execution, asking[0])
            until(lambda done=done: nightshift.json("status", execution)["progress"]["done"] >= done)
        until(lambda: nightshift.json("status", execution)["state"] == "completed")
        branch = nightshift.json("status", execution)["branch"]
    store = nightshift.home / "repos" / f"{branch['repository']}.git"
    read = ["git", f"--git-dir={store}", "show"]
    landed = subprocess.run([*read, f"{branch['head']}:docs/TODO.md"], check=True, capture_output=True).stdout
    assert landed == text.replace(b"[ ]", b"[x]")
    outcomes = subprocess.run(
        [*read, f"{branch['head']}:docs/task_outcomes.md"], check=True, capture_output=True
    ).stdout
    assert outcomes.count(b"\n## ") == 2
    assert (repo / "docs" / "TODO.md").read_bytes() == text


def test_a_pause_survives_kill_9_and_resumes_at_the_exact_point(nightshift: Nightshift, tmp_path: Path) -> None:
    tasks = [
        {"id": f"t{i}", "run": f"sleep {0.2 if i < 3 else 4}", **({"needs": [f"t{i - 1}"]} if i else {})}
        for i in range(6)
    ]
    plan = write(tmp_path / "plan.json", {"plan": "Pause", "tasks": tasks})
    nightshift("up", "--detach")
    try:
        execution = nightshift("submit", plan, "--stop-after", "t1").stdout.strip()
        until(lambda: nightshift.json("status", execution)["state"] == "paused")
        assert "stop point after t1" in nightshift.json("status", execution)["reason"]
        nightshift.kill_everything()
        until(lambda: not alive(nightshift.pid()))
        nightshift("up", "--detach")
        assert nightshift.json("status", execution)["state"] == "paused"
        nightshift("resume", execution)
        until(lambda: nightshift.json("status", execution)["progress"]["done"] >= 3)
        nightshift("pause", execution, "--reason", "lunch")
        nightshift("pause", execution, code=2)
        until(lambda: nightshift.json("status", execution)["state"] == "paused")
        nightshift("resume", execution)
        until(lambda: nightshift.json("status", execution)["state"] == "completed")
        history = nightshift.history(execution)
        assert [r["event"] for r in history].count("TaskStarted") == 6
        assert all(t["attempt"] == 1 for t in nightshift.json("status", execution)["tasks"])
        nightshift("replay", "--check")
    finally:
        nightshift("down", code=None)


def test_what_failed_is_tried_again_on_request(nightshift: Nightshift, tmp_path: Path) -> None:
    flag = tmp_path / "flags" / "flag"
    flag.parent.mkdir()
    plan = write(
        tmp_path / "plan.json",
        {
            "plan": "Again",
            "policy": {"max_attempts": 1, "on_exhausted": "fail", "read": [str(flag.parent)]},
            "tasks": [
                {"id": "a", "run": f"test -e {flag}"},
                {"id": "b", "needs": ["a"], "run": "true"},
            ],
        },
    )
    with nightshift.up():
        execution = nightshift("submit", plan).stdout.strip()
        until(lambda: nightshift.json("status", execution)["state"] == "failed")
        flag.touch()
        nightshift("retry", execution)
        until(lambda: nightshift.json("status", execution)["state"] == "completed")
        status = nightshift.json("status", execution)
        assert [(t["id"], t["state"], t["attempt"]) for t in status["tasks"]] == [
            ("a", "verified", 2), ("b", "verified", 1),
        ]  # fmt: skip
        nightshift("retry", execution, code=2)
        nightshift("replay", "--check")
