"""The check on a request: what a task is told to do, before it runs (VE-9)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import lru_cache

from schemas.formats.markings import is_path
from schemas.safety.globs import matching
from schemas.safety.operations import OPERATIONS
from schemas.safety.paths import SECRET_SAMPLES, TESTS
from schemas.safety.rules import Safety
from schemas.values import Plan, Task
from services.safety.answer import Answer, Findings
from services.safety.shell import Program, read_script

_WRITES_TESTS = re.compile(
    r"\b(?:write|writes|add|adds|create|creates|extend|extends|implement|cover)\b[^.\n]{0,60}\b(?:tests?|coverage)\b",
    re.IGNORECASE,
)
_DENIED = re.compile(r"\b(?:no|not|never|without|don't|doesn't|do not|must not|avoid|excluding)\b[^.;\n]{0,30}$", re.I)
_SAFETY_LINE = re.compile(r"^.*\bsafety(?: check)?\b.*$", re.IGNORECASE | re.MULTILINE)
"""In a PROJECT_PLAN, the author's own check: it names what the task does not do."""


def check_request(plan: Plan, task: Task) -> Answer:
    """What the rules of the plan say about a task. A milestone and a person's own work do nothing of their own."""
    safety = plan.policy.safety
    findings = Findings(safety)
    if task.autonomy != "human":
        commands = [c.command for c in task.verify if c.command]
        _commands(findings, [*([task.run] if task.run else []), *([task.agent] if task.agent else [])], commands)
        if not task.noop:
            _figures(findings, task)
            _told(findings, task)
            for path in (*task.files, *task.outputs):
                declared(findings, path)
    return findings.answer()


def _figures(findings: Findings, task: Task) -> None:
    safety = findings.safety
    if safety.min_alignment is not None:
        if task.alignment is None:
            findings.add("alignment", f"it has no alignment score; {safety.min_alignment:g} of 100 are needed")
        elif task.alignment < safety.min_alignment:
            findings.add("alignment", f"its alignment score {task.alignment:g} is below {safety.min_alignment:g}")
    if safety.max_lines is not None and (task.estimated_lines or 0) > safety.max_lines:
        findings.add("size", f"{task.estimated_lines} estimated lines are more than {safety.max_lines}")
    if safety.tests_required and not tested(task) and not writes_tests(task):
        findings.add("tests", "no check is defined that needs nobody, and it does not say that it writes tests")


def tested(task: Task) -> bool:
    """Whether it has a check that the engine makes by itself."""
    return any(criterion.kind != "manual" for criterion in task.verify)


def writes_tests(task: Task) -> bool:
    """Whether it says that it writes tests."""
    files = any(matching(path, TESTS) for path in task.files)
    return files or _WRITES_TESTS.search(f"{task.title}\n{task.description}\n{task.prompt}") is not None


def _told(findings: Findings, task: Task) -> None:
    """Words and paths in what it is told. They are signs: a sentence can name what must not be done."""
    text = _SAFETY_LINE.sub("", "\n".join((task.title, task.description, task.prompt)))
    for operation in OPERATIONS.values():
        for word in operation.words:
            if _says(text, word):
                findings.add(operation.name, f"it is told to “{word}”: {operation.meaning}", severity="HIGH", mild=True)
                break
    for word in findings.safety.forbidden_words:
        if _says(text, word):
            findings.add("words", f"it is told “{word}”, which the policy forbids")
    for word in re.findall(r"[^\s`'\"“”(),;]+", text):
        path = word.rstrip(".:!?")
        if (is_path(path) or path.startswith(".env")) and not _denied(text, path):
            for name in operations_on(path):
                findings.add(name, f"it speaks of {path}: {OPERATIONS[name].meaning}", mild=True)


def _says(text: str, phrase: str) -> bool:
    pattern = r"(?<!\w)" + r"\s+".join(re.escape(part) for part in phrase.split()) + r"(?!\w)"
    return any(not _DENIED.search(text[: match.start()][-80:]) for match in re.finditer(pattern, text, re.IGNORECASE))


def _denied(text: str, word: str) -> bool:
    return all(_DENIED.search(text[: match.start()][-80:]) for match in re.finditer(re.escape(word), text))


def operations_on(path: str) -> Iterator[str]:
    """The operations that touching a path amounts to."""
    for operation in OPERATIONS.values():
        if matching(path, operation.paths) and not (
            operation.name == "secrets" and matching(path, SECRET_SAMPLES, exact=True)
        ):
            yield operation.name


def declared(findings: Findings, path: str) -> None:
    """A path that a task says it changes, or changed."""
    if not allowed(findings.safety, path):
        findings.add("outside", f"{path} is outside the allowed paths")
    glob = matching(path, findings.safety.forbidden_paths)
    if glob:
        findings.add("forbidden", f"{path} is forbidden by {glob}")
    for name in operations_on(path):
        findings.add(name, f"{path}: {OPERATIONS[name].meaning}")


def allowed(safety: Safety, path: str) -> bool:
    """Whether every list of allowed paths has it."""
    return all(matching(path.removeprefix("./"), globs, exact=True) for globs in safety.allowed_paths)


def _commands(findings: Findings, own: list[str], checks: list[str]) -> None:
    for command in own:
        for operation in OPERATIONS.values():
            if any(re.search(pattern, command, re.MULTILINE) for pattern in operation.commands):
                findings.add(operation.name, f"it runs {_short(command)}: {operation.meaning}")
            if any(re.search(pattern, command) for pattern in operation.content):
                findings.add(operation.name, f"it runs {_short(command)}: {operation.meaning}", mild=True)
    if not findings.safety.commands:
        return
    for command in (*own, *checks):
        script = read_script(command)
        if script.hidden:
            findings.add("command", f"what {_short(command)} starts cannot be seen: {script.hidden}")
        for program in script.programs:
            if not all(_listed(program, entries) for entries in findings.safety.commands):
                findings.add("command", f"{_short(' '.join(program.written))} is not on the list of allowed commands")


def _listed(program: Program, entries: tuple[str, ...]) -> bool:
    """Whether an entry allows a program: its first words are the entry's, and nothing redirects where it is found."""
    if any(a.split("=")[0] in ("PATH", "LD_PRELOAD", "PYTHONPATH", "NODE_OPTIONS") for a in program.assignments):
        return False
    return any(_begins(words, entry) for words in (program.words, program.written) for entry in entries)


def _begins(words: tuple[str, ...], entry: str) -> bool:
    wanted = _words(entry)
    return len(words) >= len(wanted) and all(fnmatchcase(a, b) for a, b in zip(words, wanted, strict=False))


@lru_cache(maxsize=1024)
def _words(entry: str) -> tuple[str, ...]:
    return tuple(entry.split())


def _short(command: str) -> str:
    line = " ".join(command.split())
    return f"`{line[:60]}…`" if len(line) > 60 else f"`{line}`"
