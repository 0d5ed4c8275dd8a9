"""What an agent's output says about tokens: in the notations of two agents, and nothing where it is not said."""

from __future__ import annotations

import json
from typing import Any

import pytest

from services.executor.tokens import tokens_of


def ended(**usage: Any) -> bytes:
    """The last line of Claude Code."""
    said = {"type": "result", "subtype": "success", "is_error": False, "result": "Done.", "usage": usage}
    return json.dumps(said).encode() + b"\n"


USED = {
    "input_tokens": 10,
    "cache_creation_input_tokens": 2000,
    "cache_read_input_tokens": 30_000,
    "output_tokens": 400,
}


@pytest.mark.parametrize(
    ("output", "tokens"),
    [
        (ended(**USED), 32_410),
        (b'{"type": "assistant", "message": {"usage": {"output_tokens": 9}}}\n' + ended(**USED), 32_410),
        (ended(**USED) + ended(input_tokens=1), 32_410),
        (ended(input_tokens=5, output_tokens=7, cache_read_input_tokens=None, server_tool_use={"web": 1}), 12),
        (b"Tokens: 12k sent, 3.4k cache write, 1.2k cache hit, 850 received. Cost: $0.02 message.\n", 12_850),
        (b"Tokens: 1.5k sent, 20 received.\nEdited a.py\nTokens: 700 sent, 80 received.\n", 2_300),
        (b"", None),
        (b"wrote 3 files\n", None),
        (ended(input_tokens=0, output_tokens=0), None),
        (ended(input_tokens=-5, output_tokens=7), None),
        (ended(input_tokens="many"), None),
        (ended(input_tokens=True), None),
        (ended(input_tokens=10**30), None),
        (b'{"type": "result", "usage": 5}\n', None),
        (b'{"type": "result", "usage": {"input_tokens": 5\n', None),
        (b'["result", "usage"]\n{"a": "result", "usage": {"input_tokens": 5}}\n', None),
    ],
)
def test_what_it_says(output: bytes, tokens: int | None) -> None:
    assert tokens_of(b"\xff\xfe first\r\n" + output) == tokens
