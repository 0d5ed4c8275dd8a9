"""From words to checks: which criteria can be tested by a command or a file, and which need a person (FORMATS 1.2).

A command is taken exactly as written; policy decides whether it runs. Wording that asks for more than can be
tested (an output "with accurate counts") stays manual, for a check that cannot fail would be a false "done".
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import Any

from schemas.formats.paths import is_path
from schemas.values import Criterion

_PROGRAM_NAMES = """
git npm npx pnpm pnpx yarn bun bunx deno node ts-node tsx tsc eslint prettier jest vitest mocha playwright
cypress python python3 py pytest uv uvx poetry pipenv tox nox ruff mypy black flake8 pyright pip pip3 make
cmake ctest just task cargo rustc rustfmt go gofmt golangci-lint docker docker-compose podman kubectl helm
terraform curl wget http grep egrep fgrep rg ag sed awk jq yq cat head tail ls find wc test diff cmp sort bash
sh zsh cd mkdir cp mv rm touch echo printf true false env sqlite3 psql mysql redis-cli mvn gradle gradlew java
javac kotlinc swift xcodebuild dotnet mix elixir iex rebar3 ruby bundle rails rake rspec gem php composer
phpunit artisan perl lua stack cabal ghc zig nix gh aws gcloud az vercel wrangler supabase prisma flutter dart
adb ansible-playbook shellcheck actionlint set export command which source timeout xargs tree stat file
sha256sum openssl nc ping ssh turbo nx lerna biome oxlint vite webpack rollup esbuild next astro expo hugo
mkdocs sphinx-build alembic flask django-admin uvicorn gunicorn
"""
_PROGRAMS = frozenset(_PROGRAM_NAMES.split())
_WITHOUT_ARGUMENTS = "pytest make tsc mypy ruff eslint jest vitest tox nox just ctest rspec phpunit cargo actionlint"
_ALONE = frozenset(_WITHOUT_ARGUMENTS.split())
_RUN = re.compile(
    r"(?:\*\*|__)?(?:run|command|cmd|execute|validate|automated)(?:\*\*|__)?\s{0,3}:(?:\*\*|__)?\s*(.+)", re.I
)
_TICKED = re.compile(r"`([^`\n]{1,2000})`")
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=\S*\s+\S")
_OPERATOR = re.compile(r"&&|\|\||[|;<>]|\s-{1,2}\w")
_MACHINE = re.compile(
    r"(?:(?<![\w.])/(?:Users|home)/[\w.\-]+/|(?<![A-Za-z])[A-Za-z]:[\\/]Users[\\/][\w.\-]+[\\/]|/mnt/c/Users/)"
)
_ECHO = re.compile(r"(?:echo|printf)\s+(?:\"([^\"`$\\]{1,80})\"|'([^'\\]{1,80})'|([\w.:!-]{1,80}))\s*$")
_FILTER = re.compile(r"(?:tail|tee|cat|sort|less|more|head|jq|sed|awk|cut|tr)\b")
_EXIT = re.compile(r"\bexit(?:s|ed)?\b(?:\s+(?:with|code|status|is|of|=|:)){0,3}\s*(\d{1,3}|non-?zero|zero)?", re.I)
_FINE = re.compile(
    r"(?:\s|[.,;:!—–-]|\b(?:and|then|is|are|with|all|still|now|the|it|code|status|without|no|zero|0|errors?|warnings?|"
    r"failures?|issues?|completes?|completed|clean|cleanly|green|pass|passes|passing|passed|succeeds?|successful|"
    r"successfully|works?|compiles?|builds?|runs?|ok|tests?|suite|command|must|should|locally)\b){0,40}",
    re.I,
)
_NO_MATCH = re.compile(
    r"\b(?:no|zero|0)\s+(?:match|matches|results?|hits|output|lines|occurrences)\b|\breturns nothing\b", re.I
)
_PRINTS = re.compile(
    r"^\W{0,4}(?:returns?|prints?|outputs?|shows?|equals?|is|==|=|→|->)\s+(?:`([^`\n]{1,60})`|(\d{1,9}))\W{0,3}$", re.I
)
_NOT = re.compile(r"\b(?:no longer|not|never|free of)\b", re.I)
_CONTAINS = re.compile(r"\b(?:contain(?:s|ing)?|includes?|mentions?|has)\b", re.I)
_EXISTS = re.compile(
    r"\b(?:exists?|is (?:present|created|deleted|removed)|(?:was|been) (?:created|deleted|removed))\b", re.I
)
_GONE = re.compile(r"\b(?:deleted|removed)\b", re.I)
_QUOTED = re.compile(r"`([^`\n]{1,300})`|\"([^\"\n]{1,300})\"")
_BARE_PATH = re.compile(
    r"(?:file\s+)?([\w.@/+\-\[\]]{1,200}\.[A-Za-z]\w{0,9}|[\w.@+\-\[\]]{1,100}(?:/[\w.@+\-\[\]]{1,100})+)(?=\s|$)", re.I
)
_LINES = re.compile(
    r"^\W{0,3}(?:has|is|with|contains)?\s*(?:at least|>=|≥|min(?:imum)?(?: of)?)\s*(\d{1,6})\s*\+?\s*lines", re.I
)
_PASSES = re.compile(r"\s(?:passes|pass|succeeds|works|completes|exits 0|exits with (?:code )?0)[.\s]*$")
_QUOTATION = re.compile(r"\"[^\"\n]*\"|'[^'\n]*'")
_LOOP = re.compile(r"(?:for|while|until)\s[^;\n]{1,300};\s*do\s|if\s[^;\n]{1,300};\s*then\s")
_PROSE_WORDS = """
the a an that all is are for of in each every this when if fails fail failing passes pass succeeds returns shows prints
exits should must still works runs outputs reports to and with your any
"""
_PROSE = frozenset(_PROSE_WORDS.split())
_JOINING = frozenset({
    "and", "or", "nor", "any", "the", "text", "string", "a", "an", "function", "class", "line", "lines", "entry",
    "export", "import", "interface", "type", "const", "method", "case", "sensitive", "both", "reference", "to",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Command:
    """A shell command with what makes it pass."""

    command: str
    expect: str | None = None
    """What the last line of output must be."""
    masked: bool = False
    """As written its exit status says nothing."""
    provable: bool = True
    """False: as written it cannot fail, so it proves nothing."""


def is_command(text: str) -> bool:
    """It reads like a shell command, not like a name or a path."""
    bare = text.strip()
    if not bare or ("\n" in bare and bare.split(maxsplit=1)[0] not in _PROGRAMS):
        return False
    bare = bare.removeprefix("$ ").removeprefix("! ").lstrip()
    if _ASSIGNMENT.match(bare):
        return True
    first, _, rest = bare.partition(" ")
    program = first.rpartition("/")[2]
    if first in ("[", "[[", "("):
        return len(rest) > 3
    if first.startswith(("./", "../", "bin/", "scripts/", ".venv/bin/", "node_modules/.bin/")):
        return bool(rest) or first.endswith((".sh", ".py")) or program in _PROGRAMS
    if program not in _PROGRAMS:
        return False
    return bool(rest.strip()) or program in _ALONE


def machine_path(text: str) -> str | None:
    """A path on the author's own machine (``/Users/name/``, ``C:\\Users\\name\\``), if the text holds one."""
    found = _MACHINE.search(text)
    return found.group() if found else None


def unmask(command: str) -> Command:
    """Find the endings that make every command succeed.

    ``cmd && echo "PASS" || echo "FAIL"`` keeps its words and must print PASS last. A pipe into ``tail`` and the like
    is run with pipefail. What ends in ``|| true``, ``|| echo …`` or ``; echo …`` proves nothing.
    """
    text = command.strip()
    head, found, tail = text.rpartition("||")
    if found and "\n" not in tail:
        last = tail.strip().rstrip(";")
        if _ECHO.match(last):
            good = _ECHO.match(head.rpartition("&&")[2].strip()) if "&&" in head else None
            if good:
                return Command(text, expect=(good.group(1) or good.group(2) or good.group(3)).strip(), masked=True)
            return Command(text, masked=True, provable=False)
        if last in ("true", ":", "exit 0"):
            return Command(text, masked=True, provable=False)
    after = text.rpartition(";")[2].strip() if ";" in text else ""
    if after and (after in ("true", "exit 0") or after.startswith(("echo ", "printf "))) and "done" not in after[:5]:
        return Command(text, masked=True, provable=False)
    piped = text.rpartition("|")
    if piped[1] and not piped[0].endswith("|") and _FILTER.match(piped[2].strip()) and "pipefail" not in text:
        if re.match(r"\s*(?:head|jq|sed|awk|cut|tr|sort)\b", piped[2]):
            return Command(text, masked=False)
        return Command(f"bash -o pipefail -c {shlex.quote(text)}", masked=True)
    return Command(text)


def command_in(text: str) -> Command | None:
    """The command that a criterion or step names: after "Run:", in back-ticks, or the whole text."""
    bare = text.strip()
    found = _RUN.match(bare)
    if found:
        rest = found.group(1).strip()
        ticked = _TICKED.match(rest)
        if ticked:
            return unmask(ticked.group(1))
        return unmask(rest.strip("`")) if is_command(rest.strip("`")) else None
    ticked = _TICKED.fullmatch(bare)
    if ticked:
        return unmask(ticked.group(1)) if is_command(ticked.group(1)) else None
    if "`" in bare:
        return None
    bare = _PASSES.sub("", bare) if "\n" not in bare else bare
    if _LOOP.match(bare) or (is_command(bare) and not _PROSE & set(_QUOTATION.sub(" ", bare).lower().split())):
        return unmask(bare)
    return None


def criterion(text: str, *, id: str = "", category: str | None = None, negate: bool = False) -> Criterion:
    """The check that a sentence asks for: a command, a look at a file, or a person."""
    bare = text.strip()
    fields = _command_fields(bare) or _file_fields(bare) or {"kind": "manual"}
    if negate:
        fields["negate"] = not fields.get("negate", False)
    return Criterion(id=id, text=bare, category=category, **fields)


def _command_fields(text: str) -> dict[str, Any] | None:
    whole = command_in(text)
    if whole is not None:
        return _fields(whole)
    for found in _TICKED.finditer(text[:4000]):
        if is_command(found.group(1)):
            return _worded(unmask(found.group(1)), text[: found.start()], text[found.end() :])
    return None


def _fields(command: Command) -> dict[str, Any]:
    if not command.provable:
        return {"kind": "manual"}
    return {"kind": "command", "command": command.command, "expect": command.expect}


def _worded(command: Command, before: str, after: str) -> dict[str, Any] | None:
    """A command in a sentence: what else the sentence asks for decides whether running it is enough."""
    fields = _fields(command)
    if fields["kind"] == "manual":
        return fields
    words = before + " " + after
    code = _EXIT.search(words)
    if code:
        wanted = (code.group(1) or "0").lower()
        if wanted.startswith("non"):
            fields["negate"] = True
        else:
            fields["exit_code"] = 0 if wanted == "zero" else int(wanted)
        return fields
    program = command.command.split(maxsplit=1)[0]
    if _NO_MATCH.search(after):
        if program in ("grep", "rg", "egrep", "fgrep", "git") and "|" not in command.command:
            fields["exit_code"] = 1
            return fields if program != "git" else {"kind": "manual"}
        return {"kind": "manual"}
    prints = _PRINTS.match(after)
    if prints:
        wanted = prints.group(1) or prints.group(2)
        fields["expect"] = wanted
        if wanted == "0" and program in ("grep", "rg") and " -c" in command.command:
            fields["exit_code"] = 1
        return fields
    rest = drop_after(after)
    if _FINE.fullmatch(rest) and not _NOT.search(rest) and not re.search(r"\bfail", rest, re.I):
        return fields
    return {"kind": "manual"}


def drop_after(text: str) -> str:
    """Without an explanation in parentheses at the end."""
    head, found, tail = text.partition("(")
    return head if found and tail.rstrip(" .").endswith(")") else text


def _file_fields(text: str) -> dict[str, Any] | None:
    """ "`a.py` contains "class A"", "File `x` does not exist", "a.py has at least 60 lines"."""
    path, rest = _subject(text)
    if path is None:
        return None
    lines = _LINES.match(rest)
    if lines:
        return {"kind": "file", "path": path, "min_lines": int(lines.group(1))}
    literals = [one or other for one, other in _QUOTED.findall(rest)]
    contains = _CONTAINS.search(rest[:60])
    if contains and literals and _only_literals(rest[contains.end() :]):
        if _NOT.search(rest[: contains.start()]):
            return {"kind": "file", "path": path, "absent": "|".join(re.escape(part) for part in literals)}
        if len(literals) == 1:
            return {"kind": "file", "path": path, "contains": literals[0]}
        if re.search(r"[`\"],?\s+or\s+[`\"]", rest):
            pattern = "|".join(re.escape(part) for part in literals)
        else:
            pattern = r"(?s)\A" + "".join(f"(?=.*?{re.escape(part)})" for part in literals)
        return {"kind": "regex", "pattern": pattern, "source": path}
    exists = _EXISTS.search(rest[:60])
    if exists and not literals and not rest[exists.end() :].strip(" .;,"):
        gone = bool(_GONE.search(exists.group())) != bool(_NOT.search(rest[: exists.start()]))
        return {"kind": "file", "path": path, "negate": gone}
    return None


def _subject(text: str) -> tuple[str | None, str]:
    """The path that a sentence begins with, and the rest."""
    start = text[5:].lstrip() if text[:5].lower() == "file " else text
    ticked = _TICKED.match(start)
    if ticked:
        return (ticked.group(1), start[ticked.end() :]) if is_path(ticked.group(1)) else (None, "")
    bare = _BARE_PATH.match(start)
    return (bare.group(1), start[bare.end() :]) if bare and is_path(bare.group(1)) else (None, "")


def _only_literals(text: str) -> bool:
    """Nothing but quoted texts and joining words."""
    left = _QUOTED.sub(" ", drop_after(text) if not _QUOTED.search(text.partition("(")[2]) else text)
    return set(re.findall(r"[\w']+", left.lower())) <= _JOINING
