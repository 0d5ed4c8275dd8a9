"""What an agent's output says about the tokens that it used. Pure; the agent is believed, where it says anything.

Two notations are known: the result object of Claude Code (``--output-format json`` or ``stream-json``, one object a
line), and the line ``Tokens: 12k sent, 850 received.`` that Aider writes after each message, in rounded numbers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

COUNTS = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")
MOST = 1 << 40
"""More than this is no count."""
_TOLD = re.compile(rb"Tokens: (\d{1,9}(?:\.\d)?k?) sent,(?: [^\n]{1,80},)? (\d{1,9}(?:\.\d)?k?) received\.")


def tokens_of(output: bytes) -> int | None:
    """Tokens that went in and came out, cached ones included; None where the output does not say."""
    for result in _results(output):
        return result
    told = [_number(n) for found in _TOLD.findall(output) for n in found]
    return sum(told) if told else None


def _results(output: bytes) -> Iterator[int]:
    """What each result object says; the first one decides, for a spurious one may follow it."""
    for line in output.splitlines():
        if not line.startswith(b"{") or b'"usage"' not in line or b'"result"' not in line:
            continue
        try:
            said = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if said.get("type") != "result" or not isinstance(said.get("usage"), dict):
            continue
        counts = [said["usage"].get(name) or 0 for name in COUNTS]
        if all(type(n) is int and 0 <= n < MOST for n in counts) and any(counts):
            yield sum(counts)


def _number(text: bytes) -> int:
    return round(float(text.rstrip(b"k")) * (1000 if text.endswith(b"k") else 1))
