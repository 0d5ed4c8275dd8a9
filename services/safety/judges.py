"""What judges a task: the programs, tests and settings that its criteria run or read."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from schemas.formats.paths import is_path
from schemas.safety.globs import matching
from schemas.safety.paths import TESTS
from schemas.safety.runners import COMPARERS, ECOSYSTEMS, INTERPRETERS, LINT, LOOKING, NODE, PYTHON, SHELLS, Ecosystem
from schemas.values import Criterion
from services.safety.shell import Program, read_script

_FLAG = re.compile(r"-[qvxsl]+|-r\w+|--[\w-]+=.*|--(?:quiet|verbose|strict-markers|exitfirst|no-header|run|ci)?")
"""An option of a test runner that takes no further word."""
_CHECKING = re.compile(r"test|check|verif|valid|lint|gate|qualit|spec|\bci\b", re.IGNORECASE)


@dataclass(slots=True)
class Judges:
    """What a set of criteria runs and reads."""

    ecosystems: set[str] = field(default_factory=set)
    """Whose settings matter."""
    testers: bool = False
    """Test runners are among the programs."""
    all_tests: bool = False
    """A test runner takes whatever tests it finds."""
    targets: set[str] = field(default_factory=set)
    """Paths that test runners are given."""
    files: set[str] = field(default_factory=set)
    """Programs in the tree, and what they or a comparison read."""
    names: set[str] = field(default_factory=set)
    """Programs that are looked up by name: a file of that name could be found in their place."""
    outside: bool = False
    """Something judges that is not in the tree: code in a criterion itself, a program of the machine."""

    def known(self) -> list[Ecosystem]:
        """The ecosystems whose settings matter."""
        return [ecosystem for ecosystem in ECOSYSTEMS if ecosystem.name in self.ecosystems]

    def anything(self) -> None:
        """Something runs that nobody can see through, so all settings and all tests matter."""
        self.ecosystems.update(ecosystem.name for ecosystem in ECOSYSTEMS)
        self.testers = self.all_tests = True


def judges_of(criteria: Iterable[Criterion]) -> Judges:
    """What the criteria run and read. What a file or a pattern is looked up in is the product, not the judge."""
    judges = Judges()
    for criterion in criteria:
        kind: str = criterion.kind
        if criterion.command is not None:
            script = read_script(criterion.command)
            compares = any(program.name in COMPARERS for program in script.programs)
            for program in script.programs:
                _program(judges, program, compares)
            if script.hidden:
                judges.anything()
                whole = Program((criterion.command,))
                judges.files |= {
                    path for word in re.findall(r"[\w./-]+", criterion.command) if (path := _path(whole, word))
                }
        elif kind == "quality":
            judges.ecosystems |= {LINT.name, PYTHON.name, NODE.name}
        elif kind not in ("file", "regex", "http", "manual"):
            judges.anything()  # a kind that finds its tests by itself
    return judges


def _program(judges: Judges, program: Program, compares: bool) -> None:
    arguments = {path for word in program.words[1:] if (path := _path(program, word)) and _is_file(path)}
    connected = {path for word in program.files if (path := _path(program, word))}
    if program.name in LINT.programs:
        judges.ecosystems.add(LINT.name)
    if program.name in LOOKING or program.name in LINT.programs:
        judges.files |= (arguments | connected) if compares else connected
        return
    if "/" not in program.words[0]:
        judges.names.add(program.name)
    mine = {ecosystem.name for ecosystem in ECOSYSTEMS if program.name in ecosystem.programs}
    judges.ecosystems |= mine
    if _runs_tests(program):
        _tester(judges, program, mine, arguments | connected)
        return
    judges.outside = True
    judges.files |= arguments | connected
    own = _path(program, program.words[0]) if "/" in program.words[0] else ""
    if own:
        judges.files.add(own)
    checks = program.name in INTERPRETERS and any(_CHECKING.search(path) for path in arguments)
    if own or checks or (program.name in SHELLS and arguments):
        judges.anything()


def _runs_tests(program: Program) -> bool:
    line = " ".join((program.name, *program.words[1:]))
    return any(f"{line} ".startswith(f"{tester} ") for ecosystem in ECOSYSTEMS for tester in ecosystem.testers)


def _tester(judges: Judges, program: Program, mine: set[str], paths: set[str]) -> None:
    """A test runner: it takes the tests it is given, or all. Settings named in its options are read by it."""
    judges.testers = True
    if not mine & {PYTHON.name, NODE.name}:
        judges.all_tests = True
        judges.files |= paths
        if "make" in mine:
            judges.anything()
        return
    targets: set[str] = set()
    before = ""
    for word in program.words[1:]:
        path = _path(program, word)
        if not word.startswith("-") and (not before.startswith("-") or _FLAG.fullmatch(before)):
            if path:
                targets.add(path)
            elif re.fullmatch(r"[\w-]+", word):
                judges.targets.add(posixpath.normpath(posixpath.join(program.folder, word)))
        elif path and _is_file(path):
            judges.files.add(path)
        before = word
    judges.targets |= targets
    judges.all_tests = judges.all_tests or not targets or program.name in ("npm", "yarn", "pnpm", "bun", "tox", "nox")


def _is_file(path: str) -> bool:
    """It looks like a file, or lies among the tests. A folder that is named is mostly the product."""
    return posixpath.splitext(path)[1] != "" or ("/" in path and matching(path, TESTS) is not None)


def _path(program: Program, word: str) -> str:
    """The path in a word of a command, relative to the workspace; empty if it holds none.

    A test's name behind `::` is no part of it, `tests.test_x` is the module in tests/test_x, and of a glob its folder
    counts.
    """
    value = word.partition("=")[2] if word.startswith("-") else word
    value = re.sub(r"/\.\.\.$", "", value.partition("::")[0])
    value = re.sub(r"(?:^|/)[^/]*[*?\[].*", "", value).rstrip("/")
    if value in ("", ".", "..") or value[0] in "$/~-" or "://" in value or re.search(r"[\s(){}<>|;*]", value):
        return ""
    if re.fullmatch(r"\w+(?:\.\w+)+", value) and not is_path(value):
        value = value.replace(".", "/")
    elif not (is_path(value) or "/" in value or matching(f"{value}/x", TESTS)):
        return ""
    path = posixpath.normpath(posixpath.join(program.folder, value))
    return "" if path.startswith("..") or path == "." else path
