"""What authors write about a task in any format: boxes, status words, context tiers, estimates, durations, paths.

References between tasks are in :mod:`references`, checks in :mod:`checks`; both are offered here as well, so that
a format needs one import. Everything is linear in the text.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from schemas.formats.checks import (
    Command,
    command_in,
    criterion,
    is_command,
    machine_path,
    unmask,
)
from schemas.formats.document import Document
from schemas.formats.paths import is_path, paths_in
from schemas.formats.references import (
    Ids,
    dependency_clauses,
    drop_parentheses,
    is_none,
    natural_key,
    references,
    resolve,
)
from schemas.values import SourceStatus

__all__ = [
    "BadTier",
    "Box",
    "Command",
    "Estimate",
    "Ids",
    "box",
    "boxes",
    "command_in",
    "criterion",
    "dependency_clauses",
    "drop_parentheses",
    "duration",
    "estimate",
    "infer_tier",
    "is_command",
    "is_none",
    "is_path",
    "machine_path",
    "mark_status",
    "natural_key",
    "paths_in",
    "plain_title",
    "references",
    "resolve",
    "status_emoji",
    "status_of",
    "tier_in",
    "tier_of",
    "unmask",
]

# --- boxes ---------------------------------------------------------------------------------------------------------

_BOX = re.compile(r"([ \t>]*)([-*+•]|\d{1,9}[.)])([ \t]+)\[([^\[\]]?)\](\*?)(?:[ \t]+(.*))?$")


@dataclass(frozen=True, slots=True)
class Box:
    """A list item with a check box."""

    line: int
    column: int
    """Where the character between the brackets stands, from 0."""
    indent: int
    """Columns before the list mark, a tab counting 4."""
    mark: str
    status: SourceStatus
    optional: bool
    """Written ``[ ]*``."""
    text: str
    """What follows the box, stripped."""

    @property
    def done(self) -> bool:
        """Ticked."""
        return self.status == "completed"


def box(text: str, line: int = 0) -> Box | None:
    """The check box at the start of a line, if there is one. ``[]`` is not a box that can be ticked in place."""
    if "[" not in text:
        return None
    found = _BOX.match(text)
    if found is None or not found.group(4):
        return None
    indent = len(found.group(1).expandtabs(4))
    rest = (found.group(6) or "").strip()
    return Box(line, found.start(4), indent, found.group(4), mark_status(found.group(4)), bool(found.group(5)), rest)


def boxes(document: Document) -> list[Box]:
    """All check boxes outside fences, comments and front matter, in order."""
    return [found for number, text in document.structure() if (found := box(text, number))]


def mark_status(mark: str) -> SourceStatus:
    """The state that a box's character stands for; an unknown character means nothing was done."""
    if mark in "xX✓✔☑✅" and mark:
        return "completed"
    if mark in "~->/" and mark:
        return "in_progress"
    return "pending"


# --- status words --------------------------------------------------------------------------------------------------

_WORDS: dict[str, SourceStatus] = {}
for _status, _names in (
    (
        "completed",
        "done complete completed closed shipped finished passes passing passed true merged ported verified resolved "
        "implemented delivered",
    ),
    (
        "in_progress",
        "in-progress inprogress wip doing started active ongoing working review in-review hooked partial executing "
        "under-way underway current",
    ),
    (
        "skipped",
        "cancelled canceled deferred wontfix wont-fix won't-fix won't-do skipped skip not-suitable dropped abandoned "
        "rejected superseded obsolete out-of-scope",
    ),
    ("blocked", "blocked on-hold paused waiting stuck"),
    ("failed", "failed failing error"),
    (
        "pending",
        "pending todo to-do open backlog planned ready ready-for-dev not-started not-yet-started new false queued "
        "draft drafted proposed incomplete unstarted tbd upcoming ready-to-plan ready-to-execute not-done "
        "not-complete not-completed contexted",
    ),
):
    for _name in _names.split():
        _WORDS[_name] = _status  # type: ignore[assignment]

_EMOJI: dict[str, SourceStatus] = {
    "✅": "completed", "✓": "completed", "✔": "completed", "☑": "completed", "🎉": "completed", "🟢": "completed",
    "🚧": "in_progress", "🔄": "in_progress", "🏗": "in_progress", "🟡": "in_progress", "⚙": "in_progress",
    "⏸": "blocked", "🚫": "blocked", "🛑": "blocked", "🔴": "blocked",
    "❌": "failed", "✗": "failed",
    "⏭": "skipped",
    "⏳": "pending", "📋": "pending", "⬜": "pending", "☐": "pending", "🔲": "pending", "⚪": "pending", "○": "pending",
}  # fmt: skip
_FIRST_WORDS = re.compile(r"[a-z'’]+(?:[ _-]+[a-z'’]+){0,3}")


def status_of(value: object) -> SourceStatus | None:
    """The state that a status value or short phrase names; None if it names none. Percentages name none."""
    if isinstance(value, bool):
        return "completed" if value else "pending"
    if not isinstance(value, str):
        return None
    text = drop_parentheses(value).strip().strip("*_`\"'[]() \t").casefold().replace("’", "'")
    whole = re.sub(r"[\s_]+", "-", text.strip(" .!"))
    if whole in _WORDS:
        return _WORDS[whole]
    emoji = status_emoji(value[:12])
    found = _FIRST_WORDS.search(text[:80])
    if found and not text[: found.start()].strip(" \t*_-–—:.|" + "".join(_EMOJI) + "\ufe0f"):
        words = re.split(r"[ _-]+", found.group())
        for count in range(len(words), 0, -1):
            status = _WORDS.get("-".join(words[:count]))
            if status is not None:
                return status
    return emoji


def status_emoji(text: str) -> SourceStatus | None:
    """The state of the first status emoji in a text."""
    for character in text:
        if character in _EMOJI:
            return _EMOJI[character]
    return None


# --- context tiers -------------------------------------------------------------------------------------------------

TIERS = (32, 64, 128, 200)
DEFAULT_TIER = 64
_TIER = re.compile(r"\s*(\d{1,9})(?:[.,](\d{3}))?\s*(k?)(?:\s*tokens?)?\s*$", re.IGNORECASE)
_TIER_TAG = re.compile(
    r"\[(\d{2,3}\s?[kK])\]|\bcontext(?:[ _-]?tier)?\b[*_`]{0,3}\s{0,3}[:=][*_`\s]{0,4}(\d{2,6}\s?[kK]?)\b",
    re.IGNORECASE,
)


class BadTier(ValueError):
    """A context tier that is no number, or above 200."""


def tier_of(value: object) -> int:
    """The tier for 32, "32", "32K", "32k tokens", 32000 or 32768; other sizes are rounded up. Raises BadTier."""
    found = _TIER.match(value) if isinstance(value, str) else None
    if found:
        number: float = int(found.group(1) + (found.group(2) or ""))
        if found.group(3) and number >= 1000:
            raise BadTier(f"the context tier {value!r} is above 200 thousand tokens")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        number = value
    else:
        raise BadTier(f"{value!r} is no context tier; use 32, 64, 128 or 200 (thousand tokens)")
    if not number > 0:
        raise BadTier(f"{value!r} is no context tier; use 32, 64, 128 or 200 (thousand tokens)")
    thousands = number if number < 1000 else (number / 1024 if number % 1024 == 0 else number / 1000)
    for tier in TIERS:
        if thousands <= tier:
            return tier
    raise BadTier(f"the context tier {value!r} is above 200 thousand tokens")


def tier_in(text: str) -> int | None:
    """The tier that a tag in running text names: ``[64K]``, ``(context: 128K)``. Raises BadTier if it is too big."""
    found = _TIER_TAG.search(text)
    return tier_of(found.group(1) or found.group(2)) if found else None


def infer_tier(*, files: int = 0, characters: int = 0, subtasks: int = 0) -> int:
    """The tier for a task that names none: the one documented estimate.

    12,000 tokens for the agent itself, 6,000 for each file it names (read, then changed), 4,000 for each subtask, and
    its own text at four characters a token, twice. A task that names neither files nor subtasks gets at least 64.
    """
    need = 12 + 6 * files + 4 * subtasks + characters / 2000
    smallest = next((tier for tier in TIERS if need <= tier), TIERS[-1])
    return smallest if files or subtasks else max(DEFAULT_TIER, smallest)


# --- time ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Estimate:
    """An estimate: the upper bound in minutes, and the author's words."""

    minutes: float
    text: str


_MINUTES = {"m": 1.0, "h": 60.0, "d": 480.0, "w": 2400.0, "s": 1 / 60}
_ESTIMATE = re.compile(
    r"(?<![\w.])(\d{1,6}(?:\.\d{1,3})?)(?:\s{0,2}(?:-|–|—|to)\s{0,2}(\d{1,6}(?:\.\d{1,3})?))?\s{0,2}"
    r"(minutes?|mins?|m|hours?|hrs?|h|days?|d|weeks?|wks?|w|seconds?|secs?|s)\b",
    re.IGNORECASE,
)


def estimate(text: str) -> Estimate | None:
    """ "2 hours", "4-6 hours" (the upper bound), "30m", "1h 30m", "1d" (eight hours), "2 weeks" (of five days)."""
    total, end, start = 0.0, -1, 0
    for found in _ESTIMATE.finditer(text[:500]):
        if end >= 0 and text[end : found.start()].strip(" ,") not in ("", "and"):
            break
        start = found.start() if end < 0 else start
        total += float(found.group(2) or found.group(1)) * _MINUTES[found.group(3)[0].lower()]
        end = found.end()
    return Estimate(round(total, 3), text[start:end].strip()) if end >= 0 else None


_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
LONGEST = 366 * 86400.0


def duration(value: object) -> float:
    """Seconds for "2s", "5m", "1h30m", "250ms", "1d", or a plain number of seconds. Raises ValueError."""
    if isinstance(value, str):
        text = value.replace(" ", "")
        if len(text) > 40:
            raise ValueError(f"{value[:40]!r}… is no duration; write it like 30s, 5m or 1h30m")
        if _DURATION.fullmatch(text):
            seconds = sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))
        elif re.fullmatch(r"\d{1,9}(?:\.\d{1,6})?", text):
            seconds = float(text)
        else:
            raise ValueError(f"{value!r} is no duration; write it like 30s, 5m or 1h30m")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    else:
        raise ValueError(f"{value!r} is no duration; write it like 30s, 5m or 1h30m")
    if not 0 <= seconds <= LONGEST:
        raise ValueError(f"the duration {value!r} is not between 0 and 366 days")
    return seconds


# --- titles ----------------------------------------------------------------------------------------------------

_LINK = re.compile(r"!?\[([^\[\]\n]{0,500})\]\([^()\s]{0,2000}\)")


def plain_title(text: str) -> str:
    """One line without bold marks, link targets, trailing hashes or HTML comments; code spans lose their ticks."""
    if "<!--" in text:
        kept, _, rest = text.partition("<!--")
        text = kept + rest.partition("-->")[2]
    text = _LINK.sub(r"\1", text.strip())
    text = text.replace("**", "").replace("__", "__" if "__init__" in text or "__tests__" in text else "")
    text = text.rstrip("#").strip() if text.endswith((" #", "##")) else text
    if text[:1] == "~" and text.startswith("~~") and text.endswith("~~"):
        text = text[2:-2]
    return unicodedata.normalize("NFC", " ".join(text.split())) if "\t" in text or "  " in text else text.strip()
