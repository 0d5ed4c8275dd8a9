"""The oracle: whether a difference touches what judges the task (acceptance 5 of the safety policy).

Files that were there before count when the criteria run or read them. New files count only where their mere presence
steers a runner: a conftest.py, a module that shadows one of the runner's, a program that is found in another's place;
and only where something judged before, so that who sets up a project is not taken for who bends it.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from schemas.safety.globs import matching
from schemas.safety.paths import TESTS
from schemas.safety.runners import GATE, LINT, PYTHON, RUST, SHADOWS
from services.safety.judges import Judges
from services.safety.manifests import MANIFESTS, steering
from services.workspace.difference import EXECUTABLE, LINK, FileChange

_PROGRAM_ENDINGS = ("", ".sh", ".py", ".js", ".exe", ".cmd", ".bat", ".ps1")
_RUST_TESTS = re.compile(r"^\s*#\[cfg\(.*\btest\b.*\)\]", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Touched:
    """A file that judges the task, and why it does."""

    path: str
    why: str


def touched(
    changes: Iterable[FileChange],
    judges: Judges,
    *,
    plan_files: Sequence[str] = (),
    files: Sequence[str] = (),
    before: Collection[str] | None = None,
) -> list[Touched]:
    """The changed files that judge a task, each once, in the order of paths.

    ``plan_files``: where the plan itself lies in the tree. ``files``: what the plan says that the task works on; a
    program that a criterion runs is the product if it is among them, but a test never is. ``before``: all paths that
    were there, if they are known: where nothing judged yet, who sets up the runner bends nothing.
    """
    bendable = before is None or judges.outside or any(_judged(path, judges) for path in before)
    found: dict[str, str] = {}
    for change in changes:
        for path in change.paths:
            why = _standing(change, path, judges, plan_files, files)
            if not why and bendable:
                why = _bending(change, path, judges)
            if why:
                found.setdefault(path, why)
    return [Touched(path, why) for path, why in sorted(found.items())]


def _judged(path: str, judges: Judges) -> bool:
    """A file that was there and that judges, or code that a judge of the machine looks at."""
    known = [ecosystem for ecosystem in judges.known() if ecosystem.name in _JUDGES_ALL]
    settings = any(matching(path, (*ecosystem.config, *ecosystem.languages)) for ecosystem in known)
    return settings or _is_oracle(path, judges)


_JUDGES_ALL = ("make", "jvm", "lint", "rust", "go")
"""Where settings hold the checks themselves, or tests stand in the code."""


def _is_oracle(path: str, judges: Judges) -> bool:
    given = _covered(path, judges.targets)
    tests = _is_test(path) and (judges.all_tests or given or _supports(path, judges.targets))
    runs = judges.testers and (tests or _named(path, judges.targets))
    return runs or _covered(path, judges.files)


def _standing(change: FileChange, path: str, judges: Judges, plan_files: Sequence[str], files: Sequence[str]) -> str:
    """Why a file that was there judges the task; empty if it does not."""
    if path in plan_files:
        return "it is the plan itself"
    if matching(path, GATE):
        return "it is the project's own gate"
    if path in change.existing and _is_oracle(path, judges) and (_is_test(path) or not _covered(path, files)):
        return "a criterion runs or reads it"
    if path in change.existing:
        return _settings(change, path, judges) or _inline_tests(change, path, judges)
    return ""


def _bending(change: FileChange, path: str, judges: Judges) -> str:
    """Why something new bends what judges the task; empty if it does not."""
    if change.new_mode == LINK and change.status == "A" and _above(path, judges.files | judges.targets):
        return "a criterion would follow this link"
    if _stands_in(change, path, judges):
        return "it would be found in the place of a program that a criterion runs"
    if PYTHON.name in judges.ecosystems and path == change.path and change.status != "M":
        module = _shadowed(path)
        if module:
            return f"it would be imported in the place of the module {module}"
    return _settings(change, path, judges) or _reaches(change, path, judges)


def _covered(path: str, roots: Iterable[str]) -> bool:
    """The path is one of these, lies below one, or is one of these as a module."""
    stem = posixpath.splitext(path)[0]
    for root in roots:
        top = root.strip("/").removeprefix("./")
        if path == top or stem == top or path.startswith(f"{top}/"):
            return True
    return False


def _named(path: str, targets: Iterable[str]) -> bool:
    """The path is one of these itself, whatever its name looks like."""
    return path in targets or posixpath.splitext(path)[0] in targets


def _above(path: str, roots: Iterable[str]) -> bool:
    """One of these lies below the path."""
    return any(root == path or root.startswith(f"{path}/") for root in roots)


def _is_test(path: str) -> bool:
    return matching(path, TESTS) is not None


def _supports(path: str, targets: Iterable[str]) -> bool:
    """It lies beside or below a test that is run, in a folder of tests, and is no test itself."""
    name = posixpath.basename(path)
    if re.match(r"test_|.*(?:_test|\.test|\.spec|_spec)\.", name):
        return False
    folders = {posixpath.dirname(target) for target in targets}
    return any(folder and matching(f"{folder}/x", TESTS) and path.startswith(f"{folder}/") for folder in folders)


def _stands_in(change: FileChange, path: str, judges: Judges) -> bool:
    """A file with the name of a program that a criterion starts; only what can be started counts."""
    if path != change.path or change.new_mode not in (EXECUTABLE, LINK):
        return False
    name, ending = posixpath.splitext(posixpath.basename(path))
    return ending in _PROGRAM_ENDINGS and (name in judges.names or posixpath.basename(path) in judges.names)


def _settings(change: FileChange, path: str, judges: Judges) -> str:
    for ecosystem in judges.known():
        obeyed = ecosystem.config if judges.testers or ecosystem is LINT else ()
        glob = matching(path, (*ecosystem.loaded, *obeyed))
        if glob:
            return f"it steers what {ecosystem.name} programs do ({glob})"
    name = posixpath.basename(path)
    obeys = {MANIFESTS.get(name), LINT.name} if judges.testers else {LINT.name}
    if name in MANIFESTS and judges.ecosystems & obeys:
        before = change.before if path in change.existing else None
        after = change.after if path == change.path else None
        if (steering(name, before) or None) != (steering(name, after) or None):
            return f"it steers what {MANIFESTS[name]} programs do"
    return ""


def _shadowed(path: str) -> str:
    """The module of Python or pytest that a file hides, because it is found first; empty if none."""
    folder, name = posixpath.split(path)
    top, stem = path.partition("/")[0], name.removesuffix(".py")
    if not name.endswith(".py"):
        return ""
    if folder and top in SHADOWS:
        return top
    found_first = folder in ("", "src", "lib") or _is_test(f"{folder}/x")
    return stem if found_first and stem in SHADOWS else ""


def _reaches(change: FileChange, path: str, judges: Judges) -> str:
    """Lines that reach into a runner, or end it early."""
    if path != change.path:
        return ""
    for ecosystem in judges.known():
        if path.endswith(ecosystem.languages or ("/",)):
            hooks = ecosystem.hooks if _is_test(path) else (*ecosystem.hooks, *ecosystem.hooks_in_code)
            place = next((place for hook in hooks if (place := change.place_of(hook)) is not None), None)
            if place is not None:
                return f"it reaches into a test runner at {place}"
    return ""


def _inline_tests(change: FileChange, path: str, judges: Judges) -> str:
    """Tests that stand inside the code, as in Rust."""
    if RUST.name in judges.ecosystems and path.endswith(".rs") and change.before and change.after is not None:
        if set(_rust_tests(change.before)) - set(change.after.splitlines()):
            return "tests inside it were changed"
        if change.place_of(r"#\[ignore") is not None:
            return "a test inside it is ignored from now on"
    return ""


def _rust_tests(text: str) -> Iterator[str]:
    """The lines of a Rust file from its first test module on, blank ones left out."""
    match = _RUST_TESTS.search(text)
    if match:
        yield from (line for line in text[match.start() :].splitlines() if line.strip() not in ("", "}"))
