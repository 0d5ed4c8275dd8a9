"""Whether an execution may use its branch (RE-4, C14): pure. The engine moves no other one, and pushes none."""

from __future__ import annotations

from fnmatch import fnmatchcase

from schemas.safety.rules import Safety


def branch_refusal(safety: Safety, branch: str) -> str:
    """Why an execution may not have a branch of this name; empty if it may."""
    glob = next((glob for glob in safety.protected_branches if fnmatchcase(branch, glob)), None)
    return f"its branch {branch} is protected by {glob}" if glob else ""
