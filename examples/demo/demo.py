"""``make demo``: a real plan on a real repository, on the embedded server, from submission to proof."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
FOLDER = Path("demo").resolve()
NIGHTSHIFT = Path(sys.executable).parent / "nightshift"


def git(*words: str) -> str:
    """Run git in the demo's project."""
    identity = ["-c", "user.name=Demo", "-c", "user.email=demo@localhost", "-c", "init.defaultBranch=main"]
    done = subprocess.run(
        ["git", *identity, *words], cwd=FOLDER / "project", check=True, capture_output=True, text=True
    )
    return done.stdout


def main() -> int:
    """Make the project, run the plan, show what came of it."""
    if FOLDER.exists():
        shutil.rmtree(FOLDER)
    shutil.copytree(HERE / "project", FOLDER / "project", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("plan.yaml", "notes-agent.py"):
        shutil.copy2(HERE / name, FOLDER / "project" / name)
    git("init", "--quiet")
    git("add", "--all")
    git("commit", "--quiet", "--message", "A word counter")
    before = git("status", "--porcelain", "--branch") + git("rev-parse", "HEAD")

    state = FOLDER / "state"
    print(f"A plan of seven tasks for the repository {FOLDER.name}/project; all state goes to {FOLDER.name}/state.\n")
    environment = {**os.environ, "NIGHTSHIFT_HOME": str(state)}
    code = subprocess.run(
        [NIGHTSHIFT, "run", FOLDER / "project" / "plan.yaml"], env=environment, check=False
    ).returncode

    after = git("status", "--porcelain", "--branch") + git("rev-parse", "HEAD")
    print("\nThe work, one commit for each verified task that changed something:", flush=True)
    repository = next((state / "repos").glob("*.git"))
    subprocess.run(["git", f"--git-dir={repository}", "log", "--oneline", "--branches=nightshift/*"], check=False)
    print(f"\nYour checkout is {'untouched' if before == after else 'CHANGED'}.")
    checked = subprocess.run([NIGHTSHIFT, "replay", "--check"], env=environment, check=False).returncode
    return code or checked or int(before != after)


if __name__ == "__main__":
    sys.exit(main())
