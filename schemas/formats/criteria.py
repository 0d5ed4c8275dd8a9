"""Criteria as they stand in records: lists of texts, texts that are lists, and mappings that say how to check.

Beyond :mod:`schemas.formats.checks`, this knows the checks that every project has under a command of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from schemas.formats.checks import criterion, is_command, machine_path, unmask
from schemas.formats.positions import scalar_text
from schemas.reading import Diagnostic, Reading
from schemas.values import Criterion

_NAMED_CHECKS: tuple[tuple[str, str, str], ...] = (
    (
        r"(?:type[ -]?checks?(?:ing)?|types?)",
        "type",
        "if grep -qs '\"typecheck\"' package.json; then npm run typecheck; "
        "elif [ -f tsconfig.json ]; then npx --no-install tsc --noEmit; elif [ -f Cargo.toml ]; then cargo check; "
        "elif [ -f go.mod ]; then go vet ./...; elif [ -f pyproject.toml ]; then python -m mypy .; "
        "else echo 'no type checker was found' >&2; exit 1; fi",
    ),
    (
        r"(?:es)?lint(?:er|ing)?(?: checks?)?",
        "lint",
        "if grep -qs '\"lint\"' package.json; then npm run lint; elif [ -f Cargo.toml ]; then cargo clippy; "
        "elif [ -f pyproject.toml ]; then python -m ruff check .; else echo 'no linter was found' >&2; exit 1; fi",
    ),
    (
        r"(?:all |the |unit |existing |full |project |automated )*tests?(?: suite)?",
        "test",
        "if grep -qs '\"test\"' package.json; then npm test; elif [ -f Cargo.toml ]; then cargo test; "
        "elif [ -f go.mod ]; then go test ./...; "
        "elif [ -f pyproject.toml ] || [ -f pytest.ini ] || [ -d tests ]; then python -m pytest; "
        "else echo 'no test runner was found' >&2; exit 1; fi",
    ),
    (
        r"(?:the |project )*build",
        "build",
        "if grep -qs '\"build\"' package.json; then npm run build; elif [ -f Cargo.toml ]; then cargo build; "
        "elif [ -f go.mod ]; then go build ./...; else echo 'no build was found' >&2; exit 1; fi",
    ),
)
"""Checks that every project has under its own command: the words, the category, and how the command is found."""
_PASSES = r"\s+(?:still )?(?:pass|passes|passing|succeeds|is green|are green)(?: successfully)?\s*[.!]?"
_NAMED = tuple((re.compile(words + _PASSES, re.I), category, command) for words, category, command in _NAMED_CHECKS)
_VERDICT = re.compile(
    r"(.{2,400}?)\s+((?:still )?(?:passes|pass|passing|succeeds|exits|returns|runs|works|shows|prints|reports|"
    r"completes|fails|is|are|must|should)\b.{0,400})",
    re.IGNORECASE,
)
"""A command without marks around it, and what is said of it: ``npm test passes``."""
_WITH = re.compile(r"(?:verify|check|test)\s*:.{0,200}?\bwith\s+(\[ -[a-z] .{1,200} \]|grep -.{1,400})", re.I)
_ITEM = re.compile(r"\s*(?:[-*+•]|\d{1,3}[.)])\s+(?:\[[ xX~-]\]\s*)?(?:#\d{1,3}\s+)?(\S.*)")
_RUNNING = re.compile(
    r"\b(?:run|runs|running|execute|executing|invoke|via|using)\s+(?:`([^`\n]{1,300})`|'([^'\n]{1,300})'|\"([^\"\n]{1,300})\")",
    re.I,
)
_SENTENCE_WORDS = """
make find test set which source head just next file export command env cat sort touch go swift tree less more time
watch gem stack mix flask sphinx true false echo print type select join cut wait use http sed tail
"""
"""Programs whose names are also words that a sentence begins with."""
_WORDS = frozenset(_SENTENCE_WORDS.split())
_TARGETS = ("test", "tests", "build", "lint", "check", "typecheck", "all", "install", "verify", "ci", "fmt", "vet")
_MARKS = re.compile(r"`|&&|\|\||[|;<>]|\s-{1,2}\w|\./|\w/\w|\.\w{1,4}(?:\s|$)")
_IDLE = re.compile(r"--version$|^(?:ls|echo|cat|cd|mkdir|touch|git status|git log)\b(?!.*&&)")
"""Commands that succeed whatever was done."""
_TEXT_KEYS = ("criterion", "text", "description", "title", "name", "statement", "criteria", "check", "summary")
_COMMAND_KEYS = ("command", "cmd", "run", "test_command")


def checks_of(item: object) -> list[Criterion]:
    """The checks that one entry of a list of criteria asks for; a text with list items is one check an item."""
    if isinstance(item, dict):
        return _check_record(item)
    if isinstance(item, list):
        return [made for part in item if not isinstance(part, list) for made in checks_of(part)]
    return [made for part in split_items(scalar_text(item)) if (made := check(part))]


def split_items(text: str) -> list[str]:
    """The items of a text that is a list, with their continuation lines; else the text itself."""
    lines = text.strip().splitlines()
    if not any(_ITEM.match(line) for line in lines):
        return [text.strip()] if text.strip() else []
    parts: list[str] = []
    for line in lines:
        found = _ITEM.match(line)
        if found:
            parts.append(found.group(1).strip())
        elif line.strip() and parts and (line[:1].isspace() or not line.strip().endswith(":")):
            parts[-1] += " " + line.strip()
        elif line.strip() and not line.strip().startswith("#") and not line.strip().endswith(":"):
            parts.append(line.strip())
    return parts


def check(text: str) -> Criterion | None:
    """The check that one sentence asks for; None for an empty one."""
    bare = text.strip()
    if not bare:
        return None
    words = bare.rstrip(".!").casefold()
    for pattern, category, command in _NAMED:
        if pattern.fullmatch(words):
            return Criterion(id="", kind="command", text=bare, category=category, command=command)
    verdict = _VERDICT.match(bare) if "`" not in bare else None
    command = verdict.group(1).strip() if verdict else ""
    if verdict and is_command(command) and not _natural(command):
        return replace(criterion(f"`{command}` {verdict.group(2)}"), text=bare)
    looked = _WITH.fullmatch(bare)
    if looked:
        return _command(bare, looked.group(1))
    return Criterion(id="", kind="manual", text=bare) if _natural(bare) else criterion(bare)


def _natural(text: str) -> bool:
    """It begins with a program's name, but as a word of a sentence: "make sure that …", "test coverage is …"."""
    words = text.split(maxsplit=2)
    if not words or words[0] not in _WORDS or _MARKS.search(text):
        return False
    return len(words) != 2 or words[1].strip(".") not in _TARGETS


def _command(text: str, command: str) -> Criterion:
    found = unmask(command)
    if not found.provable:
        return Criterion(id="", kind="manual", text=text, command=found.command)
    return Criterion(id="", kind="command", text=text, command=found.command, expect=found.expect)


def _check_record(item: dict[str, Any]) -> list[Criterion]:
    """``{criterion, test, command}`` and the like; what is marked manual stays so."""
    texts = {key.casefold(): scalar_text(value) for key, value in item.items() if not isinstance(value, list | dict)}
    steps = [f"{word.capitalize()} {texts[word]}" for word in ("given", "when", "then") if texts.get(word)]
    said = next((texts[key] for key in _TEXT_KEYS if texts.get(key)), ", ".join(steps))
    command = next((texts[key] for key in _COMMAND_KEYS if texts.get(key)), "")
    if not said and not command:
        return []
    made = _command(said or command, command) if command else check(said)
    if made is None:
        return []
    if texts.get("test", texts.get("type", "")).casefold() == "manual":
        made = replace(made, kind="manual")
    return [made]


def prose(text: str) -> list[Criterion]:
    """A paragraph on how to test: one check for each command that it names for running, else one for a person."""
    bare = text.strip()
    if not bare:
        return []
    whole = check(bare)
    if whole is not None and whole.kind != "manual":
        return [whole]
    commands = ["".join(parts) for parts in _RUNNING.findall(bare[:20_000])]
    told = [command for command in dict.fromkeys(commands) if is_command(command) and not _IDLE.search(command)]
    made = [_command(bare, command) for command in told]
    return [one for one in made if one.kind != "manual"] or [Criterion(id="", kind="manual", text=bare)]


def numbered(checks: Iterable[Criterion]) -> list[Criterion]:
    """With ids ``c1``, ``c2``, …"""
    return [replace(one, id=f"c{number}") for number, one in enumerate(checks, 1)]


def report_commands(reading: Reading) -> None:
    """Commands that name the author's own machine, and commands that cannot fail, are reported."""
    for task in reading.tasks:
        for one in task.criteria:
            if not one.command:
                continue
            path = machine_path(one.command)
            if path is not None:
                message = f"a check of {task.id!r} names {path!r}, a path of the author's own machine"
                hint = "use paths relative to the repository"
                reading.diagnostics.append(Diagnostic("warning", "machine-path", message, task.file, task.line, hint))
            if one.kind == "manual" and not unmask(one.command).provable:
                message = f"a check of {task.id!r} cannot fail as it is written, so a person has to look at it"
                hint = "let the command itself fail"
                reading.diagnostics.append(Diagnostic("warning", "masked-exit", message, task.file, task.line, hint))
