"""Git for the executor and the verifier: the engine's own repositories, and the working folders of tasks.

The user's checkout is only fetched from, never written to. Nothing that a repository or a task brings along is run by
the engine's git. What is true is decided by the log; the refs here are a projection of it, and can be set again.
May import from: `events`, `schemas`. Knows nothing about events or policy.
"""

from services.workspace.comparison import Change, Conflict
from services.workspace.difference import FileChange, read_difference, read_paths
from services.workspace.git import GitFailed, GitTooOld, git_version
from services.workspace.removal import OutsideRoot
from services.workspace.repository import Repository
from services.workspace.snapshot import Unrecordable
from services.workspace.workspace import Workspace

__all__ = [
    "Change",
    "Conflict",
    "FileChange",
    "GitFailed",
    "GitTooOld",
    "OutsideRoot",
    "Repository",
    "Unrecordable",
    "Workspace",
    "git_version",
    "read_difference",
    "read_paths",
]
