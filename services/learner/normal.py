"""Lines without what differs from run to run, and without secrets: pure.

An error's *signature* is the digest of its normalised line, so that the same mistake in another folder, at another
time, in another process is the same signature.
"""

from __future__ import annotations

import hashlib
import re

EXCERPT = 300
"""Characters of a line that are kept."""
LOOKED_AT = 1000
"""Characters of a line that are normalised; what comes later does not tell one mistake from another."""

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")

_SECRETS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END[^-]*-----|\Z)", re.DOTALL), "<secret>"),
    (re.compile(r"\b([a-z][a-z0-9+.-]{0,20}://)[^\s/@:]*:[^\s/@]+@", re.IGNORECASE), r"\1<secret>@"),
    (re.compile(r"\b(authorization\s*[:=]\s*(?:bearer|basic|token)?)\s*[^\s'\",]+", re.IGNORECASE), r"\1 <secret>"),
    (re.compile(r"\b(bearer|basic)\s+[A-Za-z0-9+/._~=-]{8,}", re.IGNORECASE), r"\1 <secret>"),
    (re.compile(r"(--[\w-]{0,40}(?:passw(?:or)?d|passphrase|secret|token|api-?key)[\w-]{0,40}[= ])\S+", re.IGNORECASE),
     r"\1<secret>"),
    (re.compile(r"\b([\w-]{0,40}(?:passw(?:or)?d|passphrase|secret|token|api[_-]?key|access[_-]?key|credential)[\w-]{0,40}"
                r"[\"']?\s*[:=]\s*[\"']?)[^\s\"',;&]{4,}", re.IGNORECASE), r"\1<secret>"),
    (re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"), "<secret>"),
    (re.compile(r"\b(?:gh[pousr]_|github_pat_|glpat-|xox[abprs]-|sk-|[ps]k_live_|AIza)[A-Za-z0-9_-]{10,}"), "<secret>"),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"), "<secret>"),
    (re.compile(r"(?<![\w/+.-])(?=[A-Za-z0-9+/_-]*[a-z])(?=[A-Za-z0-9+/_-]*[A-Z])(?=[A-Za-z0-9+/_-]*\d)"
                r"[A-Za-z0-9+_-]{32,}={0,2}(?![\w/.-])"), "<secret>"),
)  # fmt: skip
"""What looks like a secret, and what stands in its place. Long mixed tokens are taken for secrets too."""

_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*"
_VARYING: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?)?(?:Z|[+-]\d\d:?\d\d)?\b"), "<time>"),
    (re.compile(rf"\b(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,? )?(?:{_MONTH} \d{{1,2}}|\d{{1,2}} {_MONTH})"
                r"(?:,? \d{4})?(?: \d\d:\d\d(?::\d\d)?)?\b"), "<time>"),
    (re.compile(r"\b\d\d:\d\d:\d\d(?:[.,]\d+)?\b"), "<time>"),
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", re.IGNORECASE), "<uuid>"),
    (re.compile(r"\b([a-z][a-z0-9+.-]{0,20}://)(?:[^\s/@]*@)?([\w.-]+)(?::\d+)?(/[^\s'\"<>)\]]*)?", re.IGNORECASE),
     r"\1\2"),
    (re.compile(r"\b0x[0-9a-f]+\b", re.IGNORECASE), "<hex>"),
    (re.compile(r"\b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{7,}\b", re.IGNORECASE), "<hex>"),
    (re.compile(r"(?<![\w.</])(?:~|\.{1,2})?/(?!/)(?:[\w.@%+=~-]+/)*([\w.@%+=~-]+)/?"), r"\1"),
    (re.compile(r"(?<![\w.<])(?:[A-Za-z]:)?(?:[\w.@%+=~-]+\\)+([\w.@%+=~-]+)"), r"\1"),
    (re.compile(r"(?<![\w.<])(?:[\w@%+=~.-]+/)+([\w@%+=~-]+\.\w+)"), r"\1"),
    (re.compile(r"\b\d+(?:[.,:]\d+)*(?=(?:ms|us|ns|s|m|h|[KMGT]i?B?|%)?\b)"), "<n>"),
)  # fmt: skip
"""In this order: times before numbers, ids before hexadecimal. A path becomes its last name."""

_CODE = re.compile(
    r"\b(?:error|code|errno|status|exit code|signal|HTTP(?:/[\d.]+)?)[ :=#]*\[?(\d{1,5})\b", re.IGNORECASE
)
"""Numbers that say which error it is; they stay."""
_TEMPORARY = re.compile(r"\b(?:tmp|temp|tmp\.|pytest-)[\w-]*?[A-Za-z0-9_]{6,}\b")
_SPACE = re.compile(r"\s+")
_KEPT = "\ue000"


def plain(text: str) -> str:
    """Text as a person reads it: without terminal colours, control characters and overwritten progress lines."""
    lines = _ANSI.sub("", text).replace("\r\n", "\n").split("\n")
    return "\n".join(_CONTROL.sub("", line.rstrip("\r").rsplit("\r", 1)[-1]) for line in lines)


def scrub(text: str) -> str:
    """Put a mark in the place of whatever looks like a secret."""
    for pattern, mark in _SECRETS:
        text = pattern.sub(mark, text)
    return text


def excerpt(line: str, limit: int = EXCERPT) -> str:
    """A line as it was printed, without secrets, shortened."""
    line = _SPACE.sub(" ", scrub(line[: 4 * limit])).strip()
    return line if len(line) <= limit else line[: limit - 1] + "…"


def normalised(line: str) -> str:
    """A line without what differs from run to run."""
    kept: list[str] = []

    def keep(match: re.Match[str]) -> str:
        kept.append(match[1])
        start = match.start(1) - match.start()
        return match[0][:start] + _KEPT + match[0][start + len(match[1]) :]

    text = _CODE.sub(keep, scrub(plain(line[:LOOKED_AT])))
    text = _TEMPORARY.sub("<tmp>", text)
    for pattern, mark in _VARYING:
        text = pattern.sub(mark, text)
    for number in kept:
        text = text.replace(_KEPT, number, 1)
    text = _SPACE.sub(" ", text).strip()
    return text if len(text) <= EXCERPT else text[: EXCERPT - 1] + "…"


def signature(line: str) -> str:
    """The digest of a line's normalised form."""
    return hashlib.sha256(normalised(line).encode()).hexdigest()[:16]
