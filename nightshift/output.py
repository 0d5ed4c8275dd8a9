"""Words and exit codes of the command line."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Coroutine
from typing import Any, NoReturn, TypeVar

from events.log import LogError, LogUnavailable
from events.log.questions import Refused

T = TypeVar("T")

DONE = 0
FAILED = 1
BAD = 2
UNREACHABLE = 3


def fail(message: str, *, remedy: str = "", code: int = BAD) -> NoReturn:
    """Say on stderr what is wrong and what to do, and end."""
    sys.stderr.write(f"nightshift: {message}\n")
    if remedy:
        sys.stderr.write(f"  {remedy}\n")
    raise SystemExit(code)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine; errors that a person can do something about become a sentence and an exit code."""
    from nightshift.client import SubmissionFailed
    from nightshift.server_process import ServerError
    from nightshift.session import Unreachable
    from schemas.settings import BadSettings

    try:
        return asyncio.run(work)
    except Refused as refused:
        unknown = refused.code in ("unknown-execution", "bad-question", "bad-query", "unknown-task")
        fail(str(refused), remedy=refused.hint, code=BAD if unknown else UNREACHABLE)
    except Unreachable as error:
        fail(str(error), code=UNREACHABLE)
    except ServerError as error:
        fail(f"the server does not start: {error}", code=UNREACHABLE)
    except SubmissionFailed as error:
        fail(str(error), code=BAD)
    except LogUnavailable as error:
        fail(f"the engine does not answer: {error}", remedy="is it up? nightshift doctor", code=UNREACHABLE)
    except LogError as error:
        fail(str(error), code=UNREACHABLE)
    except BadSettings as error:
        fail(str(error), remedy="see docs/settings.md")
    except KeyboardInterrupt:
        fail("interrupted", code=130)


def print_json(value: Any, *, lines: bool = False) -> None:
    """Print a value as JSON; with ``lines`` each of its items on a line."""
    if lines:
        for item in value:
            sys.stdout.write(json.dumps(item, ensure_ascii=False) + "\n")
    else:
        sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
