"""The operations that the safety rules tell apart, as data: how each is recognised and where it stands in a profile.

The lists are those of the founding documents (C2, C17, s4), completed for the usual ecosystems. `paths` are globs on
changed paths, `words` occur in what a task is told to do, `content` are regular expressions on added lines, `commands`
regular expressions on the shell commands that a plan names.
"""

from __future__ import annotations

from dataclasses import dataclass

from schemas.safety.paths import CI, DEPENDENCIES, MIGRATIONS, PRODUCTION, SECRETS, SECURITY
from schemas.safety.rules import Severity, Stand


@dataclass(frozen=True, kw_only=True, slots=True)
class Operation:
    """Something that a task may do, needs a yes for, or never does."""

    name: str
    meaning: str
    severity: Severity
    default: Stand
    """In the profiles default, maestro and build."""
    overnight: Stand
    paths: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    content: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()


_GIT = r"\bgit(?:\s+-\S+(?:\s+[^-\s]\S*)?)*"
"""The git program with its own options, each with a word behind it or none."""

_OPERATIONS = (
    Operation(
        name="outside", meaning="change a path that no list allows", severity="HIGH", default="ask", overnight="ask"
    ),
    Operation(
        name="forbidden", meaning="change a path that the policy forbids", severity="CRITICAL",
        default="never", overnight="never",
    ),
    Operation(
        name="words", meaning="be told to do something that the policy forbids by its words", severity="HIGH",
        default="ask", overnight="ask",
    ),
    Operation(
        name="content", meaning="add a line that the policy forbids", severity="CRITICAL", default="ask",
        overnight="ask",
    ),
    Operation(
        name="command", meaning="start a program that the allow-list lacks", severity="CRITICAL",
        default="never", overnight="never",
    ),
    Operation(
        name="delete", meaning="delete a file", severity="HIGH", default="may", overnight="ask",
        words=("delete file", "delete the file", "delete files", "remove file", "remove the file"),
    ),
    Operation(
        name="dependencies", meaning="change what the project depends on", severity="CRITICAL", default="may",
        overnight="ask", paths=DEPENDENCIES,
        words=("add dependency", "add dependencies", "new dependency", "new dependencies", "install package",
               "install packages", "upgrade dependency", "upgrade dependencies"),
        commands=(r"\bpip3?\s+install\b", r"\b(?:npm|pnpm|bun)\s+(?:install|i|add)\s+[^-\s;&|]", r"\byarn\s+add\b",
                  r"\b(?:poetry|uv|pdm|cargo|dotnet)\s+add\b", r"\bgo\s+get\b", r"\bgem\s+install\b",
                  r"\bcomposer\s+require\b", r"\bapt(?:-get)?\s+install\b"),
    ),
    Operation(
        name="ci", meaning="change what a build server runs", severity="CRITICAL", default="may", overnight="never",
        paths=CI,
    ),
    Operation(
        name="secrets", meaning="put a secret or an environment file into the tree", severity="CRITICAL",
        default="never", overnight="never", paths=SECRETS,
        content=(r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----",),
    ),
    Operation(
        name="ignore", meaning="change what git ignores", severity="CRITICAL", default="may", overnight="never",
        paths=(".gitignore",),
    ),
    Operation(
        name="git", meaning="change git's own files, or a submodule", severity="CRITICAL", default="ask",
        overnight="never", paths=(".gitmodules", ".gitattributes", ".lfsconfig", ".gitconfig", ".git/"),
        commands=(rf"{_GIT}\s+submodule\s+add\b",),
    ),
    Operation(
        name="git_settings", meaning="change git's configuration or remotes", severity="CRITICAL", default="may",
        overnight="never", commands=(rf"{_GIT}\s+config\b", rf"{_GIT}\s+remote\s+(?:add|set-url)\b"),
    ),
    Operation(
        name="production", meaning="change how it runs in production", severity="CRITICAL", default="may",
        overnight="never", paths=PRODUCTION,
    ),
    Operation(
        name="migrations", meaning="change or add a database migration", severity="HIGH", default="may",
        overnight="ask", paths=MIGRATIONS, words=("migration", "migrations", "migrate the"),
    ),
    Operation(
        name="database", meaning="change the schema of a database, or delete its rows", severity="CRITICAL",
        default="may", overnight="ask", words=("drop table", "remove column", "drop column"),
        content=(r"(?i)\bdrop\s+(?:table|database|schema|column)\b", r"(?i)\bdelete\s+from\b",
                 r"(?i)\btruncate\s+(?:table\s+)?\w", r"(?i)\balter\s+table\b"),
    ),
    Operation(
        name="authentication", meaning="change how people are let in, or security code", severity="HIGH",
        default="may", overnight="ask", paths=SECURITY,
        words=("authentication", "authorization", "security code", "password", "login"),
    ),
    Operation(
        name="external", meaning="use a service outside", severity="HIGH", default="may", overnight="ask",
        words=("stripe", "payment", "payments", "external api", "external service", "third-party api"),
        commands=(r"\b(?:curl|wget)\s",),
    ),
    Operation(
        name="architecture", meaning="change the architecture", severity="HIGH", default="may", overnight="ask",
        words=("architecture", "rearchitect", "redesign"),
    ),
    Operation(
        name="size", meaning="change more lines than the policy allows", severity="HIGH", default="ask",
        overnight="ask",
    ),
    Operation(
        name="alignment", meaning="be less aligned with the project than the policy asks", severity="HIGH",
        default="ask", overnight="ask",
    ),
    Operation(
        name="tests", meaning="have no test", severity="HIGH", default="ask", overnight="ask",
    ),
    Operation(
        name="binary", meaning="change a file that nobody can read", severity="MEDIUM", default="may",
        overnight="ask",
    ),
    Operation(
        name="links", meaning="add or change a symbolic link", severity="MEDIUM", default="may", overnight="ask",
    ),
    Operation(
        name="modes", meaning="make a file a program, or a program a file", severity="MEDIUM", default="may",
        overnight="ask",
    ),
    Operation(
        name="escape", meaning="add a link that leads out of the workspace", severity="CRITICAL", default="never",
        overnight="never",
    ),
    Operation(
        name="push", meaning="push, or open a pull request: only the engine does that", severity="CRITICAL",
        default="never", overnight="never",
        commands=(rf"{_GIT}\s+(?:push|send-pack)\b", r"\b(?:gh\s+pr|glab\s+mr)\s+(?:create|merge)\b"),
    ),
    Operation(
        name="privilege", meaning="take another user's rights", severity="CRITICAL", default="never",
        overnight="never",
        commands=(r"(?:^|[;&|(]\s*)(?:sudo|su|doas|pkexec|nsenter|unshare|setcap)\b", r"\bchmod\s+\S*[ug]\+s"),
    ),
)  # fmt: skip

OPERATIONS: dict[str, Operation] = {operation.name: operation for operation in _OPERATIONS}
