"""Whether the engine may push a branch (RE-4, C14): pure, for whoever publishes a result."""

from __future__ import annotations

from fnmatch import fnmatchcase

from schemas.safety.rules import Safety


def push_refusal(safety: Safety, branch: str) -> str:
    """Why the engine may not push a branch; empty if it may. Tasks never push, whatever this says."""
    if not safety.push:
        return "the safety policy grants no push"
    glob = next((glob for glob in safety.protected_branches if fnmatchcase(branch, glob)), None)
    return f"the branch {branch} is protected by {glob}" if glob else ""
