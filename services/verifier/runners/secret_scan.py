"""Find secrets in text by shape and entropy (rules in secret_rules.toml). What is found is never repeated."""

from __future__ import annotations

import hashlib
import hmac
import math
import re
import secrets
import tomllib
from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from schemas.values import value
from services.verifier.runners.findings import Finding
from services.verifier.runners.readers import read_file
from services.verifier.runners.report import BadReport

MAX_BYTES = 4 * 1024 * 1024

_KEY = secrets.token_bytes(32)
"""Makes marks of secrets that cannot be guessed back; they mean something in this process only."""
_PLACEHOLDER = re.compile(
    r"(?i)example|sample|dummy|placeholder|changeme|change[-_]me|your[-_]|xxxx|\*\*\*|<[^>]*>|\$\{|\{\{|%\(|process\.env|os\.environ|getenv"
)


@value
class Rule:
    """What one kind of secret looks like."""

    id: str
    pattern: re.Pattern[str]
    entropy: float = 0.0
    placeholders: bool = False
    """Texts such as ``changeme`` and ``${TOKEN}`` are not meant."""


@cache
def rules() -> tuple[Rule, ...]:
    """The rules, as they stand in the file."""
    read = tomllib.loads((Path(__file__).parent / "secret_rules.toml").read_text(encoding="utf-8"))
    return tuple(Rule(**{**rule, "pattern": re.compile(rule["pattern"])}) for rule in read["rule"])


def entropy(text: str) -> float:
    """Shannon entropy in bits per character."""
    return -sum(n / len(text) * math.log2(n / len(text)) for n in Counter(text).values()) if text else 0.0


def scan(text: str, file: str) -> list[Finding]:
    """What looks like a secret in a text."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        for rule in rules():
            for match in rule.pattern.finditer(line):
                secret = match[1] if rule.pattern.groups else match[0]
                if entropy(secret) < rule.entropy or (rule.placeholders and _PLACEHOLDER.search(secret)):
                    continue
                mark = hmac.new(_KEY, secret.encode(), hashlib.sha256).hexdigest()[:12]
                message = f"a secret of {len(secret)} characters (mark {mark})"
                found.append(Finding(file=file, rule=rule.id, message=message, line=number))
    return found


def scan_files(root: Path, paths: Iterable[str]) -> list[Finding]:
    """What looks like a secret in these files of a checkout; binary files and links are left out, large ones named."""
    found: list[Finding] = []
    inside = root.resolve()
    for path in paths:
        if not (root / path).parent.resolve().is_relative_to(inside):
            continue  # a folder on the way is a link that leads out
        try:
            raw = read_file(root / path, MAX_BYTES)
        except BadReport as error:
            if "larger" in str(error):
                found.append(Finding(file=path, rule="too-large", message="it is too large to be looked at"))
            continue
        if raw and b"\0" not in raw[:8192]:
            found += scan(raw.decode("utf-8", "replace"), path)
    return found
