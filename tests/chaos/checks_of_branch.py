"""What must hold for the branch: in the log, in the engine's repository, and in the user's, which nobody may touch."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from events.log import Recorded
from tests.chaos.plans import Scenario, content

GONE_BACK = ("BranchRolledBack", "BranchReverted")
"""What takes results back."""


def of_branch(scenario: Scenario, history: Sequence[Recorded]) -> list[str]:
    """Every landing stands on the one before it, beside its TaskVerified; going back takes exactly what it should."""
    wrong: list[str] = []
    chain: list[tuple[str, int]] = []
    verified: dict[str, int] = {}
    begun: Recorded | None = None
    by_sequence = {r.sequence: r for r in history}
    for r in history:
        head = chain[-1][0] if chain else None
        if r.name == "BranchCreated":
            if head is not None:
                wrong.append(f"a second branch at {r.sequence}")
            chain = [(r.fact.base, r.sequence)]
        elif r.name == "TaskVerified":
            verified[r.entity] = r.sequence
        elif r.name == "RollbackBegun":
            begun = r
        elif r.name == "BranchAdvanced":
            if r.fact.base != head:
                wrong.append(f"the landing at {r.sequence} stands on {r.fact.base[:8]}, not on {head}")
            before = by_sequence.get(r.sequence - 1)
            if before is None or before.name != "TaskVerified" or before.id != r.fact.verified:
                wrong.append(f"the landing at {r.sequence} does not follow its verdict")
            elif (before.fact.tree, before.fact.commit) != (r.fact.tree, r.fact.commit):
                wrong.append(f"the landing at {r.sequence} is not what was judged")
            chain.append((r.fact.commit, r.sequence))
        elif r.name in GONE_BACK:
            wrong += _taken_back(scenario, r, begun, verified)
            for name in r.fact.invalidated:
                verified.pop(name, None)
            if r.name == "BranchReverted":
                if r.fact.base != head:
                    wrong.append(f"the revert at {r.sequence} stands on {r.fact.base[:8]}, not on {head}")
                chain.append((r.fact.commit, r.sequence))
            elif chain:
                there = [number for number, (commit, _) in enumerate(chain) if commit == r.fact.to]
                if not there:
                    wrong.append(f"the branch went back at {r.sequence} to {r.fact.to[:8]}, where it never stood")
                else:
                    chain = chain[: there[0] + 1]
    return wrong


def _taken_back(scenario: Scenario, r: Recorded, begun: Recorded | None, verified: dict[str, int]) -> list[str]:
    """The results that are taken back: what was verified after a task, or one task; and whatever needs that."""
    if begun is None:
        return [f"the branch went back at {r.sequence}, and nobody had begun that"]
    since = verified.get(begun.fact.to or "", 0)
    wanted = {begun.fact.only} if begun.fact.only else {n for n, at in verified.items() if at > since}
    for step in scenario.steps:  # in the order of the plan, so that what needs something comes after it
        if wanted & set(step.needs):
            wanted.add(step.id)
    gone, due = verified.keys() & set(r.fact.invalidated), verified.keys() & wanted
    wrong = [f"{name}: its result was taken back at {r.sequence} without need" for name in sorted(gone - due)]
    return wrong + [f"{name}: its result still counts after {r.sequence}" for name in sorted(due - gone)]


def landings(history: Iterable[Recorded]) -> list[str]:
    """The commits that the branch has in the end, after its base."""
    chain: list[str] = []
    for r in history:
        if r.name in ("BranchAdvanced", "BranchReverted"):
            chain.append(r.fact.commit)
        elif r.name == "BranchRolledBack":
            chain = chain[: chain.index(r.fact.to) + 1] if r.fact.to in chain else []
    return chain


def of_git(scenario: Scenario, home: Path, history: Sequence[Recorded]) -> list[str]:
    """The head's tree holds all files, the commits are those of the log with the trees that were judged, and the ref
    stands at the head.
    """
    created = next((r.fact for r in history if r.name == "BranchCreated"), None)
    chain = landings(history)
    if created is None or not chain:
        return ["there is no branch"]
    folder = home / "repos" / f"{created.repository}.git"

    def git(*words: str) -> str:
        done = subprocess.run(["git", "--git-dir", folder, *words], capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else f"git {words[0]} failed: {done.stderr.strip()}"

    wrong = []
    head = chain[-1]
    before = set(git("ls-tree", "-r", "--name-only", created.base).splitlines()) if scenario.repo else set()
    wanted = {f"out/{step.id}": content(step) for step in scenario.steps if step.kind == "write"}
    files = git("ls-tree", "-r", "--name-only", head).splitlines()
    if sorted(files) != sorted({*wanted, *before}):
        wrong.append(f"the head holds {len(files)} files: {sorted(set(files) ^ {*wanted, *before})} differ")
    changed = git("diff", "--name-only", "--no-renames", created.base, head, "--", *sorted(before)) if before else ""
    wrong += [f"{path} of the user's was changed" for path in changed.splitlines()]
    wrong += [
        f"{path} is damaged" for path in files if path in wanted and git("show", f"{head}:{path}") != wanted[path]
    ]
    commits = git("rev-list", "--reverse", f"{created.base}..{head}").splitlines()
    if commits != chain:
        wrong.append(f"git has {len(commits)} commits on the branch, the log {len(chain)} landings")
    wrong += [f"{c[:8]} has several parents" for c in commits if len(git("show", "-s", "--format=%P", c).split()) != 1]
    wrong += of_trees(history, {c: git("show", "-s", "--format=%T", c) for c in commits})
    ref = git("rev-parse", f"refs/heads/{created.name}")
    if ref != head:
        wrong.append(f"the ref stands at {ref[:40]}, the log says {head}")
    wrong += [line for line in git("fsck", "--no-dangling").splitlines() if line and "notice" not in line]
    return wrong


def of_trees(history: Iterable[Recorded], trees: dict[str, str]) -> list[str]:
    """Each commit holds the tree that was judged; ``trees`` has those that git shows, by commit."""
    judged = {r.fact.commit: r.fact.tree for r in history if r.name in ("TaskVerified", "BranchReverted")}
    return [
        f"{commit[:8]} holds {tree[:8]}, judged was {str(judged.get(commit))[:8]}"
        for commit, tree in trees.items()
        if judged.get(commit) != tree
    ]


def picture(repo: Path | None) -> dict[str, str]:
    """All of a user's repository, ``.git`` and what is not committed included: digest and mode by path."""
    found = {}
    for path in sorted(repo.rglob("*")) if repo is not None else ():
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        found[str(path)] = f"{path.lstat().st_mode:o} {digest}"
    return found


def of_source(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """The user's repository is what it was."""
    return [f"{path} of the user's is another one" for path in sorted({*before.items()} ^ {*after.items()})][:5]
