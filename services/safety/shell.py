"""The programs in a shell command, as far as they can be seen without running it."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from schemas.safety.runners import SHELLS

_SEPARATORS = frozenset("();&|\n")
_RESERVED = frozenset({"if", "then", "else", "elif", "while", "until", "do", "!", "{", "time", "exec", "command"})
_CLOSING = frozenset({"fi", "done", "}", "esac"})
_LOOPS = frozenset({"for", "case", "select", "function"})
_BEFORE = frozenset({"env", "nice", "nohup", "timeout", "stdbuf", "ionice", "chronic", "npx", "bunx"})
"""Programs that start another one."""
_RUNNERS = frozenset({"poetry", "uv", "pdm", "pipenv", "hatch", "rye", "bundle"})
"""Programs that start another one after `run` or `exec`."""
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_INNER = re.compile(r"\$\(([^()]*)\)|`([^`]*)`")


@dataclass(frozen=True, slots=True)
class Program:
    """One program with its arguments, where it is started, and what is set for it."""

    words: tuple[str, ...]
    """Without what only starts it: ``pytest -q`` for ``timeout 60 python -m pytest -q``."""
    written: tuple[str, ...] = ()
    """With it."""
    folder: str = "."
    """Relative to the workspace, as far as `cd` says so."""
    assignments: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    """Files that its input or output is."""

    @property
    def name(self) -> str:
        """The program's name without its folder."""
        return posixpath.basename(self.words[0])


@dataclass(frozen=True, slots=True)
class Script:
    """What a shell command starts."""

    programs: tuple[Program, ...]
    hidden: str = ""
    """What nobody can see without running it, if anything."""


@lru_cache(maxsize=4096)
def read_script(command: str) -> Script:
    """The programs that a shell command starts, those inside `sh -c` and substitutions included."""
    programs: list[Program] = []
    hidden = ""
    try:
        tokens = _tokens(command)
    except ValueError as error:
        return Script((), f"{command[:60]!r} cannot be read: {error}")
    folder = "."
    for words, files in _simple(tokens):
        if words and words[0] in _LOOPS:
            hidden = hidden or f"{' '.join(words)[:60]!r} starts what it finds"
        assignments, rest = _start(words)
        if not rest:
            continue
        if rest[0] == "cd" and len(rest) > 1:
            folder = posixpath.normpath(posixpath.join(folder, rest[1]))
        written = tuple(word for word in words if word not in _RESERVED)[len(assignments) :]
        program = Program(tuple(rest), written, folder, tuple(assignments), tuple(files))
        programs.append(program)
        if rest[0] in ("eval", "source", ".", "xargs") or rest[0].startswith("$"):
            hidden = hidden or f"{' '.join(rest)[:60]!r} is known only when it runs"
        if program.name in SHELLS and (inner := _after(rest, "-c")) is not None:
            below = read_script(inner)
            programs += below.programs
            hidden = hidden or below.hidden
    for match in _INNER.finditer(command):
        below = read_script(match[1] or match[2] or "")
        programs += below.programs
        hidden = hidden or below.hidden
    return Script(tuple(programs), hidden)


def _tokens(command: str) -> list[str]:
    lexer = shlex.shlex(command, posix=True, punctuation_chars="();<>|&\n")
    lexer.whitespace = " \t\r"
    lexer.whitespace_split = True
    lexer.commenters = ""
    return list(lexer)


def _simple(tokens: list[str]) -> Iterator[tuple[list[str], list[str]]]:
    """The words of each simple command, and the files it is connected to."""
    words: list[str] = []
    files: list[str] = []
    rest = iter(tokens)
    for token in rest:
        if token[0] in "<>" and set(token) <= set("<>&|"):
            target = next(rest, "")
            if not target.isdigit():
                files.append(target)
            if words and words[-1].isdigit():
                words.pop()
        elif set(token) <= _SEPARATORS:
            yield words, files
            words, files = [], []
        else:
            words.append(token)
    yield words, files


def _start(words: list[str]) -> tuple[list[str], list[str]]:
    """Assignments before the program, and the program with its arguments, without what only starts it."""
    assignments: list[str] = []
    rest = list(words)
    while rest:
        first = posixpath.basename(rest[0])
        if rest[0] in _CLOSING or rest[0] in _LOOPS:
            return assignments, []
        if _ASSIGNMENT.match(rest[0]):
            assignments.append(rest.pop(0))
        elif rest[0] in _RESERVED:
            rest.pop(0)
        elif first in _BEFORE and len(rest) > 1:
            rest.pop(0)
            while rest and (rest[0].startswith("-") or re.fullmatch(r"\d+(\.\d+)?[smhd]?", rest[0])):
                rest.pop(0)
        elif first in _RUNNERS and len(rest) > 2 and rest[1] in ("run", "exec"):
            rest = rest[2:]
            while rest and rest[0].startswith("-"):
                rest.pop(0)
        elif re.fullmatch(r"(?:python|pypy)[\d.]*", first) and (module := _module(rest)) is not None:
            return assignments, module
        else:
            return assignments, rest
    return assignments, []


def _module(words: list[str]) -> list[str] | None:
    """The module that Python runs with `-m`, as the program."""
    for number, word in enumerate(words[1:], 1):
        if word == "-m" and number + 1 < len(words):
            return words[number + 1 :]
        if not word.startswith("-") or word == "-c":
            return None
    return None


def _after(words: list[str], option: str) -> str | None:
    for number, word in enumerate(words[:-1]):
        if word == option or (word.startswith("-") and not word.startswith("--") and word.endswith(option[1])):
            return words[number + 1]
    return None
