"""What an output or a plan tells: errors, warnings, commands, calls to the network."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.learner.extract import COMMANDS, ERRORS, api_calls, errors, script, shown, tool_of, warnings

TRACEBACK = """\
Collecting things
Traceback (most recent call last):
  File "/w/app.py", line 3, in <module>
    main()
KeyError: 'region'
"""
NODE = """\
node:internal/modules/cjs/loader:1143
  throw err;
Error: Cannot find module '/w/index.js'
    at Module._resolveFilename (node:internal/modules/cjs/loader:1140:15)
"""
NPM = "npm ERR! code E404\nnpm ERR! 404 Not Found - GET https://npm.example/none\nnpm ERR! A complete log is there\n"
RUST = (
    "error[E0308]: mismatched types\n --> src/main.rs:4:5\nerror: could not compile `x` (bin) due to 1 previous error\n"
)
TSC = "src/app.ts(3,5): error TS2322: Type 'string' is not assignable to type 'number'.\n"
GO = "# example.com/x\n./main.go:7:2: undefined: fmt\n"
JAVA = 'Exception in thread "main" java.lang.NullPointerException: Cannot invoke "String.length()"\n'
LOGGED = "2026-01-02 03:04:05,678 INFO started\n2026-01-02 03:04:06,001 ERROR cannot reach the database\n"
FINE = "0 errors, 0 warnings\nno errors found\nError handling is described in the manual\n3 passed\n"


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (TRACEBACK, ["KeyError: 'region'"]),
        (NODE, ["Error: Cannot find module 'index.js'"]),
        (NPM, ["npm ERR! code E404"]),
        (RUST, ["error[E0308]: mismatched types", "error: could not compile `x` (bin) due to <n> previous error"]),
        (TSC, ["app.ts(<n>): error TS2322: Type 'string' is not assignable to type 'number'."]),
        (GO, ["main.go:<n>: undefined: fmt"]),
        (JAVA, ['Exception in thread "main" java.lang.NullPointerException: Cannot invoke "String.length()"']),
        (LOGGED, ["<time> ERROR cannot reach the database"]),
        ("make: *** [Makefile:3: all] Error 2\nmain.c:1:1: error: no\n", ["main.c:<n>: error: no"]),
        ("curl: (22) The requested URL returned error: 503\n", ["curl: (<n>) The requested URL returned error: 503"]),
        ("E       assert 41 == 42\nFAILED test_a.py::test_b - assert 41 == 42\n", ["assert <n> == <n>"]),
        (FINE, []),
    ],
)
def test_errors(output: str, expected: list[str]) -> None:
    assert [e.text for e in errors(output)] == expected


def test_a_silent_failure_is_known_by_its_reason() -> None:
    assert [e.text for e in errors("", "exit code 7")] == ["exit code 7"]
    assert [e.text for e in errors(TRACEBACK, "exit code 1")] == ["KeyError: 'region'"]


def test_the_last_errors_are_kept_in_order_each_once() -> None:
    output = "".join(f"Error: kind {chr(97 + n % 7)}\n" for n in range(50))
    found = [e.text for e in errors(output)]
    assert len(found) == ERRORS
    assert found == [f"Error: kind {c}" for c in "defga"]


def test_warnings() -> None:
    output = (
        "/w/a.py:3: DeprecationWarning: datetime.utcnow() is deprecated\nmain.c:5:9: warning: unused variable 'x'\n"
        "main.c:8:9: warning: unused variable 'x'\nnpm warn deprecated glob@7.2.3\nW: Some index files failed\n"
        "0 warnings\nthe word warning alone says nothing\n"
    )
    assert warnings(output) == (
        "a.py:<n>: DeprecationWarning: datetime.utcnow() is deprecated", "main.c:<n>: warning: unused variable 'x'",
        "npm warn deprecated glob@<n>", "W: Some index files failed",
    )  # fmt: skip


def test_commands_of_a_plan() -> None:
    assert script("# build it\nset -e\n\ncc -c a.c \\\n   -o a.o\nmake && make test\nmake && make test\n") == (
        "set -e", "cc -c a.c -o a.o", "make && make test",
    )  # fmt: skip
    assert len(script("\n".join(f"echo {n}" for n in range(200)))) == COMMANDS


AGENT = """\
I'll look around first.
$ ls -la
+ pip install flask
⏺ Bash(npm test -- --watch=false)
  ⎿  12 passed
$5 is not a command, and neither is
> this quotation
Running `cargo build`
"""


def test_commands_that_an_output_shows() -> None:
    assert shown(AGENT) == ("ls -la", "pip install flask", "npm test -- --watch=false", "cargo build")


def test_commands_in_the_json_streams_of_agents() -> None:
    lines = [
        {"type": "assistant", "content": [{"type": "tool_use", "name": "Bash", "input": {"command": "make"}}]},
        {"type": "item.completed", "item": {"type": "command_execution", "command": "bash -lc 'go test'"}},
        {"type": "function_call", "name": "shell", "arguments": {"command": ["ls", "-l"]}},
        {"type": "tool_use", "name": "Read", "input": {"command": "no command, a file"}},
        {"type": "result", "result": "done"},
    ]  # fmt: skip
    output = "\n".join(map(json.dumps, lines)) + '\n{"damaged": '
    assert shown(output) == ("make", "bash -lc 'go test'", "ls -l")


def test_calls_to_the_network() -> None:
    commands = [
        "curl -s -X PUT 'http://ada:pw@127.0.0.1:9000/minio/bucket?x=secret'", "curl -d a=b https://api.example.com/v1/users/42",
        "wget https://example.com", "echo https://not.called.example/",
    ]  # fmt: skip
    served = '127.0.0.1 - - [02/Jan/2026] "GET /items/8c1f6b1e-6a36-4a5b-9c3d-0a1b2c3d4e5f?token=x HTTP/1.1" 200 -\n'
    assert api_calls(commands, served) == (
        "PUT 127.0.0.1:9000/minio/bucket", "POST api.example.com/v1/users/*", "GET example.com/", "GET /items/*",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("command", "tool"),
    [
        ("make test", "make"), ("cd sub && FOO=1 ./run.sh --fast", "run.sh"), ("set -eu\nnpm ci", "npm"),
        ("sudo env A=b docker run x", "docker"), ('"$NIGHTSHIFT_AGENT" --x', "$NIGHTSHIFT_AGENT"), ("", ""),
    ],
)  # fmt: skip
def test_the_program_that_matters(command: str, tool: str) -> None:
    assert tool_of(command) == tool


@given(st.text(max_size=400))
def test_nothing_makes_it_stumble(text: str) -> None:
    errors(text, text[:50])
    warnings(text)
    shown(text + "\n{" + text)
    api_calls(script(text), text)
    tool_of(text)
