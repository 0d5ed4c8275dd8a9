"""What an output or a plan tells: errors, warnings, commands, calls to the network. Pure, and bounded in all it gives.

Only what tools print in their usual form is recognised; what is not recognised is left out, never guessed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator

from events.lesson import Trouble
from services.learner.normal import excerpt, normalised, plain, signature

ERRORS = 5
WARNINGS = 10
COMMANDS = 20
CALLS = 20
LONGEST = 4000
"""Characters of a line beyond which nobody wrote it for people."""

_ERROR = re.compile(
    r"""^\s*(?:
        [\w.]*(?:Error|Exception|Interrupt|Exit)\b:\s\S                 # Python, node: the last line of a traceback
      | (?:Uncaught\s+)?\w*(?:Error|Exception)\b(?::\s\S|\s\[)          # node, Java
      | Exception\ in\ thread\b | Caused\ by:\s | panic:\s | thread\ '.*'\ panicked
      | FAILED\s+\S+::\S+                                               # pytest's summary
      | \S+:\d+(?::\d+)?:\s+(?:fatal\s+)?error\b                        # gcc, clang, make
      | \S+:\d+:\d+:\s+(?:undefined|cannot|declared)\b                  # go
      | \S+\(\d+,\d+\):\s+error\b                                       # tsc, msbuild
      | error(?:\[E\d+\])?:\s\S                                         # rustc, git, cargo, ld
      | (?:npm\ (?:ERR!|error)|yarn\ error)\s+(?:code|\d+|[A-Za-z])
      | fatal:\s\S                                                      # git
      | make(?:\[\d+\])?:\s\*\*\*\s
      | E:\s\S                                                          # apt
      | curl:\s\(\d+\)\s
      | Error\ response\ from\ daemon:\s
      | (?:ERROR|FATAL|CRITICAL)\b[:\s\]]
      | (?:ld|collect2|cc1|configure|CMake\ Error|wget|ssh|tar|cp|mv|rm|ls|cat|mkdir)\S*:\s
        .*(?:error|annot|No\ such|denied|failed)
      | (?:\S*/)?(?:sh|bash|dash|zsh):\s.*(?:not\ found|No\ such\ file|ermission\ denied|yntax\ error)
      | Segmentation\ fault | Killed$ | Out\ of\ memory | Bus\ error | Aborted$
    )""",
    re.VERBOSE,
)
_DATED = re.compile(r"^[\W\dTZ]{0,60}(?:\[?[\w.-]{1,60}\]?\s+)?\[?(?:ERROR|FATAL|CRITICAL|SEVERE)\]?[\s:]")
"""A log's line: a time, perhaps a name, a level."""
_PYTEST = re.compile(r"^E\s{3,}(?=\S)")
"""What pytest puts before the lines of an error."""
_ASSERTION = re.compile(r"^E\s{3,}assert\s")
_NOT_AN_ERROR = re.compile(r"\b(?:0 errors?|no errors?|errors?: 0)\b|Warning: ", re.IGNORECASE)
_SECONDARY = re.compile(r"^(?:make(?:\[\d+\])?: \*\*\*|npm (?:ERR!|error) (?!code)|collect2:|FAILED |error: Recipe)")
"""Lines that only repeat that something failed: they count where nothing else is said."""
_WARNING = re.compile(
    r"^.*(?:\b(?:\w*Warning|warning|WARNING|WARN)(?::|\]|\s\[)|\b(?:WARN|WARNING)\s)\s*\S|^npm warn\s|^W:\s",
    re.MULTILINE,
)
_SHOWN = re.compile(r"^\s*(?:\$|\++|❯|➜)\s+(?=[\w./~\"'(\[{])(\S.*)$")
"""A command as a terminal or ``set -x`` shows it."""
_TOOL = re.compile(r"^\s*[⏺●•*]\s*(?:Bash|Shell|Run|Execute)\((.+?)\)?\s*$")
"""A command as coding agents show their tool calls."""
_RUNNING = re.compile(r"^\s*(?:Running|Executing)(?: shell)?(?: command)?:?\s+[`'\"](.+?)[`'\"]")
_SHELL_TOOLS = frozenset({"bash", "shell", "run", "execute", "run_command", "exec_command", "local_shell", "terminal"})
_URL = re.compile(r"\bhttps?://(?:[^\s/@'\"]*@)?([A-Za-z0-9.-]+(?::\d+)?)(/[^\s'\"?#`)<>\]]*)?")
_METHOD = re.compile(r"(?:-X\s*|--request[ =])['\"]?([A-Z]{3,7})\b|\bhttp\s+(GET|POST|PUT|PATCH|DELETE|HEAD)\b")
_REQUEST = re.compile(r"[\"'](GET|POST|PUT|PATCH|DELETE|HEAD) (/[^\s?\"']*)[^\"']* HTTP/[\d.]+[\"']")
_CALLER = re.compile(r"(?:^|[\s;|&(])(?:curl|wget|https?|xh|Invoke-WebRequest)\s")
_WRAPPERS = frozenset({"sudo", "env", "exec", "time", "nice", "nohup", "command", "!"})
_PREPARES = frozenset({"set", "cd", "export", "source", ".", "umask", "ulimit", "trap", "if", "for", "while", "then"})
_BODY = re.compile(r"(?:^|\s)(?:-d|--data(?:-\w+)?|-F|--form|--json)\b")
_VARYING_PART = re.compile(r"/(?:\d+|[0-9a-f]{7,}|[0-9a-f]{8}-[0-9a-f-]{27})(?=/|$)", re.IGNORECASE)


def _unique(items: Iterable[str], limit: int) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for item in items:
        if item and item not in found:
            found[item] = None
            if len(found) == limit:
                break
    return tuple(found)


def errors(output: str, reason: str = "") -> tuple[Trouble, ...]:
    """The errors that a failed attempt printed, the last ones first to be kept; its reason where it printed none."""
    lines = [_PYTEST.sub("", line) for line in plain(output).split("\n") if _is_error(line)]
    telling = [line for line in lines if not _SECONDARY.match(line.strip())] or lines
    found: dict[str, Trouble] = {}
    for line in reversed(telling):
        trouble = trouble_of(line)
        found.setdefault(trouble.signature, trouble)
        if len(found) == ERRORS:
            break
    if not found and reason:
        trouble = trouble_of(reason)
        found[trouble.signature] = trouble
    return tuple(reversed(found.values()))


def trouble_of(line: str) -> Trouble:
    """One line as an error."""
    return Trouble(signature=signature(line), text=normalised(line), excerpt=excerpt(line))


def _is_error(line: str) -> bool:
    if len(line) > LONGEST or _NOT_AN_ERROR.search(line):
        return False
    return bool(_ERROR.match(_PYTEST.sub("", line)) or _DATED.match(line) or _ASSERTION.match(line))


def warnings(output: str) -> tuple[str, ...]:
    """Normalised lines that warn, in the order in which they first came."""
    lines = (line for line in plain(output).split("\n") if len(line) <= LONGEST and _WARNING.match(line))
    return _unique((normalised(line) for line in lines if not re.search(r"\b0 warnings?\b", line)), WARNINGS)


def script(run: str) -> tuple[str, ...]:
    """The commands of a plan's shell text: a line each, continued lines joined, comments left out."""
    joined = re.sub(r"\\\n\s*", " ", run)
    lines = (line.strip() for line in joined.split("\n"))
    return _unique((excerpt(line) for line in lines if line and not line.startswith("#")), COMMANDS)


def shown(output: str) -> tuple[str, ...]:
    """The commands that an output shows: of a terminal, of ``set -x``, of an agent's tool calls as text or as JSON."""
    return _unique((excerpt(command) for command in _shown(output)), COMMANDS)


def _shown(output: str) -> Iterator[str]:
    for line in plain(output).split("\n"):
        if line.startswith("{") and '"' in line:
            yield from _of_json(line)
        elif len(line) <= LONGEST:
            match = _SHOWN.match(line) or _TOOL.match(line) or _RUNNING.match(line)
            if match:
                yield match[1].strip()


def _of_json(line: str) -> Iterator[str]:
    """Commands in a line of an agent's JSON stream, wherever a shell tool's ``command`` stands in it."""
    try:
        waiting = [json.loads(line)]
    except (ValueError, RecursionError):
        return
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += reversed(value)
        elif isinstance(value, dict):
            given = next((value[k] for k in ("input", "arguments", "action") if isinstance(value.get(k), dict)), value)
            command = given.get("command")
            name = str(value.get("name") or value.get("type") or "").lower()
            if command and (name in _SHELL_TOOLS or name == "command_execution"):
                yield " ".join(map(str, command)) if isinstance(command, list) else str(command).split("\n", 1)[0]
            else:
                waiting += reversed(list(value.values()))


def api_calls(commands: Iterable[str], output: str) -> tuple[str, ...]:
    """Calls to the network: method, host and path; parts of the path that are ids become ``*``."""
    return _unique((*_called(commands), *_served(output)), CALLS)


def _called(commands: Iterable[str]) -> Iterator[str]:
    for command in commands:
        if not _CALLER.search(command):
            continue
        named = _METHOD.search(command)
        method = (named[1] or named[2]) if named else "POST" if _BODY.search(command) else "GET"
        for url in _URL.finditer(command):
            yield f"{method} {url[1]}{_VARYING_PART.sub('/*', url[2] or '/')}"[:200]


def _served(output: str) -> Iterator[str]:
    for request in _REQUEST.finditer(plain(output)):
        yield f"{request[1]} {_VARYING_PART.sub('/*', request[2])}"[:200]


def tool_of(command: str) -> str:
    """The program that a shell text is about: the first that neither prepares the shell nor wraps another."""
    for part in re.split(r"&&|\|\||[;\n|]", command):
        words = [word.strip("\"'(){}") for word in part.split()]
        words = [w for w in words if w and not re.match(r"\w+=|-|#", w) and w not in _WRAPPERS]
        if words and words[0] not in _PREPARES:
            return words[0].rsplit("/", 1)[-1][:60]
    return ""
